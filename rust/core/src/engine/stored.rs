//! A symmetric matrix in memory as a kernel: its tiles are read instead of computed.

use ndarray::ArrayView2;

use crate::engine::scalar::Scalar;
use crate::engine::tile::{Area, Tile, TileKernel};
use crate::error::{Error, Result};
use crate::isa::{Isa, Vector, Vectorized};

/// A symmetric matrix (N, N). Products with it read the half on and above the diagonal, and the tiles on the diagonal.
#[derive(Debug)]
pub struct Stored<'a, T: Scalar> {
    matrix: ArrayView2<'a, T>,
    isa: Isa,
}

impl<'a, T: Scalar> Stored<'a, T> {
    /// The kernel that is this matrix.
    ///
    /// # Errors
    /// [`Error::Shape`] if the matrix is not square; as [`Isa::current`].
    pub fn new(matrix: ArrayView2<'a, T>) -> Result<Self> {
        let order = matrix.nrows();
        Error::check_shape("K", matrix.shape(), &[order, order])?;
        let isa = Isa::current()?;
        Ok(Self { matrix, isa })
    }
}

impl<T: Scalar> TileKernel for Stored<'_, T> {
    type Scratch = ();

    fn rows(&self) -> usize {
        self.matrix.nrows()
    }

    fn cols(&self) -> usize {
        self.matrix.ncols()
    }

    fn planes(&self) -> usize {
        1
    }

    fn entry_cycles(&self) -> f64 {
        1.0
    }

    fn compute(&self, area: &Area, (): &mut (), planes: &mut [Tile]) {
        let tile = &mut planes[0];
        tile.reshape(area.rows.len(), area.cols.len());
        for (r, row) in area.rows.clone().enumerate() {
            let source = self.matrix.row(row);
            let target = tile.row_mut(r);
            if let Some(source) = source.as_slice() {
                let source = &source[area.cols.clone()];
                self.isa.run(Widen { source, target });
            } else {
                let columns = area.cols.clone();
                (target.iter_mut().zip(columns)).for_each(|(value, c)| *value = source[c].widen());
            }
        }
    }
}

/// `target = source`, exactly.
struct Widen<'a, T> {
    source: &'a [T],
    target: &'a mut [f64],
}

impl<T: Scalar> Vectorized for Widen<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let pairs = self.target.iter_mut().zip(self.source);
        pairs.for_each(|(target, source)| *target = source.widen());
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Axis, s};

    use super::*;
    use crate::engine::multiply::multiply;
    use crate::engine::pool::unwatched;

    /// A symmetric matrix of small integers, whose products are exact.
    fn integers<T: Scalar>(order: usize) -> Array2<T> {
        let entry = |(i, j): (usize, usize)| T::narrow(((i * j + i + j) % 17) as f64 - 8.0);
        Array2::from_shape_fn((order, order), entry)
    }

    fn check<T: Scalar>(matrix: ArrayView2<'_, T>, vectors: usize) {
        let shape = (matrix.nrows(), vectors);
        let vectors = Array2::from_shape_fn(shape, |(i, r)| ((3 * i + 5 * r) % 11) as f64 - 5.0);
        let kernel = Stored::new(matrix).unwrap();
        let product = multiply(&kernel, true, vectors.view(), &mut unwatched).unwrap();
        assert_eq!(product, matrix.mapv(Scalar::widen).dot(&vectors));
    }

    #[test]
    fn products_are_those_of_naive_loops() {
        for order in [0, 1, 7, 96, 97, 500] {
            for vectors in [0, 1, 3, 4, 9] {
                check(integers::<f64>(order).view(), vectors);
                check(integers::<f32>(order).view(), vectors);
            }
        }
    }

    #[test]
    fn any_strides_are_read() {
        let matrix = integers::<f32>(300);
        check(matrix.t(), 3);
        check(matrix.slice(s![..;2, ..;2]), 3);
        let mut reversed = matrix.view();
        reversed.invert_axis(Axis(0));
        reversed.invert_axis(Axis(1));
        check(reversed, 3);
    }

    #[test]
    fn the_lower_half_is_not_read() {
        let mut matrix = integers::<f64>(200);
        let expected = matrix.dot(&Array2::ones((200, 1)));
        matrix.slice_mut(s![96.., ..96]).fill(f64::NAN);
        let kernel = Stored::new(matrix.view()).unwrap();
        let product = multiply(&kernel, true, Array2::ones((200, 1)).view(), &mut unwatched);
        assert_eq!(product.unwrap(), expected);
    }

    #[test]
    fn a_matrix_that_is_not_square_is_an_error() {
        let error = Stored::new(Array2::<f64>::zeros((3, 4)).view()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "K has shape [3, 4], but [3, 3] is needed"
        );
    }
}
