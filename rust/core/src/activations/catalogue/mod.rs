//! The activations, one file for each family: φ, φ' and, where there is a closed form, T and Ṫ.

mod arcsine;
mod elu;
mod erf;
mod exponential;
mod gaussian;
mod gelu;
mod piecewise_linear;
mod polynomial;
mod rectified_power;
mod sigmoid;
mod sign;
mod tanh;
mod wave;

use std::sync::Arc;

use crate::activations::activation::Activation;
use crate::activations::series::Series;
use crate::error::{Error, Result};
use crate::math::number::RowNumber;

pub use elu::Elu;
pub use erf::Erf;
pub use exponential::Exponential;
pub use gaussian::Gaussian;
pub use gelu::Gelu;
pub use piecewise_linear::PiecewiseLinear;
pub use polynomial::{Hermite, Polynomial};
pub use rectified_power::RectifiedPower;
pub use sigmoid::{Mish, Sigmoid, Silu, Softplus};
pub use sign::Sign;
pub use tanh::{GeluTanh, Tanh};
pub use wave::Wave;

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
        ("cos", &[a, b, p]) => Arc::new(Wave::cosine(a, b, p)?),
        ("gelu", []) => Arc::new(Gelu),
        ("hermite", &[n]) => Arc::new(Hermite::new(degree(n)?)?),
        ("monomial", &[n]) => Arc::new(Polynomial::monomial(degree(n)?)?),
        ("polynomial", coefficients) => Arc::new(Polynomial::new(coefficients)?),
        ("rbf", &[gamma]) => Arc::new(Wave::rbf(gamma)?),
        ("sin", &[a, b, p]) => Arc::new(Wave::sine(a, b, p)?),
        ("exp", &[a, b]) => Arc::new(Exponential::new(a, b)?),
        ("gaussian", &[b]) => Arc::new(Gaussian::new(b)?),
        ("rectified_power", &[n]) => Arc::new(RectifiedPower::new(degree(n)?)?),
        ("sign", []) => Arc::new(Sign),
        ("tanh", []) => Arc::new(Series(Tanh)),
        ("sigmoid", []) => Arc::new(Series(Sigmoid)),
        ("silu", []) => Arc::new(Series(Silu)),
        ("softplus", []) => Arc::new(Series(Softplus)),
        ("mish", []) => Arc::new(Series(Mish)),
        ("gelu_tanh", []) => Arc::new(Series(GeluTanh)),
        ("elu", &[alpha]) => Arc::new(Series(Elu::new(alpha)?)),
        ("selu", []) => Arc::new(Series(Elu::selu())),
        _ => {
            let message = format!(
                "there is no activation {name:?} with {} parameters",
                parameters.len()
            );
            return Err(Error::Invalid(message));
        }
    })
}

/// A parameter that must be finite.
fn finite(name: &str, value: f64) -> Result<f64> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(Error::Invalid(format!(
        "{name} is {value}, but must be finite"
    )))
}

/// A parameter that must be positive and finite.
fn positive(name: &str, value: f64) -> Result<f64> {
    if value > 0.0 && value.is_finite() {
        return Ok(value);
    }
    Err(Error::Invalid(format!(
        "{name} is {value}, but must be positive and finite"
    )))
}

/// A parameter that must be a small integer.
fn degree(value: f64) -> Result<usize> {
    if (0.0..=1e3).contains(&value) && value.fract() == 0.0 {
        return Ok(value as usize);
    }
    Err(Error::Invalid(format!(
        "degree is {value}, but must be a small integer >= 0"
    )))
}

/// `√E φ²`, or infinity, which the recursion refuses, where its square or that of `factor` times it would overflow.
fn moderate<N: RowNumber>(root: N, factor: f64) -> N {
    if root.value().abs() * factor.abs().max(1.0) < 1e150 {
        root
    } else {
        N::constant(f64::INFINITY)
    }
}
