//! Polynomials, by their Hermite coefficients.

use crate::activations::activation::Formula;
use crate::activations::differentiable::Form;
use crate::activations::dual::{Description, Dual};
use crate::activations::features::Variables;
use crate::engine::pool::Watch;
use crate::error::{Error, Result};
use crate::isa::{Block, Isa, Real, Vector, Vectorized};
use crate::math::double_double::DoubleDouble;
use crate::math::number::RowNumber;
use crate::math::special::sum_of_powers;

use super::{finite, moderate};

/// The largest degree.
const MOST: usize = 32;

/// A polynomial φ.
#[derive(Clone, Debug)]
pub struct Polynomial {
    terms: Terms,
    /// The expansion that the dual is computed from.
    expansion: HermiteExpansion,
}

/// The terms that φ is evaluated from.
#[derive(Clone, Debug)]
enum Terms {
    Powers(Powers),
    /// The normalised Hermite polynomial of this degree.
    Hermite(usize),
}

impl Polynomial {
    /// `φ(x) = Σ_k c_k x^k`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there are no coefficients, more than 33, or one that is not finite.
    pub fn new(coefficients: &[f64]) -> Result<Self> {
        let Some(degree) = coefficients.len().checked_sub(1) else {
            return Err(Error::Invalid(
                "a polynomial has at least 1 coefficient".into(),
            ));
        };
        check_degree(degree)?;
        for coefficient in coefficients {
            finite("a coefficient", *coefficient)?;
        }
        let exact: Vec<_> = coefficients
            .iter()
            .map(|c| DoubleDouble::from(*c))
            .collect();
        Ok(Self {
            terms: Terms::Powers(Powers::new(coefficients)),
            expansion: HermiteExpansion::new(&exact),
        })
    }

    /// `φ(x) = x^degree`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the degree is above 32.
    pub fn monomial(degree: usize) -> Result<Self> {
        check_degree(degree)?;
        let mut coefficients = vec![0.0; degree + 1];
        coefficients[degree] = 1.0;
        Self::new(&coefficients)
    }

    /// `φ(x) = He_n(x)/√n!`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the degree is above 32.
    pub fn hermite(degree: usize) -> Result<Self> {
        check_degree(degree)?;
        // √(k+1) he_{k+1} = x he_k − √k he_{k−1}
        let zero = DoubleDouble::from(0.0);
        let mut before = vec![zero; degree + 1];
        let mut last = before.clone();
        last[0] = 1.0.into();
        for k in 0..degree {
            let root = DoubleDouble::from(k as f64).sqrt() * (-1.0).into();
            let divisor = DoubleDouble::from((k + 1) as f64).sqrt();
            let inverse = divisor / (k + 1) as f64; // 1/√(k+1)
            let next = |power: usize| {
                let raised = if power == 0 { zero } else { last[power - 1] };
                (raised + root * before[power]) * inverse
            };
            let next: Vec<_> = (0..=degree).map(next).collect();
            (before, last) = (last, next);
        }
        Ok(Self {
            terms: Terms::Hermite(degree),
            expansion: HermiteExpansion::new(&last),
        })
    }
}

fn check_degree(degree: usize) -> Result<()> {
    if degree <= MOST {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "degree is {degree}, but polynomials go up to {MOST}"
    )))
}

impl Formula for Polynomial {
    #[inline(always)]
    fn value_and_slope<R: Real>(&self, x: R) -> (R, R) {
        match &self.terms {
            Terms::Powers(powers) => (
                sum_of_powers(&powers.values, x),
                sum_of_powers(&powers.slopes, x),
            ),
            Terms::Hermite(degree) => {
                let (last, before) = hermite(*degree, x);
                (last, R::splat((*degree as f64).sqrt()) * before)
            }
        }
    }

    #[inline(always)]
    fn curvature<R: Real>(&self, x: R) -> R {
        match &self.terms {
            Terms::Powers(powers) => sum_of_powers(&powers.curvatures, x),
            Terms::Hermite(degree) => {
                let below = degree.saturating_sub(1);
                let (_, second) = hermite(below, x);
                R::splat((*degree as f64 * below as f64).sqrt()) * second
            }
        }
    }
}

/// The coefficients of the powers of x in φ, φ' and φ''.
#[derive(Clone, Debug)]
struct Powers {
    values: Vec<f64>,
    slopes: Vec<f64>,
    curvatures: Vec<f64>,
}

impl Powers {
    fn new(coefficients: &[f64]) -> Self {
        let derivative = |coefficients: &[f64]| -> Vec<f64> {
            let slope = |(k, c): (usize, &f64)| k as f64 * c;
            coefficients.iter().enumerate().map(slope).skip(1).collect()
        };
        let slopes = derivative(coefficients);
        Self {
            values: coefficients.to_vec(),
            curvatures: derivative(&slopes),
            slopes,
        }
    }
}

/// The normalised Hermite polynomials of a degree and of one degree less, by their recurrence.
#[inline(always)]
fn hermite<R: Real>(degree: usize, x: R) -> (R, R) {
    let (mut before, mut last) = (R::splat(0.0), R::splat(1.0));
    for k in 0..degree {
        let inverse = R::splat(1.0 / ((k + 1) as f64).sqrt());
        let next = (x * last - R::splat((k as f64).sqrt()) * before) * inverse;
        (before, last) = (last, next);
    }
    (last, before)
}

/// The Hermite coefficients of `φ(rz)` as polynomials of r, for the dual of φ.
///
/// ```text
/// a_l(r) = E φ(rz) he_l(z) = Σ_{j = l, l+2, …} c_j j!/(2^i i! √l!) r^j,  i = (j−l)/2
/// T = Σ_l a_l(r1) a_l(r2) ρ^l        Ṫ = Σ_l l a_l(r1) a_l(r2)/(r1 r2) ρ^{l−1}
/// ```
///
/// The coefficients divided by their norm form a unit vector. The product of two such vectors is the new correlation
/// for ρ = 1. Its gap is half the square of their distance, with all digits because the vectors are in double-double
/// precision.
#[derive(Clone, Debug)]
struct HermiteExpansion {
    /// `c_j j!/(2^i i! √l!)`: one list for each l, over i.
    weights: Vec<Vec<DoubleDouble>>,
    /// The lowest power with a nonzero coefficient.
    lowest: usize,
}

impl HermiteExpansion {
    /// The expansion of `Σ_j c_j x^j`.
    fn new(coefficients: &[DoubleDouble]) -> Self {
        let degree = coefficients.len() - 1;
        let mut factorials = vec![DoubleDouble::from(1.0)];
        for k in 1..=degree {
            factorials.push(factorials[k - 1] * (k as f64).into());
        }
        let line = |l: usize| {
            let weight = |j: usize| {
                let i = (j - l) / 2;
                let halves = factorials[i] * 2.0_f64.powi(i as i32).into();
                coefficients[j] * (factorials[j] / halves) / factorials[l].sqrt()
            };
            (l..=degree).step_by(2).map(weight).collect()
        };
        let nonzero = |c: &DoubleDouble| c.hi != 0.0;
        Self {
            weights: (0..=degree).map(line).collect(),
            lowest: coefficients.iter().position(nonzero).unwrap_or(0),
        }
    }

    /// `Σ_j w_j r^{j−less}` over the powers of list l. No power is negative.
    fn coefficient<N: RowNumber>(&self, l: usize, r: N, less: usize) -> N {
        let (mut sum, square) = (N::constant(0.0), r * r);
        // Powers below `less` have the coefficient 0.
        let skipped = less.saturating_sub(l).div_ceil(2);
        for weight in self.weights[l].iter().skip(skipped).rev() {
            sum = sum * square + (*weight).into();
        }
        power(r, l + 2 * skipped - less) * sum
    }

    fn degree(&self) -> usize {
        self.weights.len() - 1
    }

    /// The number of features of a variable.
    fn features(&self) -> usize {
        3 * self.degree() + 2
    }

    /// `√E φ²`, and the features: the high parts of the unit vector of the a_l, their low parts, then `√l a_l/r` from
    /// l = 1 on.
    fn root_and_features<N: RowNumber>(&self, r: N) -> (N, Vec<N::Single>) {
        let all: Vec<_> = (0..=self.degree())
            .map(|l| self.coefficient(l, r, self.lowest))
            .collect();
        let norm = all
            .iter()
            .fold(N::constant(0.0), |norm, a| norm + *a * *a)
            .sqrt();
        let unit = |a: &N| {
            if norm.value() > 0.0 {
                *a / norm
            } else {
                N::constant(0.0)
            }
        };
        let unit: Vec<_> = all.iter().map(unit).collect();
        let (high, low) = (
            unit.iter().map(|a| a.single()),
            unit.iter().map(|a| a.low()),
        );
        let slope =
            |l: usize| N::Single::splat((l as f64).sqrt()) * self.coefficient(l, r, 1).single();
        let slopes = (1..=self.degree()).map(slope);
        let numbers = high.chain(low).chain(slopes).collect();
        (
            moderate(norm * power(r, self.lowest), self.degree() as f64),
            numbers,
        )
    }
}

/// `r^n`.
fn power<N: RowNumber>(r: N, n: usize) -> N {
    (0..n).fold(N::constant(1.0), |power, _| power * r)
}

impl Dual for Polynomial {
    fn describe(&self, r: &[DoubleDouble], watch: &mut Watch<'_>) -> Result<Description> {
        Description::in_bands(r, self.description_cycles(), watch, |r| {
            let describe = |r: &DoubleDouble| self.expansion.root_and_features(*r);
            let (roots, numbers): (Vec<_>, Vec<_>) = r.iter().map(describe).unzip();
            let feature = |index: usize| numbers.iter().map(|numbers| numbers[index]).collect();
            let count = self.expansion.features();
            (roots, (0..count).map(feature).collect())
        })
    }

    fn step(&self, isa: Isa, pairs: Variables<'_>, gaps: &mut [Block], dots: &mut [Block]) {
        let count = self.expansion.features();
        let u: Vec<f64> = (0..count).map(|index| pairs.u(index)).collect();
        let v: Vec<&[Block]> = (0..count).map(|index| pairs.v(index)).collect();
        isa.run(PolynomialLoop {
            polynomial: self,
            u: &u,
            v: &v,
            gaps,
            dots,
        });
    }
}

impl Form for Polynomial {
    fn root_and_features<N: RowNumber>(&self, r: N) -> (N, Vec<N::Single>) {
        self.expansion.root_and_features(r)
    }

    #[inline(always)]
    fn of_pair<R: Real>(&self, u: impl Fn(usize) -> R, v: impl Fn(usize) -> R, gap: R) -> (R, R) {
        let degree = self.expansion.degree();
        let (zero, one, half) = (R::splat(0.0), R::splat(1.0), R::splat(0.5));
        let (size, sign) = (gap.abs(), one.copysign(gap));
        let rho = one - size;
        // |ρ|^l, 1 − |ρ|^l, and the sign of ρ^l.
        let (mut power, mut fall, mut turn) = (one, zero, one);
        let (mut to_equal, mut to_opposite, mut falls) = (zero, zero, zero);
        for l in 0..=degree {
            let (u_low, v_low) = (u(degree + 1 + l), turn * v(degree + 1 + l));
            let (u, v) = (u(l), turn * v(l));
            let (difference, sum) = ((u - v) + (u_low - v_low), (u + v) + (u_low + v_low));
            to_equal = difference.mul_add(difference, to_equal);
            to_opposite = sum.mul_add(sum, to_opposite);
            falls = (u * v).mul_add(fall, falls);
            fall = power.mul_add(size, fall);
            power = power * rho;
            turn = turn * sign;
        }
        let to_equal = half.mul_add(to_equal, falls).max(zero);
        let to_opposite = (half * to_opposite - falls).max(zero);
        let new = R::select(to_opposite.less(to_equal), -to_opposite, to_equal);
        let signed_rho = rho.copysign(gap);
        let (mut slope, mut power) = (zero, one);
        for l in 2 * (degree + 1)..=3 * degree + 1 {
            slope = (u(l) * v(l)).mul_add(power, slope);
            power = power * signed_rho;
        }
        (new, slope)
    }
}

/// The loop over blocks of pairs.
struct PolynomialLoop<'a> {
    polynomial: &'a Polynomial,
    u: &'a [f64],
    v: &'a [&'a [Block]],
    gaps: &'a mut [Block],
    dots: &'a mut [Block],
}

impl Vectorized for PolynomialLoop<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (u, v) = (self.u, self.v);
        for (block, (gap, dot)) in self.gaps.iter_mut().zip(self.dots).enumerate() {
            let (row, col) = (|l: usize| V::splat(u[l]), |l: usize| V::load(&v[l][block]));
            let (new, slope) = self.polynomial.of_pair(row, col, V::load(gap));
            new.store(gap);
            slope.store(dot);
        }
    }
}
