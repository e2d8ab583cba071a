//! What an activation is: φ and its derivatives for finite networks, and expectations of both for infinite ones.

use std::fmt::Debug;

use crate::activations::dual::Dual;
use crate::error::{Error, Result};
use crate::isa::{Isa, Real, Vector, Vectorized, WIDTH};

/// An activation function φ.
pub trait Activation: Debug + Send + Sync {
    /// Replaces each pre-activation h by φ(h), and writes φ'(h) to `slopes`.
    ///
    /// # Panics
    /// If the slices differ in length, or it is a function of the caller's.
    fn evaluate(&self, h: &mut [f64], slopes: &mut [f64]);

    /// Replaces each pre-activation h by φ''(h): that of one side, where φ' jumps.
    ///
    /// # Panics
    /// If it is a function of the caller's, which has no second derivative.
    fn curvature(&self, h: &mut [f64]);

    /// The function itself, if it is one of the caller's: no worker may call it. Finite networks have the calling thread
    /// evaluate it, a whole layer at a time.
    fn function(&self) -> Option<&dyn Smooth> {
        None
    }

    /// Its expectations under a Gaussian, if it has them: in closed form or by a series.
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

/// A function with its derivative, which may fail. For expectations under a Gaussian it is to be smooth, or to have a kink
/// at 0: others converge slowly.
pub trait Smooth: Debug + Send + Sync {
    /// Replaces each x by φ(x), and writes φ'(x) to `slopes`. Each value depends on its x alone.
    ///
    /// # Errors
    /// If it cannot be evaluated there.
    fn evaluate(&self, x: &mut [f64], slopes: &mut [f64]) -> Result<()>;
}

impl<F: Formula + Debug + Send + Sync> Smooth for F {
    fn evaluate(&self, x: &mut [f64], slopes: &mut [f64]) -> Result<()> {
        evaluate(self, x, slopes);
        Ok(())
    }
}

/// φ, φ' and φ'' of one value: all that there is to write for finite networks. To be marked `#[inline(always)]`, with all
/// that they call.
pub trait Formula {
    /// `(φ(x), φ'(x))`.
    fn value_and_slope<R: Real>(&self, x: R) -> (R, R);

    /// `φ''(x)`, and that of one side where φ' jumps.
    fn curvature<R: Real>(&self, x: R) -> R;
}

/// [`Activation::evaluate`] by a formula.
///
/// # Panics
/// If the slices differ in length.
pub(crate) fn evaluate(formula: &impl Formula, h: &mut [f64], slopes: &mut [f64]) {
    assert_eq!(h.len(), slopes.len());
    // Packing the inputs has reported a pin that the machine cannot honour.
    let isa = Isa::current().unwrap_or(Isa::PORTABLE);
    isa.run(Evaluate { formula, h, slopes });
}

struct Evaluate<'a, F> {
    formula: &'a F,
    h: &'a mut [f64],
    slopes: &'a mut [f64],
}

impl<F: Formula> Vectorized for Evaluate<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (blocks, rest) = self.h.as_chunks_mut::<WIDTH>();
        let (slope_blocks, rest_slopes) = self.slopes.as_chunks_mut::<WIDTH>();
        let mut last = ([0.0; WIDTH], [0.0; WIDTH]);
        last.0[..rest.len()].copy_from_slice(rest);
        let whole = blocks.iter_mut().zip(slope_blocks);
        let padded = (!rest.is_empty()).then_some((&mut last.0, &mut last.1));
        for (h, slopes) in whole.chain(padded) {
            let (value, slope) = self.formula.value_and_slope(V::load(h));
            value.store(h);
            slope.store(slopes);
        }
        rest.copy_from_slice(&last.0[..rest.len()]);
        rest_slopes.copy_from_slice(&last.1[..rest.len()]);
    }
}

/// [`Activation::curvature`] by a formula.
pub(crate) fn curvature(formula: &impl Formula, h: &mut [f64]) {
    let isa = Isa::current().unwrap_or(Isa::PORTABLE);
    isa.run(Curvature { formula, h });
}

struct Curvature<'a, F> {
    formula: &'a F,
    h: &'a mut [f64],
}

impl<F: Formula> Vectorized for Curvature<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (blocks, rest) = self.h.as_chunks_mut::<WIDTH>();
        let mut last = [0.0; WIDTH];
        last[..rest.len()].copy_from_slice(rest);
        for h in blocks.iter_mut().chain([&mut last]) {
            self.formula.curvature(V::load(h)).store(h);
        }
        rest.copy_from_slice(&last[..rest.len()]);
    }
}
