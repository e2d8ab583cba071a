//! A batch forward and back, band by band, keeping only what gradients are made of.
//!
//! ```text
//! ∂/∂W^l_ij Σ_samples ⟨u, f⟩ = weight scale · Σ_samples x^l_i δ^{l+1}_j,    δ^L = u
//! ```
//!
//! is a product over samples: x^l and δ^{l+1} are kept with one row per unit. What a sample leaves does not depend on its
//! band, and sums over samples run in their order: no number of threads changes a bit.

use std::ops::Range;

use crate::engine::panel::{PanelSlice, Panels, bands_mut, columns_mut};
use crate::engine::pool::{self, Load, Stop, Watch};
use crate::engine::scalar::{Line, Scalar};
use crate::engine::tile::{EDGE, Tile, product};
use crate::error::{Error, Result};
use crate::finite::backward::{BandSlopes, back_through};
use crate::finite::forward::{self, DenseStep, ForwardPass, band_panels, forward_if_callable};
use crate::finite::network::{Layer, Network};
use crate::isa::{Isa, Vector, Vectorized};

/// A batch and the memory to run it forward and back, again and again.
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
    /// What the seeds returned; NaN for a sample whose activations are not finite.
    pub(crate) losses: Vec<f64>,
    /// Panels of samples of a band.
    band: usize,
    /// One for each thread.
    scratch: Vec<Scratch<T>>,
}

/// What one worker fills: what a band of samples leaves.
struct BatchBand<'a, T: Scalar> {
    samples: Range<usize>,
    x: PanelSlice<'a, T>,
    /// For each of `x^1 … x^{L−1}`, its panels' lines for these samples.
    inputs: Vec<Vec<&'a mut [T::Line]>>,
    /// The same of `δ^1 … δ^L`.
    deltas: Vec<Vec<&'a mut [T::Line]>>,
    outputs: &'a mut [T::Line],
    losses: &'a mut [f64],
    precomputed: Option<&'a ForwardPass<T>>,
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

impl<T: Scalar> BatchPass<T> {
    /// Memory for a batch of (N, n_0) inputs, N >= 1.
    ///
    /// # Errors
    /// [`Error::Features`] if it does not fit the network, [`Error::Memory`], [`Error::Cancelled`].
    pub(crate) fn new(network: &Network<T>, x: Panels<T>, watch: &mut Watch<'_>) -> Result<Self> {
        network.check_features("X", x.depth())?;
        let (samples, layers) = (x.rows(), network.layers.iter());
        let band = band_panels::<T>(samples, 1)?;
        let mut inputs = layers
            .clone()
            .map(|layer| Panels::unwritten(layer.inputs(), samples))
            .collect::<Result<Vec<_>>>()?;
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

    /// Runs all samples forward and back: `seed` replaces the outputs of a sample by its `δ^L`, and returns its share of
    /// the loss.
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
        let deltas = columns_mut(&mut self.deltas, size).into_iter();
        let outputs = bands_mut([&mut self.outputs].into_iter(), self.band)
            .into_iter()
            .flatten();
        let bands = self
            .x
            .all()
            .chunks(self.band)
            .zip(deltas)
            .zip(outputs.zip(self.losses.chunks_mut(size)));
        let bands = bands
            .enumerate()
            .map(|(band, ((x, deltas), (outputs, losses)))| BatchBand {
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

    /// `x^l` and `δ^{l+1}` of a layer, one row per unit: products of these rows are its gradient, without the scale of the
    /// weights.
    pub(crate) fn factors(&self, layer: usize) -> (&Panels<T>, &Panels<T>) {
        (&self.inputs[layer], &self.deltas[layer])
    }

    /// Writes `∂/∂θ Σ ⟨u, f⟩` for the u of the last run: W^0 row-major, b^0, W^1, …
    ///
    /// # Errors
    /// [`crate::Error::Cancelled`].
    pub(crate) fn write_gradient(
        &self,
        network: &Network<T>,
        out: &mut [T],
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let mut rest = out;
        let mut blocks = Vec::new();
        for (index, layer) in network.layers.iter().enumerate() {
            let (block, after) = rest.split_at_mut(layer.parameters());
            // The biases lie like one more row of the weights.
            let rows = block.chunks_mut(EDGE * layer.outputs()).enumerate();
            blocks.extend(rows.map(|(chunk, rows)| (index, chunk * EDGE, rows)));
            rest = after;
        }
        let load = Load::new(blocks.len(), network.cycles(self.samples()));
        let work = |tile: &mut Tile, (index, first, rows): (usize, usize, &mut [T]), _: &Stop| {
            self.write_rows(index, &network.layers[index], first, rows, tile);
        };
        pool::for_each(blocks.into_iter(), load, watch, Tile::default, work)
    }

    /// Writes the gradient of some rows of one layer's weights, of which one past the last is the biases'.
    fn write_rows(
        &self,
        index: usize,
        layer: &Layer<T>,
        first: usize,
        rows: &mut [T],
        tile: &mut Tile,
    ) {
        let (lanes, outputs) = (Panels::<T>::LANES, layer.outputs());
        let end = layer.inputs().min(first + EDGE);
        for start in (0..outputs).step_by(EDGE) {
            let units = start..outputs.min(start + EDGE);
            let cols = start / lanes..units.end.div_ceil(lanes);
            if first < end && layer.trains_weights() {
                let (inputs, deltas) = self.factors(index);
                product(
                    inputs.of_rows(&(first..end)),
                    deltas.slice(cols.clone()),
                    tile,
                );
            }
            for (offset, row) in rows.chunks_mut(outputs).enumerate() {
                let (row, input) = (&mut row[units.clone()], first + offset);
                let trained = if input < end {
                    layer.trains_weights()
                } else {
                    layer.trains_bias()
                };
                if !trained {
                    row.fill(T::default());
                } else if input < end {
                    row.iter_mut()
                        .zip(tile.row(offset))
                        .for_each(|(value, sum)| *value = T::narrow(layer.weight_scale * sum));
                } else {
                    self.write_bias(index, layer.learning_scales.1, cols.start, row);
                }
            }
        }
    }

    fn write_bias(&self, index: usize, scale: f64, first: usize, row: &mut [T]) {
        let mut sums = vec![0.0; Panels::<T>::LANES];
        for (panel, values) in row.chunks_mut(Panels::<T>::LANES).enumerate() {
            self.bias_gradient(index, first + panel, &mut sums);
            values
                .iter_mut()
                .zip(&sums)
                .for_each(|(value, sum)| *value = T::narrow(scale * sum));
        }
    }

    /// `Σ_samples δ^{l+1}_j` for the units j of one panel.
    pub(crate) fn bias_gradient(&self, layer: usize, panel: usize, sums: &mut [f64]) {
        let deltas = self.deltas[layer].slice(panel..panel + 1);
        deltas.isa().run(LineSums::<T> {
            lines: deltas.panel(0),
            sums,
        });
    }
}

/// The sums of lines.
struct LineSums<'a, T: Scalar> {
    lines: &'a [T::Line],
    sums: &'a mut [f64],
}

impl<T: Scalar> Vectorized for LineSums<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for (block, target) in self.sums.as_chunks_mut().0.iter_mut().enumerate() {
            // Four side by side: each addition would wait for the one before it.
            let mut sums = [V::splat(0.0); 4];
            for lines in self.lines.chunks(sums.len()) {
                for (sum, line) in sums.iter_mut().zip(lines) {
                    *sum = *sum + T::load::<V>(line, block);
                }
            }
            ((sums[0] + sums[1]) + (sums[2] + sums[3])).store(target);
        }
    }
}

impl<T: Scalar> BatchBand<'_, T> {
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

    /// Returns whether all values are finite.
    fn forward(&mut self, network: &Network<T>, scratch: &mut Scratch<T>, stop: &Stop) -> bool {
        let samples = self.samples.len();
        let mut finite = true;
        for (index, layer) in network.layers.iter().enumerate() {
            let (before, after) = scratch.values.split_at_mut(index);
            let step = DenseStep {
                layer,
                activation: network.activations.get(index).map(AsRef::as_ref),
                input: before.last().map_or(self.x, |x| x.of_rows(&(0..samples))),
                samples,
                precomputed: self
                    .precomputed
                    .and_then(|pass| pass.precomputed(index, &self.samples)),
            };
            match (after.first_mut(), scratch.slopes.get_mut(index)) {
                (Some(values), Some(slopes)) => {
                    let slopes = Some(slopes.first_rows_mut(samples));
                    let lines = values.first_rows_mut(samples);
                    finite &= step.run(lines, slopes, &mut scratch.forward, stop);
                    transpose(values.of_rows(&(0..samples)), &mut self.inputs[index]);
                }
                _ => finite &= step.run(self.outputs, None, &mut scratch.forward, stop),
            }
        }
        finite
    }

    /// `δ^L` of all samples.
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

    /// `δ^{L−1} … δ^1`, and all of them with one row per unit.
    fn backward(&mut self, network: &Network<T>, scratch: &mut Scratch<T>, stop: &Stop) {
        let samples = 0..self.samples.len();
        for (index, layer) in network.layers.iter().enumerate().rev() {
            let (before, after) = scratch.deltas.split_at_mut(index);
            let next = after[0].of_rows(&samples);
            transpose(next, &mut self.deltas[index]);
            if let Some(target) = before.last_mut() {
                let slopes = BandSlopes {
                    panels: scratch.slopes[index - 1].of_rows(&samples),
                    count: 1,
                };
                let target = target.first_rows_mut(samples.len());
                let scratch = (&mut scratch.forward, stop);
                back_through(layer, next, &slopes, samples.len(), target, scratch);
            }
        }
    }
}

/// Leaves rows of samples as columns.
fn transpose<T: Scalar>(rows: PanelSlice<'_, T>, targets: &mut [&mut [T::Line]]) {
    for (panel, target) in targets.iter_mut().enumerate() {
        rows.transpose(panel, target);
    }
}

impl<T: Scalar> Scratch<T> {
    fn new(network: &Network<T>, samples: usize) -> Result<Self> {
        let hidden = &network.layers[..network.depth() - 1];
        let allocate = |layers: &[Layer<T>]| {
            layers
                .iter()
                .map(|layer| Panels::unwritten(samples, layer.outputs()))
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
