//! Activations as Python describes them, and their derivatives at given points.

use std::sync::Arc;

use ntkrs_core::activations::activation::Activation;
use ntkrs_core::activations::catalogue;
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;

use crate::call::Call;
use crate::callable;
use crate::errors::Result;

/// An activation as Python describes it.
#[derive(FromPyObject)]
pub enum Spec {
    /// The name and the parameters of an activation of the catalogue.
    Builtin(String, Vec<f64>),
    /// A Python callable that returns φ and φ' at (n,) points.
    Callable(Py<PyAny>),
}

/// Returns the activations described by `specs`.
///
/// # Errors
/// As [`catalogue::activation`].
pub fn parse(specs: Vec<Spec>) -> Result<Vec<Arc<dyn Activation>>> {
    let parse = |spec| match spec {
        Spec::Builtin(name, parameters) => Ok(catalogue::activation(&name, &parameters)?),
        Spec::Callable(function) => Ok(callable::activation(function)),
    };
    specs.into_iter().map(parse).collect()
}

/// Returns φ, φ' and φ'' at each point of `h`, for an activation of the catalogue.
#[pyfunction]
pub fn derivatives<'py>(
    py: Python<'py>,
    activation: (String, Vec<f64>),
    h: PyReadonlyArray1<'py, f64>,
) -> Result<[Bound<'py, PyArray1<f64>>; 3]> {
    let call = Call::enter(py, None);
    let activation = catalogue::activation(&activation.0, &activation.1)?;
    let mut values = h.as_array().to_vec();
    let (mut slopes, mut curvatures) = (vec![0.0; values.len()], values.clone());
    let results = call.detach(0.0, |_| {
        activation.evaluate(&mut values, &mut slopes);
        activation.curvature(&mut curvatures);
        Ok([values, slopes, curvatures])
    })?;
    Ok(results.map(|values| PyArray1::from_vec(py, values)))
}
