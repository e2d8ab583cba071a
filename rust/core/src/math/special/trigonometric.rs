//! Sine and cosine.

use std::f64::consts::FRAC_2_PI;

use super::polynomial;
use crate::isa::Real;

/// π/2 in three parts. The first two have 33 bits, so that their products with quadrants are exact.
const FRAC_PI_2: [f64; 3] = [
    1.570_796_326_734_125_6,
    6.077_100_506_303_966e-11,
    2.022_266_248_795_950_6e-21,
];

/// Up to here the number of quadrants has 16 bits, and the reduced angle is accurate to its last digits.
const MODERATE: f64 = 1e5;

/// `sin x` and `cos x`, to 2 ulp. Slow where |x| > 1e5.
#[inline(always)]
pub fn sin_cos<R: Real>(x: R) -> (R, R) {
    let large = R::splat(MODERATE).less(x.abs());
    let (sine, cosine) = sin_cos_moderate(x);
    if R::any(large) {
        // Only the large lanes are replaced, so that a result does not depend on the other lanes.
        return (
            R::select(large, x.each(libm::sin), sine),
            R::select(large, x.each(libm::cos), cosine),
        );
    }
    (sine, cosine)
}

/// `sin x` and `cos x` for |x| ≤ [`MODERATE`].
#[inline(always)]
fn sin_cos_moderate<R: Real>(x: R) -> (R, R) {
    let (one, half) = (R::splat(1.0), R::splat(0.5));
    let quadrant = (x * R::splat(FRAC_2_PI)).round();
    let mut angle = x;
    for part in FRAC_PI_2 {
        angle = quadrant.mul_add(R::splat(-part), angle);
    }
    let square = angle * angle;
    let sine = (angle * square).mul_add(polynomial(&SIN, square), angle);
    let cosine = (square * square).mul_add(polynomial(&COS, square), one - half * square);
    // The quadrant modulo 4, in −2, …, 2. Both ends mean the same.
    let turn = quadrant - R::splat(4.0) * (quadrant * R::splat(0.25)).round();
    let odd = (turn.abs() - one).abs().less(half);
    let back = R::splat(1.5).less(turn.abs());
    (
        R::select(odd, turn * cosine, R::select(back, -sine, sine)),
        R::select(odd, -(turn * sine), R::select(back, -cosine, cosine)),
    )
}

/// (sin(√t)/√t − 1)/t on [0, 0.6169], to 5.7e-17.
const SIN: [f64; 7] = [
    -0.16666666666666666,
    0.008333333333333331,
    -0.00019841269841265063,
    2.7557319219337672e-06,
    -2.5052106231927857e-08,
    1.6058531536611833e-10,
    -7.586692262094344e-13,
];

/// (cos(√t) − 1 + t/2)/t² on [0, 0.6169], to 5.8e-17.
const COS: [f64; 6] = [
    0.041666666666666664,
    -0.0013888888888887398,
    2.4801587298764778e-05,
    -2.7557317271258515e-07,
    2.0876146170183976e-09,
    -1.1382625349447592e-11,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::special::check::{assert_close, functions};

    functions! { Sine: |x| sin_cos(x).0; Cosine: |x| sin_cos(x).1; }

    #[test]
    fn sines_and_cosines_are_those_of_libm() {
        for end in [1e-9, 1.0, 10.0, 1e3, 1e5, 1e9, 1e300] {
            assert_close(&Sine, libm::sin, -end..end, 3.0);
            assert_close(&Cosine, libm::cos, -end..end, 3.0);
        }
    }

    #[test]
    fn angles_next_to_multiples_of_a_quarter_turn_keep_their_digits() {
        for k in 0..60_000 {
            let x = f64::from(k) * std::f64::consts::FRAC_PI_2;
            for x in [x, -x, x.next_up(), x.next_down()] {
                let (sine, cosine) = sin_cos(x);
                assert!(
                    (sine / libm::sin(x) - 1.0).abs() <= 4.0 * f64::EPSILON || x == 0.0,
                    "{x}"
                );
                assert!(
                    (cosine / libm::cos(x) - 1.0).abs() <= 4.0 * f64::EPSILON,
                    "{x}"
                );
            }
        }
    }
}
