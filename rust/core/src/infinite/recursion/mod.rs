//! The infinite-width recursion on pairs of inputs, in the gap `1 − |ρ|` (see [`crate::activations::dual`]).
//!
//! ```text
//! Σ^1 = σ_w² ⟨x,x'⟩/n_0 + σ_b²           Θ^1 = own^1
//! Σ^{l+1} = σ_w² T(Σ^l) + σ_b²            Θ^{l+1} = own^{l+1} + σ_w² Ṫ(Σ^l) ⊙ Θ^l
//! ```
//!
//! with `own = Σ`, or `τ_w² T + τ_b²` for a layer that learns at other scales. Along a row's own diagonal nothing depends
//! on the other input: [`Profile`] holds it, O(N) per layer. A pair then carries its gap alone, and `Σ = r_i r_j ρ`.

mod bias;
mod gradient;
mod pairs;
mod profile;
mod profile_slopes;
mod row_and_columns;
mod table;

use std::sync::{Arc, OnceLock};

use crate::activations::activation::{Activation, check_alternation};
use crate::activations::dual::{Description, Dual};
use crate::error::{Error, Result};
use crate::infinite::error_bound::ErrorBound;
use crate::isa::Isa;
use crate::math::double_double::DoubleDouble;

pub use gradient::{GradientRecursion, LayerStates, TiedScales};
pub use pairs::{PairRecursion, PairState};
pub use profile::Profile;
pub use profile_slopes::ProfileSlopes;

use profile::Level;
use table::Table;

/// Above this, products of two scaled roots would overflow.
const LARGEST: f64 = 1e154;

/// Powers of two whose products of two are normal numbers.
const MODERATE: i32 = 500;

/// A dense layer as the recursion sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerScales {
    /// Standard deviation of the weights, before division by √n.
    pub sigma_w: f64,
    /// Standard deviation of the biases; 0 means that there are none.
    pub sigma_b: f64,
    /// Learning scale of the weights: σ_w if they are trained like the others, 0 if they are not.
    pub tau_w: f64,
    /// Learning scale of the biases, likewise.
    pub tau_b: f64,
}

/// Which kernel, after which dense layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Σ^{l+1}, the covariance at initialisation after dense layer l.
    Nngp(usize),
    /// Θ^{l+1}, the tangent kernel after dense layer l.
    Ntk(usize),
    /// What dense layer l contributes to Θ of the whole network.
    Part(usize),
}

/// An infinitely wide network: dense layers with activations between them.
#[derive(Clone, Debug)]
pub struct Recursion {
    layers: Vec<LayerScales>,
    activations: Vec<Arc<dyn Activation>>,
    /// Made when it is first wanted.
    table: OnceLock<Option<Table>>,
}

impl Recursion {
    /// A network of these layers and the activations between them.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the numbers of layers and activations do not match, or a sigma is out of its domain.
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
        Ok(Self {
            layers,
            activations,
            table: OnceLock::new(),
        })
    }

    /// About how many cycles of one thread the recursion of a pair takes.
    pub fn cycles(&self) -> f64 {
        let activations = (1..self.layers()).map(|layer| self.dual(layer - 1).cycles());
        activations.sum()
    }

    /// The number of dense layers.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// The profile of inputs whose root mean squares `√(|x|²/n_0)` are given.
    ///
    /// # Errors
    /// [`Error::Overflow`] if a layer's kernel is too large even in units of the last layer's; those of
    /// [`Dual::describe`].
    pub fn profile(
        &self,
        root_mean_squares: Vec<DoubleDouble>,
        argument: &'static str,
    ) -> Result<Profile> {
        let mut levels: Vec<Level> = Vec::with_capacity(self.layers.len());
        let mut roots = root_mean_squares;
        let mut bound = ErrorBound::default();
        for (index, scales) in self.layers.iter().enumerate() {
            let mut level = Level::new(scales, &roots);
            if let Some(row) = level.r.iter().position(|r| !r.hi.is_finite()) {
                return Err(Error::Overflow { argument, row });
            }
            if index < self.activations.len() {
                let Description {
                    features,
                    roots: next,
                    missing,
                } = self.dual(index).describe(&level.r)?;
                (level.features, roots) = (features, next);
                bound = bound.after(missing);
            }
            levels.push(level);
        }
        let last = levels.last().map_or(&[][..], |level| &level.r);
        let exponents: Vec<i32> = last.iter().map(|r| libm::frexp(r.hi).1 - 1).collect();
        for level in &mut levels {
            level.scale(&exponents);
            let too_large = |number: &f64| number.is_nan() || *number >= LARGEST;
            let own = level.own.iter().flat_map(|own| [&own.weights, &own.biases]);
            for numbers in own.chain([&level.scaled]) {
                if let Some(row) = numbers.iter().position(|number| too_large(&number)) {
                    return Err(Error::Overflow { argument, row });
                }
            }
        }
        let moderate = exponents.iter().all(|exponent| exponent.abs() <= MODERATE);
        let factors = moderate.then(|| exponents.iter().map(|e| libm::scalbn(1.0, *e)).collect());
        Ok(Profile {
            levels,
            exponents,
            factors,
            bound,
        })
    }

    /// The `outputs` between two batches of inputs.
    ///
    /// # Panics
    /// If the profiles are those of another recursion, or an output is that of a layer which does not exist.
    pub fn between<'a>(
        &'a self,
        isa: Isa,
        rows: &'a Profile,
        cols: &'a Profile,
        outputs: &'a [Output],
    ) -> PairRecursion<'a> {
        assert!(rows.levels.len() == self.layers.len() && cols.levels.len() == self.layers.len());
        assert!(
            outputs
                .iter()
                .all(|output| output.layer() < self.layers.len())
        );
        let last = self.layers.len() - 1;
        let is_looked_up =
            |output: &Output| [Output::Nngp(last), Output::Ntk(last)].contains(output);
        PairRecursion {
            recursion: self,
            isa,
            rows,
            cols,
            outputs,
            table: outputs
                .iter()
                .any(is_looked_up)
                .then(|| self.table())
                .flatten(),
        }
    }

    /// The last layer as a function of the gap, where it is one.
    fn table(&self) -> Option<&Table> {
        if self.table.get().is_none() {
            // Not made while others wait: a process that is forked meanwhile would wait for ever. Two at once make the same.
            let duals = (0..self.activations.len()).map(|index| self.dual(index));
            let _ = self.table.set(Table::new(&self.layers, duals));
        }
        self.table.get()?.as_ref()
    }

    pub(crate) fn dual(&self, index: usize) -> &dyn Dual {
        // `new` has seen to it.
        #[allow(clippy::expect_used)]
        self.activations[index]
            .dual()
            .expect("every activation of a recursion has a dual")
    }
}

impl LayerScales {
    fn check(&self, index: usize) -> Result<()> {
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
                    "{name} of dense layer {index} is {scale}, but must be {bound} and finite"
                );
                Err(Error::Invalid(message))
            }
        }
    }

    /// Whether the layer's part of Θ is Σ.
    fn learns_as_it_starts(&self) -> bool {
        self.tau_w == self.sigma_w && self.tau_b == self.sigma_b
    }
}

impl Output {
    fn layer(self) -> usize {
        match self {
            Self::Nngp(layer) | Self::Ntk(layer) | Self::Part(layer) => layer,
        }
    }
}
