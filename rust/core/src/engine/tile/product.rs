//! Products of packed rows: the only matrix product of this library.
//!
//! Four loops surround the micro-kernel: over blocks of k, groups of column panels, row panels and micro-tiles. They are
//! labelled LOOP 4 to LOOP 1 where they stand. The micro-kernel keeps its sums in registers, and prefetches into L2 the
//! panels of the next block.
//!
//! Each entry is a sum, in `f64`, of sums over [`SUM`] values of k, in `T`, both ascending from zero. It has the same
//! bits in any tile, and (i, j) has the same as (j, i). Products of rows with themselves are therefore computed on and
//! below the diagonal alone, and mirrored.

use std::ops::Range;

use super::Tile;
use super::prefetch::Prefetch;
use crate::engine::panel::{PanelSlice, SUM};
use crate::engine::scalar::{Line, Scalar};
use crate::isa::{MicroKernel, Start, Target};

/// Estimated cycles per entry of a product of this depth, on one thread.
pub fn product_cycles(depth: usize) -> f64 {
    0.125 * depth as f64
}

/// Computes `tile[r][c] = Σ_k rows[r][k] · cols[c][k]`, for whole panels.
///
/// # Panics
/// If the depths differ.
pub fn product<T: Scalar>(rows: PanelSlice<'_, T>, cols: PanelSlice<'_, T>, tile: &mut Tile) {
    sum_of_products([(rows, cols)].into_iter(), tile);
}

/// Computes the sum of the products of one or more pairs of rows and columns.
///
/// # Panics
/// If the depths of a pair differ, or two pairs differ in their numbers of panels.
pub fn sum_of_products<'a, T: Scalar>(
    pairs: impl Iterator<Item = (PanelSlice<'a, T>, PanelSlice<'a, T>)> + Clone,
    tile: &mut Tile,
) {
    let region = if pairs.clone().all(|(rows, cols)| rows.is(cols)) {
        Region::LowerTriangle
    } else {
        Region::All
    };
    let mut start = Start::Overwrite;
    for (rows, cols) in pairs.clone() {
        if start == Start::Overwrite {
            let shape = [rows.len(), cols.len()].map(|panels| panels * T::Line::LANES);
            tile.reshape(shape[0], shape[1]);
        }
        add(rows, cols, tile, region, start);
        start = Start::Add;
    }
    if let Some((rows, _)) = pairs.take(1).find(|_| region == Region::LowerTriangle) {
        tile.mirror(rows.isa());
    }
}

/// Computes `tile[r][c] += Σ_k rows[r][k] · cols[c][k]`.
///
/// # Panics
/// If the depths differ, or the tile is not as large as the panels.
pub fn add_product<T: Scalar>(rows: PanelSlice<'_, T>, cols: PanelSlice<'_, T>, tile: &mut Tile) {
    add(rows, cols, tile, Region::All, Start::Add);
}

/// The part of a tile that a product fills.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Region {
    /// The whole tile.
    All,
    /// The micro-tiles on and below the diagonal.
    LowerTriangle,
}

/// Adds a product to a region of a tile, or overwrites the region with it.
fn add<T: Scalar>(
    rows: PanelSlice<'_, T>,
    cols: PanelSlice<'_, T>,
    tile: &mut Tile,
    region: Region,
    start: Start,
) {
    let (lanes, kernel) = (T::Line::LANES, T::micro_kernel(rows.isa()));
    assert_eq!(rows.depth(), cols.depth());
    assert_eq!(tile.shape(), [rows.len() * lanes, cols.len() * lanes]);
    let stride = tile.stride();
    // LOOP 4: blocks of SUM values of k. Sequential: their order fixes the rounding.
    for first in (0..rows.depth()).step_by(SUM) {
        let block = first..rows.depth().min(first + SUM);
        let start = if first == 0 { start } else { Start::Add };
        let mut prefetch = Prefetch::new(rows, cols, kernel.panels, block.end);
        // LOOP 3: groups of column panels, which stay in L1.
        for group in groups(cols.len(), kernel.panels) {
            let (count, first_col) = (group.len(), group.start * lanes);
            let first_row = match region {
                Region::All => 0,
                Region::LowerTriangle => group.start,
            };
            let panels = block_of_panels(cols.slice(group), &block);
            // LOOP 2: row panels, from L2.
            for (r, row_panel) in rows.panels().enumerate().skip(first_row) {
                let corner = r * lanes * stride + first_col;
                let out = Target {
                    values: &mut tile.values_mut()[corner..],
                    stride,
                    start,
                };
                let row_panel = &row_panel[block.clone()];
                run_micro_tiles::<T>(kernel, row_panel, &panels[..count], prefetch.next(), out);
            }
        }
    }
}

/// The lines of one block of k, panel by panel: at most [`MOST_PANELS`] panels.
#[inline]
fn block_of_panels<'a, T: Scalar>(
    group: PanelSlice<'a, T>,
    block: &Range<usize>,
) -> [&'a [T::Line]; MOST_PANELS] {
    let mut panels = [&[][..]; MOST_PANELS];
    for (panel, lines) in panels.iter_mut().zip(group.panels()) {
        *panel = &lines[block.clone()];
    }
    panels
}

/// Runs the micro-kernel on all rows of one panel. Its micro-tiles share the lines to prefetch.
#[inline]
fn run_micro_tiles<T: Scalar>(
    kernel: MicroKernel<T::Line>,
    rows: &[T::Line],
    cols: &[&[T::Line]],
    prefetch: &[T::Line],
    out: Target<'_>,
) {
    let (length, turns) = (prefetch.len(), T::Line::LANES / kernel.rows);
    // LOOP 1: micro-tiles of a row panel, the sums of each in registers.
    for turn in 0..turns {
        let first = turn * kernel.rows;
        let prefetch = &prefetch[turn * length / turns..(turn + 1) * length / turns];
        let out = Target {
            values: &mut out.values[first * out.stride..],
            ..out
        };
        kernel.run(rows, first, cols, prefetch, out);
    }
}

/// The largest number of column panels of any micro-kernel.
const MOST_PANELS: usize = 3;

/// Splits `count` panels into groups of at most `most`, of nearly equal size: a micro-kernel of a single panel is slow.
fn groups(count: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let groups = count.div_ceil(most);
    (0..groups).map(move |group| group * count / groups..(group + 1) * count / groups)
}
