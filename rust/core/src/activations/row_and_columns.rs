//! Numbers of one row and of the columns that it is paired with, as vectors.

use crate::activations::row_pairs::RowPairs;
use crate::isa::{Block, Blocks, Vector};

/// N numbers of one row, and the same N numbers of each column.
#[derive(Clone, Copy, Debug)]
pub struct RowAndColumns<'a, const N: usize> {
    row: [f64; N],
    cols: [&'a [Block]; N],
}

impl<'a, const N: usize> RowAndColumns<'a, N> {
    /// The numbers of `pairs`, out of those of both batches.
    pub fn new(pairs: &RowPairs, rows: &[Blocks; N], cols: &'a [Blocks; N]) -> Self {
        Self {
            row: rows.each_ref().map(|numbers| numbers.get(pairs.row)),
            cols: cols.each_ref().map(|numbers| pairs.cols(numbers)),
        }
    }

    /// Number `index` of the row, and of a block of columns.
    #[inline(always)]
    pub fn pair<V: Vector>(&self, index: usize, block: usize) -> [V; 2] {
        [V::splat(self.row[index]), V::load(&self.cols[index][block])]
    }

    /// The product of number `index` of the row and of a block of columns.
    #[inline(always)]
    pub fn product<V: Vector>(&self, index: usize, block: usize) -> V {
        let [row, col] = self.pair::<V>(index, block);
        row * col
    }

    /// All numbers of the row, and of a block of columns.
    #[inline(always)]
    pub fn all<V: Vector>(&self, block: usize) -> [[V; N]; 2] {
        let (mut row, mut col) = ([V::splat(0.0); N], [V::splat(0.0); N]);
        for index in 0..N {
            [row[index], col[index]] = self.pair(index, block);
        }
        [row, col]
    }
}
