//! Output tiles: the unit of work of every driver. A tile is computed as a whole by one worker, and used once.
//!
//! [`Tile`] holds the values and [`TileKernel`] computes them. `areas` lists the tiles of a matrix, `product` fills them
//! with products of packed rows (`prefetch` decides what it fetches ahead), `transpose` mirrors them, `add_rows`
//! adds what is stored to them, and `canvas` stores them in the output arrays: the only `unsafe` code of this folder.

mod add_rows;
mod areas;
mod canvas;
mod prefetch;
mod product;
mod transpose;

use crate::engine::pool::Stop;
use crate::error::Result;
use crate::isa::{Block, Isa, Lanes, Pod, WIDTH};

pub use areas::{Area, area_count, areas};
pub use canvas::{Canvas, Slot};
pub use product::{add_product, product, product_cycles, sum_of_products};
use transpose::{Mirror, Transpose};

/// The number of rows and of columns of a tile: a multiple of every panel width, small enough that a tile stays in L2.
pub const EDGE: usize = 96;

/// A kernel between rows and columns of packed samples, computed tile by tile.
///
/// **Entry purity**: the value at (i, j) must depend, bitwise, on row i and column j alone. It must not depend on the
/// area, nor on which of the two is the row. Then no driver, tile size or thread count changes a bit.
pub trait TileKernel: Sync {
    /// Per-worker scratch space, reused between tiles.
    type Scratch: Default;

    /// The number of output rows.
    fn rows(&self) -> usize;

    /// The number of output columns.
    fn cols(&self) -> usize;

    /// The number of outputs per entry. Each has tiles of its own.
    fn planes(&self) -> usize;

    /// Estimated cycles per entry, on one thread.
    fn entry_cycles(&self) -> f64;

    /// Estimated cycles for all entries, on one thread.
    fn cycles(&self) -> f64 {
        self.rows() as f64 * self.cols() as f64 * self.entry_cycles()
    }

    /// The number of rows and of columns of a tile: a multiple of [`WIDTH`], and at most [`EDGE`]. Entries that take
    /// long need small tiles, so that there is work for all threads.
    fn edge(&self) -> usize {
        EDGE
    }

    /// The number of rows that a product with vectors computes at a time off the diagonal: a multiple of [`WIDTH`] that
    /// divides [`TileKernel::edge`]. Entries that cost less than their way through the caches need few rows.
    fn strip(&self) -> usize {
        self.edge()
    }

    /// Asks the caches for all that the outputs of `area` need. By default it does nothing.
    fn prefetch(&self, _area: &Area) {}

    /// Fills one tile per plane with the outputs of `area`. Where a stop is requested, the values are not used.
    fn compute(&self, area: &Area, scratch: &mut Self::Scratch, planes: &mut [Tile], stop: &Stop);

    /// Called once all tiles are computed. By default it does nothing.
    ///
    /// # Errors
    /// An error of the kernel if the values must not be used.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// A row-major matrix of `f64` values. Every row starts on a cache line and has room for whole blocks.
#[derive(Clone, Debug, Default)]
pub struct Tile {
    lines: Vec<Lanes<f64, WIDTH>>,
    shape: [usize; 2],
}

impl Tile {
    /// Makes this a tile of zeros, in the same memory.
    pub fn reset(&mut self, rows: usize, cols: usize) {
        self.lines.clear();
        self.reshape(rows, cols);
    }

    /// Makes this a tile of arbitrary values, in the same memory.
    ///
    /// # Panics
    /// If there are more values than memory has addresses.
    pub fn reshape(&mut self, rows: usize, cols: usize) {
        self.shape = [rows, cols];
        let lines = rows.checked_mul(cols.div_ceil(WIDTH));
        assert!(lines.is_some(), "a tile of {rows} rows and {cols} columns");
        self.lines.resize(lines.unwrap_or(0), Pod::ZERO);
    }

    /// The number of rows and of columns.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// The distance from one row to the next.
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

    /// Row `r`, mutable.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row_mut(&mut self, r: usize) -> &mut [f64] {
        let (start, cols) = (r * self.stride(), self.shape[1]);
        &mut self.values_mut()[start..start + cols]
    }

    /// All rows, one per [`Tile::stride`], mutable.
    fn values_mut(&mut self) -> &mut [f64] {
        Lanes::values_mut(&mut self.lines)
    }

    /// The first `rows` rows, mutable, each filled up to whole blocks with arbitrary values.
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

    /// The blocks of all rows, and the number of blocks of each.
    pub fn blocks(&self) -> (&[Block], usize) {
        let blocks = Lanes::values(&self.lines).as_chunks().0;
        (blocks, self.stride() / WIDTH)
    }

    /// The blocks of row `r`, mutable.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row_blocks_mut(&mut self, r: usize) -> &mut [Block] {
        let stride = self.stride();
        self.values_mut()[r * stride..(r + 1) * stride]
            .as_chunks_mut()
            .0
    }

    /// Copies the blocks below the diagonal, transposed, above it. Blocks on the diagonal stay as they are.
    ///
    /// # Panics
    /// If there are fewer columns than rows.
    pub fn mirror(&mut self, isa: Isa) {
        isa.run(Mirror { tile: self });
    }

    /// Makes `target` the transpose of this tile. Its rows are filled up to whole blocks with arbitrary values.
    pub fn transpose(&self, isa: Isa, target: &mut Self) {
        let [rows, cols] = self.shape;
        target.reshape(cols, rows);
        isa.run(Transpose {
            source: self,
            target,
        });
    }
}
