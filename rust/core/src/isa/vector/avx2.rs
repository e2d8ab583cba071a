//! Eight values in two AVX2 registers.

#![allow(unsafe_code, reason = "intrinsics")]

use std::arch::x86_64 as x86;

use super::super::Lanes;
use super::intrinsics::{avx2, halves};
use super::singles::avx2::Avx2Singles;
use super::{
    EXPONENT_BIAS, EXPONENT_SHIFT, INTEGER_IN_LOW_BITS, LUT_LEN, Lut, Real, Square, Vector,
    Vectorized, WIDTH, in_one_part, operators, without_slopes,
};

/// Eight `f64`. Only [`run`] gives access to this type, so its values exist only where the processor has AVX2.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx2([x86::__m256d; 2]);

/// Runs a computation with AVX2 and FMA, for an `Isa` of them.
pub(super) fn run<C: Vectorized>(computation: C) -> C::Output {
    #[target_feature(enable = "avx2,fma")]
    fn compiled<C: Vectorized>(computation: C) -> C::Output {
        computation.run::<Avx2>()
    }
    // SAFETY: this is reached through an `Isa` of AVX2, which exists only where the processor has it and FMA.
    unsafe { compiled(computation) }
}

impl Avx2 {
    #[inline(always)]
    fn flip_sign(self) -> Self {
        let x = self;
        halves!(|x| x86::_mm256_xor_pd(x, x86::_mm256_set1_pd(-0.0)))
    }
}

operators! { Avx2:
    Add add |x, y| halves!(|x, y| x86::_mm256_add_pd(x, y));
    Sub sub |x, y| halves!(|x, y| x86::_mm256_sub_pd(x, y));
    Mul mul |x, y| halves!(|x, y| x86::_mm256_mul_pd(x, y));
    Div div |x, y| halves!(|x, y| x86::_mm256_div_pd(x, y));
}

impl Real for Avx2 {
    without_slopes!();

    const FUSED: bool = true;

    /// Lanes whose bits are all 1 or all 0. Only the sign bits count.
    type Mask = Self;

    #[inline(always)]
    fn splat(value: f64) -> Self {
        Self([avx2!(x86::_mm256_set1_pd(value)); 2])
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        let x = self;
        halves!(|x, factor, term| x86::_mm256_fmadd_pd(x, factor, term))
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        let x = self;
        halves!(|x| x86::_mm256_sqrt_pd(x))
    }

    #[inline(always)]
    fn abs(self) -> Self {
        let x = self;
        halves!(|x| x86::_mm256_andnot_pd(x86::_mm256_set1_pd(-0.0), x))
    }

    #[inline(always)]
    fn copysign(self, sign: Self) -> Self {
        let x = self;
        halves!(|x, sign| {
            let zero = x86::_mm256_set1_pd(-0.0);
            x86::_mm256_or_pd(
                x86::_mm256_andnot_pd(zero, x),
                x86::_mm256_and_pd(zero, sign),
            )
        })
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        let x = self;
        halves!(|x, other| x86::_mm256_max_pd(x, other))
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        let x = self;
        halves!(|x, other| x86::_mm256_min_pd(x, other))
    }

    #[inline(always)]
    fn round(self) -> Self {
        const NEAREST: i32 = x86::_MM_FROUND_TO_NEAREST_INT | x86::_MM_FROUND_NO_EXC;
        let x = self;
        halves!(|x| x86::_mm256_round_pd::<NEAREST>(x))
    }

    #[inline(always)]
    fn power_of_two(self) -> Self {
        let x = self;
        halves!(|x| {
            let integer = x86::_mm256_add_pd(x, x86::_mm256_set1_pd(INTEGER_IN_LOW_BITS));
            let biased = x86::_mm256_add_epi64(
                x86::_mm256_castpd_si256(integer),
                x86::_mm256_set1_epi64x(EXPONENT_BIAS),
            );
            x86::_mm256_castsi256_pd(x86::_mm256_slli_epi64::<{ EXPONENT_SHIFT as i32 }>(biased))
        })
    }

    #[inline(always)]
    fn less(self, other: Self) -> Self::Mask {
        let x = self;
        halves!(|x, other| x86::_mm256_cmp_pd::<{ x86::_CMP_LT_OQ }>(x, other))
    }

    #[inline(always)]
    fn is_negative(self) -> Self::Mask {
        // A blend reads only the sign bit.
        self
    }

    #[inline(always)]
    fn any(mask: Self::Mask) -> bool {
        avx2!((x86::_mm256_movemask_pd(mask.0[0]) | x86::_mm256_movemask_pd(mask.0[1])) != 0)
    }

    #[inline(always)]
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
        halves!(|mask, yes, no| x86::_mm256_blendv_pd(no, yes, mask))
    }

    #[inline(always)]
    fn each(self, f: impl Fn(f64) -> f64) -> Self {
        let mut values = [0.0; WIDTH];
        self.store(&mut values);
        Self::load(&values.map(f))
    }
}

in_one_part!(Avx2);

impl Vector for Avx2 {
    type Part = Self;

    type Singles = Avx2Singles;

    #[inline(always)]
    fn join([first, second]: [Self; 2]) -> Avx2Singles {
        let ([a, b], [c, d]) = (first.0, second.0);
        Avx2Singles([
            avx2!(x86::_mm256_set_m128(
                x86::_mm256_cvtpd_ps(b),
                x86::_mm256_cvtpd_ps(a)
            )),
            avx2!(x86::_mm256_set_m128(
                x86::_mm256_cvtpd_ps(d),
                x86::_mm256_cvtpd_ps(c)
            )),
        ])
    }

    #[inline(always)]
    fn split(values: Avx2Singles) -> [Self; 2] {
        let [a, b] = values.0;
        [
            Self([
                avx2!(x86::_mm256_cvtps_pd(x86::_mm256_castps256_ps128(a))),
                avx2!(x86::_mm256_cvtps_pd(x86::_mm256_extractf128_ps::<1>(a))),
            ]),
            Self([
                avx2!(x86::_mm256_cvtps_pd(x86::_mm256_castps256_ps128(b))),
                avx2!(x86::_mm256_cvtps_pd(x86::_mm256_extractf128_ps::<1>(b))),
            ]),
        ]
    }

    /// Integers in the order 0, 1, 4, 5, 2, 3, 6, 7, of which only the lowest four bits count.
    type Indices = x86::__m256i;

    #[inline(always)]
    fn indices(self) -> Self::Indices {
        let x = self;
        let sums: Self =
            halves!(|x| x86::_mm256_add_pd(x, x86::_mm256_set1_pd(INTEGER_IN_LOW_BITS)));
        avx2!({
            let (front, end) = (
                x86::_mm256_castpd_ps(sums.0[0]),
                x86::_mm256_castpd_ps(sums.0[1]),
            );
            x86::_mm256_castps_si256(x86::_mm256_shuffle_ps::<0x88>(front, end))
        })
    }

    #[inline(always)]
    fn lookup(lut: &Lut, indices: Self::Indices) -> Self {
        let [low, high] = &lut.halves;
        let (low, high) = (select_words(low, indices), select_words(high, indices));
        // Both restore the order of the lanes.
        Self([
            avx2!(x86::_mm256_castps_pd(x86::_mm256_unpacklo_ps(low, high))),
            avx2!(x86::_mm256_castps_pd(x86::_mm256_unpackhi_ps(low, high))),
        ])
    }

    #[inline(always)]
    fn load(values: &[f64; WIDTH]) -> Self {
        let start = values.as_ptr();
        Self([
            avx2!(x86::_mm256_loadu_pd(start)),
            avx2!(x86::_mm256_loadu_pd(start.add(4))),
        ])
    }

    #[inline(always)]
    fn store(self, values: &mut [f64; WIDTH]) {
        let (start, [front, end]) = (values.as_mut_ptr(), self.0);
        avx2!({
            x86::_mm256_storeu_pd(start, front);
            x86::_mm256_storeu_pd(start.add(4), end);
        });
    }

    #[inline(always)]
    fn widen(values: &[f32; WIDTH]) -> Self {
        let start = values.as_ptr();
        Self([
            avx2!(x86::_mm256_cvtps_pd(x86::_mm_loadu_ps(start))),
            avx2!(x86::_mm256_cvtps_pd(x86::_mm_loadu_ps(start.add(4)))),
        ])
    }

    #[inline(always)]
    fn narrow(self, values: &mut [f32; WIDTH]) {
        let (start, [front, end]) = (values.as_mut_ptr(), self.0);
        avx2!({
            x86::_mm_storeu_ps(start, x86::_mm256_cvtpd_ps(front));
            x86::_mm_storeu_ps(start.add(4), x86::_mm256_cvtpd_ps(end));
        });
    }

    #[inline(always)]
    fn stream(self, line: &mut Lanes<f64, WIDTH>) {
        for (half, target) in self.0.into_iter().zip(line.0.as_chunks_mut::<4>().0) {
            // Halves of a line are aligned to 32 bytes.
            avx2!(x86::_mm256_stream_pd(target.as_mut_ptr(), half));
        }
    }

    #[inline(always)]
    fn stream_rounded(halves: [Self; 2], line: &mut Lanes<f32, { 2 * WIDTH }>) {
        let quarters = halves.into_iter().flat_map(|half| half.0);
        for (quarter, target) in quarters.zip(line.0.as_chunks_mut::<4>().0) {
            // Quarters of a line are aligned to 16 bytes.
            avx2!(x86::_mm_stream_ps(
                target.as_mut_ptr(),
                x86::_mm256_cvtpd_ps(quarter)
            ));
        }
    }

    #[inline(always)]
    fn transpose_narrow(source: &Square, target: &mut Square) {
        avx2!(transpose_eights(source, target));
    }

    #[inline(always)]
    fn drain() {
        avx2!(x86::_mm_sfence());
    }

    #[inline(always)]
    fn transpose(rows: [Self; WIDTH]) -> [Self; WIDTH] {
        let [a, b, c, d, e, f, g, h] = rows;
        let mut columns = rows;
        for (half, columns) in columns.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let front = avx2!(transpose_four([a, b, c, d].map(|row| row.0[half])));
            let end = avx2!(transpose_four([e, f, g, h].map(|row| row.0[half])));
            for (column, halves) in columns.iter_mut().zip(front.into_iter().zip(end)) {
                column.0 = halves.into();
            }
        }
        columns
    }
}

/// The transpose of four rows. It enables the instruction set itself: closures that are not inlined would lack it.
#[target_feature(enable = "avx2")]
#[inline]
fn transpose_four([a, b, c, d]: [x86::__m256d; 4]) -> [x86::__m256d; 4] {
    let (ab, next_ab) = (x86::_mm256_unpacklo_pd(a, b), x86::_mm256_unpackhi_pd(a, b));
    let (cd, next_cd) = (x86::_mm256_unpacklo_pd(c, d), x86::_mm256_unpackhi_pd(c, d));
    [
        x86::_mm256_permute2f128_pd::<0x20>(ab, cd),
        x86::_mm256_permute2f128_pd::<0x20>(next_ab, next_cd),
        x86::_mm256_permute2f128_pd::<0x31>(ab, cd),
        x86::_mm256_permute2f128_pd::<0x31>(next_ab, next_cd),
    ]
}

/// The word at the lane's index, in each lane. Of an index only the lowest four bits count.
#[inline(always)]
fn select_words(words: &[u32; LUT_LEN], indices: x86::__m256i) -> x86::__m256 {
    let (front, end) = words.split_at(WIDTH);
    avx2!({
        let front = x86::_mm256_loadu_ps(front.as_ptr().cast());
        let end = x86::_mm256_loadu_ps(end.as_ptr().cast());
        // A blend reads only the sign bit: here the fourth bit.
        let from_end = x86::_mm256_castsi256_ps(x86::_mm256_slli_epi32::<28>(indices));
        x86::_mm256_blendv_ps(
            x86::_mm256_permutevar8x32_ps(front, indices),
            x86::_mm256_permutevar8x32_ps(end, indices),
            from_end,
        )
    })
}

/// [`Vector::transpose_narrow`], eight rows and columns at a time.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn transpose_eights(source: &Square, target: &mut Square) {
    for (band, rows) in source.as_chunks::<WIDTH>().0.iter().enumerate() {
        for (column, targets) in target.as_chunks_mut::<WIDTH>().0.iter_mut().enumerate() {
            // SAFETY: a line has 16 values, and WIDTH of them begin at 0 or at WIDTH.
            let [a, b, c, d, e, f, g, h] = rows
                .each_ref()
                .map(|line| unsafe { x86::_mm256_loadu_ps(line.0.as_ptr().add(WIDTH * column)) });
            let pair = |x, y| (x86::_mm256_unpacklo_ps(x, y), x86::_mm256_unpackhi_ps(x, y));
            let four = |x, y| {
                (
                    x86::_mm256_shuffle_ps::<0x44>(x, y),
                    x86::_mm256_shuffle_ps::<0xEE>(x, y),
                )
            };
            // Transposes four rows within each half of a register: four values of two columns in each result.
            let fours = |a, b, c, d| {
                let ((low, high), (low_after, high_after)) = (pair(a, b), pair(c, d));
                let ((first, second), (third, fourth)) =
                    (four(low, low_after), four(high, high_after));
                [first, second, third, fourth]
            };
            let (upper, lower) = (fours(a, b, c, d), fours(e, f, g, h));
            for (r, (upper, lower)) in upper.into_iter().zip(lower).enumerate() {
                let columns = [
                    x86::_mm256_permute2f128_ps::<0x20>(upper, lower),
                    x86::_mm256_permute2f128_ps::<0x31>(upper, lower),
                ];
                for (half, values) in columns.into_iter().enumerate() {
                    let line = &mut targets[r + WIDTH / 2 * half].0;
                    // SAFETY: as above.
                    unsafe { x86::_mm256_storeu_ps(line.as_mut_ptr().add(WIDTH * band), values) };
                }
            }
        }
    }
}
