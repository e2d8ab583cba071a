//! The innermost loop of products, written for each instruction set.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use super::{Isa, Lanes, Set};

/// A cache line of `f64`.
type Line64 = Lanes<f64, 8>;

/// A cache line of `f32`.
type Line32 = Lanes<f32, 16>;

/// The innermost loop: a micro-tile of some rows by some whole panels of columns, its sums in registers.
#[derive(Clone, Copy)]
pub struct MicroKernel<L> {
    /// Rows of the micro-tile: lanes of one row panel, a divisor of its width.
    pub rows: usize,
    /// The most column panels of a micro-tile.
    pub panels: usize,
    run: Run<L>,
}

/// `out.values[r·stride + W·p + w] += Σ_k rows[k][first + r] · cols[p][k][w]`; `ahead` is what will be needed soon.
type Run<L> = fn(rows: &[L], first: usize, cols: &[&[L]], ahead: &[L], out: Target<'_>);

/// Where a micro-kernel adds its sums.
pub struct Target<'a> {
    /// Rows of values.
    pub values: &'a mut [f64],
    /// From one row to the next.
    pub stride: usize,
    /// The values that the sums are added to.
    pub start: Start,
}

/// The values that a product is added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Zeros: the target may hold anything, and is overwritten.
    Overwrite,
    /// The target's own.
    Add,
}

impl<L> MicroKernel<L> {
    /// Adds `Σ_k rows[k][first + r] · cols[p][k][w]` to `out.values[r·stride + W·p + w]`, for `r < self.rows`.
    ///
    /// Sums over k ascend from zero in the storage type and are added in `f64`. Meanwhile its share of as many
    /// lines as there are `rows` may be fetched into L2, from `ahead` on: the micro-tiles of a panel of rows divide them.
    ///
    /// # Panics
    /// If a slice is too short, there are more than `self.panels` columns, or `first` is no multiple of `self.rows`.
    #[inline]
    pub fn run(&self, rows: &[L], first: usize, cols: &[&[L]], ahead: &[L], out: Target<'_>) {
        (self.run)(rows, first, cols, ahead, out);
    }
}

/// The micro-kernel for `f64`.
pub fn micro_kernel_f64(isa: Isa) -> MicroKernel<Line64> {
    match isa.0 {
        Set::Portable => portable::f64(),
        #[cfg(target_arch = "x86_64")]
        Set::Avx2 => avx2::f64(),
        #[cfg(target_arch = "x86_64")]
        Set::Avx512 => avx512::f64(),
    }
}

/// The micro-kernel for `f32`.
pub fn micro_kernel_f32(isa: Isa) -> MicroKernel<Line32> {
    match isa.0 {
        Set::Portable => portable::f32(),
        #[cfg(target_arch = "x86_64")]
        Set::Avx2 => avx2::f32(),
        #[cfg(target_arch = "x86_64")]
        Set::Avx512 => avx512::f32(),
    }
}

/// Runs multiply-adds in registers alone, `rounds` times some dozen vectors of them, and returns the number of flops: the
/// limit that benchmarks are held against.
pub fn peak_loop(isa: Isa, single: bool, rounds: usize) -> usize {
    match (isa.0, single) {
        (Set::Portable, false) => portable::peak_loop_f64(rounds),
        (Set::Portable, true) => portable::peak_loop_f32(rounds),
        #[cfg(target_arch = "x86_64")]
        (Set::Avx2, false) => avx2::peak_loop_f64(rounds),
        #[cfg(target_arch = "x86_64")]
        (Set::Avx2, true) => avx2::peak_loop_f32(rounds),
        #[cfg(target_arch = "x86_64")]
        (Set::Avx512, false) => avx512::peak_loop_f64(rounds),
        #[cfg(target_arch = "x86_64")]
        (Set::Avx512, true) => avx512::peak_loop_f32(rounds),
    }
}
