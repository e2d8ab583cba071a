//! Packed rows: the one storage format of every heavy operand.
//!
//! `P[panel][k][lane]`: a panel holds one cache line of samples (8 `f64`, 16 `f32`), and for each k the values of
//! its samples lie side by side. Lanes past the last row are zero. A micro-kernel reads a panel front to back,
//! and a layer's output is stored straight as the next layer's panels.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayView2};

use crate::error::{Error, Result};
use crate::scalar::{Line, Scalar};

/// A packed (rows, depth) matrix.
#[derive(Debug)]
pub struct Panels<T: Scalar> {
    lines: Vec<T::Line>,
    rows: usize,
    depth: usize,
}

/// Whole panels of a [`Panels`], borrowed.
#[derive(Clone, Copy, Debug)]
pub struct PanelSlice<'a, T: Scalar> {
    lines: &'a [T::Line],
    depth: usize,
}

impl<T: Scalar> Panels<T> {
    /// How many rows one panel holds.
    pub const LANES: usize = T::Line::LANES;

    /// A zero matrix.
    ///
    /// # Errors
    /// [`Error::Memory`] if it cannot be allocated.
    pub fn zeros(rows: usize, depth: usize) -> Result<Self> {
        let count = rows.div_ceil(Self::LANES).saturating_mul(depth);
        let mut lines = Vec::new();
        lines.try_reserve_exact(count).map_err(|_| Error::Memory {
            bytes: count.saturating_mul(size_of::<T::Line>()),
            purpose: "packed rows",
        })?;
        lines.resize(count, T::Line::ZERO);
        Ok(Self { lines, rows, depth })
    }

    /// Packs a matrix of any strides.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the first row and column that hold NaN or an infinity, [`Error::Memory`].
    pub fn pack(matrix: ArrayView2<'_, T>, argument: &'static str) -> Result<Self> {
        let mut panels = Self::zeros(matrix.nrows(), matrix.ncols())?;
        for (row, values) in matrix.rows().into_iter().enumerate() {
            check_finite(values, row, argument)?;
            panels.store_row(row, values.iter().copied());
        }
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
        let mut panels = Self::zeros(matrix.nrows(), matrix.ncols())?;
        let mut exponents = Vec::with_capacity(matrix.nrows());
        for (row, values) in matrix.rows().into_iter().enumerate() {
            check_finite(values, row, argument)?;
            let largest = values
                .iter()
                .fold(0.0, |max: f64, value| max.max(value.widen().abs()));
            let exponent = libm::frexp(largest).1;
            panels.store_row(
                row,
                values
                    .iter()
                    .map(|value| T::narrow(libm::scalbn(value.widen(), -exponent))),
            );
            exponents.push(exponent);
        }
        Ok((panels, exponents))
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The length of a row.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The panels that hold a range of rows.
    pub fn panels_of(rows: &Range<usize>) -> Range<usize> {
        rows.start / Self::LANES..rows.end.div_ceil(Self::LANES)
    }

    /// A range of panels.
    pub fn slice(&self, panels: Range<usize>) -> PanelSlice<'_, T> {
        PanelSlice {
            lines: &self.lines[panels.start * self.depth..panels.end * self.depth],
            depth: self.depth,
        }
    }

    /// All panels.
    pub fn all(&self) -> PanelSlice<'_, T> {
        PanelSlice {
            lines: &self.lines,
            depth: self.depth,
        }
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

    fn store_row(&mut self, row: usize, values: impl Iterator<Item = T>) {
        let (panel, lane) = (row / Self::LANES, row % Self::LANES);
        let lines = &mut self.lines[panel * self.depth..(panel + 1) * self.depth];
        for (line, value) in lines.iter_mut().zip(values) {
            line.lanes_mut()[lane] = value;
        }
    }
}

/// Cuts several matrices of the same rows into bands of `panels` panels: one element per band, holding the lines of
/// that band of each matrix, so that bands can be filled in parallel.
pub fn bands_mut<'a, T: Scalar>(
    matrices: impl Iterator<Item = &'a mut Panels<T>>,
    panels: usize,
) -> Vec<Vec<&'a mut [T::Line]>> {
    let mut bands = Vec::new();
    for (index, matrix) in matrices.enumerate() {
        for (band, lines) in matrix.lines.chunks_mut(panels * matrix.depth).enumerate() {
            if index == 0 {
                bands.push(Vec::new());
            }
            bands[band].push(lines);
        }
    }
    bands
}

impl<'a, T: Scalar> PanelSlice<'a, T> {
    /// Panels that already lie in memory as `lines`.
    pub fn new(lines: &'a [T::Line], depth: usize) -> Self {
        Self { lines, depth }
    }

    /// The panels one by one, each `depth` lines.
    pub fn panels(self) -> impl ExactSizeIterator<Item = &'a [T::Line]> + Clone {
        self.lines.chunks_exact(self.depth)
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

    /// Chunks of at most `panels` panels, in order.
    pub fn chunks(self, panels: usize) -> impl Iterator<Item = Self> {
        self.lines
            .chunks(panels * self.depth)
            .map(move |lines| Self {
                lines,
                depth: self.depth,
            })
    }
}

fn check_finite<T: Scalar>(
    values: ArrayView1<'_, T>,
    row: usize,
    argument: &'static str,
) -> Result<()> {
    match values
        .iter()
        .map(|value| value.widen())
        .enumerate()
        .find(|(_, value)| !value.is_finite())
    {
        Some((column, value)) => Err(Error::NotFinite {
            argument,
            row,
            column,
            value,
        }),
        None => Ok(()),
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
