//! Vectors: each formula and each loop is written once, and compiled for every instruction set.
//!
//! A formula is a function of any [`Real`] (`real`): an `f64`, or a [`Vector`] of eight of them in the registers of an
//! instruction set (`portable`, `avx2`, `avx512`), or sixteen `f32` in the same registers ([`Singles`]). A loop over slices
//! is a [`Vectorized`] computation, which [`Isa::run`] compiles for each instruction set. Everything it calls must be
//! `#[inline(always)]`, or it is compiled without the instructions it needs. `blocks` stores values in whole vectors, and
//! `lut` is for lookup tables.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod blocks;
#[cfg(target_arch = "x86_64")]
mod intrinsics;
mod lut;
mod portable;
mod real;
mod singles;
#[cfg(test)]
mod tests;

use std::array::from_fn;

use super::{Isa, Lanes, Set};

pub use blocks::{Block, Blocks, blocks_of};
use lut::{EachIndex, each_index};
pub use lut::{LUT_LEN, Lut};
pub use real::Real;
use real::{EXPONENT_BIAS, EXPONENT_SHIFT, INTEGER_IN_LOW_BITS, without_slopes};
pub use singles::{BlockPair, Singles};

/// The number of values in a [`Vector`], for every instruction set.
pub const WIDTH: usize = 8;

/// A square block of lines of `f32`.
pub type Square = [Lanes<f32, { 2 * WIDTH }>; 2 * WIDTH];

/// A part of a block: the values that a long formula is computed on at a time.
pub trait Part: Real {
    /// The number of parts of a block.
    const PARTS: usize;

    /// Reads part `part` of the values.
    fn load_part(values: &Block, part: usize) -> Self;

    /// Writes part `part` of the values.
    fn store_part(self, values: &mut Block, part: usize);
}

/// [`WIDTH`] values side by side.
pub trait Vector: Part {
    /// The number of vectors that the registers hold.
    const REGISTERS: usize = 8;

    /// Reads the values.
    fn load(values: &Block) -> Self;

    /// Writes the values.
    fn store(self, values: &mut Block);

    /// Reads the values, exactly.
    #[inline(always)]
    fn widen(values: &[f32; WIDTH]) -> Self {
        let mut wide = [0.0; WIDTH];
        for (wide, value) in wide.iter_mut().zip(values) {
            *wide = f64::from(*value);
        }
        Self::load(&wide)
    }

    /// Writes the values, rounded.
    #[inline(always)]
    fn narrow(self, values: &mut [f32; WIDTH]) {
        let mut wide = [0.0; WIDTH];
        self.store(&mut wide);
        for (value, wide) in values.iter_mut().zip(wide) {
            *value = wide as f32;
        }
    }

    /// The type in which long formulas are computed. It is the vector itself, or one number after the other where the
    /// vector is an array: every operation on an array is compiled to [`WIDTH`] copies.
    type Part: Part;

    /// Twice as many numbers, in `f32`.
    type Singles: Singles;

    /// Two vectors side by side in `f32`, rounded.
    #[inline(always)]
    fn join([first, second]: [Self; 2]) -> Self::Singles {
        let mut values = Lanes([0.0; 2 * WIDTH]);
        let halves = values.0.as_chunks_mut().0;
        first.narrow(&mut halves[0]);
        second.narrow(&mut halves[1]);
        Self::Singles::load(&values)
    }

    /// Both halves of a vector in `f32`, exactly.
    #[inline(always)]
    fn split(values: Self::Singles) -> [Self; 2] {
        let mut stored = Lanes([0.0; 2 * WIDTH]);
        values.store(&mut stored);
        let halves = stored.0.as_chunks().0;
        [Self::widen(&halves[0]), Self::widen(&halves[1])]
    }

    /// One index of a [`Lut`] per lane.
    type Indices: Copy;

    /// Converts integers to indices. 0 is the first number, and −1 the last.
    fn indices(self) -> Self::Indices;

    /// The number at the lane's index, in each lane.
    fn lookup(lut: &Lut, indices: Self::Indices) -> Self;

    /// Writes the values past the caches, where the instruction set allows it. [`Vector::drain`] completes such writes.
    #[inline(always)]
    fn stream(self, line: &mut Lanes<f64, WIDTH>) {
        self.store(&mut line.0);
    }

    /// Writes the values of two vectors, rounded, past the caches, where the instruction set allows it.
    #[inline(always)]
    fn stream_rounded(halves: [Self; 2], line: &mut Lanes<f32, { 2 * WIDTH }>) {
        for (half, target) in halves.into_iter().zip(line.0.as_chunks_mut().0) {
            half.narrow(target);
        }
    }

    /// Transposes a square block of `f32`.
    #[inline(always)]
    fn transpose_narrow(source: &Square, target: &mut Square) {
        for (row, line) in target.iter_mut().enumerate() {
            for (value, source) in line.0.iter_mut().zip(source) {
                *value = source.0[row];
            }
        }
    }

    /// Makes streamed values visible to other threads, like other writes.
    #[inline(always)]
    fn drain() {}

    /// Transposes a square block, given by rows.
    #[inline(always)]
    fn transpose(rows: [Self; WIDTH]) -> [Self; WIDTH] {
        let mut values = [[0.0; WIDTH]; WIDTH];
        for (values, row) in values.iter_mut().zip(rows) {
            row.store(values);
        }
        // A loop: functions of arrays are not always inlined, and are then compiled without vector instructions.
        let mut columns = rows;
        for (lane, column) in columns.iter_mut().enumerate() {
            *column = Self::load(&from_fn(|row| values[row][lane]));
        }
        columns
    }
}

/// A computation on vectors, compiled for each instruction set.
pub trait Vectorized {
    /// The result of the computation.
    type Output;

    /// Runs the computation. Implementations and everything they call must be `#[inline(always)]`.
    fn run<V: Vector>(self) -> Self::Output;
}

impl Isa {
    /// Runs a computation with the vectors of this instruction set.
    pub fn run<C: Vectorized>(self, computation: C) -> C::Output {
        match self.0 {
            Set::Portable => portable::run(computation),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => avx2::run(computation),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => avx512::run(computation),
        }
    }
}

/// The operators of a vector type, each given by an expression of its operands.
macro_rules! operators {
    ($vector:ty: $($operator:ident $method:ident |$x:ident, $y:ident| $expression:expr;)+) => {
        $(impl std::ops::$operator for $vector {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                let ($x, $y) = (self, other);
                $expression
            }
        })+

        impl std::ops::Neg for $vector {
            type Output = Self;

            #[inline(always)]
            fn neg(self) -> Self {
                self.flip_sign()
            }
        }
    };
}
pub(crate) use operators;

/// [`Part`] for a vector that is its own part.
macro_rules! in_one_part {
    ($vector:ty) => {
        impl super::Part for $vector {
            const PARTS: usize = 1;

            #[inline(always)]
            fn load_part(values: &super::Block, _part: usize) -> Self {
                Self::load(values)
            }

            #[inline(always)]
            fn store_part(self, values: &mut super::Block, _part: usize) {
                self.store(values);
            }
        }
    };
}
pub(crate) use in_one_part;

impl Part for f64 {
    const PARTS: usize = WIDTH;

    #[inline(always)]
    fn load_part(values: &Block, part: usize) -> Self {
        values[part]
    }

    #[inline(always)]
    fn store_part(self, values: &mut Block, part: usize) {
        values[part] = self;
    }
}
