//! Products of packed rows: the only matrix product of this library.
//!
//! ```text
//! LOOP 5: blocks of DEPTH values of k. Sequential: their order fixes the rounding.
//! LOOP 4: groups of column panels.
//! LOOP 3: row panels, in micro-tiles of some rows by the group of columns.
//! LOOP 2: SUM values of k. Sequential, as loop 5; the micro-tile's part of the output stays in L1.
//! LOOP 1: the micro-kernel, its sums in registers.
//! ```
//!
//! Each entry is a sum, in `f64`, of sums over SUM values of k, in `T`, both ascending from zero: the same bits in
//! any tile, and the same for (i, j) and (j, i).

use std::ops::Range;

use super::Tile;
use crate::panel::{PanelSlice, SUM};
use crate::scalar::{Line, Scalar};

/// The block of k for which the panels of a tile stay in L2.
const DEPTH: usize = SUM;

/// `tile[r][c] = Σ_k rows[r][k] · cols[c][k]`, for whole panels.
///
/// # Panics
/// If the depths differ.
pub fn product<T: Scalar>(rows: PanelSlice<'_, T>, cols: PanelSlice<'_, T>, tile: &mut Tile) {
    tile.reset(rows.len() * T::Line::LANES, cols.len() * T::Line::LANES);
    add_product(rows, cols, tile);
}

/// `tile[r][c] += Σ_k rows[r][k] · cols[c][k]`.
///
/// # Panics
/// If the depths differ, or the tile is not as large as the panels.
pub fn add_product<T: Scalar>(rows: PanelSlice<'_, T>, cols: PanelSlice<'_, T>, tile: &mut Tile) {
    let (lanes, kernel) = (T::Line::LANES, T::micro_kernel(rows.isa()));
    assert_eq!(rows.depth(), cols.depth());
    assert_eq!(tile.cols, cols.len() * lanes);
    assert_eq!(tile.values.len(), rows.len() * lanes * tile.cols);
    for start in (0..rows.depth()).step_by(DEPTH) {
        let block = start..rows.depth().min(start + DEPTH);
        for group in groups(cols.len(), kernel.panels) {
            let mut panels = [&[][..]; MOST_PANELS];
            let (count, first_col) = (group.len(), group.start * lanes);
            let group = cols.slice(group);
            panels
                .iter_mut()
                .zip(group.panels())
                .for_each(|(panel, lines)| *panel = &lines[block.clone()]);
            for (r, row_panel) in rows.panels().enumerate() {
                for first in (0..lanes).step_by(kernel.rows) {
                    let corner = (r * lanes + first) * tile.cols + first_col;
                    let out = &mut tile.values[corner..];
                    for start in (0..block.len()).step_by(SUM) {
                        let sum = start..block.len().min(start + SUM);
                        let rows = &row_panel[block.clone()][sum.clone()];
                        let panels = panels.map(|panel| panel.get(sum.clone()).unwrap_or_default());
                        kernel.run(rows, first, &panels[..count], out, tile.cols);
                    }
                }
            }
        }
    }
}

/// The most column panels that any micro-kernel takes.
const MOST_PANELS: usize = 3;

/// Cuts `count` panels into groups of at most `most`, of nearly equal size: a micro-kernel of one panel alone is slow.
fn groups(count: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let groups = count.div_ceil(most);
    (0..groups).map(move |group| group * count / groups..(group + 1) * count / groups)
}
