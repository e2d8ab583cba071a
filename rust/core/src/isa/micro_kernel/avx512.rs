//! AVX-512: micro-tiles of 8 rows by up to 3 panels, 8×24 of `f64` or 8×48 of `f32`. 24 sums, 3 panels and a broadcast
//! take 28 of the 32 registers.

#![allow(unsafe_code, reason = "intrinsics")]
// Indices are what the compiler unrolls into registers; iterators over nested arrays made it spill.
#![allow(clippy::needless_range_loop)]

use std::hint::black_box;

use std::arch::x86_64::{
    __m512d, _MM_HINT_T1, _mm_prefetch, _mm512_add_pd, _mm512_castps512_ps256, _mm512_cvtps_pd,
    _mm512_extractf32x8_ps, _mm512_fmadd_pd, _mm512_fmadd_ps, _mm512_load_pd, _mm512_load_ps,
    _mm512_loadu_pd, _mm512_set1_pd, _mm512_set1_ps, _mm512_setzero_pd, _mm512_setzero_ps,
    _mm512_storeu_pd,
};

use super::{Line32, Line64, MicroKernel, Start, Target};

const ROWS: usize = 8;
const PANELS: usize = 3;

pub(super) fn f64() -> MicroKernel<Line64> {
    MicroKernel {
        rows: ROWS,
        panels: PANELS,
        run: run_f64,
    }
}

pub(super) fn f32() -> MicroKernel<Line32> {
    MicroKernel {
        rows: ROWS,
        panels: PANELS,
        run: run_f32,
    }
}

fn run_f64(
    rows: &[Line64],
    first: usize,
    cols: &[&[Line64]],
    prefetch: &[Line64],
    out: Target<'_>,
) {
    let prefetch = source(prefetch, rows);
    assert_eq!(first, 0);
    // SAFETY: this kernel is reached through an `Isa` of AVX-512, which exists only where the processor has it.
    unsafe {
        match *cols {
            [a, b, c] => tile_f64(rows, [a, b, c], prefetch, out),
            [a, b] => tile_f64(rows, [a, b], prefetch, out),
            [a] => tile_f64(rows, [a], prefetch, out),
            _ => panic!("{} column panels", cols.len()),
        }
    }
}

fn run_f32(
    rows: &[Line32],
    first: usize,
    cols: &[&[Line32]],
    prefetch: &[Line32],
    out: Target<'_>,
) {
    let prefetch = source(prefetch, rows);
    // SAFETY: as in `run_f64`.
    unsafe {
        match (first, cols) {
            (0, &[a, b, c]) => tile_f32::<0, 3>(rows, [a, b, c], prefetch, out),
            (0, &[a, b]) => tile_f32::<0, 2>(rows, [a, b], prefetch, out),
            (0, &[a]) => tile_f32::<0, 1>(rows, [a], prefetch, out),
            (ROWS, &[a, b, c]) => tile_f32::<ROWS, 3>(rows, [a, b, c], prefetch, out),
            (ROWS, &[a, b]) => tile_f32::<ROWS, 2>(rows, [a, b], prefetch, out),
            (ROWS, &[a]) => tile_f32::<ROWS, 1>(rows, [a], prefetch, out),
            _ => panic!("row {first}, {} column panels", cols.len()),
        }
    }
}

/// The first line to prefetch. If there is none, prefetches `rows`, which are in cache anyway.
fn source<L>(prefetch: &[L], rows: &[L]) -> *const L {
    if prefetch.is_empty() {
        rows.as_ptr()
    } else {
        prefetch.as_ptr()
    }
}

// With VL, 256-bit values may live in all 32 registers. Without it, splitting f32 sums into halves made the loop spill.
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
fn tile_f64<const P: usize>(
    rows: &[Line64],
    cols: [&[Line64]; P],
    prefetch: *const Line64,
    out: Target<'_>,
) {
    let depth = rows.len();
    assert!(cols.iter().all(|col| col.len() == depth));
    let (stride, start) = (out.stride, out.start);
    out.check(ROWS, 8 * P);
    let mut sums = [[_mm512_setzero_pd(); P]; ROWS];
    for (k, row) in rows.iter().enumerate() {
        // SAFETY: k < depth, the length of every column; a line is 64 bytes, aligned to 64.
        let panels = cols.map(|col| unsafe { _mm512_load_pd(col.get_unchecked(k).0.as_ptr()) });
        // SAFETY: fetching has no effect but on caches, whatever the address; newer compilers know.
        #[allow(unused_unsafe)]
        unsafe {
            _mm_prefetch::<_MM_HINT_T1>(prefetch.wrapping_add(k).cast());
        }
        for r in 0..ROWS {
            let factor = _mm512_set1_pd(row.0[r]);
            for p in 0..P {
                sums[r][p] = _mm512_fmadd_pd(factor, panels[p], sums[r][p]);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        for (p, sum) in sums.iter().enumerate() {
            // SAFETY: r < ROWS and p < P, so 8 values from here on lie within `out`, which `check` has made sure of.
            unsafe {
                let target = out.values.as_mut_ptr().add(r * stride + 8 * p);
                add(target, start, *sum);
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
fn tile_f32<const FIRST: usize, const P: usize>(
    rows: &[Line32],
    cols: [&[Line32]; P],
    prefetch: *const Line32,
    out: Target<'_>,
) {
    assert!(cols.iter().all(|col| col.len() == rows.len()));
    let (stride, start) = (out.stride, out.start);
    out.check(ROWS, 16 * P);
    let mut sums = [[_mm512_setzero_ps(); P]; ROWS];
    for (k, row) in rows.iter().enumerate() {
        // SAFETY: as in `tile_f64`.
        let panels = cols.map(|col| unsafe { _mm512_load_ps(col.get_unchecked(k).0.as_ptr()) });
        // Two micro-tiles share a row panel: each prefetches half of its lines.
        // SAFETY: fetching has no effect but on caches, whatever the address; newer compilers know.
        #[allow(unused_unsafe)]
        unsafe {
            _mm_prefetch::<_MM_HINT_T1>(prefetch.wrapping_add(k / 2).cast());
        }
        for r in 0..ROWS {
            let factor = _mm512_set1_ps(row.0[FIRST + r]);
            for p in 0..P {
                sums[r][p] = _mm512_fmadd_ps(factor, panels[p], sums[r][p]);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        for (p, sum) in sums.iter().enumerate() {
            let low = _mm512_castps512_ps256(*sum);
            let high = _mm512_extractf32x8_ps::<1>(*sum);
            for (half, values) in [low, high].into_iter().enumerate() {
                // SAFETY: as in `tile_f64`, with 16 values per panel.
                unsafe {
                    let target = out.values.as_mut_ptr().add(r * stride + 16 * p + 8 * half);
                    add(target, start, _mm512_cvtps_pd(values));
                }
            }
        }
    }
}

/// Writes `sums` plus the values at `target`, or plus zeros.
///
/// # Safety
/// There must be as many values as the sums have.
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
#[inline]
unsafe fn add(target: *mut f64, start: Start, sums: __m512d) {
    let before = match start {
        Start::Overwrite => _mm512_setzero_pd(),
        // SAFETY: the caller's promise.
        Start::Add => unsafe { _mm512_loadu_pd(target) },
    };
    // SAFETY: the caller's promise.
    unsafe { _mm512_storeu_pd(target, _mm512_add_pd(before, sums)) };
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

#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
fn peak_loop_pd(rounds: usize) -> usize {
    let factor = black_box(_mm512_set1_pd(0.5));
    let mut sums = [factor; CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_fmadd_pd(*sum, factor, factor);
        }
    }
    black_box(sums);
    rounds * CHAINS * 8 * 2
}

#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
fn peak_loop_ps(rounds: usize) -> usize {
    let factor = black_box(_mm512_set1_ps(0.5));
    let mut sums = [factor; CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, factor, factor);
        }
    }
    black_box(sums);
    rounds * CHAINS * 16 * 2
}

/// The number of independent sums: enough to hide the latency of a multiply-add.
const CHAINS: usize = 16;
