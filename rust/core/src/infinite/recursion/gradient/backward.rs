//! A dense layer on the pairs of one row, and the activation before it: backward.

use super::forward::{LayerPairs, squared_ratio, with_slopes};
use super::{Adjoint, State, TiedScales};
use crate::infinite::recursion::LayerScales;
use crate::infinite::recursion::bias::{add_bias, correlation};
use crate::infinite::recursion::profile_slopes::{ALPHA, BETA, ELASTICITY, ROOT, UNIT};
use crate::isa::{Block, Vector, Vectorized};
use crate::math::tangent::Tangent;

/// The layer's own part of an output: `τ_w² ω_i ω_j ρ + τ_b²`.
pub(super) struct LayerTermSlopes {
    /// Whether it is part of the output whatever the adjoint of Θ.
    alone: bool,
    /// `τ_w²/σ_w²`, and the logarithmic derivative of τ_w² with respect to σ_w.
    learning: f64,
    weight_slope: f64,
    /// The derivative of τ_b² with respect to σ_b.
    bias_slope: f64,
}

impl LayerTermSlopes {
    /// That of Σ.
    pub fn nngp(scales: LayerScales) -> Self {
        Self {
            alone: true,
            learning: 1.0,
            weight_slope: 2.0 / scales.sigma_w,
            bias_slope: 2.0 * scales.sigma_b,
        }
    }

    /// That of Θ.
    pub fn ntk(scales: LayerScales, tied: TiedScales) -> Self {
        let where_true = |tied: bool, slope: f64| if tied { slope } else { 0.0 };
        Self {
            alone: false,
            learning: squared_ratio(scales.tau_w, scales.sigma_w),
            weight_slope: where_true(tied.weights, 2.0 / scales.sigma_w),
            bias_slope: where_true(tied.biases, 2.0 * scales.sigma_b),
        }
    }
}

/// One layer of the way back.
pub(super) struct Backward<'a> {
    pub layer: LayerPairs<'a>,
    pub own: LayerTermSlopes,
    pub state: &'a State,
    /// The layer before, if there is one.
    pub before: Option<&'a State>,
    pub adjoints: &'a mut [Adjoint],
    /// Get the derivatives with respect to σ_w and σ_b.
    pub targets: [&'a mut [Block]; 2],
}

impl Vectorized for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(mut self) {
        for block in 0..self.adjoints.len() {
            let adjoint = &self.adjoints[block];
            let ntk = V::load(&adjoint.ntk);
            let dense = self.dense::<V>(block);
            let mut weights = dense.weights;
            if let Some(before) = self.before {
                let sigma_w = self.layer.scales.sigma_w;
                let (dot, theta) = (
                    V::load(&self.state.steps[block].dot),
                    V::load(&before.ntk[block]),
                );
                weights = weights + V::splat(2.0 * sigma_w) * (ntk * (dot * theta));
                let variance = V::splat(sigma_w * sigma_w);
                self.activation(block, before, &dense, variance * (ntk * theta));
                (variance * (ntk * dot)).store(&mut self.adjoints[block].ntk);
            }
            weights.store(&mut self.targets[0][block]);
            dense.biases.store(&mut self.targets[1][block]);
        }
    }
}

/// What an output is with respect to what goes into a dense layer.
struct DenseAdjoint<V> {
    /// σ_w and σ_b.
    weights: V,
    biases: V,
    /// The gap, and log ω of the row and of the columns.
    gap: V,
    roots: [V; 2],
}

impl Backward<'_> {
    /// Through the dense layer.
    #[inline(always)]
    fn dense<V: Vector>(&self, block: usize) -> DenseAdjoint<V> {
        let Self { layer, own, .. } = self;
        let adjoint = &self.adjoints[block];
        let share = if own.alone {
            V::splat(1.0)
        } else {
            V::load(&adjoint.ntk)
        };
        let gap = V::load(&self.state.steps[block].gap);
        let product = share * (V::splat(own.learning) * layer.numbers.product(ROOT, block));
        let part = product * correlation(gap);
        let biases = if own.bias_slope > 0.0 {
            V::splat(own.bias_slope) * (share * layer.numbers.product(UNIT, block))
        } else {
            V::splat(0.0)
        };
        let later = V::load(&adjoint.gap);
        let roots = [V::load(&adjoint.roots[0]), V::load(&adjoint.roots[1])];
        let mut dense = DenseAdjoint {
            weights: V::splat(own.weight_slope) * part,
            biases,
            gap: later - product,
            roots,
        };
        if let Some(sides) = &layer.bias {
            let sigma_b = V::splat(layer.scales.sigma_b);
            let tangent = add_bias(
                with_slopes(sides, block),
                Tangent::along(0, gap, V::splat(1.0)),
            );
            let [along, row, col] = tangent.slopes;
            let (row, col) = (later * row, later * col);
            dense.gap = later * along - product;
            let alphas = layer.numbers.pair::<V>(ALPHA, block);
            let betas = layer.numbers.pair::<V>(BETA, block);
            // Gaps are the same if both u and σ_b are scaled alike.
            let by_roots = roots[0] * betas[0] + roots[1] * betas[1];
            dense.biases = dense.biases + (by_roots - (row + col) / sigma_b);
            dense.roots = [roots[0] * alphas[0] + row, roots[1] * alphas[1] + col];
        }
        let sum = dense.roots[0] + dense.roots[1];
        dense.weights = dense.weights + sum / V::splat(layer.scales.sigma_w);
        dense.roots = [dense.roots[0] + part, dense.roots[1] + part];
        dense
    }

    /// Through the activation before it, given the derivative with respect to Ṫ.
    #[inline(always)]
    fn activation<V: Vector>(
        &mut self,
        block: usize,
        before: &State,
        dense: &DenseAdjoint<V>,
        dot: V,
    ) {
        let step = &self.state.steps[block];
        let slope = |n: usize| {
            let (gap_slope, dot_slope) = (&step.gap_slopes[n], &step.dot_slopes[n]);
            dense.gap * V::load(gap_slope) + dot * V::load(dot_slope)
        };
        let adjoint = &mut self.adjoints[block];
        let (zero, gap) = (V::splat(0.0), V::load(&before.gaps[block]));
        // A gap of 0 stays 0 whatever the sigmas.
        let along = V::select(zero.less(gap.abs()), slope(0) / gap, zero);
        along.store(&mut adjoint.gap);
        let elasticities = self.layer.numbers.pair::<V>(ELASTICITY, block);
        for side in [0, 1] {
            let root = slope(side + 1) + dense.roots[side] * elasticities[side];
            root.store(&mut adjoint.roots[side]);
        }
    }
}
