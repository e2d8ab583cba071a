//! Forward and backward pass over a batch, in bands, keeping only the factors of the weight gradients:
//!
//! ```text
//! ∂/∂W^l_ij Σ_samples ⟨u, f⟩ = weight scale · Σ_samples x^l_i δ^{l+1}_j,    δ^L = u
//! ```
//!
//! This is a product over samples, so x^l and δ^{l+1} are kept with one row per unit. The values of a sample do not depend
//! on its band, and sums over samples run in their order. So the number of threads does not change a bit.

use std::ops::Range;

use crate::engine::panel::{PanelSlice, Panels, bands_mut, columns_mut};
use crate::engine::pool::{self, Load, Stop, Watch};
use crate::engine::scalar::{Line, Scalar};
use crate::error::{Error, Result};
use crate::finite::backward::{BackwardStep, BandSlopes};
use crate::finite::forward::{
    BandScratch, DenseStep, ForwardPass, LayerOutput, band_panels, forward_if_callable, layer_input,
};
use crate::finite::layer::Layer;
use crate::finite::network::Network;
use crate::isa::Isa;

/// A batch, and the memory for repeated forward and backward passes over it.
#[derive(Debug)]
pub(crate) struct BatchPass<T: Scalar> {
    /// x, one row per sample.
    x: Panels<T>,
    /// `x^0 … x^{L−1}`, one row per unit.
    inputs: Vec<Panels<T>>,
    /// `δ^1 … δ^L`, one row per unit.
    deltas: Vec<Panels<T>>,
    /// `h^L`, one row per sample.
    pub(crate) outputs: Panels<T>,
    /// The loss of each sample, as returned by its seed. NaN for all samples of a band whose activations are not finite.
    pub(crate) losses: Vec<f64>,
    /// The number of panels of samples in a band.
    band: usize,
    /// One element per thread.
    scratch: Vec<Scratch<T>>,
}

impl<T: Scalar> BatchPass<T> {
    /// Allocates the memory for a batch of (N, n_0) inputs, N >= 1.
    ///
    /// # Errors
    /// [`Error::Features`] if the batch does not fit the network, [`Error::Memory`], [`Error::Cancelled`].
    pub(crate) fn new(network: &Network<T>, x: Panels<T>, watch: &mut Watch<'_>) -> Result<Self> {
        network.check_features("X", x.depth())?;
        let (samples, layers) = (x.rows(), network.layers.iter());
        let band = band_panels::<T>(samples, 1)?;
        let inputs = layers.clone();
        let inputs = inputs.map(|layer| Panels::unwritten(layer.inputs(), samples));
        let mut inputs = inputs.collect::<Result<Vec<_>>>()?;
        let columns = inputs[0].chunks_mut(1).enumerate();
        let load = Load::new(columns.len(), (samples * x.depth()) as f64);
        let transpose = |(): &mut (), (panel, target): (usize, &mut [T::Line]), _: &Stop| {
            x.all().transpose(panel, target);
        };
        pool::for_each(columns, load, watch, || (), transpose)?;
        let deltas = layers.map(|layer| Panels::unwritten(layer.outputs(), samples));
        let scratch =
            (0..pool::num_threads()?).map(|_| Scratch::new(network, band * Panels::<T>::LANES));
        Ok(Self {
            inputs,
            deltas: deltas.collect::<Result<_>>()?,
            outputs: Panels::unwritten(samples, network.outputs())?,
            losses: vec![0.0; samples],
            band,
            scratch: scratch.collect::<Result<_>>()?,
            x,
        })
    }

    /// The number of samples.
    pub(crate) fn samples(&self) -> usize {
        self.x.rows()
    }

    /// The instruction set in use.
    pub(crate) fn isa(&self) -> Isa {
        self.x.all().isa()
    }

    /// Runs all samples forward and backward. `seed(sample, values)` replaces the outputs of a sample by its `δ^L`, and
    /// returns its share of the loss.
    ///
    /// # Errors
    /// [`Error::Cancelled`], [`Error::Function`].
    pub(crate) fn run(
        &mut self,
        network: &Network<T>,
        seed: impl Fn(usize, &mut [f64]) -> f64 + Sync,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let (samples, size) = (self.samples(), self.band * Panels::<T>::LANES);
        let precomputed = match forward_if_callable(network, &self.x, watch) {
            Err(Error::TooLarge { .. }) => {
                self.losses.fill(f64::NAN);
                return Ok(());
            }
            pass => pass?,
        };
        let mut inputs = columns_mut(&mut self.inputs[1..], size).into_iter();
        let deltas = columns_mut(&mut self.deltas, size);
        let outputs = bands_mut([&mut self.outputs].into_iter(), self.band);
        let losses = self.losses.chunks_mut(size);
        let written = deltas
            .into_iter()
            .zip(outputs.into_iter().flatten())
            .zip(losses);
        let bands = self.x.all().chunks(self.band).zip(written).enumerate();
        let bands = bands.map(|(band, (x, ((deltas, outputs), losses)))| BatchBand {
            samples: band * size..samples.min((band + 1) * size),
            x,
            inputs: inputs.next().unwrap_or_default(),
            deltas,
            outputs,
            losses,
            precomputed: precomputed.as_ref(),
        });
        let work = |scratch: &mut Scratch<T>, band: BatchBand<'_, T>, stop: &Stop| {
            band.run(network, &seed, scratch, stop);
        };
        let cycles = 2.0 * network.cycles(samples);
        pool::for_each_with(&mut self.scratch, bands, cycles, watch, work)
    }

    /// True if a layer is the last of several: its biases alone can change outputs that depend on no input any more.
    pub(crate) fn is_read_out(&self, layer: usize) -> bool {
        layer > 0 && layer + 1 == self.deltas.len()
    }

    /// `x^l` and `δ^{l+1}` of a layer, one row per unit. The products of these rows, times the weight scale, are the
    /// gradient of its weights.
    pub(crate) fn factors(&self, layer: usize) -> (&Panels<T>, &Panels<T>) {
        (&self.inputs[layer], &self.deltas[layer])
    }
}

/// A band of samples, written by one worker.
struct BatchBand<'a, T: Scalar> {
    samples: Range<usize>,
    x: PanelSlice<'a, T>,
    /// For each of `x^1 … x^{L−1}` and each of its panels, the lines of these samples.
    inputs: Vec<Vec<&'a mut [T::Line]>>,
    /// For each of `δ^1 … δ^L` and each of its panels, the lines of these samples.
    deltas: Vec<Vec<&'a mut [T::Line]>>,
    outputs: &'a mut [T::Line],
    losses: &'a mut [f64],
    precomputed: Option<&'a ForwardPass<T>>,
}

/// Per-worker scratch space, reused between bands and runs: one row per sample.
#[derive(Debug)]
struct Scratch<T: Scalar> {
    /// `x^1 … x^{L−1}`.
    values: Vec<Panels<T>>,
    /// `φ'(h^1) … φ'(h^{L−1})`.
    slopes: Vec<Panels<T>>,
    /// `δ^1 … δ^L`.
    deltas: Vec<Panels<T>>,
    band: BandScratch,
    /// The outputs of one sample, then its `δ^L`.
    seed: Vec<f64>,
}

impl<T: Scalar> BatchBand<'_, T> {
    /// Runs the band forward and backward. A band with values that are not finite gets NaN as its losses.
    fn run(
        mut self,
        network: &Network<T>,
        seed: &impl Fn(usize, &mut [f64]) -> f64,
        scratch: &mut Scratch<T>,
        stop: &Stop,
    ) {
        if self.forward(network, scratch, stop) {
            self.seed(seed, scratch);
            self.backward(network, scratch, stop);
        } else {
            self.losses.fill(f64::NAN);
        }
    }

    /// Runs all layers. Returns true if all values are finite.
    fn forward(&mut self, network: &Network<T>, scratch: &mut Scratch<T>, stop: &Stop) -> bool {
        let samples = self.samples.len();
        let mut finite = true;
        for (index, layer) in network.layers.iter().enumerate() {
            let (before, after) = scratch.values.split_at_mut(index);
            let pass = self.precomputed;
            let step = DenseStep {
                layer,
                activation: network.activation(index),
                input: layer_input(before, self.x, samples),
                samples,
                precomputed: pass.and_then(|pass| pass.precomputed(index, &self.samples)),
            };
            match (after.first_mut(), scratch.slopes.get_mut(index)) {
                (Some(values), Some(slopes)) => {
                    let target = LayerOutput {
                        values: values.first_rows_mut(samples),
                        slopes: Some(slopes.first_rows_mut(samples)),
                    };
                    finite &= step.run(target, &mut scratch.band, stop);
                    transpose(values.of_rows(&(0..samples)), &mut self.inputs[index]);
                }
                _ => {
                    let target = LayerOutput {
                        values: &mut *self.outputs,
                        slopes: None,
                    };
                    finite &= step.run(target, &mut scratch.band, stop);
                }
            }
        }
        finite
    }

    /// Writes `δ^L` and the loss of all samples.
    fn seed(&mut self, seed: &impl Fn(usize, &mut [f64]) -> f64, scratch: &mut Scratch<T>) {
        let (lanes, outputs) = (Panels::<T>::LANES, self.deltas.len() - 1);
        let deltas = &mut scratch.deltas[outputs];
        let width = deltas.depth();
        let targets = deltas.first_rows_mut(self.samples.len());
        scratch.seed.resize(width, 0.0);
        for (offset, loss) in self.losses.iter_mut().enumerate() {
            let lines = offset / lanes * width..(offset / lanes + 1) * width;
            let lane = offset % lanes;
            for (value, line) in scratch.seed.iter_mut().zip(&self.outputs[lines.clone()]) {
                *value = line.lanes()[lane].widen();
            }
            *loss = seed(self.samples.start + offset, &mut scratch.seed);
            for (line, value) in targets[lines].iter_mut().zip(&scratch.seed) {
                line.lanes_mut()[lane] = T::narrow(*value);
            }
        }
    }

    /// Writes `δ^{L−1} … δ^1`, and keeps `δ^L … δ^1` with one row per unit.
    fn backward(&mut self, network: &Network<T>, scratch: &mut Scratch<T>, stop: &Stop) {
        let samples = self.samples.len();
        for (index, layer) in network.layers.iter().enumerate().rev() {
            let (before, after) = scratch.deltas.split_at_mut(index);
            let next = after[0].of_rows(&(0..samples));
            transpose(next, &mut self.deltas[index]);
            if let Some(target) = before.last_mut() {
                let slopes = BandSlopes {
                    panels: scratch.slopes[index - 1].of_rows(&(0..samples)),
                    samples,
                    count: 1,
                };
                let step = BackwardStep {
                    layer,
                    next,
                    slopes,
                };
                step.run(target.first_rows_mut(samples), &mut scratch.band, stop);
            }
        }
    }
}

/// Transposes rows of samples: each target holds one panel of units.
fn transpose<T: Scalar>(rows: PanelSlice<'_, T>, targets: &mut [&mut [T::Line]]) {
    for (panel, target) in targets.iter_mut().enumerate() {
        rows.transpose(panel, target);
    }
}

impl<T: Scalar> Scratch<T> {
    /// Allocates the memory for bands of `samples` samples.
    fn new(network: &Network<T>, samples: usize) -> Result<Self> {
        let hidden = &network.layers[..network.depth() - 1];
        Ok(Self {
            values: Layer::unwritten_outputs(hidden, samples)?,
            slopes: Layer::unwritten_outputs(hidden, samples)?,
            deltas: Layer::unwritten_outputs(&network.layers, samples)?,
            band: BandScratch::default(),
            seed: Vec::new(),
        })
    }
}
