//! A batch forward and back, band by band, keeping only what gradients are made of.
//!
//! ```text
//! ∂/∂W^l_ij Σ_samples ⟨u, f⟩ = weight scale · Σ_samples x^l_i δ^{l+1}_j,    δ^L = u
//! ```
//!
//! is a product over samples: each band leaves x^l and δ^{l+1} with one row per unit, and the sum runs over its samples
//! inside a band and over bands in their order. Bands do not depend on the number of threads, so nor does a bit.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::backward::{Slopes, back_through};
use crate::error::Result;
use crate::forward::{self, Step};
use crate::network::{Layer, Network};
use crate::panel::{PanelSlice, Panels};
use crate::pool::{self, Stop, Watch};
use crate::scalar::{Line, Scalar};
use crate::tile::{Tile, add_product};

/// Samples of a band.
const BAND: usize = 64;

/// A batch and the memory to run it forward and back, again and again.
#[derive(Debug)]
pub(crate) struct Sweep<T: Scalar> {
    x: Panels<T>,
    pub(crate) bands: Vec<Band<T>>,
    /// One for each thread.
    scratch: Vec<Scratch<T>>,
}

/// What a band of samples leaves.
#[derive(Debug)]
pub(crate) struct Band<T: Scalar> {
    pub(crate) samples: Range<usize>,
    /// `x^0 … x^{L−1}`, one row per unit.
    pub(crate) inputs: Vec<Panels<T>>,
    /// `δ^1 … δ^L`, one row per unit.
    pub(crate) deltas: Vec<Panels<T>>,
    /// `h^L`, one row per sample.
    pub(crate) outputs: Panels<T>,
    /// The sum of what the seeds returned.
    pub(crate) loss: f64,
}

/// What a worker keeps from band to band: rows are samples.
#[derive(Debug)]
struct Scratch<T: Scalar> {
    /// `x^1 … x^{L−1}`.
    values: Vec<Panels<T>>,
    /// `φ'(h^1) … φ'(h^{L−1})`.
    slopes: Vec<Panels<T>>,
    /// `δ^1 … δ^L`.
    deltas: Vec<Panels<T>>,
    forward: forward::Scratch,
    seed: Vec<f64>,
}

impl<T: Scalar> Sweep<T> {
    /// Memory for a batch of (N, n_0) inputs.
    ///
    /// # Errors
    /// [`crate::Error::Features`] if it does not fit the network, [`crate::Error::Memory`].
    pub(crate) fn new(network: &Network<T>, x: Panels<T>) -> Result<Self> {
        network.check_features("X", x.depth())?;
        let bands = (0..x.rows())
            .step_by(BAND)
            .map(|first| Band::new(network, &x, first..x.rows().min(first + BAND)))
            .collect::<Result<_>>()?;
        let scratch = (0..pool::num_threads()?)
            .map(|_| Scratch::new(network))
            .collect::<Result<_>>()?;
        Ok(Self { x, bands, scratch })
    }

    /// The number of samples.
    pub(crate) fn samples(&self) -> usize {
        self.x.rows()
    }

    /// Runs all bands forward and back: `seed` replaces the outputs of a sample by its `δ^L`, and returns its share of
    /// the loss. Returns whether all values are finite.
    ///
    /// # Errors
    /// [`crate::Error::Cancelled`].
    pub(crate) fn run(
        &mut self,
        network: &Network<T>,
        seed: impl Fn(usize, &mut [f64]) -> f64 + Sync,
        watch: &mut Watch<'_>,
    ) -> Result<bool> {
        let (x, workers) = (&self.x, self.scratch.len());
        let bands = Mutex::new(self.bands.iter_mut());
        let next = || bands.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = |(): &mut (), scratch: &mut Scratch<T>, stop: &Stop| {
            while let Some(band) = next().filter(|_| !stop.requested()) {
                band.run(network, x, &seed, scratch, stop);
            }
        };
        pool::for_each(self.scratch.iter_mut(), workers, watch, || (), work)?;
        Ok(self.bands.iter().all(|band| band.loss.is_finite()))
    }

    /// `tile[i][j] = Σ_samples x^l_i δ^{l+1}_j` for whole panels of units i and j, without the scale of the weights.
    pub(crate) fn gradient(
        &self,
        layer: usize,
        rows: &Range<usize>,
        cols: &Range<usize>,
        tile: &mut Tile,
    ) {
        tile.reset(
            rows.len() * Panels::<T>::LANES,
            cols.len() * Panels::<T>::LANES,
        );
        for band in &self.bands {
            let (inputs, deltas) = (&band.inputs[layer], &band.deltas[layer]);
            add_product(inputs.slice(rows.clone()), deltas.slice(cols.clone()), tile);
        }
    }

    /// `Σ_samples δ^{l+1}_j` for the units j of one panel.
    pub(crate) fn bias_gradient(&self, layer: usize, panel: usize, sums: &mut [f64]) {
        sums.fill(0.0);
        for line in self.bands.iter().flat_map(|band| {
            let deltas = band.deltas[layer].slice(panel..panel + 1);
            deltas.panels().flatten()
        }) {
            sums.iter_mut()
                .zip(line.lanes())
                .for_each(|(sum, value)| *sum += value.widen());
        }
    }
}

impl<T: Scalar> Band<T> {
    fn new(network: &Network<T>, x: &Panels<T>, samples: Range<usize>) -> Result<Self> {
        let count = samples.len();
        let layers = network.layers.iter();
        let mut inputs = layers
            .clone()
            .map(|layer| Panels::unwritten(layer.inputs(), count))
            .collect::<Result<Vec<_>>>()?;
        inputs[0].transpose_from(x.of_rows(&samples));
        let deltas = layers.map(|layer| Panels::unwritten(layer.outputs(), count));
        Ok(Self {
            inputs,
            deltas: deltas.collect::<Result<_>>()?,
            outputs: Panels::unwritten(count, network.outputs())?,
            loss: 0.0,
            samples,
        })
    }

    fn run(
        &mut self,
        network: &Network<T>,
        x: &Panels<T>,
        seed: &impl Fn(usize, &mut [f64]) -> f64,
        scratch: &mut Scratch<T>,
        stop: &Stop,
    ) {
        if !self.forward(network, x.of_rows(&self.samples), scratch, stop) {
            self.loss = f64::NAN;
            return;
        }
        self.seed(seed, scratch);
        self.backward(network, scratch, stop);
    }

    /// Returns whether all values are finite.
    fn forward(
        &mut self,
        network: &Network<T>,
        x: PanelSlice<'_, T>,
        scratch: &mut Scratch<T>,
        stop: &Stop,
    ) -> bool {
        let samples = self.samples.len();
        let mut finite = true;
        for (index, layer) in network.layers.iter().enumerate() {
            let (before, after) = scratch.values.split_at_mut(index);
            let input = before.last().map_or(x, |x| x.of_rows(&(0..samples)));
            let step = Step {
                layer,
                activation: network.activations.get(index).map(AsRef::as_ref),
                input,
                samples,
            };
            let (values, slopes) = match after.first_mut() {
                Some(values) => (values, scratch.slopes.get_mut(index)),
                None => (&mut self.outputs, None),
            };
            let slopes = slopes.map(|slopes| slopes.first_rows_mut(samples));
            finite &= step.run(
                values.first_rows_mut(samples),
                slopes,
                &mut scratch.forward,
                stop,
            );
            if let Some(input) = self.inputs.get_mut(index + 1) {
                input.transpose_from(values.of_rows(&(0..samples)));
            }
        }
        finite
    }

    /// `δ^L` of all samples.
    fn seed(&mut self, seed: &impl Fn(usize, &mut [f64]) -> f64, scratch: &mut Scratch<T>) {
        let (outputs, last) = (self.outputs.depth(), scratch.deltas.len() - 1);
        let lines = scratch.deltas[last].first_rows_mut(self.samples.len());
        scratch.seed.resize(outputs, 0.0);
        self.loss = 0.0;
        for (offset, sample) in self.samples.clone().enumerate() {
            self.outputs.copy_row(offset, &mut scratch.seed);
            self.loss += seed(sample, &mut scratch.seed);
            let (panel, lane) = (offset / Panels::<T>::LANES, offset % Panels::<T>::LANES);
            let lines = &mut lines[panel * outputs..(panel + 1) * outputs];
            for (line, value) in lines.iter_mut().zip(&scratch.seed) {
                line.lanes_mut()[lane] = T::narrow(*value);
            }
        }
    }

    /// `δ^{L−1} … δ^1`, and all of them with one row per unit.
    fn backward(&mut self, network: &Network<T>, scratch: &mut Scratch<T>, stop: &Stop) {
        let samples = 0..self.samples.len();
        for (index, layer) in network.layers.iter().enumerate().rev() {
            let (before, after) = scratch.deltas.split_at_mut(index);
            let next = after[0].of_rows(&samples);
            self.deltas[index].transpose_from(next);
            if let Some(target) = before.last_mut() {
                let slopes = Slopes {
                    panels: scratch.slopes[index - 1].of_rows(&samples),
                    count: 1,
                };
                let target = target.first_rows_mut(samples.len());
                let tile = (&mut scratch.forward.tile, stop);
                back_through(layer, next, &slopes, samples.len(), target, tile);
            }
        }
    }
}

impl<T: Scalar> Scratch<T> {
    fn new(network: &Network<T>) -> Result<Self> {
        let hidden = &network.layers[..network.depth() - 1];
        let allocate = |layers: &[Layer<T>]| {
            layers
                .iter()
                .map(|layer| Panels::unwritten(BAND, layer.outputs()))
                .collect::<Result<Vec<_>>>()
        };
        Ok(Self {
            values: allocate(hidden)?,
            slopes: allocate(hidden)?,
            deltas: allocate(&network.layers)?,
            forward: forward::Scratch::default(),
            seed: Vec::new(),
        })
    }
}
