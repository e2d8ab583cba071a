//! NumPy arrays as arguments. Arrays that must share a dtype come in one tuple, so that it is told once, by type.

use ndarray::ArrayViewMut4;
use numpy::{
    Element, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3, PyReadwriteArray2,
    PyReadwriteArray3, PyReadwriteArray4,
};
use pyo3::prelude::*;

use crate::errors;

/// What comes in either dtype.
pub enum Typed<A, B> {
    F64(A),
    F32(B),
}

impl<'a, 'py, A: FromPyObject<'a, 'py>, B: FromPyObject<'a, 'py>> FromPyObject<'a, 'py>
    for Typed<A, B>
{
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let double = match object.extract() {
            Ok(arrays) => return Ok(Self::F64(arrays)),
            Err(error) => error.into(),
        };
        let single = match object.extract() {
            Ok(arrays) => return Ok(Self::F32(arrays)),
            Err(error) => error.into(),
        };
        Err(errors::of_arrays(object.py(), double, single))
    }
}

/// Inputs (N, d).
pub type Inputs<'py, T> = PyReadonlyArray2<'py, T>;

/// Two matrices to read.
pub type Pair<'py, T> = (PyReadonlyArray2<'py, T>, PyReadonlyArray2<'py, T>);

/// Inputs, and the planes of their Gram matrix: (N, d); (N, S, N, S) each.
pub type Symmetric<'py, T> = (Inputs<'py, T>, Vec<PyReadwriteArray4<'py, T>>);

/// Two batches of inputs, the second the first if it is missing.
pub type Batches<'py, T> = (Inputs<'py, T>, Option<Inputs<'py, T>>);

/// Two batches of inputs, the second the first if it is missing, and the planes of their Gram matrix.
pub type Gram<'py, T> = (
    Inputs<'py, T>,
    Option<Inputs<'py, T>>,
    Vec<PyReadwriteArray4<'py, T>>,
);

/// Inputs (N, d) and outputs (N, O) to write.
pub type Forward<'py, T> = (Inputs<'py, T>, PyReadwriteArray2<'py, T>);

/// Inputs (N, d) and a Jacobian (N, O, P) to write, in C order.
pub type Jacobian<'py, T> = (Inputs<'py, T>, PyReadwriteArray3<'py, T>);

/// Inputs (N, d), tangent vectors (K, P), and outputs (K, N, O) to write.
pub type Jvp<'py, T> = (
    Inputs<'py, T>,
    PyReadonlyArray2<'py, T>,
    PyReadwriteArray3<'py, T>,
);

/// Inputs (N, d), cotangents (K, N, O), and gradients (K, P) to write, in C order.
pub type Vjp<'py, T> = (
    Inputs<'py, T>,
    PyReadonlyArray3<'py, T>,
    PyReadwriteArray2<'py, T>,
);

/// The weights and biases of all layers.
pub type Parameters<'py, T> = (
    Vec<PyReadonlyArray2<'py, T>>,
    Vec<Option<PyReadonlyArray1<'py, T>>>,
);

/// Views of output planes.
pub fn views<'a, T: Element>(
    planes: &'a mut [PyReadwriteArray4<'_, T>],
) -> Vec<ArrayViewMut4<'a, T>> {
    planes
        .iter_mut()
        .map(|plane| plane.as_array_mut())
        .collect()
}
