//! The forward pass: bands of samples through all layers. Each layer's output is stored as the next layer's panels.
//!
//! ```text
//! h^{l+1} = weight scale · x^l W^l + bias scale · b^l,    x^l = φ(h^l),    x^0 = x,    f(x) = h^L
//! ```
//!
//! Layers run in stages, and each stage in bands of samples, one worker per band (`step`: one layer on one band). A
//! user-supplied activation ends a stage, since only the calling thread may call it (`callable`).

mod callable;
mod step;

use std::ops::Range;

use ndarray::ArrayViewMut2;

use crate::engine::panel::{PanelSlice, Panels, bands_mut};
use crate::engine::pool::{self, AllFinite, Load, Stages, Stop, Watch};
use crate::engine::scalar::Scalar;
use crate::error::{Error, Result};
use crate::finite::layer::Layer;
use crate::finite::network::Network;
use callable::apply;
pub(crate) use step::{BandScratch, DenseStep, LayerOutput, Precomputed, store_unit};

/// The values of a forward pass that the backward pass and the kernels use.
#[derive(Debug)]
pub struct ForwardPass<T: Scalar> {
    /// `x^0 … x^{L−1}`, the inputs of the dense layers.
    pub(crate) inputs: Vec<Panels<T>>,
    /// `φ'(h^1) … φ'(h^{L−1})`.
    pub(crate) slopes: Vec<Panels<T>>,
    /// `h^L`, the network's outputs.
    pub(crate) outputs: Panels<T>,
}

/// Runs the network on (N, n_0) inputs. 2·N·P flops; keeps 2·N values per hidden unit.
///
/// User-supplied activations are called between the stages of the network, on this thread.
///
/// # Errors
/// [`Error::Features`] if the inputs do not fit the network, [`Error::TooLarge`], [`Error::Memory`], [`Error::Cancelled`],
/// [`Error::Function`].
pub fn forward<T: Scalar>(
    network: &Network<T>,
    x: Panels<T>,
    watch: &mut Watch<'_>,
) -> Result<ForwardPass<T>> {
    network.check_features("X", x.depth())?;
    let hidden = network.depth() - 1;
    let mut values = Layer::unwritten_outputs(&network.layers, x.rows())?;
    let mut slopes = Layer::unwritten_outputs(&network.layers[..hidden], x.rows())?;
    let share = |layers: &Range<usize>| layers.len() as f64;
    let shares: Vec<_> = network.stages().iter().map(share).collect();
    let mut stages = Stages::new(watch, &shares);
    for layers in network.stages() {
        let (before, after) = values.split_at_mut(layers.start);
        let stage = Stage {
            inputs: before.last().unwrap_or(&x),
            values: &mut after[..layers.len()],
            slopes: &mut slopes[layers.start..layers.end.min(hidden)],
            layers,
        };
        stages.next(|watch| stage.run(network, watch))?;
    }
    let outputs = values.remove(hidden);
    values.insert(0, x);
    Ok(ForwardPass {
        inputs: values,
        slopes,
        outputs,
    })
}

/// The forward pass of the whole batch, if an activation is user-supplied: workers, which must not call it, then copy from
/// this pass. `None` otherwise.
///
/// # Errors
/// As [`forward`].
pub(crate) fn forward_if_callable<T: Scalar>(
    network: &Network<T>,
    x: &Panels<T>,
    watch: &mut Watch<'_>,
) -> Result<Option<ForwardPass<T>>> {
    if network.has_callable() {
        let mut stages = Stages::new(watch, &[0.0, 1.0]);
        let x = stages.next(|watch| x.duplicate(watch))?;
        stages.next(|watch| forward(network, x, watch)).map(Some)
    } else {
        Ok(None)
    }
}

impl<T: Scalar> ForwardPass<T> {
    /// Copies the network's outputs to an (N, O) array.
    ///
    /// # Errors
    /// [`Error::Shape`] if the array has another shape.
    pub fn write_outputs(&self, out: ArrayViewMut2<'_, T>) -> Result<()> {
        let expected = [self.outputs.rows(), self.outputs.depth()];
        Error::check_shape("out", out.shape(), &expected)?;
        write_rows(&self.outputs, out);
        Ok(())
    }

    /// Copies the pre-activations `h^{l+1}` and the activations `x^{l+1} = φ(h^{l+1})` of hidden layer l to arrays
    /// (N, n_{l+1}). The pre-activations are computed again, since a pass does not keep them.
    ///
    /// # Errors
    /// [`Error::Shape`] if an array has another shape; otherwise as [`forward`].
    ///
    /// # Panics
    /// If there is no such layer.
    pub fn write_hidden(
        &self,
        network: &Network<T>,
        layer: usize,
        [pre, post]: [ArrayViewMut2<'_, T>; 2],
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let activations = &self.inputs[layer + 1];
        let expected = [activations.rows(), activations.depth()];
        Error::check_shape("post", post.shape(), &expected)?;
        write_rows(activations, post);
        let mut stages = Stages::new(watch, &[0.1, 0.1, 1.0]);
        let alone = Network {
            layers: vec![stages.next(|watch| network.layers[layer].duplicate(watch))?],
            activations: Vec::new(),
        };
        let inputs = stages.next(|watch| self.inputs[layer].duplicate(watch))?;
        stages
            .next(|watch| forward(&alone, inputs, watch))?
            .write_outputs(pre)
    }

    /// The number of samples.
    pub(crate) fn samples(&self) -> usize {
        self.outputs.rows()
    }

    /// The results of a hidden layer for some samples; `None` for the last layer.
    pub(crate) fn precomputed(
        &self,
        layer: usize,
        samples: &Range<usize>,
    ) -> Option<Precomputed<'_, T>> {
        let (values, slopes) = (self.inputs.get(layer + 1)?, self.slopes.get(layer)?);
        Some(Precomputed {
            values: values.of_rows(samples),
            slopes: slopes.of_rows(samples),
        })
    }
}

/// Consecutive layers that workers can run, up to a user-supplied activation or the last layer.
struct Stage<'a, T: Scalar> {
    layers: Range<usize>,
    /// The first layer's inputs, one row per sample.
    inputs: &'a Panels<T>,
    /// The output of each layer: x, or h of the network's last layer and before a user-supplied activation.
    values: &'a mut [Panels<T>],
    /// φ' of each layer that an activation follows.
    slopes: &'a mut [Panels<T>],
}

impl<T: Scalar> Stage<'_, T> {
    /// Runs the layers on all samples, then the user-supplied activation at their end, if there is one.
    fn run(mut self, network: &Network<T>, watch: &mut Watch<'_>) -> Result<()> {
        let (samples, layers) = (self.inputs.rows(), self.layers.clone());
        let bands = self.bands()?;
        let load = Load::new(bands.len(), network.cycles(samples));
        let finite = AllFinite::new();
        let work = |scratch: &mut BandScratch, band: ForwardBand<'_, T>, stop: &Stop| {
            finite.record(band.run(network, layers.clone(), scratch, stop));
        };
        let callable = network.callable(layers.end - 1);
        let shares = [1.0, f64::from(u8::from(callable.is_some()))];
        let mut stages = Stages::new(watch, &shares);
        let bands = bands.into_iter();
        stages.next(|watch| pool::for_each(bands, load, watch, BandScratch::default, work))?;
        finite.check(too_large::<T>)?;
        match (callable, self.values.last_mut(), self.slopes.last_mut()) {
            (Some(function), Some(values), Some(slopes)) => {
                stages.next(|watch| apply(function, values, slopes, watch))
            }
            _ => Ok(()),
        }
    }

    /// Cuts the samples into bands.
    fn bands(&mut self) -> Result<Vec<ForwardBand<'_, T>>> {
        let samples = self.inputs.rows();
        let panels = band_panels::<T>(samples, 1)?;
        let size = panels * Panels::<T>::LANES;
        let inputs = self.inputs.all().chunks(panels);
        let values = bands_mut(self.values.iter_mut(), panels);
        let mut slopes = bands_mut(self.slopes.iter_mut(), panels).into_iter();
        let bands = inputs.zip(values).enumerate();
        let band = |(band, (inputs, values))| ForwardBand {
            inputs,
            samples: size.min(samples - band * size),
            values,
            slopes: slopes.next().unwrap_or_default(),
        };
        Ok(bands.map(band).collect())
    }
}

/// A band of samples in every layer of a stage, written by one worker.
struct ForwardBand<'a, T: Scalar> {
    inputs: PanelSlice<'a, T>,
    samples: usize,
    /// The lines of [`Stage::values`].
    values: Vec<&'a mut [T::Line]>,
    /// The lines of [`Stage::slopes`].
    slopes: Vec<&'a mut [T::Line]>,
}

impl<T: Scalar> ForwardBand<'_, T> {
    /// Runs the layers of a stage. Returns true if all values are finite.
    fn run(
        mut self,
        network: &Network<T>,
        layers: Range<usize>,
        scratch: &mut BandScratch,
        stop: &Stop,
    ) -> bool {
        let mut finite = true;
        for (index, layer) in network.layers[layers.clone()].iter().enumerate() {
            let (before, after) = self.values.split_at_mut(index);
            let input = match before.last() {
                None => self.inputs,
                Some(lines) => PanelSlice::new(lines, layer.inputs(), self.inputs.isa()),
            };
            let step = DenseStep {
                layer,
                activation: network.builtin(layers.start + index),
                input,
                samples: self.samples,
                precomputed: None,
            };
            let target = LayerOutput {
                values: after[0],
                slopes: self.slopes.get_mut(index).map(AsMut::as_mut),
            };
            finite &= step.run(target, scratch, stop);
        }
        finite
    }
}

/// The most rows in a band: what a worker computes from one tile of weights then stays in L2.
const BAND: usize = 128;

/// The number of panels of samples in a band, small enough that every thread gets a band.
///
/// # Errors
/// As [`pool::num_threads`].
pub(crate) fn band_panels<T: Scalar>(samples: usize, rows_per_sample: usize) -> Result<usize> {
    let most = (BAND / Panels::<T>::LANES / rows_per_sample).max(1);
    let (panels, threads) = (samples.div_ceil(Panels::<T>::LANES), pool::num_threads()?);
    // The time of the busiest thread. Each band reads all weights, which costs as much as one more panel.
    let time = |size: &usize| panels.div_ceil(*size).div_ceil(threads) * (size + 1);
    Ok((1..=most).rev().min_by_key(time).unwrap_or(most))
}

/// The input of a layer for the first `samples` samples: the output of the last of the layers before it, or x.
pub(crate) fn layer_input<'a, T: Scalar>(
    before: &'a [Panels<T>],
    x: PanelSlice<'a, T>,
    samples: usize,
) -> PanelSlice<'a, T> {
    before
        .last()
        .map_or(x, |values| values.of_rows(&(0..samples)))
}

/// Copies rows to an array of the same shape.
pub(crate) fn write_rows<T: Scalar>(rows: &Panels<T>, mut out: ArrayViewMut2<'_, T>) {
    for (sample, mut target) in out.rows_mut().into_iter().enumerate() {
        for (unit, value) in target.iter_mut().enumerate() {
            *value = rows.value(sample, unit);
        }
    }
}

/// Reports activations that exceed the storage type.
pub(crate) fn too_large<T: Scalar>() -> Error {
    Error::TooLarge {
        what: "an activation of the network",
        dtype: T::NAME,
    }
}
