//! AVX2 with FMA: micro-tiles of 4 rows by up to three panels, 4×24 of `f64` or 4×48 of `f32`.
//!
//! Two FMAs per cycle, of a latency of four cycles, need eight independent sums: a panel has just as many. Three panels are
//! six vectors, and three of these at a time give twelve sums: fewer loads per FMA, and rows that are read a third as often.
//! With three vectors and a broadcast they take all 16 registers. The compiler would hold a second broadcast, and spill; so
//! this loop is in assembly.

#![allow(unsafe_code, reason = "intrinsics, and one loop in assembly")]
// Indices are what the compiler unrolls into registers; iterators over nested arrays made it spill.
#![allow(clippy::needless_range_loop)]

use std::arch::asm;
use std::hint::black_box;

use std::arch::x86_64::{
    __m256, __m256d, _mm256_add_pd, _mm256_castps256_ps128, _mm256_cvtps_pd, _mm256_extractf128_ps,
    _mm256_fmadd_pd, _mm256_fmadd_ps, _mm256_load_pd, _mm256_load_ps, _mm256_loadu_pd,
    _mm256_set1_pd, _mm256_set1_ps, _mm256_setzero_pd, _mm256_setzero_ps, _mm256_storeu_pd,
};

use super::{Line32, Line64, MicroKernel, Start, Target};
use crate::isa::Lanes;

const ROWS: usize = 4;
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
    _prefetch: &[Line64],
    out: Target<'_>,
) {
    assert!(first.is_multiple_of(ROWS) && cols.len() <= PANELS);
    if let Ok(cols) = cols.try_into() {
        // SAFETY: this kernel is reached through an `Isa` of AVX2, which exists only where the processor has it and FMA.
        return unsafe { wide_tile_f64(rows, first, cols, out) };
    }
    each_panel(cols, out, |col, out| {
        // SAFETY: as above.
        unsafe {
            match first / ROWS {
                0 => tile_f64::<0>(rows, col, out),
                1 => tile_f64::<ROWS>(rows, col, out),
                _ => panic!("row {first}"),
            }
        }
    });
}

fn run_f32(
    rows: &[Line32],
    first: usize,
    cols: &[&[Line32]],
    _prefetch: &[Line32],
    out: Target<'_>,
) {
    assert!(first.is_multiple_of(ROWS) && cols.len() <= PANELS);
    if let Ok(cols) = cols.try_into() {
        // SAFETY: as in `run_f64`.
        return unsafe { wide_tile_f32(rows, first, cols, out) };
    }
    each_panel(cols, out, |col, out| {
        // SAFETY: as in `run_f64`.
        unsafe {
            match first / ROWS {
                0 => tile_f32::<0>(rows, col, out),
                1 => tile_f32::<ROWS>(rows, col, out),
                2 => tile_f32::<{ 2 * ROWS }>(rows, col, out),
                3 => tile_f32::<{ 3 * ROWS }>(rows, col, out),
                _ => panic!("row {first}"),
            }
        }
    });
}

/// Calls a function for each panel and its columns of the target.
#[inline(always)]
fn each_panel<T, const W: usize>(
    cols: &[&[Lanes<T, W>]],
    out: Target<'_>,
    tile: impl Fn(&[Lanes<T, W>], Target<'_>),
) {
    for (panel, col) in cols.iter().enumerate() {
        let values = &mut out.values[panel * W..];
        tile(col, Target { values, ..out });
    }
}

/// The instructions that multiply one value of a row with three vectors.
macro_rules! one_row {
    ($load:literal, $multiply_add:literal, $place:literal, $sums:literal) => {
        concat!(
            concat!($load, " {factor}, [{rows} + {k} + ", $place, "]\n"),
            concat!($multiply_add, " {", $sums, "0}, {factor}, {a}\n"),
            concat!($multiply_add, " {", $sums, "1}, {factor}, {b}\n"),
            concat!($multiply_add, " {", $sums, "2}, {factor}, {c}\n"),
        )
    };
}

/// Adds `rows[k][r] · vectors[v][k]` to `sums[r][v]`, for all k and four rows. The pointers are those past the last line, and
/// the places of the four values of a row are given in bytes.
macro_rules! add_products {
    (
        $load:literal, $multiply_add:literal, [$place0:literal, $place1:literal, $place2:literal, $place3:literal],
        $depth:expr, $rows:expr, $vectors:expr, $sums:expr
    ) => {{
        let ([to_a, to_b, to_c], [w, x, y, z]) = ($vectors, &mut $sums);
        asm!(
            "2:",
            "vmovaps {a}, [{to_a} + {k}]",
            "vmovaps {b}, [{to_b} + {k}]",
            "vmovaps {c}, [{to_c} + {k}]",
            one_row!($load, $multiply_add, $place0, "w"),
            one_row!($load, $multiply_add, $place1, "x"),
            one_row!($load, $multiply_add, $place2, "y"),
            one_row!($load, $multiply_add, $place3, "z"),
            "add {k}, 64",
            "jne 2b",
            k = inout(reg) -64 * ($depth as isize) => _,
            rows = in(reg) $rows,
            to_a = in(reg) to_a, to_b = in(reg) to_b, to_c = in(reg) to_c,
            factor = out(ymm_reg) _, a = out(ymm_reg) _, b = out(ymm_reg) _, c = out(ymm_reg) _,
            w0 = inout(ymm_reg) w[0], w1 = inout(ymm_reg) w[1], w2 = inout(ymm_reg) w[2],
            x0 = inout(ymm_reg) x[0], x1 = inout(ymm_reg) x[1], x2 = inout(ymm_reg) x[2],
            y0 = inout(ymm_reg) y[0], y1 = inout(ymm_reg) y[1], y2 = inout(ymm_reg) y[2],
            z0 = inout(ymm_reg) z[0], z1 = inout(ymm_reg) z[1], z2 = inout(ymm_reg) z[2],
            options(nostack, readonly),
        );
    }};
}

/// Pointers to the six vectors of three panels, three by three, in the lines past the last ones.
#[inline(always)]
fn vectors_past<T, const W: usize>(cols: [&[Lanes<T, W>]; PANELS]) -> [[*const T; 3]; 2] {
    let [a, b, c] = cols.map(|col| {
        let end: *const T = col.as_ptr_range().end.cast();
        [end, end.wrapping_add(W / 2)]
    });
    [[a[0], a[1], b[0]], [b[1], c[0], c[1]]]
}

/// Checks the panels of a wide micro-tile, which begins at row `first`. `unsafe` code relies on it.
///
/// # Panics
/// If there are no lines, the depths differ, or the rows do not lie within a panel.
#[inline(always)]
fn check_panels<T, const W: usize>(
    rows: &[Lanes<T, W>],
    first: usize,
    cols: [&[Lanes<T, W>]; PANELS],
) {
    assert!(!rows.is_empty() && first + ROWS <= W);
    assert!(cols.iter().all(|col| col.len() == rows.len()));
}

#[target_feature(enable = "avx2,fma")]
fn wide_tile_f64(rows: &[Line64], first: usize, cols: [&[Line64]; PANELS], out: Target<'_>) {
    check_panels(rows, first, cols);
    out.check(ROWS, 8 * PANELS);
    let past_rows = rows.as_ptr_range().end.cast::<f64>().wrapping_add(first);
    for (side, vectors) in vectors_past(cols).into_iter().enumerate() {
        let mut sums = [[_mm256_setzero_pd(); 3]; ROWS];
        // SAFETY: all panels have the same number of lines, and at least one; a line has ROWS values from `first` on.
        unsafe {
            add_products!(
                "vbroadcastsd",
                "vfmadd231pd",
                [0, 8, 16, 24],
                rows.len(),
                past_rows,
                vectors,
                sums
            );
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (v, sum) in sums.into_iter().enumerate() {
                // SAFETY: r < ROWS and 3·side + v < 6, so 4 values from here on lie within `out`, which `check` has made
                // sure of.
                unsafe {
                    let place = r * out.stride + 4 * (3 * side + v);
                    add(out.values.as_mut_ptr().add(place), out.start, sum);
                }
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn wide_tile_f32(rows: &[Line32], first: usize, cols: [&[Line32]; PANELS], out: Target<'_>) {
    check_panels(rows, first, cols);
    out.check(ROWS, 16 * PANELS);
    let past_rows = rows.as_ptr_range().end.cast::<f32>().wrapping_add(first);
    for (side, vectors) in vectors_past(cols).into_iter().enumerate() {
        let mut sums = [[_mm256_setzero_ps(); 3]; ROWS];
        // SAFETY: as in `wide_tile_f64`.
        unsafe {
            add_products!(
                "vbroadcastss",
                "vfmadd231ps",
                [0, 4, 8, 12],
                rows.len(),
                past_rows,
                vectors,
                sums
            );
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (v, sum) in sums.into_iter().enumerate() {
                // SAFETY: as in `wide_tile_f64`, with 8 values.
                unsafe {
                    let place = r * out.stride + 8 * (3 * side + v);
                    add_singles(out.values.as_mut_ptr().add(place), out.start, sum);
                }
            }
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
            // SAFETY: as in `tile_f64`, with 8 values per vector.
            unsafe {
                let target = out.values.as_mut_ptr().add(r * stride + 8 * v);
                add_singles(target, start, *sum);
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

/// [`add`] for sums in `f32`.
///
/// # Safety
/// There must be as many values as the sums have.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn add_singles(target: *mut f64, start: Start, sums: __m256) {
    let low = _mm256_castps256_ps128(sums);
    let high = _mm256_extractf128_ps::<1>(sums);
    // SAFETY: the caller's promise; a half has 4 values.
    unsafe {
        add(target, start, _mm256_cvtps_pd(low));
        add(target.add(4), start, _mm256_cvtps_pd(high));
    }
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
