//! Activations as Python describes them, and their derivatives at given points.

use std::sync::Arc;

use ntkrs_core::Error;
use ntkrs_core::activations::activation::Activation;
use ntkrs_core::activations::catalogue;
use ntkrs_core::activations::expectations::{self, GaussianPairs};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;

use crate::call::{Call, watched};
use crate::callable;
use crate::errors::Result;

/// An activation as Python describes it.
#[derive(FromPyObject)]
pub enum Spec {
    /// The name and the parameters of an activation of the catalogue.
    Builtin(String, Vec<f64>),
    /// A Python callable that returns φ at (n,) points, and a flag: if true, φ' too.
    Flagged(Py<PyAny>, bool),
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
        Spec::Flagged(function, has_slopes) => Ok(callable::activation(function, has_slopes)),
        Spec::Callable(function) => Ok(callable::activation(function, true)),
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

/// T and Ṫ of each pair, and their truncation error.
type Duals<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>, f64);

/// Estimated cycles of one pair of [`dual`].
const PAIR_CYCLES: f64 = 1000.0;

/// Returns `T = E φ(u)φ(v)` and `Ṫ = E φ'(u)φ'(v)` for `pairs = (q1, q2, c)`, variances and covariances (n,), and the
/// truncation error.
#[pyfunction]
pub fn dual<'py>(
    py: Python<'py>,
    activation: Spec,
    pairs: [PyReadonlyArray1<'py, f64>; 3],
) -> Result<Duals<'py>> {
    let call = Call::enter(py, None);
    let callable = !matches!(activation, Spec::Builtin(..));
    let activation = parse(vec![activation])?.remove(0);
    let [first, second, covariances] = pairs.map(|list| list.as_array().to_vec());
    if [&second, &covariances]
        .iter()
        .any(|list| list.len() != first.len())
    {
        return Err(Error::Invalid("q1, q2 and c differ in length".into()).into());
    }
    let cycles = watched(callable, PAIR_CYCLES * first.len() as f64);
    let found = call.detach(cycles, |watch| {
        let pairs = GaussianPairs {
            first: &first,
            second: &second,
            covariances: &covariances,
        };
        expectations::expectations(activation.as_ref(), pairs, watch)
    })?;
    let [values, slopes] = [found.values, found.slopes].map(|list| PyArray1::from_vec(py, list));
    Ok((values, slopes, found.missing))
}
