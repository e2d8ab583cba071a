//! Two half-lines that meet at 0: the identity, ReLU, leaky ReLU and the absolute value.

use std::f64::consts::PI;

use crate::activations::activation::Formula;
use crate::activations::closed_form::ClosedForm;
use crate::activations::single::{SingleDual, SingleForm};
use crate::error::Result;
use crate::isa::Real;
use crate::math::double_double::DoubleDouble;
use crate::math::number::RowNumber;
use crate::math::special::angle_and_lift;

use super::finite;

/// `φ(x) = max(x, 0) + slope·min(x, 0)`.
#[derive(Clone, Copy, Debug)]
pub struct PiecewiseLinear {
    slope: f64,
    /// The value to take for φ'(0).
    at_zero: f64,
}

impl PiecewiseLinear {
    /// The function of this slope for x < 0, with `φ'(0) = at_zero`.
    ///
    /// The slope is 1 for the identity, 0 for ReLU and −1 for the absolute value.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if the slope is not finite.
    pub fn new(slope: f64, at_zero: f64) -> Result<Self> {
        let slope = finite("slope", slope)?;
        Ok(Self { slope, at_zero })
    }
}

impl Formula for PiecewiseLinear {
    #[inline(always)]
    fn value_and_slope<R: Real>(&self, x: R) -> (R, R) {
        let zero = R::splat(0.0);
        let (positive, negative) = (zero.less(x), x.less(zero));
        let slope = R::select(negative, R::splat(self.slope), R::splat(self.at_zero));
        let slope = R::select(positive, R::splat(1.0), slope);
        (slope * x + zero, slope) // + 0 turns −0 into +0
    }

    #[inline(always)]
    fn curvature<R: Real>(&self, x: R) -> R {
        let _ = x;
        R::splat(0.0)
    }
}

/// Cho & Saul (2009), in the gap.
///
/// With a the slope, `κ = (1−a)²/(π(1+a²))` and `s = 2a/(1+a²) = 1 − πκ`, the new correlation is
/// `ρ' = ρ + κ (sin θ − θ cos θ)`. Let ψ be the angle from the nearer of ρ = 1 and ρ = −1, e the size of the gap, and
/// `lift = sin ψ − ψ cos ψ`. Then `1 − ρ' = e − κ lift` near ρ = 1, and `ρ' = −s cos ψ + κ lift` near ρ = −1.
impl ClosedForm for PiecewiseLinear {
    type Variable<R: Real> = ();

    fn root<N: RowNumber>(&self, r: N) -> N {
        let slope = DoubleDouble::from(self.slope);
        r * ((slope * slope + 1.0.into()) / 2.0).sqrt().into()
    }

    fn variable<N: RowNumber>(&self, _r: N) {}

    fn of_direction(&self, correlation: DoubleDouble) -> Option<(DoubleDouble, DoubleDouble)> {
        let (one, slope) = (DoubleDouble::from(1.0), DoubleDouble::from(self.slope));
        let kink = (one - slope) * (one - slope) / ((one + slope * slope) * DoubleDouble::PI);
        let (minus, plus) = ((one - correlation).max(0.0), (one + correlation).max(0.0));
        let angle = (minus / plus).sqrt().atan().scaled(1);
        let lift = (minus * plus).sqrt() - angle * correlation;
        Some((correlation + kink * lift, one - kink * angle))
    }

    #[inline(always)]
    fn pair<R: Real>(&self, _u: (), _v: (), gap: R) -> (R, R) {
        let (new, angle, opposite) = self.step(gap);
        let kink = self.kink();
        let dot = R::splat(-kink).mul_add(angle, R::splat(self.mean_square()));
        let Some(opposite) = opposite else {
            return (new, dot);
        };
        let from_opposite = R::splat(kink).mul_add(angle, R::splat(self.slope));
        (new, R::select(opposite, from_opposite, dot))
    }

    fn single(&self) -> Option<&dyn SingleDual> {
        // Between slopes of 0.5 and 2, gaps hardly shrink from layer to layer, and their roundings add up.
        (self.kink() / self.mean_square() >= 1.0 / 16.0).then_some(self as &dyn SingleDual)
    }
}

impl SingleForm for PiecewiseLinear {
    #[inline(always)]
    fn gap_and_angle<R: Real>(&self, gap: R) -> (R, R) {
        let (new, angle, opposite) = self.step(gap);
        let angle = match opposite {
            Some(opposite) => R::select(opposite, R::splat(PI) - angle, angle),
            None => angle,
        };
        (new, angle)
    }

    #[inline(always)]
    fn dot<R: Real>(&self, angle: R) -> R {
        R::splat(-self.kink()).mul_add(angle, R::splat(self.mean_square()))
    }
}

impl PiecewiseLinear {
    /// `(1+a²)/2`, which is Ṫ of equal directions.
    #[inline(always)]
    fn mean_square(&self) -> f64 {
        0.5 * (1.0 + self.slope * self.slope)
    }

    /// `(1−a)²/(2π)`, by which Ṫ falls with the angle.
    #[inline(always)]
    fn kink(&self) -> f64 {
        (1.0 - self.slope) * (1.0 - self.slope) / (2.0 * PI)
    }

    /// The gap of (φ(u), φ(v)), the angle ψ, and where ψ is that from ρ = −1, if it is anywhere.
    #[inline(always)]
    fn step<R: Real>(&self, gap: R) -> (R, R, Option<R::Mask>) {
        let (slope, mean_square) = (self.slope, self.mean_square());
        let s = slope / mean_square;
        // 1 + s and 1 − s, without the cancellation at slopes near −1 and 1.
        let sum = 0.5 * (1.0 + slope) * (1.0 + slope) / mean_square;
        let difference = 0.5 * (1.0 - slope) * (1.0 - slope) / mean_square;

        let (size, opposite) = (gap.abs(), gap.is_negative());
        let (angle, lift) = angle_and_lift(size);
        let fall = R::splat(-self.kink() / mean_square);
        let aligned = fall.mul_add(lift, size);
        // Most blocks have no pair of opposite rows: after ReLU there is none.
        if !R::any(opposite) {
            return (aligned, angle, None);
        }
        let lift = -(fall * lift);
        let still_opposite = -(R::splat(s).mul_add(size, R::splat(difference)) + lift);
        let turned = (R::splat(-s).mul_add(size, R::splat(sum)) - lift).max(R::splat(0.0));
        let apart = R::splat(s) * (R::splat(1.0) - size);
        let from_opposite = R::select(lift.less(apart), still_opposite, turned);
        let new = R::select(opposite, from_opposite, aligned);
        (new, angle, Some(opposite))
    }
}
