//! Derivatives of Σ and Θ with respect to σ_w and σ_b of every dense layer.
//!
//! A row of pairs goes forward through all layers and leaves what each of them made of it; then, for each output, the
//! derivatives go backward (reverse mode), so that L layers cost what some passes of the recursion do, not L². Along a
//! pair goes its gap; along each of its inputs `λ = log r`, of which [`ProfileSlopes`] knows the rest. With `α = u²/r²`:
//!
//! ```text
//! own = τ_w² ω_i ω_j ρ(t) + τ_b²        Θ = own + σ_w² Ṫ Θ'        u = σ_w ω,  r² = u² + σ_b²,  dλ = α dlog u + σ_b/r² dσ_b
//! ```
//!
//! where ω and t are the roots and the gap that the activation left. Where a kink makes the slope of Ṫ in the gap infinite,
//! that of the gap is 0: what is passed on are products with the gap.

mod backward;
mod forward;

use std::ops::Range;

use super::profile_slopes::ProfileSlopes;
use super::row_and_columns::RowAndColumns;
use super::{Output, Profile, Recursion};
use crate::activations::differentiable::DualStep;
use crate::activations::features::Variables;
use crate::engine::tile::Tile;
use crate::isa::{Block, Isa, WIDTH};

use backward::{Backward, LayerTermSlopes};
use forward::{Forward, LayerPairs};

/// Whether the learning scales of a layer are its σ_w and σ_b, and so change with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TiedScales {
    /// Whether τ_w is σ_w.
    pub weights: bool,
    /// Whether τ_b is σ_b.
    pub biases: bool,
}

/// The derivatives of kernels between two batches of inputs.
#[derive(Debug)]
pub struct GradientRecursion<'a> {
    recursion: &'a Recursion,
    isa: Isa,
    sides: [(&'a Profile, &'a ProfileSlopes); 2],
    outputs: &'a [Output],
    tied: &'a [TiedScales],
}

/// What the layers leave of one row against blocks of columns.
#[derive(Debug, Default)]
pub struct LayerStates {
    layers: Vec<State>,
    adjoints: Vec<Adjoint>,
}

/// What one layer leaves.
#[derive(Debug, Default)]
struct State {
    /// What the activation before it made of the pairs.
    steps: Vec<DualStep>,
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

impl<'a> GradientRecursion<'a> {
    /// Those of these outputs, which are of the whole network.
    ///
    /// # Panics
    /// If an output is another one, or there is not one of `tied` per layer.
    pub fn new(
        recursion: &'a Recursion,
        isa: Isa,
        sides: [(&'a Profile, &'a ProfileSlopes); 2],
        outputs: &'a [Output],
        tied: &'a [TiedScales],
    ) -> Self {
        let last = recursion.layers() - 1;
        let whole = |output: &Output| [Output::Nngp(last), Output::Ntk(last)].contains(output);
        assert!(outputs.iter().all(whole) && tied.len() == recursion.layers());
        Self {
            recursion,
            isa,
            sides,
            outputs,
            tied,
        }
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
        states: &mut LayerStates,
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
            let [(rows, _), (cols, _)] = self.sides;
            for plane in planes {
                rows.unscale(cols, self.isa, (i, blocks), plane.row_blocks_mut(r));
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
            let dual = self.recursion.dual(level);
            dual.differentiate(self.isa, &pairs, &slopes, &before.gaps, &mut state.steps);
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
        states: &mut LayerStates,
        targets: [&mut [Block]; 2],
    ) {
        let layer = self.layer(index, i, blocks);
        let own = if output == Output::Nngp(index) {
            LayerTermSlopes::nngp(layer.scales)
        } else {
            LayerTermSlopes::ntk(layer.scales, self.tied[index])
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
    fn layer(&self, index: usize, i: usize, blocks: &Range<usize>) -> LayerPairs<'_> {
        let [(rows, row_slopes), (cols, col_slopes)] = self.sides;
        let [of_rows, of_cols] = [rows, cols].map(|profile| &profile.levels[index].bias);
        let bias = of_rows.as_ref().zip(of_cols.as_ref());
        LayerPairs {
            scales: self.recursion.layers[index],
            numbers: RowAndColumns::new(
                (row_slopes.numbers(index), i),
                (col_slopes.numbers(index), blocks),
            ),
            bias: bias.map(|(rows, cols)| RowAndColumns::new((rows, i), (cols, blocks))),
        }
    }
}

impl LayerStates {
    fn reset(&mut self, layers: usize, gaps: &[Block]) {
        self.layers.resize_with(layers, State::default);
        for state in &mut self.layers {
            // All of it is written before it is read, but for the gaps of the inputs.
            state.steps.resize(gaps.len(), DualStep::default());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activations::catalogue;
    use crate::infinite::recursion::{LayerScales, PairState};
    use crate::math::double_double::DoubleDouble;

    const ROOTS: [f64; 9] = [0.7, 0.7, 1.3, 0.2, 1.0, 2.5, 0.0, 1.1, 0.9];
    const GAPS: [f64; 9] = [0.0, -0.0, 0.3, -0.4, 1.0, 1e-6, 1.0, -1e-3, 0.9];

    fn recursion(sigmas: &[[f64; 2]]) -> Recursion {
        let scales = |[sigma_w, sigma_b]: &[f64; 2]| LayerScales {
            sigma_w: *sigma_w,
            sigma_b: *sigma_b,
            tau_w: *sigma_w,
            tau_b: *sigma_b,
        };
        let names = ["gelu", "relu", "erf"];
        let activations = names.map(|name| catalogue::activation(name, &[]).unwrap());
        Recursion::new(sigmas.iter().map(scales).collect(), activations.into()).unwrap()
    }

    fn roots() -> Vec<DoubleDouble> {
        ROOTS.map(DoubleDouble::from).into()
    }

    /// The gaps of row 0 to all.
    fn gaps() -> [Block; 2] {
        let gap = |i: usize| GAPS.get(i).copied().unwrap_or(1.0);
        [0, 1].map(|block| std::array::from_fn(|lane| gap(block * WIDTH + lane)))
    }

    fn kernel(isa: Isa, sigmas: &[[f64; 2]], output: Output) -> Tile {
        let recursion = recursion(sigmas);
        let profile = recursion.profile(roots(), "X").unwrap();
        let (mut planes, mut gaps) = ([Tile::default()], gaps());
        planes[0].reshape(1, 2 * WIDTH);
        let outputs = [output];
        let pass = recursion.between(isa, &profile, &profile, &outputs);
        let mut pairs = PairState::default();
        pass.run(0, &(0..2), &mut gaps, &mut pairs, (&mut planes, 0));
        planes[0].clone()
    }

    #[test]
    fn derivatives_are_those_of_differences_on_every_instruction_set() {
        const H: f64 = 1e-4;
        let sigmas = [[1.2, 0.1], [0.9, 0.3], [1.4, 0.2], [1.1, 0.5]];
        let (recursion, last) = (recursion(&sigmas), sigmas.len() - 1);
        let profile = recursion.profile(roots(), "X").unwrap();
        let slopes = ProfileSlopes::new(&recursion, &profile).unwrap();
        let outputs = [Output::Nngp(last), Output::Ntk(last)];
        let tied = [TiedScales {
            weights: true,
            biases: true,
        }; 4];
        for isa in Isa::available() {
            let sides = [(&profile, &slopes); 2];
            let gradient = GradientRecursion::new(&recursion, isa, sides, &outputs, &tied);
            let mut planes = vec![Tile::default(); gradient.planes()];
            for plane in &mut planes {
                plane.reshape(1, 2 * WIDTH);
                plane.row_mut(0).fill(f64::NAN);
            }
            let mut states = LayerStates::default();
            gradient.run(0, &(0..2), &gaps(), &mut states, (&mut planes, 0));
            for (index, plane) in planes.iter().enumerate() {
                let (output, scale, layer) = (outputs[index / 8], index / 4 % 2, index % 4);
                let at = |h: f64| {
                    let mut sigmas = sigmas;
                    sigmas[layer][scale] += h;
                    kernel(isa, &sigmas, output)
                };
                let (above, below) = (at(H), at(-H));
                for (i, value) in plane.row(0).iter().enumerate().take(ROOTS.len()) {
                    let difference = (above.row(0)[i] - below.row(0)[i]) / (2.0 * H);
                    // H² times third derivatives of some hundreds.
                    assert!(
                        (value - difference).abs() < 1e-5,
                        "{isa} {index} {i}: {value} {difference}"
                    );
                }
            }
        }
    }
}
