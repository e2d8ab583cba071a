//! Driver for products of a kernel with vectors: each tile is multiplied as it is made, and none is kept.
//!
//! Rows and columns are cut into at most `BANDS` bands. A task computes the tiles of one pair of bands and sums their
//! products; in a symmetric kernel each tile serves twice. The sums of tasks are added at the end, in the order of the
//! column bands: the bits do not depend on which thread computed them. Memory: BANDS times the result.

use std::mem;
use std::ops::Range;
use std::sync::Mutex;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis};

use crate::engine::pool::{self, Load, Stages, Stop, Watch, lock};
use crate::engine::tile::{Area, EDGE, Tile, TileKernel};
use crate::error::{Error, Result};
use crate::isa::{Block, Isa, Vector, Vectorized, WIDTH, blocks_of};

/// The largest number of bands that rows or columns are cut into.
const BANDS: usize = 16;

/// The number of vectors multiplied at a time: their sums, and as many factors, stay in registers.
const GROUP: usize = 4;

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
    let edge = kernel.edge();
    let band = |len| band_edge(len, edge);
    let pairs = Area::whole(rows, cols).cut([rows, cols].map(band), symmetric);
    let sums: Vec<(Area, Mutex<Vec<RowSums>>)> =
        pairs.map(|pair| (pair, Mutex::default())).collect();
    let task = BandProduct {
        kernel,
        isa: Isa::current()?,
        symmetric,
        vectors: &columns(vectors),
    };
    let count = vectors.ncols();
    let added = (rows * count * BANDS.min(cols.div_ceil(edge))) as f64;
    let shares = [kernel.cycles(), added];
    let mut stages = Stages::new(watch, &shares);
    let load = Load::new(sums.len(), kernel.cycles());
    let work =
        |worker: &mut (K::Scratch, [Tile; 1]), (pair, sums): &(Area, Mutex<_>), stop: &Stop| {
            *lock(sums) = task.run(pair, worker, stop);
        };
    stages.next(|watch| pool::for_each(sums.iter(), load, watch, Default::default, work))?;
    kernel.check()?;
    let taken = |(_, sums): &(Area, Mutex<_>)| mem::take(&mut *lock(sums));
    let mut sums: Vec<_> = sums.iter().flat_map(taken).collect();
    // The order of the sum: ascending columns, whatever the order of the tasks.
    sums.sort_by_key(|sums| sums.from);
    let mut product = Array2::zeros((rows, count));
    let parts = product.axis_chunks_iter_mut(Axis(0), edge).enumerate();
    let load = Load::new(parts.len(), added);
    let add = |(): &mut (), (part, product): (usize, ArrayViewMut2<'_, f64>), _: &Stop| {
        add_sums(&sums, part * edge, product);
    };
    stages.next(|watch| pool::for_each(parts, load, watch, || (), add))?;
    check_finite(&product).map(|()| product)
}

/// Checks that the product is finite.
fn check_finite(product: &Array2<f64>) -> Result<()> {
    if product.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    let message = "the product leaves the range of float64: scale X, sigma_w or the vectors";
    Err(Error::Invalid(message.into()))
}

/// The number of rows or columns of a band, of `len` altogether: whole tiles of this edge.
fn band_edge(len: usize, edge: usize) -> usize {
    len.div_ceil(edge).div_ceil(BANDS).max(1) * edge
}

/// Vectors, or sums of them, each in whole blocks.
type VectorBlocks = Vec<Vec<Block>>;

/// Copies each column of a matrix to whole blocks, filled up with zeros.
fn columns(matrix: ArrayView2<'_, f64>) -> VectorBlocks {
    let blocks = matrix.nrows().div_ceil(WIDTH);
    let mut columns = vec![vec![[0.0; WIDTH]; blocks]; matrix.ncols()];
    for (target, column) in columns.iter_mut().zip(matrix.columns()) {
        let values = target.as_flattened_mut().iter_mut();
        values
            .zip(column)
            .for_each(|(target, value)| *target = *value);
    }
    columns
}

/// The contribution of one band of columns to one band of rows of the product.
struct RowSums {
    rows: Range<usize>,
    /// The first of the columns.
    from: usize,
    vectors: VectorBlocks,
}

impl RowSums {
    /// Sums of nothing yet, for `vectors` vectors.
    fn zeros(rows: &Range<usize>, from: usize, vectors: usize) -> Self {
        Self {
            rows: rows.clone(),
            from,
            vectors: vec![vec![[0.0; WIDTH]; rows.len().div_ceil(WIDTH)]; vectors],
        }
    }
}

/// Adds the sums, in their order, to the rows of the product from `first` on. They are rows of a single band.
fn add_sums(sums: &[RowSums], first: usize, mut product: ArrayViewMut2<'_, f64>) {
    for sums in sums.iter().filter(|sums| sums.rows.contains(&first)) {
        let from = first - sums.rows.start;
        for (mut column, sums) in product.columns_mut().into_iter().zip(&sums.vectors) {
            let values = &sums.as_flattened()[from..];
            column
                .iter_mut()
                .zip(values)
                .for_each(|(sum, value)| *sum += value);
        }
    }
}

/// The product of a pair of bands. All tasks share it.
struct BandProduct<'a, K> {
    kernel: &'a K,
    isa: Isa,
    symmetric: bool,
    vectors: &'a VectorBlocks,
}

impl<K: TileKernel> BandProduct<'_, K> {
    /// Returns the contributions of a pair of bands: `K V` on its rows, and above the diagonal of a symmetric kernel
    /// `Kᵀ V` on its columns.
    fn run(
        &self,
        pair: &Area,
        (scratch, tiles): &mut (K::Scratch, [Tile; 1]),
        stop: &Stop,
    ) -> Vec<RowSums> {
        let count = self.vectors.len();
        let mut direct = RowSums::zeros(&pair.rows, pair.cols.start, count);
        let mut mirrored = (self.symmetric && pair.is_above_diagonal())
            .then(|| RowSums::zeros(&pair.cols, pair.rows.start, count));
        for area in pair.clone().cut([self.kernel.edge(); 2], self.symmetric) {
            if stop.requested() {
                break;
            }
            self.kernel.compute(&area, scratch, tiles, stop);
            clear_filling(&mut tiles[0], &area);
            self.add(&area, &tiles[0], &mut direct);
            if self.symmetric && area.is_above_diagonal() {
                // In a pair on the diagonal both halves belong to the same rows.
                self.add_transposed(&area, &tiles[0], mirrored.as_mut().unwrap_or(&mut direct));
            }
        }
        [direct].into_iter().chain(mirrored).collect()
    }

    /// Adds the product of a tile with the vectors.
    fn add(&self, area: &Area, tile: &Tile, sums: &mut RowSums) {
        let rows = area.rows.len();
        self.add_groups(&area.cols, &area.rows, sums, |vectors, sums| {
            self.isa.run(Direct {
                tile,
                rows,
                vectors,
                sums,
            });
        });
    }

    /// Adds the product of a tile's transpose with the vectors.
    fn add_transposed(&self, area: &Area, tile: &Tile, sums: &mut RowSums) {
        let rows = area.rows.len();
        self.add_groups(&area.rows, &area.cols, sums, |vectors, sums| {
            self.isa.run(Transposed {
                tile,
                rows,
                vectors,
                sums,
            });
        });
    }

    /// Adds `multiply` of the entries `from` of the vectors to the rows `to`, a group of vectors at a time.
    fn add_groups(
        &self,
        from: &Range<usize>,
        to: &Range<usize>,
        sums: &mut RowSums,
        multiply: impl Fn([&[Block]; GROUP], &mut GroupSums),
    ) {
        let start = sums.rows.start;
        let (source, target) = (
            blocks_of(from),
            blocks_of(&(to.start - start..to.end - start)),
        );
        let groups = self.vectors.chunks(GROUP);
        for (vectors, sums) in groups.zip(sums.vectors.chunks_mut(GROUP)) {
            // The last group is filled up with its first vector, whose sums are dropped.
            let vectors =
                std::array::from_fn(|g| &vectors.get(g).unwrap_or(&vectors[0])[source.clone()]);
            let mut group = [[[0.0; WIDTH]; EDGE / WIDTH]; GROUP];
            multiply(vectors, &mut group);
            for (sums, group) in sums.iter_mut().zip(&group) {
                let values = group.as_flattened().iter();
                let sums = sums[target.clone()].as_flattened_mut().iter_mut();
                sums.zip(values).for_each(|(sum, value)| *sum += value);
            }
        }
    }
}

/// Writes zeros past the last column of an area, up to a whole block.
fn clear_filling(tile: &mut Tile, area: &Area) {
    let cols = area.cols.len();
    if !cols.is_multiple_of(WIDTH) {
        for row in 0..area.rows.len() {
            tile.row_mut(row)[cols..cols.next_multiple_of(WIDTH)].fill(0.0);
        }
    }
}

/// The sums of a group of vectors over one tile.
type GroupSums = [[Block; EDGE / WIDTH]; GROUP];

/// `sums[g][r] = Σ_c tile[r][c] · vectors[g][c]`.
struct Direct<'a> {
    tile: &'a Tile,
    rows: usize,
    vectors: [&'a [Block]; GROUP],
    sums: &'a mut GroupSums,
}

impl Vectorized for Direct<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let [a, b, c, d] = self.vectors;
        for row in 0..self.rows {
            let mut totals = [V::splat(0.0); GROUP];
            let factors = a.iter().zip(b).zip(c.iter().zip(d));
            for (values, ((a, b), (c, d))) in self.tile.row_blocks(row).iter().zip(factors) {
                let values = V::load(values);
                for (total, factors) in totals.iter_mut().zip([a, b, c, d]) {
                    *total = values.mul_add(V::load(factors), *total);
                }
            }
            for (sums, total) in self.sums.iter_mut().zip(totals) {
                let mut lanes = [0.0; WIDTH];
                total.store(&mut lanes);
                sums.as_flattened_mut()[row] = lanes.iter().sum();
            }
        }
    }
}

/// `sums[g][c] = Σ_r tile[r][c] · vectors[g][r]`.
struct Transposed<'a> {
    tile: &'a Tile,
    rows: usize,
    vectors: [&'a [Block]; GROUP],
    sums: &'a mut GroupSums,
}

impl Vectorized for Transposed<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let vectors = self.vectors.map(<[Block]>::as_flattened);
        let blocks = self.tile.row_blocks(0).len().min(EDGE / WIDTH);
        for block in 0..blocks {
            let mut totals = [V::splat(0.0); GROUP];
            for row in 0..self.rows {
                let values = V::load(&self.tile.row_blocks(row)[block]);
                for (total, vector) in totals.iter_mut().zip(vectors) {
                    *total = values.mul_add(V::splat(vector[row]), *total);
                }
            }
            for (sums, total) in self.sums.iter_mut().zip(totals) {
                total.store(&mut sums[block]);
            }
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
                let vectors = Array2::ones((n, 5));
                let product = multiply(&Ones(n), symmetric, vectors.view(), &mut unwatched);
                assert_eq!(product.unwrap(), vectors * n as f64, "{n} {symmetric}");
            }
        }
    }
}
