//! Values in an array. The compiler puts them into the registers of the target's baseline.

use super::singles::one_by_one;
use super::{
    BlockPair, EachIndex, LUT_LEN, Lut, Real, Singles, Vector, Vectorized, WIDTH, each_index,
    in_one_part, operators, without_slopes,
};
use crate::isa::Lanes;

/// Runs a computation with arrays. It is compiled once, wherever it is called, like those of the other instruction sets.
#[inline(never)]
pub(super) fn run<C: Vectorized>(computation: C) -> C::Output {
    computation.run::<Portable>()
}

/// [`Real`] for an array of numbers, lane by lane. The items at the end are those that differ.
///
/// Lanes are listed, not looped over: a formula has thousands of operations, and as many small loops in one function take
/// the compiler minutes.
macro_rules! lane_by_lane {
    ($vector:ident: $number:ident, [$($lane:literal)+]; $($item:tt)+) => {
        impl $vector {
            #[inline(always)]
            fn map(self, f: impl Fn($number) -> $number) -> Self {
                let x = self.0.0;
                Self(Lanes([$(f(x[$lane])),+]))
            }

            #[inline(always)]
            fn zip(self, other: Self, f: impl Fn($number, $number) -> $number) -> Self {
                let (x, y) = (self.0.0, other.0.0);
                Self(Lanes([$(f(x[$lane], y[$lane])),+]))
            }

            #[inline(always)]
            fn flip_sign(self) -> Self {
                self.map(|x| -x)
            }
        }

        operators! { $vector:
            Add add |x, y| x.zip(y, |x, y| x + y);
            Sub sub |x, y| x.zip(y, |x, y| x - y);
            Mul mul |x, y| x.zip(y, |x, y| x * y);
            Div div |x, y| x.zip(y, |x, y| x / y);
        }

        impl Real for $vector {
            without_slopes!();

            const FUSED: bool = false;

            type Mask = [bool; [$($lane),+].len()];

            #[inline(always)]
            fn splat(value: f64) -> Self {
                Self(Lanes([value as $number; _]))
            }

            #[inline(always)]
            fn mul_add(self, factor: Self, term: Self) -> Self {
                self * factor + term
            }

            #[inline(always)]
            fn sqrt(self) -> Self {
                self.map($number::sqrt)
            }

            #[inline(always)]
            fn abs(self) -> Self {
                self.map($number::abs)
            }

            #[inline(always)]
            fn copysign(self, sign: Self) -> Self {
                self.zip(sign, $number::copysign)
            }

            #[inline(always)]
            fn max(self, other: Self) -> Self {
                self.zip(other, |x, y| if x > y { x } else { y })
            }

            #[inline(always)]
            fn min(self, other: Self) -> Self {
                self.zip(other, |x, y| if x < y { x } else { y })
            }

            #[inline(always)]
            fn less(self, other: Self) -> Self::Mask {
                let (x, y) = (self.0.0, other.0.0);
                [$(x[$lane] < y[$lane]),+]
            }

            #[inline(always)]
            fn is_negative(self) -> Self::Mask {
                let x = self.0.0;
                [$(x[$lane].is_sign_negative()),+]
            }

            #[inline(always)]
            fn any(mask: Self::Mask) -> bool {
                $(mask[$lane])|+
            }

            #[inline(always)]
            fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
                let (yes, no) = (yes.0.0, no.0.0);
                Self(Lanes([$(if mask[$lane] { yes[$lane] } else { no[$lane] }),+]))
            }

            $($item)+
        }
    };
}

/// Eight `f64`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portable(Lanes<f64, WIDTH>);

lane_by_lane! { Portable: f64, [0 1 2 3 4 5 6 7];
    #[inline(always)]
    fn round(self) -> Self {
        // Not round_ties_even, which is a call where there is no instruction for it. This is exact below 2⁵¹, and no
        // larger values occur.
        self.map(|x| ((x.abs() + ROUNDER) - ROUNDER).copysign(x))
    }

    #[inline(always)]
    fn power_of_two(self) -> Self {
        self.map(Real::power_of_two)
    }

    #[inline(always)]
    fn each(self, f: impl Fn(f64) -> f64) -> Self {
        self.map(f)
    }
}

/// Adding this to a value below 2⁵¹, and subtracting it again, rounds the value to an integer.
const ROUNDER: f64 = (1_u64 << 52) as f64;

in_one_part!(Portable);

impl Vector for Portable {
    type Part = f64;

    type Singles = PortableSingles;

    type Indices = EachIndex;

    #[inline(always)]
    fn indices(self) -> EachIndex {
        each_index(self)
    }

    #[inline(always)]
    fn lookup(lut: &Lut, indices: EachIndex) -> Self {
        let mut values = [0.0; WIDTH];
        for (value, index) in values.iter_mut().zip(indices) {
            *value = lut.numbers[usize::from(index) % LUT_LEN];
        }
        Self(Lanes(values))
    }

    #[inline(always)]
    fn load(values: &[f64; WIDTH]) -> Self {
        Self(Lanes(*values))
    }

    #[inline(always)]
    fn store(self, values: &mut [f64; WIDTH]) {
        *values = self.0.0;
    }
}

/// Sixteen `f32`.
#[derive(Clone, Copy, Debug)]
pub struct PortableSingles(BlockPair);

lane_by_lane! { PortableSingles: f32, [0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15];
    one_by_one!();

    const SINGLE: bool = true;
}

impl Singles for PortableSingles {
    #[inline(always)]
    fn load(values: &BlockPair) -> Self {
        Self(*values)
    }

    #[inline(always)]
    fn store(self, values: &mut BlockPair) {
        *values = self.0;
    }

    #[inline(always)]
    fn twice(block: &[f32; WIDTH]) -> Self {
        let mut values = Lanes([0.0; 2 * WIDTH]);
        for half in values.0.as_chunks_mut::<WIDTH>().0 {
            *half = *block;
        }
        Self(values)
    }
}
