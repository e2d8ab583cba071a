//! Vectors: each formula and each loop is written once, and compiled for every instruction set.
//!
//! A formula is a function of any [`Real`] (`real`): an `f64`, or a [`Vector`] of eight of them in the registers of an
//! instruction set (`portable`, `avx2`, `avx512`), or sixteen `f32` in the same registers ([`Singles`]). A loop over slices is a [`Vectorized`] computation, which [`Isa::run`]
//! compiles for each instruction set. Everything it calls must be `#[inline(always)]`, or it is compiled without the
//! instructions it needs. `blocks` stores values in whole vectors, and `lut` is for lookup tables.

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
            Set::Portable => computation.run::<portable::Portable>(),
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

#[cfg(test)]
mod tests {
    use super::*;

    const X: Block = [-3.5, -0.0, 0.0, 0.5, 1.5, 2.5, 1e300, -7.25];
    const Y: Block = [2.0, -1.0, 3.0, -0.0, 1.5, -2.5, 1e-300, 100.0];

    #[inline(always)]
    fn values<V: Vector>(vector: V) -> Block {
        let mut values = [f64::NAN; WIDTH];
        vector.store(&mut values);
        values
    }

    /// Every operation of [`Real`] on X and Y, and a lookup.
    struct Operations;

    impl Vectorized for Operations {
        type Output = Vec<Block>;

        #[inline(always)]
        fn run<V: Vector>(self) -> Self::Output {
            let (x, y) = (V::load(&X), V::load(&Y));
            let (zero, one) = (V::splat(0.0), V::splat(1.0));
            assert!(V::any(x.less(y)) && !V::any(x.less(x)) && V::any(x.is_negative()));
            assert!(!V::any(one.is_negative()) && V::any((-zero).is_negative()));
            let results = [
                x + y,
                x - y,
                x * y,
                x / y,
                -x,
                x.mul_add(y, one),
                x.abs().sqrt(),
                x.copysign(y),
                x.max(y),
                x.min(y),
                V::load(&[0.5, 1.5, 2.5, -0.5, -1.5, 1e9, 0.49, -3.9]).round(),
                V::load(&[0.0, 1.0, -1.0, 1023.0, -1022.0, 52.0, -52.0, 3.0]).power_of_two(),
                V::select(x.less(y), one, zero),
                V::select(x.is_negative(), one, zero),
                x.each(|x| 1.0 / x),
                V::lookup(
                    &from_fn(|i| i as f64),
                    V::load(&[0.0, 1.0, 7.0, 8.0, 15.0, -1.0, -16.0, -7.0]).indices(),
                ),
            ];
            results.into_iter().map(values).collect()
        }
    }

    /// The results of [`Operations`] in one lane.
    fn expected(lane: usize, fused: bool) -> [f64; 16] {
        let (x, y) = (X[lane], Y[lane]);
        let round = [0.0, 2.0, 2.0, -0.0, -2.0, 1e9, 0.0, -4.0];
        let powers = [
            1.0,
            2.0,
            0.5,
            8.98846567431158e307,
            f64::MIN_POSITIVE,
            4503599627370496.0,
            f64::EPSILON,
            8.0,
        ];
        [
            x + y,
            x - y,
            x * y,
            x / y,
            -x,
            if fused {
                x.mul_add(y, 1.0)
            } else {
                x * y + 1.0
            },
            x.abs().sqrt(),
            x.copysign(y),
            if x > y { x } else { y },
            if x < y { x } else { y },
            round[lane],
            powers[lane],
            f64::from(u8::from(x < y)),
            f64::from(u8::from(x.is_sign_negative())),
            1.0 / x,
            [0.0, 1.0, 7.0, 8.0, 15.0, 15.0, 0.0, 9.0][lane],
        ]
    }

    #[test]
    fn operations_are_those_of_scalars_on_every_instruction_set() {
        for isa in Isa::available() {
            let results = isa.run(Operations);
            for lane in 0..WIDTH {
                let expected = expected(lane, isa != Isa::PORTABLE);
                for (operation, (result, expected)) in results.iter().zip(expected).enumerate() {
                    assert_eq!(
                        result[lane].to_bits(),
                        expected.to_bits(),
                        "{isa}, operation {operation}, lane {lane}"
                    );
                }
            }
        }
    }

    /// Inverse roots of numbers of every binary order that is used, and of all leading digits.
    struct InverseRoots;

    impl Vectorized for InverseRoots {
        type Output = Vec<(f64, f64)>;

        #[inline(always)]
        fn run<V: Vector>(self) -> Self::Output {
            let mut pairs = Vec::new();
            for order in [-1022, -501, -2, -1, 0, 1, 300, 1023] {
                for step in 0..512 {
                    let lane = |lane: usize| f64::from(step * 8 + lane as i32) / 4096.0 + 1.0;
                    let block: Block = from_fn(|l| libm::scalbn(lane(l), order));
                    let roots = values(V::load(&block).inverse_sqrt());
                    pairs.extend(block.into_iter().zip(roots));
                }
            }
            pairs
        }
    }

    #[test]
    fn inverse_roots_are_right_to_the_last_digit_on_every_instruction_set() {
        for isa in Isa::available() {
            for (x, root) in isa.run(InverseRoots) {
                let exact = 1.0 / x.sqrt();
                // Both round: the reference by up to ε, from half of the root's rounding and that of the division.
                let error = (root / exact - 1.0).abs();
                assert!(error <= 2.0 * f64::EPSILON, "{isa}: {x} {root} {exact}");
            }
        }
    }

    /// Checks conversions, writes past the caches and transposes.
    struct Moves;

    impl Vectorized for Moves {
        type Output = ();

        #[inline(always)]
        fn run<V: Vector>(self) {
            let (x, y) = (V::load(&X), V::load(&Y));
            let mut narrow = [f32::NAN; WIDTH];
            x.narrow(&mut narrow);
            assert_eq!(narrow, X.map(|value| value as f32));
            assert_eq!(values(V::widen(&narrow)), narrow.map(f64::from));
            let (mut line, mut rounded) = (Lanes([0.0; WIDTH]), Lanes([0.0; 2 * WIDTH]));
            x.stream(&mut line);
            V::stream_rounded([x, y], &mut rounded);
            V::drain();
            assert_eq!(line.0, X);
            assert_eq!(rounded.0[..WIDTH], X.map(|value| value as f32));
            assert_eq!(rounded.0[WIDTH..], Y.map(|value| value as f32));
            let rows = from_fn(|row| V::load(&from_fn(|column| (row * WIDTH + column) as f64)));
            for (column, vector) in V::transpose(rows).into_iter().enumerate() {
                assert_eq!(values(vector), from_fn(|row| (row * WIDTH + column) as f64));
            }
            let square = from_fn(|r| Lanes(from_fn(|c| (r * 2 * WIDTH + c) as f32)));
            let mut turned = [Lanes([f32::NAN; 2 * WIDTH]); 2 * WIDTH];
            V::transpose_narrow(&square, &mut turned);
            for (column, line) in turned.iter().enumerate() {
                assert_eq!(line.0, from_fn(|row| square[row].0[column]));
            }
        }
    }

    #[test]
    fn values_move_unchanged_on_every_instruction_set() {
        for isa in Isa::available() {
            isa.run(Moves);
        }
    }
}
