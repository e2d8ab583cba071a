//! Driver for products of a kernel with vectors: each tile is multiplied as it is made, and none is kept.
//!
//! Rows and columns are cut into at most `BANDS` bands. A task computes the tiles of one pair of bands and sums their
//! products; in a symmetric kernel each tile serves twice. The sums of tasks are added at the end, in the order of the
//! column bands: the bits do not depend on which thread computed them. Memory: BANDS times the result.
//!
//! [`ProductSums`] are these sums, `vectors` the format of vectors and sums, and `tile_products` the loops over one tile.

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

/// The tiles of a pair of bands that are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// All tiles.
    All,
    /// In a symmetric kernel, those on and above the diagonal.
    Upper,
    /// In a symmetric kernel, those on and below the diagonal.
    Lower,
}

/// A band of rows and a band of columns.
#[derive(Clone, Debug)]
pub struct Pair {
    area: Area,
    half: Half,
}

impl Pair {
    /// The pair of the rows and columns of this area.
    pub fn new(area: Area, half: Half) -> Self {
        Self { area, half }
    }

    /// The tiles of this edge in some of the rows, row by row.
    fn tiles(&self, rows: &Range<usize>, edge: usize) -> impl Iterator<Item = Area> + use<> {
        let Self { area, half } = self.clone();
        let (start, end) = (area.rows.start.max(rows.start), area.rows.end.min(rows.end));
        let cols = area.cols;
        (start..end).step_by(edge).flat_map(move |row| {
            let bottom = end.min(row + edge);
            let (from, to) = match half {
                Half::All => (cols.start, cols.end),
                Half::Upper => (cols.start.max(row), cols.end),
                Half::Lower => (cols.start, cols.end.min(row + edge)),
            };
            (from..to).step_by(edge).map(move |col| Area {
                rows: row..bottom,
                cols: col..to.min(col + edge),
            })
        })
    }

    /// Returns true if an area of this pair stands for its mirror image too.
    fn mirrors(&self, area: &Area) -> bool {
        self.half != Half::All && area.rows.start != area.cols.start
    }
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
        let touched = |(pair, _): &&(Pair, _)| {
            let mut tiles = rows.iter().flat_map(|rows| pair.tiles(rows, self.edge));
            tiles.next().is_some()
        };
        let pairs: Vec<_> = self.pairs.iter().filter(touched).collect();
        let load = Load::new(pairs.len(), cycles);
        let work =
            |worker: &mut (K::Scratch, [Tile; 1]), (pair, sums): &(Pair, Mutex<_>), stop: &Stop| {
                let mut sums = lock(sums);
                let mut sums = PairTotals::of(pair, &mut sums, self);
                for area in rows.iter().flat_map(|rows| pair.tiles(rows, self.edge)) {
                    if stop.requested() {
                        break;
                    }
                    kernel.compute(&area, &mut worker.0, &mut worker.1, stop);
                    clear_filling(&mut worker.1[0], &area);
                    sums.add(&area, &worker.1[0]);
                }
            };
        pool::for_each(pairs.into_iter(), load, watch, Default::default, work)
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

    /// Adds the products of one tile.
    fn add(&mut self, area: &Area, tile: &Tile) {
        let (vectors, rows) = (self.vectors, area.rows.clone());
        let within = |sums: &RowSums, range: &Range<usize>| {
            range.start - sums.rows.start..range.end - sums.rows.start
        };
        let direct = &mut self.sums[0];
        let target = within(direct, &area.rows);
        tile_products::add(
            self.isa,
            tile,
            vectors,
            &area.cols,
            &mut direct.vectors,
            &target,
        );
        if self.pair.mirrors(area) {
            // In a pair on the diagonal both halves belong to the same rows.
            let last = self.sums.len() - 1;
            let mirrored = &mut self.sums[last];
            let target = within(mirrored, &area.cols);
            let sums = &mut mirrored.vectors;
            tile_products::add_transposed(self.isa, tile, vectors, &rows, sums, &target);
        }
    }
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
mod tests {
    use super::*;
    use crate::engine::pool::unwatched;

    /// A square kernel of ones, whose tiles hold NaN past their last column.
    struct Ones(usize);

    impl TileKernel for Ones {
        type Scratch = ();

        fn rows(&self) -> usize {
            self.0
        }

        fn cols(&self) -> usize {
            self.0
        }

        fn planes(&self) -> usize {
            1
        }

        fn entry_cycles(&self) -> f64 {
            1.0
        }

        fn compute(&self, area: &Area, (): &mut (), planes: &mut [Tile], _: &Stop) {
            planes[0].reset(area.rows.len(), area.cols.len().next_multiple_of(WIDTH));
            for row in 0..area.rows.len() {
                let row = planes[0].row_mut(row);
                row.fill(f64::NAN);
                row[..area.cols.len()].fill(1.0);
            }
        }
    }

    #[test]
    fn values_past_the_last_column_do_not_count() {
        for n in [1, 13, 96, 101] {
            for symmetric in [false, true] {
                for count in [1, 2, 4, 5, 8, 11] {
                    let vectors = Array2::ones((n, count));
                    let product = multiply(&Ones(n), symmetric, vectors.view(), &mut unwatched);
                    assert_eq!(
                        product.unwrap(),
                        vectors * n as f64,
                        "{n} {symmetric} {count}"
                    );
                }
            }
        }
    }
}
