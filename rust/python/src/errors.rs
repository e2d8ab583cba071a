//! The one mapping from errors of the core to Python exceptions.

use ntkrs_core::Error;
use numpy::{AsSliceError, BorrowError};
use pyo3::exceptions::{
    PyFloatingPointError, PyKeyboardInterrupt, PyMemoryError, PyRuntimeError, PyTypeError,
    PyValueError,
};
use pyo3::prelude::*;

use crate::callable::take_raised;

/// The result of every function that Python calls.
pub type Result<T> = std::result::Result<T, Exception>;

/// A Python exception. The operator `?` converts errors of the core, of rust-numpy and of PyO3 to it.
pub struct Exception(PyErr);

impl From<Error> for Exception {
    fn from(error: Error) -> Self {
        Self(to_python(error))
    }
}

impl From<AsSliceError> for Exception {
    fn from(error: AsSliceError) -> Self {
        Self(error.into())
    }
}

impl From<PyErr> for Exception {
    fn from(exception: PyErr) -> Self {
        Self(exception)
    }
}

impl From<Exception> for PyErr {
    fn from(exception: Exception) -> Self {
        exception.0
    }
}

/// Returns the built-in exception that a Python user expects for this error. If a Python callable failed, returns the
/// exception that it raised.
fn to_python(error: Error) -> PyErr {
    if let (Error::Function, Some(raised)) = (&error, take_raised()) {
        return raised;
    }
    let message = error.to_string();
    match error {
        Error::NotFinite { .. }
        | Error::Features { .. }
        | Error::NoFeatures { .. }
        | Error::Overflow { .. }
        | Error::PixelNotFinite { .. }
        | Error::ImageOverflow { .. }
        | Error::TooLarge { .. }
        | Error::Shape { .. }
        | Error::Invalid(_) => PyValueError::new_err(message),
        Error::Diverged { .. } => PyFloatingPointError::new_err(message),
        Error::Memory { .. } => PyMemoryError::new_err(message),
        // A ticker that cancels a call keeps an exception, which is raised instead of this one.
        Error::Cancelled => PyKeyboardInterrupt::new_err(message),
        Error::Function | Error::Panicked(_) | Error::Threads { .. } => {
            PyRuntimeError::new_err(message)
        }
    }
}

/// Returns the exception for arrays that are neither all float64 nor all float32, given the error of each attempt.
///
/// An array that another call is using is recognised by the text of its error, because rust-numpy raises a plain TypeError
/// for it.
pub fn neither_dtype(py: Python<'_>, double: PyErr, single: PyErr) -> PyErr {
    let in_use = BorrowError::AlreadyBorrowed.to_string();
    if [&double, &single]
        .iter()
        .any(|error| error.value(py).to_string() == in_use)
    {
        return PyValueError::new_err(
            "out, or an input, is in use by a call that has not ended, of another thread or from within its progress. \
             Pass an array of its own to each call, or wait for the other one's end.",
        );
    }
    PyTypeError::new_err(format!(
        "the arrays are neither all float64 ({double}) nor all float32 ({single})"
    ))
}

/// Returns the exception for arrays whose dtype is not that of the network's parameters.
pub fn other_dtype() -> Exception {
    PyTypeError::new_err("the arrays have another dtype than the network's parameters").into()
}
