//! The loops over pairs: one for values, one for values with derivatives.

use super::packed::SeriesBlock;
use super::pair_sums::PairSums;
use crate::activations::differentiable::{self, DIRECTIONS};
use crate::activations::features::Variables;
use crate::isa::{Block, Isa, Part, Real, Vector, Vectorized};
use crate::math::tangent::Tangent;

/// Replaces each gap of a row of pairs by that of (φ(u), φ(v)), and writes Ṫ to `dots`.
pub(super) fn run(isa: Isa, pairs: &Variables<'_>, gaps: &mut [Block], dots: &mut [Block]) {
    assert!(gaps.len() == pairs.blocks.len() && dots.len() == pairs.blocks.len());
    isa.run(Values {
        series: SeriesBlock::new([pairs]),
        gaps,
        dots,
    });
}

/// Computes the new gaps and Ṫ of a row of pairs, with their derivatives. `variables` holds the features of the pairs,
/// then the derivatives of these features.
pub(super) fn differentiate(
    isa: Isa,
    variables: [&Variables<'_>; 2],
    gaps: &[Block],
    steps: &mut [differentiable::DualStep],
) {
    assert!(gaps.len() == variables[0].blocks.len() && steps.len() == gaps.len());
    isa.run(Derivatives {
        series: SeriesBlock::new(variables),
        gaps,
        steps,
    });
}

/// The loop for values.
struct Values<'a> {
    series: SeriesBlock<'a, 1>,
    gaps: &'a mut [Block],
    dots: &'a mut [Block],
}

impl Vectorized for Values<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let pairs = self.gaps.iter_mut().zip(self.dots);
        for (block, (gap, dot)) in self.series.blocks.clone().zip(pairs) {
            let (new, slope) = PairSums::new(&self.series, block, 0, V::load(gap)).step();
            new.store(gap);
            slope.store(dot);
        }
    }
}

/// The loop for values with derivatives.
struct Derivatives<'a> {
    series: SeriesBlock<'a, 2>,
    gaps: &'a [Block],
    steps: &'a mut [differentiable::DualStep],
}

impl Vectorized for Derivatives<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let pairs = self.gaps.iter().zip(self.steps);
        for (block, (gap, step)) in self.series.blocks.clone().zip(pairs) {
            for part in 0..V::Part::PARTS {
                let gap = V::Part::load_part(gap, part);
                let tangent = Tangent::<V::Part, DIRECTIONS>::along(0, gap, gap);
                let sums = PairSums::new(&self.series, block, part, tangent);
                let (mut new, dot) = sums.step();
                // dT/dc = Ṫ. Both are 0 for a function without a linear part at r = 0.
                let unit = sums.unit_of_dots().value;
                let unit = unit.max(V::Part::splat(f64::MIN_POSITIVE));
                new.slopes[0] = gap * (dot.value / unit);
                step.store(part, [new, dot]);
            }
        }
    }
}
