//! One dense layer on the pairs of one row, forward.

use super::{DifferentiatedProfile, LayerState};
use crate::activations::bias::{BIAS_NUMBERS, add_bias, correlation};
use crate::activations::row_and_columns::RowAndColumns;
use crate::activations::row_pairs::RowPairs;
use crate::infinite::recursion::LayerScales;
use crate::infinite::recursion::profile_slopes::{NUMBERS, ROOT, TAU_B};
use crate::isa::{Block, Vector, Vectorized};

/// A dense layer, with the numbers of one row and of the columns.
#[derive(Clone, Copy)]
pub(in super::super) struct LayerPairs<'a> {
    pub scales: LayerScales,
    pub numbers: RowAndColumns<'a, NUMBERS>,
    /// The numbers that [`add_bias`] reads, if there is a bias.
    pub bias: Option<RowAndColumns<'a, BIAS_NUMBERS>>,
}

impl<'a> LayerPairs<'a> {
    /// Dense layer `index` with the numbers of `pairs`. `sides` are the rows and the columns.
    pub fn new(
        scales: LayerScales,
        index: usize,
        sides: [DifferentiatedProfile<'a>; 2],
        pairs: &RowPairs,
    ) -> Self {
        let [rows, cols] = sides.map(|side| side.slopes.numbers(index));
        let bias = sides.map(|side| &side.profile.levels[index].bias);
        let bias = bias[0].as_ref().zip(bias[1].as_ref());
        Self {
            scales,
            numbers: RowAndColumns::new(pairs, rows, cols),
            bias: bias.map(|(rows, cols)| RowAndColumns::new(pairs, rows, cols)),
        }
    }
}

/// `(a/b)²`.
pub(in super::super) fn squared_ratio(a: f64, b: f64) -> f64 {
    (a / b) * (a / b)
}

/// Computes the gaps and Θ after a dense layer:
///
/// ```text
/// own = (τ_w/σ_w)² u_i u_j ρ(t) + τ_b²        Θ = own + σ_w² Ṫ Θ'
/// ```
pub(super) struct Forward<'a> {
    pub layer: LayerPairs<'a>,
    /// Θ', that of the layer before.
    pub before: Option<&'a [Block]>,
    pub state: &'a mut LayerState,
}

impl Vectorized for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { layer, state, .. } = self;
        let LayerScales { sigma_w, tau_w, .. } = layer.scales;
        let variance = V::splat(sigma_w * sigma_w);
        let learning = V::splat(squared_ratio(tau_w, sigma_w));
        for (block, step) in state.steps.iter().enumerate() {
            let gap = V::load(&step.gap);
            let with_bias = match &layer.bias {
                Some(numbers) => add_bias(numbers.all(block), gap),
                None => gap,
            };
            with_bias.store(&mut state.gaps[block]);
            let roots = layer.numbers.product::<V>(ROOT, block);
            let own =
                (learning * roots).mul_add(correlation(gap), layer.numbers.product(TAU_B, block));
            let ntk = match self.before {
                Some(before) => {
                    (variance * V::load(&step.dot)).mul_add(V::load(&before[block]), own)
                }
                None => own,
            };
            ntk.store(&mut state.ntk[block]);
        }
    }
}
