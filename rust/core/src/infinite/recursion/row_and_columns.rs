//! Numbers of one input, and of those it is paired with.

use std::ops::Range;

use crate::isa::{Block, Blocks, Vector};

/// Numbers of row `i`, and of blocks of columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowAndColumns<'a, const N: usize> {
    row: [f64; N],
    cols: [&'a [Block]; N],
}

impl<'a, const N: usize> RowAndColumns<'a, N> {
    pub(super) fn new(
        (rows, i): (&[Blocks; N], usize),
        (cols, blocks): (&'a [Blocks; N], &Range<usize>),
    ) -> Self {
        Self {
            row: rows.each_ref().map(|numbers| numbers.get(i)),
            cols: cols
                .each_ref()
                .map(|numbers| &numbers.blocks()[blocks.clone()]),
        }
    }

    /// A number of the row, and of a block of columns.
    #[inline(always)]
    pub(super) fn pair<V: Vector>(&self, index: usize, block: usize) -> [V; 2] {
        [V::splat(self.row[index]), V::load(&self.cols[index][block])]
    }

    /// The product of both.
    #[inline(always)]
    pub(super) fn product<V: Vector>(&self, index: usize, block: usize) -> V {
        let [row, col] = self.pair::<V>(index, block);
        row * col
    }

    /// All of the row, and of a block of columns.
    #[inline(always)]
    pub(super) fn all<V: Vector>(&self, block: usize) -> [[V; N]; 2] {
        let (mut row, mut col) = ([V::splat(0.0); N], [V::splat(0.0); N]);
        for index in 0..N {
            [row[index], col[index]] = self.pair(index, block);
        }
        [row, col]
    }
}
