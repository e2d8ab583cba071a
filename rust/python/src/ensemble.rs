//! The empirical NTK over random initialisations.

use ntkrs_core::engine::panel::Panels;
use ntkrs_core::finite::ensemble::{Ensemble, moments};
use ntkrs_core::isa::DefaultFloatEnv;
use numpy::{PyReadonlyArray2, PyReadwriteArray1};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::arrays::Typed;
use crate::errors;
use crate::finite::{Network, Selection};
use crate::ticker::Ticker;

/// Writes mean and variance of the kernel of networks with the activations and biases of `network`, `layers` = (n_0 … n_L,
/// σ_w/√n_l of each layer), and parameters drawn for each of `seeds`, to contiguous arrays of `shape`, (planes, N, S, M, S).
/// In float64 only.
#[pyfunction]
#[pyo3(signature = (network, layers, inputs, moments_out, shape, seeds, outputs, progress))]
#[expect(
    clippy::too_many_arguments,
    reason = "they are what the call is made of"
)]
pub fn ensemble_ntk(
    py: Python<'_>,
    network: &Network,
    layers: (Vec<usize>, Vec<f64>),
    inputs: (PyReadonlyArray2<'_, f64>, Option<PyReadonlyArray2<'_, f64>>),
    moments_out: (PyReadwriteArray1<'_, f64>, PyReadwriteArray1<'_, f64>),
    shape: [usize; 5],
    seeds: Vec<u64>,
    outputs: Selection,
    progress: Option<Py<PyAny>>,
) -> PyResult<()> {
    let _floats = DefaultFloatEnv::enter();
    let Typed::F64(network) = &network.0 else {
        return Err(PyTypeError::new_err("a float64 network is needed"));
    };
    let outputs = outputs.parse().map_err(errors::to_python)?;
    let (x, z) = inputs;
    let (sizes, weight_scales) = layers;
    let x = Panels::pack(x.as_array(), "X").map_err(errors::to_python)?;
    let z = z
        .map(|z| Panels::pack(z.as_array(), "Z"))
        .transpose()
        .map_err(errors::to_python)?;
    let (mut mean, mut variance) = moments_out;
    let (mean, variance) = (mean.as_slice_mut()?, variance.as_slice_mut()?);
    let mut ticker = Ticker::new(progress);
    let result = py.detach(|| {
        let ensemble = Ensemble {
            network,
            sizes: &sizes,
            weight_scales: &weight_scales,
            x: &x,
            z: z.as_ref(),
            outputs,
        };
        let mut watch = |done, total| ticker.report(done, total);
        moments(&ensemble, shape, &seeds, mean, variance, &mut watch)
    });
    result.map_err(|error| ticker.exception(error))
}
