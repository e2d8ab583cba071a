//! Kernels of infinitely wide networks.

use ndarray::{Array2, ArrayView2};
use ntkrs_core::engine::multiply::multiply;
use ntkrs_core::engine::scalar::Scalar;
use ntkrs_core::infinite::error_bound::ErrorBound;
use ntkrs_core::infinite::inputs::{self, Packed};
use ntkrs_core::infinite::kernel::Infinite;
use ntkrs_core::infinite::pointwise;
use ntkrs_core::infinite::recursion::{LayerScales, Output, Recursion};
use ntkrs_core::isa::DefaultFloatEnv;
use ntkrs_core::{Error, Result};
use numpy::{Element, PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;

use crate::arrays::{Batches, Gram, Inputs, Typed, views};
use crate::callable::Spec;
use crate::errors;
use crate::gradient;
use crate::gram::fill;
use crate::ticker::Ticker;

/// Which kernel: "nngp" or "ntk" after a dense layer, or the "part" of that layer in the NTK of the whole network.
type Wanted = (String, usize);

/// Bounds on the errors of Σ and of Θ, besides round-off.
pub(crate) type Bounds = (f64, f64);

/// The NNGP and NTK of a network: `layers` are (σ_w, σ_b, τ_w, τ_b), `activations` (name, parameters) or functions.
#[pyclass(frozen, module = "ntkrs._core")]
pub struct InfiniteKernel {
    pub(crate) recursion: Recursion,
}

#[pymethods]
impl InfiniteKernel {
    #[new]
    fn new(layers: Vec<(f64, f64, f64, f64)>, activations: Vec<Spec>) -> PyResult<Self> {
        let layers = layers
            .into_iter()
            .map(|(sigma_w, sigma_b, tau_w, tau_b)| LayerScales {
                sigma_w,
                sigma_b,
                tau_w,
                tau_b,
            })
            .collect();
        let specs: Result<Vec<_>> = activations.into_iter().map(Spec::activation).collect();
        let recursion = specs.and_then(|activations| Recursion::new(layers, activations));
        recursion
            .map(|recursion| Self { recursion })
            .map_err(errors::to_python)
    }

    /// The bounds between rows of these inputs.
    fn error_bound(
        &self,
        py: Python<'_>,
        inputs: Typed<Batches<'_, f64>, Batches<'_, f32>>,
    ) -> PyResult<Bounds> {
        let _floats = DefaultFloatEnv::enter();
        match inputs {
            Typed::F64(inputs) => self.pack(py, inputs).map(|both| bound(&both.0, &both.1)),
            Typed::F32(inputs) => self.pack(py, inputs).map(|both| bound(&both.0, &both.1)),
        }
    }

    /// For `arrays = (x, z, planes)`: writes the kernels wanted to planes of shape (N, 1, M, 1), and returns the bounds of
    /// `error_bound`.
    fn gram(
        &self,
        py: Python<'_>,
        arrays: Typed<Gram<'_, f64>, Gram<'_, f32>>,
        wanted: Vec<Wanted>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bounds> {
        let outputs = wanted
            .iter()
            .map(|wanted| self.output(wanted))
            .collect::<Result<Vec<_>>>()
            .map_err(errors::to_python)?;
        match arrays {
            Typed::F64(arrays) => self.run(py, arrays, &outputs, Ticker::new(progress)),
            Typed::F32(arrays) => self.run(py, arrays, &outputs, Ticker::new(progress)),
        }
    }

    /// The diagonal of one kernel, in float64 whatever the dtype of `x`.
    fn diag<'py>(
        &self,
        py: Python<'py>,
        x: Typed<Inputs<'py, f64>, Inputs<'py, f32>>,
        wanted: Wanted,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let values = match x {
            Typed::F64(x) => self.diagonal(py, x.as_array(), &wanted),
            Typed::F32(x) => self.diagonal(py, x.as_array(), &wanted),
        };
        values.map(|values| PyArray1::from_vec(py, values))
    }

    /// `K V` for vectors (M, r), without K: (N, r).
    fn multiply<'py>(
        &self,
        py: Python<'py>,
        inputs: Typed<Batches<'py, f64>, Batches<'py, f32>>,
        vectors: PyReadonlyArray2<'py, f64>,
        wanted: Wanted,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let outputs = [self.output(&wanted).map_err(errors::to_python)?];
        let ticker = Ticker::new(progress);
        let product = match inputs {
            Typed::F64(inputs) => self.product(py, inputs, &vectors, &outputs, ticker),
            Typed::F32(inputs) => self.product(py, inputs, &vectors, &outputs, ticker),
        };
        product.map(|product| PyArray2::from_owned_array(py, product))
    }

    /// For `arrays = (x, z, planes)`: the derivatives of each kernel with respect to σ_w of every dense layer, then to
    /// σ_b of every one, to planes of shape (N, 1, M, 1). `follows`: whether τ_w and τ_b of a layer are its σ_w and σ_b.
    /// Returns the bounds of `error_bound`.
    fn gradient(
        &self,
        py: Python<'_>,
        arrays: Typed<Gram<'_, f64>, Gram<'_, f32>>,
        get: Vec<String>,
        follows: Vec<(bool, bool)>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bounds> {
        let _floats = DefaultFloatEnv::enter();
        let wanted = gradient::Wanted::new(self, get, follows).map_err(errors::to_python)?;
        let ticker = Ticker::new(progress);
        match arrays {
            Typed::F64(arrays) => self.fill_gradient(py, arrays, &wanted, ticker),
            Typed::F32(arrays) => self.fill_gradient(py, arrays, &wanted, ticker),
        }
    }

    /// `Σ_ij A_ij ∂K_ij` for weights A (N, M) and the derivatives of [`InfiniteKernel::gradient`], and the bounds of `error_bound`.
    fn contracted_gradient<'py>(
        &self,
        py: Python<'py>,
        inputs: Typed<Batches<'py, f64>, Batches<'py, f32>>,
        weights: PyReadonlyArray2<'py, f64>,
        get: Vec<String>,
        follows: Vec<(bool, bool)>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<(Bound<'py, PyArray1<f64>>, Bounds)> {
        let _floats = DefaultFloatEnv::enter();
        let wanted = gradient::Wanted::new(self, get, follows).map_err(errors::to_python)?;
        let (ticker, weights) = (Ticker::new(progress), weights.as_array());
        let sums = match inputs {
            Typed::F64(inputs) => self.contract_gradient(py, inputs, weights, &wanted, ticker),
            Typed::F32(inputs) => self.contract_gradient(py, inputs, weights, &wanted, ticker),
        };
        sums.map(|(sums, bound)| (PyArray1::from_vec(py, sums), bound))
    }

    /// Σ or Θ of inputs with correlation ρ and `|x|²/n_0 = q`, for each ρ in [−1, 1].
    fn scalar<'py>(
        &self,
        py: Python<'py>,
        rho: PyReadonlyArray1<'py, f64>,
        q: f64,
        wanted: Wanted,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let _floats = DefaultFloatEnv::enter();
        let rho = rho.as_array().to_vec();
        let mut ticker = Ticker::new(None);
        let values = self.output(&wanted).and_then(|output| {
            let mut watch = |done, total| ticker.report(done, total);
            py.detach(|| pointwise::scalar(&self.recursion, &rho, q, output, &mut watch))
        });
        values
            .map(|values| PyArray1::from_vec(py, values))
            .map_err(|error| ticker.exception(error))
    }
}

impl InfiniteKernel {
    fn run<T: Scalar + Element>(
        &self,
        py: Python<'_>,
        (x, z, mut planes): Gram<'_, T>,
        outputs: &[Output],
        mut ticker: Ticker,
    ) -> PyResult<Bounds> {
        let _floats = DefaultFloatEnv::enter();
        let (rows, other) = self.pack(py, (x, z))?;
        let planes = views(&mut planes);
        let result = py.detach(|| {
            let kernel = Infinite::new(
                &self.recursion,
                &rows,
                other.as_ref().unwrap_or(&rows),
                outputs,
            )?;
            fill(&kernel, planes, other.is_none(), &mut ticker)
        });
        result.map_err(|error| ticker.exception(error))?;
        Ok(bound(&rows, &other))
    }

    pub(crate) fn pack<T: Scalar + Element>(
        &self,
        py: Python<'_>,
        (x, z): Batches<'_, T>,
    ) -> PyResult<(inputs::Inputs<T>, Option<inputs::Inputs<T>>)> {
        let pack = |array: &Inputs<'_, T>, argument| Packed::new(array.as_array(), argument);
        let inputs = |packed| inputs::Inputs::new(&self.recursion, packed);
        let z = z.as_ref().map(|z| pack(z, "Z")).transpose();
        let packed = z.and_then(|z| Ok((pack(&x, "X")?, z)));
        let both = packed.and_then(|(x, z)| {
            py.detach(|| {
                let (x, z) = (inputs(x)?, z.map(inputs).transpose()?);
                z.iter().try_for_each(|z| inputs::check_features(&x, z))?;
                Ok((x, z))
            })
        });
        both.map_err(errors::to_python)
    }

    fn product<T: Scalar + Element>(
        &self,
        py: Python<'_>,
        inputs: Batches<'_, T>,
        vectors: &PyReadonlyArray2<'_, f64>,
        outputs: &[Output],
        mut ticker: Ticker,
    ) -> PyResult<Array2<f64>> {
        let _floats = DefaultFloatEnv::enter();
        let (rows, other) = self.pack(py, inputs)?;
        let vectors = vectors.as_array().to_owned();
        let result = py.detach(|| {
            let cols = other.as_ref().unwrap_or(&rows);
            let kernel = Infinite::new(&self.recursion, &rows, cols, outputs)?;
            multiply(
                &kernel,
                other.is_none(),
                vectors.view(),
                &mut |done, total| ticker.report(done, total),
            )
        });
        result.map_err(|error| ticker.exception(error))
    }

    fn diagonal<T: Scalar>(
        &self,
        py: Python<'_>,
        x: ArrayView2<'_, T>,
        wanted: &Wanted,
    ) -> PyResult<Vec<f64>> {
        let _floats = DefaultFloatEnv::enter();
        let mut ticker = Ticker::new(None);
        let values = self.output(wanted).and_then(|output| {
            let packed = Packed::new(x, "X")?;
            let mut watch = |done, total| ticker.report(done, total);
            py.detach(|| {
                let inputs = inputs::Inputs::new(&self.recursion, packed)?;
                pointwise::diagonal(&self.recursion, &inputs, output, &mut watch)
            })
        });
        values.map_err(|error| ticker.exception(error))
    }

    pub(crate) fn output(&self, (name, layer): &Wanted) -> Result<Output> {
        let output = match name.as_str() {
            "nngp" => Output::Nngp(*layer),
            "ntk" => Output::Ntk(*layer),
            "part" => Output::Part(*layer),
            _ => return Err(Error::Invalid(format!("kernel {name:?} is not known"))),
        };
        if *layer < self.recursion.layers() {
            Ok(output)
        } else {
            Err(Error::Invalid(format!("there is no dense layer {layer}")))
        }
    }
}

/// The bounds between rows and others, or themselves.
pub(crate) fn bound<T: Scalar>(
    rows: &inputs::Inputs<T>,
    other: &Option<inputs::Inputs<T>>,
) -> Bounds {
    let other = other.as_ref().map_or(rows.bound(), inputs::Inputs::bound);
    let ErrorBound { nngp, ntk } = rows.bound().max(other);
    (nngp, ntk)
}
