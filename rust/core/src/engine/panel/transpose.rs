//! Transposed panels.

use std::marker::PhantomData;

use super::PanelSlice;
use crate::engine::scalar::{Line, Scalar};
use crate::isa::{Isa, Vector, Vectorized};

impl<T: Scalar> PanelSlice<'_, T> {
    /// Fills panel `panel` of the transpose of the first `target.len()` rows. Lanes past the last column become zero.
    ///
    /// # Panics
    /// If there is no such panel, or fewer rows than `target` has lines.
    pub(crate) fn transpose(self, panel: usize, target: &mut [T::Line]) {
        let lanes = T::Line::LANES;
        assert!(target.len() <= self.len() * lanes);
        let columns = panel * lanes..self.depth().min((panel + 1) * lanes);
        let squares = self.panels().zip(target.chunks_mut(lanes));
        transpose::<T>(
            squares.map(|(source, target)| (&source[columns.clone()], target)),
            self.isa(),
        );
    }
}

/// Makes each target the transpose of its source, of at most [`Line::LANES`] lines each. Missing lines of a source count
/// as zero; missing lines of a target are dropped.
pub(crate) fn transpose<'a, T: Scalar>(
    squares: impl Iterator<Item = (&'a [T::Line], &'a mut [T::Line])>,
    isa: Isa,
) {
    isa.run(Squares(squares, PhantomData::<T>));
}

struct Squares<I, T>(I, PhantomData<T>);

impl<'a, T: Scalar, I: Iterator<Item = (&'a [T::Line], &'a mut [T::Line])>> Vectorized
    for Squares<I, T>
{
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for (source, target) in self.0 {
            transpose_square::<T, V>(source, target);
        }
    }
}

/// Makes the target the transpose of the source, as in [`transpose`].
#[inline(always)]
pub(super) fn transpose_square<T: Scalar, V: Vector>(source: &[T::Line], target: &mut [T::Line]) {
    let lanes = T::Line::LANES;
    if source.len() == lanes && target.len() == lanes {
        T::transpose::<V>(source, target);
        return;
    }
    for (row, line) in target.iter_mut().enumerate() {
        let (values, rest) = line.lanes_mut().split_at_mut(source.len());
        let column = source.iter().map(|line| line.lanes()[row]);
        values
            .iter_mut()
            .zip(column)
            .for_each(|(value, entry)| *value = entry);
        rest.fill(T::default());
    }
}

#[cfg(test)]
mod tests {
    use super::super::Panels;
    use super::*;
    use crate::engine::pool::unwatched;
    use ndarray::Array2;

    fn check<T: Scalar>() {
        // Shapes with whole squares and with partial ones, for either type.
        let matrix = Array2::from_shape_fn((37, 21), |(i, k)| T::narrow((i * 21 + k + 1) as f64));
        let panels = Panels::pack(matrix.view(), "X", &mut unwatched).unwrap();
        let expected = Panels::pack(matrix.t(), "X", &mut unwatched).unwrap();
        for isa in Isa::available() {
            let mut transposed = Panels::<T>::unwritten(21, 37).unwrap();
            for line in transposed.first_rows_mut(21) {
                line.lanes_mut().fill(T::narrow(7.0));
            }
            let source = PanelSlice::<T>::new(&panels.lines, 21, isa);
            for (panel, target) in transposed.chunks_mut(1).enumerate() {
                source.transpose(panel, target);
            }
            let lines = transposed.lines.iter().zip(&*expected.lines);
            for (line, expected) in lines {
                assert_eq!(line.lanes(), expected.lanes(), "{isa}");
            }
        }
    }

    #[test]
    fn rows_become_columns_and_dirty_lanes_zero() {
        check::<f64>();
        check::<f32>();
    }
}
