//! Derivatives of Σ and Θ with respect to σ_w and σ_b of every dense layer.
//!
//! A row of pairs goes forward through all layers and leaves what each of them made of it; then, for each output, the
//! derivatives go backward (reverse mode), so that L layers cost what some passes of the recursion do, not L². Along a
//! pair goes its gap; along each of its inputs `λ = log r`, of which [`Chain`] knows the rest. With `α = u²/r²`:
//!
//! ```text
//! own = τ_w² ω_i ω_j ρ(t) + τ_b²        Θ = own + σ_w² Ṫ Θ'        u = σ_w ω,  r² = u² + σ_b²,  dλ = α dlog u + σ_b/r² dσ_b
//! ```
//!
//! where ω and t are the roots and the gap that the activation left. Where a kink makes the slope of Ṫ in the gap infinite,
//! that of the gap is 0: what is passed on are products with the gap.

use std::ops::Range;

use super::chain::{self, Chain};
use super::{Affine, Output, Profile, Recursion};
use crate::derivative::{Differentiable, Step};
use crate::dual::Variables;
use crate::error::{Error, Result};
use crate::isa::{Block, Isa, Real, Vector, Vectorized, WIDTH};
use crate::tangent::Tangent;
use crate::tile::Tile;

/// Whether the learning scales of a layer are its σ_w and σ_b, and so change with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Follows {
    /// Whether τ_w is σ_w.
    pub weights: bool,
    /// Whether τ_b is σ_b.
    pub biases: bool,
}

/// The derivatives of kernels between two batches of inputs.
#[derive(Debug)]
pub struct Gradient<'a> {
    recursion: &'a Recursion,
    isa: Isa,
    sides: [(&'a Profile, &'a Chain); 2],
    outputs: &'a [Output],
    follows: &'a [Follows],
    activations: Vec<&'a dyn Differentiable>,
}

/// What the layers leave of one row against blocks of columns.
#[derive(Debug, Default)]
pub struct States {
    layers: Vec<State>,
    adjoints: Vec<Adjoint>,
}

/// What one layer leaves.
#[derive(Debug, Default)]
struct State {
    /// What the activation before it made of the pairs.
    steps: Vec<Step>,
    /// The gaps after it, and Θ.
    gaps: Vec<Block>,
    ntk: Vec<Block>,
}

/// Derivatives of an output with respect to Θ and the gap after a layer, and to log r of the row and of the columns.
#[derive(Clone, Copy, Debug, Default)]
struct Adjoint {
    ntk: Block,
    gap: Block,
    roots: [Block; 2],
}

impl<'a> Gradient<'a> {
    /// Those of these outputs, which are of the whole network.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the derivatives of an activation's dual are not known.
    ///
    /// # Panics
    /// If an output is another one, or there is not one of `follows` per layer.
    pub fn new(
        recursion: &'a Recursion,
        isa: Isa,
        sides: [(&'a Profile, &'a Chain); 2],
        outputs: &'a [Output],
        follows: &'a [Follows],
    ) -> Result<Self> {
        let last = recursion.layers() - 1;
        let whole = |output: &Output| [Output::Nngp(last), Output::Ntk(last)].contains(output);
        assert!(outputs.iter().all(whole) && follows.len() == recursion.layers());
        Ok(Self {
            recursion,
            isa,
            sides,
            outputs,
            follows,
            activations: recursion.differentiable()?,
        })
    }

    /// The instruction set that it runs on.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// How many planes there are: for each output those of σ_w of every layer, then those of σ_b.
    pub fn planes(&self) -> usize {
        2 * self.recursion.layers() * self.outputs.len()
    }

    /// Runs row `i` against `blocks` of columns, whose gaps are given, and writes row `r` of all planes.
    ///
    /// Bitwise symmetric in the two inputs, and independent of the range of columns.
    ///
    /// # Panics
    /// If `gaps` or a plane does not hold as many blocks, or there are not as many planes.
    pub fn run(
        &self,
        i: usize,
        blocks: &Range<usize>,
        gaps: &[Block],
        states: &mut States,
        (planes, r): (&mut [Tile], usize),
    ) {
        assert!(gaps.len() == blocks.len() && planes.len() == self.planes());
        states.reset(self.recursion.layers(), gaps);
        for index in 0..self.recursion.layers() {
            self.forward(index, i, blocks, &mut states.layers);
        }
        let layers = self.recursion.layers();
        for (output, planes) in self.outputs.iter().zip(planes.chunks_mut(2 * layers)) {
            let start = f64::from(u8::from(matches!(output, Output::Ntk(_))));
            states.start([start; WIDTH]);
            let (weights, biases) = planes.split_at_mut(layers);
            for index in (0..layers).rev() {
                let targets =
                    [&mut weights[index], &mut biases[index]].map(|plane| plane.row_blocks_mut(r));
                self.backward(index, *output, (i, blocks), states, targets);
            }
            for plane in planes {
                self.unscale(i, blocks, plane.row_blocks_mut(r));
            }
        }
    }

    /// An activation, but before the first layer, and dense layer `index`.
    fn forward(&self, index: usize, i: usize, blocks: &Range<usize>, states: &mut [State]) {
        let (before, rest) = states.split_at_mut(index);
        let state = &mut rest[0];
        if let Some(before) = before.last() {
            let [row, col] = self.sides;
            let variables = |rows, cols| Variables {
                rows,
                row: i,
                cols,
                blocks: blocks.clone(),
            };
            let level = index - 1;
            let pairs = variables(&row.0.levels[level].features, &col.0.levels[level].features);
            let slopes = variables(row.1.slopes(level), col.1.slopes(level));
            self.activations[level].step(self.isa, &pairs, &slopes, &before.gaps, &mut state.steps);
        }
        self.isa.run(Forward {
            layer: self.layer(index, i, blocks),
            before: before.last().map(|before| &before.ntk[..]),
            state,
        });
    }

    /// Passes the adjoints through dense layer `index`, and the activation before it if there is one; writes the
    /// derivatives with respect to σ_w and σ_b.
    fn backward(
        &self,
        index: usize,
        output: Output,
        (i, blocks): (usize, &Range<usize>),
        states: &mut States,
        targets: [&mut [Block]; 2],
    ) {
        let layer = self.layer(index, i, blocks);
        let own = if output == Output::Nngp(index) {
            Own::nngp(layer.affine)
        } else {
            Own::ntk(layer.affine, self.follows[index])
        };
        self.isa.run(Backward {
            layer,
            own,
            state: &states.layers[index],
            before: index.checked_sub(1).map(|before| &states.layers[before]),
            adjoints: &mut states.adjoints,
            targets,
        });
    }

    /// What dense layer `index` knows of row `i` and the columns.
    fn layer(&self, index: usize, i: usize, blocks: &Range<usize>) -> Layer<'_> {
        let [row, cols] = self.sides.map(|(_, chain)| chain.numbers(index));
        Layer {
            affine: self.recursion.layers[index],
            row: row.each_ref().map(|numbers| numbers.get(i)),
            cols: cols
                .each_ref()
                .map(|numbers| &numbers.blocks()[blocks.clone()]),
        }
    }

    /// Takes the scaling of the rows from values.
    fn unscale(&self, i: usize, blocks: &Range<usize>, values: &mut [Block]) {
        let [(rows, _), (cols, _)] = self.sides;
        if let (Some(rows), Some(cols)) = (&rows.factors, &cols.factors) {
            self.isa.run(Unscale {
                factor: rows.get(i),
                factors: &cols.blocks()[blocks.clone()],
                values,
            });
        } else {
            let exponents = &cols.exponents[blocks.start * WIDTH..];
            for (value, exponent) in values.as_flattened_mut().iter_mut().zip(exponents) {
                *value = libm::scalbn(*value, rows.exponents[i] + exponent);
            }
        }
    }
}

impl Recursion {
    /// The derivatives of all activations.
    pub(super) fn differentiable(&self) -> Result<Vec<&dyn Differentiable>> {
        let derivative = |index: usize| {
            self.dual(index).differentiable().ok_or_else(|| {
                let message = format!(
                    "the kernel of {:?} is a series, whose gradient is not known: only activations with a closed form \
                     have one",
                    self.activations[index]
                );
                Error::Invalid(message)
            })
        };
        (0..self.activations.len()).map(derivative).collect()
    }
}

impl States {
    fn reset(&mut self, layers: usize, gaps: &[Block]) {
        self.layers.resize_with(layers, State::default);
        for state in &mut self.layers {
            // All of it is written before it is read, but for the gaps of the inputs.
            state.steps.resize(gaps.len(), Step::default());
            for values in [&mut state.gaps, &mut state.ntk] {
                values.resize(gaps.len(), [0.0; WIDTH]);
            }
        }
        if let Some(first) = self.layers.first_mut() {
            for (step, gap) in first.steps.iter_mut().zip(gaps) {
                step.gap = *gap;
            }
        }
    }

    /// The adjoints of an output, after the last layer: with respect to Θ as given, nothing else.
    fn start(&mut self, ntk: Block) {
        let adjoint = Adjoint {
            ntk,
            ..Adjoint::default()
        };
        self.adjoints.clear();
        self.adjoints.resize(self.layers[0].gaps.len(), adjoint);
    }
}

/// A dense layer, one row and the columns.
struct Layer<'a> {
    affine: Affine,
    row: [f64; chain::NUMBERS],
    cols: [&'a [Block]; chain::NUMBERS],
}

impl Layer<'_> {
    /// A number of the row, and of a block of columns.
    #[inline(always)]
    fn pair<V: Vector>(&self, index: usize, block: usize) -> [V; 2] {
        [V::splat(self.row[index]), V::load(&self.cols[index][block])]
    }

    /// The product of both.
    #[inline(always)]
    fn product<V: Vector>(&self, index: usize, block: usize) -> V {
        let [row, col] = self.pair::<V>(index, block);
        row * col
    }

    fn has_bias(&self) -> bool {
        self.affine.sigma_b > 0.0
    }

    /// What [`widen`] wants to know, for values.
    #[inline(always)]
    fn bias<V: Vector>(&self, block: usize) -> [[V; 4]; 2] {
        let [u, u_col] = self.pair(chain::U, block);
        let [inverse, inverse_col] = self.pair(chain::INVERSE, block);
        let [weight, weight_col] = self.pair(chain::WEIGHT, block);
        let [bias, bias_col] = self.pair(chain::BIAS, block);
        [
            [u, inverse, weight, bias],
            [u_col, inverse_col, weight_col, bias_col],
        ]
    }

    /// The same with derivatives with respect to log u of the row and of the columns, in directions 1 and 2.
    #[inline(always)]
    fn bias_slopes<V: Vector>(&self, block: usize) -> [[Tangent<V, 3>; 4]; 2] {
        let [row, col] = self.bias::<V>(block);
        let [alpha, alpha_col] = self.pair::<V>(chain::ALPHA, block);
        [with_slopes(1, row, alpha), with_slopes(2, col, alpha_col)]
    }
}

/// `u`, `1/r`, `u/r` and `σ_b/r` with derivatives with respect to log u, in a direction.
#[inline(always)]
fn with_slopes<V: Vector>(
    direction: usize,
    [u, inverse, weight, bias]: [V; 4],
    alpha: V,
) -> [Tangent<V, 3>; 4] {
    [
        Tangent::along(direction, u, u),
        Tangent::along(direction, inverse, -(alpha * inverse)),
        Tangent::along(direction, weight, weight * (bias * bias)), // σ_b²/r² is 1 − α
        Tangent::along(direction, bias, -(alpha * bias)),
    ]
}

/// The gaps of `u_i·φ + σ_b·b`, from `u`, `1/r`, `u/r` and `σ_b/r` of both. With `w = u_i u_j/(r_i r_j)`, `b = σ_b²/(r_i r_j)`
/// and `d = 1 − w − b = b (u_i−u_j)²/(r_i r_j)/(1 + w + b)`, the new correlation is `wρ + b`, so that
/// `1 − ρ' = d + w (1−ρ)` and `1 + ρ' = d + 2b + w (1+ρ)`. Every term is positive: nothing cancels.
#[inline(always)]
fn widen<R: Real>([row, col]: [[R; 4]; 2], gap: R) -> R {
    let (one, two) = (R::splat(1.0), R::splat(2.0));
    let (w, b) = (row[2] * col[2], row[3] * col[3]);
    let difference = row[0] - col[0];
    // In this order no factor overflows: |u_i − u_j| σ_b/r_i is of the size of σ_b or of u_j.
    let spread = (difference * row[3] * col[1]) * (difference * col[3] * row[1]);
    let spread = spread / (one + w + b);
    let size = gap.abs();
    let aligned = w.mul_add(size, spread);
    let still_opposite = -(aligned + two * b);
    let turned = w.mul_add(two - size, spread);
    let from_opposite = R::select(b.less(w * (one - size)), still_opposite, turned);
    R::select(gap.is_negative(), from_opposite, aligned)
}

/// ρ of a gap. Its slope is −1, everywhere.
#[inline(always)]
fn correlation<R: Real>(gap: R) -> R {
    (R::splat(1.0) - gap.abs()).copysign(gap)
}

/// The gaps and Θ after a layer.
struct Forward<'a> {
    layer: Layer<'a>,
    /// Θ of the layer before.
    before: Option<&'a [Block]>,
    state: &'a mut State,
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

/// The layer's own part of an output: `τ_w² ω_i ω_j ρ + τ_b²`.
struct Own {
    /// Whether it is part of the output whatever the adjoint of Θ.
    alone: bool,
    /// `τ_w²/σ_w²`, and the logarithmic derivative of τ_w² with respect to σ_w.
    learning: f64,
    weight_slope: f64,
    /// The derivative of τ_b² with respect to σ_b.
    bias_slope: f64,
}

impl Own {
    /// That of Σ.
    fn nngp(affine: Affine) -> Self {
        Self {
            alone: true,
            learning: 1.0,
            weight_slope: 2.0 / affine.sigma_w,
            bias_slope: 2.0 * affine.sigma_b,
        }
    }

    /// That of Θ.
    fn ntk(affine: Affine, follows: Follows) -> Self {
        let where_true = |follows: bool, slope: f64| if follows { slope } else { 0.0 };
        Self {
            alone: false,
            learning: squared_ratio(affine.tau_w, affine.sigma_w),
            weight_slope: where_true(follows.weights, 2.0 / affine.sigma_w),
            bias_slope: where_true(follows.biases, 2.0 * affine.sigma_b),
        }
    }
}

/// `(a/b)²`.
fn squared_ratio(a: f64, b: f64) -> f64 {
    (a / b) * (a / b)
}

/// One layer of the way back.
struct Backward<'a> {
    layer: Layer<'a>,
    own: Own,
    state: &'a State,
    /// The layer before, if there is one.
    before: Option<&'a State>,
    adjoints: &'a mut [Adjoint],
    /// Get the derivatives with respect to σ_w and σ_b.
    targets: [&'a mut [Block]; 2],
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
                let sigma_w = self.layer.affine.sigma_w;
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
struct Dense<V> {
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
    fn dense<V: Vector>(&self, block: usize) -> Dense<V> {
        let Self { layer, own, .. } = self;
        let adjoint = &self.adjoints[block];
        let share = if own.alone {
            V::splat(1.0)
        } else {
            V::load(&adjoint.ntk)
        };
        let gap = V::load(&self.state.steps[block].gap);
        let product = share * (V::splat(own.learning) * layer.product(chain::ROOT, block));
        let part = product * correlation(gap);
        let biases = if own.bias_slope > 0.0 {
            V::splat(own.bias_slope) * (share * layer.product(chain::UNIT, block))
        } else {
            V::splat(0.0)
        };
        let later = V::load(&adjoint.gap);
        let roots = [V::load(&adjoint.roots[0]), V::load(&adjoint.roots[1])];
        let mut dense = Dense {
            weights: V::splat(own.weight_slope) * part,
            biases,
            gap: later - product,
            roots,
        };
        if layer.has_bias() {
            let sigma_b = V::splat(layer.affine.sigma_b);
            let tangent = widen(
                layer.bias_slopes(block),
                Tangent::along(0, gap, V::splat(1.0)),
            );
            let [along, row, col] = tangent.slopes;
            let (row, col) = (later * row, later * col);
            dense.gap = later * along - product;
            let alphas = layer.pair::<V>(chain::ALPHA, block);
            let betas = layer.pair::<V>(chain::BETA, block);
            // Gaps are the same if both u and σ_b are scaled alike.
            let by_roots = roots[0] * betas[0] + roots[1] * betas[1];
            dense.biases = dense.biases + (by_roots - (row + col) / sigma_b);
            dense.roots = [roots[0] * alphas[0] + row, roots[1] * alphas[1] + col];
        }
        let sum = dense.roots[0] + dense.roots[1];
        dense.weights = dense.weights + sum / V::splat(layer.affine.sigma_w);
        dense.roots = [dense.roots[0] + part, dense.roots[1] + part];
        dense
    }

    /// Through the activation before it, given the derivative with respect to Ṫ.
    #[inline(always)]
    fn activation<V: Vector>(&mut self, block: usize, before: &State, dense: &Dense<V>, dot: V) {
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
        let elasticities = self.layer.pair::<V>(chain::ELASTICITY, block);
        for side in [0, 1] {
            let root = slope(side + 1) + dense.roots[side] * elasticities[side];
            root.store(&mut adjoint.roots[side]);
        }
    }
}

/// `values ← factor · factors · values`.
struct Unscale<'a> {
    factor: f64,
    factors: &'a [Block],
    values: &'a mut [Block],
}

impl Vectorized for Unscale<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let factor = V::splat(self.factor);
        for (value, factors) in self.values.iter_mut().zip(self.factors) {
            (factor * V::load(factors) * V::load(value)).store(value);
        }
    }
}
