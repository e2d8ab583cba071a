//! Exponentials.

use crate::activations::activation::Formula;
use crate::activations::closed_form::{ClosedForm, MOST_NUMBERS, NamedNumbers};
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

/// The numbers of one variable.
#[derive(Clone, Copy)]
pub struct ExponentialVariable<R> {
    /// `y = |b| r`, and its low part.
    y: R,
    y_low: R,
    /// `|b| √E φ²`, a factor of Ṫ.
    slope: R,
}

impl<R: Copy> NamedNumbers<R> for ExponentialVariable<R> {
    const COUNT: usize = 3;

    fn numbers(self) -> impl IntoIterator<Item = R> {
        [self.y, self.y_low, self.slope]
    }

    #[inline(always)]
    fn from_numbers([y, y_low, slope, ..]: [R; MOST_NUMBERS]) -> Self {
        Self { y, y_low, slope }
    }
}

/// `T = a² e^{b²((q1+q2)/2 + c)}` and `Ṫ = b² T`. The new correlation is `e^{−b²((r1−r2)²/2 + r1 r2 (1−ρ))}`.
impl ClosedForm for Exponential {
    type Variable<R: Real> = ExponentialVariable<R>;

    fn root<N: RowNumber>(&self, r: N) -> N {
        let y = r * N::constant(self.b);
        let root = (y * y).exp() * N::constant(self.a.abs());
        moderate(root, self.b)
    }

    fn variable<N: RowNumber>(&self, r: N) -> ExponentialVariable<N::Single> {
        let size = N::constant(self.b.abs());
        let y = r * size;
        ExponentialVariable {
            y: y.single(),
            y_low: y.low(),
            slope: (size * self.root(r)).single(),
        }
    }

    #[inline(always)]
    fn pair<R: Real>(
        &self,
        u: ExponentialVariable<R>,
        v: ExponentialVariable<R>,
        gap: R,
    ) -> (R, R) {
        let size = gap.abs();
        let turn = R::select(gap.is_negative(), R::splat(2.0) - size, size); // 1 − ρ
        let difference = (u.y - v.y) + (u.y_low - v.y_low);
        let exponent = (u.y * v.y).mul_add(turn, R::splat(0.5) * difference * difference);
        let less = expm1(-exponent); // ρ' − 1
        // |less|, not −less: a gap of 0 must be +0.
        (less.abs(), u.slope * v.slope * (R::splat(1.0) + less))
    }
}
