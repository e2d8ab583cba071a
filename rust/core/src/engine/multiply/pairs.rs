//! Pairs of a band of rows and a band of columns, and their tiles in the order in which they are multiplied.

use std::ops::Range;

use crate::engine::tile::Area;

/// The largest number of tiles of a run: their columns of vectors and of sums stay in L2.
pub(super) const RUN: usize = 8;

/// The tiles of a pair of bands that are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// All tiles.
    All,
    /// In a symmetric kernel, those on and above the diagonal.
    Upper,
    /// In a symmetric kernel, those on and below the diagonal.
    Lower,
}

/// A band of rows and a band of columns.
#[derive(Clone, Debug)]
pub struct Pair {
    pub(super) area: Area,
    half: Half,
}

impl Pair {
    /// The pair of the rows and columns of this area.
    pub fn new(area: Area, half: Half) -> Self {
        Self { area, half }
    }

    /// The tiles of this edge in some of the rows, row by row, as runs of up to [`RUN`] tiles of a row. A tile on the diagonal
    /// of a symmetric kernel is a run of its own.
    pub(super) fn runs(
        &self,
        rows: &Range<usize>,
        edge: usize,
    ) -> impl Iterator<Item = Area> + use<> {
        let Self { area, half } = self.clone();
        let (start, end) = (area.rows.start.max(rows.start), area.rows.end.min(rows.end));
        let cols = area.cols;
        (start..end).step_by(edge).flat_map(move |row| {
            let rows = row..end.min(row + edge);
            let (from, to) = match half {
                Half::All => (cols.start, cols.end),
                Half::Upper => (cols.start.max(row), cols.end),
                Half::Lower => (cols.start, cols.end.min(row + edge)),
            };
            let diagonal = match half {
                Half::All => [to; 2],
                _ => [row, row + edge].map(|col| col.clamp(from, to.max(from))),
            };
            let parts = [from..diagonal[0], diagonal[0]..diagonal[1], diagonal[1]..to];
            parts.into_iter().flat_map(move |cols| {
                let rows = rows.clone();
                Area { rows, cols }.cut([edge, RUN * edge], false)
            })
        })
    }

    /// Returns true if an area of this pair stands for its mirror image too.
    pub(super) fn mirrors(&self, area: &Area) -> bool {
        self.half != Half::All && area.rows.start != area.cols.start
    }
}
