//! Gram matrices of any kernel: the drivers, detached.

use ndarray::ArrayViewMut4;
use ntkrs_core::Result;
use ntkrs_core::engine::gram;
use ntkrs_core::engine::linear::Linear;
use ntkrs_core::engine::panel::Panels;
use ntkrs_core::engine::scalar::Scalar;
use ntkrs_core::engine::tile::TileKernel;
use ntkrs_core::isa::DefaultFloatEnv;
use numpy::Element;
use pyo3::prelude::*;

use crate::arrays::{Symmetric, Typed, views};
use crate::errors;
use crate::ticker::Ticker;

/// Fills `planes` with a kernel, reporting progress.
pub fn fill<T: Scalar, K: TileKernel>(
    kernel: &K,
    planes: Vec<ArrayViewMut4<'_, T>>,
    symmetric: bool,
    ticker: &mut Ticker,
) -> Result<()> {
    let mut watch = |done, total| ticker.report(done, total);
    if symmetric {
        gram::symmetric(kernel, planes, &mut watch)
    } else {
        gram::rectangular(kernel, planes, &mut watch)
    }
}

/// `planes[0][i, 0, j, 0] = ⟨x_i, x_j⟩` for `arrays = (x, planes)`: the engine alone, for benchmarks and tests of it.
#[pyfunction]
pub fn linear_gram(
    py: Python<'_>,
    arrays: Typed<Symmetric<'_, f64>, Symmetric<'_, f32>>,
) -> PyResult<()> {
    match arrays {
        Typed::F64(arrays) => run_linear(py, arrays),
        Typed::F32(arrays) => run_linear(py, arrays),
    }
}

fn run_linear<T: Scalar + Element>(
    py: Python<'_>,
    (x, mut planes): Symmetric<'_, T>,
) -> PyResult<()> {
    let _floats = DefaultFloatEnv::enter();
    let rows = Panels::pack(x.as_array(), "X").map_err(errors::to_python)?;
    let mut ticker = Ticker::new(None);
    let kernel = Linear {
        rows: &rows,
        cols: &rows,
    };
    let planes = views(&mut planes);
    let result = py.detach(|| fill(&kernel, planes, true, &mut ticker));
    result.map_err(|error| ticker.exception(error))
}
