//! The hyperbolic tangent, and the approximation of GELU by it.

use std::f64::consts::FRAC_2_PI;

use crate::activations::activation::Formula;
use crate::isa::Real;
use crate::math::special::{exp, tanh};

/// `φ(x) = tanh(x)`, `φ'(x) = 1 − tanh²(x)`.
#[derive(Clone, Copy, Debug)]
pub struct Tanh;

impl Formula for Tanh {
    #[inline(always)]
    fn value_and_slope<R: Real>(&self, x: R) -> (R, R) {
        // 1/cosh² rather than 1 − tanh², which cancels where tanh is nearly ±1.
        let shrunk = exp(R::splat(-2.0) * x.abs());
        let sum = R::splat(1.0) + shrunk;
        (tanh(x), R::splat(4.0) * shrunk / (sum * sum))
    }

    #[inline(always)]
    fn curvature<R: Real>(&self, x: R) -> R {
        let (value, slope) = self.value_and_slope(x);
        R::splat(-2.0) * value * slope
    }
}

/// `φ(x) = x/2 (1 + tanh s)` with `s = √(2/π) (x + 0.044715 x³)`, `φ'(x) = (1 + tanh s)/2 + x/2 tanh'(s) s'`.
#[derive(Clone, Copy, Debug)]
pub struct GeluTanh;

impl Formula for GeluTanh {
    #[inline(always)]
    fn value_and_slope<R: Real>(&self, x: R) -> (R, R) {
        const CUBIC: f64 = 0.044_715;
        let (one, half, scale) = (R::splat(1.0), R::splat(0.5), R::splat(FRAC_2_PI.sqrt()));
        // Beyond ±64, tanh s is ±1 to all digits, and x³ could overflow.
        let near = x.max(R::splat(-64.0)).min(R::splat(64.0));
        let square = near * near;
        let argument = scale * near * R::splat(CUBIC).mul_add(square, one);
        let (_, slope) = Tanh.value_and_slope(argument);
        // (1 + tanh s)/2 = 1/(1 + e^{−2s}), without cancellation.
        let share = one / (one + exp(R::splat(-2.0) * argument));
        let inner = scale * R::splat(3.0 * CUBIC).mul_add(square, one);
        (x * share, (half * near * slope).mul_add(inner, share))
    }

    #[inline(always)]
    fn curvature<R: Real>(&self, x: R) -> R {
        const CUBIC: f64 = 0.044_715;
        let (one, half, scale) = (R::splat(1.0), R::splat(0.5), R::splat(FRAC_2_PI.sqrt()));
        let near = x.max(R::splat(-64.0)).min(R::splat(64.0));
        let square = near * near;
        let argument = scale * near * R::splat(CUBIC).mul_add(square, one);
        let inner = scale * R::splat(3.0 * CUBIC).mul_add(square, one);
        let (_, slope) = Tanh.value_and_slope(argument);
        let bend =
            Tanh.curvature(argument) * inner * inner + slope * scale * R::splat(6.0 * CUBIC) * near;
        (half * near).mul_add(bend, slope * inner)
    }
}
