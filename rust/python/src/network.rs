//! Finite networks: the class `Network`.

use std::sync::Arc;

use ntkrs_core::Error;
use ntkrs_core::activations::activation::Activation;
use ntkrs_core::engine::scalar::Scalar;
use ntkrs_core::finite::empirical::{Empirical, Linearized, Outputs};
use ntkrs_core::finite::forward;
use ntkrs_core::finite::jacobian;
use ntkrs_core::finite::network::{Dense, Network as CoreNetwork};
use ntkrs_core::isa::DefaultFloatEnv;
use numpy::{Element, PyReadonlyArray1};
use pyo3::prelude::*;

use crate::activations::{self, Spec};
use crate::arrays::{Forward, Gram, Jacobian, Jvp, Parameters, Typed, Vjp, views};
use crate::call::Call;
use crate::errors::{Result, other_dtype};
use crate::gram::fill;
use crate::ticker::Progress;
use crate::vector_products;

/// A network and its packed parameters, in float64 or float32. `parameters` are (weights, biases). `scales` are four factors
/// of each dense layer: of W and b, (σ_w/√n, σ_b), and of the derivatives with respect to them. `activations` are (name,
/// parameters) or Python callables.
#[pyclass(frozen, module = "ntkrs._core")]
pub struct Network(pub Typed<CoreNetwork<f64>, CoreNetwork<f32>>);

/// The factors of W and b, and of the derivatives with respect to them.
type Scales = (f64, f64, f64, f64);

#[pymethods]
impl Network {
    #[new]
    fn new(
        parameters: Typed<Parameters<'_, f64>, Parameters<'_, f32>>,
        scales: Vec<Scales>,
        activations: Vec<Spec>,
    ) -> Result<Self> {
        let activations = activations::parse(activations)?;
        Ok(Self(match parameters {
            Typed::F64(parameters) => Typed::F64(build(&parameters, &scales, activations)?),
            Typed::F32(parameters) => Typed::F32(build(&parameters, &scales, activations)?),
        }))
    }

    /// Writes f(x) to `out` (N, O), for `arrays = (x, out)`.
    fn forward(
        &self,
        py: Python<'_>,
        arrays: Typed<Forward<'_, f64>, Forward<'_, f32>>,
    ) -> Result<()> {
        match (&self.0, arrays) {
            (Typed::F64(net), Typed::F64(arrays)) => forward(py, net, arrays),
            (Typed::F32(net), Typed::F32(arrays)) => forward(py, net, arrays),
            _ => Err(other_dtype()),
        }
    }

    /// Writes the Jacobian to `out` (N, O, P), for `arrays = (x, out)`.
    fn jacobian(
        &self,
        py: Python<'_>,
        arrays: Typed<Jacobian<'_, f64>, Jacobian<'_, f32>>,
    ) -> Result<()> {
        match (&self.0, arrays) {
            (Typed::F64(net), Typed::F64(arrays)) => jacobian(py, net, arrays),
            (Typed::F32(net), Typed::F32(arrays)) => jacobian(py, net, arrays),
            _ => Err(other_dtype()),
        }
    }

    /// Writes the empirical NTK to planes (N, S, M, S), for `arrays = (x, z, planes)`. If `per_layer`, each dense layer has
    /// planes of its own.
    fn ntk(
        &self,
        py: Python<'_>,
        arrays: Typed<Gram<'_, f64>, Gram<'_, f32>>,
        outputs: Selection,
        per_layer: bool,
        progress: Progress,
    ) -> Result<()> {
        let form = (outputs.parse()?, per_layer);
        match (&self.0, arrays) {
            (Typed::F64(net), Typed::F64(arrays)) => ntk(py, net, arrays, form, progress),
            (Typed::F32(net), Typed::F32(arrays)) => ntk(py, net, arrays, form, progress),
            _ => Err(other_dtype()),
        }
    }

    /// Writes J v of K vectors v (K, P) to `out` (K, N, O), for `arrays = (x, v, out)`.
    fn jvp(&self, py: Python<'_>, arrays: Typed<Jvp<'_, f64>, Jvp<'_, f32>>) -> Result<()> {
        match (&self.0, arrays) {
            (Typed::F64(net), Typed::F64(arrays)) => vector_products::jvp(py, net, arrays),
            (Typed::F32(net), Typed::F32(arrays)) => vector_products::jvp(py, net, arrays),
            _ => Err(other_dtype()),
        }
    }

    /// Writes Jᵀ u of K vectors u (K, N, O) to `out` (K, P), for `arrays = (x, u, out)`.
    fn vjp(&self, py: Python<'_>, arrays: Typed<Vjp<'_, f64>, Vjp<'_, f32>>) -> Result<()> {
        match (&self.0, arrays) {
            (Typed::F64(net), Typed::F64(arrays)) => vector_products::vjp(py, net, arrays),
            (Typed::F32(net), Typed::F32(arrays)) => vector_products::vjp(py, net, arrays),
            _ => Err(other_dtype()),
        }
    }
}

/// The outputs of which the kernel is taken: "full", "trace", …, or the index of one output.
#[derive(FromPyObject)]
pub enum Selection {
    Single(usize),
    Named(String),
}

impl Selection {
    /// Returns the outputs, as the core calls them.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the name is not known.
    pub fn parse(self) -> Result<Outputs> {
        Ok(match self {
            Self::Single(index) => Outputs::Single(index),
            Self::Named(name) => match name.as_str() {
                "full" => Outputs::Full,
                "trace" => Outputs::Trace,
                "mean" => Outputs::Mean,
                "diagonal" => Outputs::Diagonal,
                "sum" => Outputs::Sum,
                _ => return Err(Error::Invalid(format!("outputs {name:?} is not known")).into()),
            },
        })
    }
}

fn build<T: Scalar + Element>(
    (weights, biases): &Parameters<'_, T>,
    scales: &[Scales],
    activations: Vec<Arc<dyn Activation>>,
) -> Result<CoreNetwork<T>> {
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
            weight_learning_scale: scales.2,
            bias_learning_scale: scales.3,
        })
        .collect();
    Ok(CoreNetwork::new(&layers, activations)?)
}

fn forward<T: Scalar + Element>(
    py: Python<'_>,
    net: &CoreNetwork<T>,
    (x, mut out): Forward<'_, T>,
) -> Result<()> {
    let call = Call::enter(py, None);
    let x = net.pack(x.as_array(), "X")?;
    let out = out.as_array_mut();
    call.detach(|ticker| forward::forward(net, x, &mut ticker.signals())?.write_outputs(out))
}

fn jacobian<T: Scalar + Element>(
    py: Python<'_>,
    net: &CoreNetwork<T>,
    (x, mut out): Jacobian<'_, T>,
) -> Result<()> {
    let call = Call::enter(py, None);
    let x = net.pack(x.as_array(), "X")?;
    let out = out.as_slice_mut()?;
    call.detach(|ticker| jacobian::jacobian(net, x, out, &mut ticker.signals()))
}

fn ntk<T: Scalar + Element>(
    py: Python<'_>,
    net: &CoreNetwork<T>,
    (x, z, mut planes): Gram<'_, T>,
    (outputs, per_layer): (Outputs, bool),
    progress: Progress,
) -> Result<()> {
    let call = Call::enter(py, progress);
    let x = net.pack(x.as_array(), "X")?;
    let z = z.map(|z| net.pack(z.as_array(), "Z")).transpose()?;
    let planes = views(&mut planes);
    call.detach(|ticker| {
        let mut linearize = |inputs| Linearized::new(net, inputs, outputs, &mut ticker.signals());
        let rows = linearize(x)?;
        let other = z.map(linearize).transpose()?;
        let cols = other.as_ref().unwrap_or(&rows);
        let kernel = Empirical::new(net, &rows, cols, outputs, per_layer);
        fill(&kernel, planes, other.is_none(), ticker)
    })
}
