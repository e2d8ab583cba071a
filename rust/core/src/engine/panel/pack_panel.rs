//! One panel of an array's rows: copied, checked for values that are not finite, and scaled.

use std::borrow::Cow;

use super::transpose::transpose_square;
use crate::engine::scalar::{Line, Scalar};
use crate::isa::{Block, Pod, Vector, Vectorized, WIDTH};

/// The most lanes of a panel of either type.
const MOST_LANES: usize = 2 * WIDTH;

/// The most blocks of lanes.
const MOST_BLOCKS: usize = MOST_LANES / WIDTH;

/// Rows, and the lines of the panel in which they are stored side by side. Lanes past the last row become zero.
pub(super) struct PackPanel<'a, T: Scalar> {
    /// At most as many rows as the panel has lanes, each as long as the panel has lines.
    pub(super) rows: &'a [Cow<'a, [T]>],
    pub(super) lines: &'a mut [T::Line],
    /// True if each row is divided by a power of two, so that its largest magnitude lies in [1/2, 1).
    pub(super) scaled: bool,
}

/// The outcome of [`PackPanel`].
pub(super) struct PackedPanel {
    /// False if a value is NaN or infinite. The rows are not scaled then.
    pub(super) finite: bool,
    /// The exponents of the powers of two, by lane. They are 0 for rows of zeros, and where nothing is scaled.
    pub(super) exponents: [i32; MOST_LANES],
}

impl<T: Scalar> Vectorized for PackPanel<'_, T> {
    type Output = PackedPanel;

    #[inline(always)]
    fn run<V: Vector>(mut self) -> PackedPanel {
        let (finite, largest) = self.copy::<V>();
        let mut exponents = [0; MOST_LANES];
        if self.scaled && finite {
            for (exponent, size) in exponents.iter_mut().zip(largest.as_flattened()) {
                *exponent = libm::frexp(*size).1;
            }
            if exponents != [0; MOST_LANES] {
                self.scale::<V>(&exponents);
            }
        }
        PackedPanel { finite, exponents }
    }
}

impl<T: Scalar> PackPanel<'_, T> {
    /// Copies the rows, square by square. Returns true if all values are finite, and the largest magnitudes by lane.
    #[inline(always)]
    fn copy<V: Vector>(&mut self) -> (bool, [Block; MOST_BLOCKS]) {
        let lanes = T::Line::LANES;
        let mut square = [T::Line::ZERO; MOST_LANES];
        // Products with zero: they stay zero unless a value is NaN or infinite.
        let mut zeros = V::splat(0.0);
        let mut largest = [V::splat(0.0); MOST_BLOCKS];
        for (index, target) in self.lines.chunks_mut(lanes).enumerate() {
            let (first, count) = (index * lanes, target.len());
            for (line, row) in square.iter_mut().zip(self.rows) {
                if count == lanes {
                    // A length that is known: no call.
                    line.lanes_mut().copy_from_slice(&row[first..first + lanes]);
                } else {
                    line.lanes_mut()[..count].copy_from_slice(&row[first..]);
                }
            }
            transpose_square::<T, V>(&square[..lanes], target);
            for line in target {
                for (block, largest) in largest[..T::Line::BLOCKS].iter_mut().enumerate() {
                    let values: V = T::load(line, block);
                    zeros = values.mul_add(V::splat(0.0), zeros);
                    *largest = largest.max(values.abs());
                }
            }
        }
        let mut sizes = [[0.0; WIDTH]; MOST_BLOCKS];
        for (sizes, largest) in sizes.iter_mut().zip(largest) {
            largest.store(sizes);
        }
        let mut sums = [0.0; WIDTH];
        zeros.store(&mut sums);
        (sums == [0.0; WIDTH], sizes)
    }

    /// Divides the values of each lane by `2^exponent`.
    #[inline(always)]
    fn scale<V: Vector>(&mut self, exponents: &[i32; MOST_LANES]) {
        let mut factors = [[[0.0; WIDTH]; 2]; MOST_BLOCKS];
        for (lane, exponent) in exponents.iter().enumerate() {
            let [first, second] = &mut factors[lane / WIDTH];
            [first[lane % WIDTH], second[lane % WIDTH]] = inverse_power_of_two(*exponent);
        }
        for line in &mut *self.lines {
            for (block, [first, second]) in factors[..T::Line::BLOCKS].iter().enumerate() {
                let values: V = T::load(line, block);
                T::store(values * V::load(first) * V::load(second), line, block);
            }
        }
    }
}

/// Two factors whose product is `2^-exponent`. One factor is 1 unless the power would leave the normal range. Products with
/// both are exact, except for entries too small to change any sum over their row.
#[inline(always)]
fn inverse_power_of_two(exponent: i32) -> [f64; 2] {
    let rest = if exponent.abs() < 1000 {
        0
    } else {
        exponent / 2
    };
    [libm::scalbn(1.0, rest - exponent), libm::scalbn(1.0, -rest)]
}
