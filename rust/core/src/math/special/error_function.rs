//! The error function and the normal distribution.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use super::{exp_minus_half_square, exp_minus_square, polynomial};
use crate::isa::Real;

/// `e^{x²} erfc(x)` for x ≥ 0, to 3 ulp.
#[inline(always)]
pub fn erfcx<R: Real>(x: R) -> R {
    // Beyond 28 the value at 28 is returned. It is not used, because e^{−x²} is 0 there.
    let (x, center) = (x.min(R::splat(28.0)), R::splat(3.75));
    let t = (x - center) / (x + center);
    polynomial(&ERFCX, t) / (x + x + R::splat(1.0))
}

/// `erf x`, to 3 ulp.
#[inline(always)]
pub fn erf<R: Real>(x: R) -> R {
    let (one, size) = (R::splat(1.0), x.abs());
    let near = x * polynomial(&ERF, (x * x).min(one));
    let far = (one - exp_minus_square(size) * erfcx(size)).copysign(x);
    R::select(size.less(one), near, far)
}

/// `Φ(x) = P(z < x)` and `√(2π) Φ'(x) = e^{−x²/2}` for z ~ N(0, 1), to 4 ulp however small they are.
#[inline(always)]
pub fn normal<R: Real>(x: R) -> (R, R) {
    let density = exp_minus_half_square(x);
    let beyond = R::splat(0.5) * density * erfcx(x.abs() * R::splat(FRAC_1_SQRT_2));
    (
        R::select(x.is_negative(), beyond, R::splat(1.0) - beyond),
        density,
    )
}

/// erf(√t)/√t on [0, 1], to 1.6e-17.
const ERF: [f64; 13] = [
    FRAC_2_SQRT_PI, // 1.1283791670955126
    -0.3761263890318375,
    0.11283791670954879,
    -0.026866170645076792,
    0.0052239776248180145,
    -0.000854832698083379,
    0.0001205533111164271,
    -1.4925595266831182e-05,
    1.6461000484121368e-06,
    -1.6350312701054695e-07,
    1.4659775274047436e-08,
    -1.1372848856791674e-09,
    5.957176147748911e-11,
];

/// (1 + 2x) e^{x²} erfc(x), x = 3.75 (1 + t)/(1 − t) on [-1, 0.92], to 1.1e-16.
const ERFCX: [f64; 25] = [
    1.2375126308378275,
    -0.14024059858554702,
    0.0035854154854639466,
    0.08227673849015196,
    -0.10880393014172289,
    0.09230432116017759,
    -0.05869339859018342,
    0.028362277421678513,
    -0.009746579552081388,
    0.0017556258323461063,
    0.00029371362739168545,
    -0.00029015398592850314,
    5.164925450946654e-05,
    2.2383959745377737e-05,
    -1.1444563872594385e-05,
    -9.73019458548124e-07,
    1.7523860271546883e-06,
    -5.789944414458333e-08,
    -2.5955520751085564e-07,
    2.3802571737808264e-08,
    3.9342353711365234e-08,
    -3.98738516084891e-09,
    -5.462596566222021e-09,
    3.5885382644941987e-10,
    4.798525557401969e-10,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::special::check::{assert_close, functions};

    functions! { Erf: |x| erf(x); Normal: |x| normal(x).0; Density: |x| normal(x).1; Erfcx: |x| erfcx(x); }

    #[test]
    fn error_functions_are_those_of_libm() {
        assert_close(&Erf, libm::erf, -7.0..7.0, 4.0);
        assert_close(&Erf, libm::erf, -1e-9..1e-9, 4.0);
        let normal = |x: f64| 0.5 * libm::erfc(-x * FRAC_1_SQRT_2);
        assert_close(&Normal, normal, -1.0..40.0, 6.0);
        assert_close(&Density, |x| libm::exp(-0.5 * x * x), -2.0..2.0, 4.0);
        // The reference has the rounding error of x · x, so it is less accurate than erfcx.
        assert_close(&Erfcx, |x| libm::exp(x * x) * libm::erfc(x), 0.0..1.5, 8.0);
    }

    #[test]
    fn tails_keep_their_digits() {
        // mpmath.ncdf, 30 digits.
        for (x, exact) in [
            (-1.0, 0.15865525393145705),
            (-5.5, 1.8989562465887718e-08),
            (-12.3, 4.5287069561587846e-35),
            (-20.1, 3.6896808637213897e-90),
            (-37.3, 8.205494844930773e-305),
        ] {
            assert!(
                (super::normal(x).0 / exact - 1.0).abs() <= 5.0 * f64::EPSILON,
                "{x}"
            );
        }
    }
}
