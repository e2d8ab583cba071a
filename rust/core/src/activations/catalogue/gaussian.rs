//! The Gaussian bell.

use crate::activations::activation::Formula;
use crate::activations::closed_form::{ClosedForm, MOST_NUMBERS, NamedNumbers};
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
        // Where the value is 0, |y| may be infinite.
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

/// Beyond this √b r, powers would overflow. Rows that are not parallel to 100 digits are uncorrelated by then.
const LARGEST: f64 = 1e60;

/// The numbers of one variable.
#[derive(Clone, Copy)]
pub struct GaussianVariable<R> {
    /// `y = √b r`, and its low part.
    y: R,
    y_low: R,
    /// `t = √(1 + 4y²)`.
    t: R,
    /// `2y²/t`.
    square: R,
    /// `2√b y/t^{3/2}`, a factor of Ṫ.
    slope: R,
}

impl<R: Copy> NamedNumbers<R> for GaussianVariable<R> {
    const COUNT: usize = 5;

    fn numbers(self) -> impl IntoIterator<Item = R> {
        [self.y, self.y_low, self.t, self.square, self.slope]
    }

    #[inline(always)]
    fn from_numbers([y, y_low, t, square, slope, ..]: [R; MOST_NUMBERS]) -> Self {
        Self {
            y,
            y_low,
            t,
            square,
            slope,
        }
    }
}

/// `T = M^{−1/2}` and `Ṫ = 4b²c M^{−3/2}`, with `M = 1 + 2b(q1+q2) + 4b²q1q2(1−ρ²)`.
///
/// With `t = √(1+4bq)`, `M = t²` for two equal variables. So the new correlation is `W^{−1/2}`, with
/// `W = M/(t1t2) = 1 + (t1−t2)²/(2t1t2) + 4b²q1q2(1−ρ²)/(t1t2)`.
impl ClosedForm for Gaussian {
    type Variable<R: Real> = GaussianVariable<R>;

    fn root<N: RowNumber>(&self, r: N) -> N {
        let one = N::constant(1.0);
        let t = (r * self.root.into()).scaled(1).hypot(one);
        (one / t).sqrt()
    }

    fn variable<N: RowNumber>(&self, r: N) -> GaussianVariable<N::Single> {
        let number = N::Single::splat;
        let near = (r * self.root.into()).min(LARGEST);
        let (y, twice) = (near.single(), near.scaled(1).single());
        let t = number(1.0).hypot(twice);
        GaussianVariable {
            y,
            y_low: near.low(),
            t,
            square: twice * (y / t),
            slope: number(2.0 * self.root.hi) * (y / t) / t.sqrt(),
        }
    }

    #[inline(always)]
    fn pair<R: Real>(&self, u: GaussianVariable<R>, v: GaussianVariable<R>, gap: R) -> (R, R) {
        let (one, size) = (R::splat(1.0), gap.abs());
        let apart = (u.y - v.y) + (u.y_low - v.y_low);
        let difference = R::splat(4.0) * (apart * (u.y + v.y)) / (u.t + v.t); // t1 − t2
        let spread = R::splat(0.5) * (difference / u.t) * (difference / v.t);
        let turn = size * (R::splat(2.0) - size); // 1 − ρ²
        let opening = (u.square * v.square).mul_add(turn, spread); // W − 1
        let w = one + opening;
        let root = w.sqrt();
        let correlation = (one - size).copysign(gap);
        let dot = u.slope * v.slope * correlation / (w * root);
        (opening / (root * (root + one)), dot)
    }
}
