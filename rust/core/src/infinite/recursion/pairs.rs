//! All layers on the pairs of one row.

use super::bias::{BIAS_NUMBERS, add_bias, correlation};
use super::profile::{Level, Profile};
use super::row_and_columns::RowAndColumns;
use super::row_pairs::{PlaneRow, RowPairs};
use super::table::{LookUp, NNGP, NTK, Query, Table};
use super::{Output, Recursion};
use crate::isa::{Block, Isa, Vector, Vectorized, WIDTH};

/// The recursion between two batches of inputs, given their profiles.
#[derive(Clone, Copy, Debug)]
pub struct PairRecursion<'a> {
    pub(super) recursion: &'a Recursion,
    pub(super) isa: Isa,
    pub(super) rows: &'a Profile,
    pub(super) cols: &'a Profile,
    pub(super) outputs: &'a [Output],
    /// The table that the kernels of the last layer are read from, if the network has one.
    pub(super) table: Option<&'a Table>,
}

/// Intermediate values of one row against blocks of columns, after the current layer.
#[derive(Debug, Default)]
pub struct PairState {
    /// Σ. All kernels here are in units of the inputs' powers of two.
    nngp: Vec<Block>,
    /// Θ.
    ntk: Vec<Block>,
    /// The layer's own term of Θ, unless it is Σ.
    own: Option<Vec<Block>>,
    /// Ṫ of the last activation, then `Σ̇ = σ_w² Ṫ` of the layer after it.
    factors: Vec<Block>,
    /// The parts of Θ that are outputs, each with the index of its layer.
    parts: Vec<(usize, Vec<Block>)>,
}

impl<'a> PairRecursion<'a> {
    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The outputs, one plane each.
    pub fn outputs(&self) -> &'a [Output] {
        self.outputs
    }

    /// The number of rows in the profile.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Estimated cycles per pair, on one thread.
    pub fn cycles(&self) -> f64 {
        self.recursion.cycles()
    }

    /// Runs all layers on `pairs`, whose gaps are given and overwritten, and writes each output to its plane.
    ///
    /// The result is bitwise symmetric in the two inputs, and independent of the range of columns.
    ///
    /// # Panics
    /// If `gaps` or a plane does not hold all blocks, or there is not one plane per output.
    pub fn run(
        &self,
        pairs: &RowPairs,
        gaps: &mut [Block],
        state: &mut PairState,
        target: PlaneRow<'_>,
    ) {
        self.run_layers(pairs, gaps, None, state, target);
    }

    /// [`PairRecursion::run`] of a network that follows other layers, given their tangent kernel in units of the inputs'
    /// powers of two. Parts of Θ are not known then.
    ///
    /// # Panics
    /// As [`PairRecursion::run`], and if there is not one tangent kernel for each gap.
    pub fn run_after(
        &self,
        pairs: &RowPairs,
        gaps: &mut [Block],
        tangents: &[Block],
        state: &mut PairState,
        target: PlaneRow<'_>,
    ) {
        assert_eq!(tangents.len(), gaps.len());
        // A table knows networks that start with the inputs.
        let without_table = Self {
            table: None,
            ..*self
        };
        without_table.run_layers(pairs, gaps, Some(tangents), state, target);
    }

    fn run_layers(
        &self,
        pairs: &RowPairs,
        gaps: &mut [Block],
        tangents: Option<&[Block]>,
        state: &mut PairState,
        mut target: PlaneRow<'_>,
    ) {
        assert!(gaps.len() == pairs.blocks.len() && target.planes.len() == self.outputs.len());
        state.reset(gaps.len());
        if let Some(table) = self.table {
            self.look_up(table, pairs, gaps, state);
            let looked_up =
                |output| Some([&state.nngp, &state.ntk][self.column(output)?].as_slice());
            self.write(pairs, &mut target, looked_up);
            let in_table = |output: &Output| self.column(*output).is_some();
            if self.outputs.iter().all(in_table) {
                return;
            }
        }
        for layer in 0..self.recursion.layers() {
            if layer > 0 {
                self.activation(layer - 1, pairs, gaps, state);
            }
            self.dense(layer, pairs, gaps, state);
            if let (0, Some(tangents)) = (layer, tangents) {
                self.add_tangents(tangents, &mut state.ntk);
            }
            self.write(pairs, &mut target, |output| match output {
                _ if self.column(output).is_some() => None,
                Output::Nngp(l) if l == layer => Some(&state.nngp),
                Output::Ntk(l) if l == layer => Some(&state.ntk),
                _ => None,
            });
        }
        self.write(pairs, &mut target, |output| state.part(output));
    }

    /// Adds the tangent kernel of the layers before the first: `Θ = own + σ_w² Θ`.
    fn add_tangents(&self, tangents: &[Block], ntk: &mut [Block]) {
        let sigma_w = self.recursion.layers[0].sigma_w;
        let pairs = ntk
            .as_flattened_mut()
            .iter_mut()
            .zip(tangents.as_flattened());
        pairs.for_each(|(ntk, tangent)| *ntk += sigma_w * sigma_w * tangent);
    }

    /// Writes the outputs for which `values` returns some, scaled back from the units of the inputs' powers of two.
    fn write<'s>(
        &self,
        pairs: &RowPairs,
        target: &mut PlaneRow<'_>,
        values: impl Fn(Output) -> Option<&'s [Block]>,
    ) {
        for (plane, output) in target.planes.iter_mut().zip(self.outputs) {
            if let Some(values) = values(*output) {
                let target = &mut plane.row_blocks_mut(target.row)[..values.len()];
                target.copy_from_slice(values);
                self.rows.unscale(self.cols, self.isa, pairs, target);
            }
        }
    }

    /// The column of the table that holds an output, if there is one.
    fn column(&self, output: Output) -> Option<usize> {
        let last = self.recursion.layers() - 1;
        self.table.and(match output {
            Output::Nngp(layer) if layer == last => Some(NNGP),
            Output::Ntk(layer) if layer == last => Some(NTK),
            _ => None,
        })
    }

    /// Reads Σ and Θ of the last layer from the table, if they are outputs.
    fn look_up(&self, table: &Table, pairs: &RowPairs, gaps: &[Block], state: &mut PairState) {
        let [rows, cols] = self.levels(self.recursion.layers() - 1);
        let query = Query {
            table,
            r: rows.scaled.get(pairs.row),
            cols: pairs.cols(&cols.scaled),
            gaps,
        };
        let is_output = |column| {
            let mut columns = self.outputs.iter().map(|output| self.column(*output));
            columns.any(|other| other == Some(column))
        };
        let PairState { nngp, ntk, .. } = state;
        match (is_output(NNGP), is_output(NTK)) {
            (true, true) => self.isa.run(LookUp {
                query,
                columns: [NNGP, NTK],
                targets: [nngp, ntk],
            }),
            (true, false) => self.isa.run(LookUp {
                query,
                columns: [NNGP],
                targets: [nngp],
            }),
            (false, _) => self.isa.run(LookUp {
                query,
                columns: [NTK],
                targets: [ntk],
            }),
        }
    }

    /// The rows and the columns after dense layer `layer`.
    fn levels(&self, layer: usize) -> [&'a Level; 2] {
        [&self.rows.levels[layer], &self.cols.levels[layer]]
    }

    /// Activation `index`: replaces the gaps by those of (φ(u), φ(v)), and computes Ṫ.
    fn activation(
        &self,
        index: usize,
        pairs: &RowPairs,
        gaps: &mut [Block],
        state: &mut PairState,
    ) {
        let [rows, cols] = self.levels(index);
        let variables = pairs.variables(&rows.features, &cols.features);
        let dual = self.recursion.dual(index);
        dual.step(self.isa, variables, gaps, &mut state.factors);
    }

    /// Dense layer `layer`: adds its biases to the gaps, then updates Σ, Θ and the parts of Θ.
    fn dense(&self, layer: usize, pairs: &RowPairs, gaps: &mut [Block], state: &mut PairState) {
        let [rows, cols] = self.levels(layer);
        state.own = match (&rows.own, &cols.own) {
            (Some(rows), Some(cols)) => Some(rows.of_pairs(cols, pairs, gaps)),
            _ => None,
        };
        if let (Some(rows), Some(cols)) = (&rows.bias, &cols.bias) {
            self.isa.run(AddBias {
                numbers: RowAndColumns::new(pairs, rows, cols),
                gaps,
            });
        }
        let sigma_w = self.recursion.layers[layer].sigma_w;
        self.isa.run(Accumulate {
            variance: sigma_w * sigma_w,
            r: rows.scaled.get(pairs.row),
            cols: pairs.cols(&cols.scaled),
            gaps,
            first: layer == 0,
            state,
        });
        if self.outputs.contains(&Output::Part(layer)) {
            let own = state.own.as_ref().unwrap_or(&state.nngp);
            state.parts.push((layer, own.clone()));
        }
    }
}

impl PairState {
    fn reset(&mut self, blocks: usize) {
        // Old values may stay: the first layer or the first activation overwrites them.
        for values in [&mut self.nngp, &mut self.ntk, &mut self.factors] {
            values.resize(blocks, [0.0; WIDTH]);
        }
        self.parts.clear();
    }

    /// The part of Θ that is this output, if it is a part.
    fn part(&self, output: Output) -> Option<&[Block]> {
        let mut parts = self.parts.iter();
        let (_, part) = parts.find(|(layer, _)| output == Output::Part(*layer))?;
        Some(part)
    }
}

/// Replaces the gaps by those after a bias.
struct AddBias<'a> {
    numbers: RowAndColumns<'a, BIAS_NUMBERS>,
    gaps: &'a mut [Block],
}

impl Vectorized for AddBias<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for (block, gap) in self.gaps.iter_mut().enumerate() {
            add_bias(self.numbers.all(block), V::load(gap)).store(gap);
        }
    }
}

/// Computes `Σ = r_i r_j ρ`, `Σ̇ = σ_w² Ṫ` and `Θ ← own + Σ̇ Θ`, and multiplies the parts of earlier layers by Σ̇.
struct Accumulate<'a> {
    /// `σ_w²`.
    variance: f64,
    /// `r_i` and `r_j`, in units of the inputs' powers of two.
    r: f64,
    cols: &'a [Block],
    gaps: &'a [Block],
    /// True for the first layer: `Θ = own`.
    first: bool,
    state: &'a mut PairState,
}

impl Vectorized for Accumulate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (r, variance) = (V::splat(self.r), V::splat(self.variance));
        let PairState {
            nngp,
            ntk,
            own,
            factors,
            parts,
        } = self.state;
        for (gap, (nngp, col)) in self.gaps.iter().zip(nngp.iter_mut().zip(self.cols)) {
            let gap = V::load(gap);
            (r * V::load(col) * correlation(gap)).store(nngp);
        }
        let own = own.as_ref().unwrap_or(nngp);
        if self.first {
            ntk.copy_from_slice(own);
            return;
        }
        for ((own, factor), ntk) in own.iter().zip(factors.iter_mut()).zip(ntk) {
            let product = variance * V::load(factor);
            product.store(factor);
            product.mul_add(V::load(ntk), V::load(own)).store(ntk);
        }
        for (_, part) in parts {
            for (part, factor) in part.iter_mut().zip(factors.iter()) {
                (V::load(part) * V::load(factor)).store(part);
            }
        }
    }
}
