//! Products of the Jacobian J with vectors, without forming it: `J v` by a forward pass, `Jᵀ u` by a forward and a backward
//! pass. The columns of J that belong to parameters that are not trained are 0.
//!
//! ```text
//! ḣ^{l+1} = weight scale · (ẋ^l W^l + x^l Ẇ^l) + bias scale · ḃ^l,    ẋ^l = φ'(h^l) ⊙ ḣ^l,    J v = ḣ^L
//! ```

use ndarray::{ArrayView2, ArrayView3, ArrayViewMut1, ArrayViewMut2, ArrayViewMut3, Axis};

use crate::engine::panel::{PanelSlice, Panels};
use crate::engine::pool::{self, AllFinite, Stages, Stop, Watch};
use crate::engine::scalar::{Scalar, all_fit};
use crate::engine::tile::add_product;
use crate::error::{Error, Result};
use crate::finite::backward::BandSlopes;
use crate::finite::batch_gradient::write_gradient;
use crate::finite::batch_pass::BatchPass;
use crate::finite::forward::{
    BandScratch, DenseStep, ForwardPass, LayerOutput, band_panels, forward_if_callable,
    layer_input, store_unit, too_large, write_rows,
};
use crate::finite::layer::{Layer, unit_chunks};
use crate::finite::loss::Loss;
use crate::finite::network::Network;

/// Writes `Jᵀ u = Σ_im u_im ∂f_m(x_i)/∂θ` of K vectors u, (K, N, O), to `out`, (K, P).
///
/// A forward pass, a backward pass and a product over samples for each vector: 6·N·P flops.
///
/// # Errors
/// [`Error::Shape`], [`Error::Features`], [`Error::TooLarge`], [`Error::Memory`], [`Error::Cancelled`],
/// [`Error::Function`].
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
    let shares: Vec<_> = (0..=count)
        .map(|index| if index == 0 { 0.1 } else { 1.0 })
        .collect();
    let mut stages = Stages::new(watch, &shares);
    let mut batch = stages.next(|watch| BatchPass::new(network, x, watch))?;
    for (u, out) in u.outer_iter().zip(out.rows_mut()) {
        stages.next(|watch| pull_back(&mut batch, network, u, out, watch))?;
    }
    Ok(())
}

/// Writes `Jᵀ u` of one vector (N, O) to `out`, (P,).
fn pull_back<T: Scalar>(
    batch: &mut BatchPass<T>,
    network: &Network<T>,
    u: ArrayView2<'_, T>,
    mut out: ArrayViewMut1<'_, T>,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let seed = |sample: usize, f: &mut [f64]| {
        f.iter_mut()
            .zip(u.row(sample))
            .for_each(|(f, u)| *f = u.widen());
        0.0
    };
    let out = out
        .as_slice_mut()
        .ok_or_else(|| Error::Invalid("out is not contiguous".into()))?;
    seeded(batch, network, seed, out, watch)
}

/// Writes the gradient of a loss of the outputs with targets y (N, O) to `out`, (P,). 6·N·P flops.
///
/// # Errors
/// As [`vjp`].
pub fn loss_gradient<T: Scalar>(
    network: &Network<T>,
    x: Panels<T>,
    (loss, y): (Loss, ArrayView2<'_, T>),
    out: &mut [T],
    watch: &mut Watch<'_>,
) -> Result<()> {
    let samples = x.rows();
    Error::check_shape("y", y.shape(), &[samples, network.outputs()])?;
    Error::check_shape("out", &[out.len()], &[network.parameters()])?;
    if samples == 0 {
        out.fill(T::default());
        return Ok(());
    }
    let seed = |sample: usize, f: &mut [f64]| {
        loss.seed(samples, f, y.row(sample).iter().map(|y| y.widen()))
    };
    let mut stages = Stages::new(watch, &[0.1, 1.0]);
    let mut batch = stages.next(|watch| BatchPass::new(network, x, watch))?;
    stages.next(|watch| seeded(&mut batch, network, seed, out, watch))
}

/// Runs the batch with this seed, and writes the gradient to `out`, (P,).
fn seeded<T: Scalar>(
    batch: &mut BatchPass<T>,
    network: &Network<T>,
    seed: impl Fn(usize, &mut [f64]) -> f64 + Sync,
    out: &mut [T],
    watch: &mut Watch<'_>,
) -> Result<()> {
    let mut stages = Stages::new(watch, &[2.0, 1.0, 0.1]);
    stages.next(|watch| batch.run(network, seed, watch))?;
    if batch.losses.iter().any(|loss| loss.is_nan()) {
        return Err(too_large::<T>());
    }
    stages.next(|watch| write_gradient(batch, network, out, watch))?;
    let finite = AllFinite::new();
    let check = |values: &mut [T]| {
        // Without an early exit the loop vectorises.
        finite.record(
            values
                .iter()
                .fold(true, |all, value| all & value.widen().is_finite()),
        );
    };
    stages.next(|watch| pool::for_each_chunk(out, 1.0, watch, check))?;
    finite.check(|| Error::TooLarge {
        what: "an entry of the product",
        dtype: T::NAME,
    })
}

/// Writes `J v` of K vectors v, packed by [`Network::with_parameters`], to `out`, (K, N, O).
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
    let pass = TangentPass {
        network,
        tangents,
        precomputed: forward_if_callable(network, x, watch)?,
    };
    let panels = band_panels::<T>(samples, 1)?;
    let size = panels * Panels::<T>::LANES;
    let scratch = (0..pool::num_threads()?).map(|_| Scratch::new(network, size, tangents.len()));
    let mut scratch: Vec<_> = scratch.collect::<Result<_>>()?;
    let out = out.axis_chunks_iter_mut(Axis(1), size);
    let bands = x.all().chunks(panels).zip(out).enumerate();
    let bands = bands.map(|(band, (x, out))| TangentBand {
        x,
        out,
        first: band * size,
    });
    let finite = AllFinite::new();
    let work = |scratch: &mut Scratch<T>, band: TangentBand<'_, T>, stop: &Stop| {
        finite.record(pass.run(band, scratch, stop));
    };
    let cycles = tangents.len() as f64 * network.cycles(samples);
    pool::for_each_with(&mut scratch, bands, cycles, watch, work)?;
    finite.check(too_large::<T>)
}

/// A band of samples, written by one worker.
struct TangentBand<'a, T: Scalar> {
    x: PanelSlice<'a, T>,
    /// ḣ^L, (K, samples, O).
    out: ArrayViewMut3<'a, T>,
    /// The index of the first sample.
    first: usize,
}

/// Per-worker scratch space, reused between bands: one row per sample.
struct Scratch<T: Scalar> {
    /// `x^1 … x^{L−1}, h^L`.
    values: Vec<Panels<T>>,
    /// `φ'(h^1) … φ'(h^{L−1})`. The last element is not used.
    slopes: Vec<Panels<T>>,
    /// `ẋ^1 … ẋ^{L−1}, ḣ^L` of each tangent vector.
    tangents: Vec<Vec<Panels<T>>>,
    band: BandScratch,
}

impl<T: Scalar> Scratch<T> {
    /// Allocates the memory for bands of `samples` samples.
    fn new(network: &Network<T>, samples: usize, tangents: usize) -> Result<Self> {
        let allocate = || Layer::unwritten_outputs(&network.layers, samples);
        Ok(Self {
            values: allocate()?,
            slopes: allocate()?,
            tangents: (0..tangents).map(|_| allocate()).collect::<Result<_>>()?,
            band: BandScratch::default(),
        })
    }
}

/// The forward pass of values and of tangent vectors.
struct TangentPass<'a, T: Scalar> {
    network: &'a Network<T>,
    tangents: &'a [Network<T>],
    precomputed: Option<ForwardPass<T>>,
}

impl<T: Scalar> TangentPass<'_, T> {
    /// Runs all layers and writes ḣ^L of each tangent vector. Returns true if all values are finite.
    fn run(&self, mut band: TangentBand<'_, T>, scratch: &mut Scratch<T>, stop: &Stop) -> bool {
        let mut finite = true;
        for index in 0..self.network.depth() {
            finite &= self.step(index, &band, scratch, stop);
            finite &= self.tangent_steps(index, &band, scratch, stop);
        }
        for (panels, out) in scratch.tangents.iter().zip(band.out.outer_iter_mut()) {
            if let Some(last) = panels.last() {
                write_rows(last, out);
            }
        }
        finite
    }

    /// Runs one layer on the values. Returns true if they are finite.
    fn step(
        &self,
        index: usize,
        band: &TangentBand<'_, T>,
        scratch: &mut Scratch<T>,
        stop: &Stop,
    ) -> bool {
        let samples = band.out.dim().1;
        let whole = band.first..band.first + samples;
        let (before, after) = scratch.values.split_at_mut(index);
        let activation = self.network.activation(index);
        let pass = self.precomputed.as_ref();
        let step = DenseStep {
            layer: &self.network.layers[index],
            activation,
            input: layer_input(before, band.x, samples),
            samples,
            precomputed: pass.and_then(|pass| pass.precomputed(index, &whole)),
        };
        let slopes = scratch.slopes[index].first_rows_mut(samples);
        let target = LayerOutput {
            values: after[0].first_rows_mut(samples),
            slopes: activation.map(|_| slopes),
        };
        step.run(target, &mut scratch.band, stop)
    }

    /// Runs one layer on every tangent vector. Returns true if all values are finite.
    fn tangent_steps(
        &self,
        index: usize,
        band: &TangentBand<'_, T>,
        scratch: &mut Scratch<T>,
        stop: &Stop,
    ) -> bool {
        let samples = band.out.dim().1;
        let slopes = self.network.activation(index).map(|_| BandSlopes {
            panels: scratch.slopes[index].of_rows(&(0..samples)),
            samples,
            count: 1,
        });
        let mut finite = true;
        for (tangent, panels) in self.tangents.iter().zip(&mut scratch.tangents) {
            let (before, after) = panels.split_at_mut(index);
            let step = TangentStep {
                layer: &self.network.layers[index],
                direction: &tangent.layers[index],
                input: layer_input(&scratch.values[..index], band.x, samples),
                tangent: before.last().map(|values| values.of_rows(&(0..samples))),
                slopes,
                samples,
            };
            let target = after[0].first_rows_mut(samples);
            finite &= step.run(target, &mut scratch.band, stop);
        }
        finite
    }
}

/// One dense layer and the activation after it, on a band of a tangent vector.
struct TangentStep<'a, T: Scalar> {
    layer: &'a Layer<T>,
    /// Ẇ and ḃ.
    direction: &'a Layer<T>,
    /// x at the layer's input.
    input: PanelSlice<'a, T>,
    /// ẋ at the layer's input; `None` in the first layer, where it is 0.
    tangent: Option<PanelSlice<'a, T>>,
    slopes: Option<BandSlopes<'a, T>>,
    samples: usize,
}

impl<T: Scalar> TangentStep<'_, T> {
    /// Writes ẋ, or ḣ of the last layer. Returns true if all values are finite.
    fn run(&self, target: &mut [T::Line], scratch: &mut BandScratch, stop: &Stop) -> bool {
        let layer = self.layer;
        let directions = unit_chunks(&self.direction.columns);
        let mut finite = true;
        for ((units, weights), (_, directions)) in unit_chunks(&layer.columns).zip(directions) {
            if stop.requested() {
                break;
            }
            let (lanes, tile) = (Panels::<T>::LANES, &mut scratch.tile);
            tile.reset(weights.len() * lanes, self.input.len() * lanes);
            if layer.trains_weights() {
                add_product(directions, self.input, tile);
            }
            if let Some(tangent) = self.tangent {
                add_product(weights, tangent, tile);
            }
            for (row, unit) in units.enumerate() {
                let values = &mut scratch.tile.row_mut(row)[..self.samples];
                self.finish(unit, values, &mut scratch.slopes);
                finite &= all_fit::<T>(values);
                store_unit::<T>(target, layer.outputs(), unit, values);
            }
        }
        finite
    }

    /// Scales the products of a unit, adds ḃ and multiplies by φ'.
    fn finish(&self, unit: usize, values: &mut [f64], slopes: &mut Vec<f64>) {
        let bias = self.direction.bias.get(unit).unwrap_or(&0.0);
        let bias = self.layer.bias_learning_scale * bias;
        values
            .iter_mut()
            .for_each(|value| *value = self.layer.weight_scale * *value + bias);
        if let Some(band_slopes) = self.slopes {
            values
                .iter_mut()
                .zip(band_slopes.of_unit(unit, slopes))
                .for_each(|(value, slope)| *value *= *slope);
        }
    }
}
