//! Finite networks, validated once.

use std::ops::Range;
use std::sync::Arc;

use ndarray::{ArrayView1, ArrayView2};

use crate::activations::activation::{Activation, Smooth, check_alternation};
use crate::engine::panel::Panels;
use crate::engine::scalar::Scalar;
use crate::engine::tile::product_cycles;
use crate::error::{Error, Result};

/// A dense layer `h = weight_scale · x W + bias_scale · b`, as the caller holds it.
#[derive(Clone, Copy, Debug)]
pub struct Dense<'a, T> {
    /// W, (inputs, outputs).
    pub weights: ArrayView2<'a, T>,
    /// b, (outputs,); `None`: the layer has no biases.
    pub bias: Option<ArrayView1<'a, T>>,
    /// σ_w/√inputs in the NTK parameterization.
    pub weight_scale: f64,
    /// σ_b in the NTK parameterization.
    pub bias_scale: f64,
    /// The scales of derivatives in W and b: the two above, or 0 for what is not trained. That of b may differ, for what
    /// is drawn at one scale and trained at another.
    pub learning_scales: (f64, f64),
}

/// A dense layer, packed both ways.
#[derive(Debug)]
pub struct Layer<T: Scalar> {
    /// Columns of W: one row of `inputs` values per output unit, for the forward pass.
    pub(crate) columns: Panels<T>,
    /// Rows of W: one row of `outputs` values per input unit, for the backward pass.
    pub(crate) rows: Panels<T>,
    /// b, one value per output unit; empty without biases.
    pub(crate) bias: Vec<f64>,
    pub(crate) weight_scale: f64,
    pub(crate) bias_scale: f64,
    /// Of derivatives in W, `weight_scale` or 0, and in b.
    pub(crate) learning_scales: (f64, f64),
}

/// A multilayer perceptron with its parameters: dense layers with activations between them.
#[derive(Debug)]
pub struct Network<T: Scalar> {
    pub(crate) layers: Vec<Layer<T>>,
    pub(crate) activations: Vec<Arc<dyn Activation>>,
}

impl<T: Scalar> Network<T> {
    /// Checks that the layers fit together, and packs them.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the numbers of layers and activations or the shapes of adjacent layers do not match, or weights
    /// are to be trained at another scale;
    /// [`Error::NotFinite`] for parameters that are not finite, [`Error::Memory`].
    pub fn new(layers: &[Dense<'_, T>], activations: Vec<Arc<dyn Activation>>) -> Result<Self> {
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
        let layers = layers
            .iter()
            .enumerate()
            .map(|(index, dense)| Layer::new(index, dense))
            .collect::<Result<_>>()?;
        Ok(Self {
            layers,
            activations,
        })
    }

    /// The network with other parameters: θ as W^0 row-major, b^0, W^1, … Tangent vectors are packed so, too.
    ///
    /// # Errors
    /// [`Error::Shape`] if θ has another length, [`Error::NotFinite`], [`Error::Memory`].
    pub fn with_parameters(&self, theta: &[T]) -> Result<Self> {
        Error::check_shape("theta", &[theta.len()], &[self.parameters()])?;
        let mut rest = theta;
        let mut layers = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
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
                learning_scales: layer.learning_scales,
            };
            layers.push(Layer::new(index, &dense)?);
            rest = after;
        }
        Ok(Self {
            layers,
            activations: self.activations.clone(),
        })
    }

    /// A copy of it, with memory of its own.
    ///
    /// # Errors
    /// [`Error::Memory`].
    pub fn duplicate(&self) -> Result<Self> {
        let layers = self.layers.iter().map(Layer::duplicate);
        Ok(Self {
            layers: layers.collect::<Result<_>>()?,
            activations: self.activations.clone(),
        })
    }

    /// The activation after a layer, if there is one that workers can evaluate.
    pub(crate) fn builtin(&self, layer: usize) -> Option<&dyn Activation> {
        let activation = self.activations.get(layer)?;
        activation.function().is_none().then_some(&**activation)
    }

    /// The activation after a layer, if it is a function of the caller's.
    pub(crate) fn function(&self, layer: usize) -> Option<&dyn Smooth> {
        self.activations.get(layer)?.function()
    }

    /// Whether an activation is a function of the caller's.
    pub(crate) fn has_callable(&self) -> bool {
        (0..self.depth()).any(|layer| self.function(layer).is_some())
    }

    /// Ranges of layers with activations that workers can evaluate, each up to the next function of the caller's. One, if
    /// there is no such function.
    pub(crate) fn stages(&self) -> Vec<Range<usize>> {
        let functions = (0..self.depth()).filter(|layer| self.function(*layer).is_some());
        let mut start = 0;
        let ends = functions.map(|layer| layer + 1).chain([self.depth()]);
        ends.map(|end| std::mem::replace(&mut start, end)..end)
            .collect()
    }

    /// A network of the same layers with `sizes` of inputs, hidden layers and outputs and with other scales of weights,
    /// whose parameters are arbitrary until they are written. The first layer has no rows: only a backward pass to the
    /// inputs would need them.
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
            let (frozen, bias_scale) = (layer.learning_scales.0 == 0.0, layer.learning_scales.1);
            Ok(Layer {
                columns: Panels::unwritten(outputs, inputs)?,
                rows: Panels::unwritten(if index == 0 { 0 } else { inputs }, outputs)?,
                bias: vec![0.0; biases],
                weight_scale,
                learning_scales: (if frozen { 0.0 } else { weight_scale }, bias_scale),
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

    /// About how many cycles of one thread it takes to compute the outputs of so many samples, or to go back.
    pub(crate) fn cycles(&self, samples: usize) -> f64 {
        let layer = |layer: &Layer<T>| product_cycles(layer.inputs() * layer.outputs());
        samples as f64 * self.layers.iter().map(layer).sum::<f64>()
    }

    /// Writes θ: W^0 row-major, b^0, W^1, …
    ///
    /// # Errors
    /// [`Error::Shape`] if `out` has another length.
    pub(crate) fn write_parameters(&self, out: &mut [T]) -> Result<()> {
        Error::check_shape("out", &[out.len()], &[self.parameters()])?;
        let mut rest = out;
        for layer in &self.layers {
            let (weights, after) = rest.split_at_mut(layer.inputs() * layer.outputs());
            for (unit, row) in weights.chunks_exact_mut(layer.outputs()).enumerate() {
                for (output, weight) in row.iter_mut().enumerate() {
                    *weight = layer.columns.value(output, unit);
                }
            }
            let (bias, after) = after.split_at_mut(layer.bias.len());
            bias.iter_mut()
                .zip(&layer.bias)
                .for_each(|(target, value)| *target = T::narrow(*value));
            rest = after;
        }
        Ok(())
    }

    /// Packs a batch of (N, n_0) inputs.
    ///
    /// # Errors
    /// [`Error::Features`] if it has another number of features, [`Error::NotFinite`], [`Error::Memory`].
    pub fn pack(&self, x: ArrayView2<'_, T>, argument: &'static str) -> Result<Panels<T>> {
        self.check_features(argument, x.ncols())?;
        Panels::pack(x, argument)
    }

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
    fn new(index: usize, dense: &Dense<'_, T>) -> Result<Self> {
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
        if ![0.0, dense.weight_scale].contains(&dense.learning_scales.0) {
            let message = format!("weights[{index}] cannot be trained at a scale of its own");
            return Err(Error::Invalid(message));
        }
        Ok(Self {
            columns: Panels::pack(dense.weights.reversed_axes(), "weights")?,
            rows: Panels::pack(dense.weights, "weights")?,
            bias,
            weight_scale: dense.weight_scale,
            bias_scale: dense.bias_scale,
            learning_scales: dense.learning_scales,
        })
    }

    fn duplicate(&self) -> Result<Self> {
        Ok(Self {
            columns: self.columns.duplicate()?,
            rows: self.rows.duplicate()?,
            bias: self.bias.clone(),
            ..*self
        })
    }

    pub(crate) fn inputs(&self) -> usize {
        self.columns.depth()
    }

    pub(crate) fn outputs(&self) -> usize {
        self.columns.rows()
    }

    pub(crate) fn has_bias(&self) -> bool {
        !self.bias.is_empty()
    }

    /// Whether its weights are trained.
    pub(crate) fn trains_weights(&self) -> bool {
        self.learning_scales.0 != 0.0
    }

    /// Whether it has biases that are trained.
    pub(crate) fn trains_bias(&self) -> bool {
        self.has_bias() && self.learning_scales.1 != 0.0
    }

    pub(crate) fn parameters(&self) -> usize {
        self.inputs() * self.outputs() + self.bias.len()
    }
}

/// The biases of a layer of so many units.
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
