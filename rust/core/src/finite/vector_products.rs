//! Products of the Jacobian with vectors, without the Jacobian: `J v` forward, `Jᵀ u` forward and back. Its columns that
//! belong to what is not trained are 0.
//!
//! ```text
//! ḣ^{l+1} = scale · (ẋ^l W^l + x^l Ẇ^l) + bias scale · ḃ^l,    ẋ^{l+1} = φ'(h^{l+1}) ⊙ ḣ^{l+1},    J v = ḣ^L
//! ```

use ndarray::{ArrayView3, ArrayViewMut2, ArrayViewMut3, Axis};

use crate::engine::panel::{PanelSlice, Panels};
use crate::engine::pool::{self, AllFinite, Stop, Watch};
use crate::engine::scalar::{Scalar, all_fit};
use crate::engine::tile::{EDGE, add_product};
use crate::error::{Error, Result};
use crate::finite::backward::BandSlopes;
use crate::finite::batch_pass::BatchPass;
use crate::finite::forward::{
    self, DenseStep, ForwardPass, band_panels, forward_if_callable, store_unit, too_large,
};
use crate::finite::network::{Layer, Network};

/// Writes `Jᵀ u` of K vectors: `Σ_im u_im ∂f_m(x_i)/∂θ` for u (K, N, O), to `out`, (K, P).
///
/// A forward pass, a backward pass and a product over samples for each: 6·N·P flops.
///
/// # Errors
/// [`Error::Shape`], [`Error::Features`], [`Error::TooLarge`], [`Error::Memory`], [`Error::Cancelled`].
pub fn vjp<T: Scalar>(
    network: &Network<T>,
    x: Panels<T>,
    u: ArrayView3<'_, T>,
    mut out: ArrayViewMut2<'_, T>,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let count = u.dim().0;
    Error::check_shape("u", u.shape(), &[count, x.rows(), network.outputs()])?;
    Error::check_shape("out", out.shape(), &[count, network.parameters()])?;
    network.check_features("X", x.depth())?;
    if x.rows() == 0 {
        out.fill(T::default());
        return Ok(());
    }
    let mut batch = BatchPass::new(network, x, watch)?;
    for (u, mut out) in u.outer_iter().zip(out.rows_mut()) {
        let seed = |sample: usize, f: &mut [f64]| {
            f.iter_mut()
                .zip(u.row(sample))
                .for_each(|(f, u)| *f = u.widen());
            0.0
        };
        batch.run(network, seed, watch)?;
        if batch.losses.iter().any(|loss| loss.is_nan()) {
            return Err(too_large::<T>());
        }
        let out = out
            .as_slice_mut()
            .ok_or_else(|| Error::Invalid("out is not contiguous".into()))?;
        batch.write_gradient(network, out, watch)?;
        if out.iter().any(|value| !value.widen().is_finite()) {
            return Err(Error::TooLarge {
                what: "an entry of the product",
                dtype: T::NAME,
            });
        }
    }
    Ok(())
}

/// Writes `J v` of K vectors, packed by [`Network::with_parameters`], to `out`, (K, N, O).
///
/// 2·N·P flops for the forward pass, and 4·N·P for each vector.
///
/// # Errors
/// As [`vjp`].
pub fn jvp<T: Scalar>(
    network: &Network<T>,
    tangents: &[Network<T>],
    x: &Panels<T>,
    mut out: ArrayViewMut3<'_, T>,
    watch: &mut Watch<'_>,
) -> Result<()> {
    network.check_features("X", x.depth())?;
    let samples = x.rows();
    Error::check_shape(
        "out",
        out.shape(),
        &[tangents.len(), samples, network.outputs()],
    )?;
    let precomputed = forward_if_callable(network, x, watch)?;
    let panels = band_panels::<T>(samples, 1)?;
    let size = panels * Panels::<T>::LANES;
    let scratch = (0..pool::num_threads()?).map(|_| Scratch::new(network, size, tangents.len()));
    let mut scratch: Vec<_> = scratch.collect::<Result<_>>()?;
    let bands = x
        .all()
        .chunks(panels)
        .zip(out.axis_chunks_iter_mut(Axis(1), size))
        .enumerate();
    let finite = AllFinite::new();
    let work = |scratch: &mut Scratch<T>, (index, (x, out)): (usize, (_, _)), stop: &Stop| {
        let band = TangentBand {
            x,
            out,
            first: index * size,
            precomputed: precomputed.as_ref(),
        };
        finite.record(scratch.run(network, tangents, band, stop));
    };
    let cycles = tangents.len() as f64 * network.cycles(samples);
    pool::for_each_with(&mut scratch, bands, cycles, watch, work)?;
    finite.check(too_large::<T>)
}

/// What one worker is to push forward, and where to.
struct TangentBand<'a, T: Scalar> {
    x: PanelSlice<'a, T>,
    /// (K, samples, O).
    out: ArrayViewMut3<'a, T>,
    /// The first of its samples.
    first: usize,
    precomputed: Option<&'a ForwardPass<T>>,
}

/// What a worker keeps from band to band: rows are samples.
struct Scratch<T: Scalar> {
    /// `x^1 … x^{L−1}, h^L`.
    values: Vec<Panels<T>>,
    /// `φ'(h^1) … φ'(h^{L−1})`.
    slopes: Vec<Panels<T>>,
    /// `ẋ^1 … ẋ^{L−1}, ḣ^L` of each tangent vector.
    tangents: Vec<Vec<Panels<T>>>,
    forward: forward::Scratch,
}

impl<T: Scalar> Scratch<T> {
    fn new(network: &Network<T>, samples: usize, tangents: usize) -> Result<Self> {
        let allocate = || {
            let layers = network.layers.iter();
            layers
                .map(|layer| Panels::unwritten(samples, layer.outputs()))
                .collect::<Result<Vec<_>>>()
        };
        Ok(Self {
            values: allocate()?,
            slopes: allocate()?,
            tangents: (0..tangents).map(|_| allocate()).collect::<Result<_>>()?,
            forward: forward::Scratch::default(),
        })
    }

    /// Returns whether all values are finite.
    fn run(
        &mut self,
        network: &Network<T>,
        tangents: &[Network<T>],
        mut band: TangentBand<'_, T>,
        stop: &Stop,
    ) -> bool {
        let (samples, mut finite) = (band.out.dim().1, true);
        let (rows, whole) = (0..samples, band.first..band.first + samples);
        for (index, layer) in network.layers.iter().enumerate() {
            let (before, after) = self.values.split_at_mut(index);
            let input = before.last().map_or(band.x, |values| values.of_rows(&rows));
            let activation = network.activations.get(index).map(AsRef::as_ref);
            let step = DenseStep {
                layer,
                activation,
                input,
                samples,
                precomputed: band
                    .precomputed
                    .and_then(|pass| pass.precomputed(index, &whole)),
            };
            let slopes = &mut self.slopes[index];
            let target = Some(slopes.first_rows_mut(samples)).filter(|_| activation.is_some());
            let lines = after[0].first_rows_mut(samples);
            finite &= step.run(lines, target, &mut self.forward, stop);
            let slopes = activation.map(|_| BandSlopes {
                panels: slopes.of_rows(&rows),
                count: 1,
            });
            for (tangent, panels) in tangents.iter().zip(&mut self.tangents) {
                let (before, after) = panels.split_at_mut(index);
                let push = Push {
                    layer,
                    direction: &tangent.layers[index],
                    input,
                    tangent: before.last().map(|values| values.of_rows(&rows)),
                    slopes: slopes.as_ref(),
                    samples,
                };
                let target = after[0].first_rows_mut(samples);
                finite &= push.run(target, &mut self.forward, stop);
            }
        }
        self.write(band.out.view_mut());
        finite
    }

    /// ḣ^L of each tangent vector.
    fn write(&self, mut out: ArrayViewMut3<'_, T>) {
        for (panels, out) in self.tangents.iter().zip(out.outer_iter_mut()) {
            if let Some(last) = panels.last() {
                write_rows(last, out);
            }
        }
    }
}

/// A tangent vector through one dense layer and the activation after it, on a band.
struct Push<'a, T: Scalar> {
    layer: &'a Layer<T>,
    direction: &'a Layer<T>,
    input: PanelSlice<'a, T>,
    tangent: Option<PanelSlice<'a, T>>,
    slopes: Option<&'a BandSlopes<'a, T>>,
    samples: usize,
}

impl<T: Scalar> Push<'_, T> {
    /// Writes ẋ, or ḣ of the last layer; returns whether all values are finite.
    fn run(&self, target: &mut [T::Line], scratch: &mut forward::Scratch, stop: &Stop) -> bool {
        let (layer, units, panels) = (self.layer, self.layer.outputs(), EDGE / Panels::<T>::LANES);
        let weights = layer.columns.all().chunks(panels);
        let directions = self.direction.columns.all().chunks(panels);
        let mut finite = true;
        for (chunk, (weights, directions)) in weights.zip(directions).enumerate() {
            if stop.requested() {
                break;
            }
            let lanes = Panels::<T>::LANES;
            let tile = &mut scratch.tile;
            tile.reset(weights.len() * lanes, self.input.len() * lanes);
            if layer.trains_weights() {
                add_product(directions, self.input, tile);
            }
            if let Some(tangent) = self.tangent {
                add_product(weights, tangent, tile);
            }
            for unit in chunk * EDGE..units.min((chunk + 1) * EDGE) {
                let values = &mut scratch.tile.row_mut(unit - chunk * EDGE)[..self.samples];
                let bias = self.direction.bias.get(unit).unwrap_or(&0.0);
                let bias = layer.learning_scales.1 * bias;
                values
                    .iter_mut()
                    .for_each(|value| *value = layer.weight_scale * *value + bias);
                if let Some(slopes) = self.slopes {
                    let slopes = slopes.of_unit(unit, self.samples, &mut scratch.slopes);
                    values
                        .iter_mut()
                        .zip(slopes)
                        .for_each(|(value, slope)| *value *= *slope);
                }
                finite &= all_fit::<T>(values);
                store_unit::<T>(target, units, unit, values);
            }
        }
        finite
    }
}

fn write_rows<T: Scalar>(rows: &Panels<T>, mut out: ArrayViewMut2<'_, T>) {
    for (sample, mut target) in out.rows_mut().into_iter().enumerate() {
        for (unit, value) in target.iter_mut().enumerate() {
            *value = rows.value(sample, unit);
        }
    }
}
