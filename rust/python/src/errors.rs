//! The one mapping from errors of the core to Python exceptions.

use ntkrs_core::Error;
use pyo3::PyErr;
use pyo3::exceptions::{
    PyFloatingPointError, PyKeyboardInterrupt, PyMemoryError, PyRuntimeError, PyValueError,
};

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
