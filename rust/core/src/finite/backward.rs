//! The backward pass: `δ^l = φ'(h^l) ⊙ (scale · W^l δ^{l+1})`, for several output directions at once.

use std::ops::Range;

use ndarray::Array2;

use crate::engine::panel::{PanelSlice, Panels, bands_mut};
use crate::engine::pool::{self, Load, Stop, Watch};
use crate::engine::scalar::{Line, Scalar};
use crate::engine::tile::{EDGE, Tile, product};
use crate::error::Result;
use crate::finite::forward::{ForwardPass, Scratch, band_panels, store_unit};
use crate::finite::network::{Layer, Network};
use crate::isa::{Vector, Vectorized};

/// The directions `s_0 … s_{S−1}` in output space along which outputs are differentiated: `δ^L = s`.
///
/// All outputs: the S = O unit vectors. One output: S = 1.
#[derive(Clone, Debug)]
pub struct OutputDirections(Array2<f64>);

impl OutputDirections {
    /// The (S, O) matrix of directions, one a row.
    pub fn new(directions: Array2<f64>) -> Self {
        Self(directions)
    }

    /// S.
    pub fn len(&self) -> usize {
        self.0.nrows()
    }

    /// Whether there is no direction.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `⟨s_m, s_n⟩`, (S, S).
    pub fn gram(&self) -> Array2<f64> {
        // A plain sum: a library's product may round differently from machine to machine.
        let inner = |(m, n): (usize, usize)| {
            self.0
                .row(m)
                .iter()
                .zip(self.0.row(n))
                .map(|(a, b)| a * b)
                .sum()
        };
        Array2::from_shape_fn((self.len(), self.len()), inner)
    }

    /// Copies direction `s`.
    pub(crate) fn copy(&self, s: usize, values: &mut [f64]) {
        values
            .iter_mut()
            .zip(self.0.row(s))
            .for_each(|(value, entry)| *value = *entry);
    }

    /// `scale · W s` for each input unit of the last layer (rows) and each direction (columns).
    fn through<T: Scalar>(&self, layer: &Layer<T>) -> Array2<f64> {
        let mut weights = vec![0.0; layer.outputs()];
        let mut heads = Array2::zeros((layer.inputs(), self.len()));
        for (unit, mut head) in heads.rows_mut().into_iter().enumerate() {
            layer.rows.copy_row(unit, &mut weights);
            for (value, direction) in head.iter_mut().zip(self.0.rows()) {
                let sum: f64 = weights
                    .iter()
                    .zip(direction)
                    .map(|(weight, entry)| weight * entry)
                    .sum();
                *value = layer.weight_scale * sum;
            }
        }
        heads
    }
}

/// `δ^1 … δ^{L−1}`, each with N·S rows: sample i in direction s is row `i·S + s`.
pub type Deltas<T> = Vec<Panels<T>>;

/// The part of every δ that one worker fills: `S` rows for each of a band of samples.
struct BackwardBand<'a, T: Scalar> {
    /// `scale · W s` of the last layer, for each of the S directions.
    heads: &'a Array2<f64>,
    /// The first one begins a panel.
    samples: Range<usize>,
    deltas: Vec<&'a mut [T::Line]>,
}

/// Differentiates the outputs of a forward pass with respect to every pre-activation, along several groups of
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
    let (samples, hidden) = (pass.samples(), &network.layers[1..]);
    let allocate = |group: &OutputDirections| {
        hidden
            .iter()
            .map(|layer| Panels::unwritten(samples * group.len(), layer.inputs()))
            .collect::<Result<Deltas<T>>>()
    };
    let mut deltas = groups.iter().map(allocate).collect::<Result<Vec<_>>>()?;
    let Some(last) = hidden.last() else {
        return Ok(deltas);
    };
    let heads: Vec<_> = groups.iter().map(|group| group.through(last)).collect();
    let mut bands = Vec::new();
    for (heads, deltas) in heads.iter().zip(&mut deltas) {
        let count = heads.ncols();
        let band_panels = band_panels::<T>(samples, count)?;
        let band_samples = band_panels * Panels::<T>::LANES;
        let parts = bands_mut(deltas.iter_mut(), band_panels * count);
        bands.extend(
            parts
                .into_iter()
                .enumerate()
                .map(|(band, deltas)| BackwardBand {
                    heads,
                    samples: band * band_samples..samples.min((band + 1) * band_samples),
                    deltas,
                }),
        );
    }
    let directions: usize = groups.iter().map(OutputDirections::len).sum();
    let load = Load::new(bands.len(), directions as f64 * network.cycles(samples));
    let work = |scratch: &mut Scratch, band: BackwardBand<'_, T>, stop: &Stop| {
        band.run(network, pass, scratch, stop);
    };
    pool::for_each(bands.into_iter(), load, watch, Scratch::default, work)?;
    Ok(deltas)
}

impl<T: Scalar> BackwardBand<'_, T> {
    fn run(
        mut self,
        network: &Network<T>,
        pass: &ForwardPass<T>,
        scratch: &mut Scratch,
        stop: &Stop,
    ) {
        let heads = self.heads;
        let rows = self.samples.len() * heads.ncols();
        // deltas[index] is δ^{index+1}, at the input of layers[index + 1].
        for (index, layer) in network.layers[1..].iter().enumerate().rev() {
            let (before, after) = self.deltas.split_at_mut(index + 1);
            let target = &mut *before[index];
            let slopes = BandSlopes {
                panels: pass.slopes[index].of_rows(&self.samples),
                count: heads.ncols(),
            };
            match after.first() {
                None => write_heads::<T>(heads, &slopes, rows, target, scratch),
                Some(lines) => {
                    let next = PanelSlice::new(lines, layer.outputs(), layer.rows.all().isa());
                    back_through(layer, next, &slopes, rows, target, (scratch, stop));
                }
            }
        }
    }
}

/// One row per sample whose inner products are `Σ_m ⟨δ^{L−1}_m, δ'^{L−1}_m⟩` over all outputs: since `δ^{L−1}_m` is a
/// column of weights times φ'(h), the sum is over units, `(Σ_m w_km²) φ'(h_k) φ'(h'_k)`. Nothing without hidden layers.
///
/// # Errors
/// [`crate::Error::Memory`].
pub(crate) fn collapse<T: Scalar>(
    network: &Network<T>,
    pass: &ForwardPass<T>,
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
    let mut collapsed = slopes.duplicate()?;
    for (line, norm) in collapsed
        .chunks_mut(1)
        .flat_map(|panel| panel.iter_mut().zip(&norms))
    {
        for value in line.lanes_mut() {
            *value = T::narrow(norm * value.widen());
        }
    }
    Ok(Some(collapsed))
}

/// The last hidden layer's δ: an outer scaling, no product.
fn write_heads<T: Scalar>(
    heads: &Array2<f64>,
    slopes: &BandSlopes<'_, T>,
    rows: usize,
    target: &mut [T::Line],
    scratch: &mut Scratch,
) {
    if slopes.count == 1 {
        return slopes.panels.isa().run(Outer::<T> {
            heads,
            slopes: slopes.panels,
            target,
        });
    }
    for (unit, head) in heads.rows().into_iter().enumerate() {
        let row = slopes.of_unit(unit, rows, &mut scratch.slopes);
        for values in row.chunks_mut(slopes.count) {
            values
                .iter_mut()
                .zip(head)
                .for_each(|(value, head)| *value *= head);
        }
        store_unit::<T>(target, heads.nrows(), unit, row);
    }
}

/// `δ = φ'(h) · head` for all units and one direction, whole lines of it.
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

/// δ at the input of `layer` from δ at its output.
pub(crate) fn back_through<T: Scalar>(
    layer: &Layer<T>,
    next: PanelSlice<'_, T>,
    slopes: &BandSlopes<'_, T>,
    rows: usize,
    target: &mut [T::Line],
    (scratch, stop): (&mut Scratch, &Stop),
) {
    let units = layer.inputs();
    for (chunk, weights) in layer
        .rows
        .all()
        .chunks(EDGE / Panels::<T>::LANES)
        .enumerate()
    {
        if stop.requested() {
            return;
        }
        product(weights, next, &mut scratch.tile);
        if slopes.count == 1 {
            next.isa().run(Scaled::<T> {
                tile: &scratch.tile,
                scale: layer.weight_scale,
                slopes: slopes.panels,
                target: &mut *target,
                units: chunk * EDGE..units.min((chunk + 1) * EDGE),
            });
            continue;
        }
        for unit in chunk * EDGE..units.min((chunk + 1) * EDGE) {
            let sums = scratch.tile.row(unit - chunk * EDGE);
            let delta = slopes.of_unit(unit, rows, &mut scratch.slopes);
            delta
                .iter_mut()
                .zip(sums)
                .for_each(|(value, sum)| *value *= layer.weight_scale * sum);
            store_unit::<T>(target, units, unit, delta);
        }
    }
}

/// `δ = φ'(h) · scale · sums` for some units and one direction. Lanes past the last row get what nobody reads, 0 from
/// zeros.
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

/// `φ'(h)` of a band of samples, each repeated for `count` directions.
pub(crate) struct BandSlopes<'a, T: Scalar> {
    pub(crate) panels: PanelSlice<'a, T>,
    pub(crate) count: usize,
}

impl<T: Scalar> BandSlopes<'_, T> {
    /// The slopes of `unit`, one value per row of the band, in a buffer.
    pub(crate) fn of_unit<'b>(
        &self,
        unit: usize,
        rows: usize,
        buffer: &'b mut Vec<f64>,
    ) -> &'b mut [f64] {
        buffer.clear();
        for panel in self.panels.panels() {
            let slopes = panel[unit].lanes().iter().map(|slope| slope.widen());
            if self.count == 1 {
                buffer.extend(slopes);
            } else {
                buffer.extend(slopes.flat_map(|slope| std::iter::repeat_n(slope, self.count)));
            }
        }
        &mut buffer[..rows]
    }
}
