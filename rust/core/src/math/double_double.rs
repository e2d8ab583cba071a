//! Double-double numbers: unevaluated sums of two `f64`, with about 32 digits.
//!
//! They hold the roots `√Σ(x, x)`, which every layer multiplies by a constant. In `f64`, thirty layers round the scale
//! of a kernel thirty times in the same direction, to an error of 27 ε. Also, kernels of distances depend on the
//! difference of two roots, which keeps its digits only if both roots have more. A root depends on one input alone, so
//! the additional digits cost next to nothing. Dekker (1971); Hida, Li, Bailey (2001).

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::isa::Real;

/// `a + b`, and its rounding error.
#[inline(always)]
pub fn two_sum<R: Real>(a: R, b: R) -> (R, R) {
    let sum = a + b;
    let part = sum - a;
    (sum, (a - (sum - part)) + (b - part))
}

/// `a · b`, and its rounding error, on any instruction set. The factors must be far from overflow and underflow.
#[inline(always)]
pub fn two_product<R: Real>(a: R, b: R) -> (R, R) {
    let product = a * b;
    if R::FUSED {
        return (product, a.mul_add(b, -product));
    }
    let ((a, a_lo), (b, b_lo)) = (halves(a), halves(b));
    let lo = ((a * b - product) + (a * b_lo + a_lo * b)) + a_lo * b_lo;
    (product, lo)
}

/// The leading 26 bits of x, and the others.
#[inline(always)]
fn halves<R: Real>(x: R) -> (R, R) {
    let large = x * R::splat(134_217_729.0); // 2²⁷ + 1
    let leading = large - (large - x);
    (leading, x - leading)
}

/// `hi + lo`, with `|lo| ≤ ulp(hi)/2`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DoubleDouble {
    /// The high part: the sum, rounded.
    pub hi: f64,
    /// The low part: the rounding error.
    pub lo: f64,
}

/// ln 2.
const LN_2: DoubleDouble = DoubleDouble {
    hi: std::f64::consts::LN_2,
    lo: 2.319_046_813_846_299_6e-17,
};

impl DoubleDouble {
    /// π.
    pub const PI: Self = Self {
        hi: std::f64::consts::PI,
        lo: 1.224_646_799_147_353_2e-16,
    };

    /// |self|.
    #[must_use]
    pub fn abs(self) -> Self {
        if self.hi < 0.0 { -self } else { self }
    }

    /// The larger of `self` and `bound`.
    #[must_use]
    pub fn max(self, bound: f64) -> Self {
        if self.hi < bound { bound.into() } else { self }
    }

    /// The smaller of `self` and `bound`.
    #[must_use]
    pub fn min(self, bound: f64) -> Self {
        if self.hi > bound { bound.into() } else { self }
    }

    /// `a + b`, exactly, for |a| ≥ |b|.
    fn fast_sum(a: f64, b: f64) -> Self {
        let hi = a + b;
        Self {
            hi,
            lo: b - (hi - a),
        }
    }

    /// √self, for values ≥ 0.
    #[must_use]
    pub fn sqrt(self) -> Self {
        let root = self.hi.sqrt();
        if root == 0.0 || !root.is_finite() {
            return root.into();
        }
        // One step of Newton's method adds (self − root²)/(2 root).
        let missing = (-root).mul_add(root, self.hi) + self.lo;
        Self::fast_sum(root, missing / (2.0 * root))
    }

    /// `e^self`.
    #[must_use]
    pub fn exp(self) -> Self {
        let hi = libm::exp(self.hi);
        if hi == 0.0 || !hi.is_finite() {
            return hi.into();
        }
        let (exponent, less) = self.reduced_exp_m1();
        (less + 1.0.into()).scaled(exponent)
    }

    /// `e^self − 1` for values below 700, however small.
    #[must_use]
    pub fn exp_m1(self) -> Self {
        let one = Self::from(1.0);
        if self.hi < -100.0 {
            return -one;
        }
        match self.reduced_exp_m1() {
            (0, less) => less,
            (exponent, less) => (less + one).scaled(exponent) - one,
        }
    }

    /// k and `e^r − 1`, where `self = k ln 2 + r` with |r| ≤ ln 2/2.
    fn reduced_exp_m1(self) -> (i32, Self) {
        let exponent = (self.hi * std::f64::consts::LOG2_E).round_ties_even();
        let r = (self - LN_2 * exponent.into()).scaled(-3);
        // The series of r/8, then three times e^{2x} − 1 = (e^x − 1)(e^x + 1).
        let mut less = r * r.series(&INVERSE_FACTORIALS, 9);
        for _ in 0..3 {
            less = less * (less + 2.0.into());
        }
        (exponent as i32, less)
    }

    /// `atan self`, for values ≥ 0.
    #[must_use]
    pub fn atan(self) -> Self {
        let one = Self::from(1.0);
        if self.hi > 1.0 {
            return Self::PI.scaled(-1) - (one / self).atan();
        }
        // atan x = atan a + atan((x − a)/(1 + xa)), where a is the nearest multiple of 1/8.
        let eighths = (8.0 * self.hi).round_ties_even();
        let (near, [hi, lo]) = (Self::from(eighths / 8.0), ARCTANGENTS[eighths as usize]);
        let tangent = (self - near) / (one + self * near);
        let square = -(tangent * tangent);
        Self { hi, lo } + tangent * square.series(&ODD_INVERSES, 6)
    }

    /// `Σ_n coefficients[n] self^n`. The terms after the first `leading` are summed in `f64`, so all of them together
    /// must be below 2⁻⁵³ of the sum.
    fn series(self, coefficients: &[[f64; 2]], leading: usize) -> Self {
        let (leading, others) = coefficients.split_at(leading);
        let small = |sum, [hi, _]: &[f64; 2]| sum * self.hi + hi;
        let small: f64 = others.iter().rev().fold(0.0, small);
        let next = |sum: Self, [hi, lo]: &[f64; 2]| {
            let (hi, lo) = (*hi, *lo);
            sum * self + Self { hi, lo }
        };
        leading.iter().rev().fold(small.into(), next)
    }

    /// `2^exponent · self`.
    #[must_use]
    pub fn scaled(self, exponent: i32) -> Self {
        let map = |scale: fn(f64, i32) -> f64| Self {
            hi: scale(self.hi, exponent),
            lo: scale(self.lo, exponent),
        };
        if exponent.abs() < 1000 {
            map(|x, exponent| x * f64::from(exponent).power_of_two())
        } else {
            map(libm::scalbn)
        }
    }

    /// `√(self² + other²)`, for values ≥ 0. No intermediate value overflows.
    #[must_use]
    pub fn hypot(self, other: Self) -> Self {
        let largest = self.hi.max(other.hi);
        if largest == 0.0 || !largest.is_finite() {
            return largest.into();
        }
        let exponent = libm::frexp(largest).1;
        let (a, b) = (self.scaled(-exponent), other.scaled(-exponent));
        (a * a + b * b).sqrt().scaled(exponent)
    }
}

impl From<f64> for DoubleDouble {
    fn from(hi: f64) -> Self {
        Self { hi, lo: 0.0 }
    }
}

impl Add for DoubleDouble {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        // The low parts are summed with their rounding error too. Without it, a difference of nearly equal numbers
        // would keep only few digits of its low part.
        let (hi, lo) = two_sum(self.hi, other.hi);
        let (small, smaller) = two_sum(self.lo, other.lo);
        let sum = Self::fast_sum(hi, lo + small);
        Self::fast_sum(sum.hi, sum.lo + smaller)
    }
}

impl Neg for DoubleDouble {
    type Output = Self;

    fn neg(self) -> Self {
        Self {
            hi: -self.hi,
            lo: -self.lo,
        }
    }
}

impl Sub for DoubleDouble {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for DoubleDouble {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        let hi = self.hi * other.hi;
        if hi == 0.0 || !hi.is_finite() {
            return hi.into();
        }
        let lo = self.hi.mul_add(other.hi, -hi);
        Self::fast_sum(hi, lo + (self.hi * other.lo + self.lo * other.hi))
    }
}

impl Div<f64> for DoubleDouble {
    type Output = Self;

    fn div(self, divisor: f64) -> Self {
        let hi = self.hi / divisor;
        if hi == 0.0 || !hi.is_finite() {
            return hi.into();
        }
        let lo = (-hi).mul_add(divisor, self.hi) + self.lo;
        Self::fast_sum(hi, lo / divisor)
    }
}

impl Div for DoubleDouble {
    type Output = Self;

    fn div(self, divisor: Self) -> Self {
        let hi = self.hi / divisor.hi;
        if hi == 0.0 || !hi.is_finite() {
            return hi.into();
        }
        let missing = self - divisor * hi.into();
        Self::fast_sum(hi, missing.hi / divisor.hi)
    }
}

/// 1/n!, from n = 1, as high and low parts.
const INVERSE_FACTORIALS: [[f64; 2]; 16] = [
    [1.0, 0.0],
    [0.5, 0.0],
    [0.16666666666666666, 9.25185853854297e-18],
    [0.041666666666666664, 2.3129646346357427e-18],
    [0.008333333333333333, 1.1564823173178714e-19],
    [0.001388888888888889, -5.300543954373577e-20],
    [0.0001984126984126984, 1.7209558293420705e-22],
    [2.48015873015873e-05, 2.1511947866775882e-23],
    [2.7557319223985893e-06, -1.858393274046472e-22],
    [2.755731922398589e-07, 2.3767714622250297e-23],
    [2.505210838544172e-08, -1.448814070935912e-24],
    [2.08767569878681e-09, -1.20734505911326e-25],
    [1.6059043836821613e-10, 1.2585294588752098e-26],
    [1.1470745597729725e-11, 2.0655512752830745e-28],
    [7.647163731819816e-13, 7.03872877733453e-30],
    [4.779477332387385e-14, 4.399205485834081e-31],
];

/// 1/(2n+1), from n = 0, as high and low parts.
const ODD_INVERSES: [[f64; 2]; 14] = [
    [1.0, 0.0],
    [0.3333333333333333, 1.850371707708594e-17],
    [0.2, -1.1102230246251566e-17],
    [0.14285714285714285, 7.93016446160826e-18],
    [0.1111111111111111, 6.1679056923619804e-18],
    [0.09090909090909091, -2.523234146875356e-18],
    [0.07692307692307693, -4.270088556250602e-18],
    [0.06666666666666667, 9.251858538542971e-19],
    [0.058823529411764705, 8.163404592832033e-19],
    [0.05263157894736842, 2.921639538487254e-18],
    [0.047619047619047616, 2.64338815386942e-18],
    [0.043478260869565216, 1.206764157201257e-18],
    [0.04, -8.326672684688674e-19],
    [0.037037037037037035, 2.05596856412066e-18],
];

/// atan(k/8), from k = 0, as high and low parts.
const ARCTANGENTS: [[f64; 2]; 9] = [
    [0.0, 0.0],
    [0.12435499454676144, -3.1253241424539383e-18],
    [0.24497866312686414, 1.0698755618734451e-17],
    [0.35877067027057225, -2.4623815582638635e-17],
    [0.4636476090008061, 2.2698777452961687e-17],
    [0.5585993153435624, -5.4556305485916264e-18],
    [0.6435011087932844, 1.5834785051444286e-17],
    [0.7188299996216245, -2.1478388444456983e-17],
    [std::f64::consts::FRAC_PI_4, 3.061616997868383e-17],
];

#[cfg(test)]
mod tests {
    use super::*;

    /// True if a and b differ by at most 2⁻¹⁰⁰ of a.
    fn close(a: DoubleDouble, b: DoubleDouble) -> bool {
        let difference = (a.hi - b.hi) + (a.lo - b.lo);
        difference.abs() <= 2.0_f64.powi(-100) * a.hi.abs()
    }

    #[test]
    fn arithmetic_is_exact_beyond_the_digits_of_f64() {
        for x in [1.0 / 3.0, 2.0, 0.1, 7e99] {
            let (x, third) = (DoubleDouble::from(x), DoubleDouble::from(1.0) / 3.0);
            let root = x.sqrt();
            assert!(close(root * root, x));
            assert!(close(x * third + x * third + x * third, x));
            let (three, four) = (x * 3.0.into(), x * 4.0.into());
            assert!(close(three.hypot(four), x * 5.0.into()));
            assert!(close(x.scaled(40) / 2.0_f64.powi(40), x));
            assert!(close(x / root, root) && close(third / third, 1.0.into()));
            assert!(close((x * third) / x, third));
        }
    }

    #[test]
    fn functions_obey_their_laws_beyond_the_digits_of_f64() {
        for x in [1e-9, 0.02, 0.3, 1.0, 2.7, 30.0, 300.0] {
            let third = DoubleDouble::from(x) / 3.0;
            let root = third.exp();
            let product = root * root * root;
            let exponential = DoubleDouble::from(x).exp();
            // An exponential loses the digits that its argument has before the point.
            let difference = (product - exponential).hi / exponential.hi;
            assert!(difference.abs() <= 2.0_f64.powi(-100) * x.max(1.0), "{x}");
            let less = (-third).exp_m1();
            assert!(close(less * root, -third.exp_m1()), "{x}");
            assert!(
                close(third.exp() - 1.0.into(), third.exp_m1()) || x < 0.1,
                "{x}"
            );

            // atan x + atan 1/x = π/2.
            let right = DoubleDouble::from(x);
            let half_pi = DoubleDouble::from(1.0).atan() * 2.0.into();
            let other = (DoubleDouble::from(1.0) / right).atan();
            assert!(close(right.atan() + other, half_pi), "{x}");
            assert!((right.atan().hi / libm::atan(x) - 1.0).abs() <= f64::EPSILON);
        }
        let quarter = DoubleDouble::from(1.0).atan() * 4.0.into();
        assert!(close(quarter, DoubleDouble::PI));
        assert_eq!(DoubleDouble::from(-1e4).exp_m1().hi, -1.0);
        assert_eq!(DoubleDouble::from(1e-300).exp_m1().hi, 1e-300);
        assert_eq!(DoubleDouble::from(1e-200).atan().hi, 1e-200);
    }

    #[test]
    fn zeros_and_extreme_values_give_no_nan() {
        let (zero, large, tiny) = (0.0.into(), 1e300.into(), 1e-300.into());
        assert_eq!(DoubleDouble::hypot(zero, zero), zero);
        assert_eq!(DoubleDouble::sqrt(zero), zero);
        assert_eq!(DoubleDouble::hypot(large, tiny), large);
        assert_eq!(DoubleDouble::hypot(tiny, zero), tiny);
        assert_eq!((large * large).hi, f64::INFINITY);
        assert!(!(large * large).sqrt().hi.is_nan());
    }
}
