//! AVX2 with FMA: micro-tiles of 4 rows by one panel, 4×8 of `f64` or 4×16 of `f32`. 8 sums, a line of 2 vectors and a
//! broadcast take 11 registers.
//!
//! Two FMAs per cycle, of a latency of four cycles, need eight independent sums. Twelve would use all 16 registers, and
//! spill.

#![allow(unsafe_code, reason = "intrinsics")]
// Indices are what the compiler unrolls into registers; iterators over nested arrays made it spill.
#![allow(clippy::needless_range_loop)]

use std::hint::black_box;

use std::arch::x86_64::{
    __m256d, _mm256_add_pd, _mm256_castps256_ps128, _mm256_cvtps_pd, _mm256_extractf128_ps,
    _mm256_fmadd_pd, _mm256_fmadd_ps, _mm256_load_pd, _mm256_load_ps, _mm256_loadu_pd,
    _mm256_set1_pd, _mm256_set1_ps, _mm256_setzero_pd, _mm256_setzero_ps, _mm256_storeu_pd,
};

use super::{Line32, Line64, MicroKernel, Start, Target};

const ROWS: usize = 4;

pub(super) fn f64() -> MicroKernel<Line64> {
    MicroKernel {
        rows: ROWS,
        panels: 1,
        run: run_f64,
    }
}

pub(super) fn f32() -> MicroKernel<Line32> {
    MicroKernel {
        rows: ROWS,
        panels: 1,
        run: run_f32,
    }
}

fn run_f64(
    rows: &[Line64],
    first: usize,
    cols: &[&[Line64]],
    _prefetch: &[Line64],
    out: Target<'_>,
) {
    assert!(cols.len() == 1 && first.is_multiple_of(ROWS));
    // SAFETY: this kernel is reached through an `Isa` of AVX2, which exists only where the processor has it and FMA.
    unsafe {
        match first / ROWS {
            0 => tile_f64::<0>(rows, cols[0], out),
            1 => tile_f64::<ROWS>(rows, cols[0], out),
            _ => panic!("row {first}"),
        }
    }
}

fn run_f32(
    rows: &[Line32],
    first: usize,
    cols: &[&[Line32]],
    _prefetch: &[Line32],
    out: Target<'_>,
) {
    assert!(cols.len() == 1 && first.is_multiple_of(ROWS));
    // SAFETY: as in `run_f64`.
    unsafe {
        match first / ROWS {
            0 => tile_f32::<0>(rows, cols[0], out),
            1 => tile_f32::<ROWS>(rows, cols[0], out),
            2 => tile_f32::<{ 2 * ROWS }>(rows, cols[0], out),
            3 => tile_f32::<{ 3 * ROWS }>(rows, cols[0], out),
            _ => panic!("row {first}"),
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn tile_f64<const FIRST: usize>(rows: &[Line64], col: &[Line64], out: Target<'_>) {
    assert_eq!(rows.len(), col.len());
    let (stride, start) = (out.stride, out.start);
    out.check(ROWS, 8);
    let mut sums = [[_mm256_setzero_pd(); 2]; ROWS];
    for (row, line) in rows.iter().zip(col) {
        // SAFETY: a line is 8 values, aligned to 64 bytes.
        let vectors = [0, 4].map(|start| unsafe { _mm256_load_pd(line.0.as_ptr().add(start)) });
        for r in 0..ROWS {
            let factor = _mm256_set1_pd(row.0[FIRST + r]);
            for v in 0..2 {
                sums[r][v] = _mm256_fmadd_pd(factor, vectors[v], sums[r][v]);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        for (v, sum) in sums.iter().enumerate() {
            // SAFETY: r < ROWS and v < 2, so 4 values from here on lie within `out`, which `check` has made sure of.
            unsafe {
                let target = out.values.as_mut_ptr().add(r * stride + 4 * v);
                add(target, start, *sum);
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn tile_f32<const FIRST: usize>(rows: &[Line32], col: &[Line32], out: Target<'_>) {
    assert_eq!(rows.len(), col.len());
    let (stride, start) = (out.stride, out.start);
    out.check(ROWS, 16);
    let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
    for (row, line) in rows.iter().zip(col) {
        // SAFETY: a line is 16 values, aligned to 64 bytes.
        let vectors = [0, 8].map(|start| unsafe { _mm256_load_ps(line.0.as_ptr().add(start)) });
        for r in 0..ROWS {
            let factor = _mm256_set1_ps(row.0[FIRST + r]);
            for v in 0..2 {
                sums[r][v] = _mm256_fmadd_ps(factor, vectors[v], sums[r][v]);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        for (v, sum) in sums.iter().enumerate() {
            let low = _mm256_castps256_ps128(*sum);
            let high = _mm256_extractf128_ps::<1>(*sum);
            for (half, values) in [low, high].into_iter().enumerate() {
                // SAFETY: as in `tile_f64`, with 8 values per vector and 4 per half.
                unsafe {
                    let target = out.values.as_mut_ptr().add(r * stride + 8 * v + 4 * half);
                    add(target, start, _mm256_cvtps_pd(values));
                }
            }
        }
    }
}

/// Writes `sums` plus the values at `target`, or plus zeros.
///
/// # Safety
/// There must be as many values as the sums have.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn add(target: *mut f64, start: Start, sums: __m256d) {
    let before = match start {
        Start::Overwrite => _mm256_setzero_pd(),
        // SAFETY: the caller's promise.
        Start::Add => unsafe { _mm256_loadu_pd(target) },
    };
    // SAFETY: the caller's promise.
    unsafe { _mm256_storeu_pd(target, _mm256_add_pd(before, sums)) };
}

/// A register-only multiply-add loop, used to measure peak throughput. Returns the number of flops.
pub(super) fn peak_loop_f64(rounds: usize) -> usize {
    // SAFETY: as in `run_f64`.
    unsafe { peak_loop_pd(rounds) }
}

/// [`peak_loop_f64`] in `f32`.
pub(super) fn peak_loop_f32(rounds: usize) -> usize {
    // SAFETY: as in `run_f64`.
    unsafe { peak_loop_ps(rounds) }
}

#[target_feature(enable = "avx2,fma")]
fn peak_loop_pd(rounds: usize) -> usize {
    let factor = black_box(_mm256_set1_pd(0.5));
    let mut sums = [factor; CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm256_fmadd_pd(*sum, factor, factor);
        }
    }
    black_box(sums);
    rounds * CHAINS * 4 * 2
}

#[target_feature(enable = "avx2,fma")]
fn peak_loop_ps(rounds: usize) -> usize {
    let factor = black_box(_mm256_set1_ps(0.5));
    let mut sums = [factor; CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, factor, factor);
        }
    }
    black_box(sums);
    rounds * CHAINS * 8 * 2
}

/// The number of independent sums: enough to hide the latency of a multiply-add, with registers to spare.
const CHAINS: usize = 12;
