//! Transposed and mirrored tiles, one block of eight rows and columns at a time.

use std::array::from_fn;

use super::Tile;
use crate::isa::{Vector, Vectorized, WIDTH};

/// Copies the blocks below the diagonal, transposed, above it.
pub(super) struct Mirror<'a> {
    pub(super) tile: &'a mut Tile,
}

impl Vectorized for Mirror<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let tile = self.tile;
        let rows = tile.shape[0];
        for band in 1..rows.div_ceil(WIDTH) {
            for column in 0..band {
                // Past the last row the block repeats it. These values land in the filling of the target's rows.
                let row = |r: usize| (band * WIDTH + r).min(rows - 1);
                let block = from_fn(|r| V::load(&tile.row_blocks(row(r))[column]));
                for (r, row) in V::transpose(block).into_iter().enumerate() {
                    row.store(&mut tile.row_blocks_mut(column * WIDTH + r)[band]);
                }
            }
        }
    }
}

/// Fills `target` with the transpose of `source`.
pub(super) struct Transpose<'a> {
    pub(super) source: &'a Tile,
    pub(super) target: &'a mut Tile,
}

impl Vectorized for Transpose<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let [rows, cols] = self.source.shape;
        for band in 0..rows.div_ceil(WIDTH) {
            for column in 0..cols.div_ceil(WIDTH) {
                // Past the last row the block repeats it. These values land in the filling of the target's rows.
                let row = |r: usize| (band * WIDTH + r).min(rows - 1);
                let block = from_fn(|r| V::load(&self.source.row_blocks(row(r))[column]));
                let targets = column * WIDTH..cols.min((column + 1) * WIDTH);
                for (target, values) in targets.zip(V::transpose(block)) {
                    values.store(&mut self.target.row_blocks_mut(target)[band]);
                }
            }
        }
    }
}
