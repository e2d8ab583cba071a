//! Packed rows: the one storage format of every heavy operand.
//!
//! `P[panel][k][lane]`: a panel holds one cache line of samples (8 `f64`, 16 `f32`), and for each k the values of
//! its samples lie side by side. Lanes past the last row are zero. A micro-kernel reads a panel front to back,
//! and a layer's output is stored straight as the next layer's panels.

mod bands;
mod storage;
mod transpose;

use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};

use ndarray::{ArrayView1, ArrayView2};

use crate::engine::pool::{self, Load, Stop, unwatched};
use crate::engine::scalar::{Line, Scalar};
use crate::error::{Error, Result};
use crate::isa::{Isa, Pod};

pub use bands::bands_mut;
pub(crate) use bands::{columns_mut, tiles_mut};
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

/// Whole panels of a [`Panels`], borrowed.
#[derive(Clone, Copy, Debug)]
pub struct PanelSlice<'a, T: Scalar> {
    lines: &'a [T::Line],
    depth: usize,
    isa: Isa,
    /// Panels of the same depth that will be wanted after these.
    next: &'a [T::Line],
}

/// How many values of k are summed in the storage type before they are added in `f64`: few enough for `f32`, and for
/// sums of equal terms, whose rounding errs to one side. Being fixed, it fixes the result.
pub(crate) const SUM: usize = 128;

impl<T: Scalar> Panels<T> {
    /// How many rows one panel holds.
    pub const LANES: usize = T::Line::LANES;

    /// A matrix whose entries are arbitrary until they are written; the lanes past the last row are zero.
    ///
    /// # Errors
    /// [`Error::Memory`] if it cannot be allocated; those of [`Isa::current`].
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

    /// A copy of it.
    ///
    /// # Errors
    /// [`Error::Memory`] if it cannot be allocated.
    pub(crate) fn duplicate(&self) -> Result<Self> {
        let mut lines = Storage::new(self.lines.len())?;
        lines.copy_from_slice(&self.lines);
        Ok(Self { lines, ..*self })
    }

    /// Zeros of the same shape.
    ///
    /// # Errors
    /// As [`Panels::duplicate`].
    pub(crate) fn zeros_like(&self) -> Result<Self> {
        let mut lines = Storage::new(self.lines.len())?;
        lines.fill(T::Line::ZERO);
        Ok(Self { lines, ..*self })
    }

    /// Packs a matrix of any strides.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the first row and column that hold NaN or an infinity, [`Error::Memory`].
    pub fn pack(matrix: ArrayView2<'_, T>, argument: &'static str) -> Result<Self> {
        let mut panels = Self::unwritten(matrix.nrows(), matrix.ncols())?;
        panels.fill(matrix, argument, |_, _| 0)?;
        Ok(panels)
    }

    /// Packs each row scaled by the power of two that brings its largest magnitude into [1/2, 1), and returns the
    /// exponents: row i of the matrix is `2^exponents[i]` times row i of the panels. Zero rows have exponent 0.
    ///
    /// Nothing computed from such rows under- or overflows by the scale of the data alone. The scaling is exact but for
    /// entries that are so much smaller than their row's largest that no sum of the row would see them.
    ///
    /// # Errors
    /// As [`Panels::pack`].
    pub fn pack_scaled(
        matrix: ArrayView2<'_, T>,
        argument: &'static str,
    ) -> Result<(Self, Vec<i32>)> {
        let mut panels = Self::unwritten(matrix.nrows(), matrix.ncols())?;
        let exponents: Vec<AtomicI32> = matrix
            .rows()
            .into_iter()
            .map(|_| AtomicI32::new(0))
            .collect();
        panels.fill(matrix, argument, |row, values| {
            let exponent = libm::frexp(largest(values)).1;
            exponents[row].store(exponent, Ordering::Relaxed);
            exponent
        })?;
        Ok((
            panels,
            exponents.into_iter().map(AtomicI32::into_inner).collect(),
        ))
    }

    /// Stores every row of `matrix`, divided by two to the power of `exponent(row, values)`.
    fn fill(
        &mut self,
        matrix: ArrayView2<'_, T>,
        argument: &'static str,
        exponent: impl Fn(usize, ArrayView1<'_, T>) -> i32 + Sync,
    ) -> Result<()> {
        let depth = self.depth;
        let bad: Mutex<Option<(usize, usize)>> = Mutex::new(None);
        let fill_panel = |(): &mut (), (panel, lines): (usize, &mut [T::Line]), _: &Stop| {
            let first = panel * Self::LANES;
            for row in first..matrix.nrows().min(first + Self::LANES) {
                let values = matrix.row(row);
                match first_not_finite(values) {
                    None => store_row(lines, row - first, values, exponent(row, values)),
                    Some(column) => {
                        let mut bad = bad.lock().unwrap_or_else(PoisonError::into_inner);
                        *bad = Some(bad.map_or((row, column), |known| known.min((row, column))));
                    }
                }
            }
        };
        let panels = self.lines.chunks_mut(depth.max(1)).enumerate();
        let load = Load::new(panels.len(), 4.0 * matrix.len() as f64);
        pool::for_each(panels, load, &mut unwatched, || (), fill_panel)?;
        match bad.into_inner().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some((row, column)) => {
                let value = matrix[[row, column]].widen();
                Err(Error::NotFinite {
                    argument,
                    row,
                    column,
                    value,
                })
            }
        }
    }

    /// The same rows, to be multiplied with another instruction set.
    #[must_use]
    pub fn with_isa(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }

    /// `Σ (a − b)²` over all entries of two matrices of one shape.
    pub(crate) fn squared_distance(&self, other: &Self) -> f64 {
        let squares = |(a, b): (&T::Line, &T::Line)| -> f64 {
            let lanes = a.lanes().iter().zip(b.lanes());
            lanes
                .map(|(a, b)| (a.widen() - b.widen()) * (a.widen() - b.widen()))
                .sum()
        };
        self.lines.iter().zip(&*other.lines).map(squares).sum()
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

    /// The whole panels that hold a range of rows: they begin with row `range.start` rounded down to a panel, and past
    /// the range they hold other rows, or zeros.
    pub fn of_rows(&self, range: &Range<usize>) -> PanelSlice<'_, T> {
        self.slice(range.start / Self::LANES..range.end.div_ceil(Self::LANES))
    }

    /// All panels.
    pub fn all(&self) -> PanelSlice<'_, T> {
        PanelSlice {
            lines: &self.lines,
            depth: self.depth,
            isa: self.isa,
            next: &[],
        }
    }

    /// Chunks of at most `panels` panels, to write.
    pub(crate) fn chunks_mut(
        &mut self,
        panels: usize,
    ) -> impl ExactSizeIterator<Item = &mut [T::Line]> + Send {
        self.lines.chunks_mut(panels * self.depth)
    }

    /// The first panels, as many as hold `rows` rows, to write.
    pub(crate) fn first_rows_mut(&mut self, rows: usize) -> &mut [T::Line] {
        &mut self.lines[..rows.div_ceil(Self::LANES) * self.depth]
    }

    /// The value in row `row` at depth `k`.
    ///
    /// # Panics
    /// If there is no such entry.
    #[inline]
    pub fn value(&self, row: usize, k: usize) -> T {
        assert!(k < self.depth);
        self.lines[row / Self::LANES * self.depth + k].lanes()[row % Self::LANES]
    }

    /// Copies row `row` to `values`.
    ///
    /// # Panics
    /// If `values.len() != self.depth()` or the row does not exist.
    pub fn copy_row(&self, row: usize, values: &mut [f64]) {
        assert_eq!(values.len(), self.depth);
        let (panel, lane) = (row / Self::LANES, row % Self::LANES);
        for (value, line) in values.iter_mut().zip(self.slice(panel..panel + 1).lines) {
            *value = line.lanes()[lane].widen();
        }
    }
}

impl<'a, T: Scalar> PanelSlice<'a, T> {
    /// Panels that already lie in memory as `lines`.
    pub fn new(lines: &'a [T::Line], depth: usize, isa: Isa) -> Self {
        Self {
            lines,
            depth,
            isa,
            next: &[],
        }
    }

    /// These panels, the first of which are to be fetched into cache while these are multiplied: panels of the same depth.
    #[must_use]
    pub(crate) fn before(self, next: Self) -> Self {
        assert_eq!(self.depth, next.depth);
        Self {
            next: next.lines,
            ..self
        }
    }

    /// The panels that will be wanted after these.
    pub(crate) fn next(self) -> Self {
        Self {
            lines: self.next,
            next: &[],
            ..self
        }
    }

    /// The instruction set that multiplies them.
    pub fn isa(self) -> Isa {
        self.isa
    }

    /// The panels one by one, each `depth` lines.
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

    /// Whether these are those very panels: the same memory.
    pub(crate) fn is(self, other: Self) -> bool {
        ptr::eq(self.lines, other.lines) && self.depth == other.depth
    }

    /// The number of panels.
    pub fn len(self) -> usize {
        self.lines.len() / self.depth
    }

    /// Whether there is no panel.
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
            next: &[],
            ..self
        }
    }

    /// Chunks of at most `panels` panels, in order: each knows the one after it.
    pub fn chunks(self, panels: usize) -> impl Iterator<Item = Self> {
        let (count, all) = (self.len(), Self { next: &[], ..self });
        let chunk = move |start: usize| all.slice(start.min(count)..count.min(start + panels));
        let starts = (0..count).step_by(panels);
        starts.map(move |start| chunk(start).before(chunk(start + panels)))
    }
}

/// The first column that holds NaN or an infinity.
fn first_not_finite<T: Scalar>(values: ArrayView1<'_, T>) -> Option<usize> {
    let is_bad = |value: &T| !value.widen().is_finite();
    // Looking at all of them, without an early end, is what vectorises.
    let any = match values.as_slice() {
        Some(slice) => slice.iter().fold(false, |any, value| any | is_bad(value)),
        None => values.iter().any(is_bad),
    };
    if any {
        values.iter().position(is_bad)
    } else {
        None
    }
}

fn largest<T: Scalar>(values: ArrayView1<'_, T>) -> f64 {
    let larger = |max: f64, value: &T| {
        let size = value.widen().abs();
        if size > max { size } else { max }
    };
    let Some(slice) = values.as_slice() else {
        return values.iter().fold(0.0, larger);
    };
    // Eight side by side: each would wait for the one before it.
    let (chunks, rest) = slice.as_chunks::<8>();
    let mut maxima = [0.0; 8];
    for chunk in chunks {
        for (max, value) in maxima.iter_mut().zip(chunk) {
            *max = larger(*max, value);
        }
    }
    let largest = maxima.into_iter().fold(0.0, f64::max);
    rest.iter().fold(largest, larger)
}

/// Writes one row to a lane of a panel, divided by two to the power of `exponent`.
fn store_row<T: Scalar>(
    lines: &mut [T::Line],
    lane: usize,
    values: ArrayView1<'_, T>,
    exponent: i32,
) {
    // A power of two within the normal range is a factor; others need the care of `scalbn`.
    if exponent == 0 {
        store(lines, lane, values, |value| value);
    } else if exponent.abs() < 1000 {
        let factor = libm::scalbn(1.0, -exponent);
        store(lines, lane, values, |value| {
            T::narrow(value.widen() * factor)
        });
    } else {
        store(lines, lane, values, |value| {
            T::narrow(libm::scalbn(value.widen(), -exponent))
        });
    }
}

fn store<T: Scalar>(
    lines: &mut [T::Line],
    lane: usize,
    values: ArrayView1<'_, T>,
    map: impl Fn(T) -> T,
) {
    match values.as_slice() {
        Some(slice) => lines
            .iter_mut()
            .zip(slice)
            .for_each(|(line, value)| line.lanes_mut()[lane] = map(*value)),
        None => lines
            .iter_mut()
            .zip(values)
            .for_each(|(line, value)| line.lanes_mut()[lane] = map(*value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, s};

    #[test]
    fn rows_come_back_whatever_the_strides() {
        let matrix = Array2::from_shape_fn((37, 5), |(i, k)| (i * 5 + k) as f64);
        for view in [
            matrix.view(),
            matrix.slice(s![..;-1, ..;-1]),
            matrix.slice(s![..;3, ..;2]),
        ] {
            let panels = Panels::pack(view, "X").unwrap();
            let mut row = vec![f64::NAN; view.ncols()];
            for i in 0..view.nrows() {
                panels.copy_row(i, &mut row);
                assert_eq!(row, view.row(i).to_vec());
            }
        }
    }

    #[test]
    fn lanes_past_the_last_row_are_zero() {
        let panels = Panels::pack(Array2::from_elem((3, 4), 7.0_f32).view(), "X").unwrap();
        for line in panels.all().panels().flatten() {
            assert_eq!(&line.lanes()[3..], &[0.0; 13]);
        }
    }

    #[test]
    fn scaling_is_exact_over_the_whole_range_of_exponents() {
        let matrix =
            Array2::from_shape_vec((3, 2), vec![5e-324, -3e-320, 1.7e308, 1e5, 0.0, 0.0]).unwrap();
        let (panels, exponents) = Panels::pack_scaled(matrix.view(), "X").unwrap();
        let mut row = [f64::NAN; 2];
        for (i, exponent) in exponents.into_iter().enumerate() {
            panels.copy_row(i, &mut row);
            assert!(row.iter().all(|value| value.abs() < 1.0));
            assert_eq!(
                row.map(|value| libm::scalbn(value, exponent)).to_vec(),
                matrix.row(i).to_vec()
            );
        }
    }

    #[test]
    fn the_first_value_that_is_not_finite_is_named() {
        let mut matrix = Array2::zeros((4, 3));
        matrix[[2, 1]] = f64::INFINITY;
        matrix[[3, 0]] = f64::INFINITY;
        let expected = Error::NotFinite {
            argument: "X",
            row: 2,
            column: 1,
            value: f64::INFINITY,
        };
        assert_eq!(Panels::pack(matrix.view(), "X").unwrap_err(), expected);
    }
}
