//! Activations that are Python functions: called on the calling thread, never by a worker.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use ntkrs_core::activations::activation::{Activation, Smooth};
use ntkrs_core::activations::catalogue;
use ntkrs_core::activations::dual::Dual;
use ntkrs_core::activations::series::Series;
use ntkrs_core::{Error, Result};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;

/// An activation as Python describes it: a name with parameters, or a function from (n,) points to φ and φ' there.
#[derive(FromPyObject)]
pub enum Spec {
    /// One of the catalogue.
    Known(String, Vec<f64>),
    /// A function.
    Function(Py<PyAny>),
}

/// A Python function.
struct Callable(Py<PyAny>);

/// The activation that a function is.
#[derive(Debug)]
struct Function(Series<Callable>);

thread_local! {
    /// What a function called by this thread raised, until the call of the core that it ended takes it.
    static RAISED: Cell<Option<PyErr>> = const { Cell::new(None) };
}

/// What ended a call of the core on this thread with [`Error::Function`].
pub fn take_raised() -> Option<PyErr> {
    RAISED.take()
}

impl Spec {
    /// The activation.
    ///
    /// # Errors
    /// Those of [`catalogue::activation`].
    pub fn activation(self) -> Result<Arc<dyn Activation>> {
        match self {
            Self::Known(name, parameters) => catalogue::activation(&name, &parameters),
            Self::Function(function) => Ok(Arc::new(Function(Series(Callable(function))))),
        }
    }
}

impl Callable {
    fn call(&self, py: Python<'_>, x: &mut [f64], slopes: &mut [f64]) -> PyResult<()> {
        let points = PyArray1::from_slice(py, x);
        let results = self.0.call1(py, (points,))?;
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
}

impl Activation for Function {
    /// # Panics
    /// Always: workers call no Python.
    fn evaluate(&self, _h: &mut [f64], _slopes: &mut [f64]) {
        panic!("a worker called a Python function");
    }

    /// # Panics
    /// Always.
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
