//! Matrices that are stored: the function `stored_product`.

use ntkrs_core::engine::multiply;
use ntkrs_core::engine::scalar::Scalar;
use ntkrs_core::engine::stored::Stored;
use ntkrs_core::engine::tile::TileKernel;
use numpy::{Element, PyArray2};
use pyo3::prelude::*;

use crate::arrays::{Matrix, Typed, copied};
use crate::call::Call;
use crate::errors::Result;
use crate::ticker::Progress;

/// Returns K V (N, r) in float64 for a symmetric matrix K (N, N) and vectors V (N, r). K is not copied: it must not change
/// during the call.
#[pyfunction]
pub fn stored_product<'py>(
    py: Python<'py>,
    matrix: Typed<Matrix<'py, f64>, Matrix<'py, f32>>,
    vectors: Matrix<'py, f64>,
    progress: Progress,
) -> Result<Bound<'py, PyArray2<f64>>> {
    match matrix {
        Typed::F64(matrix) => product(py, &matrix, &vectors, progress),
        Typed::F32(matrix) => product(py, &matrix, &vectors, progress),
    }
}

fn product<'py, T: Scalar + Element>(
    py: Python<'py>,
    matrix: &Matrix<'_, T>,
    vectors: &Matrix<'_, f64>,
    progress: Progress,
) -> Result<Bound<'py, PyArray2<f64>>> {
    let mut call = Call::enter(py, progress);
    let kernel = call.read(|_| Stored::new(matrix.as_array()))?;
    let vectors = call.read(|watch| copied(vectors.as_array(), watch))?;
    let product = call.detach(kernel.cycles(), |watch| {
        multiply::multiply(&kernel, true, vectors.view(), watch)
    })?;
    Ok(PyArray2::from_owned_array(py, product))
}
