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

/// The derivatives of [`bias_numbers`] with respect to log u. The derivative of `τ` is given with its high part.
#[inline(always)]
pub fn bias_number_slopes<R: Real>(
    [tangent, _, _, cosine, sine]: [R; BIAS_NUMBERS],
) -> [R; BIAS_NUMBERS] {
    let square = sine * sine;
    let half = R::splat(FRAC_1_SQRT_2) * cosine * square;
    [
        -(tangent * cosine),
        R::splat(0.0),
        half,
        cosine * square,
        -(cosine * cosine * sine),
    ]
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
