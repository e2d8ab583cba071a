//! The backward pass, along several output directions at once:
//!
//! ```text
//! δ^l = φ'(h^l) ⊙ (weight scale · W^l δ^{l+1}),    δ^L = s
//! ```

use std::ops::Range;

use ndarray::Array2;

use crate::engine::panel::{PanelSlice, Panels, bands_mut};
use crate::engine::pool::{self, Load, Stages, Stop, Watch};
use crate::engine::scalar::{Line, Scalar};
use crate::engine::tile::{Tile, product};
use crate::error::Result;
use crate::finite::forward::{BandScratch, ForwardPass, band_panels, store_unit};
use crate::finite::layer::{Layer, unit_chunks};
use crate::finite::network::Network;
use crate::finite::output_directions::OutputDirections;
use crate::isa::{Vector, Vectorized};

/// `δ^1 … δ^{L−1}`, each with N·S rows: sample i in direction s is row `i·S + s`.
pub type Deltas<T> = Vec<Panels<T>>;

/// Differentiates the outputs of a forward pass with respect to every hidden pre-activation, along each group of
/// directions.
///
/// 2·N·S flops per weight of the layers between the first and the last, for each group.
///
/// # Errors
/// [`crate::Error::Memory`], [`crate::Error::Cancelled`].
pub fn backward<T: Scalar>(
    network: &Network<T>,
    pass: &ForwardPass<T>,
    groups: &[OutputDirections],
    watch: &mut Watch<'_>,
) -> Result<Vec<Deltas<T>>> {
    let (samples, last) = (pass.samples(), network.depth() - 1);
    let allocate = |group: &OutputDirections| {
        Layer::unwritten_outputs(&network.layers[..last], samples * group.len())
    };
    let mut deltas = groups.iter().map(allocate).collect::<Result<Vec<_>>>()?;
    if last == 0 {
        return Ok(deltas);
    }
    let layer = &network.layers[last];
    let directions: usize = groups.iter().map(OutputDirections::len).sum();
    let cycles = directions as f64 * network.cycles(samples);
    let heads = groups.iter().map(|group| group.head_cycles(layer));
    let shares: Vec<_> = heads.chain([cycles]).collect();
    let mut stages = Stages::new(watch, &shares);
    let heads = groups
        .iter()
        .map(|group| stages.next(|watch| group.through(layer, watch)));
    let heads = heads.collect::<Result<Vec<_>>>()?;
    let mut bands = Vec::new();
    for (heads, deltas) in heads.iter().zip(&mut deltas) {
        bands.extend(BackwardBand::cut(samples, heads, deltas)?);
    }
    let load = Load::new(bands.len(), cycles);
    let work = |scratch: &mut BandScratch, band: BackwardBand<'_, T>, stop: &Stop| {
        band.run(network, pass, scratch, stop);
    };
    let bands = bands.into_iter();
    stages.next(|watch| pool::for_each(bands, load, watch, BandScratch::default, work))?;
    Ok(deltas)
}

/// A band of samples in every δ of one group, written by one worker: S rows per sample.
struct BackwardBand<'a, T: Scalar> {
    /// `weight scale · W s` of the last layer, for each of the S directions.
    heads: &'a Array2<f64>,
    /// The first sample begins a panel.
    samples: Range<usize>,
    deltas: Vec<&'a mut [T::Line]>,
}

impl<'a, T: Scalar> BackwardBand<'a, T> {
    /// Cuts all samples into bands.
    fn cut(
        samples: usize,
        heads: &'a Array2<f64>,
        deltas: &'a mut Deltas<T>,
    ) -> Result<impl Iterator<Item = Self>> {
        let count = heads.ncols();
        let panels = band_panels::<T>(samples, count)?;
        let size = panels * Panels::<T>::LANES;
        let bands = bands_mut(deltas.iter_mut(), panels * count);
        let bands = bands.into_iter().enumerate();
        Ok(bands.map(move |(band, deltas)| Self {
            heads,
            samples: band * size..samples.min((band + 1) * size),
            deltas,
        }))
    }

    /// Writes `δ^{L−1} … δ^1` of the band.
    fn run(
        mut self,
        network: &Network<T>,
        pass: &ForwardPass<T>,
        scratch: &mut BandScratch,
        stop: &Stop,
    ) {
        // deltas[index] is δ^{index+1}, at the input of layers[index + 1].
        for (index, layer) in network.layers[1..].iter().enumerate().rev() {
            let (before, after) = self.deltas.split_at_mut(index + 1);
            let target = &mut *before[index];
            let slopes = BandSlopes {
                panels: pass.slopes[index].of_rows(&self.samples),
                samples: self.samples.len(),
                count: self.heads.ncols(),
            };
            match after.first() {
                None => write_heads::<T>(self.heads, slopes, target, scratch),
                Some(lines) => {
                    let next = PanelSlice::new(lines, layer.outputs(), layer.rows.all().isa());
                    let step = BackwardStep {
                        layer,
                        next,
                        slopes,
                    };
                    step.run(target, scratch, stop);
                }
            }
        }
    }
}

/// Returns one row per sample, such that inner products of rows are `Σ_m ⟨δ^{L−1}_m, δ'^{L−1}_m⟩` over all outputs m.
/// `None` without hidden layers.
///
/// `δ^{L−1}_m` is column m of the last weights times φ'(h), so the inner product is a sum over units k,
/// `Σ_k (Σ_m w_km²) φ'(h_k) φ'(h'_k)`.
///
/// # Errors
/// [`crate::Error::Memory`], [`crate::Error::Cancelled`].
pub(crate) fn collapse<T: Scalar>(
    network: &Network<T>,
    pass: &ForwardPass<T>,
    watch: &mut Watch<'_>,
) -> Result<Option<Panels<T>>> {
    let (layer, Some(slopes)) = (&network.layers[network.depth() - 1], pass.slopes.last()) else {
        return Ok(None);
    };
    let mut weights = vec![0.0; layer.outputs()];
    let mut norm = |unit: usize| {
        layer.rows.copy_row(unit, &mut weights);
        layer.weight_scale
            * weights
                .iter()
                .map(|weight| weight * weight)
                .sum::<f64>()
                .sqrt()
    };
    let norms: Vec<f64> = (0..layer.inputs()).map(&mut norm).collect();
    let mut stages = Stages::new(watch, &[1.0, 1.0]);
    let mut collapsed = stages.next(|watch| slopes.duplicate(watch))?;
    let panels = collapsed.chunks_mut(1);
    let load = Load::new(panels.len(), 2.0 * (slopes.rows() * slopes.depth()) as f64);
    let scale = |(): &mut (), panel: &mut [T::Line], _: &Stop| {
        for (line, norm) in panel.iter_mut().zip(&norms) {
            for value in line.lanes_mut() {
                *value = T::narrow(norm * value.widen());
            }
        }
    };
    stages.next(|watch| pool::for_each(panels, load, watch, || (), scale))?;
    Ok(Some(collapsed))
}

/// Writes `δ^{L−1}`: φ' times the heads, without a product.
fn write_heads<T: Scalar>(
    heads: &Array2<f64>,
    slopes: BandSlopes<'_, T>,
    target: &mut [T::Line],
    scratch: &mut BandScratch,
) {
    if slopes.count == 1 {
        return slopes.panels.isa().run(Outer::<T> {
            heads,
            slopes: slopes.panels,
            target,
        });
    }
    for (unit, head) in heads.rows().into_iter().enumerate() {
        let row = slopes.of_unit(unit, &mut scratch.slopes);
        for values in row.chunks_mut(slopes.count) {
            values
                .iter_mut()
                .zip(head)
                .for_each(|(value, head)| *value *= head);
        }
        store_unit::<T>(target, heads.nrows(), unit, row);
    }
}

/// `δ = φ'(h) · head` for all units and one direction, in whole lines.
struct Outer<'a, T: Scalar> {
    heads: &'a Array2<f64>,
    slopes: PanelSlice<'a, T>,
    target: &'a mut [T::Line],
}

impl<T: Scalar> Vectorized for Outer<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let units = self.slopes.depth();
        for (slopes, target) in self.slopes.panels().zip(self.target.chunks_mut(units)) {
            for ((head, slopes), target) in self.heads.iter().zip(slopes).zip(target) {
                for block in 0..T::Line::BLOCKS {
                    let delta = T::load::<V>(slopes, block) * V::splat(*head);
                    T::store(delta, target, block);
                }
            }
        }
    }
}

/// The backward pass through one dense layer and the activation before it, on a band.
pub(crate) struct BackwardStep<'a, T: Scalar> {
    pub(crate) layer: &'a Layer<T>,
    /// δ at the layer's output.
    pub(crate) next: PanelSlice<'a, T>,
    /// φ' of the activation before the layer.
    pub(crate) slopes: BandSlopes<'a, T>,
}

impl<T: Scalar> BackwardStep<'_, T> {
    /// Writes δ at the input of the activation before the layer.
    pub(crate) fn run(&self, target: &mut [T::Line], scratch: &mut BandScratch, stop: &Stop) {
        for (units, weights) in unit_chunks(&self.layer.rows) {
            if stop.requested() {
                return;
            }
            product(weights, self.next, &mut scratch.tile);
            if self.slopes.count == 1 {
                self.next.isa().run(Scaled::<T> {
                    tile: &scratch.tile,
                    scale: self.layer.weight_scale,
                    slopes: self.slopes.panels,
                    target: &mut *target,
                    units,
                });
            } else {
                self.write_units(units, target, scratch);
            }
        }
    }

    /// `δ = φ'(h) · scale · sums` for some units and several directions. The tile holds the sums.
    fn write_units(&self, units: Range<usize>, target: &mut [T::Line], scratch: &mut BandScratch) {
        let BandScratch { tile, slopes } = scratch;
        for (row, unit) in units.enumerate() {
            let delta = self.slopes.of_unit(unit, slopes);
            delta
                .iter_mut()
                .zip(tile.row(row))
                .for_each(|(value, sum)| *value *= self.layer.weight_scale * sum);
            store_unit::<T>(target, self.layer.inputs(), unit, delta);
        }
    }
}

/// `δ = φ'(h) · scale · sums` for some units and one direction, in whole lines. Lanes past the last row hold
/// unspecified values that are never read.
struct Scaled<'a, T: Scalar> {
    tile: &'a Tile,
    scale: f64,
    slopes: PanelSlice<'a, T>,
    target: &'a mut [T::Line],
    units: Range<usize>,
}

impl<T: Scalar> Vectorized for Scaled<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (scale, blocks) = (V::splat(self.scale), T::Line::BLOCKS);
        let panels = self
            .slopes
            .panels()
            .zip(self.target.chunks_mut(self.slopes.depth()));
        for (panel, (slopes, target)) in panels.enumerate() {
            let samples = panel * blocks..(panel + 1) * blocks;
            for (r, unit) in self.units.clone().enumerate() {
                let sums = &self.tile.row_blocks(r)[samples.clone()];
                for (block, sums) in sums.iter().enumerate() {
                    let delta = T::load::<V>(&slopes[unit], block) * (scale * V::load(sums));
                    T::store(delta, &mut target[unit], block);
                }
            }
        }
    }
}

/// φ'(h) of a band of samples. Each value serves `count` directions, in consecutive rows.
#[derive(Clone, Copy)]
pub(crate) struct BandSlopes<'a, T: Scalar> {
    pub(crate) panels: PanelSlice<'a, T>,
    pub(crate) samples: usize,
    pub(crate) count: usize,
}

impl<T: Scalar> BandSlopes<'_, T> {
    /// Copies the slopes of `unit` to a buffer, one value per sample and direction.
    pub(crate) fn of_unit<'b>(&self, unit: usize, buffer: &'b mut Vec<f64>) -> &'b mut [f64] {
        buffer.clear();
        for panel in self.panels.panels() {
            let slopes = panel[unit].lanes().iter().map(|slope| slope.widen());
            if self.count == 1 {
                buffer.extend(slopes);
            } else {
                buffer.extend(slopes.flat_map(|slope| std::iter::repeat_n(slope, self.count)));
            }
        }
        &mut buffer[..self.samples * self.count]
    }
}
