//! Products of packed rows: the only matrix product of this library.
//!
//! ```text
//! LOOP 4: blocks of DEPTH values of k. Sequential: their order fixes the rounding.
//! LOOP 3: column panels.
//! LOOP 2: row panels.
//! LOOP 1: micro-tiles of ROWS rows by one panel of columns, their sums in registers.
//! ```
//!
//! Each entry is a sum over blocks, in `f64`, of sums over k, in `T`, both ascending from zero: the same bits in
//! any tile, and the same for (i, j) and (j, i).

use std::ops::Range;

use super::Tile;
use crate::panel::{PanelSlice, Panels};
use crate::scalar::{Line, Scalar};

/// The block of k that is summed in the storage type before it is added in `f64`. It bounds the rounding error of
/// `f32` sums, keeps the panels of a tile in cache, and, being fixed, fixes the result.
const DEPTH: usize = 256;

/// Rows of a micro-tile: with one cache line of columns, what the 16 registers of the x86-64 baseline hold.
const ROWS: usize = 2;

/// `tile[r][c] += Σ_k rows[r][k] · cols[c][k]`.
///
/// # Panics
/// If the depths differ, or the tile is not as large as the panels.
pub fn product<T: Scalar>(rows: PanelSlice<'_, T>, cols: PanelSlice<'_, T>, tile: &mut Tile) {
    assert_eq!(rows.depth(), cols.depth());
    assert_eq!(tile.cols, cols.len() * T::Line::LANES);
    assert_eq!(tile.values.len(), rows.len() * T::Line::LANES * tile.cols);
    for start in (0..rows.depth()).step_by(DEPTH) {
        let block = start..rows.depth().min(start + DEPTH);
        for (c, col_panel) in cols.panels().enumerate() {
            for (r, row_panel) in rows.panels().enumerate() {
                panel_product::<T>(
                    &row_panel[block.clone()],
                    &col_panel[block.clone()],
                    &mut tile.values[r * T::Line::LANES * tile.cols..],
                    tile.cols,
                    c * T::Line::LANES,
                );
            }
        }
    }
}

/// `tile[r][c] = ⟨a[rows][r], b[cols][c]⟩`, for whole panels: the tile starts at the panels that hold the first row
/// and column, and past the last ones of the ranges it holds other products, or zeros.
///
/// # Panics
/// If the depths differ or the ranges exceed the rows.
pub fn product_of<T: Scalar>(
    a: &Panels<T>,
    rows: &Range<usize>,
    b: &Panels<T>,
    cols: &Range<usize>,
    tile: &mut Tile,
) {
    let (rows, cols) = (
        a.slice(Panels::<T>::panels_of(rows)),
        b.slice(Panels::<T>::panels_of(cols)),
    );
    tile.reset(
        rows.len() * Panels::<T>::LANES,
        cols.len() * Panels::<T>::LANES,
    );
    product(rows, cols, tile);
}

/// One panel of rows against one panel of columns; `out` starts at the first of the rows.
#[inline]
fn panel_product<T: Scalar>(
    rows: &[T::Line],
    cols: &[T::Line],
    out: &mut [f64],
    stride: usize,
    col: usize,
) {
    for first in (0..T::Line::LANES).step_by(ROWS) {
        let sums = micro_tile::<T>(rows, first, cols);
        for (r, sum) in sums.iter().enumerate() {
            let start = (first + r) * stride + col;
            sum.add_to(&mut out[start..start + T::Line::LANES]);
        }
    }
}

#[inline]
fn micro_tile<T: Scalar>(rows: &[T::Line], first: usize, cols: &[T::Line]) -> [T::Line; ROWS] {
    assert!(first + ROWS <= T::Line::LANES);
    let mut sums = [T::Line::ZERO; ROWS];
    for (row, col) in rows.iter().zip(cols) {
        let factors = &row.lanes()[first..first + ROWS];
        for (sum, factor) in sums.iter_mut().zip(factors) {
            sum.add_scaled(*factor, col);
        }
    }
    sums
}
