//! Products of a kernel with vectors: its tiles are multiplied as they are made, and none is kept.
//!
//! Rows and columns are cut into at most [`BANDS`] bands. A task computes the tiles of one pair of bands and their sums;
//! of a symmetric kernel each tile serves twice. Sums of tasks are added at the end, in order: the bits do not depend on
//! who computed what. Memory: BANDS times the result.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use ndarray::{Array2, ArrayView2};

use crate::engine::pool::{self, Load, Stop, Watch};
use crate::engine::tile::{Area, EDGE, Tile, TileKernel};
use crate::error::{Error, Result};
use crate::isa::{Block, Isa, Vector, Vectorized, WIDTH, blocks_of};

/// The most bands that rows or columns are cut into.
const BANDS: usize = 16;

/// Vectors multiplied at a time: their sums, and as many factors, stay in registers.
const GROUP: usize = 4;

/// `K V` for the kernel's only plane: (rows, r) from vectors (columns, r), in `f64`. If `symmetric`, rows and columns of
/// the kernel are the same, and only half of it is computed.
///
/// # Errors
/// [`Error::Shape`] if there is not one entry per column; [`Error::Invalid`] if the product is not finite;
/// [`Error::Cancelled`], [`Error::Panicked`]; those of the kernel's own check.
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
    let expected = [kernel.cols(), vectors.ncols()];
    Error::check_shape("V", vectors.shape(), &expected)?;
    let (rows, cols) = (bands(kernel.rows()), bands(kernel.cols()));
    let vectors = columns(vectors);
    let sums: Vec<_> = (0..rows.len() * cols.len())
        .map(|_| Mutex::new(BandSums::default()))
        .collect();
    let task = Task {
        kernel,
        isa: Isa::current()?,
        symmetric,
        vectors: &vectors,
    };
    let pairs: Vec<_> = (0..rows.len())
        .flat_map(|i| (if symmetric { i } else { 0 }..cols.len()).map(move |j| (i, j)))
        .collect();
    let load = Load::new(pairs.len(), kernel.cycles());
    let work = |scratch: &mut (K::Scratch, [Tile; 1]), (i, j): (usize, usize), stop: &Stop| {
        let [direct, mirrored] = task.run(&rows[i], &cols[j], scratch, stop);
        let keep = |index: usize, value: BandSums| {
            *sums[index].lock().unwrap_or_else(PoisonError::into_inner) = value;
        };
        keep(i * cols.len() + j, direct);
        if symmetric && i != j {
            keep(j * cols.len() + i, mirrored);
        }
    };
    pool::for_each(pairs.into_iter(), load, watch, Default::default, work)?;
    kernel.check()?;
    let mut product = Array2::zeros((kernel.rows(), vectors.len()));
    for (index, sums) in sums.into_iter().enumerate() {
        let sums = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (vector, sums) in sums.iter().enumerate() {
            let band = rows[index / cols.len()].clone();
            for (row, value) in band.zip(sums.as_flattened()) {
                product[[row, vector]] += value;
            }
        }
    }
    if product.iter().all(|value: &f64| value.is_finite()) {
        Ok(product)
    } else {
        let message = "the product leaves the range of float64: scale X, sigma_w or the vectors";
        Err(Error::Invalid(message.into()))
    }
}

/// The same sums of several vectors.
type BandSums = Vec<Vec<Block>>;

/// Ranges of whole tiles.
fn bands(len: usize) -> Vec<Range<usize>> {
    let edge = len.div_ceil(EDGE).div_ceil(BANDS).max(1) * EDGE;
    let starts = (0..len).step_by(edge);
    starts.map(|start| start..len.min(start + edge)).collect()
}

/// Each column of a matrix in whole blocks, filled up with zeros.
fn columns(matrix: ArrayView2<'_, f64>) -> BandSums {
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

/// What all tasks share.
struct Task<'a, K> {
    kernel: &'a K,
    isa: Isa,
    symmetric: bool,
    vectors: &'a BandSums,
}

impl<K: TileKernel> Task<'_, K> {
    /// The sums of a pair of bands: `K V` on its rows, and for a symmetric kernel `Kᵀ V` on its columns.
    fn run(
        &self,
        rows: &Range<usize>,
        cols: &Range<usize>,
        (scratch, tiles): &mut (K::Scratch, [Tile; 1]),
        stop: &Stop,
    ) -> [BandSums; 2] {
        let zeros = |len: usize| vec![vec![[0.0; WIDTH]; len.div_ceil(WIDTH)]; self.vectors.len()];
        let (mut direct, mut mirrored) = (zeros(rows.len()), zeros(cols.len()));
        for row in rows.clone().step_by(EDGE) {
            let first = if self.symmetric {
                row.max(cols.start)
            } else {
                cols.start
            };
            for col in (first..cols.end).step_by(EDGE) {
                if stop.requested() {
                    return [direct, mirrored];
                }
                let area = Area {
                    rows: row..rows.end.min(row + EDGE),
                    cols: col..cols.end.min(col + EDGE),
                };
                self.kernel.compute(&area, scratch, tiles);
                clear_filling(&mut tiles[0], &area);
                self.add(&area, &tiles[0], false, &mut direct, rows.start);
                if self.symmetric && row != col {
                    // Within a band on the diagonal both halves belong to the same rows.
                    let (target, start) = if rows.start == cols.start {
                        (&mut direct, rows.start)
                    } else {
                        (&mut mirrored, cols.start)
                    };
                    self.add(&area, &tiles[0], true, target, start);
                }
            }
        }
        [direct, mirrored]
    }

    /// Adds the product of a tile, or of its transpose, with the vectors to sums that begin with row `start`.
    fn add(&self, area: &Area, tile: &Tile, transposed: bool, sums: &mut BandSums, start: usize) {
        let (from, to) = if transposed {
            (&area.rows, &area.cols)
        } else {
            (&area.cols, &area.rows)
        };
        let (source, target) = (
            blocks_of(from),
            blocks_of(&(to.start - start..to.end - start)),
        );
        for (vectors, sums) in self.vectors.chunks(GROUP).zip(sums.chunks_mut(GROUP)) {
            // The last group is filled up with its first vector, whose sums go nowhere.
            let vectors =
                std::array::from_fn(|g| &vectors.get(g).unwrap_or(&vectors[0])[source.clone()]);
            let mut group = [[[0.0; WIDTH]; EDGE / WIDTH]; GROUP];
            let rows = area.rows.len();
            if transposed {
                self.isa.run(Transposed {
                    tile,
                    rows,
                    vectors,
                    sums: &mut group,
                });
            } else {
                self.isa.run(Direct {
                    tile,
                    rows,
                    vectors,
                    sums: &mut group,
                });
            }
            for (sums, group) in sums.iter_mut().zip(&group) {
                let values = group.as_flattened().iter();
                let sums = sums[target.clone()].as_flattened_mut().iter_mut();
                sums.zip(values).for_each(|(sum, value)| *sum += value);
            }
        }
    }
}

/// Zeros past the last column of an area, up to a whole block.
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
