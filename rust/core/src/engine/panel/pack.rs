//! Packing: panels from an array of any strides, checked for values that are not finite.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, Ordering};

use ndarray::{ArrayView1, ArrayView2, ArrayView4, Axis};

use super::Panels;
use crate::engine::pool::{self, Load, Stop, Watch, lock, unwatched};
use crate::engine::scalar::{Line, Scalar};
use crate::error::{Error, Result};

/// The number of entries in a chunk of rows: a few hundredths of a second on fresh pages.
const CHUNK: usize = 1 << 22;

/// The least number of entries that a thread packs at a time, if there are so many.
const PIECE: usize = 1 << 12;

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
        panels.fill(|row| matrix.row(row), argument, |_, _| 0, watch)?;
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
        panels.fill(row, argument, |_, _| 0, watch)?;
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
        let exponent = |row: usize, values: ArrayView1<'_, T>| {
            let exponent = libm::frexp(largest(values)).1;
            exponents[row].store(exponent, Ordering::Relaxed);
            exponent
        };
        panels.fill(|row| matrix.row(row), argument, exponent, watch)?;
        Ok((
            panels,
            exponents.into_iter().map(AtomicI32::into_inner).collect(),
        ))
    }

    /// Stores `values(row)` of every row, divided by `2^exponent(row, values)`.
    ///
    /// `watch` may run user-supplied code, which may write to the values. So it is called between chunks of rows, while
    /// nobody reads them.
    fn fill<'a>(
        &mut self,
        values: impl Fn(usize) -> ArrayView1<'a, T> + Sync,
        argument: &'static str,
        exponent: impl Fn(usize, ArrayView1<'_, T>) -> i32 + Sync,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let (depth, rows) = (self.depth, self.rows);
        let bad: Mutex<Option<(usize, usize)>> = Mutex::new(None);
        let fill_panel = |panel: usize, lines: &mut [T::Line]| {
            let first = panel * Self::LANES;
            for row in first..rows.min(first + Self::LANES) {
                let values = values(row);
                match first_not_finite(values) {
                    None => store_row(lines, row - first, values, exponent(row, values)),
                    Some(column) => {
                        let mut bad = lock(&bad);
                        *bad = Some(bad.map_or((row, column), |known| known.min((row, column))));
                    }
                }
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
            let load = Load::new(count, 4.0 * (count * piece * panel) as f64);
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
            Some((row, column)) => Err(Error::NotFinite {
                argument,
                row,
                column,
                value: values(row)[column].widen(),
            }),
        }
    }
}

/// The first position of NaN or an infinity.
fn first_not_finite<T: Scalar>(values: ArrayView1<'_, T>) -> Option<usize> {
    let is_bad = |value: &T| !value.widen().is_finite();
    // Without an early exit the loop vectorises.
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

/// The largest magnitude.
fn largest<T: Scalar>(values: ArrayView1<'_, T>) -> f64 {
    let larger = |max: f64, value: &T| {
        let size = value.widen().abs();
        if size > max { size } else { max }
    };
    let Some(slice) = values.as_slice() else {
        return values.iter().fold(0.0, larger);
    };
    // Eight maxima side by side: a single one would wait for its predecessor at each value.
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

/// Writes one row, divided by `2^exponent`, to a lane of a panel.
fn store_row<T: Scalar>(
    lines: &mut [T::Line],
    lane: usize,
    values: ArrayView1<'_, T>,
    exponent: i32,
) {
    // A power of two in the normal range is an exact factor. Others may overflow, which `scalbn` takes care of.
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

/// Writes `map` of the values to a lane of a panel.
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
