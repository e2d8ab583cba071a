//! What biases make of gaps, and the correlations of these.

use crate::isa::Real;

/// ρ of a gap. Its slope is −1, everywhere.
#[inline(always)]
pub(super) fn correlation<R: Real>(gap: R) -> R {
    (R::splat(1.0) - gap.abs()).copysign(gap)
}

/// The gap of `u_i·φ + σ_b·b`, from `u`, what rounding took from it, `1/r`, `u/r` and `σ_b/r` of both.
///
/// With `w = u_i u_j/(r_i r_j)` and `b = σ_b²/(r_i r_j)`, and `d = 1 − w − b = b (u_i−u_j)²/(r_i r_j)/(1 + w + b)`, the new
/// correlation is `wρ + b`, so that `1 − ρ' = d + w (1−ρ)` and `1 + ρ' = d + 2b + w (1+ρ)`. Every term is positive: nothing
/// cancels.
#[inline(always)]
pub(super) fn widen<R: Real>([row, col]: [[R; 5]; 2], gap: R) -> R {
    let (one, two) = (R::splat(1.0), R::splat(2.0));
    let [u, rest, inverse, weight, bias] = row;
    let [u_j, rest_j, inverse_j, weight_j, bias_j] = col;
    let (w, b) = (weight * weight_j, bias * bias_j);
    let difference = (u - u_j) + (rest - rest_j);
    // In this order no factor overflows: |u_i − u_j| σ_b/r_i is of the size of σ_b or of u_j.
    let spread = (difference * bias * inverse_j) * (difference * bias_j * inverse);
    let spread = spread / (one + w + b);
    let size = gap.abs();
    let aligned = w.mul_add(size, spread);
    let still_opposite = -(aligned + two * b);
    let turned = w.mul_add(two - size, spread);
    let from_opposite = R::select(b.less(w * (one - size)), still_opposite, turned);
    R::select(gap.is_negative(), from_opposite, aligned)
}
