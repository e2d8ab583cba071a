//! Kernels of infinitely wide networks: the class `InfiniteKernel`.

use std::ops::ControlFlow;
use std::sync::Arc;

use ntkrs_core::Error;
use ntkrs_core::engine::multiply;
use ntkrs_core::engine::pool::{STEPS, Stages};
use ntkrs_core::engine::scalar::Scalar;
use ntkrs_core::infinite::kernel::Infinite;
use ntkrs_core::infinite::pointwise;
use ntkrs_core::infinite::recursion::Recursion;
use numpy::{Element, PyArray1, PyArray2, PyReadonlyArray1};
use pyo3::prelude::*;

use crate::activations::{self, Spec};
use crate::arrays::{Matrix, Typed, copied, in_dtype, views};
use crate::call::Call;
use crate::errors::Result;
use crate::gram::fill;
use crate::input_gradient::{Gradients, WeightedSums, input_gradient};
use crate::kernel_arguments::{
    Bounds, KernelBatches, KernelGram, Scales, Snapshot, Wanted, call_cycles, layer_scales, output,
};
use crate::kernel_gradient::{self, Derivatives};
use crate::prepared_inputs::{InputArgument, InputSource, PreparedInputs};
use crate::ticker::Progress;

/// The NNGP and NTK of an infinitely wide network. `layers` are (σ_w, σ_b, τ_w, τ_b) of each dense layer, τ being the
/// learning scales. `activations` are (name, parameters) or Python callables.
#[pyclass(frozen, module = "ntkrs._core")]
pub struct InfiniteKernel {
    recursion: Arc<Recursion>,
}

#[pymethods]
impl InfiniteKernel {
    #[new]
    fn new(layers: Vec<Scales>, activations: Vec<Spec>) -> Result<Self> {
        let layers = layers.into_iter().map(layer_scales).collect();
        let recursion = Recursion::new(layers, activations::parse(activations)?)?;
        Ok(Self {
            recursion: Arc::new(recursion),
        })
    }

    /// Returns inputs X (N, d) that stay prepared for this kernel from their first use on. The array must not change any
    /// more.
    fn keep(&self, x: Typed<Bound<'_, PyArray2<f64>>, Bound<'_, PyArray2<f32>>>) -> PreparedInputs {
        PreparedInputs::new(&self.recursion, x)
    }

    /// Prepares inputs of `keep` now, if they are not.
    fn prepare(
        &self,
        py: Python<'_>,
        inputs: Typed<InputArgument<'_, f64>, InputArgument<'_, f32>>,
        progress: Progress,
    ) -> Result<()> {
        in_dtype!(inputs, |inputs| {
            prepare(py, &self.recursion, inputs, progress)
        })
    }

    /// Writes the kernels `wanted` to planes (N, 1, M, 1), for `arrays = (x, z, planes)`. Returns the bounds of
    /// `error_bound`.
    fn gram(
        &self,
        py: Python<'_>,
        arrays: Typed<KernelGram<'_, f64>, KernelGram<'_, f32>>,
        wanted: Vec<Wanted>,
        progress: Progress,
    ) -> Result<Bounds> {
        in_dtype!(arrays, |arrays| {
            gram(py, &self.recursion, arrays, &wanted, progress)
        })
    }

    /// Returns bounds on the errors of Σ and Θ for all pairs of rows of `inputs = (x, z)`, round-off excluded.
    fn error_bound(
        &self,
        py: Python<'_>,
        inputs: Typed<KernelBatches<'_, f64>, KernelBatches<'_, f32>>,
    ) -> Result<Bounds> {
        in_dtype!(inputs, |inputs| error_bound(py, &self.recursion, inputs))
    }

    /// Returns the diagonal of one kernel, (N,), in float64 for either dtype of `x`.
    fn diag<'py>(
        &self,
        py: Python<'py>,
        x: Typed<InputArgument<'py, f64>, InputArgument<'py, f32>>,
        wanted: Wanted,
    ) -> Result<Bound<'py, PyArray1<f64>>> {
        in_dtype!(x, |x| diag(py, &self.recursion, x, &wanted))
    }

    /// Returns K V (N, r) for vectors V (M, r), without storing K, for `inputs = (x, z)`.
    fn multiply<'py>(
        &self,
        py: Python<'py>,
        inputs: Typed<KernelBatches<'py, f64>, KernelBatches<'py, f32>>,
        vectors: Matrix<'py, f64>,
        wanted: Wanted,
        progress: Progress,
    ) -> Result<Bound<'py, PyArray2<f64>>> {
        in_dtype!(inputs, |inputs| {
            multiply(py, &self.recursion, inputs, &vectors, &wanted, progress)
        })
    }

    /// Returns Σ or Θ of inputs with `|x|²/n_0 = q` and correlation ρ, for each ρ in [−1, 1].
    fn scalar<'py>(
        &self,
        py: Python<'py>,
        rho: PyReadonlyArray1<'py, f64>,
        q: f64,
        wanted: Wanted,
    ) -> Result<Bound<'py, PyArray1<f64>>> {
        let (mut call, recursion) = (Call::enter(py, None), &self.recursion);
        let output = output(recursion, &wanted)?;
        let rho = call.read(|watch| copied(rho.as_array(), watch))?;
        let cycles = call_cycles(recursion, &[rho.len() as f64 * recursion.cycles()]);
        let values = call.detach(cycles, |watch| {
            let rho = rho.as_slice().unwrap_or_default();
            pointwise::scalar(recursion, rho, q, output, watch)
        })?;
        Ok(PyArray1::from_vec(py, values))
    }

    /// Writes the derivatives of each kernel in `get` to planes (N, 1, M, 1), for `arrays = (x, z, planes)`: ∂K/∂σ_w of
    /// every dense layer, then ∂K/∂σ_b of every dense layer. `tied` says for each layer whether τ_w equals σ_w and
    /// changes with it, and whether τ_b does so with σ_b. Returns the bounds of `error_bound`.
    fn gradient(
        &self,
        py: Python<'_>,
        arrays: Typed<KernelGram<'_, f64>, KernelGram<'_, f32>>,
        get: Vec<String>,
        tied: Vec<(bool, bool)>,
        progress: Progress,
    ) -> Result<Bounds> {
        let recursion = &self.recursion;
        let wanted = Derivatives::parse(recursion, get, tied)?;
        in_dtype!(arrays, |arrays| {
            kernel_gradient::gradient(py, recursion, arrays, &wanted, progress)
        })
    }

    /// Returns `Σ_ij A_ij ∂K_ij` for weights A (N, M), one sum for each plane of `gradient`, and the bounds of
    /// `error_bound`.
    fn contracted_gradient<'py>(
        &self,
        py: Python<'py>,
        inputs: Typed<KernelBatches<'py, f64>, KernelBatches<'py, f32>>,
        weights: Matrix<'py, f64>,
        get: Vec<String>,
        tied: Vec<(bool, bool)>,
        progress: Progress,
    ) -> Result<(Bound<'py, PyArray1<f64>>, Bounds)> {
        let recursion = &self.recursion;
        let wanted = Derivatives::parse(recursion, get, tied)?;
        in_dtype!(inputs, |inputs| {
            kernel_gradient::contracted(py, recursion, inputs, &weights, &wanted, progress)
        })
    }

    /// Returns `Σ_j W_ij ∂₁K(x_i, z_j)`, (N, d, O), for each kernel in `get`, and the bounds of `error_bound`. The weights
    /// W are those of pairs, (N, M), or of columns, (M, O).
    fn input_gradient<'py>(
        &self,
        py: Python<'py>,
        inputs: Typed<KernelBatches<'py, f64>, KernelBatches<'py, f32>>,
        weights: (Matrix<'py, f64>, bool),
        get: Vec<String>,
        progress: Progress,
    ) -> Result<(Gradients<'py>, Bounds)> {
        let recursion = &self.recursion;
        let wanted = WeightedSums {
            names: get,
            weights: &weights.0,
            of_pairs: weights.1,
        };
        in_dtype!(inputs, |inputs| {
            input_gradient(py, recursion, inputs, wanted, progress)
        })
    }
}

fn prepare<T: Scalar + Element>(
    py: Python<'_>,
    recursion: &Recursion,
    inputs: InputArgument<'_, T>,
    progress: Progress,
) -> Result<()> {
    let mut call = Call::enter(py, progress);
    let source = inputs.read("X", recursion, &mut call)?;
    let cycles = call_cycles(recursion, &[source.cycles(recursion)]);
    call.detach(cycles, |watch| {
        source.prepare(recursion, watch)?;
        match watch(STEPS, STEPS) {
            ControlFlow::Break(()) => Err(Error::Cancelled),
            ControlFlow::Continue(()) => Ok(()),
        }
    })
}

fn gram<T: Scalar + Element>(
    py: Python<'_>,
    recursion: &Recursion,
    (x, z, mut planes): KernelGram<'_, T>,
    wanted: &[Wanted],
    progress: Progress,
) -> Result<Bounds> {
    let mut call = Call::enter(py, progress);
    let outputs = wanted.iter().map(|wanted| output(recursion, wanted));
    let outputs = outputs.collect::<ntkrs_core::Result<Vec<_>>>()?;
    let snapshot = Snapshot::of((x, z), recursion, &mut call)?;
    let planes = views(&mut planes);
    let shares = snapshot.cycles(recursion);
    call.detach(call_cycles(recursion, &shares), |watch| {
        let mut stages = Stages::new(watch, &shares);
        let inputs = stages.next(|watch| snapshot.prepare(recursion, watch))?;
        let kernel = Infinite::new(recursion, &inputs.rows, inputs.cols(), &outputs)?;
        stages.next(|watch| fill(&kernel, planes, inputs.symmetric(), watch))?;
        inputs.bounds()
    })
}

fn error_bound<T: Scalar + Element>(
    py: Python<'_>,
    recursion: &Recursion,
    inputs: KernelBatches<'_, T>,
) -> Result<Bounds> {
    let mut call = Call::enter(py, None);
    let snapshot = Snapshot::of(inputs, recursion, &mut call)?;
    let [cycles, _] = snapshot.cycles(recursion);
    call.detach(call_cycles(recursion, &[cycles]), |watch| {
        snapshot.bounds(recursion, watch)
    })
}

fn diag<'py, T: Scalar + Element>(
    py: Python<'py>,
    recursion: &Recursion,
    x: InputArgument<'_, T>,
    wanted: &Wanted,
) -> Result<Bound<'py, PyArray1<f64>>> {
    let mut call = Call::enter(py, None);
    let output = output(recursion, wanted)?;
    let source = x.read("X", recursion, &mut call)?;
    let shares = [
        source.cycles(recursion),
        source.len() as f64 * recursion.cycles(),
    ];
    let cycles = call_cycles(recursion, &shares);
    let values = call.detach(cycles, |watch| match source {
        InputSource::Packed(packed, _) => pointwise::diagonal(recursion, packed, output, watch),
        InputSource::Ready(inputs) => {
            pointwise::diagonal_of_inputs(recursion, &inputs, output, watch)
        }
    })?;
    Ok(PyArray1::from_vec(py, values))
}

fn multiply<'py, T: Scalar + Element>(
    py: Python<'py>,
    recursion: &Recursion,
    inputs: KernelBatches<'_, T>,
    vectors: &Matrix<'_, f64>,
    wanted: &Wanted,
    progress: Progress,
) -> Result<Bound<'py, PyArray2<f64>>> {
    let mut call = Call::enter(py, progress);
    let outputs = [output(recursion, wanted)?];
    let snapshot = Snapshot::of(inputs, recursion, &mut call)?;
    let vectors = call.read(|watch| copied(vectors.as_array(), watch))?;
    let shares = snapshot.cycles(recursion);
    let product = call.detach(call_cycles(recursion, &shares), |watch| {
        let mut stages = Stages::new(watch, &shares);
        let inputs = stages.next(|watch| snapshot.prepare(recursion, watch))?;
        let kernel = Infinite::new(recursion, &inputs.rows, inputs.cols(), &outputs)?;
        let (symmetric, vectors) = (inputs.symmetric(), vectors.view());
        stages.next(|watch| multiply::multiply(&kernel, symmetric, vectors, watch))
    })?;
    Ok(PyArray2::from_owned_array(py, product))
}
