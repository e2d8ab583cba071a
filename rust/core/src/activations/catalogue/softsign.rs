//! Softsign (Turian et al. 2009), which approaches ±1 like 1/x.

use crate::activations::activation::Formula;
use crate::isa::Real;

/// `φ(x) = x/(1 + |x|)`, `φ'(x) = 1/(1 + |x|)²`. φ'' jumps at 0, where it counts as that of the right side.
#[derive(Clone, Copy, Debug)]
pub struct Softsign;

impl Formula for Softsign {
    #[inline(always)]
    fn value_and_slope<R: Real>(&self, x: R) -> (R, R) {
        let denominator = R::splat(1.0) + x.abs();
        let inverse = R::splat(1.0) / denominator;
        (x / denominator, inverse * inverse)
    }

    #[inline(always)]
    fn curvature<R: Real>(&self, x: R) -> R {
        let inverse = R::splat(1.0) / (R::splat(1.0) + x.abs());
        R::splat(-2.0) * (inverse * inverse * inverse).copysign(x)
    }
}
