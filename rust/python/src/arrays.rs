//! NumPy arrays as arguments.
//!
//! Arrays that must share a dtype are passed in one tuple, and the tuple as a whole is float64 or float32.

use ndarray::{Array, ArrayView, ArrayViewMut, ArrayViewMut4, Axis, Dimension, RemoveAxis, Slice};
use ntkrs_core::engine::pool::{self, Load, Watch, unwatched};
use numpy::{
    Element, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3, PyReadwriteArray1,
    PyReadwriteArray2, PyReadwriteArray3, PyReadwriteArray4,
};
use pyo3::prelude::*;

use crate::errors;

/// Arrays, a network or a trainer, in float64 or in float32.
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
        Err(errors::neither_dtype(object.py(), double, single))
    }
}

/// Calls a generic function with what is in a [`Typed`], whatever its dtype. If a second one comes with it, it must have
/// the dtype of the first, that of the network's parameters.
macro_rules! in_dtype {
    ($typed:expr, |$value:ident| $call:expr) => {
        match $typed {
            Typed::F64($value) => $call,
            Typed::F32($value) => $call,
        }
    };
    (($network:expr, $typed:expr), |$net:ident, $value:ident| $call:expr) => {
        match ($network, $typed) {
            (Typed::F64($net), Typed::F64($value)) => $call,
            (Typed::F32($net), Typed::F32($value)) => $call,
            _ => Err($crate::errors::other_dtype()),
        }
    };
}
pub(crate) use in_dtype;

/// A matrix to read, such as inputs (N, d).
pub type Matrix<'py, T> = PyReadonlyArray2<'py, T>;

/// A matrix to write.
pub type MatrixMut<'py, T> = PyReadwriteArray2<'py, T>;

/// A vector to write.
pub type VectorMut<'py, T> = PyReadwriteArray1<'py, T>;

/// Planes to write, one for each kernel. Each is (N, S, M, S): an S × S block for every pair of inputs.
pub type Planes<'py, T> = Vec<PyReadwriteArray4<'py, T>>;

/// Inputs X (N, d) and Z (M, d). A missing Z is X.
pub type Batches<'py, T> = (Matrix<'py, T>, Option<Matrix<'py, T>>);

/// Inputs X and Z as in [`Batches`], and the planes of the kernels between them.
pub type Gram<'py, T> = (Matrix<'py, T>, Option<Matrix<'py, T>>, Planes<'py, T>);

/// Inputs X (N, d), and the planes of the kernels between their own rows.
pub type SymmetricGram<'py, T> = (Matrix<'py, T>, Planes<'py, T>);

/// Inputs (N, d), and outputs (N, O) to write.
pub type Forward<'py, T> = (Matrix<'py, T>, MatrixMut<'py, T>);

/// Inputs (N, d), and a Jacobian (N, O, P) to write, in C order.
pub type Jacobian<'py, T> = (Matrix<'py, T>, PyReadwriteArray3<'py, T>);

/// Inputs (N, d), tangent vectors (K, P), and outputs (K, N, O) to write.
pub type Jvp<'py, T> = (Matrix<'py, T>, Matrix<'py, T>, PyReadwriteArray3<'py, T>);

/// Inputs (N, d), cotangents (K, N, O), and gradients (K, P) to write, in C order.
pub type Vjp<'py, T> = (Matrix<'py, T>, PyReadonlyArray3<'py, T>, MatrixMut<'py, T>);

/// Inputs (N, d), targets (N, O), and a gradient (P,) to write.
pub type LossGradient<'py, T> = (Matrix<'py, T>, Matrix<'py, T>, VectorMut<'py, T>);

/// Inputs (N, d), and the pre-activations and activations (N, n_l) of every hidden layer to write.
pub type Hidden<'py, T> = (
    Matrix<'py, T>,
    Vec<MatrixMut<'py, T>>,
    Vec<MatrixMut<'py, T>>,
);

/// Inputs (N, d) and targets (N, O).
pub type Samples<'py, T> = (Matrix<'py, T>, Matrix<'py, T>);

/// The weights and biases of all layers.
pub type Parameters<'py, T> = (Vec<Matrix<'py, T>>, Vec<Option<PyReadonlyArray1<'py, T>>>);

/// Returns a copy of an array, made on all threads. `watch` may run Python code, which may write to the array, so it is
/// called while nobody reads it.
///
/// # Errors
/// As [`pool::for_each`]; [`ntkrs_core::Error::Cancelled`] if `watch` breaks.
pub fn copied<T: Element + Copy + Default + Send + Sync, D: Dimension + RemoveAxis>(
    array: ArrayView<'_, T, D>,
    watch: &mut Watch<'_>,
) -> ntkrs_core::Result<Array<T, D>> {
    /// The number of entries between two looks at the watch, and of those that a thread copies at a time.
    const CHUNKS: [usize; 2] = [1 << 22, 1 << 18];
    let mut copy = Array::default(array.raw_dim());
    let axes = (0..array.ndim()).map(Axis);
    let axis = axes
        .max_by_key(|axis| array.len_of(*axis))
        .unwrap_or(Axis(0));
    let rows = array.len_of(axis);
    let each = array.len() / rows.max(1);
    let [chunk, piece] = CHUNKS.map(|entries| (entries / each.max(1)).max(1));
    for start in (0..rows).step_by(chunk) {
        let range = Slice::from(start..rows.min(start + chunk));
        let mut target = copy.slice_axis_mut(axis, range);
        let (source, len) = (array.slice_axis(axis, range), target.len());
        let targets = target.axis_chunks_iter_mut(axis, piece);
        let load = Load::new(targets.len(), 2.0 * len as f64);
        let pairs = targets.zip(source.axis_chunks_iter(axis, piece));
        let assign = |(): &mut (),
                      (mut target, source): (ArrayViewMut<'_, T, D>, ArrayView<'_, T, D>),
                      _: &_| {
            target.assign(&source);
        };
        pool::for_each(pairs, load, &mut unwatched, || (), assign)?;
        if watch(start, rows).is_break() {
            return Err(ntkrs_core::Error::Cancelled);
        }
    }
    Ok(copy)
}

/// Returns mutable views of output planes.
pub fn views<'a, T: Element>(
    planes: &'a mut [PyReadwriteArray4<'_, T>],
) -> Vec<ArrayViewMut4<'a, T>> {
    planes
        .iter_mut()
        .map(|plane| plane.as_array_mut())
        .collect()
}
