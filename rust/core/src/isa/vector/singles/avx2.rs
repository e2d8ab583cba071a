//! Sixteen `f32` in two AVX2 registers.

#![allow(unsafe_code, reason = "intrinsics")]

use std::arch::x86_64 as x86;

use super::super::intrinsics::{avx2, halves};
use super::super::{Real, WIDTH, operators, without_slopes};
use super::{BlockPair, Singles, one_by_one};

/// Sixteen `f32`. Only the vectors of AVX2 give access to this type, so its values exist only where the processor has it.
#[derive(Clone, Copy, Debug)]
pub struct Avx2Singles(pub(in crate::isa::vector) [x86::__m256; 2]);

impl Avx2Singles {
    #[inline(always)]
    fn flip_sign(self) -> Self {
        let x = self;
        halves!(|x| x86::_mm256_xor_ps(x, x86::_mm256_set1_ps(-0.0)))
    }
}

operators! { Avx2Singles:
    Add add |x, y| halves!(|x, y| x86::_mm256_add_ps(x, y));
    Sub sub |x, y| halves!(|x, y| x86::_mm256_sub_ps(x, y));
    Mul mul |x, y| halves!(|x, y| x86::_mm256_mul_ps(x, y));
    Div div |x, y| halves!(|x, y| x86::_mm256_div_ps(x, y));
}

impl Real for Avx2Singles {
    without_slopes!();
    one_by_one!();

    const FUSED: bool = true;
    const SINGLE: bool = true;

    /// Lanes whose bits are all 1 or all 0. Only the sign bits count.
    type Mask = Self;

    #[inline(always)]
    fn splat(value: f64) -> Self {
        Self([avx2!(x86::_mm256_set1_ps(value as f32)); 2])
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        let x = self;
        halves!(|x, factor, term| x86::_mm256_fmadd_ps(x, factor, term))
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        let x = self;
        halves!(|x| x86::_mm256_sqrt_ps(x))
    }

    #[inline(always)]
    fn abs(self) -> Self {
        let x = self;
        halves!(|x| x86::_mm256_andnot_ps(x86::_mm256_set1_ps(-0.0), x))
    }

    #[inline(always)]
    fn copysign(self, sign: Self) -> Self {
        let x = self;
        halves!(|x, sign| {
            let zero = x86::_mm256_set1_ps(-0.0);
            x86::_mm256_or_ps(
                x86::_mm256_andnot_ps(zero, x),
                x86::_mm256_and_ps(zero, sign),
            )
        })
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        let x = self;
        halves!(|x, other| x86::_mm256_max_ps(x, other))
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        let x = self;
        halves!(|x, other| x86::_mm256_min_ps(x, other))
    }

    #[inline(always)]
    fn less(self, other: Self) -> Self::Mask {
        let x = self;
        halves!(|x, other| x86::_mm256_cmp_ps::<{ x86::_CMP_LT_OQ }>(x, other))
    }

    #[inline(always)]
    fn is_negative(self) -> Self::Mask {
        // A blend reads only the sign bit.
        self
    }

    #[inline(always)]
    fn any(mask: Self::Mask) -> bool {
        avx2!((x86::_mm256_movemask_ps(mask.0[0]) | x86::_mm256_movemask_ps(mask.0[1])) != 0)
    }

    #[inline(always)]
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
        halves!(|mask, yes, no| x86::_mm256_blendv_ps(no, yes, mask))
    }
}

impl Singles for Avx2Singles {
    #[inline(always)]
    fn load(values: &BlockPair) -> Self {
        let start = values.0.as_ptr();
        Self([
            avx2!(x86::_mm256_loadu_ps(start)),
            avx2!(x86::_mm256_loadu_ps(start.add(WIDTH))),
        ])
    }

    #[inline(always)]
    fn store(self, values: &mut BlockPair) {
        let (start, [front, end]) = (values.0.as_mut_ptr(), self.0);
        avx2!({
            x86::_mm256_storeu_ps(start, front);
            x86::_mm256_storeu_ps(start.add(WIDTH), end);
        });
    }

    #[inline(always)]
    fn twice(block: &[f32; WIDTH]) -> Self {
        Self([avx2!(x86::_mm256_loadu_ps(block.as_ptr())); 2])
    }
}
