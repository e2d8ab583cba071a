//! The arguments that all functions of infinite-width kernels share: batches of inputs, and the kernels wanted.

use std::sync::Arc;

use ntkrs_core::engine::pool::{Stages, Watch};
use ntkrs_core::engine::scalar::Scalar;
use ntkrs_core::engine::tile::product_cycles;
use ntkrs_core::infinite::inputs::{Inputs, check_features};
use ntkrs_core::infinite::pointwise;
use ntkrs_core::infinite::recursion::{LayerScales, Output, Recursion};
use ntkrs_core::{Error, Result};
use numpy::Element;

use crate::arrays::Planes;
use crate::call::{Call, watched};
use crate::errors;
use crate::prepared_inputs::{InputArgument, InputSource};

/// The name of a kernel and the index of a dense layer: "nngp" or "ntk" after this layer, or the "part" that this layer
/// contributes to the NTK of the whole network.
pub type Wanted = (String, usize);

/// σ_w, σ_b, τ_w and τ_b of a layer.
pub type Scales = (f64, f64, f64, f64);

/// Bounds on the errors of Σ and Θ, round-off excluded.
pub type Bounds = (f64, f64);

/// Returns the scales of a layer, as the core names them.
pub fn layer_scales((sigma_w, sigma_b, tau_w, tau_b): Scales) -> LayerScales {
    LayerScales {
        sigma_w,
        sigma_b,
        tau_w,
        tau_b,
    }
}

/// Returns the kernel wanted, as the core calls it.
///
/// # Errors
/// [`Error::Invalid`] if there is no such kernel or no such layer.
pub fn output(recursion: &Recursion, (name, layer): &Wanted) -> Result<Output> {
    let output = match name.as_str() {
        "nngp" => Output::Nngp(*layer),
        "ntk" => Output::Ntk(*layer),
        "part" => Output::Part(*layer),
        _ => return Err(Error::Invalid(format!("kernel {name:?} is not known"))),
    };
    if *layer < recursion.layers() {
        Ok(output)
    } else {
        Err(Error::Invalid(format!("there is no dense layer {layer}")))
    }
}

/// Inputs X (N, d) and Z (M, d), or None for X.
pub type KernelBatches<'py, T> = (InputArgument<'py, T>, Option<InputArgument<'py, T>>);

/// Inputs X and Z as in [`KernelBatches`], and the planes of the kernels between them.
pub type KernelGram<'py, T> = (
    InputArgument<'py, T>,
    Option<InputArgument<'py, T>>,
    Planes<'py, T>,
);

/// X and Z, packed while no other Python thread can change the arrays, or prepared by an earlier call.
pub struct Snapshot<T: Scalar> {
    /// X, the inputs of the rows.
    x: InputSource<T>,
    /// Z, the inputs of the columns, unless it is X.
    z: Option<InputSource<T>>,
}

impl<T: Scalar + Element> Snapshot<T> {
    /// Packs the inputs, and releases the arrays to other calls.
    ///
    /// # Errors
    /// As [`InputArgument::read`].
    pub fn of(
        (x, z): KernelBatches<'_, T>,
        recursion: &Recursion,
        call: &mut Call<'_>,
    ) -> errors::Result<Self> {
        let z = z.map(|z| z.read("Z", recursion, call)).transpose()?;
        let x = x.read("X", recursion, call)?;
        Ok(Self { x, z })
    }

    /// Returns the estimated cycles of [`Snapshot::prepare`], and of the kernel.
    pub fn cycles(&self, recursion: &Recursion) -> [f64; 2] {
        let [x, z] = self.prepare_cycles(recursion);
        let cols = self.z.as_ref().unwrap_or(&self.x).len();
        let entry = product_cycles(self.x.features()) + recursion.cycles();
        [x + z, self.x.len() as f64 * cols as f64 * entry]
    }

    /// Runs the recursion along the kernel's diagonal, detached from the interpreter.
    ///
    /// # Errors
    /// As [`InputSource::prepare`].
    pub fn prepare(self, recursion: &Recursion, watch: &mut Watch<'_>) -> Result<KernelInputs<T>> {
        let shares = self.prepare_cycles(recursion);
        let mut stages = Stages::new(watch, &shares);
        let rows = stages.next(|watch| self.x.prepare(recursion, watch))?;
        let other = stages.next(|watch| self.z.map(|z| z.prepare(recursion, watch)).transpose())?;
        Ok(KernelInputs { rows, other })
    }

    /// Returns the bounds for every pair of these inputs. Nothing else of the inputs is kept.
    ///
    /// # Errors
    /// [`Error::Features`] if X and Z differ in their number of features; as [`pointwise::error_bound`].
    pub fn bounds(self, recursion: &Recursion, watch: &mut Watch<'_>) -> Result<Bounds> {
        let shares = self.prepare_cycles(recursion);
        let mut stages = Stages::new(watch, &shares);
        if let Some(z) = &self.z {
            check_features(self.x.features(), z.features())?;
        }
        let mut bound = |source| {
            stages.next(|watch| match source {
                InputSource::Packed(packed, _) => pointwise::error_bound(recursion, packed, watch),
                InputSource::Ready(inputs) => Ok(inputs.bound()),
            })
        };
        let of_x = bound(self.x)?;
        let both = self
            .z
            .map(bound)
            .transpose()?
            .map_or(of_x, |of_z| of_x.max(of_z));
        Ok((both.nngp, both.ntk))
    }

    fn prepare_cycles(&self, recursion: &Recursion) -> [f64; 2] {
        let cycles = |source: &InputSource<T>| source.cycles(recursion);
        [cycles(&self.x), self.z.as_ref().map_or(0.0, cycles)]
    }
}

/// Returns the cycles that [`Call::detach`] takes, for a call of these stages.
pub fn call_cycles(recursion: &Recursion, stages: &[f64]) -> f64 {
    watched(recursion.has_callable(), stages.iter().sum())
}

/// The inputs of a kernel, ready for use.
pub struct KernelInputs<T: Scalar> {
    /// X, the inputs of the rows.
    pub rows: Arc<Inputs<T>>,
    /// Z, the inputs of the columns, unless it is X.
    pub other: Option<Arc<Inputs<T>>>,
}

impl<T: Scalar> KernelInputs<T> {
    /// Returns the inputs of the columns.
    pub fn cols(&self) -> &Inputs<T> {
        self.other.as_ref().unwrap_or(&self.rows)
    }

    /// Returns true if the inputs of the columns are those of the rows.
    pub fn symmetric(&self) -> bool {
        self.other.is_none()
    }

    /// Returns the bounds for every pair of these inputs.
    ///
    /// # Errors
    /// [`Error::Features`] if X and Z differ in their number of features.
    pub fn bounds(&self) -> Result<Bounds> {
        let bound = self.rows.bound_with(self.cols())?;
        Ok((bound.nngp, bound.ntk))
    }
}
