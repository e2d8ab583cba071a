//! The schedule of prefetching in products: the lines that each micro-tile fetches into L2.

use std::ops::Range;

use crate::engine::panel::{PanelSlice, SUM};
use crate::engine::scalar::Scalar;

/// The lines that are needed after the current block of k: those of the next block, or after the last block the first
/// lines of the upcoming panels. They are fetched panel by panel, spread evenly over the micro-tiles of the current block.
pub(super) struct Prefetch<'a, T: Scalar> {
    rows: PanelSlice<'a, T>,
    cols: PanelSlice<'a, T>,
    /// The lines of each panel.
    lines: Range<usize>,
    /// The number of calls for each panel.
    share: usize,
    /// The number of calls so far.
    done: usize,
}

impl<'a, T: Scalar> Prefetch<'a, T> {
    /// The schedule for the block of k that ends at `end`, with micro-tiles of at most `panels` column panels.
    #[inline]
    pub(super) fn new(
        rows: PanelSlice<'a, T>,
        cols: PanelSlice<'a, T>,
        panels: usize,
        end: usize,
    ) -> Self {
        let calls = cols.len().div_ceil(panels) * rows.len();
        let (rows, cols, start) = if end < rows.depth() {
            (rows, cols, end)
        } else {
            (rows.upcoming(), cols.upcoming(), 0)
        };
        Self {
            rows,
            cols,
            lines: start..rows.depth().min(start + SUM),
            share: (calls / (rows.len() + cols.len()).max(1)).max(1),
            done: 0,
        }
    }

    /// The lines to fetch during the product of one row panel and one group of column panels: those of one panel, or
    /// none.
    #[inline]
    pub(super) fn next(&mut self) -> &'a [T::Line] {
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
