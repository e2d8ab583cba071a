//! Number types for per-row quantities: one generic formula is evaluated in double-double precision, or with its
//! derivative in log r.

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::isa::Real;
use crate::math::double_double::DoubleDouble;
use crate::math::tangent::Tangent;

/// A number type of the per-row recursion.
pub trait RowNumber:
    Copy
    + From<DoubleDouble>
    + From<Self::Single>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Neg<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
{
    /// The type for functions that have no double-double version.
    type Single: Single;

    /// The number without the low part of a double-double.
    fn single(self) -> Self::Single;

    /// The low part of a double-double; 0 for types without one.
    fn low(self) -> Self::Single;

    /// √self, for values ≥ 0.
    #[must_use]
    fn sqrt(self) -> Self;

    /// `e^self`.
    #[must_use]
    fn exp(self) -> Self;

    /// `e^self − 1`.
    #[must_use]
    fn exp_m1(self) -> Self;

    /// The angle whose tangent this is, for values ≥ 0.
    #[must_use]
    fn atan(self) -> Self;

    /// `√(self² + other²)`, for values ≥ 0.
    #[must_use]
    fn hypot(self, other: Self) -> Self;

    /// `2^exponent · self`.
    #[must_use]
    fn scaled(self, exponent: i32) -> Self;

    /// The larger of `self` and `bound`.
    #[must_use]
    fn max(self, bound: f64) -> Self;

    /// The smaller of `self` and `bound`.
    #[must_use]
    fn min(self, bound: f64) -> Self;

    /// A constant: its derivatives are 0.
    #[must_use]
    fn constant(value: f64) -> Self {
        DoubleDouble::from(value).into()
    }

    /// The primal value, without low part or derivatives.
    fn value(self) -> f64 {
        self.single().primal()
    }
}

/// A number whose value is one `f64`, with the functions of libm.
pub trait Single: Real {
    /// The primal value, without derivatives.
    fn primal(self) -> f64;

    /// `e^self`.
    #[must_use]
    fn exp(self) -> Self;

    /// `e^self − 1`.
    #[must_use]
    fn expm1(self) -> Self;

    /// `self^n`.
    #[must_use]
    fn power(self, n: usize) -> Self;

    /// `√(self² + other²)`.
    #[must_use]
    fn hypot(self, other: Self) -> Self;
}

impl Single for f64 {
    fn primal(self) -> f64 {
        self
    }

    fn exp(self) -> Self {
        libm::exp(self)
    }

    fn expm1(self) -> Self {
        libm::expm1(self)
    }

    fn power(self, n: usize) -> Self {
        libm::pow(self, n as f64)
    }

    fn hypot(self, other: Self) -> Self {
        libm::hypot(self, other)
    }
}

impl RowNumber for DoubleDouble {
    type Single = f64;

    fn single(self) -> f64 {
        self.hi
    }

    fn low(self) -> f64 {
        self.lo
    }

    fn sqrt(self) -> Self {
        self.sqrt()
    }

    fn exp(self) -> Self {
        self.exp()
    }

    fn exp_m1(self) -> Self {
        self.exp_m1()
    }

    fn atan(self) -> Self {
        self.atan()
    }

    fn hypot(self, other: Self) -> Self {
        self.hypot(other)
    }

    fn scaled(self, exponent: i32) -> Self {
        self.scaled(exponent)
    }

    fn max(self, bound: f64) -> Self {
        self.max(bound)
    }

    fn min(self, bound: f64) -> Self {
        self.min(bound)
    }
}

/// A number and its derivative in one direction.
pub type Jet = Tangent<f64, 1>;

impl From<DoubleDouble> for Jet {
    fn from(number: DoubleDouble) -> Self {
        Self::constant(number.hi)
    }
}

impl Single for Jet {
    fn primal(self) -> f64 {
        self.value
    }

    fn exp(self) -> Self {
        let value = libm::exp(self.value);
        self.chain(value, value)
    }

    fn expm1(self) -> Self {
        self.chain(libm::expm1(self.value), libm::exp(self.value))
    }

    fn power(self, n: usize) -> Self {
        let slope = match n {
            0 => 0.0,
            _ => n as f64 * self.value.power(n - 1),
        };
        self.chain(self.value.power(n), slope)
    }

    fn hypot(self, other: Self) -> Self {
        let value = libm::hypot(self.value, other.value);
        let whole = value.max(f64::MIN_POSITIVE);
        let slope = self.value / whole * self.slopes[0] + other.value / whole * other.slopes[0];
        Self::along(0, value, slope)
    }
}

impl RowNumber for Jet {
    type Single = Self;

    fn single(self) -> Self {
        self
    }

    fn low(self) -> Self {
        Self::constant(0.0)
    }

    fn sqrt(self) -> Self {
        Real::sqrt(self)
    }

    fn exp(self) -> Self {
        Single::exp(self)
    }

    fn exp_m1(self) -> Self {
        self.chain(libm::expm1(self.value), libm::exp(self.value))
    }

    fn atan(self) -> Self {
        let slope = 1.0 / self.value.mul_add(self.value, 1.0);
        self.chain(libm::atan(self.value), slope)
    }

    fn hypot(self, other: Self) -> Self {
        Single::hypot(self, other)
    }

    fn scaled(self, exponent: i32) -> Self {
        self * Self::constant(libm::scalbn(1.0, exponent))
    }

    fn max(self, bound: f64) -> Self {
        Real::max(self, Self::constant(bound))
    }

    fn min(self, bound: f64) -> Self {
        Real::min(self, Self::constant(bound))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn functions<S: Single>(x: S) -> [S; 5] {
        let y = S::splat(0.7) + x * x;
        [x.exp(), x.expm1(), x.power(3), x.power(0), x.hypot(y)]
    }

    #[test]
    fn slopes_are_those_of_finite_differences() {
        const H: f64 = 1e-5;
        for x in [1e-3, 0.4, 2.0] {
            let (above, below) = (functions(x + H), functions(x - H));
            for (n, jet) in functions(Jet::along(0, x, 1.0)).into_iter().enumerate() {
                let difference = (above[n] - below[n]) / (2.0 * H);
                // The error is H² times a third derivative, and round-off of 1e-15/H.
                assert!((jet.slopes[0] - difference).abs() < 1e-8, "{n} {x}");
            }
        }
        let zero = Jet::along(0, 0.0, 0.0);
        assert_eq!(Single::hypot(zero, zero).slopes, [0.0]);
    }
}
