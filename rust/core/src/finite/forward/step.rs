//! One dense layer and the activation after it, on a band of samples.
//!
//! The product of a tile of units stays in cache while it is scaled, activated and stored, [`GROUP`] units at a time.

use std::ops::Range;

use crate::activations::activation::Activation;
use crate::engine::panel::{PanelSlice, Panels};
use crate::engine::pool::Stop;
use crate::engine::scalar::{Line, Scalar};
use crate::engine::tile::{Tile, product};
use crate::finite::layer::{Layer, unit_chunks};
use crate::isa::{Vector, Vectorized, WIDTH};

/// Per-worker scratch space, reused between bands.
#[derive(Debug, Default)]
pub(crate) struct BandScratch {
    pub(crate) tile: Tile,
    /// φ' of some units, one row per unit.
    pub(crate) slopes: Vec<f64>,
}

/// One dense layer and the activation after it, on a band.
pub(crate) struct DenseStep<'a, T: Scalar> {
    pub(crate) layer: &'a Layer<T>,
    pub(crate) activation: Option<&'a dyn Activation>,
    pub(crate) input: PanelSlice<'a, T>,
    pub(crate) samples: usize,
    /// The result, if a pass over the whole batch has already computed it.
    pub(crate) precomputed: Option<Precomputed<'a, T>>,
}

/// The lines that a [`DenseStep`] writes, one row per sample.
pub(crate) struct LayerOutput<'a, T: Scalar> {
    /// φ(h), or h without an activation.
    pub(crate) values: &'a mut [T::Line],
    /// φ'(h).
    pub(crate) slopes: Option<&'a mut [T::Line]>,
}

/// The result of a [`DenseStep`] in a pass over the whole batch.
pub(crate) struct Precomputed<'a, T: Scalar> {
    pub(super) values: PanelSlice<'a, T>,
    pub(super) slopes: PanelSlice<'a, T>,
}

impl<T: Scalar> Precomputed<'_, T> {
    /// Copies the result to `target`.
    fn write(&self, target: LayerOutput<'_, T>) {
        let units = self.values.depth();
        let copy = |source: PanelSlice<'_, T>, target: &mut [T::Line]| {
            let panels = target.chunks_mut(units).zip(source.panels());
            panels.for_each(|(target, lines)| target.copy_from_slice(lines));
        };
        copy(self.values, target.values);
        if let Some(slopes) = target.slopes {
            copy(self.slopes, slopes);
        }
    }
}

impl<T: Scalar> DenseStep<'_, T> {
    /// Writes the layer's values and slopes. Returns true if all values are finite.
    pub(crate) fn run(
        &self,
        target: LayerOutput<'_, T>,
        scratch: &mut BandScratch,
        stop: &Stop,
    ) -> bool {
        match &self.precomputed {
            None => self.compute(target, scratch, stop),
            Some(precomputed) => {
                precomputed.write(target);
                true
            }
        }
    }

    fn compute(
        &self,
        mut target: LayerOutput<'_, T>,
        scratch: &mut BandScratch,
        stop: &Stop,
    ) -> bool {
        let BandScratch { tile, slopes } = scratch;
        let mut finite = true;
        for (units, columns) in unit_chunks(&self.layer.columns) {
            if stop.requested() {
                break;
            }
            product(columns, self.input, tile);
            let h = tile.first_rows_mut(units.len());
            let length = h.len() / units.len();
            for (group, h) in h.chunks_mut(GROUP * length).enumerate() {
                let first = units.start + group * GROUP;
                let group = first..first + h.len() / length;
                finite &= self.finish(h, group, &mut target, slopes);
            }
        }
        finite
    }

    /// Writes values and slopes of some units from `h`, their products, one row per unit. Returns true if all values are
    /// finite.
    fn finish(
        &self,
        h: &mut [f64],
        units: Range<usize>,
        target: &mut LayerOutput<'_, T>,
        slopes: &mut Vec<f64>,
    ) -> bool {
        let (layer, isa) = (self.layer, self.input.isa());
        isa.run(ScaleAndShift {
            h,
            scale: layer.weight_scale,
            bias: layer.bias.get(units.clone()).unwrap_or_default(),
            bias_scale: layer.bias_scale,
            units: units.len(),
        });
        let store = |rows: &[f64], lines: &mut [T::Line]| {
            isa.run(StoreUnits::<T> {
                rows,
                samples: self.samples,
                lines,
                units: units.clone(),
                depth: layer.outputs(),
            })
        };
        if let (Some(activation), Some(lines)) = (self.activation, target.slopes.as_deref_mut()) {
            slopes.resize(h.len(), 0.0);
            activation.evaluate(h, slopes);
            store(slopes, lines);
        }
        store(h, target.values)
    }
}

/// The number of units that are finished at once: their values stay in L1 until they are stored.
const GROUP: usize = 8;

/// `h ← scale · h + bias scale · b`, one row per unit.
struct ScaleAndShift<'a> {
    h: &'a mut [f64],
    scale: f64,
    /// b of these units; empty for a layer without biases.
    bias: &'a [f64],
    bias_scale: f64,
    units: usize,
}

impl Vectorized for ScaleAndShift<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let length = self.h.len() / self.units;
        for (unit, row) in self.h.chunks_exact_mut(length).enumerate() {
            let bias = self
                .bias
                .get(unit)
                .map_or(0.0, |bias| self.bias_scale * bias);
            for h in row {
                *h = self.scale * *h + bias;
            }
        }
    }
}

/// Stores rows of values, one per unit, in panels of samples. Lanes past the last sample stay zero. Returns true if all
/// values are finite as they are stored.
struct StoreUnits<'a, T: Scalar> {
    rows: &'a [f64],
    samples: usize,
    lines: &'a mut [T::Line],
    /// The units of the rows.
    units: Range<usize>,
    /// The number of units of the layer: the lines of a panel.
    depth: usize,
}

impl<T: Scalar> Vectorized for StoreUnits<'_, T> {
    type Output = bool;

    #[inline(always)]
    fn run<V: Vector>(self) -> bool {
        let (length, blocks) = (self.rows.len() / self.units.len(), T::Line::BLOCKS);
        let (whole, rest) = (self.samples / WIDTH, self.samples % WIDTH);
        let zero = V::splat(0.0);
        // The sum of 0 times each stored value: NaN if a value is not finite.
        let mut check = zero;
        for (unit, row) in self.units.zip(self.rows.chunks_exact(length)) {
            let row = &row.as_chunks().0[..self.samples.div_ceil(WIDTH)];
            for (index, values) in row.iter().enumerate() {
                let mut values = *values;
                if index == whole {
                    values[rest..].fill(0.0);
                }
                let line = &mut self.lines[index / blocks * self.depth + unit];
                T::store(V::load(&values), line, index % blocks);
                check = T::load::<V>(line, index % blocks).mul_add(zero, check);
            }
        }
        let mut checks = [0.0; WIDTH];
        check.store(&mut checks);
        checks.iter().all(|check| *check == 0.0)
    }
}

/// Stores one value per sample as unit `unit` of `depth` in panels. Lanes past the last sample are left as they are.
pub(crate) fn store_unit<T: Scalar>(
    lines: &mut [T::Line],
    depth: usize,
    unit: usize,
    values: &[f64],
) {
    for (panel, values) in values.chunks(Panels::<T>::LANES).enumerate() {
        let lanes = lines[panel * depth + unit].lanes_mut();
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane = T::narrow(*value);
        }
    }
}
