//! Vectors of `f32`: twice as many numbers in the same registers.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
pub(super) mod portable;

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
use one_by_one;

#[cfg(test)]
mod tests {
    use std::array::from_fn;

    use super::*;
    use crate::isa::{Isa, Vector, Vectorized};

    const X: [f32; 8] = [-3.5, -0.0, 0.0, 0.5, 1.5, 2.5, 1e30, -7.25];
    const Y: [f32; 8] = [2.0, -1.0, 3.0, -0.0, 1.5, -2.5, 1e-30, 100.0];

    fn values<S: Singles>(vector: S) -> [f32; 2 * WIDTH] {
        let mut values = Lanes([f32::NAN; 2 * WIDTH]);
        vector.store(&mut values);
        values.0
    }

    /// Every operation on X beside 2 Y and on Y beside X.
    struct Operations;

    impl Vectorized for Operations {
        type Output = Vec<[f32; 2 * WIDTH]>;

        #[inline(always)]
        fn run<V: Vector>(self) -> Self::Output {
            let [x, y] = operands().map(|values| V::Singles::load(&Lanes(values)));
            let (zero, one) = (V::Singles::splat(0.0), V::Singles::splat(1.0));
            assert!(V::Singles::any(x.less(y)) && !V::Singles::any(x.less(x)));
            assert!(!V::Singles::any(one.is_negative()) && V::Singles::any((-zero).is_negative()));
            let results = [
                x + y,
                x - y,
                x * y,
                x / y,
                -x,
                x.mul_add(y, one),
                x.abs().sqrt(),
                x.abs(),
                x.copysign(y),
                x.max(y),
                x.min(y),
                x.round(),
                x.copysign(one).min(one).round().power_of_two(),
                V::Singles::select(x.less(y), one, zero),
                V::Singles::select(x.is_negative(), one, zero),
                x.each(|x| 1.0 / x),
                V::Singles::twice(&X),
                V::Singles::halves([3.0, -4.0]),
            ];
            results.into_iter().map(values).collect()
        }
    }

    /// The operands of [`Operations`].
    fn operands() -> [[f32; 2 * WIDTH]; 2] {
        let x = from_fn(|lane| {
            if lane < WIDTH {
                X[lane]
            } else {
                2.0 * Y[lane - WIDTH]
            }
        });
        [
            x,
            from_fn(|lane| {
                if lane < WIDTH {
                    Y[lane]
                } else {
                    X[lane - WIDTH]
                }
            }),
        ]
    }

    /// The results of [`Operations`] in one lane.
    fn expected(lane: usize, fused: bool) -> [f32; 18] {
        let [x, y] = operands().map(|values| values[lane]);
        let of = |condition: bool| f32::from(u8::from(condition));
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
            x.abs(),
            x.copysign(y),
            if x > y { x } else { y },
            if x < y { x } else { y },
            x.round_ties_even(),
            if x.abs() > 0.5 { 2.0 } else { 1.0 },
            of(x < y),
            of(x.is_sign_negative()),
            1.0 / x,
            X[lane % WIDTH],
            if lane < WIDTH { 3.0 } else { -4.0 },
        ]
    }

    #[test]
    fn operations_are_those_of_scalars_on_every_instruction_set() {
        for isa in Isa::available() {
            for (operation, result) in isa.run(Operations).into_iter().enumerate() {
                for (lane, result) in result.into_iter().enumerate() {
                    let expected = expected(lane, isa != Isa::PORTABLE)[operation];
                    assert_eq!(
                        result.to_bits(),
                        expected.to_bits(),
                        "{isa}, operation {operation}, lane {lane}"
                    );
                }
            }
        }
    }

    /// Inverse roots of numbers of some binary orders, and of all leading digits.
    struct InverseRoots;

    impl Vectorized for InverseRoots {
        type Output = Vec<(f32, f32)>;

        #[inline(always)]
        fn run<V: Vector>(self) -> Self::Output {
            let mut pairs = Vec::new();
            for order in [-126, -51, -2, -1, 0, 1, 30, 127] {
                for step in 0..512_u16 {
                    let lane = |lane: u16| 1.0 + f32::from(step * 16 + lane) / 8192.0;
                    let x = from_fn(|l| lane(l as u16) * 2.0_f32.powi(order));
                    let roots = values(V::Singles::load(&Lanes(x)).inverse_sqrt());
                    pairs.extend(x.into_iter().zip(roots));
                }
            }
            pairs
        }
    }

    #[test]
    fn inverse_roots_are_right_to_the_last_digit_on_every_instruction_set() {
        for isa in Isa::available() {
            for (x, root) in isa.run(InverseRoots) {
                let exact = 1.0 / f64::from(x).sqrt();
                let error = (f64::from(root) / exact - 1.0).abs();
                assert!(
                    error <= f64::from(f32::EPSILON),
                    "{isa}: {x} {root} {exact}"
                );
            }
        }
    }
}
