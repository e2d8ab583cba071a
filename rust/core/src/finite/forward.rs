//! The forward pass: bands of samples through all layers, each layer's output stored as the next one's panels.

use std::ops::Range;

use ndarray::ArrayViewMut2;

use crate::activations::activation::{Activation, Smooth};
use crate::engine::panel::{PanelSlice, Panels, bands_mut};
use crate::engine::pool::{self, AllFinite, Load, Stop, Watch};
use crate::engine::scalar::{Line, Scalar, all_fit};
use crate::engine::tile::{EDGE, Tile, product};
use crate::error::{Error, Result};
use crate::finite::network::{Layer, Network};
use crate::isa::{Vector, Vectorized, WIDTH};

/// All that a backward pass or a kernel needs of a forward pass.
#[derive(Debug)]
pub struct ForwardPass<T: Scalar> {
    /// `x^0 … x^{L−1}`, what enters each dense layer.
    pub(crate) inputs: Vec<Panels<T>>,
    /// `φ'(h^1) … φ'(h^{L−1})`.
    pub(crate) slopes: Vec<Panels<T>>,
    /// `h^L`, the network's outputs.
    pub(crate) outputs: Panels<T>,
}

/// The panels that one worker fills: a band of samples in every layer of a stage.
struct ForwardBand<'a, T: Scalar> {
    inputs: PanelSlice<'a, T>,
    samples: usize,
    /// What leaves each layer: x, or h of the last one.
    values: Vec<&'a mut [T::Line]>,
    slopes: Vec<&'a mut [T::Line]>,
}

/// Runs the network on (N, n_0) inputs. 2·N·P flops; keeps 2·N values per hidden unit.
///
/// Functions of the caller's are called between the stages of the network, on this thread.
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
    let samples = x.rows();
    let allocate = |layers: &[Layer<T>]| {
        layers
            .iter()
            .map(|layer| Panels::unwritten(samples, layer.outputs()))
            .collect::<Result<Vec<_>>>()
    };
    let hidden = network.depth() - 1;
    let mut values = allocate(&network.layers[..hidden])?;
    let mut slopes = allocate(&network.layers[..hidden])?;
    let mut outputs = Panels::unwritten(samples, network.outputs())?;
    for stage in network.stages() {
        let (before, after) = values.split_at_mut(stage.start);
        let x = before.last().unwrap_or(&x);
        let own = stage.end.min(hidden) - stage.start;
        let last = (stage.end > hidden).then_some(&mut outputs);
        let slopes = &mut slopes[stage.start..stage.start + own];
        run_stage(
            network,
            stage.clone(),
            x,
            after[..own].iter_mut().chain(last),
            slopes.iter_mut(),
            watch,
        )?;
        if let (Some(function), Some(values), Some(slopes)) = (
            network.function(stage.end - 1),
            after[..own].last_mut(),
            slopes.last_mut(),
        ) {
            call(function, values, slopes)?;
        }
    }

    values.insert(0, x);
    Ok(ForwardPass {
        inputs: values,
        slopes,
        outputs,
    })
}

/// Runs some layers on all samples, from their inputs x to `values` and `slopes`.
fn run_stage<'a, T: Scalar>(
    network: &Network<T>,
    stage: Range<usize>,
    x: &Panels<T>,
    values: impl Iterator<Item = &'a mut Panels<T>>,
    slopes: impl Iterator<Item = &'a mut Panels<T>>,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let samples = x.rows();
    let band_panels = band_panels::<T>(samples, 1)?;
    let band_samples = band_panels * Panels::<T>::LANES;
    let value_bands = bands_mut(values, band_panels);
    let mut slope_bands = bands_mut(slopes, band_panels).into_iter();
    let bands: Vec<ForwardBand<'_, T>> = x
        .all()
        .chunks(band_panels)
        .zip(value_bands)
        .enumerate()
        .map(|(band, (inputs, values))| ForwardBand {
            inputs,
            samples: band_samples.min(samples - band * band_samples),
            values,
            slopes: slope_bands.next().unwrap_or_default(),
        })
        .collect();
    let load = Load::new(bands.len(), network.cycles(samples));
    let finite = AllFinite::new();
    pool::for_each(
        bands.into_iter(),
        load,
        watch,
        Scratch::default,
        |scratch, band, stop| {
            finite.record(band.run(network, stage.clone(), scratch, stop));
        },
    )?;
    finite.check(too_large::<T>)
}

/// How many values a function of the caller's is called with: so many that the call itself costs little, and so few that
/// they stay in cache and that it returns soon.
const CALL: usize = 1 << 16;

/// Replaces pre-activations by φ, and writes φ', on this thread.
fn call<T: Scalar>(
    function: &dyn Smooth,
    values: &mut Panels<T>,
    slopes: &mut Panels<T>,
) -> Result<()> {
    let (samples, units) = (values.rows(), values.depth());
    let panels = (CALL / (Panels::<T>::LANES * units)).max(1);
    let size = panels * Panels::<T>::LANES;
    let (mut h, mut slope) = (Vec::new(), Vec::new());
    let chunks = values.chunks_mut(panels).zip(slopes.chunks_mut(panels));
    for (chunk, (values, slopes)) in chunks.enumerate() {
        let count = size.min(samples - chunk * size);
        h.clear();
        for unit in 0..units {
            let lines = values.iter().skip(unit).step_by(units);
            let lanes = lines.flat_map(|line| line.lanes());
            h.extend(lanes.take(count).map(|value| value.widen()));
        }
        slope.resize(h.len(), 0.0);
        function.evaluate(&mut h, &mut slope)?;
        if !(all_fit::<T>(&h) && all_fit::<T>(&slope)) {
            return Err(too_large::<T>());
        }
        let rows = h.chunks(count).zip(slope.chunks(count));
        for (unit, (value, slope)) in rows.enumerate() {
            store_unit::<T>(values, units, unit, value);
            store_unit::<T>(slopes, units, unit, slope);
        }
    }
    Ok(())
}

/// The forward pass, if bands cannot make theirs alone: if an activation is a function of the caller's.
///
/// # Errors
/// As [`forward`].
pub(crate) fn forward_if_callable<T: Scalar>(
    network: &Network<T>,
    x: &Panels<T>,
    watch: &mut Watch<'_>,
) -> Result<Option<ForwardPass<T>>> {
    if network.has_callable() {
        forward(network, x.duplicate()?, watch).map(Some)
    } else {
        Ok(None)
    }
}

pub(crate) fn too_large<T: Scalar>() -> Error {
    Error::TooLarge {
        what: "an activation of the network",
        dtype: T::NAME,
    }
}

/// The most rows that one worker takes at once: few enough that what it computes from a tile's worth of weights stays in L2.
const BAND: usize = 128;

/// How many panels of samples one worker takes at once: so few that all threads get some.
///
/// # Errors
/// As [`pool::num_threads`].
pub(crate) fn band_panels<T: Scalar>(samples: usize, rows_per_sample: usize) -> Result<usize> {
    let most = (BAND / Panels::<T>::LANES / rows_per_sample).max(1);
    let (panels, threads) = (samples.div_ceil(Panels::<T>::LANES), pool::num_threads()?);
    // The time of the thread that has most to do; reading the weights costs each band as much as another panel.
    let time = |size: &usize| panels.div_ceil(*size).div_ceil(threads) * (size + 1);
    Ok((1..=most).rev().min_by_key(time).unwrap_or(most))
}

impl<T: Scalar> ForwardPass<T> {
    /// Copies the network's outputs to an (N, O) array.
    ///
    /// # Errors
    /// [`Error::Shape`] if the array has another shape.
    pub fn write_outputs(&self, mut out: ArrayViewMut2<'_, T>) -> Result<()> {
        let expected = [self.outputs.rows(), self.outputs.depth()];
        Error::check_shape("out", out.shape(), &expected)?;
        let mut row = vec![0.0; self.outputs.depth()];
        for (i, mut target) in out.rows_mut().into_iter().enumerate() {
            self.outputs.copy_row(i, &mut row);
            target
                .iter_mut()
                .zip(&row)
                .for_each(|(value, output)| *value = T::narrow(*output));
        }
        Ok(())
    }

    /// The number of samples.
    pub(crate) fn samples(&self) -> usize {
        self.outputs.rows()
    }

    /// What a layer and the activation after it made of some samples, if there is one.
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

/// What a worker keeps from band to band.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) tile: Tile,
    pub(crate) slopes: Vec<f64>,
}

impl<T: Scalar> ForwardBand<'_, T> {
    /// Runs the layers of a stage; returns whether all values are finite.
    fn run(
        mut self,
        network: &Network<T>,
        stage: Range<usize>,
        scratch: &mut Scratch,
        stop: &Stop,
    ) -> bool {
        let mut finite = true;
        for (index, layer) in network.layers[stage.clone()].iter().enumerate() {
            let (before, after) = self.values.split_at_mut(index);
            let input = match before.last() {
                None => self.inputs,
                Some(lines) => PanelSlice::new(lines, layer.inputs(), self.inputs.isa()),
            };
            let step = DenseStep {
                layer,
                activation: network.builtin(stage.start + index),
                input,
                samples: self.samples,
                precomputed: None,
            };
            let slopes = self.slopes.get_mut(index).map(AsMut::as_mut);
            finite &= step.run(after[0], slopes, scratch, stop);
        }
        finite
    }
}

/// One dense layer and the activation after it, on a band.
pub(crate) struct DenseStep<'a, T: Scalar> {
    pub(crate) layer: &'a Layer<T>,
    pub(crate) activation: Option<&'a dyn Activation>,
    pub(crate) input: PanelSlice<'a, T>,
    pub(crate) samples: usize,
    /// The result, if a pass of the whole batch already has it.
    pub(crate) precomputed: Option<Precomputed<'a, T>>,
}

/// What a layer and its activation made of a band.
pub(crate) struct Precomputed<'a, T: Scalar> {
    values: PanelSlice<'a, T>,
    slopes: PanelSlice<'a, T>,
}

impl<T: Scalar> Precomputed<'_, T> {
    fn write(&self, values: &mut [T::Line], slopes: Option<&mut [T::Line]>) {
        let units = self.values.depth();
        let copy = |source: PanelSlice<'_, T>, target: &mut [T::Line]| {
            let panels = target.chunks_mut(units).zip(source.panels());
            panels.for_each(|(target, lines)| target.copy_from_slice(lines));
        };
        copy(self.values, values);
        if let Some(slopes) = slopes {
            copy(self.slopes, slopes);
        }
    }
}

impl<T: Scalar> DenseStep<'_, T> {
    /// Writes the layer's values and slopes; returns whether all values are finite.
    pub(crate) fn run(
        &self,
        values: &mut [T::Line],
        slopes: Option<&mut [T::Line]>,
        scratch: &mut Scratch,
        stop: &Stop,
    ) -> bool {
        match &self.precomputed {
            None => self.compute(values, slopes, scratch, stop),
            Some(precomputed) => {
                precomputed.write(values, slopes);
                true
            }
        }
    }

    fn compute(
        &self,
        values: &mut [T::Line],
        mut slopes: Option<&mut [T::Line]>,
        scratch: &mut Scratch,
        stop: &Stop,
    ) -> bool {
        let Scratch {
            tile,
            slopes: slope_rows,
        } = scratch;
        let (layer, units) = (self.layer, self.layer.outputs());
        let mut finite = true;
        for (chunk, columns) in layer
            .columns
            .all()
            .chunks(EDGE / Panels::<T>::LANES)
            .enumerate()
        {
            if stop.requested() {
                break;
            }
            product(columns, self.input, tile);
            let chunk = chunk * EDGE..units.min((chunk + 1) * EDGE);
            let h = tile.first_rows_mut(chunk.len());
            let length = h.len() / chunk.len();
            for (group, h) in h.chunks_mut(GROUP * length).enumerate() {
                let first = chunk.start + group * GROUP;
                let group = first..first + h.len() / length;
                finite &= self.finish(h, group, values, slopes.as_deref_mut(), slope_rows);
            }
        }
        finite
    }

    /// Writes values and slopes of some units from their products, one row per unit; returns whether all of them are finite.
    fn finish(
        &self,
        h: &mut [f64],
        units: Range<usize>,
        values: &mut [T::Line],
        slopes: Option<&mut [T::Line]>,
        slope_rows: &mut Vec<f64>,
    ) -> bool {
        let (layer, isa) = (self.layer, self.input.isa());
        isa.run(ScaleAndShift {
            h,
            scale: layer.weight_scale,
            bias: (
                layer.bias.get(units.clone()).unwrap_or_default(),
                layer.bias_scale,
            ),
            units: units.len(),
        });
        let store = |rows: &[f64], lines: &mut [T::Line]| {
            isa.run(StoreUnits::<T> {
                rows,
                samples: self.samples,
                lines,
                units: (units.clone(), layer.outputs()),
            })
        };
        if let (Some(activation), Some(slopes)) = (self.activation, slopes) {
            slope_rows.resize(h.len(), 0.0);
            activation.evaluate(h, slope_rows);
            store(slope_rows, slopes);
        }
        store(h, values)
    }
}

/// How many units are finished at once: their values stay in L1 until they are stored.
const GROUP: usize = 8;

/// `h ← scale · h + bias scale · b`, one row per unit.
struct ScaleAndShift<'a> {
    h: &'a mut [f64],
    scale: f64,
    /// b, or nothing, and its scale.
    bias: (&'a [f64], f64),
    units: usize,
}

impl Vectorized for ScaleAndShift<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (bias, bias_scale) = self.bias;
        for (unit, row) in self
            .h
            .chunks_exact_mut(self.h.len() / self.units)
            .enumerate()
        {
            let bias = bias.get(unit).map_or(0.0, |bias| bias_scale * bias);
            for h in row {
                *h = self.scale * *h + bias;
            }
        }
    }
}

/// Stores rows of values, one for each of some units, in panels of samples; lanes past the last sample stay zero.
/// Returns whether all of them are finite as they are stored.
struct StoreUnits<'a, T: Scalar> {
    rows: &'a [f64],
    samples: usize,
    lines: &'a mut [T::Line],
    /// Which units, of how many.
    units: (Range<usize>, usize),
}

impl<T: Scalar> Vectorized for StoreUnits<'_, T> {
    type Output = bool;

    #[inline(always)]
    fn run<V: Vector>(self) -> bool {
        let (units, depth) = self.units;
        let (length, blocks) = (self.rows.len() / units.len(), T::Line::BLOCKS);
        let (whole, rest) = (self.samples / WIDTH, self.samples % WIDTH);
        let zero = V::splat(0.0);
        // 0 times what is stored: NaN if that is not finite.
        let mut check = zero;
        for (unit, row) in units.zip(self.rows.chunks_exact(length)) {
            let row = &row.as_chunks().0[..self.samples.div_ceil(WIDTH)];
            for (index, values) in row.iter().enumerate() {
                let mut values = *values;
                if index == whole {
                    values[rest..].fill(0.0);
                }
                let line = &mut self.lines[index / blocks * depth + unit];
                T::store(V::load(&values), line, index % blocks);
                check = T::load::<V>(line, index % blocks).mul_add(zero, check);
            }
        }
        let mut checks = [0.0; WIDTH];
        check.store(&mut checks);
        checks.iter().all(|check| *check == 0.0)
    }
}

/// Stores one value per sample as value `unit` of `depth` in panels; lanes past the last sample stay zero.
pub(crate) fn store_unit<T: Scalar>(
    lines: &mut [T::Line],
    depth: usize,
    unit: usize,
    values: &[f64],
) {
    for (panel, values) in values.chunks(Panels::<T>::LANES).enumerate() {
        for (lane, value) in lines[panel * depth + unit]
            .lanes_mut()
            .iter_mut()
            .zip(values)
        {
            *lane = T::narrow(*value);
        }
    }
}
