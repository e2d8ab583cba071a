//! The factors of the vectors of which a derivative with respect to an input is made.

use super::CLOSE;
use crate::isa::{Block, Vector, Vectorized, WIDTH};

/// Writes the products of weights and units to whole blocks, filled up with zeros.
pub(super) fn fill_factors(factors: &mut Vec<Block>, weights: &[f64], units: &[Block]) {
    factors.clear();
    let (whole, rest) = weights.as_chunks::<WIDTH>();
    let product = |(weights, units): (&Block, &Block)| {
        std::array::from_fn(|lane| weights[lane] * units[lane])
    };
    factors.extend(whole.iter().zip(units).map(product));
    if let Some(units) = units.get(whole.len()).filter(|_| !rest.is_empty()) {
        let mut last = [0.0; WIDTH];
        last[..rest.len()].copy_from_slice(rest);
        factors.push(product((&last, units)));
    }
}

/// Multiplies one row of derivatives by its factors f. With the signed gap `t = ±1 − ρ`,
///
/// ```text
/// f (∂K/∂ρ (ẑ − ρ x̂) + ∂K/∂λ x̂) = f ∂K/∂ρ (ẑ ∓ x̂) + f (∂K/∂λ + t ∂K/∂ρ) x̂
/// ```
///
/// Pairs that are not close get `f ∂K/∂ρ` as the factor of ẑ, and `∓f ∂K/∂ρ` more as that of x̂. Close ones get 0: their
/// `ẑ ∓ x̂` is added elsewhere. Returns the sum of the factors of x̂.
pub(super) struct WeightRow<'a> {
    /// The gaps, `∂K/∂ρ` and `∂K/∂λ`.
    pub(super) tiles: [&'a [Block]; 3],
    pub(super) factors: &'a [Block],
    /// The factors of ẑ, to be written.
    pub(super) weighted: &'a mut [Block],
}

impl Vectorized for WeightRow<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Vector>(self) -> f64 {
        let (zero, one, limit) = (V::splat(0.0), V::splat(1.0), V::splat(CLOSE));
        let [gaps, rho, lambda] = self.tiles;
        let mut sum = zero;
        for (block, factor) in self.factors.iter().enumerate() {
            let factor = V::load(factor);
            let (gap, slope) = (V::load(&gaps[block]), V::load(&rho[block]));
            let close = gap.abs().less(limit);
            let offset = V::select(close, gap, gap - one.copysign(gap));
            let along = slope.mul_add(offset, V::load(&lambda[block]));
            sum = factor.mul_add(along, sum);
            V::select(close, zero, factor * slope).store(&mut self.weighted[block]);
        }
        let mut lanes = [0.0; WIDTH];
        sum.store(&mut lanes);
        lanes.iter().sum()
    }
}
