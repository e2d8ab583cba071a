//! The recursion layer by layer, on the pairs of a band of rows.
//!
//! The gaps of float32 inputs are `f32` up to the first activation that does not allow it, and kernels after it are
//! computed from gaps in `f64`. So a kernel depends on no later layer.

use std::ops::RangeInclusive;

use super::Output;
use super::pair_state::PairState;
use super::pairs::PairRecursion;
use super::plane_row::PlaneRow;
use crate::activations::dense_layer::{BandKernels, BandLayer};
use crate::activations::far_layer::{FarLayer, FarNumbers};
use crate::activations::row_pairs::BandPairs;
use crate::activations::single::{SingleGaps, SingleLayer};
use crate::isa::Block;

/// The type of gaps after the first layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precision {
    /// `f32`.
    Single,
    /// `f64`.
    Double,
}

/// The layers of a recursion with gaps of one type, on a band of pairs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass<'a> {
    pub(super) recursion: &'a PairRecursion<'a>,
    pub(super) precision: Precision,
    pub(super) pairs: &'a BandPairs,
}

impl PairRecursion<'_> {
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
        self.run_layers(pairs, &gaps, None, state, target);
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
        without_table.run_layers(pairs, &gaps, Some(tangents), state, target);
    }

    fn run_layers<'g>(
        &self,
        pairs: &BandPairs,
        gaps: &dyn Fn(usize) -> &'g [Block],
        tangents: Option<&[Block]>,
        state: &mut PairState,
        mut target: PlaneRow<'_>,
    ) {
        assert!(target.planes.len() == self.outputs.len());
        if let Some(table) = self.table {
            state.start(pairs, gaps);
            self.look_up(table, pairs, &mut state.kernels);
            let BandKernels { nngp, ntk, .. } = &state.kernels;
            let looked_up = |output| Some([nngp, ntk][self.column(output)?].as_slice());
            self.write(pairs, &mut target, looked_up);
            let in_table = |output: &Output| self.column(*output).is_some();
            if self.outputs.iter().all(in_table) {
                return;
            }
        }
        for precision in [Precision::Single, Precision::Double] {
            let pass = Pass {
                recursion: self,
                precision,
                pairs,
            };
            pass.run(gaps, tangents, state, &mut target);
        }
    }
}

impl Pass<'_> {
    /// Writes the outputs that no table holds and that are computed with these gaps. Does nothing if there are none.
    pub(super) fn run<'g>(
        &self,
        gaps: &dyn Fn(usize) -> &'g [Block],
        tangents: Option<&[Block]>,
        state: &mut PairState,
        target: &mut PlaneRow<'_>,
    ) {
        let (recursion, pairs) = (self.recursion, self.pairs);
        let outputs = recursion.outputs.iter().filter(|output| self.has(**output));
        let Some(last) = outputs.map(|output| self.last_layer(*output)).max() else {
            return;
        };
        state.start(pairs, gaps);
        state.kernels.start(tangents);
        for layer in 0..=last {
            self.layer(layer, state);
            let BandKernels { nngp, ntk, .. } = &state.kernels;
            recursion.write(pairs, target, |output| match output {
                _ if !self.has(output) => None,
                Output::Nngp(l) if l == layer => Some(nngp),
                Output::Ntk(l) if l == layer => Some(ntk),
                _ => None,
            });
        }
        recursion.write(pairs, target, |output| state.part(output));
    }

    /// True if an output is computed by this pass.
    fn has(&self, output: Output) -> bool {
        let single = self.single_layers().contains(&self.last_layer(output));
        self.recursion.column(output).is_none() && single == (self.precision == Precision::Single)
    }

    /// The layers whose kernels are computed with gaps in `f32`.
    fn single_layers(&self) -> RangeInclusive<usize> {
        let PairRecursion {
            recursion,
            rows,
            cols,
            ..
        } = self.recursion;
        let in_use = rows.single && cols.single;
        1..=if in_use { recursion.single_steps } else { 0 }
    }

    /// The last layer that an output depends on.
    fn last_layer(&self, output: Output) -> usize {
        match output {
            Output::Nngp(layer) | Output::Ntk(layer) => layer,
            Output::Part(_) => self.recursion.recursion.layers() - 1,
        }
    }

    /// Runs the activation before dense layer `index`, if there is one, and the layer.
    fn layer(&self, index: usize, state: &mut PairState) {
        let isa = self.recursion.isa;
        let layer = BandLayer {
            layer: self.recursion.dense_layer(index),
            pairs: self.pairs,
            kernels: &mut state.kernels,
        };
        match index.checked_sub(1) {
            None => isa.run(layer),
            Some(before) => {
                let (gaps, single) = (&mut layer.kernels.gaps, &mut state.gaps);
                self.recursion
                    .separate_constants(before, self.pairs, gaps, single);
                self.step_and_layer(before, layer, single, &mut state.far);
            }
        }
        if index == 0 && self.precision == Precision::Single {
            state.gaps.start(isa, self.pairs, &state.kernels.gaps);
        }
        state.multiply_parts(isa);
        let part = Output::Part(index);
        if self.has(part) && self.recursion.outputs.contains(&part) {
            let BandKernels { own, nngp, .. } = &state.kernels;
            let [rows, _] = self.recursion.levels(index);
            let own = if rows.own.is_some() { own } else { nngp };
            state.parts.push((index, own.clone()));
        }
    }

    /// Runs activation `index` and the dense layer after it.
    fn step_and_layer(
        &self,
        index: usize,
        layer: BandLayer<'_>,
        gaps: &mut SingleGaps,
        numbers: &mut FarNumbers,
    ) {
        let isa = self.recursion.isa;
        let dual = self.recursion.recursion.dual(index);
        let allowed = self.precision == Precision::Single;
        let single = dual.single().filter(|_| allowed);
        if let Some(dual) = single {
            let levels = self.recursion.levels(index + 1);
            let [rows, cols] = levels.map(|level| &level.single_bias);
            let layer = SingleLayer {
                layer,
                bias: rows.as_ref().zip(cols.as_ref()).map(<[_; 2]>::from),
                gaps,
            };
            dual.step_and_layer(isa, layer);
            return;
        }
        let levels = self.recursion.levels(index);
        let features = levels.map(|level| &level.features);
        let singles = levels.map(|level| level.single_features.as_ref());
        if let (Some(dual), [Some(rows), Some(cols)]) = (dual.far_single(), singles) {
            let layer = FarLayer {
                layer,
                features,
                singles: [rows, cols],
                numbers,
            };
            dual.step_and_layer(isa, layer);
        } else {
            dual.step_and_layer(isa, features, layer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activations::catalogue::activation;
    use crate::engine::pool::unwatched;
    use crate::engine::tile::Tile;
    use crate::infinite::recursion::{Batch, LayerScales, Profile, Recursion};
    use crate::isa::{Isa, WIDTH};

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

    /// All outputs of a network.
    fn outputs(layers: usize) -> Vec<Output> {
        let all = |layer| [Output::Nngp(layer), Output::Ntk(layer), Output::Part(layer)];
        (0..layers).flat_map(all).collect()
    }

    /// The profile of some inputs for results in `f32` or `f64`.
    fn profile(recursion: &Recursion, single: bool) -> Profile {
        let batch = Batch {
            single,
            ..Batch::whole(ROWS, "X")
        };
        let root = |row: usize| (0.3 + 0.2 * row as f64).into();
        recursion.profile(&batch, &root, &mut unwatched).unwrap()
    }

    #[test]
    fn a_row_of_a_band_is_as_if_it_were_alone() {
        for (single, names) in [
            (false, &["relu", "gelu", "erf"][..]),
            (false, &["tanh", "abs", "relu"]),
            (false, &["sign"]),
            (true, &["relu", "gelu", "erf"]),
            (true, &["gelu", "erf"]),
            (true, &["abs", "identity", "relu"]),
        ] {
            let recursion = recursion(names);
            let outputs = outputs(names.len() + 1);
            let profile = profile(&recursion, single);
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

    #[test]
    fn gaps_in_f32_keep_their_digits_and_follow_from_earlier_layers_alone() {
        let recursion = recursion(&["relu", "abs", "relu", "tanh"]);
        let outputs = outputs(5);
        let profiles = [true, false].map(|single| profile(&recursion, single));
        for isa in Isa::available() {
            let [single, double] = profiles.each_ref().map(|profile| {
                let pairs = recursion.between(isa, profile, profile, &outputs);
                run(&pairs, 0..ROWS)
            });
            for (index, output) in outputs.iter().enumerate() {
                let rows = index * ROWS..(index + 1) * ROWS;
                let same = single[rows.clone()] == double[rows.clone()];
                // Layers 1 to 3 follow activations that allow it; parts of Θ follow all activations.
                let in_single =
                    !matches!(output, Output::Part(_)) && (1..4).contains(&output.layer());
                assert_eq!(same, !in_single, "{isa} {output:?}");
                let values = |list: &[Vec<Block>]| list[rows.clone()].concat().concat();
                for (value, exact) in values(&single).into_iter().zip(values(&double)) {
                    // Kernels of these inputs are about 10 at most.
                    assert!(
                        (value - exact).abs() <= 40.0 * f64::from(f32::EPSILON),
                        "{isa} {output:?}"
                    );
                }
            }
        }
    }
}
