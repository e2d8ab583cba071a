//! The sign. Its kernel is the angle between the inputs.

use std::f64::consts::FRAC_2_PI;

use crate::activations::activation::Formula;
use crate::activations::closed_form::ClosedForm;
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

/// `T = 1 − 2θ/π`. `Ṫ = E φ'(u)φ'(v)` is 0, unlike dT/dc, which sees the jump.
impl ClosedForm for Sign {
    type Variable<R: Real> = ();

    fn root<N: RowNumber>(&self, r: N) -> N {
        N::constant(f64::from(u8::from(r.value() > 0.0)))
    }

    fn variable<N: RowNumber>(&self, _r: N) {}

    #[inline(always)]
    fn pair<R: Real>(&self, _u: (), _v: (), gap: R) -> (R, R) {
        let (angle, _) = angle_and_lift(gap.abs());
        let new = angle * R::splat(FRAC_2_PI);
        // The bound is for round-off alone, and has no part in the derivative.
        let one = R::Value::splat(1.0);
        let new = R::with_known_slopes(new.value().min(one), [(one, new)]);
        (new.copysign(gap), R::splat(0.0))
    }
}
