//! Packed inputs with norms in double-double precision, so that differences and ratios of norms keep all digits.

use std::ops::Range;

use crate::engine::panel::Panels;
use crate::engine::pool::Watch;
use crate::engine::rows::per_row;
use crate::engine::scalar::{Line, Scalar};
use crate::error::Result;
use crate::isa::{Block, Blocks, Isa, Vector, Vectorized, WIDTH, blocks_of};
use crate::math::double_double::{DoubleDouble, two_product, two_sum};

/// Packed inputs, each in units of its own power of two, with their norms.
#[derive(Debug)]
pub struct NormedRows<T: Scalar> {
    rows: Panels<T>,
    /// The high and the low parts of `|x|`, in the units of the rows.
    norms: [Blocks; 2],
    /// The high and the low parts of `1/|x|`, for |x| in these units. 0 for a zero row, which has no direction.
    inverses: [Blocks; 2],
    /// The exponents of the powers of two.
    exponents: Blocks,
}

/// The norms of [`WIDTH`] inputs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lengths<'a> {
    /// The high and the low parts of the norms.
    pub norms: [&'a Block; 2],
    /// The high and the low parts of their inverses.
    pub inverses: [&'a Block; 2],
    /// The exponents of the powers of two that are the units.
    pub exponents: &'a Block,
}

impl<T: Scalar> NormedRows<T> {
    /// Computes the norms of inputs that are `2^exponents[i]` times row i of `rows`. O(N·d).
    ///
    /// # Errors
    /// As [`pool::for_each`](crate::engine::pool::for_each).
    ///
    /// # Panics
    /// If there is not one exponent per row.
    pub fn new(rows: Panels<T>, exponents: &[i32], watch: &mut Watch<'_>) -> Result<Self> {
        assert_eq!(rows.rows(), exponents.len());
        let band = |band: Range<usize>| {
            let norms = norms(&rows, &band);
            let inverses: Vec<_> = norms.iter().map(|norm| inverse(*norm)).collect();
            let exponents = exponents[band].iter().map(|e| f64::from(*e)).collect();
            let [[norms, low], [inverses, inverses_low]] = [parts(&norms), parts(&inverses)];
            let numbers = vec![norms, low, inverses, inverses_low, exponents];
            Ok((Vec::<()>::new(), numbers))
        };
        let (_, numbers) = per_row(rows.rows(), Self::cycles(rows.depth()), watch, &band)?;
        let mut numbers = numbers.into_iter();
        let mut next = || numbers.next().unwrap_or_default();
        Ok(Self {
            norms: [next(), next()],
            inverses: [next(), next()],
            exponents: next(),
            rows,
        })
    }

    /// Estimated cycles of [`NormedRows::new`] per input of `features` features, on one thread.
    pub fn cycles(features: usize) -> f64 {
        // A root and a division in double-double precision, beside the sum.
        4.0 * features as f64 + 200.0
    }

    /// The packed rows, in their units.
    pub fn rows(&self) -> &Panels<T> {
        &self.rows
    }

    /// `√(|x|²/d)` of an input, in its original scale.
    pub fn root_mean_square(&self, row: usize) -> DoubleDouble {
        let width = DoubleDouble::from(self.rows.depth() as f64).sqrt();
        let [hi, lo] = self.norms.each_ref().map(|part| part.get(row));
        (DoubleDouble { hi, lo } / width).scaled(self.exponents.get(row) as i32)
    }

    /// The gap of a row to itself: 0, or 1 for a zero row.
    pub fn own_gap(&self, row: usize) -> f64 {
        if self.inverses[0].get(row) == 0.0 {
            1.0
        } else {
            0.0
        }
    }

    /// The high parts of the inverse norms.
    pub(crate) fn inverses(&self) -> &[Block] {
        self.inverses[0].blocks()
    }

    /// The norms of the inputs of a block.
    pub(crate) fn lengths(&self, index: usize) -> Lengths<'_> {
        let block = |blocks| -> &Block { &Blocks::blocks(blocks)[index] };
        Lengths {
            norms: [block(&self.norms[0]), block(&self.norms[1])],
            inverses: [block(&self.inverses[0]), block(&self.inverses[1])],
            exponents: block(&self.exponents),
        }
    }

    /// Fills `entries` with the [`WIDTH`] rows of a block, side by side. Rows past the last one are zero.
    pub(crate) fn entries(&self, index: usize, entries: &mut Vec<Block>) {
        let (lines, block) = lines_of(&self.rows, index);
        let first = block * WIDTH;
        entries.clear();
        entries.extend(lines.iter().map(|line| -> Block {
            let lanes = &line.lanes()[first..first + WIDTH];
            std::array::from_fn(|lane| lanes[lane].widen())
        }));
    }
}

/// The norms of a range of rows, which starts at a block.
fn norms<T: Scalar>(rows: &Panels<T>, range: &Range<usize>) -> Vec<DoubleDouble> {
    let isa = rows.all().isa();
    let mut norms = Vec::with_capacity(range.len());
    for index in blocks_of(range) {
        let (lines, block) = lines_of(rows, index);
        let [highs, lows] = isa.run(SquaredNorms::<T> { lines, block });
        let squares = highs.into_iter().zip(lows);
        norms.extend(squares.map(|(hi, lo)| DoubleDouble { hi, lo }.sqrt()));
    }
    norms.truncate(range.len());
    norms
}

/// The inverse of a norm; 0 for a norm of 0.
fn inverse(norm: DoubleDouble) -> DoubleDouble {
    match norm.hi {
        0.0 => DoubleDouble::default(),
        _ => DoubleDouble::from(1.0) / norm,
    }
}

/// The high and the low parts of numbers.
fn parts(numbers: &[DoubleDouble]) -> [Blocks; 2] {
    [
        numbers.iter().map(|number| number.hi).collect(),
        numbers.iter().map(|number| number.lo).collect(),
    ]
}

/// The lines that hold the rows of a block, and the block of each line that does.
fn lines_of<T: Scalar>(rows: &Panels<T>, index: usize) -> (&[T::Line], usize) {
    let (panel, block) = (index / T::Line::BLOCKS, index % T::Line::BLOCKS);
    (rows.all().panel(panel), block)
}

/// Computes the high and the low parts of `|x|²` of eight rows: those of a block of the lines.
struct SquaredNorms<'a, T: Scalar> {
    lines: &'a [T::Line],
    block: usize,
}

impl<T: Scalar> Vectorized for SquaredNorms<'_, T> {
    type Output = [Block; 2];

    #[inline(always)]
    fn run<V: Vector>(self) -> Self::Output {
        let (mut sum, mut low) = (V::splat(0.0), V::splat(0.0));
        for line in self.lines {
            let entry: V = T::load(line, self.block);
            let (square, square_error) = two_product(entry, entry);
            let (next, sum_error) = two_sum(sum, square);
            (sum, low) = (next, low + (square_error + sum_error));
        }
        let mut parts = [[0.0; WIDTH]; 2];
        let (sum, low) = two_sum(sum, low);
        sum.store(&mut parts[0]);
        low.store(&mut parts[1]);
        parts
    }
}

/// Computes the unit vectors `x/|x|` of eight rows in double-double precision.
#[derive(Debug)]
pub(crate) struct Units<'a> {
    /// The entries of the rows, side by side.
    pub entries: &'a [Block],
    /// The high and the low parts of the inverse norms.
    pub inverses: [&'a Block; 2],
    /// The high and the low parts of the unit vectors.
    pub units: &'a mut Vec<[Block; 2]>,
}

impl Units<'_> {
    /// Resizes and fills `units`.
    pub(crate) fn fill(self, isa: Isa) {
        self.units.clear();
        self.units.resize(self.entries.len(), [[0.0; WIDTH]; 2]);
        isa.run(self);
    }
}

impl Vectorized for Units<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let [inverse, inverse_low] = self.inverses.map(V::load);
        for (entry, unit) in self.entries.iter().zip(self.units) {
            let entry = V::load(entry);
            let (value, error) = two_product(entry, inverse);
            value.store(&mut unit[0]);
            (error + entry * inverse_low).store(&mut unit[1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::pool::unwatched;
    use ndarray::Array2;

    #[test]
    fn norms_have_twice_the_digits_of_f64() {
        // 3² + 4² + (2⁻³⁴)²: the last term is beyond the digits of f64.
        let tiny = 2.0_f64.powi(-34);
        for isa in Isa::available() {
            let matrix = Array2::from_shape_vec((1, 3), vec![3.0, 4.0, tiny]).unwrap();
            let (rows, exponents) =
                Panels::pack_scaled(matrix.view(), "X", &mut unwatched).unwrap();
            let normed = NormedRows::new(rows.with_isa(isa), &exponents, &mut unwatched).unwrap();
            let root = normed.root_mean_square(0);
            let square = root * root * 3.0.into() - 25.0.into();
            assert!((square.hi / (tiny * tiny) - 1.0).abs() < 1e-6, "{isa}");
            assert_eq!(normed.own_gap(0), 0.0);
        }
        let zero = Array2::<f32>::zeros((9, 2));
        let (rows, exponents) = Panels::pack_scaled(zero.view(), "X", &mut unwatched).unwrap();
        let normed = NormedRows::new(rows, &exponents, &mut unwatched).unwrap();
        assert!((0..9).all(|row| normed.root_mean_square(row) == 0.0.into()));
        assert_eq!(normed.own_gap(8), 1.0);
    }
}
