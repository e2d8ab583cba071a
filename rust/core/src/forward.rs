//! The forward pass: bands of samples through all layers, each layer's output stored as the next one's panels.

use ndarray::ArrayViewMut2;

use crate::activation::Activation;
use crate::error::{Error, Result};
use crate::network::{Layer, Network};
use crate::panel::{PanelSlice, Panels, bands_mut};
use crate::pool::{self, Watch};
use crate::scalar::{Line, Scalar};
use crate::tile::{EDGE, Tile, product};

/// All that a backward pass or a kernel needs of a forward pass.
#[derive(Debug)]
pub struct Pass<T: Scalar> {
    /// `x^0 … x^{L−1}`, what enters each dense layer.
    pub(crate) inputs: Vec<Panels<T>>,
    /// `φ'(h^1) … φ'(h^{L−1})`.
    pub(crate) slopes: Vec<Panels<T>>,
    /// `h^L`, the network's outputs.
    pub(crate) outputs: Panels<T>,
}

/// The panels that one worker fills: a band of samples in every layer.
struct Band<'a, T: Scalar> {
    inputs: PanelSlice<'a, T>,
    samples: usize,
    /// `x^1 … x^{L−1}` and `h^L`.
    values: Vec<&'a mut [T::Line]>,
    slopes: Vec<&'a mut [T::Line]>,
}

/// Runs the network on (N, n_0) inputs. 2·N·P flops; keeps 2·N values per hidden unit.
///
/// # Errors
/// [`Error::Features`] if the inputs do not fit the network, [`Error::Memory`], [`Error::Cancelled`].
pub fn forward<T: Scalar>(
    network: &Network<T>,
    x: Panels<T>,
    watch: &mut Watch<'_>,
) -> Result<Pass<T>> {
    network.check_features("X", x.depth())?;
    let samples = x.rows();
    let (last, hidden) = network
        .layers
        .split_last()
        .ok_or_else(|| Error::Invalid("no layers".into()))?;
    let allocate = || {
        hidden
            .iter()
            .map(|layer| Panels::unwritten(samples, layer.outputs()))
            .collect::<Result<Vec<_>>>()
    };
    let (mut values, mut slopes) = (allocate()?, allocate()?);
    let mut outputs = Panels::unwritten(samples, last.outputs())?;

    let band_panels = EDGE / Panels::<T>::LANES;
    let value_bands = bands_mut(values.iter_mut().chain([&mut outputs]), band_panels);
    let mut slope_bands = bands_mut(slopes.iter_mut(), band_panels).into_iter();
    let bands: Vec<Band<'_, T>> = x
        .all()
        .chunks(band_panels)
        .zip(value_bands)
        .enumerate()
        .map(|(band, (inputs, values))| Band {
            inputs,
            samples: EDGE.min(samples - band * EDGE),
            values,
            slopes: slope_bands.next().unwrap_or_default(),
        })
        .collect();
    let total = bands.len();
    pool::for_each(
        bands.into_iter(),
        total,
        watch,
        Scratch::default,
        |scratch, band| band.run(network, scratch),
    )?;

    values.insert(0, x);
    Ok(Pass {
        inputs: values,
        slopes,
        outputs,
    })
}

impl<T: Scalar> Pass<T> {
    /// Copies the network's outputs to an (N, O) array.
    ///
    /// # Errors
    /// [`Error::Shape`] if the array has another shape.
    pub fn write_outputs(&self, mut out: ArrayViewMut2<'_, T>) -> Result<()> {
        let expected = [self.outputs.rows(), self.outputs.depth()];
        if out.shape() != expected {
            let got = out.shape().to_vec();
            return Err(Error::Shape {
                argument: "out".into(),
                got,
                expected: expected.to_vec(),
            });
        }
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
}

/// What a worker keeps from band to band.
#[derive(Default)]
struct Scratch {
    tile: Tile,
    slopes: Vec<f64>,
}

impl<T: Scalar> Band<'_, T> {
    fn run(mut self, network: &Network<T>, scratch: &mut Scratch) {
        for (index, layer) in network.layers.iter().enumerate() {
            let (before, after) = self.values.split_at_mut(index);
            let input = match before.last() {
                None => self.inputs,
                Some(lines) => PanelSlice::new(lines, layer.inputs(), self.inputs.isa()),
            };
            let activation = network.activations.get(index).map(AsRef::as_ref);
            let slopes = self.slopes.get_mut(index).map(AsMut::as_mut);
            run_layer(
                layer,
                activation,
                input,
                self.samples,
                after[0],
                slopes,
                scratch,
            );
        }
    }
}

/// One dense layer and the activation after it, on a band.
fn run_layer<T: Scalar>(
    layer: &Layer<T>,
    activation: Option<&dyn Activation>,
    input: PanelSlice<'_, T>,
    samples: usize,
    values: &mut [T::Line],
    mut slopes: Option<&mut [T::Line]>,
    scratch: &mut Scratch,
) {
    let Scratch {
        tile,
        slopes: slope_row,
    } = scratch;
    let units = layer.outputs();
    for (chunk, columns) in layer
        .columns
        .all()
        .chunks(EDGE / Panels::<T>::LANES)
        .enumerate()
    {
        tile.reset(
            columns.len() * Panels::<T>::LANES,
            input.len() * Panels::<T>::LANES,
        );
        product(columns, input, tile);
        for unit in chunk * EDGE..units.min((chunk + 1) * EDGE) {
            let h = &mut tile.row_mut(unit - chunk * EDGE)[..samples];
            let bias = if layer.has_bias() {
                layer.bias_scale * layer.bias[unit]
            } else {
                0.0
            };
            h.iter_mut()
                .for_each(|h| *h = layer.weight_scale * *h + bias);
            if let (Some(activation), Some(slopes)) = (activation, slopes.as_deref_mut()) {
                slope_row.resize(samples, 0.0);
                activation.evaluate(h, slope_row);
                store_unit::<T>(slopes, units, unit, slope_row);
            }
            store_unit::<T>(values, units, unit, h);
        }
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
