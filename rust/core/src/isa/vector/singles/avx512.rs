//! Sixteen `f32` in one AVX-512 register.

#![allow(unsafe_code, reason = "intrinsics")]

use std::arch::x86_64 as x86;

use super::super::intrinsics::avx512;
use super::super::{Real, WIDTH, operators, without_slopes};
use super::{BlockPair, Singles, one_by_one};

/// Sixteen `f32`. Only the vectors of AVX-512 give access to this type, so its values exist only where the processor has
/// it.
#[derive(Clone, Copy, Debug)]
pub struct Avx512Singles(pub(in crate::isa::vector) x86::__m512);

impl Avx512Singles {
    #[inline(always)]
    fn flip_sign(self) -> Self {
        Self(avx512!(x86::_mm512_xor_ps(
            self.0,
            x86::_mm512_set1_ps(-0.0)
        )))
    }
}

operators! { Avx512Singles:
    Add add |x, y| Self(avx512!(x86::_mm512_add_ps(x.0, y.0)));
    Sub sub |x, y| Self(avx512!(x86::_mm512_sub_ps(x.0, y.0)));
    Mul mul |x, y| Self(avx512!(x86::_mm512_mul_ps(x.0, y.0)));
    Div div |x, y| Self(avx512!(x86::_mm512_div_ps(x.0, y.0)));
}

impl Real for Avx512Singles {
    without_slopes!();
    one_by_one!();

    const FUSED: bool = true;
    const SINGLE: bool = true;

    type Mask = x86::__mmask16;

    #[inline(always)]
    fn splat(value: f64) -> Self {
        Self(avx512!(x86::_mm512_set1_ps(value as f32)))
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        Self(avx512!(x86::_mm512_fmadd_ps(self.0, factor.0, term.0)))
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        Self(avx512!(x86::_mm512_sqrt_ps(self.0)))
    }

    /// An estimate of 14 bits, and two terms of the binomial series for the rest.
    #[inline(always)]
    fn inverse_sqrt(self) -> Self {
        Self(avx512!({
            let constant = x86::_mm512_set1_ps;
            let estimate = x86::_mm512_rsqrt14_ps(self.0);
            // rest = 1 − self · estimate², and 1/√(1 − rest) = 1 + rest/2 + …
            let product = x86::_mm512_mul_ps(self.0, estimate);
            let rest = x86::_mm512_fnmadd_ps(product, estimate, constant(1.0));
            let change = x86::_mm512_mul_ps(estimate, constant(0.5));
            x86::_mm512_fmadd_ps(change, rest, estimate)
        }))
    }

    #[inline(always)]
    fn abs(self) -> Self {
        Self(avx512!(x86::_mm512_abs_ps(self.0)))
    }

    #[inline(always)]
    fn copysign(self, sign: Self) -> Self {
        Self(avx512!({
            let zero = x86::_mm512_set1_ps(-0.0);
            x86::_mm512_or_ps(
                x86::_mm512_andnot_ps(zero, self.0),
                x86::_mm512_and_ps(zero, sign.0),
            )
        }))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Self(avx512!(x86::_mm512_max_ps(self.0, other.0)))
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Self(avx512!(x86::_mm512_min_ps(self.0, other.0)))
    }

    #[inline(always)]
    fn less(self, other: Self) -> Self::Mask {
        avx512!(x86::_mm512_cmp_ps_mask::<{ x86::_CMP_LT_OQ }>(
            self.0, other.0
        ))
    }

    #[inline(always)]
    fn is_negative(self) -> Self::Mask {
        avx512!(x86::_mm512_movepi32_mask(x86::_mm512_castps_si512(self.0)))
    }

    #[inline(always)]
    fn any(mask: Self::Mask) -> bool {
        mask != 0
    }

    #[inline(always)]
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
        Self(avx512!(x86::_mm512_mask_blend_ps(mask, no.0, yes.0)))
    }
}

impl Singles for Avx512Singles {
    #[inline(always)]
    fn load(values: &BlockPair) -> Self {
        Self(avx512!(x86::_mm512_loadu_ps(values.0.as_ptr())))
    }

    #[inline(always)]
    fn store(self, values: &mut BlockPair) {
        avx512!(x86::_mm512_storeu_ps(values.0.as_mut_ptr(), self.0));
    }

    #[inline(always)]
    fn twice(block: &[f32; WIDTH]) -> Self {
        Self(avx512!(x86::_mm512_broadcast_f32x8(x86::_mm256_loadu_ps(
            block.as_ptr()
        ))))
    }
}
