//! The one mapping from errors of the core to Python exceptions.

use ntkrs_core::Error;
use numpy::BorrowError;
use pyo3::exceptions::{
    PyFloatingPointError, PyKeyboardInterrupt, PyMemoryError, PyRuntimeError, PyTypeError,
    PyValueError,
};
use pyo3::prelude::*;

use crate::callable::take_raised;

/// The built-in exception that a Python user expects for this error; that of a function of the user's, if one raised it.
pub fn to_python(error: Error) -> PyErr {
    if let (Error::Function, Some(raised)) = (&error, take_raised()) {
        return raised;
    }
    let message = error.to_string();
    match error {
        Error::NotFinite { .. }
        | Error::Features { .. }
        | Error::NoFeatures { .. }
        | Error::Overflow { .. }
        | Error::TooLarge { .. }
        | Error::Shape { .. }
        | Error::Invalid(_) => PyValueError::new_err(message),
        Error::Diverged { .. } => PyFloatingPointError::new_err(message),
        Error::Memory { .. } => PyMemoryError::new_err(message),
        // A ticker that cancels keeps the exception it cancelled for; this is what remains without one.
        Error::Cancelled => PyKeyboardInterrupt::new_err(message),
        Error::Function | Error::Panicked(_) | Error::Threads { .. } => {
            PyRuntimeError::new_err(message)
        }
    }
}

/// The exception for arrays that are neither all float64 nor all float32, given the error of each attempt. An array in use
/// is told by its text: the binding has no class for it.
pub fn of_arrays(py: Python<'_>, double: PyErr, single: PyErr) -> PyErr {
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
