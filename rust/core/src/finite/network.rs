//! Networks with parameters: dense layers, and the activations between them.

use std::ops::Range;
use std::sync::Arc;

use ndarray::ArrayView2;

use crate::activations::activation::{Activation, Smooth, check_alternation};
use crate::engine::panel::Panels;
use crate::engine::pool::{Stages, Watch};
use crate::engine::scalar::Scalar;
use crate::engine::tile::product_cycles;
use crate::error::{Error, Result};
pub use crate::finite::layer::Dense;
use crate::finite::layer::Layer;

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
    /// [`Error::Invalid`] if the numbers of layers and activations do not match, adjacent layers do not fit, the learning
    /// scale of weights is neither their scale nor 0, or a user-supplied activation has no derivative.
    /// [`Error::NotFinite`] if a parameter is not finite. [`Error::Memory`], [`Error::Cancelled`].
    pub fn new(
        layers: &[Dense<'_, T>],
        activations: Vec<Arc<dyn Activation>>,
        watch: &mut Watch<'_>,
    ) -> Result<Self> {
        check_alternation(layers.len(), activations.len())?;
        let functions = activations
            .iter()
            .filter_map(|activation| activation.function());
        if let Some(function) = functions
            .into_iter()
            .find(|function| !function.has_slopes())
        {
            let message = format!("{function:?} has no derivative, which finite networks need");
            return Err(Error::Invalid(message));
        }
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
