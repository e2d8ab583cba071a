//! One dense layer on the pairs of one row, and the activation before it, backward.
//!
//! With the symbols of the [module](super): let `f` be an output, and let primes mark the layer before. Given the
//! adjoints `∂f/∂Θ`, `∂f/∂gap` and `∂f/∂λ` after a dense layer, one step computes `∂f/∂σ_w` and `∂f/∂σ_b` of this layer
//! and the adjoints after the layer before.

use super::forward::{LayerPairs, squared_ratio};
use super::{Adjoint, LayerState, TiedScales};
use crate::activations::bias::{BIAS_NUMBERS, bias_slopes, correlation};
use crate::activations::row_and_columns::RowAndColumns;
use crate::infinite::recursion::LayerScales;
use crate::infinite::recursion::profile_slopes::{ALPHA, BETA, ELASTICITY, ROOT, UNIT};
use crate::isa::{Block, Vector, Vectorized};

/// The layer's own term of an output, `own = τ_w² ω_i ω_j ρ(t) + τ_b²`.
pub(super) struct LayerTermSlopes {
    /// True if the term is the whole output, false if it enters by Θ.
    alone: bool,
    /// `τ_w²/σ_w²`.
    learning: f64,
    /// `∂ log τ_w²/∂σ_w`.
    weight_slope: f64,
    /// `∂τ_b²/∂σ_b`.
    bias_slope: f64,
}

impl LayerTermSlopes {
    /// The term of Σ, where τ is σ.
    pub fn nngp(scales: LayerScales) -> Self {
        Self {
            alone: true,
            learning: 1.0,
            weight_slope: 2.0 / scales.sigma_w,
            bias_slope: 2.0 * scales.sigma_b,
        }
    }

    /// The term of Θ.
    pub fn ntk(scales: LayerScales, tied: TiedScales) -> Self {
        let if_tied = |tied: bool, slope: f64| if tied { slope } else { 0.0 };
        Self {
            alone: false,
            learning: squared_ratio(scales.tau_w, scales.sigma_w),
            weight_slope: if_tied(tied.weights, 2.0 / scales.sigma_w),
            bias_slope: if_tied(tied.biases, 2.0 * scales.sigma_b),
        }
    }
}

/// One layer of the backward pass.
pub(super) struct Backward<'a> {
    pub layer: LayerPairs<'a>,
    pub own: LayerTermSlopes,
    pub state: &'a LayerState,
    /// The state of the layer before, if there is one.
    pub before: Option<&'a LayerState>,
    pub adjoints: &'a mut [Adjoint],
    /// The derivatives with respect to `σ_w` and `σ_b`.
    pub targets: [&'a mut [Block]; 2],
}

impl Vectorized for Backward<'_> {
    type Output = ();

    // Θ = own + σ_w² Ṫ Θ', so that ∂f/∂σ_w gains 2σ_w Ṫ Θ' ∂f/∂Θ, ∂f/∂Ṫ is σ_w² Θ' ∂f/∂Θ and ∂f/∂Θ' is σ_w² Ṫ ∂f/∂Θ.
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

/// The derivatives of an output with respect to the inputs of a dense layer.
struct DenseAdjoint<V> {
    /// With respect to `σ_w`, the term of Ṫ excepted.
    weights: V,
    /// With respect to `σ_b`.
    biases: V,
    /// With respect to the gap t before the bias.
    gap: V,
    /// With respect to log ω of the row and of the columns.
    roots: [V; 2],
}

impl Backward<'_> {
    /// Goes back through the dense layer. The own term adds, with `c = ∂f/∂own` and `p = c τ_w² ω_i ω_j`,
    ///
    /// ```text
    /// ∂f/∂σ_w += pρ ∂log τ_w²/∂σ_w        ∂f/∂log ω += pρ, on both sides
    /// ∂f/∂σ_b += c ∂τ_b²/∂σ_b             ∂f/∂t     −= p
    /// ```
    ///
    /// and later layers add their parts through the gap and through λ, where `log u = log σ_w + log ω`.
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
        let mut dense = DenseAdjoint {
            weights: V::splat(own.weight_slope) * part,
            biases,
            gap: V::load(&adjoint.gap) - product,
            roots: [V::load(&adjoint.roots[0]), V::load(&adjoint.roots[1])],
        };
        if let Some(numbers) = &layer.bias {
            self.bias(block, numbers, product, &mut dense);
        }
        let sum = dense.roots[0] + dense.roots[1];
        dense.weights = dense.weights + sum / V::splat(layer.scales.sigma_w);
        dense.roots = [dense.roots[0] + part, dense.roots[1] + part];
        dense
    }

    /// Goes back through the bias: replaces `∂f/∂λ` by `∂f/∂log u` on each side, and the part of `∂f/∂t` that comes
    /// from later layers. `product` is `p` of [`Self::dense`]. `dλ = α dlog u + σ_b/r² dσ_b`, and the gap after the
    /// bias depends on t and on log u of both sides.
    #[inline(always)]
    fn bias<V: Vector>(
        &self,
        block: usize,
        numbers: &RowAndColumns<'_, BIAS_NUMBERS>,
        product: V,
        dense: &mut DenseAdjoint<V>,
    ) {
        let (layer, later) = (&self.layer, V::load(&self.adjoints[block].gap));
        let gap = V::load(&self.state.steps[block].gap);
        let sigma_b = V::splat(layer.scales.sigma_b);
        let [along, row, col] = bias_slopes(numbers.all(block), gap);
        let (row, col) = (later * row, later * col);
        dense.gap = later * along - product;
        let alphas = layer.numbers.pair::<V>(ALPHA, block);
        let betas = layer.numbers.pair::<V>(BETA, block);
        let roots = dense.roots;
        // The gap does not change if both u and σ_b are scaled alike: σ_b ∂gap/∂σ_b = −∂gap/∂log u_i − ∂gap/∂log u_j.
        let by_roots = roots[0] * betas[0] + roots[1] * betas[1];
        dense.biases = dense.biases + (by_roots - (row + col) / sigma_b);
        dense.roots = [roots[0] * alphas[0] + row, roots[1] * alphas[1] + col];
    }

    /// Goes back through the activation before the layer, given `dot = ∂f/∂Ṫ`. Writes the adjoints of the gap and of λ.
    #[inline(always)]
    fn activation<V: Vector>(
        &mut self,
        block: usize,
        before: &LayerState,
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
        // Slopes are those along log gap. A gap of 0 stays 0 for all scales.
        let along = V::select(zero.less(gap.abs()), slope(0) / gap, zero);
        along.store(&mut adjoint.gap);
        let elasticities = self.layer.numbers.pair::<V>(ELASTICITY, block);
        for side in [0, 1] {
            let root = slope(side + 1) + dense.roots[side] * elasticities[side];
            root.store(&mut adjoint.roots[side]);
        }
    }
}
