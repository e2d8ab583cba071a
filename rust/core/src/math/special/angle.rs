//! Angles from the gap of their cosine, or from their sine and cosine, accurate near 0.

use std::f64::consts::FRAC_PI_2;

use super::{cubic, polynomial};
use crate::isa::Real;

/// ψ and `sin ψ − ψ cos ψ`, where `cos ψ = 1 − gap` with gap in [0, 1]. To about 3 ε, however small the gap, but for
/// gaps that are not normal numbers.
///
/// With `t = gap/2` both are rationals in 1 − t, times √t and t√t, and have the same denominator.
#[inline(always)]
pub fn angle_and_lift<R: Real>(gap: R) -> (R, R) {
    let (size, number) = (gap.value(), R::Value::splat);
    let tiny = number(if R::Value::SINGLE {
        f64::from(f32::MIN_POSITIVE)
    } else {
        f64::MIN_POSITIVE
    });
    let t = size * number(0.5);
    let [angle, lift, denominator] = angle_rationals(number(1.0) - t);
    // √t/Q as t/√(tQ²), so that root and division are one operation. At t = 0 it is 0.
    let share = t * t.mul_add(denominator * denominator, tiny).inverse_sqrt();
    let angle = share * angle;
    let lift = share * (t * lift);
    let sine = (size.max(tiny) * (number(2.0) - size)).sqrt();
    (
        R::with_known_slopes(angle, [(number(1.0) / sine, gap)]),
        R::with_known_slopes(lift, [(angle, gap)]),
    )
}

/// The numerators of the angle and of the lift, and their denominator, in powers of x = 1 − t.
#[inline(always)]
fn angle_rationals<R: Real>(x: R) -> [R; 3] {
    if R::SINGLE {
        [
            cubic(&ANGLE_SINGLE, x),
            cubic(&LIFT_SINGLE, x),
            cubic(&DENOMINATOR_SINGLE, x),
        ]
    } else {
        [
            polynomial(&ANGLE, x),
            polynomial(&LIFT, x),
            polynomial(&DENOMINATOR, x),
        ]
    }
}

/// The angle in [0, π/2] of this sine and cosine, to about ε of a right angle. It needs no division.
#[inline(always)]
pub fn angle_between<R: Real>(sine: R, cosine: R) -> R {
    let (s, c) = (sine.value(), cosine.value());
    let small = s.min(c);
    let angle = small * polynomial(&ASIN, small * small);
    let angle = R::Value::select(c.less(s), R::Value::splat(FRAC_PI_2) - angle, angle);
    R::with_known_slopes(angle, [(c, sine), (-s, cosine)])
}

/// `α/sin α − 1` for α in [0, π/2], given `sin²α` and `cos α`, to about 3 ε of `f32`, however small it is.
#[inline(always)]
pub fn single_angle_lift<R: Real>(square: R, cosine: R) -> R {
    square * cubic(&ANGLE_LIFT, cosine) / cubic(&ANGLE_LIFT_DENOMINATOR, cosine)
}

/// The angle in [0, π/2] of this sine and cosine, to about 2 ε, however small it is.
#[inline(always)]
pub fn angle_of<R: Real>(sine: R, cosine: R) -> R {
    angle_by(&ATAN_WIDE, sine, cosine)
}

/// The angle in [−π/4, π/4] of this sine and cosine, to about 2 ε, however small it is.
#[inline(always)]
pub fn small_angle_of<R: Real>(sine: R, cosine: R) -> R {
    angle_by(&ATAN, sine, cosine)
}

/// The angle α of this sine and cosine, from `tan(α/2) = sin α/(1 + cos α)`. `arctangent` approximates atan(√t)/√t.
#[inline(always)]
fn angle_by<R: Real, const N: usize>(arctangent: &[f64; N], sine: R, cosine: R) -> R {
    let (s, c) = (sine.value(), cosine.value());
    let tangent = s / (c + R::Value::splat(1.0));
    let angle = (tangent + tangent) * polynomial(arctangent, tangent * tangent);
    R::with_known_slopes(angle, [(c, sine), (-s, cosine)])
}

/// asin(√t)/√t on [0, 0.5], to 3.3e-17.
const ASIN: [f64; 19] = [
    1.0,
    0.16666666666664987,
    0.07500000000401816,
    0.044642856762615,
    0.030381963396751827,
    0.022371584779320355,
    0.017364281439103527,
    0.01380344589589198,
    0.013191002571753903,
    -0.002601537848299688,
    0.07871611357002127,
    -0.2968705430689824,
    1.0082016650534187,
    -2.4908808126226116,
    4.6420689099888435,
    -6.229299875397985,
    5.7579408313146985,
    -3.278933156739812,
    0.8892904367638688,
];

/// ψ/√t, ψ = 2 asin √t, times [`DENOMINATOR`], in powers of 1 − t on [0, 0.5], to 2.3e-17.
const ANGLE: [f64; 8] = [
    0.42703111365266777,
    13.649004568537801,
    90.10716484901562,
    179.75332033277783,
    116.7384602914138,
    21.893330341588637,
    0.6925082350156221,
    -0.003713235987605012,
];

/// (sin ψ − ψ cos ψ)/t^{3/2}, ψ = 2 asin √t, times [`DENOMINATOR`], in powers of 1 − t on [0, 0.5], to 4.5e-17.
const LIFT: [f64; 8] = [
    0.44441358453249835,
    15.375249320927567,
    109.80920878808698,
    236.9659817271968,
    166.61971274336014,
    33.946947955974004,
    1.1876175145885157,
    -0.006322973314009974,
];

/// The denominator of [`ANGLE`] and [`LIFT`].
const DENOMINATOR: [f64; 7] = [
    0.1414612436220474,
    4.957447045430547,
    36.67291966177738,
    84.67567162255166,
    67.12772162009222,
    17.053332054533342,
    1.0,
];

/// ψ/√t, ψ = 2 asin √t, times [`DENOMINATOR_SINGLE`], in powers of 1 − t on [0, 0.5], to 4.3e-09.
const ANGLE_SINGLE: [f64; 4] = [
    2.165419085588223,
    14.661740947461686,
    11.846917193255884,
    0.8246412796520679,
];

/// (sin ψ − ψ cos ψ)/t^{3/2}, ψ = 2 asin √t, times [`DENOMINATOR_SINGLE`], in powers of 1 − t on [0, 0.5], to 4.4e-09.
const LIFT_SINGLE: [f64; 4] = [
    2.333906385936674,
    18.345637560682277,
    17.240422076098657,
    1.411658848405483,
];

/// The denominator of [`ANGLE_SINGLE`] and [`LIFT_SINGLE`].
const DENOMINATOR_SINGLE: [f64; 4] = [
    0.7428280830055072,
    6.140081189555603,
    6.866450044055529,
    1.0,
];

/// (α/sin α − 1)/sin²α, t = cos α, times [`ANGLE_LIFT_DENOMINATOR`] on [0, 1], to 4.8e-09.
const ANGLE_LIFT: [f64; 4] = [
    1.6650889067465353,
    0.8654182128690814,
    0.010273054327589527,
    -0.0006756274640848823,
];

/// The denominator of [`ANGLE_LIFT`].
const ANGLE_LIFT_DENOMINATOR: [f64; 4] =
    [2.9171331708238, 6.626798420562708, 4.69669569388182, 1.0];

/// atan(√t)/√t on [0, 0.1716], to 3.3e-18.
const ATAN: [f64; 12] = [
    1.0,
    -0.3333333333333312,
    0.19999999999940807,
    -0.142857142792419,
    0.11111110744504495,
    -0.09090896797060963,
    0.07692045115329452,
    -0.0666294933513016,
    0.058468600441315986,
    -0.05035019199400293,
    0.037963116386953384,
    -0.017803024570372427,
];

/// atan(√t)/√t on [0, 1], to 1.8e-17.
const ATAN_WIDE: [f64; 22] = [
    1.0,
    -0.3333333333333325,
    0.19999999999986157,
    -0.14285714284820428,
    0.11111111080383854,
    -0.09090908440338843,
    0.07692298432985685,
    -0.06666572806289763,
    0.05881647236717415,
    -0.05259103789485882,
    0.0474370596643217,
    -0.042828645702794474,
    0.038129809754225044,
    -0.03264116292977077,
    0.0259471057039563,
    -0.018386836817918875,
    0.011122014669752633,
    -0.005484778971809356,
    0.002090633535263676,
    -0.0005727925781292097,
    9.978410811953032e-05,
    -8.26799581733715e-06,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{BlockPair, Isa, Lanes, Singles, Vector, Vectorized, WIDTH};
    use crate::math::special::check::{assert_close, functions};

    #[test]
    fn angles_are_those_of_libm() {
        for k in 1..=4000 {
            let gap = f64::from(k) / 4000.0 * libm::exp2(-f64::from(k % 40));
            let (angle, lift) = angle_and_lift(gap);
            let exact = 2.0 * libm::asin((0.5 * gap).sqrt());
            assert!((angle / exact - 1.0).abs() <= 5.0 * f64::EPSILON, "{gap}");
            if gap > 0.1 {
                // The formula cancels for smaller gaps.
                let exact = libm::sin(exact) - exact * (1.0 - gap);
                assert!((lift / exact - 1.0).abs() <= 200.0 * f64::EPSILON, "{gap}");
            } else {
                // sin ψ − ψ cos ψ = ψ³/3 − ψ⁵/30 + ψ⁷/840 − …, whose next term is ψ⁶/15120 of the first.
                let square = exact * exact;
                let series = exact * square * (1.0 / 3.0 - square * (1.0 / 30.0 - square / 840.0));
                assert!(
                    (lift / series - 1.0).abs() <= 1e-3 * gap.powi(3) + 8.0 * f64::EPSILON,
                    "{gap}"
                );
            }
        }
        assert_eq!(angle_and_lift(0.0), (0.0, 0.0));
    }

    /// Angles and lifts of the given gaps in `f32`.
    struct InSingle([f32; 2 * WIDTH]);

    impl Vectorized for InSingle {
        type Output = [BlockPair; 2];

        #[inline(always)]
        fn run<V: Vector>(self) -> Self::Output {
            let mut values = [Lanes([f32::NAN; 2 * WIDTH]); 2];
            let (angle, lift) = angle_and_lift(V::Singles::load(&Lanes(self.0)));
            angle.store(&mut values[0]);
            lift.store(&mut values[1]);
            values
        }
    }

    #[test]
    fn angles_in_single_precision_are_those_in_double_precision() {
        for isa in Isa::available() {
            for k in 0..1000_u16 {
                let scale = 2.0_f32.powi(-i32::from(k % 100));
                let gaps =
                    std::array::from_fn(|lane| f32::from(16 * k + lane as u16) / 16000.0 * scale);
                let results = isa.run(InSingle(gaps));
                for (lane, gap) in gaps.into_iter().enumerate() {
                    let (angle, lift) = angle_and_lift(f64::from(gap));
                    for (result, exact) in results.iter().zip([angle, lift]) {
                        let (value, bound) =
                            (f64::from(result.0[lane]), 4.0 * f64::from(f32::EPSILON));
                        // Lifts of the smallest gaps are less than any normal number.
                        let error = (value - exact).abs() - f64::from(f32::MIN_POSITIVE);
                        assert!(error <= bound * exact, "{isa}: {gap} {value} {exact}");
                    }
                }
            }
        }
    }

    #[test]
    fn lifts_of_angles_are_those_of_libm() {
        for k in 1..=1000 {
            let (sine, cosine) = libm::sincos(f64::from(k) * FRAC_PI_2 / 1000.0);
            let exact = f64::from(k) * FRAC_PI_2 / 1000.0 / sine - 1.0;
            let lift = single_angle_lift(sine * sine, cosine);
            // The digits of `exact` below 1e-16 are lost.
            assert!((lift - exact).abs() <= 6e-9 * exact + 4e-16, "{k}");
        }
    }

    functions! {
        OfTangent: |x| angle_of(x, (R::splat(1.0) - x * x).sqrt());
        OfBoth: |x| angle_between(x, (R::splat(1.0) - x * x).sqrt());
        OfSmall: |x| small_angle_of(x, (R::splat(1.0) - x * x).sqrt());
    }

    #[test]
    fn angles_of_sines_are_those_of_libm() {
        assert_close(&OfTangent, libm::asin, 0.0..0.7, 4.0);
        assert_close(&OfBoth, libm::asin, 0.0..0.9, 3.0);
        assert_close(&OfSmall, libm::asin, -0.7..0.7, 4.0);
        assert_close(&OfSmall, libm::asin, -1e-9..1e-9, 3.0);
        for k in 0..=1000 {
            let (sine, cosine) = libm::sincos(f64::from(k) * FRAC_PI_2 / 1000.0);
            assert!(
                (angle_of(sine, cosine) - f64::from(k) * FRAC_PI_2 / 1000.0).abs()
                    <= 2.0 * f64::EPSILON
            );
        }
    }
}
