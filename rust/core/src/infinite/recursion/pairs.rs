//! All layers on one row against blocks of columns.

use std::ops::Range;

use super::bias::{BIAS_NUMBERS, add_bias, correlation};
use super::profile::Profile;
use super::row_and_columns::RowAndColumns;
use super::table::{LookUp, NNGP, NTK, Table};
use super::{LayerScales, Output, Recursion};
use crate::activations::features::Variables;
use crate::engine::tile::Tile;
use crate::isa::{Block, Isa, Vector, Vectorized, WIDTH};

/// Kernels between two batches of inputs, by their profiles.
#[derive(Clone, Copy, Debug)]
pub struct PairRecursion<'a> {
    pub(super) recursion: &'a Recursion,
    pub(super) isa: Isa,
    pub(super) rows: &'a Profile,
    pub(super) cols: &'a Profile,
    pub(super) outputs: &'a [Output],
    /// What the kernels of the last layer are looked up in, if there is one.
    pub(super) table: Option<&'a Table>,
}

/// What the layers leave of one row against blocks of columns.
#[derive(Debug, Default)]
pub struct PairState {
    nngp: Vec<Block>,
    ntk: Vec<Block>,
    /// The layer's own part of Θ, if it is not Σ.
    own: Option<Vec<Block>>,
    /// What the layer multiplies the parts of those before it with.
    factors: Vec<Block>,
    /// The parts that are wanted, with their layers.
    parts: Vec<(usize, Vec<Block>)>,
}

impl<'a> PairRecursion<'a> {
    /// The instruction set that it runs on.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// What it computes.
    pub fn outputs(&self) -> &'a [Output] {
        self.outputs
    }

    /// Runs all layers on row `i` against `blocks` of columns, whose gaps are given and lost, and writes each output to
    /// row `r` of its plane.
    ///
    /// Bitwise symmetric in the two inputs, and independent of the range of columns.
    ///
    /// # Panics
    /// If `gaps` or a plane does not hold as many blocks, or there is not one plane per output.
    pub fn run(
        &self,
        i: usize,
        blocks: &Range<usize>,
        gaps: &mut [Block],
        pairs: &mut PairState,
        (planes, r): (&mut [Tile], usize),
    ) {
        assert!(gaps.len() == blocks.len() && planes.len() == self.outputs.len());
        pairs.reset(blocks.len());
        if let Some(table) = self.table
            && self.look_up(table, (i, blocks), gaps, pairs, (planes, r))
        {
            return;
        }
        for (index, scales) in self.recursion.layers.iter().enumerate() {
            if index > 0 {
                let variables = Variables {
                    rows: &self.rows.levels[index - 1].features,
                    row: i,
                    cols: &self.cols.levels[index - 1].features,
                    blocks: blocks.clone(),
                };
                let dual = self.recursion.dual(index - 1);
                dual.step(self.isa, variables, gaps, &mut pairs.factors);
            }
            self.pass_layer(index, scales, i, blocks, gaps, pairs);
            for (plane, output) in planes.iter_mut().zip(self.outputs) {
                let values = match *output {
                    output if self.column(output).is_some() => continue,
                    Output::Nngp(layer) if layer == index => &pairs.nngp,
                    Output::Ntk(layer) if layer == index => &pairs.ntk,
                    Output::Part(layer) if layer == index => {
                        let own = pairs.own.as_ref().unwrap_or(&pairs.nngp);
                        pairs.parts.push((layer, own.clone()));
                        continue;
                    }
                    _ => continue,
                };
                self.store(i, blocks, values, plane.row_blocks_mut(r));
            }
        }
        for (plane, output) in planes.iter_mut().zip(self.outputs) {
            let part = pairs
                .parts
                .iter()
                .find(|(layer, _)| *output == Output::Part(*layer));
            if let Some((_, values)) = part {
                self.store(i, blocks, values, plane.row_blocks_mut(r));
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

    /// Looks up what is wanted of the last layer's kernels, and writes it. Whether that is all.
    fn look_up(
        &self,
        table: &Table,
        (i, blocks): (usize, &Range<usize>),
        gaps: &[Block],
        pairs: &mut PairState,
        (planes, r): (&mut [Tile], usize),
    ) -> bool {
        let wanted = |column| {
            self.outputs
                .iter()
                .any(|output| self.column(*output) == Some(column))
        };
        let PairState { nngp, ntk, .. } = pairs;
        match (wanted(NNGP), wanted(NTK)) {
            (true, true) => self.read(table, (i, blocks), gaps, [NNGP, NTK], [nngp, ntk]),
            (true, false) => self.read(table, (i, blocks), gaps, [NNGP], [nngp]),
            (false, _) => self.read(table, (i, blocks), gaps, [NTK], [ntk]),
        }
        for (plane, output) in planes.iter_mut().zip(self.outputs) {
            if let Some(column) = self.column(*output) {
                let values = [&pairs.nngp, &pairs.ntk][column];
                self.store(i, blocks, values, plane.row_blocks_mut(r));
            }
        }
        self.outputs
            .iter()
            .all(|output| self.column(*output).is_some())
    }

    /// Reads columns of the table.
    fn read<const K: usize>(
        &self,
        table: &Table,
        (i, blocks): (usize, &Range<usize>),
        gaps: &[Block],
        columns: [usize; K],
        targets: [&mut Vec<Block>; K],
    ) {
        let last = self.recursion.layers() - 1;
        self.isa.run(LookUp {
            table,
            r: self.rows.levels[last].scaled.get(i),
            cols: &self.cols.levels[last].scaled.blocks()[blocks.clone()],
            gaps,
            columns,
            targets: targets.map(|target| &mut target[..]),
        });
    }

    /// A dense layer: adds its biases to the gaps, and its own part to Θ.
    fn pass_layer(
        &self,
        index: usize,
        scales: &LayerScales,
        i: usize,
        blocks: &Range<usize>,
        gaps: &mut [Block],
        pairs: &mut PairState,
    ) {
        let (row, cols) = (&self.rows.levels[index], &self.cols.levels[index]);
        pairs.own = match (&row.own, &cols.own) {
            (Some(row), Some(cols)) => Some(row.part(i, cols, blocks, gaps)),
            _ => None,
        };
        if let (Some(row), Some(cols)) = (&row.bias, &cols.bias) {
            self.isa.run(AddBias {
                sides: RowAndColumns::new((row, i), (cols, blocks)),
                gaps,
            });
        }
        self.isa.run(Accumulate {
            variance: scales.sigma_w * scales.sigma_w,
            r: row.scaled.get(i),
            cols: &cols.scaled.blocks()[blocks.clone()],
            gaps,
            first: index == 0,
            pairs,
        });
    }

    /// Writes values without the scaling of the rows.
    fn store(&self, i: usize, blocks: &Range<usize>, values: &[Block], target: &mut [Block]) {
        let target = &mut target[..values.len()];
        target.copy_from_slice(values);
        self.rows.unscale(self.cols, self.isa, (i, blocks), target);
    }
}

impl PairState {
    fn reset(&mut self, blocks: usize) {
        // All of it is written by the first layer, or by the first activation.
        for values in [&mut self.nngp, &mut self.ntk, &mut self.factors] {
            values.resize(blocks, [0.0; WIDTH]);
        }
        self.parts.clear();
    }
}

/// The gaps after a bias.
struct AddBias<'a> {
    sides: RowAndColumns<'a, BIAS_NUMBERS>,
    gaps: &'a mut [Block],
}

impl Vectorized for AddBias<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for (block, gap) in self.gaps.iter_mut().enumerate() {
            add_bias(self.sides.all(block), V::load(gap)).store(gap);
        }
    }
}

/// `Σ = r_i r_j ρ` and `Θ ← own + σ_w² Ṫ Θ`.
struct Accumulate<'a> {
    variance: f64,
    r: f64,
    cols: &'a [Block],
    gaps: &'a [Block],
    /// Whether there is no Θ yet.
    first: bool,
    pairs: &'a mut PairState,
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
        } = self.pairs;
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
