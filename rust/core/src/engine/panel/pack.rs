//! Packing: panels from an array of any strides, checked for values that are not finite.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};

use ndarray::{ArrayView1, ArrayView2, ArrayView4, Axis};

use super::Panels;
use super::pack_panel::PackPanel;
use crate::engine::pool::{self, Load, Stop, Watch, lock, unwatched};
use crate::engine::scalar::{Line, Scalar};
use crate::error::{Error, Result};

/// The number of entries in a chunk of rows: a few hundredths of a second on fresh pages.
const CHUNK: usize = 1 << 22;

/// The least number of entries that a thread packs at a time, if there are so many.
const PIECE: usize = 1 << 12;

/// Estimated cycles per entry.
const CYCLES: f64 = 2.0;

impl<T: Scalar> Panels<T> {
    /// Packs a matrix of any strides.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the first row that holds NaN or an infinity and its first such column,
    /// [`Error::Memory`], [`Error::Cancelled`].
    pub fn pack(
        matrix: ArrayView2<'_, T>,
        argument: &'static str,
        watch: &mut Watch<'_>,
    ) -> Result<Self> {
        let mut panels = Self::unwritten(matrix.nrows(), matrix.ncols())?;
        panels.fill(|row| matrix.row(row), argument, None, watch)?;
        Ok(panels)
    }

    /// Packs an array of any strides. Its first three axes, together, are those of rows.
    ///
    /// # Errors
    /// As [`Panels::pack`].
    pub fn pack_merged(
        array: &ArrayView4<'_, T>,
        argument: &'static str,
        watch: &mut Watch<'_>,
    ) -> Result<Self> {
        let (first, second, third, depth) = array.dim();
        let mut panels = Self::unwritten(first * second * third, depth)?;
        let row = |row: usize| {
            let block = array.index_axis(Axis(0), row / (second * third));
            let line = block.index_axis_move(Axis(0), row / third % second);
            line.index_axis_move(Axis(0), row % third)
        };
        panels.fill(row, argument, None, watch)?;
        Ok(panels)
    }

    /// Packs each row scaled by a power of two, so that its largest magnitude lies in [1/2, 1).
    ///
    /// Returns the exponents too: row i of the matrix is `2^exponents[i]` times row i of the panels. Rows of zeros have
    /// exponent 0. Nothing computed from such rows under- or overflows because of the scale of the data alone. The
    /// scaling is exact, except for entries too small to change any sum over their row.
    ///
    /// # Errors
    /// As [`Panels::pack`].
    pub fn pack_scaled(
        matrix: ArrayView2<'_, T>,
        argument: &'static str,
        watch: &mut Watch<'_>,
    ) -> Result<(Self, Vec<i32>)> {
        let mut panels = Self::unwritten(matrix.nrows(), matrix.ncols())?;
        let rows = 0..matrix.nrows();
        let exponents: Vec<AtomicI32> = rows.map(|_| AtomicI32::new(0)).collect();
        panels.fill(|row| matrix.row(row), argument, Some(&exponents), watch)?;
        Ok((
            panels,
            exponents.into_iter().map(AtomicI32::into_inner).collect(),
        ))
    }

    /// Stores `values(row)` of every row. With room for exponents, scales the rows and keeps their exponents.
    ///
    /// `watch` may run user-supplied code, which may write to the values. So it is called between chunks of rows, while
    /// nobody reads them.
    fn fill<'a>(
        &mut self,
        values: impl Fn(usize) -> ArrayView1<'a, T> + Sync,
        argument: &'static str,
        exponents: Option<&[AtomicI32]>,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let (depth, rows, isa) = (self.depth, self.rows, self.isa);
        let bad: Mutex<Option<NotFinite>> = Mutex::new(None);
        let fill_panel = |panel: usize, lines: &mut [T::Line]| {
            let range = panel * Self::LANES..rows.min((panel + 1) * Self::LANES);
            let contents: Vec<_> = range.clone().map(|row| contiguous(values(row))).collect();
            let packed = isa.run(PackPanel {
                rows: &contents,
                lines,
                scaled: exponents.is_some(),
            });
            for (exponent, row) in packed.exponents.iter().zip(range.clone()) {
                if let Some(exponents) = exponents {
                    exponents[row].store(*exponent, Ordering::Relaxed);
                }
            }
            if !packed.finite {
                let found = first_not_finite::<T>(lines, range);
                let mut bad = lock(&bad);
                *bad = bad.into_iter().chain(found).min_by_key(|found| found.row);
            }
        };
        let panel = depth.max(1) * Self::LANES;
        // Pieces of some panels, so that claiming one costs nothing beside packing it.
        let piece = (PIECE / panel).max(1);
        let chunk = (CHUNK / (piece * panel)).max(pool::num_threads()?);
        let mut pieces = self.lines.chunks_mut(piece * depth.max(1)).enumerate();
        let total = pieces.len();
        while pieces.len() > 0 {
            let count = chunk.min(pieces.len());
            let load = Load::new(count, CYCLES * (count * piece * panel) as f64);
            let fill_piece = |(): &mut (), (index, lines): (usize, &mut [T::Line]), _: &Stop| {
                for (panel, lines) in lines.chunks_mut(depth.max(1)).enumerate() {
                    fill_panel(index * piece + panel, lines);
                }
            };
            let part = pieces.by_ref().take(count);
            pool::for_each(part, load, &mut unwatched, || (), fill_piece)?;
            if watch(total - pieces.len(), total).is_break() {
                return Err(Error::Cancelled);
            }
            if lock(&bad).is_some() {
                break;
            }
        }
        match *lock(&bad) {
            None => Ok(()),
            Some(NotFinite { row, column, value }) => Err(Error::NotFinite {
                argument,
                row,
                column,
                value,
            }),
        }
    }
}

/// The place of NaN or an infinity.
#[derive(Clone, Copy)]
struct NotFinite {
    row: usize,
    column: usize,
    value: f64,
}

/// The values of a row side by side in memory. They are copied if they are not.
fn contiguous<T: Scalar>(values: ArrayView1<'_, T>) -> Cow<'_, [T]> {
    match values.to_slice() {
        Some(slice) => Cow::Borrowed(slice),
        None => Cow::Owned(values.to_vec()),
    }
}

/// The first row of a panel that holds NaN or an infinity, and its first such column.
fn first_not_finite<T: Scalar>(lines: &[T::Line], rows: Range<usize>) -> Option<NotFinite> {
    rows.enumerate().find_map(|(lane, row)| {
        let mut values = lines
            .iter()
            .map(|line| line.lanes()[lane].widen())
            .enumerate();
        let (column, value) = values.find(|(_, value)| !value.is_finite())?;
        Some(NotFinite { row, column, value })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, Array4, s};

    #[test]
    fn rows_come_back_whatever_the_strides() {
        let matrix = Array2::from_shape_fn((37, 5), |(i, k)| (i * 5 + k) as f64);
        for view in [
            matrix.view(),
            matrix.slice(s![..;-1, ..;-1]),
            matrix.slice(s![..;3, ..;2]),
        ] {
            let panels = Panels::pack(view, "X", &mut unwatched).unwrap();
            let mut row = vec![f64::NAN; view.ncols()];
            for i in 0..view.nrows() {
                panels.copy_row(i, &mut row);
                assert_eq!(row, view.row(i).to_vec());
            }
        }
    }

    #[test]
    fn the_first_three_axes_are_those_of_rows() {
        let array = Array4::from_shape_fn((3, 2, 5, 4), |(i, s, t, k)| {
            (1000 * i + 100 * s + 10 * t + k) as f64
        });
        let views = [array.view(), array.view().permuted_axes([2, 0, 3, 1])];
        for view in views {
            let panels = Panels::pack_merged(&view, "X", &mut unwatched).unwrap();
            let (_, second, third, depth) = view.dim();
            for (row, values) in view.rows().into_iter().enumerate() {
                let mut packed = vec![f64::NAN; depth];
                panels.copy_row(row, &mut packed);
                assert_eq!(packed, values.to_vec());
            }
            assert_eq!(panels.rows(), view.dim().0 * second * third);
        }
    }

    #[test]
    fn lanes_past_the_last_row_are_zero() {
        let panels = Panels::pack(
            Array2::from_elem((3, 4), 7.0_f32).view(),
            "X",
            &mut unwatched,
        )
        .unwrap();
        for line in panels.all().panels().flatten() {
            assert_eq!(&line.lanes()[3..], &[0.0; 13]);
        }
    }

    #[test]
    fn scaling_is_exact_over_the_whole_range_of_exponents() {
        let matrix =
            Array2::from_shape_vec((3, 2), vec![5e-324, -3e-320, 1.7e308, 1e5, 0.0, 0.0]).unwrap();
        let (panels, exponents) = Panels::pack_scaled(matrix.view(), "X", &mut unwatched).unwrap();
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
        assert_eq!(
            Panels::pack(matrix.view(), "X", &mut unwatched).unwrap_err(),
            expected
        );
    }
}
