//! Dense layers, packed both ways.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayView2};

use crate::engine::panel::{PanelSlice, Panels};
use crate::engine::pool::{self, Load, Stages, Stop, Watch};
use crate::engine::scalar::Scalar;
use crate::engine::tile::EDGE;
use crate::error::{Error, Result};

/// A dense layer `h = weight_scale · x W + bias_scale · b`, in arrays of the caller.
#[derive(Clone, Copy, Debug)]
pub struct Dense<'a, T> {
    /// W, (inputs, outputs).
    pub weights: ArrayView2<'a, T>,
    /// b, (outputs,), or `None` for a layer without biases.
    pub bias: Option<ArrayView1<'a, T>>,
    /// σ_w/√inputs in the NTK parameterization.
    pub weight_scale: f64,
    /// σ_b in the NTK parameterization.
    pub bias_scale: f64,
    /// The scale of derivatives in W: `weight_scale`, or 0 if W is not trained.
    pub weight_learning_scale: f64,
    /// The scale of derivatives in b: 0 if b is not trained. It differs from `bias_scale` if biases are drawn at one
    /// scale and trained at another.
    pub bias_learning_scale: f64,
}

/// A dense layer, packed by columns and by rows.
#[derive(Debug)]
pub struct Layer<T: Scalar> {
    /// Columns of W, for the forward pass: one row of `inputs` values per output unit.
    pub(crate) columns: Panels<T>,
    /// Rows of W, for the backward pass: one row of `outputs` values per input unit.
    pub(crate) rows: Panels<T>,
    /// b, one value per output unit. Empty for a layer without biases.
    pub(crate) bias: Vec<f64>,
    pub(crate) weight_scale: f64,
    pub(crate) bias_scale: f64,
    /// The scale of derivatives in W: `weight_scale`, or 0 if W is not trained.
    pub(crate) weight_learning_scale: f64,
    /// The scale of derivatives in b: 0 if b is not trained.
    pub(crate) bias_learning_scale: f64,
}

impl<T: Scalar> Layer<T> {
    /// Checks and packs all layers.
    pub(super) fn all(layers: &[Dense<'_, T>], watch: &mut Watch<'_>) -> Result<Vec<Self>> {
        let share = |dense: &Dense<'_, T>| dense.weights.len() as f64;
        let shares: Vec<_> = layers.iter().map(share).collect();
        let mut stages = Stages::new(watch, &shares);
        let pack = |(index, dense)| stages.next(|watch| Self::new(index, dense, watch));
        layers.iter().enumerate().map(pack).collect()
    }

    /// Checks and packs layer `index`.
    pub(super) fn new(index: usize, dense: &Dense<'_, T>, watch: &mut Watch<'_>) -> Result<Self> {
        let (inputs, outputs) = dense.weights.dim();
        if inputs == 0 || outputs == 0 {
            let message = format!(
                "weights[{index}] has shape ({inputs}, {outputs}), but both must be at least 1"
            );
            return Err(Error::Invalid(message));
        }
        let bias = match dense.bias {
            Some(values) => checked_bias(index, values, outputs)?,
            None => Vec::new(),
        };
        if ![0.0, dense.weight_scale].contains(&dense.weight_learning_scale) {
            let message = format!("weights[{index}] cannot be trained at a scale of its own");
            return Err(Error::Invalid(message));
        }
        let (weights, columns) = (dense.weights, dense.weights.reversed_axes());
        let mut stages = Stages::new(watch, &[1.0, 1.0]);
        Ok(Self {
            columns: stages.next(|watch| Panels::pack(columns, "weights", watch))?,
            rows: stages.next(|watch| Panels::pack(weights, "weights", watch))?,
            bias,
            weight_scale: dense.weight_scale,
            bias_scale: dense.bias_scale,
            weight_learning_scale: dense.weight_learning_scale,
            bias_learning_scale: dense.bias_learning_scale,
        })
    }

    /// Writes W, row-major.
    pub(super) fn write_weights(&self, weights: &mut [T], watch: &mut Watch<'_>) -> Result<()> {
        let outputs = self.outputs();
        let rows = weights.chunks_exact_mut(outputs).enumerate();
        let load = Load::new(self.inputs(), 8.0 * (self.inputs() * outputs) as f64);
        let write = |(): &mut (), (unit, row): (usize, &mut [T]), _: &Stop| {
            for (output, weight) in row.iter_mut().enumerate() {
                *weight = self.columns.value(output, unit);
            }
        };
        pool::for_each(rows, load, watch, || (), write)
    }

    /// A copy with memory of its own.
    pub(super) fn duplicate(&self, watch: &mut Watch<'_>) -> Result<Self> {
        let mut stages = Stages::new(watch, &[1.0, 1.0]);
        Ok(Self {
            columns: stages.next(|watch| self.columns.duplicate(watch))?,
            rows: stages.next(|watch| self.rows.duplicate(watch))?,
            bias: self.bias.clone(),
            ..*self
        })
    }

    /// A (rows, outputs) matrix for each layer, arbitrary until it is written.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub(crate) fn unwritten_outputs(layers: &[Self], rows: usize) -> Result<Vec<Panels<T>>> {
        layers
            .iter()
            .map(|layer| Panels::unwritten(rows, layer.outputs()))
            .collect()
    }

    /// The number of input units.
    pub(crate) fn inputs(&self) -> usize {
        self.columns.depth()
    }

    /// The number of output units.
    pub(crate) fn outputs(&self) -> usize {
        self.columns.rows()
    }

    /// True if the layer has biases.
    pub(crate) fn has_bias(&self) -> bool {
        !self.bias.is_empty()
    }

    /// True if the weights are trained.
    pub(crate) fn trains_weights(&self) -> bool {
        self.weight_learning_scale != 0.0
    }

    /// True if the layer has biases and they are trained.
    pub(crate) fn trains_bias(&self) -> bool {
        self.has_bias() && self.bias_learning_scale != 0.0
    }

    /// The number of weights and biases.
    pub(crate) fn parameters(&self) -> usize {
        self.inputs() * self.outputs() + self.bias.len()
    }
}

/// Cuts packed units into chunks of [`EDGE`], the rows of an output tile. Yields the units and the panels of each chunk.
pub(crate) fn unit_chunks<T: Scalar>(
    units: &Panels<T>,
) -> impl Iterator<Item = (Range<usize>, PanelSlice<'_, T>)> {
    let count = units.rows();
    let chunks = units.all().chunks(EDGE / Panels::<T>::LANES).enumerate();
    chunks.map(move |(chunk, panels)| {
        let start = chunk * EDGE;
        (start..count.min(start + EDGE), panels)
    })
}

/// Checks the biases of layer `index`, which has `units` output units.
fn checked_bias<T: Scalar>(
    index: usize,
    values: ArrayView1<'_, T>,
    units: usize,
) -> Result<Vec<f64>> {
    let got = values.len();
    if got != units {
        let message =
            format!("biases[{index}] has {got} entries, but weights[{index}] has {units} columns");
        return Err(Error::Invalid(message));
    }
    let bias: Vec<f64> = values.iter().map(|value| value.widen()).collect();
    match bias.iter().position(|value| !value.is_finite()) {
        None => Ok(bias),
        Some(column) => Err(Error::NotFinite {
            argument: "biases",
            row: index,
            column,
            value: bias[column],
        }),
    }
}
