//! What an activation is: φ and φ' for finite networks, and the expectations of both for infinite ones.

use std::fmt::Debug;

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

/// Expectations of φ and φ' under (u, v) ~ N(0, [[q1, c], [c, q2]]), in gap form.
///
/// With `r = √q` and `ρ = c/(r1·r2)`, a pair is described by its **gap**: `1 − |ρ|`, with the sign of ρ, so that +0
/// means equal directions, −0 opposite ones, and ±1 orthogonal ones. `T = E φ(u)φ(v)` is again described by the roots
/// `√Eφ(u)²`, `√Eφ(v)²` and a gap. The slope of `T` in c is infinite at `ρ = ±1` for functions with a kink: the gap
/// keeps every digit there that the correlation itself loses.
pub trait Dual {
    /// `√E φ(u)²` for `u ~ N(0, r²)`.
    fn root(&self, r: f64) -> f64;

    /// For one u and several v: replaces each gap by that of (φ(u), φ(v)) and writes `Ṫ = E φ'(u)φ'(v)` to `dots`.
    ///
    /// Symmetric in u and v, bitwise; a gap of +0 between equal roots stays +0.
    ///
    /// # Panics
    /// If the slices differ in length.
    fn step(&self, r_u: f64, r_v: &[f64], gaps: &mut [f64], dots: &mut [f64]);
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
