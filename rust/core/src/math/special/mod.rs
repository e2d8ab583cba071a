//! Special functions of any [`Real`]: no branches, no tables in memory, no calls.
//!
//! - `exponential`: exponentials, tanh, logarithm
//! - `error_function`: erf and the normal distribution
//! - `angle`: angles from their sine and cosine
//! - `trigonometric`: sine and cosine
//! - `odd_series`: by how much an odd function differs from a power
//! - this file: sums of powers, which all of them use
//!
//! `benches/polynomials.py` computes and prints the coefficients of the polynomials.

mod angle;
mod error_function;
mod exponential;
mod odd_series;
mod trigonometric;

use crate::isa::Real;

pub use angle::{angle_and_lift, angle_between, angle_of, single_angle_lift, small_angle_of};
pub use error_function::{erf, erfcx, normal};
pub use exponential::{
    exp, exp_minus_half_square, exp_minus_square, exp_of_sum, expm1, log1p_unit, tanh,
};
pub use odd_series::OddSeries;
pub use trigonometric::sin_cos;

/// `Σ_k coefficients[k] x^k` for terms that decrease or are positive: four sums by Horner's rule, side by side, and the
/// first term last.
///
/// In a single sum each multiply-add would wait for the one before, and processors do not look far enough ahead to fill
/// the time with other work.
#[inline(always)]
pub fn polynomial<R: Real, const N: usize>(coefficients: &[f64; N], x: R) -> R {
    const { assert!(N > 4) };
    let square = x * x;
    let step = square * square;
    let near = every_fourth(coefficients, 2, step).mul_add(x, every_fourth(coefficients, 1, step));
    let far = every_fourth(coefficients, 4, step).mul_add(x, every_fourth(coefficients, 3, step));
    far.mul_add(square, near)
        .mul_add(x, R::splat(coefficients[0]))
}

/// `Σ_k coefficients[first + 4k] step^k`, by Horner's rule.
#[inline(always)]
fn every_fourth<R: Real, const N: usize>(coefficients: &[f64; N], first: usize, step: R) -> R {
    let last = first + (N - 1 - first) / 4 * 4;
    let mut sum = R::splat(coefficients[last]);
    let mut k = last;
    while k > first {
        k -= 4;
        sum = sum.mul_add(step, R::splat(coefficients[k]));
    }
    sum
}

/// `a + b x + c x² + d x³`.
#[inline(always)]
fn cubic<R: Real>([a, b, c, d]: &[f64; 4], x: R) -> R {
    let sum = R::splat(*d).mul_add(x, R::splat(*c));
    sum.mul_add(x, R::splat(*b)).mul_add(x, R::splat(*a))
}

/// `Σ_k coefficients[k] x^k` in one sum, for a few coefficients, or if their number is known only at run time. 0 if
/// there are none.
#[inline(always)]
pub fn sum_of_powers<R: Real>(coefficients: &[f64], x: R) -> R {
    let mut sum = R::splat(0.0);
    for coefficient in coefficients.iter().rev() {
        sum = sum.mul_add(x, R::splat(*coefficient));
    }
    sum
}

/// Comparison of functions with those of libm.
#[cfg(test)]
mod check {
    use std::fmt::Debug;
    use std::ops::Range;

    use crate::isa::{Isa, Real, Vector, Vectorized, WIDTH};

    /// A function of any [`Real`], as a type.
    pub(super) trait Function: Debug {
        fn call<R: Real>(&self, x: R) -> R;
    }

    /// Declares a type for each function, so that generic functions can be arguments.
    macro_rules! functions {
        ($($name:ident: |$x:ident| $value:expr);+ $(;)?) => {$(
            #[derive(Debug)]
            struct $name;
            impl crate::math::special::check::Function for $name {
                #[inline(always)]
                fn call<R: Real>(&self, $x: R) -> R {
                    $value
                }
            }
        )+};
    }
    pub(super) use functions;

    /// Evaluates a function at the lanes of a block.
    struct On<'a, F>(&'a F, &'a [f64; WIDTH]);

    impl<F: Function> Vectorized for On<'_, F> {
        type Output = [f64; WIDTH];

        #[inline(always)]
        fn run<V: Vector>(self) -> Self::Output {
            let mut values = [f64::NAN; WIDTH];
            self.0.call(V::load(self.1)).store(&mut values);
            values
        }
    }

    /// Asserts that `f` is `exact` to `ulps` ε on a range, for scalars and on every instruction set.
    pub(super) fn assert_close<F: Function>(
        f: &F,
        exact: fn(f64) -> f64,
        range: Range<f64>,
        ulps: f64,
    ) {
        const BLOCKS: usize = 1000;
        let step = (range.end - range.start) / (BLOCKS * WIDTH) as f64;
        for block in 0..BLOCKS {
            let x: [f64; WIDTH] =
                std::array::from_fn(|lane| range.start + step * (block * WIDTH + lane) as f64);
            let mut results = vec![("scalar", x.map(|x| f.call(x)))];
            results.extend(
                Isa::available()
                    .into_iter()
                    .map(|isa| (isa.name(), isa.run(On(f, &x)))),
            );
            for (name, values) in results {
                for (x, value) in x.into_iter().zip(values) {
                    let exact = exact(x);
                    let error = (value - exact).abs() / (exact.abs() * f64::EPSILON);
                    assert!(
                        value == exact || error <= ulps,
                        "{f:?}({x}) is {value}, not {exact}: {error} ε ({name})"
                    );
                }
            }
        }
    }
}
