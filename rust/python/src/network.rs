//! Finite networks: the class `Network`.

use std::sync::Arc;

use ntkrs_core::Error;
use ntkrs_core::activations::activation::Activation;
use ntkrs_core::engine::multiply;
use ntkrs_core::engine::panel::Panels;
use ntkrs_core::engine::pool::{Stages, Watch};
use ntkrs_core::engine::scalar::Scalar;
use ntkrs_core::finite::empirical::{Empirical, Linearized};
use ntkrs_core::finite::forward;
use ntkrs_core::finite::input_jacobian;
use ntkrs_core::finite::jacobian;
use ntkrs_core::finite::network::{Dense, Network as CoreNetwork};
use ntkrs_core::finite::outputs::Outputs;
use numpy::{Element, PyArray2, PyReadonlyArray1};
use pyo3::prelude::*;

use crate::activations::{self, Spec};
use crate::arrays::{
    Batches, Forward, Gram, Hidden, Jacobian, Jvp, LossGradient, Matrix, Parameters, Typed, Vjp,
    copied, in_dtype, views,
};
use crate::call::{Call, watched};
use crate::errors::Result;
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
        py: Python<'_>,
        parameters: Typed<Parameters<'_, f64>, Parameters<'_, f32>>,
        scales: Vec<Scales>,
        activations: Vec<Spec>,
    ) -> Result<Self> {
        let activations = activations::parse(activations)?;
        Ok(Self(match parameters {
            Typed::F64(parameters) => Typed::F64(build(py, &parameters, &scales, activations)?),
            Typed::F32(parameters) => Typed::F32(build(py, &parameters, &scales, activations)?),
        }))
    }

    /// Writes f(x) to `out` (N, O), for `arrays = (x, out)`.
    fn forward(
        &self,
        py: Python<'_>,
        arrays: Typed<Forward<'_, f64>, Forward<'_, f32>>,
    ) -> Result<()> {
        in_dtype!((&self.0, arrays), |net, arrays| forward(py, net, arrays))
    }

    /// Writes the Jacobian to `out` (N, O, P), for `arrays = (x, out)`.
    fn jacobian(
        &self,
        py: Python<'_>,
        arrays: Typed<Jacobian<'_, f64>, Jacobian<'_, f32>>,
    ) -> Result<()> {
        in_dtype!((&self.0, arrays), |net, arrays| jacobian(py, net, arrays))
    }

    /// Writes `∂f_m(x_i)/∂x` to `out` (N, O, d), for `arrays = (x, out)`.
    fn input_jacobian(
        &self,
        py: Python<'_>,
        arrays: Typed<Jacobian<'_, f64>, Jacobian<'_, f32>>,
    ) -> Result<()> {
        in_dtype!((&self.0, arrays), |net, arrays| {
            input_jacobian(py, net, arrays)
        })
    }

    /// Writes the pre-activations and the activations of every hidden layer, for `arrays = (x, pre, post)`.
    fn layers(
        &self,
        py: Python<'_>,
        arrays: Typed<Hidden<'_, f64>, Hidden<'_, f32>>,
    ) -> Result<()> {
        in_dtype!((&self.0, arrays), |net, arrays| layers(py, net, arrays))
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
        in_dtype!((&self.0, arrays), |net, arrays| {
            ntk(py, net, arrays, form, progress)
        })
    }

    /// Returns K V for vectors V, without storing the kernel K of `outputs`, for `inputs = (x, z)`.
    fn multiply<'py>(
        &self,
        py: Python<'py>,
        inputs: Typed<Batches<'py, f64>, Batches<'py, f32>>,
        vectors: Matrix<'py, f64>,
        outputs: Selection,
        progress: Progress,
    ) -> Result<Bound<'py, PyArray2<f64>>> {
        let outputs = outputs.parse()?;
        in_dtype!((&self.0, inputs), |net, inputs| {
            product(py, net, inputs, &vectors, outputs, progress)
        })
    }

    /// Writes J v of K vectors v (K, P) to `out` (K, N, O), for `arrays = (x, v, out)`.
    fn jvp(&self, py: Python<'_>, arrays: Typed<Jvp<'_, f64>, Jvp<'_, f32>>) -> Result<()> {
        in_dtype!((&self.0, arrays), |net, arrays| {
            vector_products::jvp(py, net, arrays)
        })
    }

    /// Writes Jᵀ u of K vectors u (K, N, O) to `out` (K, P), for `arrays = (x, u, out)`.
    fn vjp(&self, py: Python<'_>, arrays: Typed<Vjp<'_, f64>, Vjp<'_, f32>>) -> Result<()> {
        in_dtype!((&self.0, arrays), |net, arrays| {
            vector_products::vjp(py, net, arrays)
        })
    }

    /// Writes the gradient of a loss with respect to θ to `out` (P,), for `arrays = (x, y, out)`.
    fn loss_gradient(
        &self,
        py: Python<'_>,
        arrays: Typed<LossGradient<'_, f64>, LossGradient<'_, f32>>,
        loss: &str,
    ) -> Result<()> {
        let loss = vector_products::loss(loss)?;
        in_dtype!((&self.0, arrays), |net, arrays| {
            vector_products::loss_gradient(py, net, arrays, loss)
        })
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
    py: Python<'_>,
    (weights, biases): &Parameters<'_, T>,
    scales: &[Scales],
    activations: Vec<Arc<dyn Activation>>,
) -> Result<CoreNetwork<T>> {
    let mut call = Call::enter(py, None);
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
    call.read(|watch| CoreNetwork::new(&layers, activations, watch))
}

fn forward<T: Scalar + Element>(
    py: Python<'_>,
    net: &CoreNetwork<T>,
    (x, mut out): Forward<'_, T>,
) -> Result<()> {
    let mut call = Call::enter(py, None);
    let x = call.read(|watch| net.pack(x.as_array(), "X", watch))?;
    let out = out.as_array_mut();
    call.detach(0.0, |watch| {
        forward::forward(net, x, watch)?.write_outputs(out)
    })
}

fn jacobian<T: Scalar + Element>(
    py: Python<'_>,
    net: &CoreNetwork<T>,
    (x, mut out): Jacobian<'_, T>,
) -> Result<()> {
    let mut call = Call::enter(py, None);
    let x = call.read(|watch| net.pack(x.as_array(), "X", watch))?;
    let out = out.as_slice_mut()?;
    let cycles = watched(net.has_callable(), out.len() as f64);
    call.detach(cycles, |watch| jacobian::jacobian(net, x, out, watch))
}

/// The packed inputs of a kernel, and the estimated cycles of its stages.
struct PackedBatches<T: Scalar> {
    x: Panels<T>,
    z: Option<Panels<T>>,
    shares: [f64; 4],
}

impl<T: Scalar + Element> PackedBatches<T> {
    fn of(
        net: &CoreNetwork<T>,
        (x, z): Batches<'_, T>,
        outputs: Outputs,
        call: &mut Call<'_>,
    ) -> Result<Self> {
        let mut pack = |array: &Matrix<'_, T>, argument| {
            call.read(|watch| net.pack(array.as_array(), argument, watch))
        };
        let x = pack(&x, "X")?;
        let z = z.map(|z| pack(&z, "Z")).transpose()?;
        let (rows, passes) = (x.rows(), z.as_ref().map_or(0, Panels::rows));
        let [of_x, of_z] = [rows, passes].map(|samples| outputs.pass_cycles(net, samples));
        let cols = z.as_ref().map_or(rows, Panels::rows);
        let shares = [of_x, of_z, 0.0, outputs.kernel_cycles(net, rows, cols)];
        Ok(Self { x, z, shares })
    }

    fn cycles(&self, net: &CoreNetwork<T>) -> f64 {
        watched(net.has_callable(), self.shares.iter().sum())
    }

    /// Linearizes the network at the inputs, and passes its kernel to `last`, with true if the columns are the rows.
    fn with_kernel<R>(
        self,
        net: &CoreNetwork<T>,
        (outputs, per_layer): (Outputs, bool),
        watch: &mut Watch<'_>,
        last: impl FnOnce(&Empirical<'_, T>, bool, &mut Watch<'_>) -> ntkrs_core::Result<R>,
    ) -> ntkrs_core::Result<R> {
        let mut stages = Stages::new(watch, &self.shares);
        let linearize =
            |inputs, watch: &mut Watch<'_>| Linearized::new(net, inputs, outputs, watch);
        let rows = stages.next(|watch| linearize(self.x, watch))?;
        let other = stages.next(|watch| self.z.map(|z| linearize(z, watch)).transpose())?;
        let cols = other.as_ref().unwrap_or(&rows);
        let kernel =
            stages.next(|watch| Empirical::new(net, &rows, cols, outputs, per_layer, watch))?;
        stages.next(|watch| last(&kernel, other.is_none(), watch))
    }
}

fn input_jacobian<T: Scalar + Element>(
    py: Python<'_>,
    net: &CoreNetwork<T>,
    (x, mut out): Jacobian<'_, T>,
) -> Result<()> {
    let mut call = Call::enter(py, None);
    let x = call.read(|watch| net.pack(x.as_array(), "X", watch))?;
    let out = out.as_slice_mut()?;
    let passes = (1 + net.outputs()) * x.rows();
    let cycles = passes as f64 * net.parameters() as f64;
    call.detach(watched(net.has_callable(), cycles), |watch| {
        input_jacobian::input_jacobian(net, x, out, watch)
    })
}

fn layers<T: Scalar + Element>(
    py: Python<'_>,
    net: &CoreNetwork<T>,
    (x, mut pre, mut post): Hidden<'_, T>,
) -> Result<()> {
    let mut call = Call::enter(py, None);
    let x = call.read(|watch| net.pack(x.as_array(), "X", watch))?;
    if [pre.len(), post.len()] != [net.depth() - 1; 2] {
        return Err(Error::Invalid("there must be two arrays for each hidden layer".into()).into());
    }
    let [pre, post] =
        [&mut pre, &mut post].map(|arrays| arrays.iter_mut().map(|array| array.as_array_mut()));
    let arrays: Vec<_> = pre.zip(post).map(|(pre, post)| [pre, post]).collect();
    let shares = vec![1.0; arrays.len() + 1];
    call.detach(0.0, |watch| {
        let mut stages = Stages::new(watch, &shares);
        let pass = stages.next(|watch| forward::forward(net, x, watch))?;
        for (layer, arrays) in arrays.into_iter().enumerate() {
            stages.next(|watch| pass.write_hidden(net, layer, arrays, watch))?;
        }
        Ok(())
    })
}

fn ntk<T: Scalar + Element>(
    py: Python<'_>,
    net: &CoreNetwork<T>,
    (x, z, mut planes): Gram<'_, T>,
    form: (Outputs, bool),
    progress: Progress,
) -> Result<()> {
    let mut call = Call::enter(py, progress);
    let inputs = PackedBatches::of(net, (x, z), form.0, &mut call)?;
    let planes = views(&mut planes);
    call.detach(inputs.cycles(net), |watch| {
        inputs.with_kernel(net, form, watch, |kernel, symmetric, watch| {
            fill(kernel, planes, symmetric, watch)
        })
    })
}

fn product<'py, T: Scalar + Element>(
    py: Python<'py>,
    net: &CoreNetwork<T>,
    inputs: Batches<'_, T>,
    vectors: &Matrix<'_, f64>,
    outputs: Outputs,
    progress: Progress,
) -> Result<Bound<'py, PyArray2<f64>>> {
    if outputs == Outputs::Diagonal {
        let message = "outputs 'diagonal' are several kernels: multiply each by its own vectors";
        return Err(Error::Invalid(message.into()).into());
    }
    let mut call = Call::enter(py, progress);
    let inputs = PackedBatches::of(net, inputs, outputs, &mut call)?;
    let vectors = call.read(|watch| copied(vectors.as_array(), watch))?;
    let product = call.detach(inputs.cycles(net), |watch| {
        inputs.with_kernel(net, (outputs, false), watch, |kernel, symmetric, watch| {
            multiply::multiply(kernel, symmetric, vectors.view(), watch)
        })
    })?;
    Ok(PyArray2::from_owned_array(py, product))
}
