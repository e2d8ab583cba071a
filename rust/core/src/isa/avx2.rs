//! AVX2 with FMA: 12×4 micro-tiles of `f64`, 24×4 of `f32`. 12 sums, 3 vectors and a broadcast: all 16 registers.
//!
//! A line is two vectors, so three vectors are a line and a half: three panels are six vectors, two micro-tiles.

#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m128, __m256, _mm256_add_pd, _mm256_castps256_ps128, _mm256_cvtps_pd, _mm256_extractf128_ps,
    _mm256_fmadd_pd, _mm256_fmadd_ps, _mm256_load_pd, _mm256_load_ps, _mm256_loadu_pd,
    _mm256_set1_pd, _mm256_set1_ps, _mm256_setzero_pd, _mm256_setzero_ps, _mm256_storeu_pd,
};

use super::MicroKernel;
use crate::lanes::Lanes;

type Line64 = Lanes<f64, 8>;
type Line32 = Lanes<f32, 16>;

const ROWS: usize = 4;
const PANELS: usize = 3;

/// Where a vector of columns lies: which panel, and which half of its lines.
#[derive(Clone, Copy)]
struct Half {
    panel: usize,
    half: usize,
}

/// The halves of three panels in two groups of three; those of fewer panels in groups of two.
const THIRDS: [[Half; 3]; 2] = [
    [
        Half { panel: 0, half: 0 },
        Half { panel: 0, half: 1 },
        Half { panel: 1, half: 0 },
    ],
    [
        Half { panel: 1, half: 1 },
        Half { panel: 2, half: 0 },
        Half { panel: 2, half: 1 },
    ],
];

const fn line(panel: usize) -> [Half; 2] {
    [Half { panel, half: 0 }, Half { panel, half: 1 }]
}

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

fn run_f64(rows: &[Line64], first: usize, cols: &[&[Line64]], out: &mut [f64], stride: usize) {
    // SAFETY: this kernel is reached through an `Isa` of AVX2, which exists only where the processor has it and FMA.
    unsafe {
        if cols.len() == PANELS {
            THIRDS
                .iter()
                .for_each(|thirds| tile_f64(rows, first, cols, thirds, out, stride));
        } else {
            (0..cols.len())
                .for_each(|panel| tile_f64(rows, first, cols, &line(panel), out, stride));
        }
    }
}

fn run_f32(rows: &[Line32], first: usize, cols: &[&[Line32]], out: &mut [f64], stride: usize) {
    // SAFETY: as in `run_f64`.
    unsafe {
        if cols.len() == PANELS {
            THIRDS
                .iter()
                .for_each(|thirds| tile_f32(rows, first, cols, thirds, out, stride));
        } else {
            (0..cols.len())
                .for_each(|panel| tile_f32(rows, first, cols, &line(panel), out, stride));
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn tile_f64<const V: usize>(
    rows: &[Line64],
    first: usize,
    cols: &[&[Line64]],
    vectors: &[Half; V],
    out: &mut [f64],
    stride: usize,
) {
    let depth = rows.len();
    assert!(first + ROWS <= 8 && cols.iter().all(|col| col.len() == depth));
    assert!(
        vectors
            .iter()
            .all(|vector| vector.panel < cols.len() && vector.half < 2)
    );
    assert!(out.len() >= (ROWS - 1) * stride + 8 * cols.len());
    // SAFETY: `half` is 0 or 1, so the pointer stays within the first line, or one past no line at all.
    let bases = vectors.map(|v| unsafe { cols[v.panel].as_ptr().cast::<f64>().add(4 * v.half) });
    let mut sums = [[_mm256_setzero_pd(); V]; ROWS];
    for (k, row) in rows.iter().enumerate() {
        // SAFETY: k < depth, the length of every column, and a line holds 8 values; half a line is 32-byte aligned.
        let panels = bases.map(|base| unsafe { _mm256_load_pd(base.add(8 * k)) });
        for (sums, factor) in sums.iter_mut().zip(&row.0[first..first + ROWS]) {
            let factor = _mm256_set1_pd(*factor);
            for (sum, panel) in sums.iter_mut().zip(panels) {
                *sum = _mm256_fmadd_pd(factor, panel, *sum);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        for (vector, sum) in vectors.iter().zip(sums) {
            // SAFETY: r < ROWS and the panel exists, so 4 values from here on lie within `out`, by the assertion above.
            unsafe {
                let target = out
                    .as_mut_ptr()
                    .add(r * stride + 8 * vector.panel + 4 * vector.half);
                _mm256_storeu_pd(target, _mm256_add_pd(_mm256_loadu_pd(target), *sum));
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn tile_f32<const V: usize>(
    rows: &[Line32],
    first: usize,
    cols: &[&[Line32]],
    vectors: &[Half; V],
    out: &mut [f64],
    stride: usize,
) {
    let depth = rows.len();
    assert!(first + ROWS <= 16 && cols.iter().all(|col| col.len() == depth));
    assert!(
        vectors
            .iter()
            .all(|vector| vector.panel < cols.len() && vector.half < 2)
    );
    assert!(out.len() >= (ROWS - 1) * stride + 16 * cols.len());
    // SAFETY: as in `tile_f64`.
    let bases = vectors.map(|v| unsafe { cols[v.panel].as_ptr().cast::<f32>().add(8 * v.half) });
    let mut sums = [[_mm256_setzero_ps(); V]; ROWS];
    for (k, row) in rows.iter().enumerate() {
        // SAFETY: as in `tile_f64`, with 16 values a line.
        let panels = bases.map(|base| unsafe { _mm256_load_ps(base.add(16 * k)) });
        for (sums, factor) in sums.iter_mut().zip(&row.0[first..first + ROWS]) {
            let factor = _mm256_set1_ps(*factor);
            for (sum, panel) in sums.iter_mut().zip(panels) {
                *sum = _mm256_fmadd_ps(factor, panel, *sum);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        for (vector, sum) in vectors.iter().zip(sums) {
            for (quarter, values) in halves(*sum).into_iter().enumerate() {
                // SAFETY: as in `tile_f64`, with 16 values per panel, 8 per half and 4 per quarter.
                unsafe {
                    let offset = r * stride + 16 * vector.panel + 8 * vector.half + 4 * quarter;
                    let target = out.as_mut_ptr().add(offset);
                    _mm256_storeu_pd(
                        target,
                        _mm256_add_pd(_mm256_loadu_pd(target), _mm256_cvtps_pd(values)),
                    );
                }
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn halves(values: __m256) -> [__m128; 2] {
    [
        _mm256_castps256_ps128(values),
        _mm256_extractf128_ps::<1>(values),
    ]
}
