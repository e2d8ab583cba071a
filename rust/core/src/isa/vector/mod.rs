//! Numbers that formulas are written in once: `f64`, or eight of them in the registers of an instruction set.
//!
//! A formula is a function of any [`Real`]. A loop over slices is a [`Vectorized`] computation: [`Isa::run`] compiles it
//! for each instruction set. Everything on the way down must be `#[inline(always)]`, or it is compiled without the
//! instructions it needs.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod blocks;
mod portable;

use std::array::from_fn;
use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Neg, Sub};

use super::{Isa, Lanes, Set};

pub use blocks::{Block, Blocks, blocks_of};

/// How many values a [`Vector`] holds, whatever the instruction set.
pub const WIDTH: usize = 8;

/// How many numbers [`Vector::lookup`] chooses among.
pub const LUT_LEN: usize = 2 * WIDTH;

/// Numbers for [`Vector::lookup`].
pub type Lut = [f64; LUT_LEN];

/// As many lines of `f32` as each of them has values.
pub type Square = [Lanes<f32, { 2 * WIDTH }>; 2 * WIDTH];

/// [`Vector::indices`] one by one.
type EachIndex = [u8; WIDTH];

/// See [`Vector::indices`].
#[inline(always)]
fn each_index<V: Vector>(integers: V) -> EachIndex {
    let (mut sums, mut indices) = ([0.0; WIDTH], [0; WIDTH]);
    (integers + V::splat(INTEGER_IN_LOW_BITS)).store(&mut sums);
    for (index, sum) in indices.iter_mut().zip(sums) {
        *index = sum.to_bits() as u8 % LUT_LEN as u8;
    }
    indices
}

/// A number, or several side by side.
pub trait Real:
    Copy
    + Debug
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// What a comparison yields.
    type Mask: Copy;

    /// This value, in every lane.
    fn splat(value: f64) -> Self;

    /// `self · factor + term`, rounded once where the instruction set can.
    fn mul_add(self, factor: Self, term: Self) -> Self;

    /// √self.
    fn sqrt(self) -> Self;

    /// |self|.
    fn abs(self) -> Self;

    /// `self` with the sign of `sign`, zeros included.
    fn copysign(self, sign: Self) -> Self;

    /// The larger of the two.
    fn max(self, other: Self) -> Self;

    /// The smaller of the two.
    fn min(self, other: Self) -> Self;

    /// The nearest integer, ties to even.
    fn round(self) -> Self;

    /// `2^self` for integers between −1022 and 1023.
    fn power_of_two(self) -> Self;

    /// `self < other`.
    fn less(self, other: Self) -> Self::Mask;

    /// Whether the sign is negative, that of zeros included.
    fn is_negative(self) -> Self::Mask;

    /// Whether the mask holds in any lane.
    fn any(mask: Self::Mask) -> bool;

    /// `yes` where the mask holds, else `no`. Both are computed.
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;

    /// `f` of each lane, one by one: for what is rare. Numbers that carry derivatives take it for a constant.
    fn each(self, f: impl Fn(f64) -> f64) -> Self;

    /// The number itself: its own type, but for numbers that carry derivatives.
    type Value: Real<Value = Self::Value>;

    /// The number itself.
    fn value(self) -> Self::Value;

    /// A function of some variables, given its value and its slopes, as (slope, variable): numbers that carry derivatives
    /// take them from here, rather than from the approximation that computes the value.
    fn with_known_slopes<const K: usize>(
        value: Self::Value,
        slopes: [(Self::Value, Self); K],
    ) -> Self;
}

/// A part of a block of values that a formula is computed on at a time.
pub trait Part: Real {
    /// How many parts a block has.
    const PARTS: usize;

    /// A part of these values.
    fn load_part(values: &Block, part: usize) -> Self;

    /// Writes a part of the values.
    fn store_part(self, values: &mut Block, part: usize);
}

/// [`WIDTH`] values side by side.
pub trait Vector: Part {
    /// These values.
    fn load(values: &Block) -> Self;

    /// Writes the values.
    fn store(self, values: &mut Block);

    /// These values, exactly.
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

    /// What long formulas are computed in: the whole vector, or one number after the other where it is an array, whose every
    /// operation would be written out [`WIDTH`] times.
    type Part: Part;

    /// Which indices of a [`Lut`] the lanes name.
    type Indices: Copy;

    /// The indices that these integers name: from 0 at the front on, or from −1 at the end backwards.
    fn indices(self) -> Self::Indices;

    /// In each lane the number at its place.
    fn lookup(lut: &Lut, indices: Self::Indices) -> Self;

    /// Writes the values past the caches, where the instruction set can. [`Vector::drain`] ends such writes.
    #[inline(always)]
    fn stream(self, line: &mut Lanes<f64, WIDTH>) {
        self.store(&mut line.0);
    }

    /// Writes the values of two vectors, rounded, past the caches, where the instruction set can.
    #[inline(always)]
    fn stream_rounded(halves: [Self; 2], line: &mut Lanes<f32, { 2 * WIDTH }>) {
        for (half, target) in halves.into_iter().zip(line.0.as_chunks_mut().0) {
            half.narrow(target);
        }
    }

    /// Rows of `f32` become columns.
    #[inline(always)]
    fn transpose_narrow(source: &Square, target: &mut Square) {
        for (row, line) in target.iter_mut().enumerate() {
            for (value, source) in line.0.iter_mut().zip(source) {
                *value = source.0[row];
            }
        }
    }

    /// Waits until all that was streamed is visible to other threads, as other writes are.
    #[inline(always)]
    fn drain() {}

    /// Rows become columns.
    #[inline(always)]
    fn transpose(rows: [Self; WIDTH]) -> [Self; WIDTH] {
        let mut values = [[0.0; WIDTH]; WIDTH];
        for (values, row) in values.iter_mut().zip(rows) {
            row.store(values);
        }
        // A loop: functions of arrays are not always inlined, and then compiled without vector instructions.
        let mut columns = rows;
        for (lane, column) in columns.iter_mut().enumerate() {
            *column = Self::load(&from_fn(|row| values[row][lane]));
        }
        columns
    }
}

/// A computation on vectors, compiled for each instruction set.
pub trait Vectorized {
    /// What it returns.
    type Output;

    /// Runs it. To be marked `#[inline(always)]`, with all that it calls.
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

/// The operators of a vector type, each by an expression of the two vectors.
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

/// The part of [`Real`] that numbers without derivatives share.
macro_rules! without_slopes {
    () => {
        type Value = Self;

        #[inline(always)]
        fn value(self) -> Self {
            self
        }

        #[inline(always)]
        fn with_known_slopes<const K: usize>(value: Self, _slopes: [(Self, Self); K]) -> Self {
            value
        }
    };
}
pub(crate) use without_slopes;

/// [`Part`] of a vector.
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

/// Adding this to an integer below 2⁵¹ leaves it in the low bits of the sum.
const INTEGER_IN_LOW_BITS: f64 = 1.5 * (1_u64 << 52) as f64;

/// The bias of a floating-point exponent, and its place.
const EXPONENT_BIAS: i64 = 1023;
const EXPONENT_SHIFT: u32 = 52;

impl Real for f64 {
    without_slopes!();

    type Mask = bool;

    #[inline(always)]
    fn splat(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        self * factor + term
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        self.sqrt()
    }

    #[inline(always)]
    fn abs(self) -> Self {
        self.abs()
    }

    #[inline(always)]
    fn copysign(self, sign: Self) -> Self {
        self.copysign(sign)
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self > other { self } else { other }
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        if self < other { self } else { other }
    }

    #[inline(always)]
    fn round(self) -> Self {
        self.round_ties_even()
    }

    #[inline(always)]
    fn power_of_two(self) -> Self {
        let bits = (self + INTEGER_IN_LOW_BITS).to_bits();
        Self::from_bits(bits.wrapping_add(EXPONENT_BIAS as u64) << EXPONENT_SHIFT)
    }

    #[inline(always)]
    fn less(self, other: Self) -> bool {
        self < other
    }

    #[inline(always)]
    fn is_negative(self) -> bool {
        self.is_sign_negative()
    }

    #[inline(always)]
    fn any(mask: bool) -> bool {
        mask
    }

    #[inline(always)]
    fn select(mask: bool, yes: Self, no: Self) -> Self {
        if mask { yes } else { no }
    }

    #[inline(always)]
    fn each(self, f: impl Fn(f64) -> f64) -> Self {
        f(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: [f64; WIDTH] = [-3.5, -0.0, 0.0, 0.5, 1.5, 2.5, 1e300, -7.25];
    const Y: [f64; WIDTH] = [2.0, -1.0, 3.0, -0.0, 1.5, -2.5, 1e-300, 100.0];

    /// Every operation of [`Real`] on X and Y.
    struct Operations;

    impl Vectorized for Operations {
        type Output = Vec<[f64; WIDTH]>;

        #[inline(always)]
        fn run<V: Vector>(self) -> Self::Output {
            let (x, y) = (V::load(&X), V::load(&Y));
            let (zero, one) = (V::splat(0.0), V::splat(1.0));
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
            let store = |vector: V| {
                let mut values = [f64::NAN; WIDTH];
                vector.store(&mut values);
                values
            };
            assert!(V::any(x.less(y)) && !V::any(x.less(x)) && V::any(x.is_negative()));
            assert!(!V::any(one.is_negative()) && V::any((-zero).is_negative()));
            let rows = from_fn(|row| V::load(&from_fn(|column| (row * WIDTH + column) as f64)));
            for (column, values) in V::transpose(rows).into_iter().map(store).enumerate() {
                assert_eq!(values, from_fn(|row| (row * WIDTH + column) as f64));
            }
            let (mut line, mut rounded) = (Lanes([0.0; WIDTH]), Lanes([0.0; 2 * WIDTH]));
            x.stream(&mut line);
            V::stream_rounded([x, y], &mut rounded);
            V::drain();
            let square = from_fn(|r| Lanes(from_fn(|c| (r * 2 * WIDTH + c) as f32)));
            let mut turned = [Lanes([f32::NAN; 2 * WIDTH]); 2 * WIDTH];
            V::transpose_narrow(&square, &mut turned);
            for (column, line) in turned.iter().enumerate() {
                assert_eq!(line.0, from_fn(|row| square[row].0[column]));
            }
            let mut narrow = [f32::NAN; WIDTH];
            x.narrow(&mut narrow);
            assert_eq!(narrow, X.map(|value| value as f32));
            let mut wide = [f64::NAN; WIDTH];
            V::widen(&narrow).store(&mut wide);
            assert_eq!(wide, narrow.map(f64::from));
            assert_eq!(line.0, X);
            assert_eq!(rounded.0[..WIDTH], X.map(|value| value as f32));
            assert_eq!(rounded.0[WIDTH..], Y.map(|value| value as f32));
            results.into_iter().map(store).collect()
        }
    }

    #[test]
    fn operations_are_those_of_scalars_on_every_instruction_set() {
        let fused = |isa: Isa| isa.name() != "portable";
        for isa in Isa::available() {
            let results = isa.run(Operations);
            for (lane, (x, y)) in X.into_iter().zip(Y).enumerate() {
                let mul_add = if fused(isa) {
                    x.mul_add(y, 1.0)
                } else {
                    x * y + 1.0
                };
                let expected = [
                    x + y,
                    x - y,
                    x * y,
                    x / y,
                    -x,
                    mul_add,
                    x.abs().sqrt(),
                    x.copysign(y),
                    if x > y { x } else { y },
                    if x < y { x } else { y },
                    [0.0, 2.0, 2.0, -0.0, -2.0, 1e9, 0.0, -4.0][lane],
                    [
                        1.0,
                        2.0,
                        0.5,
                        8.98846567431158e307,
                        f64::MIN_POSITIVE,
                        4503599627370496.0,
                        f64::EPSILON,
                        8.0,
                    ][lane],
                    f64::from(u8::from(x < y)),
                    f64::from(u8::from(x.is_sign_negative())),
                    1.0 / x,
                    [0.0, 1.0, 7.0, 8.0, 15.0, 15.0, 0.0, 9.0][lane],
                ];
                for (operation, (result, expected)) in results.iter().zip(expected).enumerate() {
                    assert_eq!(
                        result[lane].to_bits(),
                        expected.to_bits(),
                        "{isa} {operation} {x} {y}"
                    );
                }
            }
        }
    }
}
