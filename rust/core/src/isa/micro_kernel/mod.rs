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

impl Target<'_> {
    /// Checks that `rows` rows of `width` values lie within the values. `unsafe` code relies on it, so no size may wrap.
    ///
    /// # Panics
    /// If they do not.
    #[inline(always)]
    fn check(&self, rows: usize, width: usize) {
        let last = (rows - 1).checked_mul(self.stride);
        let end = last.and_then(|last| last.checked_add(width));
        assert!(
            end.is_some_and(|end| end <= self.values.len()),
            "{rows} rows of {width} values at a stride of {} do not fit into {} values",
            self.stride,
            self.values.len()
        );
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Runs a micro-kernel on values of this length and stride, and returns the message of its panic.
    fn refusal<L: Copy>(kernel: MicroKernel<L>, line: L, len: usize, stride: usize) -> String {
        let (mut values, lines) = (vec![0.0; len], [line; 3]);
        let out = Target {
            values: &mut values,
            stride,
            start: Start::Overwrite,
        };
        let run = || kernel.run(&lines, 0, &[&lines], &[], out);
        let payload = catch_unwind(AssertUnwindSafe(run)).expect_err("the rows do not fit");
        *payload
            .downcast::<String>()
            .expect("a message with numbers")
    }

    #[test]
    fn rows_beyond_the_target_are_refused_whatever_their_stride() {
        const LEN: usize = 1 << 12;
        for isa in Isa::available() {
            let (double, single) = (micro_kernel_f64(isa), micro_kernel_f32(isa));
            let steps = double.rows - 1;
            // The last row begins beyond the last address, and comes to lie on an address of the target.
            let wrapped = [usize::MAX.div_ceil(steps), usize::MAX, usize::MAX / steps];
            for stride in wrapped.into_iter().chain([LEN / steps, usize::MAX / 2 + 1]) {
                let expected = format!("at a stride of {stride} do not fit into {LEN} values");
                let of_double = refusal(double, Lanes([1.0; 8]), LEN, stride);
                let of_single = refusal(single, Lanes([1.0; 16]), LEN, stride);
                for message in [of_double, of_single] {
                    assert!(message.contains(&expected), "{isa}: {message}");
                }
            }
        }
    }
}
