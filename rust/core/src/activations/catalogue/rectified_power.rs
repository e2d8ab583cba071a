//! Powers of the positive part (Cho & Saul 2009).

use std::f64::consts::FRAC_1_PI;

use crate::activations::activation::{Activation, Formula, curvature, evaluate};
use crate::activations::closed_form::{ClosedForm, MOST_FEATURES, features};
use crate::activations::dual::Dual;
use crate::error::{Error, Result};
use crate::isa::Real;
use crate::math::double_double::DoubleDouble;
use crate::math::number::{RowNumber, Single};
use crate::math::special::{angle_and_lift, sum_of_powers};

use super::moderate;

/// The largest degree: beyond, coefficients are no integers of `f64`.
const MOST: usize = 16;

/// `φ(x) = max(x, 0)ⁿ`; the step function, 0 at 0, for n = 0.
#[derive(Clone, Copy, Debug)]
pub struct RectifiedPower {
    degree: usize,
    value: ArcCosine,
    /// That of one degree less. For degree 0 there is none, and its factor is 0.
    slope: ArcCosine,
}

impl RectifiedPower {
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
        let mut power = one; // of one degree less
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

impl Activation for RectifiedPower {
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

/// `T = (r1r2)ⁿ J_n(θ)/(2π)`, `Ṫ = n² (r1r2)^{n−1} J_{n−1}(θ)/(2π)`, `J_n(0) = π (2n−1)!!`.
impl ClosedForm for RectifiedPower {
    const FEATURES: usize = 1;

    fn root<N: RowNumber>(&self, r: N) -> N {
        if r.value() == 0.0 {
            return N::constant(0.0); // φ(0), also of the step function
        }
        let power = (0..self.degree).fold(N::constant(1.0), |power, _| power * r);
        let half = DoubleDouble::from(double_factorial(self.degree)) / 2.0;
        moderate(power * half.sqrt().into(), self.degree as f64)
    }

    /// `n r^{n−1} √((2n−3)!!/2)`.
    fn describe<N: RowNumber>(&self, r: N) -> [N::Single; MOST_FEATURES] {
        let below = self.degree.saturating_sub(1);
        let degree = N::Single::splat(self.degree as f64);
        let root = N::Single::splat((double_factorial(below) / 2.0).sqrt());
        features([degree * r.single().power(below) * root])
    }

    #[inline(always)]
    fn pair<R: Real>(&self, u: [R; MOST_FEATURES], v: [R; MOST_FEATURES], gap: R) -> (R, R) {
        let new = self.value.gap(gap);
        (new, u[0] * v[0] * (R::splat(1.0) - self.slope.gap(gap)))
    }
}

/// `(2n−1)!!`.
fn double_factorial(n: usize) -> f64 {
    (1..=n).map(|k| (2 * k - 1) as f64).product()
}

/// `J_n(θ)/J_n(0) = [sin θ P(cos θ) + (π−θ) Q(cos θ)]/π`, with polynomials of nonnegative coefficients, and `Q(1) = 1`.
///
/// `J_{n+1} = (2n+1) cos θ J_n + n² sin²θ J_{n−1}`.
#[derive(Clone, Copy, Debug)]
struct ArcCosine {
    degree: usize,
    sine: [f64; MOST + 1],
    angle: [f64; MOST + 1],
    /// `(1 − Q(x))/(1 − x)`.
    fall: [f64; MOST + 1],
}

impl ArcCosine {
    fn new(degree: usize) -> Self {
        // P and Q of degrees n − 1 and n, from n = 0.
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

    /// `1 − J_n(θ)/J_n(0)`, of the gap of cos θ.
    #[inline(always)]
    fn gap<R: Real>(&self, gap: R) -> R {
        /// Below, `ψQ − sin ψ P`, which is O(ψ⁵) from n = 2 on, is less than its rounding.
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

/// `(2n+1) x f + n² (1 − x²) g`, as coefficients.
fn next(n: usize, g: [f64; MOST + 1], f: [f64; MOST + 1]) -> [f64; MOST + 1] {
    let (n, square) = ((2 * n + 1) as f64, (n * n) as f64);
    std::array::from_fn(|k| {
        let below = |coefficients: &[f64; MOST + 1], by| {
            if k < by { 0.0 } else { coefficients[k - by] }
        };
        n * below(&f, 1) + square * (g[k] - below(&g, 2))
    })
}
