//! Exponentials, and functions that are computed from them.

use std::f64::consts::LOG2_E;

use super::polynomial;
use crate::isa::Real;

/// ln 2 in two parts. The first has 32 bits, so that its products with exponents are exact.
const LN_2: [f64; 2] = [6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10];

/// Below this, `e^x` is 0.
const UNDERFLOW: f64 = -746.0;
/// Above this, `e^x` is infinite.
const OVERFLOW: f64 = 710.0;

/// k and r, where `x + rest = k ln 2 + r` with |r| ≤ ln 2/2. `rest` must be far smaller than x.
#[inline(always)]
fn reduce<R: Real>(x: R, rest: R) -> (R, R) {
    let exponent = (x * R::splat(LOG2_E)).round();
    let high = exponent.mul_add(R::splat(-LN_2[0]), x);
    (exponent, exponent.mul_add(R::splat(-LN_2[1]), high) + rest)
}

/// `e^r − 1` for |r| ≤ ln 2/2.
#[inline(always)]
fn expm1_near_zero<R: Real>(r: R) -> R {
    (r * r).mul_add(polynomial(&EXP, r), r)
}

/// `e^x`, to 1 ulp.
#[inline(always)]
pub fn exp<R: Real>(x: R) -> R {
    exp_of_sum(x, R::splat(0.0))
}

/// `e^{x + rest}`, to 1 ulp, where `rest` is far smaller than x, such as the rounding error of x.
#[inline(always)]
pub fn exp_of_sum<R: Real>(x: R, rest: R) -> R {
    let number = R::Value::splat;
    let near = x.value().max(number(UNDERFLOW)).min(number(OVERFLOW));
    let (exponent, r) = reduce(near, rest.value());
    // In two steps: 2^exponent may not be a normal number even if its product is.
    let half = (exponent * number(0.5)).round();
    let value = number(1.0) + expm1_near_zero(r);
    let value = value * half.power_of_two() * (exponent - half).power_of_two();
    R::with_known_slopes(value, [(value, x), (value, rest)])
}

/// `e^{−x²}`, to 1 ulp however small it is.
#[inline(always)]
pub fn exp_minus_square<R: Real>(x: R) -> R {
    let (square, rest) = square(x);
    exp_of_sum(-square, -rest)
}

/// `e^{−x²/2}`, to 1 ulp however small it is.
#[inline(always)]
pub fn exp_minus_half_square<R: Real>(x: R) -> R {
    let half = R::splat(-0.5);
    let (square, rest) = square(x);
    exp_of_sum(half * square, half * rest)
}

/// x² as a sum of two numbers, the second one small. For |x| > 40 it is 40².
#[inline(always)]
fn square<R: Real>(x: R) -> (R, R) {
    const GRID: f64 = (1_u64 << 20) as f64;
    let x = x.abs().min(R::splat(40.0));
    // The square of `coarse` has 52 bits, so it is exact.
    let coarse = (x * R::splat(GRID)).round() * R::splat(1.0 / GRID);
    (coarse * coarse, (x - coarse) * (x + coarse))
}

/// `e^x − 1`, to 2 ulp however small x is.
#[inline(always)]
pub fn expm1<R: Real>(x: R) -> R {
    let number = R::Value::splat;
    let near = x.value().max(number(-40.0)).min(number(OVERFLOW));
    let (exponent, r) = reduce(near, number(0.0));
    // In two steps: 2^1024 overflows, but its product with a small number may not.
    let half = (exponent * number(0.5)).round();
    let (first, second) = (half.power_of_two(), (exponent - half).power_of_two());
    let inverse = (-exponent).max(number(-1022.0)).power_of_two();
    let near_one = expm1_near_zero(r) + (number(1.0) - inverse);
    let value = near_one * first * second;
    R::with_known_slopes(value, [(value + number(1.0), x)])
}

/// `tanh x`, to 3 ulp.
#[inline(always)]
pub fn tanh<R: Real>(x: R) -> R {
    let less = expm1(R::splat(-2.0) * x.abs());
    (-less / (less + R::splat(2.0))).copysign(x)
}

/// `ln(1 + x)` for x in [0, 1], to 2 ulp however small x is.
#[inline(always)]
pub fn log1p_unit<R: Real>(x: R) -> R {
    let ratio = x / (x + R::splat(2.0));
    (ratio + ratio) * polynomial(&ATANH, ratio * ratio)
}

/// (e^t − 1 − t)/t² on [-0.3467, 0.3467], to 4.8e-18.
const EXP: [f64; 11] = [
    0.5,
    0.1666666666666667,
    0.04166666666666667,
    0.00833333333332612,
    0.0013888888888883737,
    0.00019841269874873975,
    2.480158732558584e-05,
    2.755725533255441e-06,
    2.7557273594799413e-07,
    2.510524515390137e-08,
    2.0914707069612355e-09,
];

/// atanh(√t)/√t on [0, 0.1112], to 4.6e-18.
const ATANH: [f64; 11] = [
    1.0,
    0.3333333333333307,
    0.2000000000009359,
    0.14285714272637373,
    0.11111112046038372,
    0.090908702118891,
    0.07693311488208962,
    0.06650126836781005,
    0.060555724848537,
    0.041600684854662465,
    0.08526225600197067,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::special::check::{assert_close, functions};

    functions! {
        Exp: |x| exp(x); Expm1: |x| expm1(x); Tanh: |x| tanh(x); Log1p: |x| log1p_unit(x);
        ExpMinusSquare: |x| exp_minus_square(x);
    }

    #[test]
    fn exponentials_are_those_of_libm() {
        assert_close(&Exp, libm::exp, -708.0..709.7, 2.0);
        assert_close(&Exp, libm::exp, -1e-3..1e-3, 2.0);
        assert_close(&Expm1, libm::expm1, -50.0..709.7, 3.0);
        assert_close(&Expm1, libm::expm1, -1.5..1.5, 3.0);
        assert_close(&Expm1, libm::expm1, -1e-9..1e-9, 2.0);
        assert_close(&Tanh, libm::tanh, -25.0..25.0, 4.0);
        assert_close(&Tanh, libm::tanh, -1.0..1.0, 4.0);
        assert_close(&Log1p, libm::log1p, 0.0..1.0, 3.0);
        assert_close(&Log1p, libm::log1p, 0.0..1e-9, 3.0);
    }

    #[test]
    fn tails_of_gaussians_keep_their_digits() {
        // Numbers whose squares are exact.
        let grid = |x: f64| (x * 1024.0).round() / 1024.0;
        for k in 0..2000 {
            let x = grid(f64::from(k) * 0.013);
            let exact = libm::exp(-x * x);
            assert!(
                (exp_minus_square(x) / exact - 1.0).abs() <= 2.0 * f64::EPSILON,
                "{x}"
            );
            // e^{−(x+h)²} = e^{−x²} e^{−2xh−h²}
            let h = 1.3e-9;
            let exact = exact * libm::exp(-2.0 * x * h - h * h);
            let beside = x + h;
            let rounding = 2.0 * x * (beside - x - h);
            let ratio = exp_minus_square(beside) / exact + rounding;
            assert!((ratio - 1.0).abs() <= 4.0 * f64::EPSILON, "{x}");
        }
        assert_close(&ExpMinusSquare, |x| libm::exp(-x * x), -1.0..1.0, 3.0);
    }

    #[test]
    fn extreme_arguments_give_the_limits() {
        assert_eq!(
            (exp(0.0), exp(-800.0), exp(800.0)),
            (1.0, 0.0, f64::INFINITY)
        );
        assert_eq!(
            (exp(f64::NEG_INFINITY), exp(f64::INFINITY)),
            (0.0, f64::INFINITY)
        );
        assert_eq!(exp(-744.0), libm::exp(-744.0));
        assert_eq!(
            (expm1(0.0), expm1(-1e9), expm1(1e9)),
            (0.0, -1.0, f64::INFINITY)
        );
        assert_eq!((tanh(0.0), tanh(-1e300), tanh(1e300)), (0.0, -1.0, 1.0));
        assert_eq!(exp_minus_square(1e300), 0.0);
    }
}
