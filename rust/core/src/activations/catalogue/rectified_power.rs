//! Powers of the positive part (Cho & Saul 2009).

use std::f64::consts::FRAC_1_PI;

use crate::activations::activation::Formula;
use crate::activations::closed_form::{ClosedForm, MOST_NUMBERS, NamedNumbers};
use crate::error::{Error, Result};
use crate::isa::Real;
use crate::math::double_double::DoubleDouble;
use crate::math::number::{RowNumber, Single};
use crate::math::special::{angle_and_lift, sum_of_powers};

use super::moderate;

/// The largest degree. Beyond it, coefficients are integers that `f64` cannot represent.
const MOST: usize = 16;

/// `φ(x) = max(x, 0)ⁿ`; the step function, 0 at 0, for n = 0.
#[derive(Clone, Copy, Debug)]
pub struct RectifiedPower {
    degree: usize,
    value: ArcCosine,
    /// The kernel of one degree less, for Ṫ. For degree 0 any will do: its factor is 0.
    slope: ArcCosine,
}

impl RectifiedPower {
    /// The function of this degree.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the degree is above 16.
    pub fn new(degree: usize) -> Result<Self> {
        if degree > MOST {
            return Err(Error::Invalid(format!(
                "degree is {degree}, but powers of the positive part go up to {MOST}"
            )));
        }
        Ok(Self {
            degree,
            value: ArcCosine::new(degree),
            slope: ArcCosine::new(degree.saturating_sub(1)),
        })
    }
}

impl Formula for RectifiedPower {
    #[inline(always)]
    fn value_and_slope<R: Real>(&self, x: R) -> (R, R) {
        let (zero, one) = (R::splat(0.0), R::splat(1.0));
        let positive = x.max(zero);
        let mut power = one; // xⁿ⁻¹
        for _ in 1..self.degree {
            power = power * positive;
        }
        let value = if self.degree == 0 {
            one
        } else {
            power * positive
        };
        let slope = R::splat(self.degree as f64) * power;
        let inside = zero.less(x);
        (
            R::select(inside, value, zero),
            R::select(inside, slope, zero),
        )
    }

    #[inline(always)]
    fn curvature<R: Real>(&self, x: R) -> R {
        let (zero, n) = (R::splat(0.0), self.degree);
        let positive = x.max(zero);
        let factor = R::splat((n * n.saturating_sub(1)) as f64);
        let curvature = (2..n).fold(factor, |power, _| power * positive);
        R::select(zero.less(x), curvature, zero)
    }
}

/// The number of one variable.
#[derive(Clone, Copy)]
pub struct RectifiedPowerVariable<R> {
    /// `n r^{n−1} √((2n−3)!!/2)`, a factor of Ṫ.
    slope: R,
}

impl<R: Copy> NamedNumbers<R> for RectifiedPowerVariable<R> {
    const COUNT: usize = 1;

    fn numbers(self) -> impl IntoIterator<Item = R> {
        [self.slope]
    }

    #[inline(always)]
    fn from_numbers([slope, ..]: [R; MOST_NUMBERS]) -> Self {
        Self { slope }
    }
}

/// `T = (r1r2)ⁿ J_n(θ)/(2π)`, `Ṫ = n² (r1r2)^{n−1} J_{n−1}(θ)/(2π)`, `J_n(0) = π (2n−1)!!`.
impl ClosedForm for RectifiedPower {
    type Variable<R: Real> = RectifiedPowerVariable<R>;

    fn root<N: RowNumber>(&self, r: N) -> N {
        if r.value() == 0.0 {
            return N::constant(0.0); // φ(0), also of the step function
        }
        let power = (0..self.degree).fold(N::constant(1.0), |power, _| power * r);
        let half = DoubleDouble::from(double_factorial(self.degree)) / 2.0;
        moderate(power * half.sqrt().into(), self.degree as f64)
    }

    fn variable<N: RowNumber>(&self, r: N) -> RectifiedPowerVariable<N::Single> {
        let below = self.degree.saturating_sub(1);
        let degree = N::Single::splat(self.degree as f64);
        let root = N::Single::splat((double_factorial(below) / 2.0).sqrt());
        RectifiedPowerVariable {
            slope: degree * r.single().power(below) * root,
        }
    }

    #[inline(always)]
    fn pair<R: Real>(
        &self,
        u: RectifiedPowerVariable<R>,
        v: RectifiedPowerVariable<R>,
        gap: R,
    ) -> (R, R) {
        let new = self.value.gap(gap);
        (
            new,
            u.slope * v.slope * (R::splat(1.0) - self.slope.gap(gap)),
        )
    }
}

/// `(2n−1)!!`.
fn double_factorial(n: usize) -> f64 {
    (1..=n).map(|k| (2 * k - 1) as f64).product()
}

/// The arc-cosine kernel of degree n, normalised.
///
/// `J_n(θ)/J_n(0) = [sin θ P(cos θ) + (π−θ) Q(cos θ)]/π`, with polynomials P and Q of nonnegative coefficients and
/// `Q(1) = 1`. They follow from `J_{n+1} = (2n+1) cos θ J_n + n² sin²θ J_{n−1}`.
#[derive(Clone, Copy, Debug)]
struct ArcCosine {
    degree: usize,
    /// The coefficients of P, of Q, and of `(1 − Q(x))/(1 − x)`.
    sine: [f64; MOST + 1],
    angle: [f64; MOST + 1],
    fall: [f64; MOST + 1],
}

impl ArcCosine {
    fn new(degree: usize) -> Self {
        // P and Q of degrees n − 1 and n, starting with n = 0.
        let mut sines = [[0.0; MOST + 1]; 2];
        let mut angles = [[0.0; MOST + 1]; 2];
        angles[1][0] = 1.0;
        for n in 0..degree {
            sines = [sines[1], next(n, sines[0], sines[1])];
            angles = [angles[1], next(n, angles[0], angles[1])];
            if n == 0 {
                sines[1][0] = 1.0; // J_1 = sin θ + (π − θ) cos θ
            }
        }
        let whole: f64 = angles[1].iter().sum();
        let angle = angles[1].map(|q| q / whole);
        Self {
            degree,
            sine: sines[1].map(|p| p / whole),
            angle,
            fall: std::array::from_fn(|k| angle[k + 1..].iter().sum()),
        }
    }

    /// `1 − J_n(θ)/J_n(0)`, given the gap of cos θ.
    #[inline(always)]
    fn gap<R: Real>(&self, gap: R) -> R {
        /// For gaps below this, `ψQ − sin ψ P` is less than its rounding error. It is O(ψ⁵) from n = 2 on.
        const CLOSE: f64 = 1e-10;
        let (zero, one, size) = (R::splat(0.0), R::splat(1.0), gap.abs());
        let (angle, lift) = angle_and_lift(size);
        let sine = (size * (R::splat(2.0) - size)).sqrt();
        let cosine = (one - size).copysign(gap);
        let range = ..=self.degree;
        let sines = sine * sum_of_powers(&self.sine[range], cosine);
        let angles = angle * sum_of_powers(&self.angle[range], cosine);
        let falls = size * sum_of_powers(&self.fall[range], cosine);
        let difference = match self.degree {
            0 => angle,
            1 => -lift,
            _ => R::select(size.less(R::splat(CLOSE)), zero, angles - sines),
        };
        let aligned = difference.mul_add(R::splat(FRAC_1_PI), falls).max(zero);
        let opposite = one - (sines + angles) * R::splat(FRAC_1_PI);
        R::select(gap.is_negative(), opposite, aligned).min(one)
    }
}

/// The coefficients of `(2n+1) x f + n² (1 − x²) g`.
fn next(n: usize, g: [f64; MOST + 1], f: [f64; MOST + 1]) -> [f64; MOST + 1] {
    let (n, square) = ((2 * n + 1) as f64, (n * n) as f64);
    std::array::from_fn(|k| {
        let below = |coefficients: &[f64; MOST + 1], by| {
            if k < by { 0.0 } else { coefficients[k - by] }
        };
        n * below(&f, 1) + square * (g[k] - below(&g, 2))
    })
}
