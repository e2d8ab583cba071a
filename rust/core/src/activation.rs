//! What an activation is: φ and φ' for finite networks, and the expectations of both for infinite ones.

use std::fmt::Debug;

use crate::dual::Dual;
use crate::error::{Error, Result};

/// An activation function φ.
pub trait Activation: Debug + Send + Sync {
    /// Replaces each pre-activation h by φ(h), and writes φ'(h) to `slopes`.
    ///
    /// # Panics
    /// If the slices differ in length.
    fn evaluate(&self, h: &mut [f64], slopes: &mut [f64]);

    /// Its expectations under a Gaussian, if they have a closed form.
    fn dual(&self) -> Option<&dyn Dual>;
}

/// Checks that there is one activation between each two dense layers.
///
/// # Errors
/// [`Error::Invalid`] if there is not.
pub(crate) fn check_alternation(dense: usize, between: usize) -> Result<()> {
    if dense == between + 1 {
        return Ok(());
    }
    let message =
        format!("{dense} dense layers need {dense} - 1 activations between them, not {between}");
    Err(Error::Invalid(message))
}

/// Applies `f: h -> (φ(h), φ'(h))` to each value.
pub(crate) fn evaluate_each(h: &mut [f64], slopes: &mut [f64], f: impl Fn(f64) -> (f64, f64)) {
    assert_eq!(h.len(), slopes.len());
    for (h, slope) in h.iter_mut().zip(slopes) {
        (*h, *slope) = f(*h);
    }
}
