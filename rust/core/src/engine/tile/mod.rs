//! Output tiles: what one is, who computes it, how products fill it and where it is stored.

mod canvas;
mod product;
mod transpose;

use std::ops::Range;

use crate::error::Result;
use crate::isa::{Block, Isa, Lanes, Pod, WIDTH};

pub use canvas::{Canvas, Slot};
pub use product::{add_product, product, product_cycles, sum_of_products};
use transpose::{Mirror, Transpose};

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

    /// About how many cycles of one thread an entry takes.
    fn entry_cycles(&self) -> f64;

    /// About how many cycles of one thread all entries take.
    fn cycles(&self) -> f64 {
        self.rows() as f64 * self.cols() as f64 * self.entry_cycles()
    }

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

/// A row-major block of `f64` values, with room for whole panels: every row begins a cache line.
#[derive(Clone, Debug, Default)]
pub struct Tile {
    lines: Vec<Lanes<f64, WIDTH>>,
    shape: [usize; 2],
}

impl Tile {
    /// Makes this a tile of zeros. Its memory is reused.
    pub fn reset(&mut self, rows: usize, cols: usize) {
        self.lines.clear();
        self.reshape(rows, cols);
    }

    /// Makes this a tile whose values are arbitrary until they are written. Its memory is reused.
    pub fn reshape(&mut self, rows: usize, cols: usize) {
        self.shape = [rows, cols];
        self.lines.resize(rows * self.stride() / WIDTH, Pod::ZERO);
    }

    /// Rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// From one row to the next.
    fn stride(&self) -> usize {
        self.shape[1].next_multiple_of(WIDTH)
    }

    /// Row `r`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, r: usize) -> &[f64] {
        let start = r * self.stride();
        &Lanes::values(&self.lines)[start..start + self.shape[1]]
    }

    /// Row `r`, to write.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row_mut(&mut self, r: usize) -> &mut [f64] {
        let (start, cols) = (r * self.stride(), self.shape[1]);
        &mut self.values_mut()[start..start + cols]
    }

    /// All rows, one [`Tile::stride`] after the other.
    fn values_mut(&mut self) -> &mut [f64] {
        Lanes::values_mut(&mut self.lines)
    }

    /// The first rows, one after the other, each filled up to whole blocks with arbitrary values.
    ///
    /// # Panics
    /// If there are fewer rows.
    pub fn first_rows_mut(&mut self, rows: usize) -> &mut [f64] {
        let end = rows * self.stride();
        &mut self.values_mut()[..end]
    }

    /// The blocks of row `r`, the last one filled up with arbitrary values.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row_blocks(&self, r: usize) -> &[Block] {
        let stride = self.stride();
        Lanes::values(&self.lines)[r * stride..(r + 1) * stride]
            .as_chunks()
            .0
    }

    /// The blocks of row `r`, to write.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row_blocks_mut(&mut self, r: usize) -> &mut [Block] {
        let stride = self.stride();
        self.values_mut()[r * stride..(r + 1) * stride]
            .as_chunks_mut()
            .0
    }

    /// Copies what lies below the diagonal above it, in blocks: those on the diagonal are whole.
    ///
    /// # Panics
    /// If there are fewer columns than rows.
    pub fn mirror(&mut self, isa: Isa) {
        isa.run(Mirror { tile: self });
    }

    /// Makes `target` the transpose of this. Its rows are filled up to whole blocks.
    pub fn transpose(&self, isa: Isa, target: &mut Self) {
        let [rows, cols] = self.shape;
        target.reshape(cols, rows);
        isa.run(Transpose {
            source: self,
            target,
        });
    }
}
