//! Derivatives of Σ and Θ with respect to `σ_w` and `σ_b` of every dense layer, in reverse mode.
//!
//! A row of pairs goes forward through all layers, and each layer keeps its intermediate values. Then, for each output,
//! the adjoints go backward. So the derivatives of L layers cost a few passes of the recursion, not L². A pair carries
//! its gap, and each of its two inputs carries `λ = log r`, whose own derivatives are in [`ProfileSlopes`]. With
//! `α = u²/r²`:
//!
//! ```text
//! u = σ_w ω        r² = u² + σ_b²        dλ = α dlog u + σ_b/r² dσ_b
//! own = τ_w² ω_i ω_j ρ(t) + τ_b²         Θ = own + σ_w² Ṫ Θ'
//! ```
//!
//! where `ω = √E φ²` and t are the roots and the gap after the activation, and Θ' is that of the layer before. At a
//! kink the slope of Ṫ in the gap is infinite when the gap is 0. What is passed on is its product with the gap, which
//! is 0.
//!
//! - `forward`: the gap and Θ after one dense layer
//! - `backward`: the adjoints before one dense layer and its activation
//! - this file: the order of the layers

mod backward;
mod forward;

use super::plane_row::PlaneRow;
use super::profile::Level;
use super::profile_slopes::ProfileSlopes;
use super::{Output, Profile, Recursion};
use crate::activations::differentiable::DualStep;
use crate::activations::row_pairs::RowPairs;
use crate::isa::{Block, Isa, WIDTH};

use backward::{Backward, LayerTermSlopes};
use forward::Forward;

pub(super) use forward::{LayerPairs, squared_ratio};

/// The learning scales of a layer that equal its `σ_w` and `σ_b`, and change with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TiedScales {
    /// True if `τ_w` is `σ_w`.
    pub weights: bool,
    /// True if `τ_b` is `σ_b`.
    pub biases: bool,
}

/// The profile of a batch of inputs, and its derivatives.
#[derive(Clone, Copy, Debug)]
pub struct DifferentiatedProfile<'a> {
    /// The profile.
    pub profile: &'a Profile,
    /// Its derivatives.
    pub slopes: &'a ProfileSlopes,
}

/// The derivatives of kernels between two batches of inputs.
#[derive(Debug)]
pub struct GradientRecursion<'a> {
    recursion: &'a Recursion,
    isa: Isa,
    /// The rows and the columns.
    sides: [DifferentiatedProfile<'a>; 2],
    outputs: &'a [Output],
    tied: &'a [TiedScales],
}

/// Intermediate values of one row against blocks of columns, for all layers.
#[derive(Debug, Default)]
pub struct LayerStates {
    layers: Vec<LayerState>,
    adjoints: Vec<Adjoint>,
}

/// The values of one dense layer and the activation before it.
#[derive(Debug, Default)]
struct LayerState {
    /// The results of the activation: t, Ṫ and their derivatives.
    steps: Vec<DualStep>,
    /// The gaps after the dense layer.
    gaps: Vec<Block>,
    /// Θ after the dense layer.
    ntk: Vec<Block>,
}

/// The derivatives of an output with respect to the values after a dense layer.
#[derive(Clone, Copy, Debug, Default)]
struct Adjoint {
    /// With respect to Θ.
    ntk: Block,
    /// With respect to the gap.
    gap: Block,
    /// With respect to λ of the row and of the columns.
    roots: [Block; 2],
}

impl<'a> GradientRecursion<'a> {
    /// Prepares the derivatives of `outputs`, which must be those of the last layer. `sides` are the rows and the
    /// columns.
    ///
    /// # Panics
    /// If an output is another one, or `tied` does not have one entry per layer.
    pub fn new(
        recursion: &'a Recursion,
        isa: Isa,
        sides: [DifferentiatedProfile<'a>; 2],
        outputs: &'a [Output],
        tied: &'a [TiedScales],
    ) -> Self {
        let last = recursion.layers() - 1;
        let of_last = |output: &Output| [Output::Nngp(last), Output::Ntk(last)].contains(output);
        assert!(outputs.iter().all(of_last) && tied.len() == recursion.layers());
        Self {
            recursion,
            isa,
            sides,
            outputs,
            tied,
        }
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The number of planes: for each output, the derivatives with respect to `σ_w` of every layer, then to `σ_b`.
    pub fn planes(&self) -> usize {
        2 * self.recursion.layers() * self.outputs.len()
    }

    /// Computes the derivatives for `pairs`, whose gaps are given, and writes them to all planes.
    ///
    /// The result is bitwise symmetric in the two inputs, and independent of the range of columns.
    ///
    /// # Panics
    /// If `gaps` or a plane does not hold all blocks, or there are not [`GradientRecursion::planes`] planes.
    pub fn run(
        &self,
        pairs: &RowPairs,
        gaps: &[Block],
        states: &mut LayerStates,
        target: PlaneRow<'_>,
    ) {
        assert!(gaps.len() == pairs.blocks.len() && target.planes.len() == self.planes());
        let layers = self.recursion.layers();
        states.reset(layers, gaps);
        for layer in 0..layers {
            self.forward(layer, pairs, &mut states.layers);
        }
        let planes = target.planes.chunks_mut(2 * layers);
        for (output, planes) in self.outputs.iter().zip(planes) {
            let row = target.row;
            self.backward(*output, pairs, states, PlaneRow { planes, row });
        }
    }

    /// Runs dense layer `layer` and the activation before it, if there is one.
    fn forward(&self, layer: usize, pairs: &RowPairs, states: &mut [LayerState]) {
        let (before, rest) = states.split_at_mut(layer);
        let (mut before, state) = (before.last_mut(), &mut rest[0]);
        if let Some(before) = &mut before {
            let index = layer - 1;
            let levels = self.sides.map(|side| &side.profile.levels[index]);
            Level::separate_constants(levels, &pairs.band(), &mut before.gaps, |_| ());
            let [rows, cols] = levels.map(|level| &level.features);
            let values = pairs.variables(rows, cols);
            let [rows, cols] = self.sides.map(|side| side.slopes.features(index));
            let slopes = pairs.variables(rows, cols);
            let dual = self.recursion.dual(index);
            dual.differentiate(self.isa, &values, &slopes, &before.gaps, &mut state.steps);
        }
        self.isa.run(Forward {
            layer: self.layer(layer, pairs),
            before: before.map(|before| &before.ntk[..]),
            state,
        });
    }

    /// Passes the adjoints of one output back through all layers, and writes its derivatives: those with respect to
    /// `σ_w` to the first half of the planes, those with respect to `σ_b` to the other half.
    fn backward(
        &self,
        output: Output,
        pairs: &RowPairs,
        states: &mut LayerStates,
        target: PlaneRow<'_>,
    ) {
        states.start(output);
        let PlaneRow { planes, row } = target;
        let layers = self.recursion.layers();
        let (weights, biases) = planes.split_at_mut(layers);
        for index in (0..layers).rev() {
            let layer = self.layer(index, pairs);
            let own = if output == Output::Nngp(index) {
                LayerTermSlopes::nngp(layer.scales)
            } else {
                LayerTermSlopes::ntk(layer.scales, self.tied[index])
            };
            let targets = [&mut weights[index], &mut biases[index]];
            self.isa.run(Backward {
                layer,
                own,
                state: &states.layers[index],
                before: index.checked_sub(1).map(|before| &states.layers[before]),
                adjoints: &mut states.adjoints,
                targets: targets.map(|plane| plane.row_blocks_mut(row)),
            });
        }
        let [rows, cols] = self.sides.map(|side| side.profile);
        for plane in planes {
            rows.unscale(cols, self.isa, pairs, plane.row_blocks_mut(row));
        }
    }

    /// Dense layer `layer` with the numbers of `pairs`.
    fn layer(&self, layer: usize, pairs: &RowPairs) -> LayerPairs<'_> {
        LayerPairs::new(self.recursion.layers[layer], layer, self.sides, pairs)
    }
}

impl LayerStates {
    /// Makes room for all layers, and takes the gaps of the inputs.
    fn reset(&mut self, layers: usize, gaps: &[Block]) {
        self.layers.resize_with(layers, LayerState::default);
        for state in &mut self.layers {
            // Old values may stay: each is overwritten before it is read, the gaps of the inputs below.
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

    /// Sets the adjoints after the last layer. `∂f/∂Θ` is 1 if the output f is Θ, and all others are 0: Σ of the last
    /// layer enters by its own term.
    fn start(&mut self, output: Output) {
        let ntk = f64::from(u8::from(matches!(output, Output::Ntk(_))));
        let adjoint = Adjoint {
            ntk: [ntk; WIDTH],
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
    use crate::engine::pool::unwatched;
    use crate::engine::tile::Tile;
    use crate::infinite::recursion::Batch;
    use crate::infinite::recursion::{LayerScales, PairState};

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

    fn profile(recursion: &Recursion) -> Profile {
        let (batch, root) = (Batch::whole(ROOTS.len(), "X"), |row: usize| {
            ROOTS[row].into()
        });
        recursion.profile(&batch, &root, &mut unwatched).unwrap()
    }

    fn row_pairs() -> RowPairs {
        let (row, blocks) = (0, 0..2);
        RowPairs { row, blocks }
    }

    /// The gaps of these pairs.
    fn gaps() -> [Block; 2] {
        let gap = |i: usize| GAPS.get(i).copied().unwrap_or(1.0);
        [0, 1].map(|block| std::array::from_fn(|lane| gap(block * WIDTH + lane)))
    }

    fn kernel(isa: Isa, sigmas: &[[f64; 2]], output: Output) -> Tile {
        let recursion = recursion(sigmas);
        let profile = profile(&recursion);
        let (mut planes, gaps) = ([Tile::default()], gaps());
        planes[0].reshape(1, 2 * WIDTH);
        let outputs = [output];
        let kernel = recursion.between(isa, &profile, &profile, &outputs);
        let mut state = PairState::default();
        let target = PlaneRow {
            planes: &mut planes,
            row: 0,
        };
        let blocks = |_| &gaps[..];
        kernel.run(&row_pairs().band(), blocks, &mut state, target);
        planes[0].clone()
    }

    fn gradients(gradient: &GradientRecursion<'_>) -> Vec<Tile> {
        let mut planes = vec![Tile::default(); gradient.planes()];
        for plane in &mut planes {
            plane.reshape(1, 2 * WIDTH);
            plane.row_mut(0).fill(f64::NAN);
        }
        let target = PlaneRow {
            planes: &mut planes,
            row: 0,
        };
        let mut states = LayerStates::default();
        gradient.run(&row_pairs(), &gaps(), &mut states, target);
        planes
    }

    #[test]
    fn derivatives_are_those_of_finite_differences_on_every_instruction_set() {
        const H: f64 = 1e-4;
        let sigmas = [[1.2, 0.1], [0.9, 0.3], [1.4, 0.2], [1.1, 0.5]];
        let (recursion, last) = (recursion(&sigmas), sigmas.len() - 1);
        let profile = profile(&recursion);
        let slopes = ProfileSlopes::new(&recursion, &profile, &mut unwatched).unwrap();
        let outputs = [Output::Nngp(last), Output::Ntk(last)];
        let tied = [TiedScales {
            weights: true,
            biases: true,
        }; 4];
        for isa in Isa::available() {
            let sides = [DifferentiatedProfile {
                profile: &profile,
                slopes: &slopes,
            }; 2];
            let gradient = GradientRecursion::new(&recursion, isa, sides, &outputs, &tied);
            let planes = gradients(&gradient);
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
                    // H² times third derivatives, which reach some hundreds.
                    assert!(
                        (value - difference).abs() < 1e-5,
                        "{isa} {index} {i}: {value} {difference}"
                    );
                }
            }
        }
    }
}
