//! The hyperbolic tangent. Its dual has no closed form.

use crate::activation::{Activation, evaluate_each};
use crate::dual::Dual;

/// `φ(x) = tanh(x)`, `φ'(x) = 1 − tanh²(x)`.
#[derive(Clone, Copy, Debug)]
pub struct Tanh;

impl Activation for Tanh {
    fn evaluate(&self, h: &mut [f64], slopes: &mut [f64]) {
        evaluate_each(h, slopes, |x| {
            // 1/cosh², which unlike 1 − tanh² keeps its digits where tanh is nearly ±1.
            let sech = 1.0 / libm::cosh(x);
            (libm::tanh(x), sech * sech)
        });
    }

    fn dual(&self) -> Option<&dyn Dual> {
        None
    }
}
