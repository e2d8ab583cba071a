//! Networks with parameters: dense layers, packed both ways, and the activations between them.

use std::ops::Range;
use std::sync::Arc;

use ndarray::{ArrayView1, ArrayView2};

use crate::activations::activation::{Activation, Smooth, check_alternation};
use crate::engine::panel::{PanelSlice, Panels};
use crate::engine::pool::{self, Load, Stages, Stop, Watch};
use crate::engine::scalar::Scalar;
use crate::engine::tile::{EDGE, product_cycles};
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

/// A multilayer perceptron with its parameters.
#[derive(Debug)]
pub struct Network<T: Scalar> {
    pub(crate) layers: Vec<Layer<T>>,
    pub(crate) activations: Vec<Arc<dyn Activation>>,
}

impl<T: Scalar> Network<T> {
    /// Checks that the layers fit together, and packs them.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the numbers of layers and activations do not match, adjacent layers do not fit, or the
    /// learning scale of weights is neither their scale nor 0. [`Error::NotFinite`] if a parameter is not finite.
    /// [`Error::Memory`], [`Error::Cancelled`].
    pub fn new(
        layers: &[Dense<'_, T>],
        activations: Vec<Arc<dyn Activation>>,
        watch: &mut Watch<'_>,
    ) -> Result<Self> {
        check_alternation(layers.len(), activations.len())?;
        for (index, pair) in layers.windows(2).enumerate() {
            let (outputs, inputs) = (pair[0].weights.ncols(), pair[1].weights.nrows());
            if outputs != inputs {
                let next = index + 1;
                let message = format!(
                    "weights[{index}] has {outputs} columns, but weights[{next}] has {inputs} rows"
                );
                return Err(Error::Invalid(message));
            }
        }
        Ok(Self {
            layers: Layer::all(layers, watch)?,
            activations,
        })
    }

    /// The same network with parameters θ: W^0 row-major, b^0, W^1, … Tangent vectors are packed in the same way.
    ///
    /// # Errors
    /// [`Error::Shape`] if θ has another length, [`Error::NotFinite`], [`Error::Memory`], [`Error::Cancelled`].
    pub fn with_parameters(&self, theta: &[T], watch: &mut Watch<'_>) -> Result<Self> {
        Error::check_shape("theta", &[theta.len()], &[self.parameters()])?;
        let mut rest = theta;
        let mut layers = Vec::new();
        for layer in &self.layers {
            let shape = (layer.inputs(), layer.outputs());
            let (weights, after) = rest.split_at(shape.0 * shape.1);
            let (bias, after) = after.split_at(layer.bias.len());
            let weights = ArrayView2::from_shape(shape, weights)
                .map_err(|error| Error::Invalid(error.to_string()))?;
            let dense = Dense {
                weights,
                bias: layer.has_bias().then(|| bias.into()),
                weight_scale: layer.weight_scale,
                bias_scale: layer.bias_scale,
                weight_learning_scale: layer.weight_learning_scale,
                bias_learning_scale: layer.bias_learning_scale,
            };
            layers.push(dense);
            rest = after;
        }
        Ok(Self {
            layers: Layer::all(&layers, watch)?,
            activations: self.activations.clone(),
        })
    }

    /// A copy with memory of its own.
    ///
    /// # Errors
    /// [`Error::Memory`], [`Error::Cancelled`].
    pub fn duplicate(&self, watch: &mut Watch<'_>) -> Result<Self> {
        let shares = self.shares();
        let mut stages = Stages::new(watch, &shares);
        let layers = self.layers.iter();
        let layers = layers.map(|layer| stages.next(|watch| layer.duplicate(watch)));
        Ok(Self {
            layers: layers.collect::<Result<_>>()?,
            activations: self.activations.clone(),
        })
    }

    /// The activation after a layer; `None` after the last layer.
    pub(crate) fn activation(&self, layer: usize) -> Option<&dyn Activation> {
        self.activations.get(layer).map(AsRef::as_ref)
    }

    /// The activation after a layer, if workers can evaluate it.
    pub(crate) fn builtin(&self, layer: usize) -> Option<&dyn Activation> {
        let activation = self.activation(layer)?;
        activation.function().is_none().then_some(activation)
    }

    /// The activation after a layer, if it is a user-supplied function.
    pub(crate) fn callable(&self, layer: usize) -> Option<&dyn Smooth> {
        self.activation(layer)?.function()
    }

    /// True if an activation is a user-supplied function.
    pub fn has_callable(&self) -> bool {
        (0..self.depth()).any(|layer| self.callable(layer).is_some())
    }

    /// The layers in consecutive ranges, each of which workers can run: a user-supplied activation ends a range.
    pub(crate) fn stages(&self) -> Vec<Range<usize>> {
        let callables = (0..self.depth()).filter(|layer| self.callable(*layer).is_some());
        let mut start = 0;
        let ends = callables.map(|layer| layer + 1).chain([self.depth()]);
        ends.map(|end| std::mem::replace(&mut start, end)..end)
            .collect()
    }

    /// A network with the same activations and biases, but with `sizes` n_0 … n_L and `weight_scales`.
    ///
    /// Its parameters are arbitrary until they are written. The rows of the first layer are left out: only a backward pass
    /// to the inputs would read them.
    ///
    /// # Errors
    /// [`Error::Memory`].
    ///
    /// # Panics
    /// If the numbers of layers differ.
    pub(crate) fn unwritten(&self, sizes: &[usize], weight_scales: &[f64]) -> Result<Self> {
        assert_eq!(sizes.len(), self.depth() + 1);
        assert_eq!(weight_scales.len(), self.depth());
        let layer = |(index, layer): (usize, &Layer<T>)| {
            let (inputs, outputs) = (sizes[index], sizes[index + 1]);
            let biases = if layer.has_bias() { outputs } else { 0 };
            let weight_scale = weight_scales[index];
            Ok(Layer {
                columns: Panels::unwritten(outputs, inputs)?,
                rows: Panels::unwritten(if index == 0 { 0 } else { inputs }, outputs)?,
                bias: vec![0.0; biases],
                weight_scale,
                weight_learning_scale: if layer.trains_weights() {
                    weight_scale
                } else {
                    0.0
                },
                ..*layer
            })
        };
        let layers = self.layers.iter().enumerate().map(layer);
        Ok(Self {
            layers: layers.collect::<Result<_>>()?,
            activations: self.activations.clone(),
        })
    }

    /// n_0, the number of input features.
    pub fn inputs(&self) -> usize {
        self.layers[0].inputs()
    }

    /// O, the number of outputs.
    pub fn outputs(&self) -> usize {
        self.layers[self.layers.len() - 1].outputs()
    }

    /// L, the number of dense layers.
    pub fn depth(&self) -> usize {
        self.layers.len()
    }

    /// P, the number of parameters.
    pub fn parameters(&self) -> usize {
        self.layers.iter().map(Layer::parameters).sum()
    }

    /// Estimated cycles on one thread of a forward pass, or of a backward pass, over `samples` samples.
    pub(crate) fn cycles(&self, samples: usize) -> f64 {
        let layer = |layer: &Layer<T>| product_cycles(layer.inputs() * layer.outputs());
        samples as f64 * self.layers.iter().map(layer).sum::<f64>()
    }

    /// Writes θ: W^0 row-major, b^0, W^1, …
    ///
    /// # Errors
    /// [`Error::Shape`] if `out` has another length, [`Error::Cancelled`].
    pub(crate) fn write_parameters(&self, out: &mut [T], watch: &mut Watch<'_>) -> Result<()> {
        Error::check_shape("out", &[out.len()], &[self.parameters()])?;
        let shares = self.shares();
        let (mut rest, mut stages) = (out, Stages::new(watch, &shares));
        for layer in &self.layers {
            let (weights, after) = rest.split_at_mut(layer.inputs() * layer.outputs());
            stages.next(|watch| layer.write_weights(weights, watch))?;
            let (bias, after) = after.split_at_mut(layer.bias.len());
            bias.iter_mut()
                .zip(&layer.bias)
                .for_each(|(target, value)| *target = T::narrow(*value));
            rest = after;
        }
        Ok(())
    }

    /// The number of parameters of each layer: its share of a loop over all of them.
    fn shares(&self) -> Vec<f64> {
        let layers = self.layers.iter();
        layers.map(|layer| layer.parameters() as f64).collect()
    }

    /// Packs a batch of (N, n_0) inputs.
    ///
    /// # Errors
    /// [`Error::Features`] if the number of features is not n_0, [`Error::NotFinite`], [`Error::Memory`],
    /// [`Error::Cancelled`].
    pub fn pack(
        &self,
        x: ArrayView2<'_, T>,
        argument: &'static str,
        watch: &mut Watch<'_>,
    ) -> Result<Panels<T>> {
        self.check_features(argument, x.ncols())?;
        Panels::pack(x, argument, watch)
    }

    /// Checks that a batch has n_0 features.
    ///
    /// # Errors
    /// [`Error::Features`] otherwise.
    pub(crate) fn check_features(&self, argument: &'static str, got: usize) -> Result<()> {
        let expected = self.inputs();
        if got == expected {
            return Ok(());
        }
        Err(Error::Features {
            argument,
            got,
            reference: "the network",
            expected,
        })
    }
}

impl<T: Scalar> Layer<T> {
    /// Checks and packs all layers.
    fn all(layers: &[Dense<'_, T>], watch: &mut Watch<'_>) -> Result<Vec<Self>> {
        let share = |dense: &Dense<'_, T>| dense.weights.len() as f64;
        let shares: Vec<_> = layers.iter().map(share).collect();
        let mut stages = Stages::new(watch, &shares);
        let pack = |(index, dense)| stages.next(|watch| Self::new(index, dense, watch));
        layers.iter().enumerate().map(pack).collect()
    }

    /// Checks and packs layer `index`.
    fn new(index: usize, dense: &Dense<'_, T>, watch: &mut Watch<'_>) -> Result<Self> {
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
    fn write_weights(&self, weights: &mut [T], watch: &mut Watch<'_>) -> Result<()> {
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

    fn duplicate(&self, watch: &mut Watch<'_>) -> Result<Self> {
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
