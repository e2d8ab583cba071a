//! Activations that are Python callables. They are called on the calling thread, never by a worker.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use ntkrs_core::activations::activation::{Activation, Smooth};
use ntkrs_core::activations::dual::Dual;
use ntkrs_core::activations::series::Series;
use ntkrs_core::{Error, Result};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;

/// A Python callable that returns φ and φ' at (n,) points, or φ alone.
struct Callable {
    function: Py<PyAny>,
    has_slopes: bool,
}

/// The activation of a Python callable. Its kernel is computed by a series.
#[derive(Debug)]
struct Function(Series<Callable>);

thread_local! {
    /// The exception that a callable raised on this thread, kept until [`take_raised`] takes it.
    static RAISED: Cell<Option<PyErr>> = const { Cell::new(None) };
}

/// Takes the exception that caused an [`Error::Function`] on this thread.
pub fn take_raised() -> Option<PyErr> {
    RAISED.take()
}

/// Returns the activation that a Python callable describes. It returns φ and φ', or φ alone unless it `has_slopes`.
pub fn activation(function: Py<PyAny>, has_slopes: bool) -> Arc<dyn Activation> {
    Arc::new(Function(Series(Callable {
        function,
        has_slopes,
    })))
}

impl Callable {
    fn call(&self, py: Python<'_>, x: &mut [f64], slopes: &mut [f64]) -> PyResult<()> {
        let points = PyArray1::from_slice(py, x);
        let results = self.function.call1(py, (points,))?;
        if !self.has_slopes {
            let values: PyReadonlyArray1<'_, f64> = results.extract(py)?;
            x.copy_from_slice(values.as_slice()?);
            return Ok(());
        }
        let (values, derivatives): (PyReadonlyArray1<'_, f64>, PyReadonlyArray1<'_, f64>) =
            results.extract(py)?;
        x.copy_from_slice(values.as_slice()?);
        slopes.copy_from_slice(derivatives.as_slice()?);
        Ok(())
    }
}

impl fmt::Debug for Callable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Activation")
    }
}

impl Smooth for Callable {
    fn evaluate(&self, x: &mut [f64], slopes: &mut [f64]) -> Result<()> {
        Python::attach(|py| self.call(py, x, slopes)).map_err(|raised| {
            RAISED.set(Some(raised));
            Error::Function
        })
    }

    fn has_slopes(&self) -> bool {
        self.has_slopes
    }

    fn is_user_supplied(&self) -> bool {
        true
    }
}

impl Activation for Function {
    /// # Panics
    /// Always: workers must not call Python.
    fn evaluate(&self, _h: &mut [f64], _slopes: &mut [f64]) {
        panic!("a worker called a Python function");
    }

    /// # Panics
    /// Always: a callable has no second derivative.
    fn curvature(&self, _h: &mut [f64]) {
        panic!("a Python function has no second derivative");
    }

    fn function(&self) -> Option<&dyn Smooth> {
        Some(&self.0.0)
    }

    fn dual(&self) -> Option<&dyn Dual> {
        Some(&self.0)
    }
}
