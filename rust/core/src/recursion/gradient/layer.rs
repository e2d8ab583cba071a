//! A dense layer on the pairs of one row: forward.

use super::{State, chain};
use crate::isa::{Block, Vector, Vectorized};
use crate::recursion::Affine;
use crate::recursion::widening::{correlation, widen};
use crate::tangent::Tangent;

/// A dense layer, one row and the columns.
pub(super) struct Layer<'a> {
    pub affine: Affine,
    pub row: [f64; chain::NUMBERS],
    pub cols: [&'a [Block]; chain::NUMBERS],
}

impl Layer<'_> {
    /// A number of the row, and of a block of columns.
    #[inline(always)]
    pub fn pair<V: Vector>(&self, index: usize, block: usize) -> [V; 2] {
        [V::splat(self.row[index]), V::load(&self.cols[index][block])]
    }

    /// The product of both.
    #[inline(always)]
    pub fn product<V: Vector>(&self, index: usize, block: usize) -> V {
        let [row, col] = self.pair::<V>(index, block);
        row * col
    }

    pub fn has_bias(&self) -> bool {
        self.affine.sigma_b > 0.0
    }

    /// What [`widen`] wants to know, for values.
    #[inline(always)]
    fn bias<V: Vector>(&self, block: usize) -> [[V; 5]; 2] {
        let (mut row, mut col) = ([V::splat(0.0); 5], [V::splat(0.0); 5]);
        for index in chain::WIDENING {
            [row[index], col[index]] = self.pair(index, block);
        }
        [row, col]
    }

    /// The same with derivatives with respect to log u of the row and of the columns, in directions 1 and 2.
    #[inline(always)]
    pub fn bias_slopes<V: Vector>(&self, block: usize) -> [[Tangent<V, 3>; 5]; 2] {
        let [row, col] = self.bias::<V>(block);
        let [alpha, alpha_col] = self.pair::<V>(chain::ALPHA, block);
        [with_slopes(1, row, alpha), with_slopes(2, col, alpha_col)]
    }
}

/// `u`, what rounding took from it, `1/r`, `u/r` and `σ_b/r` with derivatives with respect to log u, in a direction.
#[inline(always)]
fn with_slopes<V: Vector>(
    direction: usize,
    [u, rest, inverse, weight, bias]: [V; 5],
    alpha: V,
) -> [Tangent<V, 3>; 5] {
    [
        Tangent::along(direction, u, u),
        Tangent::constant(rest),
        Tangent::along(direction, inverse, -(alpha * inverse)),
        Tangent::along(direction, weight, weight * (bias * bias)), // σ_b²/r² is 1 − α
        Tangent::along(direction, bias, -(alpha * bias)),
    ]
}

/// `(a/b)²`.
pub(super) fn squared_ratio(a: f64, b: f64) -> f64 {
    (a / b) * (a / b)
}

/// The gaps and Θ after a layer.
pub(super) struct Forward<'a> {
    pub layer: Layer<'a>,
    /// Θ of the layer before.
    pub before: Option<&'a [Block]>,
    pub state: &'a mut State,
}

impl Vectorized for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { layer, state, .. } = self;
        let Affine { sigma_w, tau_w, .. } = layer.affine;
        let variance = V::splat(sigma_w * sigma_w);
        let learning = V::splat(squared_ratio(tau_w, sigma_w));
        for (block, step) in state.steps.iter().enumerate() {
            let gap = V::load(&step.gap);
            let widened = if layer.has_bias() {
                widen(layer.bias(block), gap)
            } else {
                gap
            };
            widened.store(&mut state.gaps[block]);
            let roots = layer.product::<V>(chain::ROOT, block);
            let own =
                (learning * roots).mul_add(correlation(gap), layer.product(chain::TAU_B, block));
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
