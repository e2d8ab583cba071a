//! A dense layer and the activation before it in forward mode, on blocks of pairs.

use super::super::Output;
use super::super::gradient::{LayerPairs, squared_ratio};
use super::super::profile_slopes::{ROOT, TAU_B};
use crate::activations::bias::{add_bias, bias_slopes, correlation};
use crate::activations::differentiable::{DIRECTIONS, DualStep};
use crate::activations::row_and_columns::RowAndColumns;
use crate::isa::{Block, Vector, Vectorized};

/// The index of the derivatives of log u.
pub(super) const BEFORE_BIAS: usize = 0;
/// The index of the derivatives of log r.
pub(super) const AFTER_BIAS: usize = 1;

/// Θ of a block of pairs, with derivatives.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PairTangent {
    ntk: Block,
    gap_slopes: [Block; DIRECTIONS],
    nngp_slopes: [Block; DIRECTIONS],
    ntk_slopes: [Block; DIRECTIONS],
}

impl PairTangent {
    /// The derivatives of an output.
    pub(super) fn slopes(&self, output: Output) -> &[Block; DIRECTIONS] {
        match output {
            Output::Nngp(_) => &self.nngp_slopes,
            Output::Ntk(_) | Output::Part(_) => &self.ntk_slopes,
        }
    }
}

/// A dense layer and the activation before it, on values with derivatives.
pub(super) struct DenseSlopes<'a> {
    pub(super) layer: LayerPairs<'a>,
    /// The derivatives of log u and log r.
    pub(super) chain: RowAndColumns<'a, 2>,
    /// The results of the activation, if there is one, and the derivatives of log u and log r before it.
    pub(super) activation: Option<(&'a [DualStep], RowAndColumns<'a, 2>)>,
    /// The gaps after the layer before; replaced by those after this one.
    pub(super) gaps: &'a mut [Block],
    pub(super) pairs: &'a mut [PairTangent],
}

/// The gap before the bias, Ṫ, and their derivatives.
struct StepTangent<V> {
    gap: V,
    gap_slopes: [V; DIRECTIONS],
    dot: V,
    dot_slopes: [V; DIRECTIONS],
}

impl Vectorized for DenseSlopes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (layer, is_first) = (self.layer, self.activation.is_none());
        let variance = V::splat(layer.scales.sigma_w * layer.scales.sigma_w);
        let learning = V::splat(squared_ratio(layer.scales.tau_w, layer.scales.sigma_w));
        for block in 0..self.gaps.len() {
            let step = self.step::<V>(block);
            let product = layer.numbers.product::<V>(ROOT, block);
            let rho = correlation(step.gap);
            let by_root = self.chain.pair::<V>(BEFORE_BIAS, block);
            let pair = &mut self.pairs[block];
            let before = loaded::<V>(is_first, &pair.ntk);
            let own = (learning * product).mul_add(rho, layer.numbers.product(TAU_B, block));
            (variance * step.dot)
                .mul_add(before, own)
                .store(&mut pair.ntk);
            for n in 0..DIRECTIONS {
                let mut nngp = -(product * step.gap_slopes[n]);
                if n > 0 {
                    nngp = nngp + product * rho * by_root[n - 1];
                }
                let slope = loaded::<V>(is_first, &pair.ntk_slopes[n]);
                let ntk = step.dot_slopes[n] * before + step.dot * slope;
                variance
                    .mul_add(ntk, learning * nngp)
                    .store(&mut pair.ntk_slopes[n]);
                nngp.store(&mut pair.nngp_slopes[n]);
            }
            let (gap, slopes) = self.with_bias(block, &step);
            gap.store(&mut self.gaps[block]);
            for (slope, target) in slopes.iter().zip(&mut self.pairs[block].gap_slopes) {
                slope.store(target);
            }
        }
    }
}

/// Values of the layer before; 0 for the first layer.
#[inline(always)]
fn loaded<V: Vector>(is_first: bool, values: &Block) -> V {
    if is_first {
        V::splat(0.0)
    } else {
        V::load(values)
    }
}

impl DenseSlopes<'_> {
    /// The gap after the bias, and its derivatives.
    #[inline(always)]
    fn with_bias<V: Vector>(&self, block: usize, step: &StepTangent<V>) -> (V, [V; DIRECTIONS]) {
        let Some(numbers) = &self.layer.bias else {
            return (step.gap, step.gap_slopes);
        };
        let numbers = numbers.all(block);
        let [along, row, col] = bias_slopes(numbers, step.gap);
        let [by_row, by_col] = self.chain.pair::<V>(BEFORE_BIAS, block);
        let [first, second, third] = step.gap_slopes;
        let slopes = [
            along * first,
            along * second + row * by_row,
            along * third + col * by_col,
        ];
        (add_bias(numbers, step.gap), slopes)
    }

    /// The results of the activation by the chain rule. Before the first layer there is none: `Ṫ = 0`.
    #[inline(always)]
    fn step<V: Vector>(&self, block: usize) -> StepTangent<V> {
        let (zero, gap) = (V::splat(0.0), V::load(&self.gaps[block]));
        let Some((steps, chain)) = &self.activation else {
            return StepTangent {
                gap,
                gap_slopes: [V::splat(1.0), zero, zero],
                dot: zero,
                dot_slopes: [zero; DIRECTIONS],
            };
        };
        let (step, before) = (&steps[block], &self.pairs[block].gap_slopes);
        // Slopes are those along log gap. At a gap of 0, what does not vanish belongs to a cusp.
        let inverse = V::select(zero.less(gap.abs()), V::splat(1.0) / gap, zero);
        let roots = chain.pair::<V>(AFTER_BIAS, block);
        StepTangent {
            gap: V::load(&step.gap),
            gap_slopes: chained(&step.gap_slopes, before, inverse, roots),
            dot: V::load(&step.dot),
            dot_slopes: chained(&step.dot_slopes, before, inverse, roots),
        }
    }
}

/// The derivatives of a result of an activation, given those along its log gap and the two log roots. `before` are the
/// derivatives of the gap, `roots` those of the log roots, and `inverse` is 1/gap.
///
/// A function, not a closure: a closure would be compiled without the vector instructions.
#[inline(always)]
fn chained<V: Vector>(
    slopes: &[Block; DIRECTIONS],
    before: &[Block; DIRECTIONS],
    inverse: V,
    roots: [V; 2],
) -> [V; DIRECTIONS] {
    let along = V::load(&slopes[0]) * inverse;
    [
        along * V::load(&before[0]),
        along * V::load(&before[1]) + V::load(&slopes[1]) * roots[0],
        along * V::load(&before[2]) + V::load(&slopes[2]) * roots[1],
    ]
}
