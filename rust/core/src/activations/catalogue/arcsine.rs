//! Arcsine kernels, shared by erf and GELU, with differences of angles to all digits.

use std::f64::consts::SQRT_2;

use crate::isa::Real;
use crate::math::number::{RowNumber, Single};
use crate::math::special::{angle_between, angle_of, polynomial, small_angle_of};

/// The number of numbers of an [`Arcsine`].
pub(super) const NUMBERS: usize = 8;

/// A variable of root z = √w, described by the angle α whose sine is w/(1+w).
///
/// With `p = √(w/(1+w))` and `m = √(1/(1+w))`, `sin α = p²`. The angle of two variables with correlation ρ has the sine
/// `p_u p_v ρ`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arcsine<R> {
    pub z: R,
    /// The low part of z, lost to rounding.
    low: R,
    pub p: R,
    pub m: R,
    /// Sines and cosines of α/2 and of (π/2 − α)/2.
    sine: R,
    cosine: R,
    co_sine: R,
    co_cosine: R,
}

/// The range of z. Below it, sin α and α are w to all digits; above it, α is π/2.
pub(super) const SMALLEST: f64 = 1e-100;
const LARGEST: f64 = 1e70;

/// The smallest cosine that is divided by: the root of the smallest normal number.
pub(super) const SMALLEST_COSINE: f64 = 1e-154;

/// The angle α of a variable of root z.
pub(super) fn angle<N: RowNumber>(z: N) -> N {
    let z = z.max(SMALLEST).min(LARGEST);
    let w = z * z;
    (w / (w.scaled(1) + N::constant(1.0)).sqrt()).atan()
}

impl<S: Single> Arcsine<S> {
    /// The variable of this root.
    pub fn new<N: RowNumber<Single = S>>(root: N) -> Self {
        let (one, half) = (S::splat(1.0), S::splat(0.5));
        let root = root.max(SMALLEST);
        let z = root.single();
        let m = one / one.hypot(z);
        let p = z * m;
        let (sine, cosine) = (p * p, m * (m * one.hypot(S::splat(SQRT_2) * z)));
        let half_cosine = (half * (one + cosine)).sqrt();
        let half_co_cosine = (half * (one + sine)).sqrt();
        Self {
            z,
            low: root.low(),
            p,
            m,
            sine: half * sine / half_cosine,
            cosine: half_cosine,
            co_sine: half * cosine / half_co_cosine,
            co_cosine: half_co_cosine,
        }
    }
}

impl<R: Copy> Arcsine<R> {
    /// The numbers in order, as [`Arcsine::from_numbers`] takes them.
    pub fn numbers(&self) -> [R; NUMBERS] {
        [
            self.z,
            self.low,
            self.p,
            self.m,
            self.sine,
            self.cosine,
            self.co_sine,
            self.co_cosine,
        ]
    }

    /// Names the numbers that [`Arcsine::numbers`] returned.
    #[inline(always)]
    pub fn from_numbers([z, low, p, m, sine, cosine, co_sine, co_cosine]: [R; NUMBERS]) -> Self {
        Self {
            z,
            low,
            p,
            m,
            sine,
            cosine,
            co_sine,
            co_cosine,
        }
    }
}

impl<R: Real> Arcsine<R> {
    /// The difference of the two roots.
    #[inline(always)]
    pub fn apart(&self, other: &Self) -> R {
        (self.z - other.z) + (self.low - other.low)
    }
}

/// The angles of two variables with a given `1 − |ρ|`, and their differences.
///
/// There are three of them, in falling order: the mean angle `A = (α_u + α_v)/2`; the angle α0 that the variables would
/// have if they were aligned (ρ = 1); and their own, |α|.
#[derive(Clone, Copy, Debug)]
pub(super) struct ArcsinePair<R> {
    /// α0, accurate however small, and its cosine.
    pub aligned: R,
    pub cosine: R,
    /// cos α.
    pub turned_cosine: R,
    /// `α0 − |α|`, with its sine and cosine.
    pub closing: R,
    pub closing_sine: R,
    pub closing_cosine: R,
    /// `A − α0` and its sine, and the sine of `A + α0`.
    pub excess: R,
    pub sine_of_excess: R,
    pub sine_of_sum: R,
    /// `(α_u − α_v)/2`.
    pub half_difference: R,
}

/// Coefficients of `asin(x)/x − 1`, in powers of x².
const LIFTS: [f64; 14] = {
    let mut coefficients = [0.0; 14];
    let mut even = 1.0; // (2n)!/(4ⁿ n!²)
    let mut n = 1;
    while n <= coefficients.len() {
        even *= (2 * n - 1) as f64 / (2 * n) as f64;
        coefficients[n - 1] = even / (2 * n + 1) as f64;
        n += 1;
    }
    coefficients
};

/// `asin(x)/x − 1` for x² ≤ 0.081, from x².
#[inline(always)]
pub(super) fn arcsine_lift<R: Real>(square: R) -> R {
    square * polynomial(&LIFTS, square)
}

/// cos² α0, as a sum of positive terms that is symmetric in u and v.
#[inline(always)]
fn square_of_cosine<R: Real>(u: Arcsine<R>, v: Arcsine<R>) -> R {
    let (both, first, second) = (u.m * v.m, u.p * v.m, v.p * u.m);
    both * both + (first * first + second * second)
}

/// cos² α − cos² α0, given sin α0 and `1 − |ρ|`.
#[inline(always)]
fn square_of_opening<R: Real>(sines: R, size: R) -> R {
    sines * sines * (size * (R::splat(2.0) - size))
}

impl<R: Real> ArcsinePair<R> {
    /// The angles of u and v, with `size = 1 − |ρ|`.
    #[inline(always)]
    pub fn new(u: Arcsine<R>, v: Arcsine<R>, size: R) -> Self {
        let (one, half) = (R::splat(1.0), R::splat(0.5));
        let (sine, both) = (u.p * v.p, u.m * v.m);
        let square = square_of_cosine(u, v);
        let turn = size * (R::splat(2.0) - size); // 1 − ρ²
        let opening = square_of_opening(sine, size);
        let tiny = R::splat(f64::MIN_POSITIVE);
        let cosine = square.max(tiny).sqrt();
        let turned_cosine = (square + opening).max(tiny).sqrt();

        let rho = one - size;
        let turned_sine = sine * rho;
        // sin(α0 − α): the difference of the squares of the sines, over the sum of the products. Numerator and
        // denominator are free of the factor sin α0, which may be tiny.
        let closing_sine = sine * turn / (turned_cosine + rho * cosine);
        let closing_cosine = cosine * turned_cosine + sine * turned_sine;

        // sin α_u − sin α_v = 2 cos A sin Δ, and sin²A − sin²α0 = sin²Δ.
        let mean_sine = u.sine * v.cosine + u.cosine * v.sine;
        let mean_cosine = u.co_sine * v.co_cosine + u.co_cosine * v.co_sine;
        let difference = (u.apart(&v) * both) * ((u.z + v.z) * both);
        let half_sine = half * difference / mean_cosine;
        let half_cosine = u.cosine * v.cosine + u.sine * v.sine;
        let sine_of_sum = mean_sine * cosine + sine * mean_cosine;
        let sine_of_excess = half_sine * half_sine / sine_of_sum;
        let excess = small_angle_of(sine_of_excess, mean_cosine * cosine + mean_sine * sine);
        Self {
            aligned: angle_of(sine, cosine),
            cosine,
            turned_cosine,
            closing: angle_of(closing_sine, closing_cosine),
            closing_sine,
            closing_cosine,
            excess,
            sine_of_excess,
            sine_of_sum,
            half_difference: small_angle_of(half_sine, half_cosine),
        }
    }
}

/// The angle |α| of two variables with a given `1 − |ρ|`, by plain formulas.
#[derive(Clone, Copy, Debug)]
pub(super) struct PairAngle<R> {
    /// `sin α0 = p_u p_v`, and `sin |α| = p_u p_v |ρ|`.
    pub sines: R,
    pub sine: R,
    /// `cos α`, and |α|.
    pub cosine: R,
    pub angle: R,
}

impl<R: Real> PairAngle<R> {
    /// The angle of u and v, with `size = 1 − |ρ|`.
    #[inline(always)]
    pub fn new(u: Arcsine<R>, v: Arcsine<R>, size: R) -> Self {
        let sines = u.p * v.p;
        let sine = sines * (R::splat(1.0) - size);
        let cosine = (square_of_cosine(u, v) + square_of_opening(sines, size)).sqrt();
        Self {
            sines,
            sine,
            cosine,
            angle: angle_between(sine, cosine),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::double_double::DoubleDouble;

    #[test]
    fn differences_are_those_of_the_angles() {
        for (a, b) in [
            (0.3, 0.3),
            (0.3, 0.4),
            (2.0, 1e-3),
            (50.0, 1.0),
            (1e3, 1e3),
            (1e-8, 1e-9),
        ] {
            let variable = |z: f64| Arcsine::new(DoubleDouble::from(z));
            for size in [0.0, 1e-9, 0.1, 0.9, 1.0] {
                let (u, v) = (variable(a), variable(b));
                let pair = ArcsinePair::new(u, v, size);
                let aligned = libm::asin(u.p * v.p);
                let turned = libm::asin(u.p * v.p * (1.0 - size));
                let tolerance = 1e-9; // of an arcsine near 1
                assert!(
                    (pair.closing - (aligned - turned)).abs() <= tolerance,
                    "{a} {b} {size}"
                );
                let [first, second] = [a, b].map(|z| angle(DoubleDouble::from(z)).hi);
                let mean = 0.5 * (first + second);
                assert!(
                    (pair.excess - (mean - aligned)).abs() <= tolerance,
                    "{a} {b}"
                );
                assert!((pair.half_difference - 0.5 * (first - second)).abs() <= 1e-15);
                assert!((pair.turned_cosine - libm::cos(turned)).abs() <= tolerance);
            }
        }
    }
}
