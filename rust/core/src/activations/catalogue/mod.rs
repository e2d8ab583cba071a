//! The catalogue of activations, one file for each family.
//!
//! To add an activation, write its file, and add two lines here: its `mod`, and its line in `catalogue`. It implements
//! [`Formula`](super::activation::Formula). If its expectations have a closed form, it also implements
//! [`ClosedForm`](super::closed_form::ClosedForm); otherwise its line wraps it in [`Series`]. The tests check every
//! line.

mod arcsine;
mod elu;
mod erf;
mod exponential;
mod far_pairs;
mod gaussian;
mod gelu;
mod piecewise_linear;
mod polynomial;
mod rectified_power;
mod sigmoid;
mod sign;
mod softsign;
mod tanh;
mod wave;

use std::sync::Arc;

use crate::activations::activation::Activation;
use crate::activations::series::Series;
use crate::error::{Error, Result, Shortest};
use crate::math::number::RowNumber;

/// All activations.
///
/// φ' at a kink is that of torch and JAX: 0 for ReLU and the absolute value, the slope for leaky ReLU.
fn catalogue() -> Vec<Entry> {
    use piecewise_linear::PiecewiseLinear;
    use polynomial::Polynomial;
    use wave::Wave;
    vec![
        entry("abs", [], |[]| PiecewiseLinear::new(-1.0, 0.0)),
        entry("cos", [0.7, 1.2, 0.3], |[a, b, p]| Wave::cosine(a, b, p)),
        entry("elu", [0.7], |[alpha]| elu::Elu::new(alpha).map(Series)),
        entry("erf", [], |[]| Ok(erf::Erf)),
        entry("exp", [0.8, 0.5], |[a, b]| {
            exponential::Exponential::new(a, b)
        }),
        entry("gaussian", [0.7], |[b]| gaussian::Gaussian::new(b)),
        entry("gelu", [], |[]| Ok(gelu::Gelu)),
        entry("gelu_tanh", [], |[]| Ok(Series(tanh::GeluTanh))),
        entry("hermite", [4.0], |[n]| Polynomial::hermite(degree(n)?)),
        entry("identity", [], |[]| PiecewiseLinear::new(1.0, 1.0)),
        entry("leaky_relu", [0.1], |[slope]| {
            PiecewiseLinear::new(slope, slope)
        }),
        entry("mish", [], |[]| Ok(Series(sigmoid::Mish))),
        entry("monomial", [3.0], |[n]| Polynomial::monomial(degree(n)?)),
        entry_of_list("polynomial", &[0.5, -1.0, 0.25, 0.1], Polynomial::new),
        entry("rbf", [0.6], |[gamma]| Wave::rbf(gamma)),
        entry("rectified_power", [2.0], |[n]| {
            rectified_power::RectifiedPower::new(degree(n)?)
        }),
        entry("relu", [], |[]| PiecewiseLinear::new(0.0, 0.0)),
        entry("selu", [], |[]| Ok(Series(elu::Elu::selu()))),
        entry("sigmoid", [], |[]| Ok(Series(sigmoid::Sigmoid))),
        entry("sign", [], |[]| Ok(sign::Sign)),
        entry("silu", [], |[]| Ok(Series(sigmoid::Silu))),
        entry("sin", [1.3, 0.9, 0.4], |[a, b, p]| Wave::sine(a, b, p)),
        entry("softplus", [], |[]| Ok(Series(sigmoid::Softplus))),
        entry("softsign", [], |[]| Ok(Series(softsign::Softsign))),
        entry("tanh", [], |[]| Ok(Series(tanh::Tanh))),
    ]
}

/// One activation of the catalogue.
struct Entry {
    name: &'static str,
    /// Parameters to test it with.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the tests"))]
    example: Vec<f64>,
    /// The activation with these parameters. `None` if their number is wrong.
    build: Box<Build>,
}

type Build = dyn Fn(&[f64]) -> Option<Result<Arc<dyn Activation>>>;

/// An activation with a fixed number of parameters.
fn entry<A: Activation + 'static, const N: usize>(
    name: &'static str,
    example: [f64; N],
    build: fn([f64; N]) -> Result<A>,
) -> Entry {
    let build = move |parameters: &[f64]| Some(shared(build(parameters.try_into().ok()?)));
    Entry {
        name,
        example: example.to_vec(),
        build: Box::new(build),
    }
}

/// An activation with any number of parameters.
fn entry_of_list<A: Activation + 'static>(
    name: &'static str,
    example: &[f64],
    build: fn(&[f64]) -> Result<A>,
) -> Entry {
    Entry {
        name,
        example: example.to_vec(),
        build: Box::new(move |parameters| Some(shared(build(parameters)))),
    }
}

fn shared<A: Activation + 'static>(activation: Result<A>) -> Result<Arc<dyn Activation>> {
    Ok(Arc::new(activation?))
}

/// The activation of this name with these parameters.
///
/// # Errors
/// [`Error::Invalid`] for an unknown name, a wrong number of parameters, or a parameter outside its domain.
pub fn activation(name: &str, parameters: &[f64]) -> Result<Arc<dyn Activation>> {
    let entry = catalogue().into_iter().find(|entry| entry.name == name);
    let built = entry.and_then(|entry| (entry.build)(parameters));
    built.unwrap_or_else(|| {
        let message = format!(
            "there is no activation {name:?} with {} parameters",
            parameters.len()
        );
        Err(Error::Invalid(message))
    })
}

/// Checks that a parameter is finite.
fn finite(name: &str, value: f64) -> Result<f64> {
    if value.is_finite() {
        return Ok(value);
    }
    Err(Error::Invalid(format!(
        "{name} is {}, but must be finite",
        Shortest(value)
    )))
}

/// Checks that a parameter is positive and finite.
fn positive(name: &str, value: f64) -> Result<f64> {
    if value > 0.0 && value.is_finite() {
        return Ok(value);
    }
    Err(Error::Invalid(format!(
        "{name} is {}, but must be positive and finite",
        Shortest(value)
    )))
}

/// Converts a parameter that must be a small integer.
fn degree(value: f64) -> Result<usize> {
    if (0.0..=1e3).contains(&value) && value.fract() == 0.0 {
        return Ok(value as usize);
    }
    Err(Error::Invalid(format!(
        "degree is {}, but must be a small integer >= 0",
        Shortest(value)
    )))
}

/// The root `√E φ²`, or infinity, which the recursion refuses, if its square or that of `factor` times the root would
/// overflow.
fn moderate<N: RowNumber>(root: N, factor: f64) -> N {
    if root.value().abs() * factor.abs().max(1.0) < 1e150 {
        root
    } else {
        N::constant(f64::INFINITY)
    }
}

#[cfg(test)]
mod tests;
