//! The recursion of Σ and Θ through all layers, on the pairs of a band of rows at a time. It knows inputs only by their norms
//! and the gaps between them.
//!
//! ```text
//! Σ^1     = σ_w² ⟨x,x'⟩/n_0 + σ_b²        Θ^1     = own^1
//! Σ^{l+1} = σ_w² T(Σ^l) + σ_b²            Θ^{l+1} = own^{l+1} + Σ̇^{l+1} ⊙ Θ^l        Σ̇^{l+1} = σ_w² Ṫ(Σ^l)
//! ```
//!
//! with `T = E φ(u)φ(v)` and `Ṫ = E φ'(u)φ'(v)` for (u, v) ~ N(0, Σ). The layer's own term of Θ is `own = Σ`, or
//! `own^{l+1} = τ_w² T(Σ^l) + τ_b²` for a layer with other learning scales τ.
//!
//! A pair is carried through the layers by its gap, `1 − |ρ|` with the sign of ρ (see [`crate::activations::dual`]).
//! Then `Σ = r_i r_j ρ`, with the roots `r = √Σ(x, x)`. The roots of an input do not depend on any other input, so they
//! are computed once per batch.
//!
//! - `profile`: the roots of a batch after every layer, and all other per-row numbers. `profile_slopes`: their
//!   derivatives
//! - `pairs`: the recursion between two batches. `passes`: all layers, on the pairs of a band of rows, whose values are in
//!   `pair_state`. `table`: the same by one look-up, for homogeneous networks
//! - `plane_row`: the rows of the output tiles that results go to
//! - `gradient`: derivatives with respect to `σ_w` and `σ_b` of every layer. `pair_slopes`: with respect to the inputs

mod gradient;
mod pair_slopes;
mod pair_state;
mod pairs;
mod passes;
mod plane_row;
mod profile;
mod profile_slopes;
mod table;

use std::sync::{Arc, OnceLock};

use crate::activations::activation::{Activation, check_alternation};
use crate::activations::dual::{Description, Dual};
use crate::engine::pool::{Stages, Watch};
use crate::error::{Error, Result, Shortest};
use crate::isa::Isa;
use crate::math::double_double::DoubleDouble;

pub use crate::activations::row_pairs::{BandPairs, RowPairs};
pub use gradient::{DifferentiatedProfile, GradientRecursion, LayerStates, TiedScales};
pub use pair_slopes::{ChainedProfile, PairSlopes, RootChain, SLOPES, SlopeState};
pub use pair_state::PairState;
pub use pairs::PairRecursion;
pub use plane_row::PlaneRow;
pub use profile::Profile;
pub use profile_slopes::ProfileSlopes;

use profile::Level;
use table::Table;

/// The scales of a dense layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerScales {
    /// The standard deviation of the weights, times √n.
    pub sigma_w: f64,
    /// The standard deviation of the biases; 0 if there are none.
    pub sigma_b: f64,
    /// The learning scale of the weights: `σ_w` in the NTK parameterization, 0 if they are not trained.
    pub tau_w: f64,
    /// The learning scale of the biases: `σ_b` in the NTK parameterization, 0 if they are not trained.
    pub tau_b: f64,
}

/// A kernel to compute, with the index of a dense layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Σ^{l+1}, the covariance at initialisation after dense layer l.
    Nngp(usize),
    /// Θ^{l+1}, the tangent kernel after dense layer l.
    Ntk(usize),
    /// The contribution of dense layer l to Θ of the whole network, `own^{l+1}` times all later Σ̇.
    Part(usize),
}

/// Consecutive inputs whose profile is computed.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// The index of the first input.
    pub first: usize,
    /// The number of inputs.
    pub rows: usize,
    /// The name of all inputs in errors.
    pub argument: &'static str,
    /// True if results are `f32`. The gaps of pairs are then `f32` too, up to the first activation that does not allow
    /// it.
    pub single: bool,
}

/// An infinitely wide network: dense layers with activations between them.
#[derive(Clone, Debug)]
pub struct Recursion {
    layers: Vec<LayerScales>,
    activations: Vec<Arc<dyn Activation>>,
    /// The number of activations before the first one that does not allow gaps in `f32`.
    single_steps: usize,
    /// Built on first use. `None` inside if the network has no table.
    table: OnceLock<Option<Table>>,
}

impl Recursion {
    /// A network of these layers and the activations between them.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the numbers of layers and activations do not match, a scale is outside its domain, or an
    /// activation has no kernel at infinite width.
    pub fn new(layers: Vec<LayerScales>, activations: Vec<Arc<dyn Activation>>) -> Result<Self> {
        check_alternation(layers.len(), activations.len())?;
        for (index, scales) in layers.iter().enumerate() {
            scales.check(index)?;
        }
        if let Some(activation) = activations
            .iter()
            .find(|activation| activation.dual().is_none())
        {
            let message = format!("{activation:?} has no kernel at infinite width");
            return Err(Error::Invalid(message));
        }
        let duals = activations
            .iter()
            .filter_map(|activation| activation.dual());
        let single_steps = duals.take_while(|dual| dual.single().is_some()).count();
        Ok(Self {
            layers,
            activations,
            single_steps,
            table: OnceLock::new(),
        })
    }

    /// Estimated cycles of the recursion per pair, on one thread.
    pub fn cycles(&self) -> f64 {
        let activations = (1..self.layers()).map(|layer| self.dual(layer - 1).cycles());
        activations.sum()
    }

    /// The number of dense layers.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// The profile of some inputs. `root(i)` is the root mean square `√(|x|²/n_0)` of input i.
    ///
    /// # Errors
    /// [`Error::Overflow`] if a layer's kernel is too large even in units of the last layer's; as [`Dual::describe`].
    pub fn profile(
        &self,
        batch: &Batch,
        root: &(dyn Fn(usize) -> DoubleDouble + Sync),
        watch: &mut Watch<'_>,
    ) -> Result<Profile> {
        let mut levels: Vec<Level> = Vec::with_capacity(self.layers.len());
        let (mut roots, mut all_missing) = (Vec::new(), Vec::new());
        let shares = self.profile_shares();
        let mut stages = Stages::new(watch, &shares);
        let in_single = batch.single;
        for (index, scales) in self.layers.iter().enumerate() {
            let single = batch.single && (1..=self.single_steps).contains(&index);
            let batch = &Batch { single, ..*batch };
            let mut level = stages.next(|watch| match index {
                0 => Level::new(scales, batch, &|row| root(batch.first + row), watch),
                _ => Level::new(scales, batch, &|row| roots[row], watch),
            })?;
            if index < self.activations.len() {
                let dual = self.dual(index);
                let Description {
                    features,
                    roots: next,
                    missing,
                } = stages.next(|watch| dual.describe(&level.r, watch))?;
                let far = dual.far_single().filter(|_| in_single);
                level.single_features = far.map(|dual| dual.single_features(&features));
                (level.features, roots) = (features, next);
                all_missing.push(missing);
            }
            levels.push(level);
        }
        stages.next(|watch| Profile::new(levels, all_missing, batch, watch))
    }

    /// Estimated cycles of [`Recursion::profile`] per input, on one thread.
    pub fn profile_cycles(&self) -> f64 {
        self.profile_shares().into_iter().sum()
    }

    /// Estimated cycles of the stages of [`Recursion::profile`].
    fn profile_shares(&self) -> Vec<f64> {
        let layers = 0..self.activations.len();
        let dual = |index| [Level::CYCLES, self.dual(index).description_cycles()];
        let levels = layers.flat_map(dual).chain([Level::CYCLES]);
        let scaled = Level::SCALING_CYCLES * self.layers.len() as f64;
        levels.chain([scaled]).collect()
    }

    /// Estimated cycles of the stages of [`ProfileSlopes::new`].
    fn slope_shares(&self) -> Vec<f64> {
        let layers = 0..self.activations.len();
        let dual = |index| [Level::CYCLES, 3.0 * self.dual(index).description_cycles()];
        layers.flat_map(dual).chain([Level::CYCLES]).collect()
    }

    /// True if an activation is a user-supplied function. Only the calling thread may then compute profiles.
    pub fn has_callable(&self) -> bool {
        let mut activations = self.activations.iter();
        activations.any(|activation| activation.function().is_some())
    }

    /// The `outputs` between two batches of inputs, given their profiles.
    ///
    /// # Panics
    /// If a profile belongs to a recursion with another number of layers, or an output to a layer that does not exist.
    pub fn between<'a>(
        &'a self,
        isa: Isa,
        rows: &'a Profile,
        cols: &'a Profile,
        outputs: &'a [Output],
    ) -> PairRecursion<'a> {
        let layers = self.layers.len();
        assert!(rows.levels.len() == layers && cols.levels.len() == layers);
        assert!(outputs.iter().all(|output| output.layer() < layers));
        let in_table =
            |output: &Output| [Output::Nngp(layers - 1), Output::Ntk(layers - 1)].contains(output);
        let table = if outputs.iter().any(in_table) {
            self.table()
        } else {
            None
        };
        PairRecursion {
            recursion: self,
            isa,
            rows,
            cols,
            outputs,
            table,
        }
    }

    /// The table of the last layer's kernels, if the network has one.
    fn table(&self) -> Option<&Table> {
        if self.table.get().is_none() {
            // Built outside the lock: a process that is forked while another thread holds the lock would wait forever.
            // Two threads that build it at once build the same table.
            let duals = (0..self.activations.len()).map(|index| self.dual(index));
            let _ = self.table.set(Table::new(&self.layers, duals));
        }
        self.table.get()?.as_ref()
    }

    /// The dual of activation `index`.
    fn dual(&self, index: usize) -> &dyn Dual {
        #[expect(clippy::expect_used, reason = "`new` has checked it")]
        self.activations[index]
            .dual()
            .expect("every activation of a recursion has a dual")
    }
}

impl Batch {
    /// All of `rows` inputs, for results in `f64`.
    pub fn whole(rows: usize, argument: &'static str) -> Self {
        Self {
            first: 0,
            rows,
            argument,
            single: false,
        }
    }

    /// The error of an input, given its index in the batch, whose kernel is too large.
    fn overflow(&self, row: usize) -> Error {
        Error::Overflow {
            argument: self.argument,
            row: self.first + row,
        }
    }
}

impl LayerScales {
    /// Checks the domain of each scale. `index` is that of the layer.
    pub(crate) fn check(&self, index: usize) -> Result<()> {
        let scales = [
            ("sigma_w", self.sigma_w),
            ("sigma_b", self.sigma_b),
            ("tau_w", self.tau_w),
            ("tau_b", self.tau_b),
        ];
        let bad = |(name, scale): &(&str, f64)| {
            !scale.is_finite() || *scale < 0.0 || (*name == "sigma_w" && *scale == 0.0)
        };
        match scales.into_iter().find(bad) {
            None => Ok(()),
            Some((name, scale)) => {
                let bound = if name == "sigma_w" {
                    "positive"
                } else {
                    ">= 0"
                };
                let message = format!(
                    "{name} of layer {index} is {}, but must be {bound} and finite",
                    Shortest(scale)
                );
                Err(Error::Invalid(message))
            }
        }
    }

    /// True if the layer's own term of Θ is Σ.
    fn tau_is_sigma(&self) -> bool {
        self.tau_w == self.sigma_w && self.tau_b == self.sigma_b
    }
}

impl Output {
    /// The index of the dense layer.
    fn layer(self) -> usize {
        match self {
            Self::Nngp(layer) | Self::Ntk(layer) | Self::Part(layer) => layer,
        }
    }
}
