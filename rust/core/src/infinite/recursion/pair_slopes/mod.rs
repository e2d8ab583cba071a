//! Derivatives of Σ and Θ with respect to the two inputs of a pair, in forward mode.
//!
//! A kernel knows its inputs by the gap t between them and by `λ = log √(|x|²/n_0)` of each. All layers are
//! differentiated in these three directions at once, with `c = dlog u/dλ` and `α = u²/r²` of each input:
//!
//! ```text
//! dlog r = α c dλ        dlog u' = (dlog ω/dlog r) dlog r
//! own = τ_w² ω_i ω_j ρ(t) + τ_b²        dΘ = down + σ_w² (dṪ Θ' + Ṫ dΘ')
//! ```
//!
//! Networks that have a table are homogeneous: there `∂K/∂λ = K`, and `∂K/∂t` is the slope of a polynomial.

use super::gradient::{DifferentiatedProfile, LayerPairs, squared_ratio};
use super::plane_row::PlaneRow;
use super::profile::Level;
use super::profile_slopes::{ALPHA, ELASTICITY, ROOT, TAU_B};
use super::table::{LookUpSlopes, NNGP, NTK, Query, Table};
use super::{Output, ProfileSlopes, Recursion};
use crate::activations::bias::{add_bias, bias_slopes, correlation};
use crate::activations::differentiable::{DIRECTIONS, DualStep};
use crate::activations::row_and_columns::RowAndColumns;
use crate::activations::row_pairs::RowPairs;
use crate::isa::{Block, Blocks, Isa, Vector, Vectorized};

/// The planes of each kernel: its derivatives with respect to ρ, and to λ of the row and of the columns.
pub const SLOPES: usize = DIRECTIONS;

/// The derivatives of log u and log r of every layer with respect to λ, for a batch of inputs.
#[derive(Debug)]
pub struct RootChain {
    layers: Vec<[Blocks; 2]>,
}

/// The index of the derivatives of log u.
const BEFORE_BIAS: usize = 0;
/// The index of the derivatives of log r.
const AFTER_BIAS: usize = 1;

impl RootChain {
    /// Multiplies the slopes of all layers. O(N) per layer.
    pub fn new(recursion: &Recursion, slopes: &ProfileSlopes) -> Self {
        let mut layers: Vec<[Blocks; 2]> = Vec::with_capacity(recursion.layers());
        for layer in 0..recursion.layers() {
            let numbers = slopes.numbers(layer);
            let product =
                |a: &Blocks, b: &Blocks| a.iter().zip(b.iter()).map(|(a, b)| a * b).collect();
            let before: Blocks = match layers.last() {
                None => numbers[ALPHA].iter().map(|_| 1.0).collect(),
                Some(last) => product(&last[AFTER_BIAS], &numbers[ELASTICITY]),
            };
            let after = product(&before, &numbers[ALPHA]);
            layers.push([before, after]);
        }
        Self { layers }
    }
}

/// A batch of inputs, with all derivatives along its own recursion.
#[derive(Clone, Copy, Debug)]
pub struct ChainedProfile<'a> {
    /// The profile and its derivatives.
    pub profile: DifferentiatedProfile<'a>,
    /// The derivatives with respect to λ.
    pub chain: &'a RootChain,
}

/// The derivatives of kernels between two batches of inputs with respect to these inputs.
#[derive(Debug)]
pub struct PairSlopes<'a> {
    recursion: &'a Recursion,
    isa: Isa,
    /// The rows and the columns.
    sides: [ChainedProfile<'a>; 2],
    outputs: &'a [Output],
    table: Option<&'a Table>,
}

/// Intermediate values of one row against blocks of columns, after the current layer.
#[derive(Debug, Default)]
pub struct SlopeState {
    gaps: Vec<Block>,
    steps: Vec<DualStep>,
    pairs: Vec<PairTangent>,
}

/// Θ of a block of pairs, with derivatives.
#[derive(Clone, Copy, Debug, Default)]
struct PairTangent {
    ntk: Block,
    gap_slopes: [Block; DIRECTIONS],
    nngp_slopes: [Block; DIRECTIONS],
    ntk_slopes: [Block; DIRECTIONS],
}

impl<'a> PairSlopes<'a> {
    /// Prepares the derivatives of `outputs`, which must be those of the last layer. `sides` are the rows and the
    /// columns.
    ///
    /// # Panics
    /// If an output is another one.
    pub fn new(
        recursion: &'a Recursion,
        isa: Isa,
        sides: [ChainedProfile<'a>; 2],
        outputs: &'a [Output],
    ) -> Self {
        let last = recursion.layers() - 1;
        let of_last = |output: &Output| [Output::Nngp(last), Output::Ntk(last)].contains(output);
        assert!(outputs.iter().all(of_last));
        Self {
            recursion,
            isa,
            sides,
            outputs,
            table: recursion.table(),
        }
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The number of planes: [`SLOPES`] for each output.
    pub fn planes(&self) -> usize {
        SLOPES * self.outputs.len()
    }

    /// Computes the derivatives for `pairs`, whose gaps are given, and writes them to all planes, in units of the
    /// inputs' powers of two. Where a gap is 0, a derivative with respect to ρ may be infinite, and counts as any
    /// finite number.
    ///
    /// Exchanging the two inputs exchanges the derivatives, bitwise. They do not depend on the range of columns.
    ///
    /// # Panics
    /// If `gaps` or a plane does not hold all blocks, or there are not [`PairSlopes::planes`] planes.
    pub fn run(
        &self,
        pairs: &RowPairs,
        gaps: &[Block],
        state: &mut SlopeState,
        target: PlaneRow<'_>,
    ) {
        assert!(gaps.len() == pairs.blocks.len() && target.planes.len() == self.planes());
        if let Some(table) = self.table {
            self.look_up(table, pairs, gaps, target);
            return;
        }
        state.reset(gaps);
        for layer in 0..self.recursion.layers() {
            self.layer(layer, pairs, state);
        }
        let PlaneRow { planes, row } = target;
        for (output, planes) in self.outputs.iter().zip(planes.chunks_mut(SLOPES)) {
            for (direction, plane) in planes.iter_mut().enumerate() {
                let sign = if direction == 0 { -1.0 } else { 1.0 };
                for (target, pair) in plane.row_blocks_mut(row).iter_mut().zip(&state.pairs) {
                    *target = pair.slopes(*output)[direction].map(|slope| sign * slope);
                }
            }
        }
    }

    /// Reads the derivatives of every output from the table.
    fn look_up(&self, table: &Table, pairs: &RowPairs, gaps: &[Block], target: PlaneRow<'_>) {
        let last = self.recursion.layers() - 1;
        let [rows, cols] = self
            .sides
            .map(|side| &side.profile.profile.levels[last].scaled);
        let PlaneRow { planes, row } = target;
        for (output, planes) in self.outputs.iter().zip(planes.chunks_mut(SLOPES)) {
            let [slope, by_row, by_col] = planes else {
                continue;
            };
            let query = Query {
                table,
                r: rows.get(pairs.row),
                cols: pairs.cols(cols),
                gaps,
            };
            self.isa.run(LookUpSlopes {
                query,
                column: if *output == Output::Nngp(last) {
                    NNGP
                } else {
                    NTK
                },
                values: by_row.row_blocks_mut(row),
                slopes: slope.row_blocks_mut(row),
            });
            let values = by_row.row_blocks(row);
            by_col.row_blocks_mut(row)[..values.len()].copy_from_slice(values);
        }
    }

    /// Runs dense layer `layer` and the activation before it, if there is one.
    fn layer(&self, layer: usize, pairs: &RowPairs, state: &mut SlopeState) {
        let SlopeState {
            gaps,
            steps,
            pairs: tangents,
        } = state;
        if layer > 0 {
            let index = layer - 1;
            let levels = self.sides.map(|side| &side.profile.profile.levels[index]);
            Level::separate_constants(levels, &pairs.band(), gaps, |_| ());
            let [rows, cols] = levels.map(|level| &level.features);
            let values = pairs.variables(rows, cols);
            let [rows, cols] = self.sides.map(|side| side.profile.slopes.features(index));
            let slopes = pairs.variables(rows, cols);
            let dual = self.recursion.dual(index);
            dual.differentiate(self.isa, &values, &slopes, gaps, steps);
        }
        let [rows, cols] = self.sides.map(|side| side.chain);
        let chain =
            |layer: usize| RowAndColumns::new(pairs, &rows.layers[layer], &cols.layers[layer]);
        self.isa.run(DenseSlopes {
            layer: LayerPairs::new(
                self.recursion.layers[layer],
                layer,
                self.sides.map(|side| side.profile),
                pairs,
            ),
            chain: chain(layer),
            activation: layer
                .checked_sub(1)
                .map(|before| (&steps[..], chain(before))),
            gaps,
            pairs: tangents,
        });
    }
}

impl SlopeState {
    /// Makes room for these pairs, and takes the gaps of the inputs.
    fn reset(&mut self, gaps: &[Block]) {
        self.gaps.clear();
        self.gaps.extend_from_slice(gaps);
        // Old values may stay: each is overwritten before it is read.
        self.steps.resize(gaps.len(), DualStep::default());
        self.pairs.resize(gaps.len(), PairTangent::default());
    }
}

impl PairTangent {
    /// The derivatives of an output.
    fn slopes(&self, output: Output) -> &[Block; DIRECTIONS] {
        match output {
            Output::Nngp(_) => &self.nngp_slopes,
            Output::Ntk(_) | Output::Part(_) => &self.ntk_slopes,
        }
    }
}

/// A dense layer and the activation before it, on values with derivatives.
struct DenseSlopes<'a> {
    layer: LayerPairs<'a>,
    /// The derivatives of log u and log r.
    chain: RowAndColumns<'a, 2>,
    /// The results of the activation, if there is one, and the derivatives of log u and log r before it.
    activation: Option<(&'a [DualStep], RowAndColumns<'a, 2>)>,
    /// The gaps after the layer before; replaced by those after this one.
    gaps: &'a mut [Block],
    pairs: &'a mut [PairTangent],
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

#[cfg(test)]
mod tests;
