//! Kernels of infinitely wide networks.

use ndarray::ArrayView2;
use ntkrs_core::infinite::{self, Infinite};
use ntkrs_core::isa::DefaultFloats;
use ntkrs_core::recursion::{Affine, Output, Recursion, Trained};
use ntkrs_core::scalar::Scalar;
use ntkrs_core::{Error, Result, catalogue};
use numpy::{Element, PyArray1};
use pyo3::prelude::*;

use crate::arrays::{Gram, Inputs, Typed, views};
use crate::errors;
use crate::gram::fill;
use crate::ticker::Ticker;

/// The NNGP and NTK of a network: `layers` are (sigma_w, sigma_b), `activations` (name, parameters).
#[pyclass(frozen, module = "ntkrs._core")]
pub struct InfiniteKernel {
    recursion: Recursion,
}

#[pymethods]
impl InfiniteKernel {
    #[new]
    fn new(layers: Vec<(f64, f64)>, activations: Vec<(String, Vec<f64>)>) -> PyResult<Self> {
        let layers = layers
            .into_iter()
            .map(|(sigma_w, sigma_b)| Affine {
                sigma_w,
                sigma_b,
                trained: Trained::All,
            })
            .collect();
        catalogue::activations(&activations)
            .and_then(|activations| Recursion::new(layers, activations))
            .map(|recursion| Self { recursion })
            .map_err(errors::to_python)
    }

    /// For `arrays = (x, z, planes)`: writes the kernels named in `get` to planes of shape (N, 1, M, 1).
    fn gram(
        &self,
        py: Python<'_>,
        arrays: Typed<Gram<'_, f64>, Gram<'_, f32>>,
        get: Vec<String>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let outputs = get
            .iter()
            .map(|name| self.output(name))
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
        get: &str,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let values = self.output(get).and_then(|output| match x {
            Typed::F64(x) => self.diagonal(py, x.as_array(), output),
            Typed::F32(x) => self.diagonal(py, x.as_array(), output),
        });
        values
            .map(|values| PyArray1::from_vec(py, values))
            .map_err(errors::to_python)
    }
}

impl InfiniteKernel {
    fn run<T: Scalar + Element>(
        &self,
        py: Python<'_>,
        (x, z, mut planes): Gram<'_, T>,
        outputs: &[Output],
        mut ticker: Ticker,
    ) -> PyResult<()> {
        let _floats = DefaultFloats::enter();
        let pack = |array: &Inputs<'_, T>, argument| {
            infinite::Inputs::new(&self.recursion, array.as_array(), argument)
                .map_err(errors::to_python)
        };
        let rows = pack(&x, "X")?;
        let other = z.as_ref().map(|z| pack(z, "Z")).transpose()?;
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
        result.map_err(|error| ticker.exception(error))
    }

    fn diagonal<T: Scalar>(
        &self,
        py: Python<'_>,
        x: ArrayView2<'_, T>,
        output: Output,
    ) -> Result<Vec<f64>> {
        let _floats = DefaultFloats::enter();
        let inputs = infinite::Inputs::new(&self.recursion, x, "X")?;
        py.detach(|| infinite::diagonal(&self.recursion, &inputs, output))
    }

    fn output(&self, name: &str) -> Result<Output> {
        let last = self.recursion.layers() - 1;
        match name {
            "nngp" => Ok(Output::Nngp(last)),
            "ntk" => Ok(Output::Ntk(last)),
            _ => Err(Error::Invalid(format!(
                "get must be \"nngp\" or \"ntk\", but {name:?} was given"
            ))),
        }
    }
}
