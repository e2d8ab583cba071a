//! The effect of a dense layer's biases on gaps, and conversion from gap to correlation.

use std::f64::consts::FRAC_1_SQRT_2;

use crate::isa::Real;
use crate::math::double_double::DoubleDouble;

/// The correlation ρ of a gap. Its derivative is −1 everywhere.
#[inline(always)]
pub fn correlation<R: Real>(gap: R) -> R {
    (R::splat(1.0) - gap.abs()).copysign(gap)
}

/// The count of numbers that [`add_bias`] reads of an input. With `tan φ = σ_b/u` they are `τ = tan(φ/2)` in
/// double-double precision, `h = (1 + cos φ)/√2`, `cos φ` and `sin φ`.
pub const BIAS_NUMBERS: usize = 5;
/// The index of `cos φ` among them.
pub const COSINE: usize = 3;

/// Computes these numbers for one input, given `u > 0` and `r = √(u² + σ_b²)`.
pub fn bias_numbers(u: DoubleDouble, r: DoubleDouble, sigma_b: f64) -> [f64; BIAS_NUMBERS] {
    // tan(φ/2) = σ_b/(r + u). All are halved because r + u may be infinite.
    let tangent = DoubleDouble::from(0.5 * sigma_b) / (r.scaled(-1) + u.scaled(-1));
    let (cosine, sine) = (u.hi / r.hi, sigma_b / r.hi);
    let half = FRAC_1_SQRT_2.mul_add(cosine, FRAC_1_SQRT_2);
    [tangent.hi, tangent.lo, half, cosine, sine]
}

/// The numbers of [`bias_numbers`] in `f32`: `τ` in two of them.
pub fn single_bias_numbers(
    [tangent, low, half, cosine, sine]: [f64; BIAS_NUMBERS],
) -> [f32; BIAS_NUMBERS] {
    let high = tangent as f32;
    let low = (tangent - f64::from(high)) + low;
    [high, low as f32, half as f32, cosine as f32, sine as f32]
}

/// The gap between `u_i f_i + σ_b e` and `u_j f_j + σ_b e`: `f_i` and `f_j` are unit vectors with the given gap, and e
/// is a unit vector orthogonal to both.
///
/// With `w = cos φ_i cos φ_j` and `b = sin φ_i sin φ_j`, the new correlation is `ρ' = wρ + b`. So
/// `1 − ρ' = d + w (1−ρ)` and `1 + ρ' = d + 2b + w (1+ρ)`, where
/// `d = 1 − w − b = 2 sin²((φ_i − φ_j)/2) = h_i h_j (τ_i − τ_j)²`. All terms are positive, so nothing cancels.
#[inline(always)]
pub fn add_bias<R: Real>([row, col]: [[R; BIAS_NUMBERS]; 2], gap: R) -> R {
    let [tangent, low, half, cosine, sine] = row;
    let [tangent_j, low_j, half_j, cosine_j, sine_j] = col;
    let (w, b) = (cosine * cosine_j, sine * sine_j);
    let difference = (tangent - tangent_j) + (low - low_j);
    let spread = (half * half_j) * (difference * difference);
    let (two, size, opposite) = (R::splat(2.0), gap.abs(), gap.is_negative());
    let aligned = w.mul_add(size, spread);
    if !R::any(opposite) {
        return aligned;
    }
    let still_opposite = -(aligned + two * b);
    let turned = w.mul_add(two - size, spread);
    let from_opposite = R::select(b.less(w * (R::splat(1.0) - size)), still_opposite, turned);
    R::select(opposite, from_opposite, aligned)
}

/// The derivatives of [`add_bias`] with respect to the gap, `log u_i` and `log u_j`.
///
/// With `dφ/dlog u = −sin φ cos φ` they are `w`, then `w sin²φ_i (1−ρ) − sin φ_i cos φ_i sin δ` for `δ = φ_i − φ_j`, and
/// the same with i and j exchanged. Here `sin δ = h_i h_j (τ_i − τ_j)(1 + τ_i τ_j)`, to all digits however small. Where
/// the new gap is `−(1 + ρ')`, both change by `d(−2b)/dlog u_i = 2b cos²φ_i`.
#[inline(always)]
pub fn bias_slopes<R: Real>([row, col]: [[R; BIAS_NUMBERS]; 2], gap: R) -> [R; 3] {
    let [tangent, low, half, cosine, sine] = row;
    let [tangent_j, low_j, half_j, cosine_j, sine_j] = col;
    let (zero, one, two) = (R::splat(0.0), R::splat(1.0), R::splat(2.0));
    let (w, b) = (cosine * cosine_j, sine * sine_j);
    let difference = (tangent - tangent_j) + (low - low_j);
    let turn = (half * half_j) * (difference * (one + tangent * tangent_j));
    let (size, opposite) = (gap.abs(), gap.is_negative());
    let stays = b.less(w * (one - size));
    // 1 − ρ', or 1 + ρ' if the pair stays opposite.
    let from_opposite = R::select(stays, size, two - size);
    let size = w * R::select(opposite, from_opposite, size);
    let sign = R::select(opposite, R::select(stays, -one, one), one);
    let opened = R::select(opposite, R::select(stays, two * b, zero), zero);
    let mut slopes = [w; 3];
    let sides = [(cosine, sine, turn), (cosine_j, sine_j, -turn)];
    for (slope, (cosine, sine, turn)) in slopes[1..].iter_mut().zip(sides) {
        let spread = (sine * sine).mul_add(size, -((sine * cosine) * turn));
        *slope = sign.mul_add(spread, opened * (cosine * cosine));
    }
    slopes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_those_of_finite_differences() {
        const H: f64 = 1e-5;
        let numbers = |log_u: f64| {
            let u = DoubleDouble::from(libm::exp(log_u));
            bias_numbers(u, u.hypot(DoubleDouble::from(0.7)), 0.7)
        };
        for (u, v) in [(0.3, 0.3), (-1.0, 0.5), (0.8, -2.0), (1.0, 1.01)] {
            for gap in [0.9, 0.3, 1e-3, -1e-3, -0.4, -0.95] {
                let at = |h: [f64; 3]| add_bias([numbers(u + h[1]), numbers(v + h[2])], gap + h[0]);
                let slopes = bias_slopes([numbers(u), numbers(v)], gap);
                for (n, slope) in slopes.into_iter().enumerate() {
                    let shift = |h: f64| std::array::from_fn(|k| if k == n { h } else { 0.0 });
                    let difference = (at(shift(H)) - at(shift(-H))) / (2.0 * H);
                    // The error is H² times a third derivative, and round-off of 1e-16/H.
                    assert!((slope - difference).abs() < 1e-9, "{u} {v} {gap} {n}");
                }
                let [along, row, col] = bias_slopes([numbers(v), numbers(u)], gap);
                assert_eq!(slopes, [along, col, row]);
            }
        }
    }
}
