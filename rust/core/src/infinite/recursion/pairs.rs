//! The recursion between two batches of inputs: what it reads, its table, and its results.

use super::plane_row::PlaneRow;
use super::profile::{Level, Profile};
use super::table::{LookUp, NNGP, NTK, Query, Table};
use super::{Output, Recursion};
use crate::activations::dense_layer::{BandKernels, DenseLayer};
use crate::activations::row_pairs::BandPairs;
use crate::activations::single::SingleGaps;
use crate::isa::{Block, Isa};

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

    /// Writes the outputs for which `values` returns some, scaled back from the units of the inputs' powers of two.
    pub(super) fn write<'s>(
        &self,
        pairs: &BandPairs,
        target: &mut PlaneRow<'_>,
        values: impl Fn(Output) -> Option<&'s [Block]>,
    ) {
        for (plane, output) in target.planes.iter_mut().zip(self.outputs) {
            let Some(values) = values(*output) else {
                continue;
            };
            for (index, (pairs, place)) in pairs.each_row().enumerate() {
                let target = &mut plane.row_blocks_mut(target.row + index)[..place.len()];
                target.copy_from_slice(&values[place]);
                self.rows.unscale(self.cols, self.isa, &pairs, target);
            }
        }
    }

    /// The column of the table that holds an output, if there is one.
    pub(super) fn column(&self, output: Output) -> Option<usize> {
        let last = self.recursion.layers() - 1;
        self.table.and(match output {
            Output::Nngp(layer) if layer == last => Some(NNGP),
            Output::Ntk(layer) if layer == last => Some(NTK),
            _ => None,
        })
    }

    /// Reads Σ and Θ of the last layer from the table, if they are outputs.
    pub(super) fn look_up(&self, table: &Table, pairs: &BandPairs, kernels: &mut BandKernels) {
        let [rows, cols] = self.levels(self.recursion.layers() - 1);
        let is_output = |column| {
            let mut columns = self.outputs.iter().map(|output| self.column(*output));
            columns.any(|other| other == Some(column))
        };
        let BandKernels {
            gaps, nngp, ntk, ..
        } = kernels;
        for (pairs, place) in pairs.each_row() {
            let query = Query {
                table,
                r: rows.scaled.get(pairs.row),
                cols: pairs.cols(&cols.scaled),
                gaps: &gaps[place.clone()],
            };
            let (nngp, ntk) = (&mut nngp[place.clone()], &mut ntk[place]);
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
    }

    /// Makes inputs that are constant after dense layer `layer` orthogonal to all others, in the gaps of both types.
    pub(super) fn separate_constants(
        &self,
        layer: usize,
        pairs: &BandPairs,
        gaps: &mut [Block],
        single: &mut SingleGaps,
    ) {
        let levels = self.levels(layer);
        Level::separate_constants(levels, pairs, gaps, |place| single.set(pairs, place, 1.0));
    }

    /// Dense layer `index` between rows and columns.
    pub(super) fn dense_layer(&self, index: usize) -> DenseLayer<'a> {
        let [rows, cols] = self.levels(index);
        let sigma_w = self.recursion.layers[index].sigma_w;
        DenseLayer {
            variance: sigma_w * sigma_w,
            roots: [&rows.scaled, &cols.scaled],
            bias: rows
                .bias
                .as_ref()
                .zip(cols.bias.as_ref())
                .map(<[_; 2]>::from),
            own: rows.own.as_ref().zip(cols.own.as_ref()).map(<[_; 2]>::from),
        }
    }

    /// The rows and the columns after dense layer `layer`.
    pub(super) fn levels(&self, layer: usize) -> [&'a Level; 2] {
        [&self.rows.levels[layer], &self.cols.levels[layer]]
    }
}
