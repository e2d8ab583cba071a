//! Exponentials.

use crate::activations::activation::{Activation, Formula, curvature, evaluate};
use crate::activations::closed_form::{ClosedForm, MOST_FEATURES, features};
use crate::activations::dual::Dual;
use crate::error::Result;
use crate::isa::Real;
use crate::math::number::RowNumber;
use crate::math::special::{exp, expm1};

use super::{finite, moderate};

/// `φ(x) = a e^{bx}`.
#[derive(Clone, Copy, Debug)]
pub struct Exponential {
    a: f64,
    b: f64,
}

impl Exponential {
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if a or b is not finite.
    pub fn new(a: f64, b: f64) -> Result<Self> {
        Ok(Self {
            a: finite("a", a)?,
            b: finite("b", b)?,
        })
    }
}

impl Formula for Exponential {
    #[inline(always)]
    fn value_and_slope<R: Real>(&self, x: R) -> (R, R) {
        let b = R::splat(self.b);
        let value = R::splat(self.a) * exp(b * x);
        (value, b * value)
    }

    #[inline(always)]
    fn curvature<R: Real>(&self, x: R) -> R {
        let (_, slope) = self.value_and_slope(x);
        R::splat(self.b) * slope
    }
}

impl Activation for Exponential {
    fn evaluate(&self, h: &mut [f64], slopes: &mut [f64]) {
        evaluate(self, h, slopes);
    }

    fn curvature(&self, h: &mut [f64]) {
        curvature(self, h);
    }

    fn dual(&self) -> Option<&dyn Dual> {
        Some(self)
    }
}

/// `T = a² e^{b²((q1+q2)/2 + c)}`: the new correlation is `e^{−b²((r1−r2)²/2 + r1 r2 (1−ρ))}`. `Ṫ = b² T`.
impl ClosedForm for Exponential {
    const FEATURES: usize = 3;

    fn root<N: RowNumber>(&self, r: N) -> N {
        let y = r * N::constant(self.b);
        let root = (y * y).exp() * N::constant(self.a.abs());
        moderate(root, self.b)
    }

    /// `|b| r`, what rounding took from it, and `|b| √E φ²`.
    fn describe<N: RowNumber>(&self, r: N) -> [N::Single; MOST_FEATURES] {
        let size = N::constant(self.b.abs());
        let y = r * size;
        features([y.single(), y.low(), (size * self.root(r)).single()])
    }

    #[inline(always)]
    fn pair<R: Real>(&self, u: [R; MOST_FEATURES], v: [R; MOST_FEATURES], gap: R) -> (R, R) {
        let size = gap.abs();
        let apart = R::select(gap.is_negative(), R::splat(2.0) - size, size);
        let difference = (u[0] - v[0]) + (u[1] - v[1]);
        let exponent = (u[0] * v[0]).mul_add(apart, R::splat(0.5) * difference * difference);
        let less = expm1(-exponent);
        (less.abs(), u[2] * v[2] * (R::splat(1.0) + less)) // not −less: a gap of 0 is +0
    }
}
