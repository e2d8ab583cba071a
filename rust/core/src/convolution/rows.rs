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

use super::buffers::{Lines, PlaneGrid, RectangleSum, RowBuffers};
use super::geometry::{AxisLevel, Segment};
use super::near::{FlatHead, HeadTurns, NEAR, NearForm};
use super::pair::LayerPair;
use crate::activations::features::Variables;
use crate::isa::{Block, Vector, Vectorized, WIDTH};
use crate::math::double_double::two_sum;

/// One layer on one plane.
pub(super) struct LayerPass<'a> {
    pub layer: &'a LayerPair<'a>,
    /// The places of pairs before and after the layer.
    pub inputs: [&'a AxisLevel; 2],
    pub outputs: [&'a AxisLevel; 2],
    pub old: &'a PlaneGrid,
    pub new: &'a mut PlaneGrid,
    pub buffers: &'a mut RowBuffers,
    /// After the last layer, the sums of the head.
    pub head: Option<HeadSums<'a>>,
}

/// The sums of the head.
pub(super) struct HeadSums<'a> {
    /// The weights of pairs along both axes, for each segment.
    pub weights: [&'a [Vec<f64>]; 2],
    pub flat: Option<FlatHead>,
    /// The sums over each rectangle of pairs.
    pub sums: &'a mut Vec<RectangleSum>,
}

/// A row of pixel pairs.
#[derive(Clone, Copy)]
struct PixelRow {
    /// The pixels of the first pair, as row and column: that of u, and that of v.
    first: [[usize; 2]; 2],
    /// The same pixels, counted row by row.
    pixels: [usize; 2],
    /// The number of pairs.
    len: usize,
    /// The place of the first window's first tap in the old plane.
    from: usize,
    /// The place of the first pair in the new plane.
    to: usize,
    /// The place of the first pair in the buffers of its band.
    band: usize,
}

impl PixelRow {
    /// The pixels of pair x, as row and column.
    #[inline(always)]
    fn pair(&self, x: usize) -> [[usize; 2]; 2] {
        let [p, q] = self.first;
        [[p[0], p[1] + x], [q[0], q[1] + x]]
    }

    /// The places of the pairs in the buffers of their band.
    #[inline(always)]
    fn places(&self) -> Range<usize> {
        self.band..self.band + self.len
    }
}

impl Vectorized for LayerPass<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(mut self) {
        let [vertical, horizontal] = self.outputs.map(|level| level.segments.len());
        for index in 0..vertical {
            for other in 0..horizontal {
                self.rectangle::<V>([index, other]);
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
                match &self.head {
                    None => self.store::<V>(&row),
                    Some(head) => self.add_row(&row, head, index, line, &mut sums),
                }
            }
        }
        if let Some(head) = &mut self.head {
            head.sums
                .push(sums.stored([vertical.shift, horizontal.shift]));
        }
    }

    /// Sums the columns of the windows of a row.
    #[inline(always)]
    fn sum_windows<V: Vector>(&mut self, row: &PixelRow) {
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
    fn row(&self, segments: [&Segment; 2], [first, line]: [usize; 2]) -> PixelRow {
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
        let RowBuffers {
            products,
            tangents,
            gaps,
            own,
            ..
        } = &mut *self.buffers;
        let (products, tangents) = (products.blocks(), tangents.blocks());
        let gaps = &mut gaps.blocks_mut()[row.places()];
        let own = &mut own.blocks_mut()[row.places()];
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
                near.replace(row.pair(x), &mut gaps[x]);
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

    /// Adds the weighted products of a row to the sums of the head.
    #[inline(always)]
    fn add_row<V: Vector>(
        &self,
        row: &PixelRow,
        head: &HeadSums<'_>,
        [index, other]: [usize; 2],
        line: usize,
        sums: &mut SumOfRows<V>,
    ) {
        let (weight, weights) = (head.weights[0][index][line], &head.weights[1][other]);
        let products = RowProducts::new(self.layer, self.buffers, row);
        if let Some(flat) = &head.flat {
            sums.turns
                .add_row(self.layer, flat, row.pixels, products.gaps);
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

/// Sums columns of `width` places: `taps` places below each other, `stride` places apart.
#[inline(always)]
fn sum_columns<V: Vector>(
    plane: &Lines,
    sums: &mut Lines,
    from: usize,
    [taps, stride, width]: [usize; 3],
) {
    let values = &plane.blocks()[from..from + (taps - 1) * stride + width];
    let sums = &mut sums.blocks_mut()[..width];
    if taps == 3 {
        // The usual window, without a loop.
        let (first, rest) = values.split_at(stride);
        let (second, third) = rest.split_at(stride);
        let rows = first.iter().zip(second).zip(third);
        for (sum, ((a, b), c)) in sums.iter_mut().zip(rows) {
            (V::load(a) + V::load(b) + V::load(c)).store(sum);
        }
        return;
    }
    for (x, sum) in sums.iter_mut().enumerate() {
        let mut total = V::load(&values[x]);
        for tap in 1..taps {
            total = total + V::load(&values[x + tap * stride]);
        }
        total.store(sum);
    }
}

/// The sum of the columns of one window.
#[inline(always)]
fn window_sum<V: Vector>(columns: &[Block], first: usize, window: usize) -> V {
    let columns = &columns[first..first + window];
    if let [a, b, c] = columns {
        return V::load(a) + V::load(b) + V::load(c);
    }
    let mut total = V::load(&columns[0]);
    for column in &columns[1..] {
        total = total + V::load(column);
    }
    total
}

/// A row after the activation.
struct RowProducts<'a> {
    gaps: &'a [Block],
    dots: &'a [Block],
    own: &'a [Block],
    /// ω of u and of v.
    roots: [&'a [Block]; 2],
    lane: usize,
}

impl<'a> RowProducts<'a> {
    #[inline(always)]
    fn new(layer: &LayerPair<'a>, buffers: &'a RowBuffers, row: &PixelRow) -> Self {
        let ([u, v], [rows, cols]) = (row.pixels, &layer.sides);
        Self {
            gaps: &buffers.gaps.blocks()[row.places()],
            dots: &buffers.dots.blocks()[row.places()],
            own: &buffers.own.blocks()[row.places()],
            roots: [
                &rows.outputs[0][u..u + row.len],
                &cols.outputs[0][v..v + row.len],
            ],
            lane: layer.lane % WIDTH,
        }
    }

    /// `c = ωω'ρ` and ṪΘ of pair x.
    #[inline(always)]
    fn at<V: Vector>(&self, x: usize) -> [V; 2] {
        let gap = V::load(&self.gaps[x]);
        let correlation = (V::splat(1.0) - gap.abs()).copysign(gap);
        let scale = V::splat(self.roots[0][x][self.lane]) * V::load(&self.roots[1][x]);
        let tangent = V::load(&self.dots[x]) * V::load(&self.own[x]);
        [scale * correlation, tangent]
    }
}

/// The sums of c and ṪΘ over the rows of a rectangle, each with its rounding error.
struct SumOfRows<V> {
    sums: [[V; 2]; 2],
    turns: HeadTurns<V>,
}

impl<V: Vector> SumOfRows<V> {
    #[inline(always)]
    fn new() -> Self {
        Self {
            sums: [[V::splat(0.0); 2]; 2],
            turns: HeadTurns::new(),
        }
    }

    /// Adds a row's sums, times a weight.
    #[inline(always)]
    fn add(&mut self, row: [V; 2], weight: f64) {
        for (total, row) in self.sums.iter_mut().zip(row) {
            let (sum, rest) = two_sum(total[0], row * V::splat(weight));
            *total = [sum, total[1] + rest];
        }
    }

    #[inline(always)]
    fn stored(self, shift: [isize; 2]) -> RectangleSum {
        let mut stored = RectangleSum {
            shift,
            ..RectangleSum::default()
        };
        for (stored, sum) in stored.sums.iter_mut().zip(self.sums) {
            sum[0].store(&mut stored[0]);
            sum[1].store(&mut stored[1]);
        }
        for (stored, turn) in stored.turns.iter_mut().zip(self.turns.both()) {
            turn.store(stored);
        }
        stored
    }
}
