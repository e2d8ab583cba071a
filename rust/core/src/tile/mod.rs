//! Output tiles: what one is, who computes it, how products fill it and where it is stored.

mod canvas;
mod product;

use std::ops::Range;

use crate::error::Result;
use crate::isa::Block;

pub use canvas::{Canvas, Slot};
pub use product::{add_product, product};

/// Rows and columns of a tile: a multiple of every panel width, small enough that a tile stays in L2.
pub const EDGE: usize = 96;

/// The rows and columns of the output that one tile covers; both start at a multiple of [`EDGE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area {
    /// Output rows.
    pub rows: Range<usize>,
    /// Output columns.
    pub cols: Range<usize>,
}

/// A kernel between rows and columns of packed samples, computed tile by tile.
///
/// **Entry purity**: the value at (i, j) must depend, bitwise, on row i and column j alone: not on the area, and
/// not on which of the two is the row. Then no driver, tile size or thread count changes a bit.
pub trait TileKernel: Sync {
    /// Buffers that a worker reuses from tile to tile.
    type Scratch: Default;

    /// The number of output rows.
    fn rows(&self) -> usize;

    /// The number of output columns.
    fn cols(&self) -> usize;

    /// How many outputs one entry has: a tile of each is produced.
    fn planes(&self) -> usize;

    /// Fills `planes` with the outputs of `area`.
    fn compute(&self, area: &Area, scratch: &mut Self::Scratch, planes: &mut [Tile]);

    /// Called once all tiles are computed: fails if what they hold is not to be used.
    ///
    /// # Errors
    /// Those of the kernel; by default none.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// A row-major block of `f64` values, with room for whole panels.
#[derive(Clone, Debug, Default)]
pub struct Tile {
    values: Vec<f64>,
    cols: usize,
}

impl Tile {
    /// Makes this a tile of zeros. Its memory is reused.
    pub fn reset(&mut self, rows: usize, cols: usize) {
        self.values.clear();
        self.values.resize(rows * cols, 0.0);
        self.cols = cols;
    }

    /// Makes this a tile whose values are arbitrary until they are written. Its memory is reused.
    pub fn reshape(&mut self, rows: usize, cols: usize) {
        self.values.resize(rows * cols, 0.0);
        self.cols = cols;
    }

    /// Row `r`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, r: usize) -> &[f64] {
        &self.values[r * self.cols..(r + 1) * self.cols]
    }

    /// Row `r`, to write.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row_mut(&mut self, r: usize) -> &mut [f64] {
        &mut self.values[r * self.cols..(r + 1) * self.cols]
    }

    /// The first rows, one after the other, to write.
    ///
    /// # Panics
    /// If there are fewer rows.
    pub fn first_rows_mut(&mut self, rows: usize) -> &mut [f64] {
        &mut self.values[..rows * self.cols]
    }

    /// The blocks of row `r` of a tile of whole panels.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row_blocks(&self, r: usize) -> &[Block] {
        self.row(r).as_chunks().0
    }

    /// The blocks of row `r` of a tile of whole panels, to write.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row_blocks_mut(&mut self, r: usize) -> &mut [Block] {
        self.row_mut(r).as_chunks_mut().0
    }
}
