//! Driver for inner products of a kernel with a matrix: each tile is contracted as it is made, and none is kept.

use std::sync::Mutex;

use ndarray::ArrayView2;

use crate::engine::pool::{self, Load, Stop, Watch, lock};
use crate::engine::tile::{Area, Tile, TileKernel, areas};
use crate::error::{Error, Result};
use crate::isa::WIDTH;

/// Returns `Σ_ij A_ij K_ij` for each plane K of a kernel. If `symmetric`, the kernel's rows and columns are the same,
/// and only half of it is computed.
///
/// Sums of tiles are added at the end, row by row of tiles: the bits do not depend on which thread computed a tile, nor
/// on the order. Memory: one number per plane and tile.
///
/// # Errors
/// [`Error::Shape`] if A does not have the kernel's shape, [`Error::Invalid`] if a sum is not finite,
/// [`Error::Cancelled`], [`Error::Panicked`]; as [`TileKernel::check`].
pub fn inner_products<K: TileKernel>(
    kernel: &K,
    symmetric: bool,
    weights: ArrayView2<'_, f64>,
    watch: &mut Watch<'_>,
) -> Result<Vec<f64>> {
    let (rows, cols) = (kernel.rows(), kernel.cols());
    Error::check_shape("weights", weights.shape(), &[rows, cols])?;
    let mut sums: Vec<(Area, Mutex<Vec<f64>>)> = areas(rows, cols, kernel.edge(), symmetric)
        .map(|area| (area, Mutex::default()))
        .collect();
    let load = Load::new(sums.len(), kernel.cycles());
    let state = || ContractionWorker::<K> {
        scratch: K::Scratch::default(),
        tiles: vec![Tile::default(); kernel.planes()],
        factors: Tile::default(),
    };
    let work = |worker: &mut ContractionWorker<K>, (area, sums): &(Area, Mutex<_>), stop: &Stop| {
        *lock(sums) = worker.contract(kernel, area, symmetric, weights, stop);
    };
    pool::for_each(sums.iter(), load, watch, state, work)?;
    kernel.check()?;
    // The order of the sum: row by row, whatever the order of the tasks.
    sums.sort_unstable_by_key(|(area, _)| (area.rows.start, area.cols.start));
    let mut totals = vec![0.0; kernel.planes()];
    for (_, sums) in &sums {
        for (total, sum) in totals.iter_mut().zip(&*lock(sums)) {
            *total += sum;
        }
    }
    check_finite(&totals).map(|()| totals)
}

/// Checks that the sums are finite.
fn check_finite(totals: &[f64]) -> Result<()> {
    if totals.iter().all(|total| total.is_finite()) {
        return Ok(());
    }
    let message = "the sums leave the range of float64: scale X, sigma_w or the weights";
    Err(Error::Invalid(message.into()))
}

/// Per-worker scratch space, reused between tiles.
struct ContractionWorker<K: TileKernel> {
    scratch: K::Scratch,
    tiles: Vec<Tile>,
    factors: Tile,
}

impl<K: TileKernel> ContractionWorker<K> {
    /// The sums over one area, one per plane.
    fn contract(
        &mut self,
        kernel: &K,
        area: &Area,
        symmetric: bool,
        weights: ArrayView2<'_, f64>,
        stop: &Stop,
    ) -> Vec<f64> {
        kernel.compute(area, &mut self.scratch, &mut self.tiles, stop);
        gather(weights, area, symmetric, &mut self.factors);
        let sum = |tile| inner_product(tile, &self.factors, area.rows.len());
        self.tiles.iter().map(sum).collect()
    }
}

/// Writes the weights of an area to `factors`, in whole blocks. If `symmetric`, the entries of a tile off the diagonal
/// stand for their mirror images too.
fn gather(weights: ArrayView2<'_, f64>, area: &Area, symmetric: bool, factors: &mut Tile) {
    let mirrored = symmetric && area.is_above_diagonal();
    let cols = area.cols.len().next_multiple_of(WIDTH);
    factors.reset(area.rows.len(), cols);
    for (r, i) in area.rows.clone().enumerate() {
        for (factor, j) in factors.row_mut(r).iter_mut().zip(area.cols.clone()) {
            *factor = weights[[i, j]];
            if mirrored {
                *factor += weights[[j, i]];
            }
        }
    }
}

/// `Σ tile ⊙ factors` over whole blocks: factors past the last column are 0.
fn inner_product(tile: &Tile, factors: &Tile, rows: usize) -> f64 {
    let mut sums = [0.0; WIDTH];
    for r in 0..rows {
        for (values, factors) in tile.row_blocks(r).iter().zip(factors.row_blocks(r)) {
            for (sum, (value, factor)) in sums.iter_mut().zip(values.iter().zip(factors)) {
                *sum += value * factor;
            }
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::engine::linear::Linear;
    use crate::engine::panel::Panels;
    use crate::engine::tile::EDGE;

    #[test]
    fn sums_are_those_of_the_whole_kernel() {
        let entry = |i: usize, j: usize| ((7 * i + 3 * j) % 11) as f64 - 5.0;
        let x = Array2::from_shape_fn((EDGE + 5, 3), |(i, j)| entry(i, j));
        let z = Array2::from_shape_fn((2 * EDGE + 1, 3), |(i, j)| entry(j, i));
        let pack =
            |array: &Array2<f64>| Panels::pack(array.view(), "X", &mut pool::unwatched).unwrap();
        let (rows, others) = (pack(&x), pack(&z));
        for (cols, columns, symmetric) in [(&rows, &x, true), (&others, &z, false)] {
            let weights =
                Array2::from_shape_fn((x.nrows(), columns.nrows()), |(i, j)| entry(j, 2 * i));
            let kernel = Linear { rows: &rows, cols };
            let sums =
                inner_products(&kernel, symmetric, weights.view(), &mut pool::unwatched).unwrap();
            // Sums of integers: exact.
            assert_eq!(sums, [(&weights * &x.dot(&columns.t())).sum()]);
        }
        let (kernel, wrong) = (
            Linear {
                rows: &rows,
                cols: &others,
            },
            Array2::zeros((2, 3)),
        );
        let result = inner_products(&kernel, false, wrong.view(), &mut pool::unwatched);
        assert!(matches!(result, Err(Error::Shape { .. })));
    }
}
