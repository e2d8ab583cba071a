//! Numbers that carry derivatives (forward mode): a formula written for any [`Real`] is differentiated without a
//! change.

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::isa::Real;

/// A number and its derivatives in N directions.
///
/// The slope of √ at 0 is infinite. Here the root of 0 has derivative 0 in every direction in which its argument has.
#[derive(Clone, Copy, Debug)]
pub struct Tangent<R, const N: usize> {
    /// The primal value.
    pub value: R,
    /// The derivatives, one per direction.
    pub slopes: [R; N],
}

impl<R: Real, const N: usize> Tangent<R, N> {
    /// A constant: its derivatives are 0.
    #[inline(always)]
    pub fn constant(value: R) -> Self {
        let slopes = [R::splat(0.0); N];
        Self { value, slopes }
    }

    /// A number whose derivative in one direction is `slope`, and 0 in all others.
    #[inline(always)]
    pub fn along(direction: usize, value: R, slope: R) -> Self {
        let mut result = Self::constant(value);
        result.slopes[direction] = slope;
        result
    }

    /// Numbers of these values and derivatives.
    #[inline(always)]
    pub fn from_parts<const K: usize>(values: [R; K], slopes: [[R; N]; K]) -> [Self; K] {
        let mut results = [Self::constant(R::splat(0.0)); K];
        for (n, result) in results.iter_mut().enumerate() {
            (result.value, result.slopes) = (values[n], slopes[n]);
        }
        results
    }

    /// `f(self)` by the chain rule, given the value and the slope of f there.
    #[inline(always)]
    pub fn chain(self, value: R, slope: R) -> Self {
        self.zip(self, value, |own, _| slope * own)
    }

    /// A number with this value, and with derivatives that are a function of those of two numbers.
    #[inline(always)]
    fn zip(self, other: Self, value: R, slope: impl Fn(R, R) -> R) -> Self {
        // Directions are listed, because functions of arrays are not always inlined, and as many small loops as a long
        // formula has operations take the compiler minutes.
        const { assert!(N <= 3, "directions that are listed below") };
        let (mut slopes, others) = (self.slopes, other.slopes);
        if N > 0 {
            slopes[0] = slope(slopes[0], others[0]);
        }
        if N > 1 {
            slopes[1] = slope(slopes[1], others[1]);
        }
        if N > 2 {
            slopes[2] = slope(slopes[2], others[2]);
        }
        Self { value, slopes }
    }

    /// The sign, ±1, which zeros have too.
    #[inline(always)]
    fn sign(self) -> R {
        R::splat(1.0).copysign(self.value)
    }
}

impl<R: Real, const N: usize> Add for Tangent<R, N> {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, self.value + other.value, |a, b| a + b)
    }
}

impl<R: Real, const N: usize> Sub for Tangent<R, N> {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, self.value - other.value, |a, b| a - b)
    }
}

impl<R: Real, const N: usize> Mul for Tangent<R, N> {
    type Output = Self;

    #[inline(always)]
    #[allow(clippy::suspicious_arithmetic_impl, reason = "the product rule")]
    fn mul(self, other: Self) -> Self {
        // Not fused, so that the result is symmetric in the two factors.
        let slope = |a, b| a * other.value + self.value * b;
        self.zip(other, self.value * other.value, slope)
    }
}

impl<R: Real, const N: usize> Div for Tangent<R, N> {
    type Output = Self;

    #[inline(always)]
    #[allow(clippy::suspicious_arithmetic_impl, reason = "the quotient rule")]
    fn div(self, other: Self) -> Self {
        let ratio = self.value / other.value;
        self.zip(other, ratio, |a, b| (a - ratio * b) / other.value)
    }
}

impl<R: Real, const N: usize> Neg for Tangent<R, N> {
    type Output = Self;

    #[inline(always)]
    fn neg(self) -> Self {
        self.zip(self, -self.value, |slope, _| -slope)
    }
}

impl<R: Real, const N: usize> Real for Tangent<R, N> {
    const FUSED: bool = R::FUSED;

    type Mask = R::Mask;

    type Value = R::Value;

    #[inline(always)]
    fn value(self) -> R::Value {
        self.value.value()
    }

    #[inline(always)]
    fn splat(value: f64) -> Self {
        Self::constant(R::splat(value))
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        let slopes = (self * factor + term).slopes;
        let value = self.value.mul_add(factor.value, term.value);
        Self { value, slopes }
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        let root = self.value.sqrt();
        let slope = R::splat(0.5) / root.max(R::splat(f64::MIN_POSITIVE));
        self.chain(root, slope)
    }

    #[inline(always)]
    fn abs(self) -> Self {
        self.chain(self.value.abs(), self.sign())
    }

    #[inline(always)]
    fn copysign(self, sign: Self) -> Self {
        self.chain(self.value.copysign(sign.value), self.sign() * sign.sign())
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Self::select(other.less(self), self, other)
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Self::select(self.less(other), self, other)
    }

    #[inline(always)]
    fn round(self) -> Self {
        Self::constant(self.value.round())
    }

    #[inline(always)]
    fn power_of_two(self) -> Self {
        Self::constant(self.value.power_of_two())
    }

    #[inline(always)]
    fn less(self, other: Self) -> Self::Mask {
        self.value.less(other.value)
    }

    #[inline(always)]
    fn is_negative(self) -> Self::Mask {
        self.value.is_negative()
    }

    #[inline(always)]
    fn any(mask: Self::Mask) -> bool {
        R::any(mask)
    }

    #[inline(always)]
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
        yes.zip(no, R::select(mask, yes.value, no.value), |yes, no| {
            R::select(mask, yes, no)
        })
    }

    #[inline(always)]
    fn each(self, f: impl Fn(f64) -> f64) -> Self {
        Self::constant(self.value.each(f))
    }

    #[inline(always)]
    fn with_known_slopes<const K: usize>(value: R::Value, slopes: [(R::Value, Self); K]) -> Self {
        let mut result = Self::constant(R::with_known_slopes(value, []));
        for (slope, variable) in slopes {
            let part = variable.chain(result.value, R::with_known_slopes(slope, []));
            result = result.zip(part, result.value, |a, b| a + b);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::special::{angle_and_lift, angle_of, expm1, tanh};

    /// A formula with every operation that carries a derivative.
    fn formula<R: Real>(x: R, y: R) -> [R; 6] {
        let (one, two) = (R::splat(1.0), R::splat(2.0));
        let root = x.mul_add(y, two).sqrt();
        [
            (x - y) / (root + one) * -x,
            root.abs().copysign(x - y).max(x).min(two * y),
            R::select(x.less(y), x * y, expm1(x)),
            angle_and_lift(x).0 + tanh(y),
            angle_and_lift(x).1,
            angle_of(x, (one - x * x).sqrt()),
        ]
    }

    #[test]
    fn slopes_are_those_of_finite_differences() {
        const H: f64 = 1e-5;
        for (x, y) in [(0.3, 0.7), (0.7, 0.3), (0.01, 0.9), (0.6, 0.59)] {
            let exact = formula(
                Tangent::<f64, 2>::along(0, x, 1.0),
                Tangent::along(1, y, 1.0),
            );
            let differences = [
                (formula(x + H, y), formula(x - H, y)),
                (formula(x, y + H), formula(x, y - H)),
            ];
            for (direction, (above, below)) in differences.into_iter().enumerate() {
                for (n, tangent) in exact.iter().enumerate() {
                    let difference = (above[n] - below[n]) / (2.0 * H);
                    let slope = tangent.slopes[direction];
                    // The error is H² times third derivatives, up to x^{−5/2} for an angle, and round-off of 1e-16/H.
                    assert!((slope - difference).abs() < 1e-5, "{n} {x} {y}");
                }
            }
        }
    }

    #[test]
    fn roots_of_a_zero_without_slopes_have_no_slopes() {
        let zero = Tangent::<f64, 1>::along(0, 0.0, 0.0);
        assert_eq!(zero.sqrt().slopes, [0.0]);
        assert_eq!(angle_and_lift(zero).0.slopes, [0.0]);
    }
}
