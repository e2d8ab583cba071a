//! The logistic function, and activations that are built from it: SiLU, softplus, Mish.

use crate::activations::activation::Formula;
use crate::isa::Real;
use crate::math::special::{exp, log1p_unit};

/// σ(x), σ(−x) and `e^{−|x|}`.
#[inline(always)]
fn logistic<R: Real>(x: R) -> (R, R, R) {
    let one = R::splat(1.0);
    let small = exp(-x.abs());
    let near = one / (one + small);
    let far = small * near;
    let negative = x.is_negative();
    (
        R::select(negative, far, near),
        R::select(negative, near, far),
        small,
    )
}

/// `φ(x) = σ(x) = 1/(1 + e^{−x})`, `φ'(x) = σ(x) σ(−x)`.
#[derive(Clone, Copy, Debug)]
pub struct Sigmoid;

impl Formula for Sigmoid {
    #[inline(always)]
    fn value_and_slope<R: Real>(&self, x: R) -> (R, R) {
        let (value, rest, _) = logistic(x);
        (value, value * rest)
    }

    #[inline(always)]
    fn curvature<R: Real>(&self, x: R) -> R {
        let (value, rest, _) = logistic(x);
        value * rest * (rest - value)
    }
}

/// `φ(x) = x σ(x)`, `φ'(x) = σ(x) (1 + x σ(−x))`.
#[derive(Clone, Copy, Debug)]
pub struct Silu;

impl Formula for Silu {
    #[inline(always)]
    fn value_and_slope<R: Real>(&self, x: R) -> (R, R) {
        let (sigmoid, rest, _) = logistic(x);
        (x * sigmoid, sigmoid * x.mul_add(rest, R::splat(1.0)))
    }

    #[inline(always)]
    fn curvature<R: Real>(&self, x: R) -> R {
        // Where the product is 0, |x| may be infinite.
        let x = x.max(R::splat(-1e3)).min(R::splat(1e3));
        let (sigmoid, rest, _) = logistic(x);
        sigmoid * rest * x.mul_add(rest - sigmoid, R::splat(2.0))
    }
}

/// `φ(x) = log(1 + e^x)`, `φ'(x) = σ(x)`.
#[derive(Clone, Copy, Debug)]
pub struct Softplus;

impl Formula for Softplus {
    #[inline(always)]
    fn value_and_slope<R: Real>(&self, x: R) -> (R, R) {
        let (sigmoid, _, small) = logistic(x);
        (x.max(R::splat(0.0)) + log1p_unit(small), sigmoid)
    }

    #[inline(always)]
    fn curvature<R: Real>(&self, x: R) -> R {
        let (sigmoid, rest, _) = logistic(x);
        sigmoid * rest
    }
}

/// `φ(x) = x t(x)` with `t = tanh(log(1 + e^x))`, `φ'(x) = t + x σ(x) (1 − t²)`.
#[derive(Clone, Copy, Debug)]
pub struct Mish;

impl Mish {
    /// σ(x), σ(−x), t and 1 − t.
    #[inline(always)]
    fn parts<R: Real>(x: R) -> (R, R, R, R) {
        let (one, two) = (R::splat(1.0), R::splat(2.0));
        let (sigmoid, far, small) = logistic(x);
        // t = w/(w + 2) with w = e^x (e^x + 2). For x ≥ 0, numerator and denominator are multiplied by e^{−2x}.
        let negative = x.is_negative();
        let w = R::select(negative, small * (small + two), two.mul_add(small, one));
        let rest = R::select(negative, two, two * small * small);
        let (t, missing) = (w / (w + rest), rest / (w + rest));
        (sigmoid, far, t, missing)
    }
}

impl Formula for Mish {
    #[inline(always)]
    fn value_and_slope<R: Real>(&self, x: R) -> (R, R) {
        let (sigmoid, _, t, missing) = Self::parts(x);
        (x * t, (x * sigmoid * missing).mul_add(R::splat(1.0) + t, t))
    }

    #[inline(always)]
    fn curvature<R: Real>(&self, x: R) -> R {
        // t' = σ(x) (1 − t²), t'' = t' (σ(−x) − 2 t σ(x)).
        let x = x.max(R::splat(-1e3)).min(R::splat(1e3));
        let (one, two) = (R::splat(1.0), R::splat(2.0));
        let (sigmoid, far, t, missing) = Self::parts(x);
        sigmoid * missing * (one + t) * x.mul_add(far - two * t * sigmoid, two)
    }
}
