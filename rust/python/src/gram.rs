//! Gram matrices: the function that fills planes with any kernel, and the linear kernel.

use ndarray::ArrayViewMut4;
use ntkrs_core::engine::gram;
use ntkrs_core::engine::linear::Linear;
use ntkrs_core::engine::panel::Panels;
use ntkrs_core::engine::pool::Watch;
use ntkrs_core::engine::scalar::Scalar;
use ntkrs_core::engine::tile::TileKernel;
use numpy::Element;
use pyo3::prelude::*;

use crate::arrays::{SymmetricGram, Typed, in_dtype, views};
use crate::call::Call;
use crate::errors::Result;

/// Fills `planes` with a kernel, and reports progress. If `symmetric`, the kernel's rows and columns are the same inputs,
/// and only half of it is computed.
///
/// # Errors
/// As [`gram::symmetric`] and [`gram::rectangular`].
pub fn fill<T: Scalar, K: TileKernel>(
    kernel: &K,
    planes: Vec<ArrayViewMut4<'_, T>>,
    symmetric: bool,
    watch: &mut Watch<'_>,
) -> ntkrs_core::Result<()> {
    if symmetric {
        gram::symmetric(kernel, planes, watch)
    } else {
        gram::rectangular(kernel, planes, watch)
    }
}

/// Writes `⟨x_i, x_j⟩` to `planes[0][i, 0, j, 0]`, for `arrays = (x, planes)`. This measures the engine alone, without a
/// network.
#[pyfunction]
pub fn linear_gram(
    py: Python<'_>,
    arrays: Typed<SymmetricGram<'_, f64>, SymmetricGram<'_, f32>>,
) -> Result<()> {
    in_dtype!(arrays, |arrays| linear(py, arrays))
}

fn linear<T: Scalar + Element>(
    py: Python<'_>,
    (x, mut planes): SymmetricGram<'_, T>,
) -> Result<()> {
    let mut call = Call::enter(py, None);
    let rows = call.read(|watch| Panels::pack(x.as_array(), "X", watch))?;
    let planes = views(&mut planes);
    call.detach(0.0, |watch| {
        let (rows, cols) = (&rows, &rows);
        fill(&Linear { rows, cols }, planes, true, watch)
    })
}
