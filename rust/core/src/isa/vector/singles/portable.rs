//! Sixteen `f32` in an array. The compiler puts them into the registers of the target's baseline.

use super::super::{Real, WIDTH, operators, without_slopes};
use super::{BlockPair, Singles, one_by_one};
use crate::isa::Lanes;

/// Sixteen `f32`.
#[derive(Clone, Copy, Debug)]
pub struct PortableSingles(BlockPair);

impl PortableSingles {
    #[inline(always)]
    fn map(self, f: impl Fn(f32) -> f32) -> Self {
        let mut result = self;
        for value in &mut result.0.0 {
            *value = f(*value);
        }
        result
    }

    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        let mut result = self;
        for (value, other) in result.0.0.iter_mut().zip(other.0.0) {
            *value = f(*value, other);
        }
        result
    }

    #[inline(always)]
    fn flip_sign(self) -> Self {
        self.map(|x| -x)
    }
}

operators! { PortableSingles:
    Add add |x, y| x.zip(y, |x, y| x + y);
    Sub sub |x, y| x.zip(y, |x, y| x - y);
    Mul mul |x, y| x.zip(y, |x, y| x * y);
    Div div |x, y| x.zip(y, |x, y| x / y);
}

impl Real for PortableSingles {
    without_slopes!();
    one_by_one!();

    const FUSED: bool = false;
    const SINGLE: bool = true;

    type Mask = [bool; 2 * WIDTH];

    #[inline(always)]
    fn splat(value: f64) -> Self {
        Self(Lanes([value as f32; 2 * WIDTH]))
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        self * factor + term
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        self.map(f32::sqrt)
    }

    #[inline(always)]
    fn abs(self) -> Self {
        self.map(f32::abs)
    }

    #[inline(always)]
    fn copysign(self, sign: Self) -> Self {
        self.zip(sign, f32::copysign)
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, |x, y| if x > y { x } else { y })
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.zip(other, |x, y| if x < y { x } else { y })
    }

    #[inline(always)]
    fn less(self, other: Self) -> Self::Mask {
        let mut mask = [false; 2 * WIDTH];
        for (mask, (x, y)) in mask.iter_mut().zip(self.0.0.into_iter().zip(other.0.0)) {
            *mask = x < y;
        }
        mask
    }

    #[inline(always)]
    fn is_negative(self) -> Self::Mask {
        self.0.0.map(f32::is_sign_negative)
    }

    #[inline(always)]
    fn any(mask: Self::Mask) -> bool {
        mask.into_iter().any(|lane| lane)
    }

    #[inline(always)]
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
        let mut result = no;
        for (result, (mask, yes)) in result.0.0.iter_mut().zip(mask.into_iter().zip(yes.0.0)) {
            *result = if mask { yes } else { *result };
        }
        result
    }
}

impl Singles for PortableSingles {
    #[inline(always)]
    fn load(values: &BlockPair) -> Self {
        Self(*values)
    }

    #[inline(always)]
    fn store(self, values: &mut BlockPair) {
        *values = self.0;
    }

    #[inline(always)]
    fn twice(block: &[f32; WIDTH]) -> Self {
        let mut values = Lanes([0.0; 2 * WIDTH]);
        for half in values.0.as_chunks_mut::<WIDTH>().0 {
            *half = *block;
        }
        Self(values)
    }
}
