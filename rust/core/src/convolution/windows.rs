//! Sums over the windows of a row: each column of pixels is summed once, and serves all windows that hold it.

use super::axis::AxisLayer;
use super::buffers::Lines;
use crate::isa::{Block, Vector};

/// Sums columns of `width` places: `taps` places below each other, `stride` places apart.
#[inline(always)]
pub(super) fn sum_columns<V: Vector>(
    plane: &Lines,
    sums: &mut Lines,
    from: usize,
    [taps, stride, width]: [usize; 3],
) {
    let values = &plane.blocks()[from..from + (taps - 1) * stride + width];
    let sums = &mut sums.blocks_mut()[..width];
    if taps == 3 {
        // The usual window, without a loop.
        let (first, rest) = values.split_at(stride);
        let (second, third) = rest.split_at(stride);
        let rows = first.iter().zip(second).zip(third);
        for (sum, ((a, b), c)) in sums.iter_mut().zip(rows) {
            (V::load(a) + V::load(b) + V::load(c)).store(sum);
        }
        return;
    }
    for (x, sum) in sums.iter_mut().enumerate() {
        let mut total = V::load(&values[x]);
        for tap in 1..taps {
            total = total + V::load(&values[x + tap * stride]);
        }
        total.store(sum);
    }
}

/// The sum of the columns of one window.
#[inline(always)]
pub(super) fn window_sum<V: Vector>(columns: &[Block], first: usize, window: usize) -> V {
    let columns = &columns[first..first + window];
    if let [a, b, c] = columns {
        return V::load(a) + V::load(b) + V::load(c);
    }
    let mut total = V::load(&columns[0]);
    for column in &columns[1..] {
        total = total + V::load(column);
    }
    total
}

/// Sums over the windows of a row, from left to right.
pub(super) trait WindowSums<V> {
    /// The sum over window x. Windows come one after the other, from 0.
    ///
    /// Implementations must be `#[inline(always)]`.
    fn next(&mut self, x: usize) -> V;
}

/// Sums of 0: no Θ precedes the first layer.
pub(super) struct ZeroSums;

impl<V: Vector> WindowSums<V> for ZeroSums {
    #[inline(always)]
    fn next(&mut self, _x: usize) -> V {
        V::splat(0.0)
    }
}

/// Windows of any size, from the sums of columns.
pub(super) struct ColumnWindows<'a> {
    pub columns: &'a [Block],
    pub layer: &'a AxisLayer,
}

impl<V: Vector> WindowSums<V> for ColumnWindows<'_> {
    #[inline(always)]
    fn next(&mut self, x: usize) -> V {
        window_sum(self.columns, self.layer.stride * x, self.layer.window)
    }
}

/// Windows of 3 × 3 places, one at each place. The last two columns stay in registers.
pub(super) struct SlidingWindows<'a, V> {
    rows: [&'a [Block]; 3],
    columns: [V; 2],
}

impl<'a, V: Vector> SlidingWindows<'a, V> {
    /// `len` windows on a plane with rows of `stride` places, given the place of the first window's first tap.
    #[inline(always)]
    pub fn new(plane: &'a Lines, from: usize, stride: usize, len: usize) -> Self {
        let values = &plane.blocks()[from..];
        let rows = [
            &values[..len + 2],
            &values[stride..][..len + 2],
            &values[2 * stride..][..len + 2],
        ];
        let columns = [column(rows, 0), column(rows, 1)];
        Self { rows, columns }
    }
}

impl<V: Vector> WindowSums<V> for SlidingWindows<'_, V> {
    #[inline(always)]
    fn next(&mut self, x: usize) -> V {
        let ([first, second], third) = (self.columns, column(self.rows, x + 2));
        self.columns = [second, third];
        first + second + third
    }
}

/// The sum of column x of three rows.
#[inline(always)]
fn column<V: Vector>([first, second, third]: [&[Block]; 3], x: usize) -> V {
    V::load(&first[x]) + V::load(&second[x]) + V::load(&third[x])
}
