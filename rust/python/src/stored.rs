//! Matrices that are stored, in memory or in a file: the class `StoredProduct`, and functions
//! `stored_product` and `packed_offset`.

use ntkrs_core::engine::packed_layout::PackedLayout;
use ntkrs_core::engine::pool::unwatched;
use ntkrs_core::engine::scalar::Scalar;
use ntkrs_core::engine::stored::{self, Stored};
use numpy::{Element, PyArray2};
use pyo3::prelude::*;

use crate::arrays::{Batches, Matrix, Typed, in_dtype};
use crate::call::Call;
use crate::errors::Result;
use crate::ticker::Progress;

/// The product of a stored symmetric matrix of order N with vectors (N, r), from its rows piece by piece.
#[pyclass(frozen, module = "ntkrs._core")]
pub struct StoredProduct(stored::StoredProduct);

#[pymethods]
impl StoredProduct {
    #[new]
    fn new(py: Python<'_>, order: usize, vectors: Matrix<'_, f64>) -> Result<Self> {
        let vectors = vectors.as_array();
        let product = Call::enter(py, None).read(|_| stored::StoredProduct::new(order, vectors))?;
        Ok(Self(product))
    }

    /// Adds rows j from `start` on: `rows = (packed, None)` or `(upper, lower)`, rows j and h + j of the matrix itself. They
    /// are not copied: they must not change during the call. Pieces come once each, in ascending order.
    fn add(
        &self,
        py: Python<'_>,
        start: usize,
        rows: Typed<Batches<'_, f64>, Batches<'_, f32>>,
        progress: Progress,
    ) -> Result<()> {
        in_dtype!(rows, |rows| add(py, &self.0, start, &rows, progress))
    }

    /// Returns the product, (N, r), once all rows are added.
    fn total<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyArray2<f64>>> {
        let total = Call::enter(py, None).detach(0.0, |watch| self.0.total(watch))?;
        Ok(PyArray2::from_owned_array(py, total))
    }
}

fn add<T: Scalar + Element>(
    py: Python<'_>,
    product: &stored::StoredProduct,
    start: usize,
    (upper, lower): &Batches<'_, T>,
    progress: Progress,
) -> Result<()> {
    let mut call = Call::enter(py, progress);
    let (upper, lower) = (upper.as_array(), lower.as_ref().map(Matrix::as_array));
    let cycles = product.cycles(upper.nrows());
    let rows = call.read(|_| Stored::new(product.order(), start, upper, lower))?;
    call.detach(cycles, |watch| product.add(&rows, watch))
}

/// Returns K V (N, r) in float64 for a symmetric matrix K (N, N) and vectors V (N, r). K is not copied: it must not change
/// during the call.
#[pyfunction]
pub fn stored_product<'py>(
    py: Python<'py>,
    matrix: Typed<Matrix<'py, f64>, Matrix<'py, f32>>,
    vectors: Matrix<'py, f64>,
    progress: Progress,
) -> Result<Bound<'py, PyArray2<f64>>> {
    in_dtype!(matrix, |matrix| product(py, &matrix, &vectors, progress))
}

fn product<'py, T: Scalar + Element>(
    py: Python<'py>,
    matrix: &Matrix<'_, T>,
    vectors: &Matrix<'_, f64>,
    progress: Progress,
) -> Result<Bound<'py, PyArray2<f64>>> {
    let mut call = Call::enter(py, progress);
    let matrix = matrix.as_array();
    let (rows, product) = call.read(|_| {
        let rows = Stored::whole(matrix)?;
        let product = stored::StoredProduct::new(matrix.nrows(), vectors.as_array())?;
        Ok((rows, product))
    })?;
    let total = call.detach(product.cycles(matrix.nrows()), |watch| {
        product.add(&rows, watch)?;
        product.total(&mut unwatched)
    })?;
    Ok(PyArray2::from_owned_array(py, total))
}

/// Returns the place of entry (i, j) of a symmetric matrix of this order in the packed array.
#[pyfunction]
pub fn packed_offset(order: usize, i: usize, j: usize) -> usize {
    PackedLayout::new(order).offset(i, j)
}
