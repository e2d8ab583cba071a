//! Borrowed panels: the operands of products.

use std::ops::Range;
use std::ptr;

use crate::engine::scalar::Scalar;
use crate::isa::Isa;

/// Whole panels of a [`Panels`](super::Panels), borrowed.
#[derive(Clone, Copy, Debug)]
pub struct PanelSlice<'a, T: Scalar> {
    lines: &'a [T::Line],
    depth: usize,
    isa: Isa,
    /// Panels of the same depth that are needed after these.
    upcoming: &'a [T::Line],
}

impl<'a, T: Scalar> PanelSlice<'a, T> {
    /// Views `lines` as panels of `depth` lines each.
    pub fn new(lines: &'a [T::Line], depth: usize, isa: Isa) -> Self {
        Self {
            lines,
            depth,
            isa,
            upcoming: &[],
        }
    }

    /// Sets the panels (of the same depth) to prefetch while these are multiplied.
    #[must_use]
    pub(crate) fn before(self, upcoming: Self) -> Self {
        assert_eq!(self.depth, upcoming.depth);
        Self {
            upcoming: upcoming.lines,
            ..self
        }
    }

    /// The panels to prefetch.
    pub(crate) fn upcoming(self) -> Self {
        Self {
            lines: self.upcoming,
            upcoming: &[],
            ..self
        }
    }

    /// The instruction set that multiplies them.
    pub fn isa(self) -> Isa {
        self.isa
    }

    /// The panels one by one, of `depth` lines each.
    pub fn panels(self) -> impl ExactSizeIterator<Item = &'a [T::Line]> + Clone {
        self.lines.chunks_exact(self.depth)
    }

    /// One panel.
    ///
    /// # Panics
    /// If there is no such panel.
    pub(crate) fn panel(self, index: usize) -> &'a [T::Line] {
        &self.lines[index * self.depth..(index + 1) * self.depth]
    }

    /// Returns true if both slices are the same memory.
    pub(crate) fn is(self, other: Self) -> bool {
        ptr::eq(self.lines, other.lines) && self.depth == other.depth
    }

    /// The number of panels.
    pub fn len(self) -> usize {
        self.lines.len() / self.depth
    }

    /// Returns true if there are no panels.
    pub fn is_empty(self) -> bool {
        self.lines.is_empty()
    }

    /// The length of a row.
    pub fn depth(self) -> usize {
        self.depth
    }

    /// A range of panels.
    pub(crate) fn slice(self, panels: Range<usize>) -> Self {
        Self {
            lines: &self.lines[panels.start * self.depth..panels.end * self.depth],
            upcoming: &[],
            ..self
        }
    }

    /// Chunks of at most `panels` panels, in order. Each prefetches the one after it.
    pub fn chunks(self, panels: usize) -> impl Iterator<Item = Self> {
        let (count, all) = (
            self.len(),
            Self {
                upcoming: &[],
                ..self
            },
        );
        let end = move |start: usize| count.min(start.saturating_add(panels));
        let chunk = move |start: usize| all.slice(start.min(count)..end(start));
        let starts = (0..count).step_by(panels);
        starts.map(move |start| chunk(start).before(chunk(end(start))))
    }
}
