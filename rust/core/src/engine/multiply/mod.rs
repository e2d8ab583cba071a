//! Driver for products of a kernel with vectors: each tile is multiplied as it is made, and none is kept.
//!
//! Rows and columns are cut into at most `BANDS` bands. A task computes the tiles of one pair of bands and sums their
//! products; in a symmetric kernel each tile serves twice. The sums of tasks are added at the end, in the order of the
//! column bands: the bits do not depend on which thread computed them. Memory: BANDS times the result.
//!
//! A task passes over the tiles of a run, several beside each other, strip by strip of [`TileKernel::strip`] rows: a strip of
//! one tile, and then that of the next. If the entries are read from memory, they come in long pieces then, and the strip
//! stays in L1 between both uses.
//!
//! [`ProductSums`] are these sums, `pairs` the pairs of bands with their runs, `vectors` the format of vectors and sums, and
//! `tile_products` the loops over one strip of a tile.

mod pairs;
mod tile_products;
mod vectors;

use std::ops::Range;
use std::slice;
use std::sync::Mutex;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis};

use crate::engine::pool::{self, Load, Stages, Stop, Watch, lock};
use crate::engine::tile::{Area, Tile, TileKernel};
use crate::error::{Error, Result};
use crate::isa::{Isa, WIDTH};

use pairs::RUN;
pub use pairs::{Half, Pair};
pub use vectors::Vectors;

/// The largest number of bands that rows or columns are cut into.
const BANDS: usize = 16;

/// Returns `K V`, (rows, r), for the kernel's only plane K and vectors V, (columns, r), in `f64`. If `symmetric`, the
/// kernel's rows and columns are the same, and only half of it is computed.
///
/// # Errors
/// [`Error::Shape`] if V does not have one row per column of K, [`Error::Invalid`] if the product is not finite,
/// [`Error::Cancelled`], [`Error::Panicked`]; as [`TileKernel::check`].
///
/// # Panics
/// If the kernel has several planes.
pub fn multiply<K: TileKernel>(
    kernel: &K,
    symmetric: bool,
    vectors: ArrayView2<'_, f64>,
    watch: &mut Watch<'_>,
) -> Result<Array2<f64>> {
    assert_eq!(kernel.planes(), 1);
    let (rows, cols) = (kernel.rows(), kernel.cols());
    Error::check_shape("V", vectors.shape(), &[cols, vectors.ncols()])?;
    let half = if symmetric { Half::Upper } else { Half::All };
    let edge = kernel.edge();
    let bands = [rows, cols].map(|len| band_edge(len, edge));
    let pairs = Area::whole(rows, cols).cut(bands, symmetric);
    let pairs = pairs.map(|area| Pair::new(area, half)).collect();
    let sums = ProductSums::new(pairs, Vectors::new(vectors), edge)?;
    let added = (rows * vectors.ncols() * BANDS.min(cols.div_ceil(edge))) as f64;
    let shares = [kernel.cycles(), added];
    let mut stages = Stages::new(watch, &shares);
    stages.next(|watch| sums.add(kernel, slice::from_ref(&(0..rows)), kernel.cycles(), watch))?;
    kernel.check()?;
    stages.next(|watch| sums.total(rows, watch))
}

/// The number of rows or columns of a band, of `len` altogether: whole tiles of this edge.
fn band_edge(len: usize, edge: usize) -> usize {
    len.div_ceil(edge).div_ceil(BANDS).max(1) * edge
}

/// The contribution of one band of columns to one band of rows of the product.
struct RowSums {
    rows: Range<usize>,
    /// The first of the columns.
    from: usize,
    vectors: Vectors,
}

impl RowSums {
    /// Sums of nothing yet, for vectors like these.
    fn zeros(rows: &Range<usize>, from: usize, like: &Vectors) -> Self {
        Self {
            rows: rows.clone(),
            from,
            vectors: like.zeros(rows.len()),
        }
    }
}

/// The products of pairs of bands with vectors, to which more and more tiles are added.
pub struct ProductSums {
    isa: Isa,
    vectors: Vectors,
    /// The edge of the tiles.
    edge: usize,
    /// The sums of each pair: `K V` on its rows, and off the diagonal of a symmetric kernel `Kᵀ V` on its columns.
    pairs: Vec<(Pair, Mutex<Vec<RowSums>>)>,
}

impl ProductSums {
    /// Sums of nothing yet, for tiles of this edge.
    ///
    /// # Errors
    /// As [`Isa::current`].
    pub fn new(pairs: Vec<Pair>, vectors: Vectors, edge: usize) -> Result<Self> {
        let pairs = pairs.into_iter();
        Ok(Self {
            isa: Isa::current()?,
            vectors,
            edge,
            pairs: pairs.map(|pair| (pair, Mutex::default())).collect(),
        })
    }

    /// The number of vectors.
    pub fn count(&self) -> usize {
        self.vectors.count()
    }

    /// Adds the products of all tiles in these ranges of rows. `cycles` is the estimated cost on one thread.
    ///
    /// # Errors
    /// [`Error::Cancelled`], [`Error::Panicked`]; the sums must not be used then.
    pub fn add<K: TileKernel>(
        &self,
        kernel: &K,
        rows: &[Range<usize>],
        cycles: f64,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let runs = |pair: &Pair| {
            let pair = pair.clone();
            rows.iter().flat_map(move |rows| pair.runs(rows, self.edge))
        };
        let touched = |(pair, _): &&(Pair, _)| runs(pair).next().is_some();
        let pairs: Vec<_> = self.pairs.iter().filter(touched).collect();
        let load = Load::new(pairs.len(), cycles);
        let work = |worker: &mut Worker<K>, (pair, sums): &(Pair, Mutex<_>), stop: &Stop| {
            let mut sums = lock(sums);
            let mut sums = PairTotals::of(pair, &mut sums, self);
            for run in runs(pair) {
                if stop.requested() {
                    break;
                }
                sums.add_run(kernel, &run, worker, stop);
            }
        };
        let worker = || Worker::new(self);
        pool::for_each(pairs.into_iter(), load, watch, worker, work)
    }

    /// Returns the product of `rows` rows: the sums of all pairs in ascending order of their columns.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is not finite, [`Error::Cancelled`], [`Error::Panicked`].
    pub fn total(&self, rows: usize, watch: &mut Watch<'_>) -> Result<Array2<f64>> {
        let guards: Vec<_> = self.pairs.iter().map(|(_, sums)| lock(sums)).collect();
        let mut sums: Vec<&RowSums> = guards.iter().flat_map(|sums| sums.iter()).collect();
        sums.sort_by_key(|sums| sums.from);
        let mut product = Array2::zeros((rows, self.count()));
        let each = (self.edge * self.count() * BANDS) as f64;
        let parts = product.axis_chunks_iter_mut(Axis(0), self.edge).enumerate();
        let load = Load::new(parts.len(), each * parts.len() as f64);
        let add = |(): &mut (), (part, product): (usize, ArrayViewMut2<'_, f64>), _: &Stop| {
            add_sums(&sums, part * self.edge, product);
        };
        pool::for_each(parts, load, watch, || (), add)?;
        check_finite(&product).map(|()| product)
    }
}

/// Checks that the product is finite.
fn check_finite(product: &Array2<f64>) -> Result<()> {
    if product.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    let message = "the product leaves the range of float64: scale X, sigma_w or the vectors";
    Err(Error::Invalid(message.into()))
}

/// Adds the sums, in their order, to the rows of the product from `first` on. They are rows of a single band.
fn add_sums(sums: &[&RowSums], first: usize, mut product: ArrayViewMut2<'_, f64>) {
    for sums in sums.iter().filter(|sums| sums.rows.contains(&first)) {
        sums.vectors.add_to(first - sums.rows.start, &mut product);
    }
}

/// The scratch space of a worker, reused between tiles.
struct Worker<K: TileKernel> {
    scratch: K::Scratch,
    planes: [Tile; 1],
    /// The products of the transposed tiles of a run, while its strips are added.
    totals: Vectors,
}

impl<K: TileKernel> Worker<K> {
    fn new(all: &ProductSums) -> Self {
        Self {
            scratch: K::Scratch::default(),
            planes: [Tile::default()],
            totals: all.vectors.zeros(RUN * all.edge),
        }
    }
}

/// The sums of one pair, while tiles are added.
struct PairTotals<'a> {
    pair: &'a Pair,
    sums: &'a mut [RowSums],
    isa: Isa,
    vectors: &'a Vectors,
}

impl<'a> PairTotals<'a> {
    /// The sums of a pair, zeros at first.
    fn of(pair: &'a Pair, sums: &'a mut Vec<RowSums>, all: &'a ProductSums) -> Self {
        let (area, vectors) = (&pair.area, &all.vectors);
        if sums.is_empty() {
            sums.push(RowSums::zeros(&area.rows, area.cols.start, vectors));
            if pair.mirrors(area) {
                sums.push(RowSums::zeros(&area.cols, area.rows.start, vectors));
            }
        }
        let isa = all.isa;
        Self {
            pair,
            sums,
            isa,
            vectors,
        }
    }

    /// Adds the products of a run.
    fn add_run<K: TileKernel>(
        &mut self,
        kernel: &K,
        run: &Area,
        worker: &mut Worker<K>,
        stop: &Stop,
    ) {
        let mirrored = self.pair.mirrors(run);
        let (edge, strip) = (
            kernel.edge(),
            if mirrored {
                kernel.strip()
            } else {
                kernel.edge()
            },
        );
        let mut areas = run.clone().cut([strip, edge], false).peekable();
        while let Some(area) = areas.next() {
            if stop.requested() {
                return;
            }
            kernel.compute(&area, &mut worker.scratch, &mut worker.planes, stop);
            if let Some(next) = areas.peek() {
                kernel.prefetch(next);
            }
            clear_filling(&mut worker.planes[0], &area);
            self.add_direct(&area, &worker.planes[0]);
            if mirrored {
                let (tile, totals) = (&worker.planes[0], &mut worker.totals);
                let to = area.cols.start - run.cols.start..area.cols.end - run.cols.start;
                tile_products::add_transposed(
                    self.isa,
                    tile,
                    self.vectors,
                    &area.rows,
                    totals,
                    &to,
                );
            }
        }
        if mirrored {
            // In a pair on the diagonal both halves belong to the same rows.
            let sums = self.sums.len() - 1;
            let sums = &mut self.sums[sums];
            let rows = within(sums, &run.cols);
            sums.vectors.take(self.isa, &rows, &mut worker.totals);
        }
    }

    /// Adds the products of a strip of a tile to the sums of its rows.
    fn add_direct(&mut self, area: &Area, tile: &Tile) {
        let sums = &mut self.sums[0];
        let (isa, to) = (self.isa, within(sums, &area.rows));
        tile_products::add(isa, tile, self.vectors, &area.cols, &mut sums.vectors, &to);
    }
}

/// The places of a range of rows within sums.
fn within(sums: &RowSums, rows: &Range<usize>) -> Range<usize> {
    rows.start - sums.rows.start..rows.end - sums.rows.start
}

/// Writes zeros past the last column of an area, up to a whole block.
fn clear_filling(tile: &mut Tile, area: &Area) {
    let cols = area.cols.len();
    if !cols.is_multiple_of(WIDTH) {
        for row in 0..area.rows.len() {
            let values = tile.row_blocks_mut(row).as_flattened_mut();
            values[cols..cols.next_multiple_of(WIDTH)].fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests;
