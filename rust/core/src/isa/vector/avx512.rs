//! Eight values in one AVX-512 register.

#![allow(unsafe_code, reason = "intrinsics")]

use std::arch::x86_64 as x86;

use super::super::Lanes;
use super::avx2::transpose_eights;
use super::intrinsics::avx512;
use super::singles::avx512::Avx512Singles;
use super::{
    EXPONENT_BIAS, EXPONENT_SHIFT, INTEGER_IN_LOW_BITS, Lut, Real, Square, Vector, Vectorized,
    WIDTH, in_one_part, operators, without_slopes,
};

/// Eight `f64`. Only [`run`] gives access to this type, so its values exist only where the processor has AVX-512.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512(x86::__m512d);

/// Runs a computation with AVX-512, for an `Isa` of it.
pub(super) fn run<C: Vectorized>(computation: C) -> C::Output {
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
    fn compiled<C: Vectorized>(computation: C) -> C::Output {
        computation.run::<Avx512>()
    }
    // SAFETY: this is reached through an `Isa` of AVX-512, which exists only where the processor has it.
    unsafe { compiled(computation) }
}

impl Avx512 {
    #[inline(always)]
    fn flip_sign(self) -> Self {
        Self(avx512!(x86::_mm512_xor_pd(
            self.0,
            x86::_mm512_set1_pd(-0.0)
        )))
    }
}

operators! { Avx512:
    Add add |x, y| Self(avx512!(x86::_mm512_add_pd(x.0, y.0)));
    Sub sub |x, y| Self(avx512!(x86::_mm512_sub_pd(x.0, y.0)));
    Mul mul |x, y| Self(avx512!(x86::_mm512_mul_pd(x.0, y.0)));
    Div div |x, y| Self(avx512!(x86::_mm512_div_pd(x.0, y.0)));
}

impl Real for Avx512 {
    without_slopes!();

    const FUSED: bool = true;

    type Mask = x86::__mmask8;

    #[inline(always)]
    fn splat(value: f64) -> Self {
        Self(avx512!(x86::_mm512_set1_pd(value)))
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        Self(avx512!(x86::_mm512_fmadd_pd(self.0, factor.0, term.0)))
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        Self(avx512!(x86::_mm512_sqrt_pd(self.0)))
    }

    /// An estimate of 14 bits, and four terms of the binomial series for the rest: a root and a division would wait for
    /// each other, because one unit does both.
    #[inline(always)]
    fn inverse_sqrt(self) -> Self {
        Self(avx512!({
            let constant = x86::_mm512_set1_pd;
            let estimate = x86::_mm512_rsqrt14_pd(self.0);
            // rest = 1 − self · estimate², and 1/√(1 − rest) = 1 + rest/2 + 3 rest²/8 + 5 rest³/16 + …
            let product = x86::_mm512_mul_pd(self.0, estimate);
            let rest = x86::_mm512_fnmadd_pd(product, estimate, constant(1.0));
            let series = x86::_mm512_fmadd_pd(constant(0.3125), rest, constant(0.375));
            let series = x86::_mm512_fmadd_pd(series, rest, constant(0.5));
            let change = x86::_mm512_mul_pd(estimate, rest);
            x86::_mm512_fmadd_pd(change, series, estimate)
        }))
    }

    #[inline(always)]
    fn abs(self) -> Self {
        Self(avx512!(x86::_mm512_abs_pd(self.0)))
    }

    #[inline(always)]
    fn copysign(self, sign: Self) -> Self {
        Self(avx512!({
            let zero = x86::_mm512_set1_pd(-0.0);
            x86::_mm512_or_pd(
                x86::_mm512_andnot_pd(zero, self.0),
                x86::_mm512_and_pd(zero, sign.0),
            )
        }))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Self(avx512!(x86::_mm512_max_pd(self.0, other.0)))
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Self(avx512!(x86::_mm512_min_pd(self.0, other.0)))
    }

    #[inline(always)]
    fn round(self) -> Self {
        const NEAREST: i32 = x86::_MM_FROUND_TO_NEAREST_INT | x86::_MM_FROUND_NO_EXC;
        Self(avx512!(x86::_mm512_roundscale_pd::<NEAREST>(self.0)))
    }

    #[inline(always)]
    fn power_of_two(self) -> Self {
        Self(avx512!({
            let integer = x86::_mm512_add_pd(self.0, x86::_mm512_set1_pd(INTEGER_IN_LOW_BITS));
            let biased = x86::_mm512_add_epi64(
                x86::_mm512_castpd_si512(integer),
                x86::_mm512_set1_epi64(EXPONENT_BIAS),
            );
            x86::_mm512_castsi512_pd(x86::_mm512_slli_epi64::<EXPONENT_SHIFT>(biased))
        }))
    }

    #[inline(always)]
    fn less(self, other: Self) -> Self::Mask {
        avx512!(x86::_mm512_cmp_pd_mask::<{ x86::_CMP_LT_OQ }>(
            self.0, other.0
        ))
    }

    #[inline(always)]
    fn is_negative(self) -> Self::Mask {
        avx512!(x86::_mm512_movepi64_mask(x86::_mm512_castpd_si512(self.0)))
    }

    #[inline(always)]
    fn any(mask: Self::Mask) -> bool {
        mask != 0
    }

    #[inline(always)]
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
        Self(avx512!(x86::_mm512_mask_blend_pd(mask, no.0, yes.0)))
    }

    #[inline(always)]
    fn each(self, f: impl Fn(f64) -> f64) -> Self {
        let mut values = [0.0; WIDTH];
        self.store(&mut values);
        Self::load(&values.map(f))
    }
}

in_one_part!(Avx512);

impl Vector for Avx512 {
    const REGISTERS: usize = 32;

    type Part = Self;

    type Singles = Avx512Singles;

    #[inline(always)]
    fn join([first, second]: [Self; 2]) -> Avx512Singles {
        Avx512Singles(avx512!({
            let low = x86::_mm512_castps256_ps512(x86::_mm512_cvtpd_ps(first.0));
            x86::_mm512_insertf32x8::<1>(low, x86::_mm512_cvtpd_ps(second.0))
        }))
    }

    #[inline(always)]
    fn load(values: &[f64; WIDTH]) -> Self {
        Self(avx512!(x86::_mm512_loadu_pd(values.as_ptr())))
    }

    #[inline(always)]
    fn store(self, values: &mut [f64; WIDTH]) {
        avx512!(x86::_mm512_storeu_pd(values.as_mut_ptr(), self.0));
    }

    #[inline(always)]
    fn widen(values: &[f32; WIDTH]) -> Self {
        Self(avx512!(x86::_mm512_cvtps_pd(x86::_mm256_loadu_ps(
            values.as_ptr()
        ))))
    }

    #[inline(always)]
    fn narrow(self, values: &mut [f32; WIDTH]) {
        avx512!(x86::_mm256_storeu_ps(
            values.as_mut_ptr(),
            x86::_mm512_cvtpd_ps(self.0)
        ));
    }

    /// Integers of which only the lowest four bits count.
    type Indices = x86::__m512i;

    #[inline(always)]
    fn indices(self) -> Self::Indices {
        avx512!({
            let sums = x86::_mm512_add_pd(self.0, x86::_mm512_set1_pd(INTEGER_IN_LOW_BITS));
            x86::_mm512_castpd_si512(sums)
        })
    }

    #[inline(always)]
    fn lookup(lut: &Lut, indices: Self::Indices) -> Self {
        let (front, end) = lut.numbers.split_at(WIDTH);
        Self(avx512!(x86::_mm512_permutex2var_pd(
            x86::_mm512_loadu_pd(front.as_ptr()),
            indices,
            x86::_mm512_loadu_pd(end.as_ptr())
        )))
    }

    #[inline(always)]
    fn stream(self, line: &mut Lanes<f64, WIDTH>) {
        // A line is aligned to 64 bytes.
        avx512!(x86::_mm512_stream_pd(line.0.as_mut_ptr(), self.0));
    }

    #[inline(always)]
    fn stream_rounded(halves: [Self; 2], line: &mut Lanes<f32, { 2 * WIDTH }>) {
        for (half, target) in halves.into_iter().zip(line.0.as_chunks_mut::<WIDTH>().0) {
            // Halves of a line are aligned to 32 bytes.
            avx512!(x86::_mm256_stream_ps(
                target.as_mut_ptr(),
                x86::_mm512_cvtpd_ps(half.0)
            ));
        }
    }

    #[inline(always)]
    fn transpose_narrow(source: &Square, target: &mut Square) {
        avx512!(transpose_eights(source, target));
    }

    #[inline(always)]
    fn drain() {
        avx512!(x86::_mm_sfence());
    }

    #[inline(always)]
    fn transpose(rows: [Self; WIDTH]) -> [Self; WIDTH] {
        let mut values = [rows[0].0; WIDTH];
        for (value, row) in values.iter_mut().zip(rows) {
            *value = row.0;
        }
        let mut columns = rows;
        for (column, value) in columns.iter_mut().zip(avx512!(transpose_eight(values))) {
            column.0 = value;
        }
        columns
    }
}

/// [`Vector::transpose`]. It enables the instruction set itself: closures that are not inlined would lack it.
#[target_feature(enable = "avx512f")]
#[inline]
fn transpose_eight([a, b, c, d, e, f, g, h]: [x86::__m512d; WIDTH]) -> [x86::__m512d; WIDTH] {
    // Interleaves pairs of rows, then transposes the 128-bit lanes of four such pairs.
    let pair = |x, y| (x86::_mm512_unpacklo_pd(x, y), x86::_mm512_unpackhi_pd(x, y));
    let lanes = |a, b, c, d| {
        let low = (
            x86::_mm512_shuffle_f64x2::<0x44>(a, b),
            x86::_mm512_shuffle_f64x2::<0x44>(c, d),
        );
        let high = (
            x86::_mm512_shuffle_f64x2::<0xEE>(a, b),
            x86::_mm512_shuffle_f64x2::<0xEE>(c, d),
        );
        (
            x86::_mm512_shuffle_f64x2::<0x88>(low.0, low.1),
            x86::_mm512_shuffle_f64x2::<0xDD>(low.0, low.1),
            x86::_mm512_shuffle_f64x2::<0x88>(high.0, high.1),
            x86::_mm512_shuffle_f64x2::<0xDD>(high.0, high.1),
        )
    };
    let (ab, cd, ef, gh) = (pair(a, b), pair(c, d), pair(e, f), pair(g, h));
    let (even, odd) = (lanes(ab.0, cd.0, ef.0, gh.0), lanes(ab.1, cd.1, ef.1, gh.1));
    [even.0, odd.0, even.1, odd.1, even.2, odd.2, even.3, odd.3]
}
