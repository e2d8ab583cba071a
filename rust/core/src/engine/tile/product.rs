//! Products of packed rows: the only matrix product of this library.
//!
//! ```text
//! LOOP 4: blocks of SUM values of k. Sequential: their order fixes the rounding.
//! LOOP 3: groups of column panels, in L1.
//! LOOP 2: row panels from L2, in micro-tiles of some rows by the group of columns.
//! LOOP 1: the micro-kernel, its sums in registers. It also fetches the next block's panels into L2.
//! ```
//!
//! Each entry is a sum, in `f64`, of sums over SUM values of k, in `T`, both ascending from zero: the same bits in
//! any tile, and the same for (i, j) and (j, i). Products of rows with themselves are therefore computed on and below
//! the diagonal alone, and mirrored.

use std::ops::Range;

use super::Tile;
use crate::engine::panel::{PanelSlice, SUM};
use crate::engine::scalar::{Line, Scalar};
use crate::isa::{Start, Target};

/// About how many cycles of one thread each entry of a product of this depth takes.
pub fn product_cycles(depth: usize) -> f64 {
    0.125 * depth as f64
}

/// `tile[r][c] = Σ_k rows[r][k] · cols[c][k]`, for whole panels.
///
/// # Panics
/// If the depths differ.
pub fn product<T: Scalar>(rows: PanelSlice<'_, T>, cols: PanelSlice<'_, T>, tile: &mut Tile) {
    sum_of_products([(rows, cols)].into_iter(), tile);
}

/// The sum of the products of several pairs of rows and columns, of which there is at least one.
///
/// # Panics
/// If the depths of a pair differ, or two pairs differ in their panels.
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

/// `tile[r][c] += Σ_k rows[r][k] · cols[c][k]`.
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

/// Adds a product to a region of a tile, or overwrites the region by it.
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
    for first in (0..rows.depth()).step_by(SUM) {
        let block = first..rows.depth().min(first + SUM);
        let start = if first == 0 { start } else { Start::Add };
        let mut ahead = Ahead::new(rows, cols, kernel.panels, block.end);
        for group in groups(cols.len(), kernel.panels) {
            let mut panels = [&[][..]; MOST_PANELS];
            let (count, first_col) = (group.len(), group.start * lanes);
            let first_row = match region {
                Region::All => 0,
                Region::LowerTriangle => group.start,
            };
            let group = cols.slice(group);
            panels
                .iter_mut()
                .zip(group.panels())
                .for_each(|(panel, lines)| *panel = &lines[block.clone()]);
            for (r, row_panel) in rows.panels().enumerate().skip(first_row) {
                let next = ahead.next();
                for (turn, first) in (0..lanes).step_by(kernel.rows).enumerate() {
                    let (length, turns) = (next.len(), lanes / kernel.rows);
                    let next = &next[turn * length / turns..(turn + 1) * length / turns];
                    let corner = (r * lanes + first) * stride + first_col;
                    let out = Target {
                        values: &mut tile.values_mut()[corner..],
                        stride,
                        start,
                    };
                    kernel.run(
                        &row_panel[block.clone()],
                        first,
                        &panels[..count],
                        next,
                        out,
                    );
                }
            }
        }
    }
}

/// Lines that will be wanted soon: those of the next block of k, or after the last one the first of the panels to come. One
/// panel after the other, spread evenly over the micro-tiles of a block.
struct Ahead<'a, T: Scalar> {
    rows: PanelSlice<'a, T>,
    cols: PanelSlice<'a, T>,
    lines: Range<usize>,
    /// Micro-tiles there are for each panel.
    share: usize,
    done: usize,
}

impl<'a, T: Scalar> Ahead<'a, T> {
    fn new(rows: PanelSlice<'a, T>, cols: PanelSlice<'a, T>, panels: usize, end: usize) -> Self {
        let micro_tiles = cols.len().div_ceil(panels) * rows.len();
        let (rows, cols, start) = if end < rows.depth() {
            (rows, cols, end)
        } else {
            (rows.next(), cols.next(), 0)
        };
        Self {
            rows,
            cols,
            lines: start..rows.depth().min(start + SUM),
            share: (micro_tiles / (rows.len() + cols.len()).max(1)).max(1),
            done: 0,
        }
    }

    /// The next panel's lines, or nothing.
    fn next(&mut self) -> &'a [T::Line] {
        let (panel, turn) = (self.done / self.share, self.done % self.share);
        self.done += 1;
        let rows = self.rows.len();
        if turn > 0 || panel >= rows + self.cols.len() {
            return &[];
        }
        let lines = if panel < rows {
            self.rows.panel(panel)
        } else {
            self.cols.panel(panel - rows)
        };
        &lines[self.lines.clone()]
    }
}

/// The most column panels that any micro-kernel takes.
const MOST_PANELS: usize = 3;

/// Cuts `count` panels into groups of at most `most`, of nearly equal size: a micro-kernel of one panel alone is slow.
fn groups(count: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let groups = count.div_ceil(most);
    (0..groups).map(move |group| group * count / groups..(group + 1) * count / groups)
}
