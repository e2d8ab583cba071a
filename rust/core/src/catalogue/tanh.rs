//! The hyperbolic tangent. Its dual has no closed form.

use crate::activation::{Activation, Formula, evaluate};
use crate::dual::Dual;
use crate::isa::Real;
use crate::special::{exp, tanh};

/// `φ(x) = tanh(x)`, `φ'(x) = 1 − tanh²(x)`.
#[derive(Clone, Copy, Debug)]
pub struct Tanh;

impl Formula for Tanh {
    #[inline(always)]
    fn value_and_slope<R: Real>(&self, x: R) -> (R, R) {
        // 1/cosh², which unlike 1 − tanh² keeps its digits where tanh is nearly ±1.
        let shrunk = exp(R::splat(-2.0) * x.abs());
        let sum = R::splat(1.0) + shrunk;
        (tanh(x), R::splat(4.0) * shrunk / (sum * sum))
    }
}

impl Activation for Tanh {
    fn evaluate(&self, h: &mut [f64], slopes: &mut [f64]) {
        evaluate(self, h, slopes);
    }

    fn dual(&self) -> Option<&dyn Dual> {
        None
    }
}
