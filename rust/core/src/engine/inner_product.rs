//! Inner products of kernels with a matrix: its tiles are contracted as they are made, and none is kept.

use std::sync::{Mutex, PoisonError};

use ndarray::ArrayView2;

use crate::engine::pool::{self, Load, Stop, Watch};
use crate::engine::tile::{Area, EDGE, Tile, TileKernel};
use crate::error::{Error, Result};
use crate::isa::WIDTH;

/// `Σ_ij A_ij K_ij` for each plane K of a kernel. If `symmetric`, rows and columns of the kernel are the same, and only
/// half of it is computed.
///
/// The sums of tiles are added at the end, in order: the bits do not depend on who computed what. Memory: a number for
/// each plane and tile.
///
/// # Errors
/// [`Error::Shape`] if A is not of the kernel's shape; [`Error::Invalid`] if a sum is not finite; [`Error::Cancelled`], [`Error::Panicked`]; those of the kernel's
/// own check.
pub fn inner_products<K: TileKernel>(
    kernel: &K,
    symmetric: bool,
    weights: ArrayView2<'_, f64>,
    watch: &mut Watch<'_>,
) -> Result<Vec<f64>> {
    Error::check_shape("weights", weights.shape(), &[kernel.rows(), kernel.cols()])?;
    let areas = areas(kernel.rows(), kernel.cols(), symmetric);
    let sums: Vec<_> = areas.iter().map(|_| Mutex::new(Vec::new())).collect();
    let state = || {
        let tiles = vec![Tile::default(); kernel.planes()];
        (K::Scratch::default(), tiles, Tile::default())
    };
    let work = |(scratch, tiles, factors): &mut (K::Scratch, Vec<Tile>, Tile),
                (area, sums): (&Area, &Mutex<Vec<f64>>),
                _: &Stop| {
        kernel.compute(area, scratch, tiles);
        gather(weights, area, symmetric, factors);
        let values = tiles
            .iter()
            .map(|tile| inner_product(tile, factors, area.rows.len()));
        *sums.lock().unwrap_or_else(PoisonError::into_inner) = values.collect();
    };
    let tasks = areas.iter().zip(&sums);
    let load = Load::new(areas.len(), kernel.cycles());
    pool::for_each(tasks, load, watch, state, work)?;
    kernel.check()?;
    let mut totals = vec![0.0; kernel.planes()];
    for sums in sums {
        let sums = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total += sum;
        }
    }
    if totals.iter().all(|total: &f64| total.is_finite()) {
        Ok(totals)
    } else {
        let message = "the sums leave the range of float64: scale X, sigma_w or the weights";
        Err(Error::Invalid(message.into()))
    }
}

/// The tiles of a kernel; of a symmetric one those on and above the diagonal.
fn areas(rows: usize, cols: usize, symmetric: bool) -> Vec<Area> {
    let starts = |len: usize| (0..len).step_by(EDGE);
    let area = |row: usize, col: usize| Area {
        rows: row..rows.min(row + EDGE),
        cols: col..cols.min(col + EDGE),
    };
    starts(rows)
        .flat_map(|row| {
            let above = move |col: &usize| !symmetric || row <= *col;
            starts(cols).filter(above).map(move |col| (row, col))
        })
        .map(|(row, col)| area(row, col))
        .collect()
}

/// What the entries of an area are multiplied with, in whole blocks: those of a symmetric kernel off its diagonal tiles
/// stand for their mirror images too.
fn gather(weights: ArrayView2<'_, f64>, area: &Area, symmetric: bool, factors: &mut Tile) {
    let mirrored = symmetric && area.rows.start != area.cols.start;
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

/// Of whole blocks: the weights of what fills them up are 0.
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

    #[test]
    fn sums_are_those_of_the_whole_kernel() {
        let entry = |i: usize, j: usize| ((7 * i + 3 * j) % 11) as f64 - 5.0;
        let x = Array2::from_shape_fn((EDGE + 5, 3), |(i, j)| entry(i, j));
        let z = Array2::from_shape_fn((2 * EDGE + 1, 3), |(i, j)| entry(j, i));
        let pack = |array: &Array2<f64>| Panels::pack(array.view(), "X").unwrap();
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
