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

use super::buffers::{Lines, PlaneGrid, RectangleSum, RowBuffers};
use super::geometry::{AxisLevel, Segment};
use super::near::{FlatHead, HeadTurns, NearForm};
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

impl LayerPass<'_> {
    /// All pairs of one segment along each axis.
    #[inline(always)]
    fn rectangle<V: Vector>(&mut self, index: [usize; 2]) {
        let vertical = self.outputs[0].segments[index[0]];
        let horizontal = self.outputs[1].segments[index[1]];
        let mut sums = SumOfRows::<V>::new();
        for line in 0..vertical.len {
            let row = self.row([&vertical, &horizontal], line);
            let columns = self.layer.axes[1];
            let width = columns.stride * (row.len - 1) + columns.window;
            let RowBuffers {
                products, tangents, ..
            } = &mut *self.buffers;
            let (taps, stride) = (self.layer.axes[0].window, self.old.stride);
            sum_columns::<V>(
                &self.old.products,
                products,
                row.from,
                [taps, stride, width],
            );
            if self.layer.channels.is_none() {
                sum_columns::<V>(
                    &self.old.tangents,
                    tangents,
                    row.from,
                    [taps, stride, width],
                );
            }
            self.gaps::<V>(&row);
            self.activate(&row);
            match &self.head {
                None => self.store::<V>(&row),
                Some(head) => {
                    let weights = [&head.weights[0][index[0]], &head.weights[1][index[1]]];
                    self.add_row(&row, head, weights[0][line], weights[1], &mut sums);
                }
            }
        }
        if let Some(head) = &mut self.head {
            head.sums
                .push(sums.stored([vertical.shift, horizontal.shift]));
        }
    }

    /// Row `line` of a rectangle of pairs.
    #[inline(always)]
    fn row(&self, segments: [&Segment; 2], line: usize) -> PixelRow {
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
        let (variance, zero) = (V::splat(layer.variance), V::splat(0.0));
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
        let targets = gaps.blocks_mut()[..row.len]
            .iter_mut()
            .zip(own.blocks_mut());
        for (x, (gap_target, own_target)) in targets.enumerate() {
            let first = columns.stride * x;
            let mut total = zero;
            for column in &products.blocks()[first..first + columns.window] {
                total = total + V::load(column);
            }
            let mut tangent = weights.mul_add(total, biases);
            if layer.channels.is_none() {
                let mut sum = zero;
                for column in &tangents.blocks()[first..first + columns.window] {
                    sum = sum + V::load(column);
                }
                tangent = variance.mul_add(sum, tangent);
            }
            tangent.store(own_target);
            let inverse = V::splat(inverses_u[x][layer.lane % WIDTH]) * V::load(&inverses_v[x]);
            let correlation = inverse * (total + bias);
            let size = (V::splat(1.0) - correlation.abs()).max(zero);
            let [p, q] = row.first;
            let pair = [[p[0], p[1] + x], [q[0], q[1] + x]];
            near.replace(pair, size.copysign(correlation))
                .store(gap_target);
        }
    }

    /// Replaces the gaps of a row by those after the activation, and computes Ṫ.
    #[inline(always)]
    fn activate(&mut self, row: &PixelRow) {
        let (layer, [u, v]) = (self.layer, row.pixels);
        let [rows, cols] = [layer.sides[0].features, layer.sides[1].features];
        let first = cols.1 + v;
        let pairs = Variables {
            rows: rows.0,
            row: (rows.1 + u) * WIDTH + layer.lane,
            cols: cols.0,
            blocks: first..first + row.len,
        };
        let RowBuffers { gaps, dots, .. } = &mut *self.buffers;
        let gaps = &mut gaps.blocks_mut()[..row.len];
        let dots = &mut dots.blocks_mut()[..row.len];
        layer.dual.step_along(layer.isa, pairs, gaps, dots);
    }

    /// Writes the gaps and products of a row to the new plane.
    #[inline(always)]
    fn store<V: Vector>(&mut self, row: &PixelRow) {
        let products = RowProducts::new(self.layer, self.buffers, row);
        let (from, to) = (row.to, row.to + row.len);
        let gaps = &mut self.new.gaps.blocks_mut()[from..to];
        let values = &mut self.new.products.blocks_mut()[from..to];
        let tangents = &mut self.new.tangents.blocks_mut()[from..to];
        for x in 0..row.len {
            let [value, tangent] = products.at::<V>(x);
            V::load(&products.gaps[x]).store(&mut gaps[x]);
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
        weight: f64,
        weights: &[f64],
        sums: &mut SumOfRows<V>,
    ) {
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

/// Sums columns of `width` windows' columns: `taps` places below each other, `stride` places apart.
#[inline(always)]
fn sum_columns<V: Vector>(
    plane: &Lines,
    sums: &mut Lines,
    from: usize,
    [taps, stride, width]: [usize; 3],
) {
    let values = &plane.blocks()[from..from + (taps - 1) * stride + width];
    for (x, sum) in sums.blocks_mut()[..width].iter_mut().enumerate() {
        let mut total = V::load(&values[x]);
        let mut place = x;
        for _ in 1..taps {
            place += stride;
            total = total + V::load(&values[place]);
        }
        total.store(sum);
    }
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
            gaps: &buffers.gaps.blocks()[..row.len],
            dots: &buffers.dots.blocks()[..row.len],
            own: &buffers.own.blocks()[..row.len],
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
