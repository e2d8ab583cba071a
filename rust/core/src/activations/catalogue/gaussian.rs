//! The Gaussian bell.

use crate::activations::activation::{Activation, Formula, curvature, evaluate};
use crate::activations::closed_form::{ClosedForm, MOST_FEATURES, features};
use crate::activations::dual::Dual;
use crate::error::Result;
use crate::isa::Real;
use crate::math::double_double::DoubleDouble;
use crate::math::number::{RowNumber, Single};
use crate::math::special::exp_minus_square;

use super::positive;

/// `φ(x) = e^{−bx²}`.
#[derive(Clone, Copy, Debug)]
pub struct Gaussian {
    /// √b.
    root: DoubleDouble,
}

impl Gaussian {
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if b is not positive and finite.
    pub fn new(b: f64) -> Result<Self> {
        let root = DoubleDouble::from(positive("b", b)?).sqrt();
        Ok(Self { root })
    }
}

impl Formula for Gaussian {
    #[inline(always)]
    fn value_and_slope<R: Real>(&self, x: R) -> (R, R) {
        let root = R::splat(self.root.hi);
        let y = root * x;
        let value = exp_minus_square(y);
        // Far out the value is 0, and |y| may be infinite.
        let bounded = y.max(R::splat(-1e100)).min(R::splat(1e100));
        (value, R::splat(-2.0) * root * bounded * value)
    }

    #[inline(always)]
    fn curvature<R: Real>(&self, x: R) -> R {
        let root = R::splat(self.root.hi);
        let y = (root * x).max(R::splat(-1e100)).min(R::splat(1e100));
        let square = root * root;
        let bend = R::splat(4.0) * y * y - R::splat(2.0);
        square * bend * exp_minus_square(y)
    }
}

impl Activation for Gaussian {
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

/// Beyond this √b r, powers overflow, and rows that are not parallel to 100 digits have left each other.
const LARGEST: f64 = 1e60;

/// `T = M^{−1/2}` and `Ṫ = 4b²c M^{−3/2}`, with `M = 1 + 2b(q1+q2) + 4b²q1q2(1−ρ²)`.
///
/// With `t = √(1+4bq)`, whose square is M for two equal variables, the new correlation is `W^{−1/2}`, with
/// `W = M/(t1t2) = 1 + (t1−t2)²/(2t1t2) + 4b²q1q2(1−ρ²)/(t1t2)`.
impl ClosedForm for Gaussian {
    const FEATURES: usize = 5;

    fn root<N: RowNumber>(&self, r: N) -> N {
        let one = N::constant(1.0);
        let t = (r * self.root.into()).scaled(1).hypot(one);
        (one / t).sqrt()
    }

    /// `y = √b r`, what rounding took from it, t, `2bq/t` and `2br/t^{3/2}`.
    fn describe<N: RowNumber>(&self, r: N) -> [N::Single; MOST_FEATURES] {
        let number = N::Single::splat;
        let near = (r * self.root.into()).min(LARGEST);
        let (y, twice) = (near.single(), near.scaled(1).single());
        let t = number(1.0).hypot(twice);
        let slope = number(2.0 * self.root.hi) * (y / t) / t.sqrt();
        features([y, near.low(), t, twice * (y / t), slope])
    }

    #[inline(always)]
    fn pair<R: Real>(&self, u: [R; MOST_FEATURES], v: [R; MOST_FEATURES], gap: R) -> (R, R) {
        let (one, size) = (R::splat(1.0), gap.abs());
        let apart = (u[0] - v[0]) + (u[1] - v[1]);
        let difference = R::splat(4.0) * (apart * (u[0] + v[0])) / (u[2] + v[2]);
        let spread = R::splat(0.5) * (difference / u[2]) * (difference / v[2]);
        let opening = (u[3] * v[3]).mul_add(size * (R::splat(2.0) - size), spread);
        let w = one + opening;
        let root = w.sqrt();
        let correlation = (one - size).copysign(gap);
        let dot = u[4] * v[4] * correlation / (w * root);
        (opening / (root * (root + one)), dot)
    }
}
