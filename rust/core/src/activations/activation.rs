//! Activations: φ and its derivatives for finite networks, and its expectations for infinite ones.

use std::fmt::Debug;

use crate::activations::dual::Dual;
use crate::error::{Error, Result};
use crate::isa::{Isa, Real, Vector, Vectorized, WIDTH};

/// An activation function φ.
///
/// Every [`Formula`] that has a [`Dual`] is one. Only a user-supplied function implements this trait directly.
pub trait Activation: Debug + Send + Sync {
    /// Replaces each pre-activation h by φ(h), and writes φ'(h) to `slopes`.
    ///
    /// # Panics
    /// If the slices differ in length, or the function is user-supplied.
    fn evaluate(&self, h: &mut [f64], slopes: &mut [f64]);

    /// Replaces each pre-activation h by φ''(h). Where φ' jumps, this is φ'' of one side.
    ///
    /// # Panics
    /// If the function is user-supplied: it has no second derivative.
    fn curvature(&self, h: &mut [f64]);

    /// The function itself if it is user-supplied. Workers must not call it: finite networks evaluate it on the calling
    /// thread, one whole layer at a time.
    fn function(&self) -> Option<&dyn Smooth> {
        None
    }

    /// The expectations of φ under a Gaussian, in closed form or by a series, if it has them.
    fn dual(&self) -> Option<&dyn Dual>;
}

/// Checks that there is one activation between any two consecutive dense layers.
///
/// # Errors
/// [`Error::Invalid`] otherwise.
pub(crate) fn check_alternation(dense: usize, between: usize) -> Result<()> {
    if dense == between + 1 {
        return Ok(());
    }
    let message =
        format!("{dense} dense layers need {dense} - 1 activations between them, not {between}");
    Err(Error::Invalid(message))
}

/// A function with its derivative, whose evaluation may fail.
///
/// Its expectations under a Gaussian converge quickly only if it is smooth away from 0. A kink at 0 does no harm.
pub trait Smooth: Debug + Send + Sync {
    /// Replaces each x by φ(x), and writes φ'(x) to `slopes`. Each value depends on its own x only.
    ///
    /// # Errors
    /// If φ cannot be evaluated at one of the points.
    fn evaluate(&self, x: &mut [f64], slopes: &mut [f64]) -> Result<()>;

    /// False if [`Smooth::evaluate`] leaves the slopes as they are: only expectations are then to be had, from values alone.
    fn has_slopes(&self) -> bool {
        true
    }

    /// True if the function is user-supplied: only the calling thread may evaluate it.
    fn is_user_supplied(&self) -> bool {
        false
    }
}

/// φ, φ' and φ'' at one point: the only trait that finite networks need.
///
/// Implementations and everything they call must be `#[inline(always)]`.
pub trait Formula: Debug + Send + Sync {
    /// `(φ(x), φ'(x))`.
    fn value_and_slope<R: Real>(&self, x: R) -> (R, R);

    /// `φ''(x)`. Where φ' jumps, this is φ'' of one side.
    fn curvature<R: Real>(&self, x: R) -> R;
}

impl<F: Formula> Smooth for F {
    fn evaluate(&self, x: &mut [f64], slopes: &mut [f64]) -> Result<()> {
        evaluate(self, x, slopes);
        Ok(())
    }
}

// A user-supplied function is not a `Formula`, so its own `impl Activation` does not overlap with this one.
impl<F: Formula + Dual> Activation for F {
    fn evaluate(&self, h: &mut [f64], slopes: &mut [f64]) {
        evaluate(self, h, slopes);
    }

    fn curvature(&self, h: &mut [f64]) {
        // If the chosen instruction set is missing on this machine, packing the inputs has already reported it.
        let isa = Isa::current().unwrap_or(Isa::PORTABLE);
        isa.run(Curvature { formula: self, h });
    }

    fn dual(&self) -> Option<&dyn Dual> {
        Some(self)
    }
}

/// Replaces each h by φ(h), and writes φ'(h) to `slopes`.
///
/// # Panics
/// If the slices differ in length.
fn evaluate(formula: &impl Formula, h: &mut [f64], slopes: &mut [f64]) {
    assert_eq!(h.len(), slopes.len());
    let isa = Isa::current().unwrap_or(Isa::PORTABLE);
    isa.run(Evaluate { formula, h, slopes });
}

/// The loop over points that computes φ and φ'.
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

/// The loop over points that computes φ''.
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
