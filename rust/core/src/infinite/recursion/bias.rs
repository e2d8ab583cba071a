//! What biases make of gaps, and the correlations of these.

use std::f64::consts::FRAC_1_SQRT_2;

use crate::isa::Real;
use crate::math::double_double::DoubleDouble;

/// ρ of a gap. Its slope is −1, everywhere.
#[inline(always)]
pub(super) fn correlation<R: Real>(gap: R) -> R {
    (R::splat(1.0) - gap.abs()).copysign(gap)
}

/// What [`widen`] wants to know of an input: with φ the angle whose tangent is `σ_b/u`, `τ = tan(φ/2)` in two floats,
/// `h = (1 + cos φ)/√2`, cos φ and sin φ.
pub(super) const WIDENING: usize = 5;
/// Which of them is cos φ.
pub(super) const COSINE: usize = 3;

/// Those of an input, given `u > 0` and `r = √(u² + σ_b²)`.
pub(super) fn widening(u: DoubleDouble, r: DoubleDouble, sigma_b: f64) -> [f64; WIDENING] {
    // Halves: the sum may be infinite.
    let tangent = DoubleDouble::from(0.5 * sigma_b) / (r.scaled(-1) + u.scaled(-1));
    let (cosine, sine) = (u.hi / r.hi, sigma_b / r.hi);
    let half = FRAC_1_SQRT_2.mul_add(cosine, FRAC_1_SQRT_2);
    [tangent.hi, tangent.lo, half, cosine, sine]
}

/// The derivatives of [`widening`] with respect to log u, `τ` in one float.
#[inline(always)]
pub(super) fn widening_slopes<R: Real>(
    [tangent, _, _, cosine, sine]: [R; WIDENING],
) -> [R; WIDENING] {
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
pub(super) fn widen<R: Real>([row, col]: [[R; WIDENING]; 2], gap: R) -> R {
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
