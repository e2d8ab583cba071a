//! Lookup tables: one number out of sixteen in each lane.

use super::real::INTEGER_IN_LOW_BITS;
use super::{Vector, WIDTH};

/// The length of a [`Lut`].
pub const LUT_LEN: usize = 2 * WIDTH;

/// A table of numbers for [`Vector::lookup`].
#[derive(Clone, Copy, Debug)]
pub struct Lut {
    pub(super) numbers: [f64; LUT_LEN],
    /// The low and the high halves of the numbers' bits, for instruction sets that permute eight words of 32 bits.
    pub(super) halves: [[u32; LUT_LEN]; 2],
}

impl Lut {
    /// The table of these numbers.
    pub fn new(numbers: [f64; LUT_LEN]) -> Self {
        let halves = [0, 32].map(|shift| numbers.map(|number| (number.to_bits() >> shift) as u32));
        Self { numbers, halves }
    }
}

/// The [`Vector::Indices`] of instruction sets without permutations: one index per lane.
pub(super) type EachIndex = [u8; WIDTH];

/// [`Vector::indices`], one by one.
#[inline(always)]
pub(super) fn each_index<V: Vector>(integers: V) -> EachIndex {
    let (mut sums, mut indices) = ([0.0; WIDTH], [0; WIDTH]);
    (integers + V::splat(INTEGER_IN_LOW_BITS)).store(&mut sums);
    for (index, sum) in indices.iter_mut().zip(sums) {
        *index = sum.to_bits() as u8 % LUT_LEN as u8;
    }
    indices
}
