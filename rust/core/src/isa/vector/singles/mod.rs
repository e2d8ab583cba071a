//! Vectors of `f32`: twice as many numbers in the same registers.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;

use super::{Real, WIDTH};
use crate::isa::Lanes;

/// The values of one vector of `f32`: a block of one row, and the same block of another row.
pub type BlockPair = Lanes<f32, { 2 * WIDTH }>;

/// Two blocks of `f32` side by side.
pub trait Singles: Real {
    /// Reads the values.
    fn load(values: &BlockPair) -> Self;

    /// Writes the values.
    fn store(self, values: &mut BlockPair);

    /// Reads a block into both halves.
    fn twice(block: &[f32; WIDTH]) -> Self;

    /// A number for all values of each half.
    #[inline(always)]
    fn halves([first, second]: [f32; 2]) -> Self {
        let mut values = Lanes([first; 2 * WIDTH]);
        values.0[WIDTH..].fill(second);
        Self::load(&values)
    }
}

/// The items of [`Real`] that no hot loop on vectors of `f32` uses, one lane after the other.
macro_rules! one_by_one {
    () => {
        #[inline(always)]
        fn round(self) -> Self {
            self.each(Real::round)
        }

        #[inline(always)]
        fn power_of_two(self) -> Self {
            self.each(Real::power_of_two)
        }

        #[inline(always)]
        fn each(self, f: impl Fn(f64) -> f64) -> Self {
            let mut values = crate::isa::Lanes([0.0; 2 * WIDTH]);
            self.store(&mut values);
            for value in &mut values.0 {
                *value = f(f64::from(*value)) as f32;
            }
            Self::load(&values)
        }
    };
}
pub(super) use one_by_one;
