//! Inner products of kernels with a matrix: its tiles are contracted as they are made, and none is kept.

use std::sync::{Mutex, PoisonError};

use ndarray::ArrayView2;

use crate::error::{Error, Result};
use crate::isa::WIDTH;
use crate::pool::{self, Stop, Watch};
use crate::tile::{Area, EDGE, Tile, TileKernel};

/// `Σ_ij A_ij K_ij` for each plane K of a kernel. If `symmetric`, rows and columns of the kernel are the same, and only
/// half of it is computed.
///
/// The sums of tiles are added at the end, in order: the bits do not depend on who computed what. Memory: a number for
/// each plane and tile.
///
/// # Errors
/// [`Error::Shape`] if A is not of the kernel's shape; [`Error::Cancelled`], [`Error::Panicked`]; those of the kernel's
/// own check.
pub fn contract<K: TileKernel>(
    kernel: &K,
    symmetric: bool,
    weights: ArrayView2<'_, f64>,
    watch: &mut Watch<'_>,
) -> Result<Vec<f64>> {
    if weights.dim() != (kernel.rows(), kernel.cols()) {
        return Err(Error::Shape {
            argument: "weights".into(),
            got: weights.shape().to_vec(),
            expected: vec![kernel.rows(), kernel.cols()],
        });
    }
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
        let values = tiles.iter().map(|tile| inner_product(tile, factors, area));
        *sums.lock().unwrap_or_else(PoisonError::into_inner) = values.collect();
    };
    let tasks = areas.iter().zip(&sums);
    pool::for_each(tasks, areas.len(), watch, state, work)?;
    kernel.check()?;
    let mut totals = vec![0.0; kernel.planes()];
    for sums in sums {
        let sums = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (total, sum) in totals.iter_mut().zip(sums) {
            *total += sum;
        }
    }
    Ok(totals)
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

/// Of the entries of an area.
fn inner_product(tile: &Tile, factors: &Tile, area: &Area) -> f64 {
    let mut sums = [0.0; WIDTH];
    for r in 0..area.rows.len() {
        let row = tile.row(r).iter().zip(factors.row(r)).take(area.cols.len());
        for (c, (value, factor)) in row.enumerate() {
            sums[c % WIDTH] += value * factor;
        }
    }
    sums.iter().sum()
}
