//! Weighted sums of the derivatives of infinite-width kernels with respect to their first input.

use ntkrs_core::engine::pool::{Stages, Watch};
use ntkrs_core::engine::scalar::Scalar;
use ntkrs_core::infinite::input_gradient::{self, DirectedInputs, Weights};
use ntkrs_core::infinite::recursion::Recursion;
use numpy::{Element, PyArray3};
use pyo3::prelude::*;

use crate::arrays::{Matrix, copied};
use crate::call::Call;
use crate::errors::Result;
use crate::kernel_arguments::{Bounds, KernelBatches, Snapshot, call_cycles, output};
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
    inputs: KernelBatches<'_, T>,
    wanted: WeightedSums<'_, '_>,
    progress: Progress,
) -> Result<(Gradients<'py>, Bounds)> {
    let mut call = Call::enter(py, progress);
    let last = recursion.layers() - 1;
    let names = wanted.names.into_iter();
    let outputs = names.map(|name| output(recursion, &(name, last)));
    let outputs = outputs.collect::<ntkrs_core::Result<Vec<_>>>()?;
    let snapshot = Snapshot::of(inputs, recursion, &mut call)?;
    let weights = call.read(|watch| copied(wanted.weights.as_array(), watch))?;
    let weights = if wanted.of_pairs {
        Weights::Pairs(weights)
    } else {
        Weights::Columns(weights)
    };
    let [inputs, kernel] = snapshot.cycles(recursion);
    let shares = [inputs, 2.0 * inputs, 2.0 * inputs, 5.0 * kernel];
    let (gradients, bounds) = call.detach(call_cycles(recursion, &shares), |watch| {
        let mut stages = Stages::new(watch, &shares);
        let inputs = stages.next(|watch| snapshot.prepare(recursion, watch))?;
        let bounds = inputs.bounds()?;
        let directed =
            |inputs, watch: &mut Watch<'_>| DirectedInputs::new(recursion, inputs, watch);
        let rows = stages.next(|watch| directed(inputs.rows, watch))?;
        let cols = |watch: &mut Watch<'_>| inputs.other.map(|z| directed(z, watch)).transpose();
        let other = stages.next(cols)?;
        let sides = [&rows, other.as_ref().unwrap_or(&rows)];
        let gradients = stages.next(|watch| {
            input_gradient::input_gradient(recursion, sides, &outputs, &weights, watch)
        })?;
        Ok((gradients, bounds))
    })?;
    let arrays = gradients.into_iter();
    let arrays = arrays.map(|array| PyArray3::from_owned_array(py, array).into_any());
    Ok((arrays.collect(), bounds))
}
