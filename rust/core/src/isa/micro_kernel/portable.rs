//! Plain Rust, which the compiler vectorises for the baseline of the target: SSE2 or NEON.

use std::hint::black_box;
use std::ops::{Add, AddAssign, Mul};

use super::{Lanes, Line32, Line64, MicroKernel, Start, Target};

/// The number of rows of a micro-tile. With one cache line of columns, the sums take 8 of the 16 registers of x86-64.
const ROWS: usize = 2;

pub(super) fn f64() -> MicroKernel<Line64> {
    MicroKernel {
        rows: ROWS,
        panels: 1,
        run: run::<f64, 8>,
    }
}

pub(super) fn f32() -> MicroKernel<Line32> {
    MicroKernel {
        rows: ROWS,
        panels: 1,
        run: run::<f32, 16>,
    }
}

fn run<T, const W: usize>(
    rows: &[Lanes<T, W>],
    first: usize,
    cols: &[&[Lanes<T, W>]],
    _prefetch: &[Lanes<T, W>],
    out: Target<'_>,
) where
    T: Copy + Default + AddAssign + Mul<Output = T> + Into<f64>,
{
    assert!(first < W && first.is_multiple_of(ROWS) && cols.len() == 1);
    assert_eq!(rows.len(), cols[0].len());
    out.check(ROWS, W);
    let mut sums = [[T::default(); W]; ROWS];
    for (row, col) in rows.iter().zip(cols[0]) {
        for (sums, factor) in sums.iter_mut().zip(&row.0[first..first + ROWS]) {
            for (sum, value) in sums.iter_mut().zip(&col.0) {
                *sum += *factor * *value;
            }
        }
    }
    // An opaque value: converting two `f32` at a time would otherwise make the loop above use half vectors, at half the
    // speed.
    for (r, sums) in black_box(sums).iter().enumerate() {
        for (value, sum) in out.values[r * out.stride..][..W].iter_mut().zip(sums) {
            let before = match out.start {
                Start::Overwrite => 0.0,
                Start::Add => *value,
            };
            *value = before + (*sum).into();
        }
    }
}

/// A register-only multiply-add loop, used to measure peak throughput. Returns the number of flops.
pub(super) fn peak_loop_f64(rounds: usize) -> usize {
    peak_loop([black_box(0.5_f64); 16], rounds)
}

/// [`peak_loop_f64`] in `f32`.
pub(super) fn peak_loop_f32(rounds: usize) -> usize {
    peak_loop([black_box(0.5_f32); 32], rounds)
}

fn peak_loop<T: Copy + Add<Output = T> + Mul<Output = T>, const N: usize>(
    mut sums: [T; N],
    rounds: usize,
) -> usize {
    let factor = sums[0];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = *sum * factor + factor;
        }
    }
    black_box(&mut sums);
    rounds * N * 2
}
