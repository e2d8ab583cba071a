//! Eight values in an array. The compiler puts them into the registers of the target's baseline.

use super::singles::portable::PortableSingles;
use super::{
    EachIndex, LUT_LEN, Lut, Real, Vector, WIDTH, each_index, in_one_part, operators,
    without_slopes,
};

/// Eight `f64`.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Portable([f64; WIDTH]);

impl Portable {
    #[inline(always)]
    fn map(self, f: impl Fn(f64) -> f64) -> Self {
        let mut result = self;
        for value in &mut result.0 {
            *value = f(*value);
        }
        result
    }

    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        let mut result = self;
        for (value, other) in result.0.iter_mut().zip(other.0) {
            *value = f(*value, other);
        }
        result
    }

    #[inline(always)]
    fn flip_sign(self) -> Self {
        self.map(|x| -x)
    }
}

operators! { Portable:
    Add add |x, y| x.zip(y, |x, y| x + y);
    Sub sub |x, y| x.zip(y, |x, y| x - y);
    Mul mul |x, y| x.zip(y, |x, y| x * y);
    Div div |x, y| x.zip(y, |x, y| x / y);
}

impl Real for Portable {
    without_slopes!();

    const FUSED: bool = false;

    type Mask = [bool; WIDTH];

    #[inline(always)]
    fn splat(value: f64) -> Self {
        Self([value; WIDTH])
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        self * factor + term
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        self.map(f64::sqrt)
    }

    #[inline(always)]
    fn abs(self) -> Self {
        self.map(f64::abs)
    }

    #[inline(always)]
    fn copysign(self, sign: Self) -> Self {
        self.zip(sign, f64::copysign)
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, Real::max)
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.zip(other, Real::min)
    }

    #[inline(always)]
    fn round(self) -> Self {
        // Not round_ties_even, which is a call where there is no instruction for it. This is exact below 2⁵¹, and no
        // larger values occur.
        self.map(|x| ((x.abs() + ROUNDER) - ROUNDER).copysign(x))
    }

    #[inline(always)]
    fn power_of_two(self) -> Self {
        self.map(Real::power_of_two)
    }

    #[inline(always)]
    fn less(self, other: Self) -> Self::Mask {
        let mut mask = [false; WIDTH];
        for (mask, (x, y)) in mask.iter_mut().zip(self.0.into_iter().zip(other.0)) {
            *mask = x < y;
        }
        mask
    }

    #[inline(always)]
    fn is_negative(self) -> Self::Mask {
        self.0.map(f64::is_sign_negative)
    }

    #[inline(always)]
    fn any(mask: Self::Mask) -> bool {
        mask.into_iter().any(|lane| lane)
    }

    #[inline(always)]
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
        let mut result = no;
        for (result, (mask, yes)) in result.0.iter_mut().zip(mask.into_iter().zip(yes.0)) {
            *result = if mask { yes } else { *result };
        }
        result
    }

    #[inline(always)]
    fn each(self, f: impl Fn(f64) -> f64) -> Self {
        self.map(f)
    }
}

/// Adding this to a value below 2⁵¹, and subtracting it again, rounds the value to an integer.
const ROUNDER: f64 = (1_u64 << 52) as f64;

in_one_part!(Portable);

impl Vector for Portable {
    type Part = f64;

    type Singles = PortableSingles;

    type Indices = EachIndex;

    #[inline(always)]
    fn indices(self) -> EachIndex {
        each_index(self)
    }

    #[inline(always)]
    fn lookup(lut: &Lut, indices: EachIndex) -> Self {
        let mut values = [0.0; WIDTH];
        for (value, index) in values.iter_mut().zip(indices) {
            *value = lut[usize::from(index) % LUT_LEN];
        }
        Self(values)
    }

    #[inline(always)]
    fn load(values: &[f64; WIDTH]) -> Self {
        Self(*values)
    }

    #[inline(always)]
    fn store(self, values: &mut [f64; WIDTH]) {
        *values = self.0;
    }
}
