//! One layer on a plane of pixel pairs: one image against eight, row by row.
//!
//! The state of a pair is its gap, and two products after the last activation: `c = ωω'ρ` and ṪΘ. After a layer,
//!
//! ```text
//! ρ' = ii' (Σ_τ c_τ + κκ')        Θ' = own + σ_w²/k Σ_τ (ṪΘ)_τ
//! ```
//!
//! The sum of each column of a window is computed once, and serves all windows of the row that hold this column. Small
//! gaps are computed again by [`near`](super::near).

use std::ops::Range;

use super::axis::{AxisLevel, Segment};
use super::buffers::{PlaneGrid, RectangleSum, RowBuffers};
use super::near::{FlatHead, NEAR, NearForm};
use super::pair::LayerPair;
use super::pixel_rows::{PixelRow, RowProducts, SumOfRows};
use super::pooled::PoolSums;
use super::windows::{sum_columns, window_sum};
use crate::activations::features::Variables;
use crate::isa::{Block, Vector, Vectorized, WIDTH};

/// One layer on one plane.
pub(super) struct LayerPass<'a> {
    pub layer: &'a LayerPair<'a>,
    /// The places of pairs before and after the layer.
    pub inputs: [&'a AxisLevel; 2],
    pub outputs: [&'a AxisLevel; 2],
    pub old: &'a PlaneGrid,
    pub new: &'a mut PlaneGrid,
    pub buffers: &'a mut RowBuffers,
    /// After the last layer of a stage, the sums of the head or of a pool.
    pub end: Option<PlaneEnd<'a>>,
}

/// The sums over the output of a stage's last layer.
#[allow(clippy::large_enum_variant, reason = "one at a time, on the stack")]
pub(super) enum PlaneEnd<'a> {
    Head(HeadSums<'a>),
    Pool(PoolSums<'a>),
}

/// The sums of the head.
pub(super) struct HeadSums<'a> {
    /// The weights of pairs along both axes, for each segment.
    pub weights: [&'a [Vec<f64>]; 2],
    pub flat: Option<FlatHead>,
    /// The sums over each rectangle of pairs.
    pub sums: &'a mut Vec<RectangleSum>,
}

impl Vectorized for LayerPass<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(mut self) {
        let [vertical, horizontal] = self.outputs.map(|level| &level.segments);
        // There are at most two along each axis.
        let mut rectangles = [[0, 0], [0, 1], [1, 0], [1, 1]];
        if let Some(PlaneEnd::Pool(pool)) = &self.end {
            rectangles.sort_by_key(|[y, x]| {
                let shift = [vertical.get(*y)?.shift, horizontal.get(*x)?.shift];
                Some(pool.order(shift))
            });
        }
        for [y, x] in rectangles {
            if y < vertical.len() && x < horizontal.len() {
                self.rectangle::<V>([y, x]);
            }
        }
    }
}

/// The number of pairs that pass through one activation at a time, unless a single row has more: few enough that they
/// stay in the fastest cache.
pub(super) const BAND: usize = 64;

impl LayerPass<'_> {
    /// All pairs of one segment along each axis, a band of rows at a time.
    #[inline(always)]
    fn rectangle<V: Vector>(&mut self, index: [usize; 2]) {
        let vertical = self.outputs[0].segments[index[0]];
        let horizontal = self.outputs[1].segments[index[1]];
        let shift = [vertical.shift, horizontal.shift];
        let mut sums = SumOfRows::<V>::new();
        let band = (BAND / horizontal.len).max(1);
        for first in (0..vertical.len).step_by(band) {
            let lines = first..vertical.len.min(first + band);
            for line in lines.clone() {
                let row = self.row([&vertical, &horizontal], [first, line]);
                self.sum_windows::<V>(&row);
                self.gaps::<V>(&row);
            }
            self.activate([&vertical, &horizontal], lines.clone());
            for line in lines {
                let row = self.row([&vertical, &horizontal], [first, line]);
                match &mut self.end {
                    None => self.store::<V>(&row),
                    Some(PlaneEnd::Head(head)) => {
                        head.add_row(self.layer, self.buffers, &row, (index, line), &mut sums);
                    }
                    Some(PlaneEnd::Pool(pool)) => {
                        let products = RowProducts::new(self.layer, self.buffers, &row);
                        pool.add_row::<V>(&products, index, line, shift);
                    }
                }
            }
        }
        if let Some(PlaneEnd::Head(head)) = &mut self.end {
            head.sums.push(sums.stored(shift));
        }
    }

    /// Sums the columns of the windows of a row.
    #[inline(always)]
    pub fn sum_windows<V: Vector>(&mut self, row: &PixelRow) {
        let [rows, columns] = self.layer.axes;
        let width = columns.stride * (row.len - 1) + columns.window;
        let RowBuffers {
            products, tangents, ..
        } = &mut *self.buffers;
        let shape = [rows.window, self.old.stride, width];
        sum_columns::<V>(&self.old.products, products, row.from, shape);
        if self.layer.channels.is_none() {
            sum_columns::<V>(&self.old.tangents, tangents, row.from, shape);
        }
    }

    /// Row `line` of a rectangle of pairs, in a band that begins with row `first`.
    #[inline(always)]
    pub fn row(&self, segments: [&Segment; 2], [first, line]: [usize; 2]) -> PixelRow {
        let [rows, columns] = self.layer.axes;
        let [vertical, horizontal] = segments;
        let mut from = [0; 2];
        for axis in 0..2 {
            let (layer, output) = (self.layer.axes[axis], segments[axis]);
            // The plane of the input has a segment for each of the output.
            if let Some(input) = self.inputs[axis].with_shift(output.shift * layer.stride as isize)
            {
                from[axis] = input.at - layer.before;
            }
        }
        let u = [vertical.start + line, horizontal.start];
        let v = [vertical.partner() + line, horizontal.partner()];
        PixelRow {
            first: [u, v],
            pixels: [u[0] * columns.output + u[1], v[0] * columns.output + v[1]],
            len: horizontal.len,
            from: (from[0] + rows.stride * line) * self.old.stride + from[1],
            to: (vertical.at + line) * self.new.stride + horizontal.at,
            band: (line - first) * horizontal.len,
        }
    }

    /// Computes the gaps of a row after the layer's biases, and Θ.
    #[inline(always)]
    fn gaps<V: Vector>(&mut self, row: &PixelRow) {
        let (layer, columns, [u, v]) = (self.layer, self.layer.axes[1], row.pixels);
        let [rows, cols] = &layer.sides;
        let inverses_u = &rows.inverses[0][u..u + row.len];
        let inverses_v = &cols.inverses[0][v..v + row.len];
        let bias = V::splat(rows.bias[layer.lane]) * V::load(cols.bias);
        let (variance, lane) = (V::splat(layer.variance), layer.lane % WIDTH);
        let (zero, one, bound) = (V::splat(0.0), V::splat(1.0), V::splat(NEAR));
        let (weights, biases) = (V::load(&layer.own.weights), V::load(&layer.own.biases));
        let near = NearForm {
            layer,
            levels: self.inputs,
            grid: self.old,
        };
        let buffers = &mut *self.buffers;
        let (products, tangents) = (buffers.products.blocks(), buffers.tangents.blocks());
        let gaps = &mut buffers.gaps.blocks_mut()[row.places()];
        let own = &mut buffers.own.blocks_mut()[row.places()];
        for x in 0..row.len {
            let first = columns.stride * x;
            let total = window_sum::<V>(products, first, columns.window);
            let mut tangent = weights.mul_add(total, biases);
            if layer.channels.is_none() {
                let sum = window_sum::<V>(tangents, first, columns.window);
                tangent = variance.mul_add(sum, tangent);
            }
            tangent.store(&mut own[x]);
            let inverse = V::splat(inverses_u[x][lane]) * V::load(&inverses_v[x]);
            let correlation = inverse * (total + bias);
            let size = (one - correlation.abs()).max(zero);
            size.copysign(correlation).store(&mut gaps[x]);
            if V::any(size.less(bound)) {
                near.replace(row.pair(x), &stored(total + bias), &mut gaps[x]);
            }
        }
    }

    /// Replaces the gaps of a band of rows by those after the activation, and computes Ṫ.
    #[inline(always)]
    fn activate(&mut self, segments: [&Segment; 2], lines: Range<usize>) {
        let layer = self.layer;
        let first = lines.start;
        for line in lines.clone() {
            let row = self.row(segments, [first, line]);
            let ([u, v], [rows, cols]) = (row.pixels, &layer.sides);
            let start = cols.features.1 + v;
            // The dual of a scale-free activation reads no numbers of the pixels: one step serves the whole band.
            let places = if layer.exact {
                row.places()
            } else {
                0..lines.len() * row.len
            };
            let pairs = Variables {
                rows: rows.features.0,
                row: (rows.features.1 + u) * WIDTH + layer.lane,
                cols: cols.features.0,
                blocks: start..start + places.len(),
            };
            let RowBuffers { gaps, dots, .. } = &mut *self.buffers;
            let gaps = &mut gaps.blocks_mut()[places.clone()];
            let dots = &mut dots.blocks_mut()[places];
            layer.dual.step_along(layer.isa, pairs, gaps, dots);
            if !layer.exact {
                break;
            }
        }
    }

    /// Writes the gaps and products of a row to the new plane.
    #[inline(always)]
    fn store<V: Vector>(&mut self, row: &PixelRow) {
        let products = RowProducts::new(self.layer, self.buffers, row);
        let (from, to) = (row.to, row.to + row.len);
        let gaps = &mut self.new.gaps.blocks_mut()[from..to];
        let values = &mut self.new.products.blocks_mut()[from..to];
        let tangents = &mut self.new.tangents.blocks_mut()[from..to];
        gaps.copy_from_slice(products.gaps);
        for x in 0..row.len {
            let [value, tangent] = products.at::<V>(x);
            value.store(&mut values[x]);
            tangent.store(&mut tangents[x]);
        }
    }
}

/// The values of a vector.
#[inline(always)]
fn stored<V: Vector>(vector: V) -> Block {
    let mut values = [0.0; WIDTH];
    vector.store(&mut values);
    values
}

impl HeadSums<'_> {
    /// Adds the weighted products of a row of a rectangle to its sums.
    #[inline(always)]
    fn add_row<V: Vector>(
        &self,
        layer: &LayerPair<'_>,
        buffers: &RowBuffers,
        row: &PixelRow,
        ([index, other], line): ([usize; 2], usize),
        sums: &mut SumOfRows<V>,
    ) {
        let (weight, weights) = (self.weights[0][index][line], &self.weights[1][other]);
        let products = RowProducts::new(layer, buffers, row);
        if let Some(flat) = &self.flat {
            sums.turns.add_row(layer, flat, row.pixels, products.gaps);
        }
        if weight == 0.0 {
            return;
        }
        let mut totals = [V::splat(0.0); 2];
        for (x, weight) in weights[..row.len].iter().enumerate() {
            let both = products.at::<V>(x);
            for index in 0..2 {
                totals[index] = both[index].mul_add(V::splat(*weight), totals[index]);
            }
        }
        sums.add(totals, weight);
    }
}
