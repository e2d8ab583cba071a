//! All layers on the pairs of a band of rows.

use super::plane_row::PlaneRow;
use super::profile::{Level, Profile};
use super::table::{LookUp, NNGP, NTK, Query, Table};
use super::{Output, Recursion};
use crate::activations::dense_layer::{BandKernels, BandLayer, DenseLayer};
use crate::activations::row_pairs::BandPairs;
use crate::isa::{Block, Isa, Vector, Vectorized};

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

/// Intermediate values of a band of pairs, after the current layer.
#[derive(Debug, Default)]
pub struct PairState {
    kernels: BandKernels,
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

    /// Runs all layers on `pairs`, and writes each output to its plane. `gaps` returns those of a row, given its place in
    /// the band.
    ///
    /// The result is bitwise symmetric in the two inputs, and independent of the other rows and columns.
    ///
    /// # Panics
    /// If `gaps` or a plane does not hold all blocks, or there is not one plane per output.
    pub fn run<'g>(
        &self,
        pairs: &BandPairs,
        gaps: impl Fn(usize) -> &'g [Block],
        state: &mut PairState,
        target: PlaneRow<'_>,
    ) {
        state.start(pairs, gaps);
        self.run_layers(pairs, None, state, target);
    }

    /// [`PairRecursion::run`] of a network that follows other layers, given their tangent kernel in units of the inputs'
    /// powers of two, row by row. Parts of Θ are not known then.
    ///
    /// # Panics
    /// As [`PairRecursion::run`], and if there is not one tangent kernel for each gap.
    pub fn run_after<'g>(
        &self,
        pairs: &BandPairs,
        gaps: impl Fn(usize) -> &'g [Block],
        tangents: &[Block],
        state: &mut PairState,
        target: PlaneRow<'_>,
    ) {
        // A table knows networks that start with the inputs.
        let without_table = Self {
            table: None,
            ..*self
        };
        state.start(pairs, gaps);
        without_table.run_layers(pairs, Some(tangents), state, target);
    }

    fn run_layers(
        &self,
        pairs: &BandPairs,
        tangents: Option<&[Block]>,
        state: &mut PairState,
        mut target: PlaneRow<'_>,
    ) {
        assert!(target.planes.len() == self.outputs.len());
        if let Some(table) = self.table {
            self.look_up(table, pairs, &mut state.kernels);
            let BandKernels { nngp, ntk, .. } = &state.kernels;
            let looked_up = |output| Some([nngp, ntk][self.column(output)?].as_slice());
            self.write(pairs, &mut target, looked_up);
            let in_table = |output: &Output| self.column(*output).is_some();
            if self.outputs.iter().all(in_table) {
                return;
            }
        }
        state.kernels.start(tangents);
        for layer in 0..self.recursion.layers() {
            self.layer(layer, pairs, state);
            let BandKernels { nngp, ntk, .. } = &state.kernels;
            self.write(pairs, &mut target, |output| match output {
                _ if self.column(output).is_some() => None,
                Output::Nngp(l) if l == layer => Some(nngp),
                Output::Ntk(l) if l == layer => Some(ntk),
                _ => None,
            });
        }
        self.write(pairs, &mut target, |output| state.part(output));
    }

    /// Writes the outputs for which `values` returns some, scaled back from the units of the inputs' powers of two.
    fn write<'s>(
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
    fn column(&self, output: Output) -> Option<usize> {
        let last = self.recursion.layers() - 1;
        self.table.and(match output {
            Output::Nngp(layer) if layer == last => Some(NNGP),
            Output::Ntk(layer) if layer == last => Some(NTK),
            _ => None,
        })
    }

    /// Reads Σ and Θ of the last layer from the table, if they are outputs.
    fn look_up(&self, table: &Table, pairs: &BandPairs, kernels: &mut BandKernels) {
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

    /// The rows and the columns after dense layer `layer`.
    fn levels(&self, layer: usize) -> [&'a Level; 2] {
        [&self.rows.levels[layer], &self.cols.levels[layer]]
    }

    /// Runs the activation before dense layer `index`, if there is one, and the layer.
    fn layer(&self, index: usize, pairs: &BandPairs, state: &mut PairState) {
        let [rows, cols] = self.levels(index);
        let sigma_w = self.recursion.layers[index].sigma_w;
        let layer = BandLayer {
            layer: DenseLayer {
                variance: sigma_w * sigma_w,
                roots: [&rows.scaled, &cols.scaled],
                bias: rows
                    .bias
                    .as_ref()
                    .zip(cols.bias.as_ref())
                    .map(<[_; 2]>::from),
                own: rows.own.as_ref().zip(cols.own.as_ref()).map(<[_; 2]>::from),
            },
            pairs,
            kernels: &mut state.kernels,
        };
        match index.checked_sub(1) {
            None => self.isa.run(layer),
            Some(before) => {
                let features = self.levels(before).map(|level| &level.features);
                let dual = self.recursion.dual(before);
                dual.step_and_layer(self.isa, features, layer);
            }
        }
        for (_, part) in &mut state.parts {
            self.isa.run(Multiply {
                values: part,
                factors: &state.kernels.factors,
            });
        }
        if self.outputs.contains(&Output::Part(index)) {
            let BandKernels { own, nngp, .. } = &state.kernels;
            let own = if rows.own.is_some() { own } else { nngp };
            state.parts.push((index, own.clone()));
        }
    }
}

impl PairState {
    /// Starts with these gaps.
    fn start<'g>(&mut self, pairs: &BandPairs, gaps: impl Fn(usize) -> &'g [Block]) {
        self.kernels.resize(pairs.len());
        for (index, (_, place)) in pairs.each_row().enumerate() {
            self.kernels.gaps[place].copy_from_slice(gaps(index));
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

/// Multiplies values by factors.
struct Multiply<'a> {
    values: &'a mut [Block],
    factors: &'a [Block],
}

impl Vectorized for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for (value, factor) in self.values.iter_mut().zip(self.factors) {
            (V::load(value) * V::load(factor)).store(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activations::catalogue::activation;
    use crate::engine::pool::unwatched;
    use crate::engine::tile::Tile;
    use crate::infinite::recursion::{Batch, LayerScales};
    use crate::isa::WIDTH;

    const ROWS: usize = 11;
    const BLOCKS: usize = 2;

    /// A network with these activations. Its second layer is not trained.
    fn recursion(names: &[&str]) -> Recursion {
        let layer = |index: usize| {
            let (sigma_w, sigma_b) = (1.3, 0.1 * index as f64);
            let trained = f64::from(u8::from(index != 1));
            LayerScales {
                sigma_w,
                sigma_b,
                tau_w: trained * sigma_w,
                tau_b: trained * sigma_b,
            }
        };
        let activations = names.iter().map(|name| activation(name, &[]).unwrap());
        let layers = (0..=names.len()).map(layer);
        Recursion::new(layers.collect(), activations.collect()).unwrap()
    }

    /// The gap of a pair, with signs of both kinds and zeros among them.
    fn gap(row: usize, col: usize) -> f64 {
        let size = ((7 * row + 5 * col) % 12) as f64 / 11.0;
        if (row + col).is_multiple_of(3) {
            -size
        } else {
            size
        }
    }

    /// Σ, Θ and parts of a band of rows, plane by plane and row by row.
    fn run(pairs: &PairRecursion<'_>, rows: std::ops::Range<usize>) -> Vec<Vec<Block>> {
        let of_row = |row: usize| -> Vec<Block> {
            let lane = |block: usize| move |lane| gap(row, block * WIDTH + lane);
            (0..BLOCKS)
                .map(|block| std::array::from_fn(lane(block)))
                .collect()
        };
        let gaps: Vec<_> = rows.clone().map(of_row).collect();
        let mut planes = vec![Tile::default(); pairs.outputs.len()];
        for plane in &mut planes {
            plane.reshape(rows.len(), BLOCKS * WIDTH);
        }
        let band = BandPairs {
            rows: rows.clone(),
            blocks: 0..BLOCKS,
        };
        let target = PlaneRow {
            planes: &mut planes,
            row: 0,
        };
        pairs.run(&band, |row| &gaps[row], &mut PairState::default(), target);
        let rows = |plane: &Tile| {
            (0..rows.len())
                .map(|row| plane.row_blocks(row).to_vec())
                .collect()
        };
        let rows: Vec<Vec<_>> = planes.iter().map(rows).collect();
        rows.into_iter().flatten().collect()
    }

    #[test]
    fn a_row_of_a_band_is_as_if_it_were_alone() {
        let all = |last| [Output::Nngp(last), Output::Ntk(last)];
        for names in [
            &["relu", "gelu", "erf"][..],
            &["tanh", "abs", "relu"],
            &["sign"],
        ] {
            let recursion = recursion(names);
            let outputs: Vec<_> = (0..=names.len()).flat_map(all).collect();
            let parts = (0..=names.len()).map(Output::Part);
            let outputs: Vec<_> = outputs.into_iter().chain(parts).collect();
            let batch = Batch::whole(ROWS, "X");
            let root = |row: usize| (0.3 + 0.2 * row as f64).into();
            let profile = recursion.profile(&batch, root, &mut unwatched).unwrap();
            for isa in Isa::available() {
                let pairs = recursion.between(isa, &profile, &profile, &outputs);
                let band = run(&pairs, 2..ROWS);
                for row in 2..ROWS {
                    let alone = run(&pairs, row..row + 1);
                    for (plane, values) in alone.iter().enumerate() {
                        let expected = &band[plane * (ROWS - 2) + row - 2];
                        assert_eq!(values, expected, "{isa} {names:?} {row} {plane}");
                    }
                }
            }
        }
    }
}
