//! The innermost loop of products: the only loop written separately for each instruction set (`portable`, `avx2`,
//! `avx512`).

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
    /// The number of rows of a micro-tile: a divisor of the number of lanes of a panel.
    pub rows: usize,
    /// The largest number of column panels of a micro-tile.
    pub panels: usize,
    run: Run<L>,
}

/// The signature of [`MicroKernel::run`].
type Run<L> = fn(rows: &[L], first: usize, cols: &[&[L]], prefetch: &[L], out: Target<'_>);

/// The values to which a micro-kernel adds its sums.
pub struct Target<'a> {
    /// Rows of values.
    pub values: &'a mut [f64],
    /// The distance from one row to the next.
    pub stride: usize,
    /// The initial values: the target's own, or zeros.
    pub start: Start,
}

/// The initial values of a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Zeros. The target may hold anything, and is overwritten.
    Overwrite,
    /// The values of the target.
    Add,
}

impl<L> MicroKernel<L> {
    /// Adds `Σ_k rows[k][first + r] · cols[p][k][w]` to `out.values[r·stride + W·p + w]`, for `r < self.rows`.
    ///
    /// Sums over k ascend from zero in the storage type, and are added in `f64`. In the meantime lines may be prefetched
    /// into L2, from the start of `prefetch` on: `rows.len()` lines in all, shared by the micro-tiles of a row panel.
    ///
    /// # Panics
    /// If a slice is too short, there are more than `self.panels` column panels, or `first` is not a multiple of
    /// `self.rows`.
    #[inline]
    pub fn run(&self, rows: &[L], first: usize, cols: &[&[L]], prefetch: &[L], out: Target<'_>) {
        (self.run)(rows, first, cols, prefetch, out);
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

/// A register-only multiply-add loop, used to measure peak throughput: `rounds` times about a dozen vectors. Returns the
/// number of flops. `single` is true for `f32`.
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
