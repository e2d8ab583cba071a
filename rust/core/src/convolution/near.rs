//! Gaps of pixel pairs with nearly equal or opposite directions, from differences of unit vectors.
//!
//! ```text
//! 1 − ρ' = Σ_τ (ω_τ i)(ω'_τ i')(1 − ρ_τ) + ½ Σ_τ (ω_τ i − ω'_τ i')² + ½ (κi − κ'i')²
//! ```
//!
//! The numbers (ω_τ i) and κi are those of a unit vector, and half the squared distance of two unit vectors is 1 − cos.
//! All terms are positive, so nothing cancels. Near ρ' = −1, 1 − ρ_τ becomes 1 + ρ_τ, and 2κκ'ii' is added. In the first
//! layer every tap and channel has ρ = ±1, and the vectors are differences, or sums, of the pixels themselves.
//!
//! A pool leaves covariances instead of gaps. The first layer after it has the far form only.

use super::axis::AxisLevel;
use super::buffers::PlaneGrid;
use super::pair::LayerPair;
use crate::isa::{Block, Vector, Vectorized};
use crate::math::double_double::two_product;

/// Gaps smaller than this, of either sign, are computed from differences.
///
/// The far form has an error of some ε in the gap, which moves an angle by `2ε/√(2e)`: 16 ε at this bound.
pub(super) const NEAR: f64 = 1.0 / 128.0;

/// The same where gaps are rounded to `f32`: at this bound, the far form moves an angle by 1e-4 of the ε of `f32`.
pub(super) const SINGLE_NEAR: f64 = 1.0 / (1_u64 << 30) as f64;

/// Gaps after a pool that are smaller than this are rounding errors.
const NOISE: f64 = 16.0 * f64::EPSILON;

/// The plane before a layer, from which small gaps after the layer are computed.
#[derive(Clone, Copy)]
pub(super) struct NearForm<'a> {
    pub layer: &'a LayerPair<'a>,
    pub levels: [&'a AxisLevel; 2],
    pub grid: &'a PlaneGrid,
}

/// One block of gaps to replace.
struct Replacement<'a, 'b> {
    form: NearForm<'a>,
    pair: [[usize; 2]; 2],
    sum: &'b Block,
    gap: &'b mut Block,
}

impl Vectorized for Replacement<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (gap, near, one) = (
            V::load(self.gap),
            V::splat(self.form.layer.near),
            V::splat(1.0),
        );
        let negative = gap.is_negative();
        let aligned = V::select(negative, one, gap).less(near);
        let opposite = V::select(negative, -gap, one).less(near);
        let mut new = gap;
        if self.form.layer.is_pooled() {
            let size = self.form.pooled(self.pair, V::load(self.sum));
            let small = gap.abs().less(near);
            V::select(small, size.copysign(gap), gap).store(self.gap);
            return;
        }
        if V::any(aligned) {
            new = V::select(aligned, self.form.difference::<V>(self.pair, false), new);
        }
        if V::any(opposite) {
            new = V::select(opposite, -self.form.difference::<V>(self.pair, true), new);
        }
        new.store(self.gap);
    }
}

/// A tap of a window, as seen by both images.
#[derive(Clone, Copy)]
struct Tap {
    /// The pixels under it, counted row by row. `None` outside of the image.
    pixels: [Option<usize>; 2],
    /// The place of their pair, if both are inside.
    place: Option<usize>,
}

impl NearForm<'_> {
    /// Replaces small gaps of a pair of pixels, lane by lane. `pair` holds the row and column of each pixel, and `sum` is
    /// that of c over the window, with the biases.
    ///
    /// A function of its own, not inlined: it is rare, and its code would slow down the loop that calls it.
    pub fn replace(&self, pair: [[usize; 2]; 2], sum: &Block, gap: &mut Block) {
        let form = *self;
        let replacement = Replacement {
            form,
            pair,
            sum,
            gap,
        };
        self.layer.isa.run(replacement);
    }

    /// The size of a gap in the first layer after a pool, which knows no gaps of its input: `(√(qq') − |Σ|)/√(qq')`. Here
    /// q and Σ are sums over windows by the same operations. The root of a square is exact, so equal images have 0. Smaller
    /// gaps than the rounding errors of these sums are 0 too: most often they belong to equal patches.
    #[inline(always)]
    fn pooled<V: Vector>(&self, pair: [[usize; 2]; 2], sum: V) -> V {
        let (layer, columns) = (self.layer, self.layer.axes[1].output);
        let [u, v] = pair.map(|[y, x]| y * columns + x);
        let [rows, cols] = &layer.sides;
        let square = layer.one::<V>(0, &rows.totals[u]) * layer.one(1, &cols.totals[v]);
        let inverse = layer.one::<V>(0, &rows.inverses[0][u]) * layer.one(1, &cols.inverses[0][v]);
        let size = (square.sqrt() - sum.abs()).max(V::splat(0.0)) * inverse;
        V::select(size.less(V::splat(NOISE)), V::splat(0.0), size)
    }

    /// 1 − ρ', or 1 + ρ' for pairs in opposite directions.
    #[inline(always)]
    fn difference<V: Vector>(&self, pair: [[usize; 2]; 2], opposite: bool) -> V {
        let (layer, [rows, columns]) = (self.layer, self.layer.axes);
        let inverses = [
            layer.number(
                0,
                layer.sides[0].inverses,
                pair[0][0] * columns.output + pair[0][1],
            ),
            layer.number(
                1,
                layer.sides[1].inverses,
                pair[1][0] * columns.output + pair[1][1],
            ),
        ];
        let mut sums = NearSums::<V>::new(layer.exact);
        for y in 0..rows.window {
            for x in 0..columns.window {
                let tap = self.tap(pair, [y, x]);
                match layer.channels {
                    Some(channels) => self.add_pixels(tap, channels, inverses, opposite, &mut sums),
                    None => self.add_tap(tap, inverses, opposite, &mut sums),
                }
            }
        }
        let (zero, first) = (V::splat(0.0), layer.channels.is_some());
        let a = sums.scaled(
            [V::splat(layer.sides[0].bias[layer.lane]), zero],
            inverses[0],
        );
        let b = sums.scaled([V::load(layer.sides[1].bias), zero], inverses[1]);
        sums.add(a, b, opposite && first);
        if opposite && !first {
            sums.turned = sums.turned + V::splat(2.0) * (a[0] * b[0]);
        }
        V::splat(0.5).mul_add(sums.squares, sums.turned)
    }

    /// The pixels under a tap of a pair's windows.
    #[inline(always)]
    fn tap(&self, [p, q]: [[usize; 2]; 2], [y, x]: [usize; 2]) -> Tap {
        let [rows, columns] = self.layer.axes;
        let (row, column) = (rows.tap(p[0], y), columns.tap(p[1], x));
        let mut tap = Tap {
            pixels: [None; 2],
            place: None,
        };
        if let (Some(y), Some(x)) = (row, column) {
            tap.pixels[0] = Some(y * columns.input + x);
        }
        if let (Some(y), Some(x)) = (rows.tap(q[0], y), columns.tap(q[1], x)) {
            tap.pixels[1] = Some(y * columns.input + x);
        }
        if let ([Some(_), Some(_)], Some(y), Some(x)) = (tap.pixels, row, column) {
            let [vertical, horizontal] = self.levels;
            tap.place = Some(vertical.place(y) * self.grid.stride + horizontal.place(x));
        }
        tap
    }

    /// Adds the terms of a tap.
    #[inline(always)]
    fn add_tap<V: Vector>(
        &self,
        tap: Tap,
        inverses: [[V; 2]; 2],
        opposite: bool,
        sums: &mut NearSums<V>,
    ) {
        let mut values = [[V::splat(0.0); 2]; 2];
        for side in 0..2 {
            if let Some(at) = tap.pixels[side] {
                let number = self.layer.number(side, self.layer.sides[side].inputs, at);
                values[side] = sums.scaled(number, inverses[side]);
            }
        }
        let [a, b] = values;
        sums.add(a, b, false);
        if let Some(place) = tap.place {
            let gap = V::load(&self.grid.gaps.blocks()[place]);
            sums.turn(a[0] * b[0], gap, opposite);
        }
    }

    /// Adds the terms of a tap in the first layer.
    #[inline(always)]
    fn add_pixels<V: Vector>(
        &self,
        tap: Tap,
        channels: usize,
        inverses: [[V; 2]; 2],
        opposite: bool,
        sums: &mut NearSums<V>,
    ) {
        for channel in 0..channels {
            let mut values = [[V::splat(0.0); 2]; 2];
            for side in 0..2 {
                if let Some(at) = tap.pixels[side] {
                    let block = &self.layer.sides[side].pixels[at * channels + channel];
                    let number = [self.layer.one(side, block), V::splat(0.0)];
                    values[side] = sums.scaled(number, inverses[side]);
                }
            }
            sums.add(values[0], values[1], opposite);
        }
    }
}

/// The sums of the near form.
pub(super) struct NearSums<V> {
    /// `Σ (ω_τ i)(ω'_τ i')(1 − ρ_τ)`.
    pub turned: V,
    /// `Σ (ω_τ i − ω'_τ i')²`.
    pub squares: V,
    /// True if products are computed with their low parts.
    exact: bool,
}

impl<V: Vector> NearSums<V> {
    #[inline(always)]
    pub fn new(exact: bool) -> Self {
        Self {
            turned: V::splat(0.0),
            squares: V::splat(0.0),
            exact,
        }
    }

    /// The product of two numbers with low parts, with its own low part if that is wanted.
    #[inline(always)]
    pub fn scaled(&self, [value, low]: [V; 2], [inverse, inverse_low]: [V; 2]) -> [V; 2] {
        if !self.exact {
            return [value * inverse, V::splat(0.0)];
        }
        let (product, rest) = two_product(value, inverse);
        [product, rest + value.mul_add(inverse_low, low * inverse)]
    }

    /// Adds the square of a difference, or of a sum.
    #[inline(always)]
    pub fn add(&mut self, a: [V; 2], b: [V; 2], sum: bool) {
        let b = if sum { b } else { [-b[0], -b[1]] };
        let difference = (a[0] + b[0]) + (a[1] + b[1]);
        self.squares = difference.mul_add(difference, self.squares);
    }

    /// Adds a product times 1 − ρ, or 1 + ρ, given the gap of ρ.
    #[inline(always)]
    pub fn turn(&mut self, product: V, gap: V, opposite: bool) {
        let (size, other) = (gap.abs(), V::splat(2.0) - gap.abs());
        let sign = if opposite { -gap } else { gap };
        let turn = V::select(sign.is_negative(), other, size);
        self.turned = product.mul_add(turn, self.turned);
    }
}

/// Numbers from which the gap of a flat head's output is computed: this output is one more window, which holds all
/// pixels.
#[derive(Clone, Copy)]
pub(super) struct FlatHead {
    /// `h = 1/√Σ_p ω²` of both groups, and its low part. The numbers ωh are those of a unit vector.
    pub inverses: [[Block; 2]; 2],
}

/// The terms of the gap of a flat head's output.
#[derive(Clone, Copy)]
pub(super) struct HeadTurns<V> {
    /// `Σ aa'(1 − ρ)`, `Σ aa'(1 + ρ)` and `Σ (a − a')²`, with a = ωh.
    sums: [V; 3],
}

impl<V: Vector> HeadTurns<V> {
    #[inline(always)]
    pub fn new() -> Self {
        Self {
            sums: [V::splat(0.0); 3],
        }
    }

    /// Adds the terms of a row of `len` pairs, given the pixels of the first pair and the gaps.
    #[inline(always)]
    pub fn add_row(
        &mut self,
        layer: &LayerPair<'_>,
        flat: &FlatHead,
        [u, v]: [usize; 2],
        gaps: &[Block],
    ) {
        let [h_u, h_v] = &flat.inverses;
        let inverse_u = [V::splat(h_u[0][layer.lane]), V::splat(h_u[1][layer.lane])];
        let inverse_v = [V::load(&h_v[0]), V::load(&h_v[1])];
        let (mut aligned, mut opposite) = (NearSums::new(true), NearSums::new(true));
        for (x, gap) in gaps.iter().enumerate() {
            let gap = V::load(gap);
            let a = aligned.scaled(
                layer.number_with_low(0, layer.sides[0].outputs, u + x),
                inverse_u,
            );
            let b = aligned.scaled(
                layer.number_with_low(1, layer.sides[1].outputs, v + x),
                inverse_v,
            );
            aligned.add(a, b, false);
            aligned.turn(a[0] * b[0], gap, false);
            opposite.turn(a[0] * b[0], gap, true);
        }
        let row = [aligned.turned, opposite.turned, aligned.squares];
        for (sum, row) in self.sums.iter_mut().zip(row) {
            *sum = *sum + row;
        }
    }

    /// 1 − ρ and 1 + ρ of the head's output.
    #[inline(always)]
    pub fn both(self) -> [V; 2] {
        let (half, [aligned, opposite, squares]) = (V::splat(0.5), self.sums);
        [
            half.mul_add(squares, aligned),
            half.mul_add(squares, opposite),
        ]
    }
}
