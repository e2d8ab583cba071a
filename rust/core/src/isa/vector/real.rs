//! Numbers in which formulas are written once: `f64`, several of them side by side, or numbers with derivatives.

use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A number, or several side by side.
pub trait Real:
    Copy
    + Debug
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// The result of a comparison: true or false in each lane.
    type Mask: Copy;

    /// True if [`Real::mul_add`] rounds once.
    const FUSED: bool;

    /// True for numbers in `f32`.
    const SINGLE: bool = false;

    /// `value` in every lane.
    fn splat(value: f64) -> Self;

    /// `self · factor + term`, rounded once if [`Real::FUSED`].
    fn mul_add(self, factor: Self, term: Self) -> Self;

    /// √self.
    fn sqrt(self) -> Self;

    /// 1/√self for normal positive numbers, to about ε.
    #[inline(always)]
    fn inverse_sqrt(self) -> Self {
        Self::splat(1.0) / self.sqrt()
    }

    /// |self|.
    fn abs(self) -> Self;

    /// `self` with the sign of `sign`, zeros included.
    fn copysign(self, sign: Self) -> Self;

    /// The larger of the two.
    fn max(self, other: Self) -> Self;

    /// The smaller of the two.
    fn min(self, other: Self) -> Self;

    /// The nearest integer, ties to even.
    fn round(self) -> Self;

    /// `2^self` for integers between −1022 and 1023.
    fn power_of_two(self) -> Self;

    /// `self < other`.
    fn less(self, other: Self) -> Self::Mask;

    /// True where the sign is negative, for zeros too.
    fn is_negative(self) -> Self::Mask;

    /// Returns true if the mask holds in any lane.
    fn any(mask: Self::Mask) -> bool;

    /// `yes` where the mask holds, otherwise `no`. Both are computed.
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;

    /// Applies `f` to each lane, one by one. For rare cases: it is slow, and numbers with derivatives treat the result as
    /// a constant.
    fn each(self, f: impl Fn(f64) -> f64) -> Self;

    /// The type of the primal value: this type itself, except for numbers with derivatives.
    type Value: Real<Value = Self::Value>;

    /// The primal value, without derivatives.
    fn value(self) -> Self::Value;

    /// A function of K variables, given its value and a (slope, variable) pair for each. Numbers with derivatives take
    /// them from these slopes, rather than from the approximation that computed the value.
    fn with_known_slopes<const K: usize>(
        value: Self::Value,
        slopes: [(Self::Value, Self); K],
    ) -> Self;
}

/// The items of [`Real`] that are the same for all numbers without derivatives.
macro_rules! without_slopes {
    () => {
        type Value = Self;

        #[inline(always)]
        fn value(self) -> Self {
            self
        }

        #[inline(always)]
        fn with_known_slopes<const K: usize>(value: Self, _slopes: [(Self, Self); K]) -> Self {
            value
        }
    };
}
pub(super) use without_slopes;

/// The sum of this and an integer below 2⁵¹ holds the integer in its low bits.
pub(super) const INTEGER_IN_LOW_BITS: f64 = 1.5 * (1_u64 << 52) as f64;

/// The bias of a floating-point exponent.
pub(super) const EXPONENT_BIAS: i64 = 1023;

/// The position of the exponent's lowest bit.
pub(super) const EXPONENT_SHIFT: u32 = 52;

impl Real for f64 {
    without_slopes!();

    const FUSED: bool = false;

    type Mask = bool;

    #[inline(always)]
    fn splat(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        self * factor + term
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        self.sqrt()
    }

    #[inline(always)]
    fn abs(self) -> Self {
        self.abs()
    }

    #[inline(always)]
    fn copysign(self, sign: Self) -> Self {
        self.copysign(sign)
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self > other { self } else { other }
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        if self < other { self } else { other }
    }

    #[inline(always)]
    fn round(self) -> Self {
        self.round_ties_even()
    }

    #[inline(always)]
    fn power_of_two(self) -> Self {
        let bits = (self + INTEGER_IN_LOW_BITS).to_bits();
        Self::from_bits(bits.wrapping_add(EXPONENT_BIAS as u64) << EXPONENT_SHIFT)
    }

    #[inline(always)]
    fn less(self, other: Self) -> bool {
        self < other
    }

    #[inline(always)]
    fn is_negative(self) -> bool {
        self.is_sign_negative()
    }

    #[inline(always)]
    fn any(mask: bool) -> bool {
        mask
    }

    #[inline(always)]
    fn select(mask: bool, yes: Self, no: Self) -> Self {
        if mask { yes } else { no }
    }

    #[inline(always)]
    fn each(self, f: impl Fn(f64) -> f64) -> Self {
        f(self)
    }
}
