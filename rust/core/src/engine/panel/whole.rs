//! Copies and differences of whole matrices, on all threads.

use super::Panels;
use super::storage::Storage;
use crate::engine::pool::{self, Load, Watch};
use crate::engine::scalar::{Line, Scalar};
use crate::error::Result;
use crate::isa::Pod;

/// The number of lines that one thread takes at a time: a few megabytes.
const CHUNK: usize = 1 << 15;

/// Estimated cycles per line.
const CYCLES: f64 = 20.0;

impl<T: Scalar> Panels<T> {
    /// A copy of the matrix.
    ///
    /// # Errors
    /// [`Error::Memory`](crate::Error::Memory) if it cannot be allocated; as [`pool::for_each`].
    pub(crate) fn duplicate(&self, watch: &mut Watch<'_>) -> Result<Self> {
        let mut lines = Storage::new(self.lines.len())?;
        let pairs = lines.chunks_mut(CHUNK).zip(self.lines.chunks(CHUNK));
        let copy = |(): &mut (), (target, source): (&mut [T::Line], &[T::Line]), _: &_| {
            target.copy_from_slice(source);
        };
        pool::for_each(pairs, self.load(), watch, || (), copy)?;
        Ok(Self { lines, ..*self })
    }

    /// A matrix of zeros, of the same shape.
    ///
    /// # Errors
    /// As [`Panels::duplicate`].
    pub(crate) fn zeros_like(&self, watch: &mut Watch<'_>) -> Result<Self> {
        let mut lines: Storage<T::Line> = Storage::new(self.lines.len())?;
        let chunks = lines.chunks_mut(CHUNK);
        let clear = |(): &mut (), chunk: &mut [T::Line], _: &_| chunk.fill(T::Line::ZERO);
        pool::for_each(chunks, self.load(), watch, || (), clear)?;
        Ok(Self { lines, ..*self })
    }

    /// `Σ (a − b)²` over all entries of two matrices of the same shape. The sums of lines are added in their order.
    ///
    /// # Errors
    /// As [`pool::for_each`].
    pub(crate) fn squared_distance(&self, other: &Self, watch: &mut Watch<'_>) -> Result<f64> {
        let squares = |(a, b): (&T::Line, &T::Line)| -> f64 {
            let lanes = a.lanes().iter().zip(b.lanes());
            lanes
                .map(|(a, b)| (a.widen() - b.widen()) * (a.widen() - b.widen()))
                .sum()
        };
        let pairs = self.lines.chunks(CHUNK).zip(other.lines.chunks(CHUNK));
        let sums = |(a, b): (&[T::Line], &[T::Line]), _: &_| -> Vec<f64> {
            a.iter().zip(b).map(squares).collect()
        };
        let sums = pool::map(pairs, self.load(), watch, sums)?;
        Ok(sums.into_iter().flatten().sum())
    }

    /// The size of a loop over all chunks.
    fn load(&self) -> Load {
        let lines = self.lines.len();
        Load::new(lines.div_ceil(CHUNK), CYCLES * lines as f64)
    }
}
