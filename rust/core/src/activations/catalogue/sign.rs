//! The sign: its kernel is the angle.

use std::f64::consts::FRAC_2_PI;

use crate::activations::activation::{Activation, Formula, curvature, evaluate};
use crate::activations::closed_form::{ClosedForm, MOST_FEATURES, features};
use crate::activations::dual::Dual;
use crate::isa::Real;
use crate::math::number::RowNumber;
use crate::math::special::angle_and_lift;

/// `φ(x) = sign(x)`, 0 at 0, with `φ'(x) = 0`.
#[derive(Clone, Copy, Debug)]
pub struct Sign;

impl Formula for Sign {
    #[inline(always)]
    fn value_and_slope<R: Real>(&self, x: R) -> (R, R) {
        let (zero, one) = (R::splat(0.0), R::splat(1.0));
        let positive = R::select(zero.less(x), one, zero);
        (R::select(x.less(zero), -one, positive), zero)
    }

    #[inline(always)]
    fn curvature<R: Real>(&self, x: R) -> R {
        let _ = x;
        R::splat(0.0)
    }
}

impl Activation for Sign {
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

/// `T = 1 − 2θ/π`. Ṫ is that of φ', 0: not dT/dc, which sees the jump.
impl ClosedForm for Sign {
    const FEATURES: usize = 0;

    fn root<N: RowNumber>(&self, r: N) -> N {
        N::constant(f64::from(u8::from(r.value() > 0.0)))
    }

    fn describe<N: RowNumber>(&self, _r: N) -> [N::Single; MOST_FEATURES] {
        features([])
    }

    #[inline(always)]
    fn pair<R: Real>(&self, _u: [R; MOST_FEATURES], _v: [R; MOST_FEATURES], gap: R) -> (R, R) {
        let (angle, _) = angle_and_lift(gap.abs());
        let new = (angle * R::splat(FRAC_2_PI)).min(R::splat(1.0));
        (new.copysign(gap), R::splat(0.0))
    }
}
