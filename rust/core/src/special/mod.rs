//! Special functions of any [`Real`]: no branches, no tables in memory, no calls.
//!
//! The polynomials are printed by `benches/polynomials.py`.

mod angle;

use crate::isa::Real;

pub use angle::angle_and_lift;

/// `Σ_k coefficients[k] x^k`, by Horner's rule.
#[inline(always)]
pub fn polynomial<R: Real, const N: usize>(coefficients: &[f64; N], x: R) -> R {
    let mut sum = R::splat(coefficients[N - 1]);
    for coefficient in coefficients[..N - 1].iter().rev() {
        sum = sum.mul_add(x, R::splat(*coefficient));
    }
    sum
}
