//! The empirical NTK of any network, layer by layer, from activations and gradients.

use ntkrs_core::Error;
use ntkrs_core::engine::panel::Panels;
use ntkrs_core::engine::pool::{STEPS, Stages};
use ntkrs_core::engine::scalar::Scalar;
use ntkrs_core::finite::pairs::{Entering, LayerBatch, Leaving, PairForm, PairTerm, add_layer};
use numpy::{Element, PyReadonlyArray1, PyReadonlyArray4};
use pyo3::prelude::*;

use crate::arrays::{Planes, Typed, in_dtype, views};
use crate::call::Call;
use crate::errors::Result;
use crate::ticker::Progress;

/// The values that enter a layer: (N, 1, T, n) or (N, 1, n, T), or the indices (N·T,) of rows of a table.
#[derive(FromPyObject)]
pub enum Values<'py, T: Element> {
    Numbers(PyReadonlyArray4<'py, T>),
    Indices(PyReadonlyArray1<'py, i64>),
}

/// The values that enter a layer, if any, and the gradients of each plane, (N, S, T, m) or (N, S, m, T).
type Batch<'py, T> = (Option<Values<'py, T>>, Vec<PyReadonlyArray4<'py, T>>);

/// Two batches. A missing second one is the first.
type Layer<'py, T> = (Batch<'py, T>, Option<Batch<'py, T>>);

/// Adds the kernel of a layer to planes (N, S, M, S) of float64, for `arrays = (rows, cols)`. Each batch is
/// `(values, gradients)`. `scales` are the factor of the kernel, and 1 for a layer with biases, else 0. With `gradients`,
/// the arrays have tokens along their last axis, and the kernel is that of gradients of the weights. `part` is the number
/// of this layer, and that of all layers.
#[pyfunction]
pub fn add_layer_kernel(
    py: Python<'_>,
    arrays: Typed<Layer<'_, f64>, Layer<'_, f32>>,
    planes: Planes<'_, f64>,
    scales: (f64, f64),
    gradients: bool,
    part: (usize, usize),
    progress: Progress,
) -> Result<()> {
    let form = if gradients {
        PairForm::Gradients
    } else {
        PairForm::Tokens
    };
    let (factor, bias) = scales;
    let term = PairTerm { form, factor, bias };
    let call = Call::part(py, progress, part.0 * STEPS, part.1 * STEPS);
    in_dtype!(arrays, |arrays| add(call, &arrays, planes, term))
}

fn add<T: Scalar + Element>(
    mut call: Call<'_>,
    (rows, cols): &Layer<'_, T>,
    mut planes: Planes<'_, f64>,
    term: PairTerm,
) -> Result<()> {
    let rows = pack(&mut call, rows, term.form)?;
    let cols = cols
        .as_ref()
        .map(|cols| pack(&mut call, cols, term.form))
        .transpose()?;
    let planes = views(&mut planes);
    let cycles = term.cycles(&rows, cols.as_ref().unwrap_or(&rows));
    call.detach(cycles, |watch| {
        // The progress of a stage is counted in steps.
        Stages::new(watch, &[1.0])
            .next(|watch| add_layer(term, &rows, cols.as_ref(), planes, watch))
    })
}

/// Copies a batch.
fn pack<T: Scalar + Element>(
    call: &mut Call<'_>,
    (values, gradients): &Batch<'_, T>,
    form: PairForm,
) -> Result<LayerBatch<T>> {
    let mut packed = |array: &PyReadonlyArray4<'_, T>, argument| {
        call.read(|watch| Panels::pack_merged(&array.as_array(), argument, watch))
    };
    let entering = match values {
        None => Entering::Nothing,
        Some(Values::Numbers(values)) => Entering::Values(packed(values, "A")?),
        Some(Values::Indices(indices)) => Entering::Indices(indices.as_array().to_vec()),
    };
    let planes = gradients.iter().map(|gradients| packed(gradients, "G"));
    let planes = planes.collect::<Result<Vec<_>>>()?;
    let Some(first) = gradients.first() else {
        return Err(Error::Invalid("a layer without gradients".into()).into());
    };
    let (samples, directions, third, fourth) = first.as_array().dim();
    let tokens = if form == PairForm::Tokens {
        third
    } else {
        fourth
    };
    Ok(LayerBatch {
        entering,
        leaving: Leaving {
            planes,
            directions,
            tokens,
        },
        samples,
    })
}
