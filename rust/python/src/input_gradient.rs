//! Weighted sums of the derivatives of infinite-width kernels with respect to their first input.

use ntkrs_core::engine::scalar::Scalar;
use ntkrs_core::infinite::input_gradient::{self, DirectedInputs, Weights};
use ntkrs_core::infinite::recursion::Recursion;
use numpy::{Element, PyArray3};
use pyo3::prelude::*;

use crate::arrays::{Batches, Matrix};
use crate::call::Call;
use crate::errors::Result;
use crate::kernel_arguments::{Bounds, Snapshot, output};
use crate::ticker::Progress;

/// One array (N, d, O) for each kernel, in the dtype of the inputs.
pub type Gradients<'py> = Vec<Bound<'py, PyAny>>;

/// The kernels, "nngp" or "ntk" of the whole network, and the weights of their derivatives.
pub struct WeightedSums<'a, 'py> {
    /// The names of the kernels.
    pub names: Vec<String>,
    /// One weight per pair (N, M), or per column and result (M, O).
    pub weights: &'a Matrix<'py, f64>,
    /// True if the weights are those of pairs.
    pub of_pairs: bool,
}

/// Returns `Σ_j W_ij ∂₁K(x_i, z_j)`, (N, d, O), for each kernel.
///
/// # Errors
/// If X and Z differ in their number of features or are not finite, the weights have another shape, or a sum is not
/// finite; if the call is cancelled.
pub fn input_gradient<'py, T: Scalar + Element>(
    py: Python<'py>,
    recursion: &Recursion,
    inputs: Batches<'_, T>,
    wanted: WeightedSums<'_, '_>,
    progress: Progress,
) -> Result<(Gradients<'py>, Bounds)> {
    let call = Call::enter(py, progress);
    let last = recursion.layers() - 1;
    let names = wanted.names.into_iter();
    let outputs = names.map(|name| output(recursion, &(name, last)));
    let outputs = outputs.collect::<ntkrs_core::Result<Vec<_>>>()?;
    let snapshot = Snapshot::of(inputs)?;
    let weights = wanted.weights.as_array().to_owned();
    let weights = if wanted.of_pairs {
        Weights::Pairs(weights)
    } else {
        Weights::Columns(weights)
    };
    let (gradients, bounds) = call.detach(|ticker| {
        let Snapshot { x, z } = snapshot;
        let rows = DirectedInputs::new(recursion, x)?;
        let other = z.map(|z| DirectedInputs::new(recursion, z)).transpose()?;
        let cols = other.as_ref().unwrap_or(&rows);
        let bound = rows.inputs().bound_with(cols.inputs())?;
        let watch = &mut ticker.progress();
        let sides = [&rows, cols];
        let gradients =
            input_gradient::input_gradient(recursion, sides, &outputs, &weights, watch)?;
        Ok((gradients, (bound.nngp, bound.ntk)))
    })?;
    let arrays = gradients.into_iter();
    let arrays = arrays.map(|array| PyArray3::from_owned_array(py, array).into_any());
    Ok((arrays.collect(), bounds))
}
