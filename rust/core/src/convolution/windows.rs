//! Sums over windows: the columns of a row of windows first, then those of each window.

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
