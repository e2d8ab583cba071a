//! Instruction sets: which one runs here, and the micro-kernels written for each.
//!
//! The set is chosen once per process, at run time: one build runs on every machine. All of them sum in the same
//! order, but AVX2 and AVX-512 round a product and its sum once and portable code twice, so bits differ between them.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod floats;
mod lanes;
mod portable;
mod vector;

use std::env;
use std::fmt;
use std::sync::OnceLock;

use crate::error::{Error, Result};

pub use floats::DefaultFloats;
pub use lanes::{Lanes, Plain};
pub use vector::{
    Block, Blocks, CHOICES, Choice, Part, Real, Square, Vector, Vectorized, WIDTH, blocks_of,
};

/// The environment variable that pins the instruction set.
const VARIABLE: &str = "NTKRS_ISA";

/// An instruction set that this process may use. A value of the AVX variants exists only where the processor has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Set);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// What every machine can run.
    pub const PORTABLE: Self = Self(Set::Portable);

    /// Those that this machine can run, the best one last.
    pub fn available() -> Vec<Self> {
        let mut available = vec![Self(Set::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                available.push(Self(Set::Avx2));
            }
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
            {
                available.push(Self(Set::Avx512));
            }
        }
        available
    }

    /// The one in use: that of the environment variable `NTKRS_ISA` when it was first asked for, else the best.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the variable names a set that does not exist, or that this machine lacks.
    pub fn current() -> Result<Self> {
        static CURRENT: OnceLock<Result<Isa>> = OnceLock::new();
        CURRENT.get_or_init(Self::choose).clone()
    }

    fn choose() -> Result<Self> {
        let available = Self::available();
        let best = available[available.len() - 1];
        let Some(pin) = env::var_os(VARIABLE).filter(|pin| !pin.is_empty()) else {
            return Ok(best);
        };
        let pinned = pin
            .to_str()
            .and_then(|pin| available.iter().find(|isa| isa.name() == pin));
        pinned.copied().ok_or_else(|| {
            let names: Vec<_> = available.iter().map(|isa| isa.name()).collect();
            let names = names.join(", ");
            Error::Invalid(format!(
                "the environment variable {VARIABLE} is {pin:?}, but this machine has: {names}"
            ))
        })
    }

    /// Its name, as `NTKRS_ISA` takes it.
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

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
    /// Whether to take what is there for zeros, whatever it is.
    pub fresh: bool,
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
pub fn micro_kernel_f64(isa: Isa) -> MicroKernel<Lanes<f64, 8>> {
    match isa.0 {
        Set::Portable => portable::f64(),
        #[cfg(target_arch = "x86_64")]
        Set::Avx2 => avx2::f64(),
        #[cfg(target_arch = "x86_64")]
        Set::Avx512 => avx512::f64(),
    }
}

/// The micro-kernel for `f32`.
pub fn micro_kernel_f32(isa: Isa) -> MicroKernel<Lanes<f32, 16>> {
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
pub fn spin(isa: Isa, single: bool, rounds: usize) -> usize {
    match (isa.0, single) {
        (Set::Portable, false) => portable::spin_f64(rounds),
        (Set::Portable, true) => portable::spin_f32(rounds),
        #[cfg(target_arch = "x86_64")]
        (Set::Avx2, false) => avx2::spin_f64(rounds),
        #[cfg(target_arch = "x86_64")]
        (Set::Avx2, true) => avx2::spin_f32(rounds),
        #[cfg(target_arch = "x86_64")]
        (Set::Avx512, false) => avx512::spin_f64(rounds),
        #[cfg(target_arch = "x86_64")]
        (Set::Avx512, true) => avx512::spin_f32(rounds),
    }
}
