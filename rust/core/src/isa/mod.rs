//! Instruction sets: the only place for intrinsics. Nothing here knows more than numbers and cache lines.
//!
//! [`Isa`] is the set in use. `micro_kernel` holds the innermost loop of products, written for each set; `vector` the
//! numbers in which all other loops are written once ([`Vectorized`]); `line` the cache line, `prefetch` a hint to the
//! caches, and `float_env` the floating-point environment.
//!
//! The set is chosen once per process, at run time: one build runs on every machine. All sets sum in the same order, but
//! AVX2 and AVX-512 round a product and its sum once and portable code twice, so their results differ in the last bits.

mod float_env;
mod line;
mod micro_kernel;
mod prefetch;
mod vector;

use std::env;
use std::fmt;
use std::sync::OnceLock;

use crate::error::{Error, Result};

pub use float_env::DefaultFloatEnv;
pub use line::{Lanes, Pod};
pub use micro_kernel::{MicroKernel, Start, Target, micro_kernel_f32, micro_kernel_f64, peak_loop};
pub use prefetch::prefetch;
pub use vector::{
    Block, BlockPair, Blocks, LUT_LEN, Lut, Part, Real, Singles, Square, Vector, Vectorized, WIDTH,
    blocks_of,
};

/// The environment variable that pins the instruction set.
const VARIABLE: &str = "NTKRS_ISA";

/// An instruction set that this process may use. Values of the AVX variants exist only where the processor has them.
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
    /// The set that every machine has.
    pub const PORTABLE: Self = Self(Set::Portable);

    /// The sets that this machine has, the best one last.
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

    /// The set in use: the one named by the environment variable `NTKRS_ISA` at the first call, otherwise the best.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the variable names a set that this machine lacks, or that does not exist.
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

    /// The name, as `NTKRS_ISA` takes it.
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
