//! Activations that are Python functions, for infinite width: called on the calling thread, before the tiles.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ntkrs_core::activation::Activation;
use ntkrs_core::dual::Dual;
use ntkrs_core::series::{Series, Smooth};
use ntkrs_core::{Error, Result, catalogue};
use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1};
use pyo3::prelude::*;

/// An activation as Python describes it: a name with parameters, or a function from (n,) points to φ and φ' there.
#[derive(FromPyObject)]
pub enum Spec {
    /// One of the catalogue.
    Known(String, Vec<f64>),
    /// A function.
    Function(Py<PyAny>),
}

/// A Python function, and the exception that it raised.
pub struct Callable {
    function: Py<PyAny>,
    failure: Mutex<Option<PyErr>>,
}

/// An activation, and the function that it is, if it is one.
pub type Made = (Arc<dyn Activation>, Option<Arc<Callable>>);

/// A share of a [`Callable`], the other one being with the kernel that tells its exception.
#[derive(Debug)]
struct Share(Arc<Callable>);

/// The activation that a function is.
#[derive(Debug)]
struct Function(Series<Share>);

impl Spec {
    /// The activation.
    ///
    /// # Errors
    /// Those of [`catalogue::activation`].
    pub fn activation(self) -> Result<Made> {
        match self {
            Self::Known(name, parameters) => Ok((catalogue::activation(&name, &parameters)?, None)),
            Self::Function(function) => {
                let callable = Arc::new(Callable {
                    function,
                    failure: Mutex::new(None),
                });
                let activation = Function(Series(Share(callable.clone())));
                Ok((Arc::new(activation), Some(callable)))
            }
        }
    }
}

impl Callable {
    /// The exception that ended the last call, if one did.
    pub fn take_failure(&self) -> Option<PyErr> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn call(&self, py: Python<'_>, x: &mut [f64], slopes: &mut [f64]) -> PyResult<()> {
        let points = PyArray1::from_slice(py, x);
        let results = self.function.call1(py, (points,))?;
        let (values, derivatives): (PyReadonlyArray1<'_, f64>, PyReadonlyArray1<'_, f64>) =
            results.extract(py)?;
        values.to_vec().map(|values| x.copy_from_slice(&values))?;
        derivatives
            .to_vec()
            .map(|values| slopes.copy_from_slice(&values))?;
        Ok(())
    }
}

impl fmt::Debug for Callable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Activation")
    }
}

impl Smooth for Share {
    fn evaluate(&self, x: &mut [f64], slopes: &mut [f64]) -> Result<()> {
        Python::attach(|py| self.0.call(py, x, slopes)).map_err(|failure| {
            let mut kept = self
                .0
                .failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *kept = Some(failure);
            Error::Invalid("an activation raised an exception".into())
        })
    }
}

impl Activation for Function {
    /// # Panics
    /// Always: workers call no Python. Finite networks refuse functions before.
    fn evaluate(&self, _h: &mut [f64], _slopes: &mut [f64]) {
        panic!("a Python function is no activation of a finite network");
    }

    fn dual(&self) -> Option<&dyn Dual> {
        Some(&self.0)
    }
}
