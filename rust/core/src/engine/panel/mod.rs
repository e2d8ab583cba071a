//! Packed rows: the one storage format of every heavy operand.
//!
//! `P[panel][k][lane]`: a panel holds one cache line of samples (8 `f64`, 16 `f32`), and for each k the values of its
//! samples lie side by side. Lanes past the last row are zero. A micro-kernel reads a panel front to back, and the
//! output of one product is stored straight as the panels of the next.
//!
//! `pack` makes panels from an array, one by one by `pack_panel`, `slice` borrows some of them, `bands` splits matrices for several writers,
//! `transpose` turns rows into columns, `whole` copies and compares matrices, and `storage` owns the memory: the only
//! `unsafe` code of this folder.

mod bands;
mod pack;
mod pack_panel;
mod slice;
mod storage;
mod transpose;
mod whole;

use std::ops::Range;

use crate::engine::scalar::{Line, Scalar};
use crate::error::Result;
use crate::isa::{Isa, Pod};

pub use bands::bands_mut;
pub(crate) use bands::{columns_mut, tiles_mut};
pub use slice::PanelSlice;
use storage::Storage;
pub(crate) use transpose::transpose;

/// A packed (rows, depth) matrix.
#[derive(Debug)]
pub struct Panels<T: Scalar> {
    lines: Storage<T::Line>,
    rows: usize,
    depth: usize,
    isa: Isa,
}

/// The number of values of k that are summed in the storage type before the sum is added in `f64`. It is small enough
/// for `f32`, and for sums of equal terms, whose rounding errors all have one sign. Results depend on it to the last bit.
pub(crate) const SUM: usize = 128;

impl<T: Scalar> Panels<T> {
    /// The number of rows in a panel.
    pub const LANES: usize = T::Line::LANES;

    /// A matrix whose entries are arbitrary until they are written. Lanes past the last row are zero.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory) if it cannot be allocated; as [`Isa::current`].
    pub(crate) fn unwritten(rows: usize, depth: usize) -> Result<Self> {
        let isa = Isa::current()?;
        let mut lines: Storage<T::Line> =
            Storage::new(rows.div_ceil(Self::LANES).saturating_mul(depth))?;
        let last = lines.len().saturating_sub(depth);
        lines[last..].fill(T::Line::ZERO);
        Ok(Self {
            lines,
            rows,
            depth,
            isa,
        })
    }

    /// The same matrix, using another instruction set.
    #[must_use]
    pub fn with_isa(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The length of a row.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// A range of panels.
    pub fn slice(&self, panels: Range<usize>) -> PanelSlice<'_, T> {
        self.all().slice(panels)
    }

    /// The panels that hold a range of rows. They are whole: before and after the range they hold other rows, or zeros.
    pub fn of_rows(&self, range: &Range<usize>) -> PanelSlice<'_, T> {
        self.slice(range.start / Self::LANES..range.end.div_ceil(Self::LANES))
    }

    /// All panels.
    pub fn all(&self) -> PanelSlice<'_, T> {
        PanelSlice::new(&self.lines, self.depth, self.isa)
    }

    /// Chunks of at most `panels` panels, mutable.
    pub(crate) fn chunks_mut(
        &mut self,
        panels: usize,
    ) -> impl ExactSizeIterator<Item = &mut [T::Line]> + Send {
        self.lines.chunks_mut(panels * self.depth)
    }

    /// The panels that hold the first `rows` rows, mutable.
    pub(crate) fn first_rows_mut(&mut self, rows: usize) -> &mut [T::Line] {
        &mut self.lines[..rows.div_ceil(Self::LANES) * self.depth]
    }

    /// The value in row `row` at depth `k`.
    ///
    /// # Panics
    /// If there is no such entry.
    #[inline]
    pub fn value(&self, row: usize, k: usize) -> T {
        assert!(row < self.rows && k < self.depth);
        self.lines[row / Self::LANES * self.depth + k].lanes()[row % Self::LANES]
    }

    /// Copies row `row` to `values`.
    ///
    /// # Panics
    /// If `values.len() != self.depth()` or the row does not exist.
    pub fn copy_row(&self, row: usize, values: &mut [f64]) {
        assert_eq!(values.len(), self.depth);
        let (panel, lane) = (row / Self::LANES, row % Self::LANES);
        for (value, line) in values.iter_mut().zip(self.all().panel(panel)) {
            *value = line.lanes()[lane].widen();
        }
    }
}
