//! Finite networks.

use std::sync::Arc;

use ntkrs_core::activations::activation::Activation;
use ntkrs_core::activations::catalogue;
use ntkrs_core::engine::scalar::Scalar;
use ntkrs_core::finite::empirical::{Empirical, Linearized, Outputs};
use ntkrs_core::finite::forward::forward;
use ntkrs_core::finite::jacobian::jacobian;
use ntkrs_core::finite::network::{self, Dense};
use ntkrs_core::finite::vector_products;
use ntkrs_core::isa::DefaultFloatEnv;
use ntkrs_core::{Error, Result};
use numpy::{Element, PyArray1, PyReadonlyArray1};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::arrays::{Forward, Gram, Jacobian, Jvp, Parameters, Typed, Vjp, views};
use crate::callable::Spec;
use crate::errors;
use crate::gram::fill;
use crate::ticker::Ticker;

/// A network with its parameters, packed: float64 or float32.
#[pyclass(frozen, module = "ntkrs._core")]
pub struct Network(pub(crate) Typed<network::Network<f64>, network::Network<f32>>);

/// Of weights and biases, and of derivatives in them.
type Scales = (f64, f64, f64, f64);

/// "full", "trace", …, or the index of one output.
#[derive(FromPyObject)]
pub(crate) enum Selection {
    Single(usize),
    Named(String),
}

#[pymethods]
impl Network {
    /// `parameters` are (weights, biases), `scales` (σ_w/√n, σ_b) and those of derivatives per layer, `activations` (name, parameters) or functions.
    #[new]
    fn new(
        parameters: Typed<Parameters<'_, f64>, Parameters<'_, f32>>,
        scales: Vec<Scales>,
        activations: Vec<Spec>,
    ) -> PyResult<Self> {
        let activations: Result<Vec<_>> = activations.into_iter().map(Spec::activation).collect();
        let activations = activations.map_err(errors::to_python)?;
        let network = match parameters {
            Typed::F64(parameters) => build(&parameters, &scales, activations).map(Typed::F64),
            Typed::F32(parameters) => build(&parameters, &scales, activations).map(Typed::F32),
        };
        network.map(Self).map_err(errors::to_python)
    }

    /// For `arrays = (x, out)`: writes f(x) to `out`.
    fn forward(
        &self,
        py: Python<'_>,
        arrays: Typed<Forward<'_, f64>, Forward<'_, f32>>,
    ) -> PyResult<()> {
        match (&self.0, arrays) {
            (Typed::F64(net), Typed::F64(arrays)) => run_forward(py, net, arrays),
            (Typed::F32(net), Typed::F32(arrays)) => run_forward(py, net, arrays),
            _ => Err(other_dtype()),
        }
    }

    /// For `arrays = (x, out)`: writes the Jacobian to `out`.
    fn jacobian(
        &self,
        py: Python<'_>,
        arrays: Typed<Jacobian<'_, f64>, Jacobian<'_, f32>>,
    ) -> PyResult<()> {
        match (&self.0, arrays) {
            (Typed::F64(net), Typed::F64(arrays)) => run_jacobian(py, net, arrays),
            (Typed::F32(net), Typed::F32(arrays)) => run_jacobian(py, net, arrays),
            _ => Err(other_dtype()),
        }
    }

    /// For `arrays = (x, v, out)`: writes J v of K vectors (K, P) to `out`, (K, N, O).
    fn jvp(&self, py: Python<'_>, arrays: Typed<Jvp<'_, f64>, Jvp<'_, f32>>) -> PyResult<()> {
        match (&self.0, arrays) {
            (Typed::F64(net), Typed::F64(arrays)) => run_jvp(py, net, arrays),
            (Typed::F32(net), Typed::F32(arrays)) => run_jvp(py, net, arrays),
            _ => Err(other_dtype()),
        }
    }

    /// For `arrays = (x, u, out)`: writes Jᵀ u of K vectors (K, N, O) to `out`, (K, P).
    fn vjp(&self, py: Python<'_>, arrays: Typed<Vjp<'_, f64>, Vjp<'_, f32>>) -> PyResult<()> {
        match (&self.0, arrays) {
            (Typed::F64(net), Typed::F64(arrays)) => run_vjp(py, net, arrays),
            (Typed::F32(net), Typed::F32(arrays)) => run_vjp(py, net, arrays),
            _ => Err(other_dtype()),
        }
    }

    /// For `arrays = (x, z, planes)`: writes the empirical NTK to planes of shape (N, S, M, S).
    fn ntk(
        &self,
        py: Python<'_>,
        arrays: Typed<Gram<'_, f64>, Gram<'_, f32>>,
        outputs: Selection,
        per_layer: bool,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let outputs = outputs.parse().map_err(errors::to_python)?;
        let ticker = Ticker::new(progress);
        match (&self.0, arrays) {
            (Typed::F64(net), Typed::F64(arrays)) => {
                run_ntk(py, net, arrays, outputs, per_layer, ticker)
            }
            (Typed::F32(net), Typed::F32(arrays)) => {
                run_ntk(py, net, arrays, outputs, per_layer, ticker)
            }
            _ => Err(other_dtype()),
        }
    }
}

impl Selection {
    pub(crate) fn parse(self) -> Result<Outputs> {
        Ok(match self {
            Self::Single(index) => Outputs::Single(index),
            Self::Named(name) => match name.as_str() {
                "full" => Outputs::Full,
                "trace" => Outputs::Trace,
                "mean" => Outputs::Mean,
                "diagonal" => Outputs::Diagonal,
                "sum" => Outputs::Sum,
                _ => return Err(Error::Invalid(format!("outputs {name:?} is not known"))),
            },
        })
    }
}

pub(crate) fn other_dtype() -> PyErr {
    PyTypeError::new_err("the arrays have another dtype than the network's parameters")
}

fn build<T: Scalar + Element>(
    (weights, biases): &Parameters<'_, T>,
    scales: &[Scales],
    activations: Vec<Arc<dyn Activation>>,
) -> Result<network::Network<T>> {
    let _floats = DefaultFloatEnv::enter();
    let layers: Vec<_> = weights
        .iter()
        .zip(biases)
        .zip(scales)
        .map(|((weights, bias), scales)| Dense {
            weights: weights.as_array(),
            bias: bias.as_ref().map(PyReadonlyArray1::as_array),
            weight_scale: scales.0,
            bias_scale: scales.1,
            learning_scales: (scales.2, scales.3),
        })
        .collect();
    network::Network::new(&layers, activations)
}

/// φ, φ' and φ'' at each h, for an activation of the catalogue.
#[pyfunction]
pub fn derivatives<'py>(
    py: Python<'py>,
    activation: (String, Vec<f64>),
    h: PyReadonlyArray1<'py, f64>,
) -> PyResult<[Bound<'py, PyArray1<f64>>; 3]> {
    let _floats = DefaultFloatEnv::enter();
    let activation =
        catalogue::activation(&activation.0, &activation.1).map_err(errors::to_python)?;
    let mut values = h.as_array().to_vec();
    let (mut slopes, mut curvatures) = (vec![0.0; values.len()], values.clone());
    py.detach(|| {
        activation.evaluate(&mut values, &mut slopes);
        activation.curvature(&mut curvatures);
    });
    Ok([values, slopes, curvatures].map(|array| PyArray1::from_vec(py, array)))
}

fn run_forward<T: Scalar + Element>(
    py: Python<'_>,
    net: &network::Network<T>,
    (x, mut out): Forward<'_, T>,
) -> PyResult<()> {
    let _floats = DefaultFloatEnv::enter();
    let x = net.pack(x.as_array(), "X").map_err(errors::to_python)?;
    let out = out.as_array_mut();
    let mut ticker = Ticker::new(None);
    let result = py.detach(|| {
        forward(net, x, &mut |done, total| ticker.report(done, total))?.write_outputs(out)
    });
    result.map_err(|error| ticker.exception(error))
}

fn run_jacobian<T: Scalar + Element>(
    py: Python<'_>,
    net: &network::Network<T>,
    (x, mut out): Jacobian<'_, T>,
) -> PyResult<()> {
    let _floats = DefaultFloatEnv::enter();
    let x = net.pack(x.as_array(), "X").map_err(errors::to_python)?;
    let out = out.as_slice_mut()?;
    let mut ticker = Ticker::new(None);
    let result = py.detach(|| jacobian(net, x, out, &mut |done, total| ticker.report(done, total)));
    result.map_err(|error| ticker.exception(error))
}

fn run_jvp<T: Scalar + Element>(
    py: Python<'_>,
    net: &network::Network<T>,
    (x, v, mut out): Jvp<'_, T>,
) -> PyResult<()> {
    let _floats = DefaultFloatEnv::enter();
    let x = net.pack(x.as_array(), "X").map_err(errors::to_python)?;
    let tangents = v
        .as_array()
        .outer_iter()
        .map(|v| net.with_parameters(&v.to_vec()))
        .collect::<Result<Vec<_>>>()
        .map_err(errors::to_python)?;
    let out = out.as_array_mut();
    let mut ticker = Ticker::new(None);
    let result = py.detach(|| {
        let mut watch = |done, total| ticker.report(done, total);
        vector_products::jvp(net, &tangents, &x, out, &mut watch)
    });
    result.map_err(|error| ticker.exception(error))
}

fn run_vjp<T: Scalar + Element>(
    py: Python<'_>,
    net: &network::Network<T>,
    (x, u, mut out): Vjp<'_, T>,
) -> PyResult<()> {
    let _floats = DefaultFloatEnv::enter();
    let x = net.pack(x.as_array(), "X").map_err(errors::to_python)?;
    // Not a view: what others write to meanwhile.
    let (u, out) = (u.as_array().to_owned(), out.as_array_mut());
    let mut ticker = Ticker::new(None);
    let result = py.detach(|| {
        let mut watch = |done, total| ticker.report(done, total);
        vector_products::vjp(net, x, u.view(), out, &mut watch)
    });
    result.map_err(|error| ticker.exception(error))
}

fn run_ntk<T: Scalar + Element>(
    py: Python<'_>,
    net: &network::Network<T>,
    (x, z, mut planes): Gram<'_, T>,
    outputs: Outputs,
    per_layer: bool,
    mut ticker: Ticker,
) -> PyResult<()> {
    let _floats = DefaultFloatEnv::enter();
    let x = net.pack(x.as_array(), "X").map_err(errors::to_python)?;
    let z = z
        .map(|z| net.pack(z.as_array(), "Z"))
        .transpose()
        .map_err(errors::to_python)?;
    let planes = views(&mut planes);
    let result = py.detach(|| {
        let mut prepare = |done, total| ticker.prepare(done, total);
        let rows = Linearized::new(net, x, outputs, &mut prepare)?;
        let other = z
            .map(|z| Linearized::new(net, z, outputs, &mut prepare))
            .transpose()?;
        let kernel = Empirical::new(
            net,
            &rows,
            other.as_ref().unwrap_or(&rows),
            outputs,
            per_layer,
        );
        fill(&kernel, planes, other.is_none(), &mut ticker)
    });
    result.map_err(|error| ticker.exception(error))
}
