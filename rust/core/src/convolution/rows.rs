//! One layer on a plane of pixel pairs: one image against eight, row by row.
//!
//! The state of a pair is its gap, and two products after the last activation: `c = ωω'ρ` and ṪΘ. After a layer,
//!
//! ```text
//! ρ' = ii' (Σ_τ c_τ + κκ')        Θ' = own + σ_w²/k Σ_τ (ṪΘ)_τ
//! ```
//!
//! Sums over windows and the gaps are one loop ([`row_gaps`](super::row_gaps)), the activation and the products after it the
//! next one, for a band of rows. Small gaps are computed again by [`near`](super::near).

use super::axis::{AxisLevel, Segment};
use super::buffers::{PlaneGrid, RectangleSum, RowBuffers};
use super::near::{FlatHead, NearForm};
use super::pair::LayerPair;
use super::pixel_rows::{PixelRow, RowProducts, SumOfRows};
use super::pooled::PoolSums;
use super::row_gaps::RowGaps;
use super::windows::{ColumnWindows, SlidingWindows, ZeroSums, sum_columns};
use crate::activations::pixel_band::PixelBand;
use crate::isa::{Vector, Vectorized};

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
                self.gaps::<V>(&row);
            }
            self.activate(
                &self.row([&vertical, &horizontal], [first, first]),
                lines.len(),
            );
            for line in lines {
                let row = self.row([&vertical, &horizontal], [first, line]);
                match &mut self.end {
                    None => break,
                    Some(PlaneEnd::Head(head)) => {
                        head.add_row(self.layer, self.buffers, &row, (index, line), &mut sums);
                    }
                    Some(PlaneEnd::Pool(pool)) => {
                        let products = RowProducts::new(self.buffers, &row);
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
        let [products, tangents] = &mut self.buffers.columns;
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
        let (old, [rows, cols], len) = (self.old, self.layer.axes, row.len);
        let near = NearForm {
            layer: self.layer,
            levels: self.inputs,
            grid: old,
        };
        let (form, is_first) = (RowGaps { near, row: *row }, self.layer.channels.is_some());
        if (rows.window, cols.window, cols.stride) == (3, 3, 1) {
            let targets = self.buffers.before(row.places());
            let products = SlidingWindows::<V>::new(&old.products, row.from, old.stride, len);
            if is_first {
                return form.fill(products, ZeroSums, targets);
            }
            let tangents = SlidingWindows::<V>::new(&old.tangents, row.from, old.stride, len);
            return form.fill(products, tangents, targets);
        }
        self.sum_windows::<V>(row);
        let (columns, targets) = self.buffers.columns_and_before(row.places());
        let [products, tangents] = columns.map(|columns| ColumnWindows {
            columns,
            layer: cols,
        });
        if is_first {
            return form.fill::<V>(products, ZeroSums, targets);
        }
        form.fill::<V>(products, tangents, targets);
    }

    /// Takes a band of rows through the activation, given the first row.
    #[inline(always)]
    fn activate(&mut self, row: &PixelRow, lines: usize) {
        let (layer, [rows, cols]) = (self.layer, &self.layer.sides);
        let RowBuffers {
            gaps, own, results, ..
        } = &mut *self.buffers;
        let (to, stride, results) = match self.end {
            None => (row.to, self.new.stride, self.new.results()),
            Some(_) => (0, row.len, results.each_mut()),
        };
        let band = PixelBand {
            lane: layer.lane,
            lines,
            len: row.len,
            pixels: row.pixels,
            columns: layer.axes[1].output,
            features: [rows.features, cols.features],
            roots: [rows.outputs[0], cols.outputs[0]],
            gaps: gaps.blocks(),
            tangents: own.blocks(),
            results: results.map(|lines| &mut lines.blocks_mut()[to..]),
            stride,
        };
        match layer.single {
            Some(dual) => dual.pixel_step(layer.isa, band),
            None => layer.dual.pixel_step(layer.isa, band),
        }
    }
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
        let products = RowProducts::new(buffers, row);
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
