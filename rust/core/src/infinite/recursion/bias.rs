//! The effect of biases on gaps, and conversion from gap to correlation.

use std::f64::consts::FRAC_1_SQRT_2;

use crate::isa::Real;
use crate::math::double_double::DoubleDouble;

/// ρ of a gap. Its slope is −1, everywhere.
#[inline(always)]
pub(super) fn correlation<R: Real>(gap: R) -> R {
    (R::splat(1.0) - gap.abs()).copysign(gap)
}

/// The count of numbers that [`add_bias`] reads of an input: with φ the angle whose tangent is `σ_b/u`, `τ = tan(φ/2)` in two floats,
/// `h = (1 + cos φ)/√2`, cos φ and sin φ.
pub(super) const BIAS_NUMBERS: usize = 5;
/// The index of cos φ among them.
pub(super) const COSINE: usize = 3;

/// Computes these numbers for one input, given `u > 0` and `r = √(u² + σ_b²)`.
pub(super) fn bias_numbers(u: DoubleDouble, r: DoubleDouble, sigma_b: f64) -> [f64; BIAS_NUMBERS] {
    // Halves: the sum may be infinite.
    let tangent = DoubleDouble::from(0.5 * sigma_b) / (r.scaled(-1) + u.scaled(-1));
    let (cosine, sine) = (u.hi / r.hi, sigma_b / r.hi);
    let half = FRAC_1_SQRT_2.mul_add(cosine, FRAC_1_SQRT_2);
    [tangent.hi, tangent.lo, half, cosine, sine]
}

/// The derivatives of [`bias_numbers`] with respect to log u, `τ` in one float.
#[inline(always)]
pub(super) fn bias_number_slopes<R: Real>(
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

/// The gap of `u_i·f + σ_b·b`, with f of the given gap and b of none.
///
/// With `w = cos φ_i cos φ_j` and `b = sin φ_i sin φ_j`, the new correlation is `wρ + b`, so that `1 − ρ' = d + w (1−ρ)` and
/// `1 + ρ' = d + 2b + w (1+ρ)`, where `d = 1 − w − b = 2 sin²((φ_i − φ_j)/2) = h_i h_j (τ_i − τ_j)²`. Every term is positive:
/// nothing cancels.
#[inline(always)]
pub(super) fn add_bias<R: Real>([row, col]: [[R; BIAS_NUMBERS]; 2], gap: R) -> R {
    let [tangent, low, half, cosine, sine] = row;
    let [tangent_j, low_j, half_j, cosine_j, sine_j] = col;
    let (w, b) = (cosine * cosine_j, sine * sine_j);
    let difference = (tangent - tangent_j) + (low - low_j);
    let spread = (half * half_j) * (difference * difference);
    let (two, size) = (R::splat(2.0), gap.abs());
    let aligned = w.mul_add(size, spread);
    let still_opposite = -(aligned + two * b);
    let turned = w.mul_add(two - size, spread);
    let from_opposite = R::select(b.less(w * (R::splat(1.0) - size)), still_opposite, turned);
    R::select(gap.is_negative(), from_opposite, aligned)
}
