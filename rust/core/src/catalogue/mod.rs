//! The activations, one file for each family: φ, φ' and, where there is a closed form, T and Ṫ.

mod erf;
mod piecewise_linear;
mod tanh;

use std::sync::Arc;

use crate::activation::Activation;
use crate::error::{Error, Result};

pub use erf::Erf;
pub use piecewise_linear::PiecewiseLinear;
pub use tanh::Tanh;

/// The activation of that name with these parameters.
///
/// φ' at a kink is what torch and JAX take: 0 for ReLU and the absolute value, the slope for leaky ReLU.
///
/// # Errors
/// [`Error::Invalid`] for an unknown name, a wrong number of parameters, or a parameter out of its domain.
pub fn activation(name: &str, parameters: &[f64]) -> Result<Arc<dyn Activation>> {
    Ok(match (name, parameters) {
        ("identity", []) => Arc::new(PiecewiseLinear::new(1.0, 1.0)?),
        ("relu", []) => Arc::new(PiecewiseLinear::new(0.0, 0.0)?),
        ("abs", []) => Arc::new(PiecewiseLinear::new(-1.0, 0.0)?),
        ("leaky_relu", &[slope]) => Arc::new(PiecewiseLinear::new(slope, slope)?),
        ("erf", []) => Arc::new(Erf),
        ("tanh", []) => Arc::new(Tanh),
        _ => {
            let message = format!(
                "there is no activation {name:?} with {} parameters",
                parameters.len()
            );
            return Err(Error::Invalid(message));
        }
    })
}

/// [`activation`] for each (name, parameters).
///
/// # Errors
/// As [`activation`], for the first that fails.
pub fn activations(specs: &[(String, Vec<f64>)]) -> Result<Vec<Arc<dyn Activation>>> {
    specs
        .iter()
        .map(|(name, parameters)| activation(name, parameters))
        .collect()
}
