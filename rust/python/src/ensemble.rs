//! The empirical NTK over random initialisations.

use ntkrs_core::engine::panel::Panels;
use ntkrs_core::finite::ensemble::{Ensemble, moments};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::arrays::{Batches, Matrix, Typed, VectorMut};
use crate::call::Call;
use crate::errors::Result;
use crate::network::{Network, Selection};
use crate::ticker::Progress;

/// Writes the mean and the sample variance of the empirical NTK over `seeds`, each to an array of `out`. The arrays
/// are contiguous, with the entries of an array of `shape` (planes, N, S, M, S).
///
/// The networks have the activations of `network`, biases in the same layers, and parameters drawn for each seed. `layers`
/// are the sizes (n_0, …, n_L) and the scale σ_w/√n_l of each dense layer. Everything is float64.
#[pyfunction]
#[pyo3(signature = (network, layers, inputs, out, shape, seeds, outputs, progress))]
#[expect(
    clippy::too_many_arguments,
    reason = "a binding takes what Python passes, one by one"
)]
pub fn ensemble_ntk(
    py: Python<'_>,
    network: &Network,
    layers: (Vec<usize>, Vec<f64>),
    inputs: Batches<'_, f64>,
    out: (VectorMut<'_, f64>, VectorMut<'_, f64>),
    shape: [usize; 5],
    seeds: Vec<u64>,
    outputs: Selection,
    progress: Progress,
) -> Result<()> {
    let mut call = Call::part(py, progress, 0, seeds.len());
    let Typed::F64(network) = &network.0 else {
        return Err(PyTypeError::new_err("a float64 network is needed").into());
    };
    let outputs = outputs.parse()?;
    let ((x, z), (sizes, weight_scales)) = (inputs, layers);
    let mut pack = |array: &Matrix<'_, f64>, argument| {
        call.read(|watch| Panels::pack(array.as_array(), argument, watch))
    };
    let x = pack(&x, "X")?;
    let z = z.map(|z| pack(&z, "Z")).transpose()?;
    let (mut mean, mut variance) = out;
    let (mean, variance) = (mean.as_slice_mut()?, variance.as_slice_mut()?);
    let ensemble = Ensemble {
        network,
        sizes: &sizes,
        weight_scales: &weight_scales,
        seeds: &seeds,
        x: &x,
        z: z.as_ref(),
        outputs,
        shape,
    };
    call.detach(0.0, |watch| moments(&ensemble, mean, variance, watch))
}
