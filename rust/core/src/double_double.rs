//! Sums of two `f64`, some 32 digits: for the numbers that every layer multiplies anew.
//!
//! Thirty layers round the scale of a kernel thirty times, each time alike: 27 ε. It depends on one input alone, so
//! that twice the digits cost next to nothing. Dekker (1971); Hida, Li, Bailey (2001).

use std::ops::{Add, Div, Mul};

/// `value + rest`, with `|rest| ≤ ulp(value)/2`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DoubleDouble {
    /// The sum, rounded.
    pub value: f64,
    rest: f64,
}

impl DoubleDouble {
    /// `a + b`, exactly, for |a| ≥ |b|.
    fn fast_sum(a: f64, b: f64) -> Self {
        let value = a + b;
        Self {
            value,
            rest: b - (value - a),
        }
    }

    /// √self, for values ≥ 0.
    #[must_use]
    pub fn sqrt(self) -> Self {
        let root = self.value.sqrt();
        if root == 0.0 || !root.is_finite() {
            return root.into();
        }
        // One step of Newton's: (self − root²)/(2 root) is what is missing.
        let missing = libm::fma(-root, root, self.value) + self.rest;
        Self::fast_sum(root, missing / (2.0 * root))
    }

    /// `e^self`, to 1 ulp of `f64`, however large self.
    #[must_use]
    pub fn exp(self) -> Self {
        let value = libm::exp(self.value);
        if value == 0.0 || !value.is_finite() {
            return value.into();
        }
        Self::fast_sum(value, value * self.rest)
    }

    /// `2^exponent · self`.
    #[must_use]
    pub fn scaled(self, exponent: i32) -> Self {
        Self {
            value: libm::scalbn(self.value, exponent),
            rest: libm::scalbn(self.rest, exponent),
        }
    }

    /// `√(self² + other²)`, for values ≥ 0, without overflow on the way.
    #[must_use]
    pub fn hypot(self, other: Self) -> Self {
        let largest = self.value.max(other.value);
        if largest == 0.0 || !largest.is_finite() {
            return largest.into();
        }
        let exponent = libm::frexp(largest).1;
        let (a, b) = (self.scaled(-exponent), other.scaled(-exponent));
        (a * a + b * b).sqrt().scaled(exponent)
    }
}

impl From<f64> for DoubleDouble {
    fn from(value: f64) -> Self {
        Self { value, rest: 0.0 }
    }
}

impl Add for DoubleDouble {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let value = self.value + other.value;
        let part = value - self.value;
        let rest = (self.value - (value - part)) + (other.value - part);
        Self::fast_sum(value, rest + self.rest + other.rest)
    }
}

impl Mul for DoubleDouble {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        let value = self.value * other.value;
        if value == 0.0 || !value.is_finite() {
            return value.into();
        }
        let rest = libm::fma(self.value, other.value, -value);
        Self::fast_sum(
            value,
            rest + (self.value * other.rest + self.rest * other.value),
        )
    }
}

impl Div<f64> for DoubleDouble {
    type Output = Self;

    fn div(self, divisor: f64) -> Self {
        let value = self.value / divisor;
        if value == 0.0 || !value.is_finite() {
            return value.into();
        }
        let rest = libm::fma(-value, divisor, self.value) + self.rest;
        Self::fast_sum(value, rest / divisor)
    }
}

impl Div for DoubleDouble {
    type Output = Self;

    fn div(self, divisor: Self) -> Self {
        let value = self.value / divisor.value;
        if value == 0.0 || !value.is_finite() {
            return value.into();
        }
        // self − value · divisor is what is missing.
        let product = divisor * Self::from(-value);
        Self::fast_sum(value, (self + product).value / divisor.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Within 2⁻¹⁰⁰ of each other.
    fn close(a: DoubleDouble, b: DoubleDouble) -> bool {
        let difference = (a.value - b.value) + (a.rest - b.rest);
        difference.abs() <= 2.0_f64.powi(-100) * a.value.abs()
    }

    #[test]
    fn laws_hold_beyond_the_digits_of_f64() {
        for x in [1.0 / 3.0, 2.0, 0.1, 7e99] {
            let (x, third) = (DoubleDouble::from(x), DoubleDouble::from(1.0) / 3.0);
            let root = x.sqrt();
            assert!(close(root * root, x));
            assert!(close(x * third + x * third + x * third, x));
            let (three, four) = (x * 3.0.into(), x * 4.0.into());
            assert!(close(three.hypot(four), x * 5.0.into()));
            assert!(close(x.scaled(40) / 2.0_f64.powi(40), x));
            assert!(close(x / root, root) && close(third / third, 1.0.into()));
            assert!(close((x * third) / x, third));
        }
    }

    #[test]
    fn zeros_and_the_ends_of_the_range_are_no_trouble() {
        let (zero, large, tiny) = (0.0.into(), 1e300.into(), 1e-300.into());
        assert_eq!(DoubleDouble::hypot(zero, zero), zero);
        assert_eq!(DoubleDouble::sqrt(zero), zero);
        assert_eq!(DoubleDouble::hypot(large, tiny), large);
        assert_eq!(DoubleDouble::hypot(tiny, zero), tiny);
        assert_eq!((large * large).value, f64::INFINITY);
        assert!(!(large * large).sqrt().value.is_nan());
    }
}
