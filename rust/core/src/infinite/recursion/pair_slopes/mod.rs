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

mod dense_slopes;

use super::gradient::{DifferentiatedProfile, LayerPairs};
use super::plane_row::PlaneRow;
use super::profile::Level;
use super::profile_slopes::{ALPHA, ELASTICITY};
use super::table::{LookUpSlopes, NNGP, NTK, Query, Table};
use super::{Output, ProfileSlopes, Recursion};
use crate::activations::differentiable::{DIRECTIONS, DualStep};
use crate::activations::row_and_columns::RowAndColumns;
use crate::activations::row_pairs::RowPairs;
use crate::isa::{Block, Blocks, Isa};
use dense_slopes::{AFTER_BIAS, DenseSlopes, PairTangent};

/// The planes of each kernel: its derivatives with respect to ρ, and to λ of the row and of the columns.
pub const SLOPES: usize = DIRECTIONS;

/// The derivatives of log u and log r of every layer with respect to λ, for a batch of inputs.
#[derive(Debug)]
pub struct RootChain {
    layers: Vec<[Blocks; 2]>,
}

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

#[cfg(test)]
mod tests;
