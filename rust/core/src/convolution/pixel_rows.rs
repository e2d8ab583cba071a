//! A row of pixel pairs, its products after the activation, and sums of them.

use std::ops::Range;

use super::buffers::{RectangleSum, RowBuffers};
use super::near::HeadTurns;
use crate::isa::{Block, Vector};
use crate::math::double_double::two_sum;

/// A row of pixel pairs.
#[derive(Clone, Copy)]
pub(super) struct PixelRow {
    /// The pixels of the first pair, as row and column: that of u, and that of v.
    pub first: [[usize; 2]; 2],
    /// The same pixels, counted row by row.
    pub pixels: [usize; 2],
    /// The number of pairs.
    pub len: usize,
    /// The place of the first window's first tap in the old plane.
    pub from: usize,
    /// The place of the first pair in the new plane.
    pub to: usize,
    /// The place of the first pair in the buffers of its band.
    pub band: usize,
}

impl PixelRow {
    /// The pixels of pair x, as row and column.
    #[inline(always)]
    pub fn pair(&self, x: usize) -> [[usize; 2]; 2] {
        let [p, q] = self.first;
        [[p[0], p[1] + x], [q[0], q[1] + x]]
    }

    /// The places of the pairs in the buffers of their band.
    #[inline(always)]
    pub fn places(&self) -> Range<usize> {
        self.band..self.band + self.len
    }
}

/// A row after the activation.
pub(super) struct RowProducts<'a> {
    pub gaps: &'a [Block],
    /// `c = ωω'ρ` and ṪΘ.
    products: [&'a [Block]; 2],
}

impl<'a> RowProducts<'a> {
    #[inline(always)]
    pub fn new(buffers: &'a RowBuffers, row: &PixelRow) -> Self {
        let [gaps, products, tangents] = &buffers.results;
        Self {
            gaps: &gaps.blocks()[row.places()],
            products: [
                &products.blocks()[row.places()],
                &tangents.blocks()[row.places()],
            ],
        }
    }

    /// c and ṪΘ of pair x.
    #[inline(always)]
    pub fn at<V: Vector>(&self, x: usize) -> [V; 2] {
        let [products, tangents] = self.products;
        [V::load(&products[x]), V::load(&tangents[x])]
    }
}

/// The sums of c and ṪΘ over the rows of a rectangle, each with its rounding error.
pub(super) struct SumOfRows<V> {
    sums: [[V; 2]; 2],
    pub turns: HeadTurns<V>,
}

impl<V: Vector> SumOfRows<V> {
    #[inline(always)]
    pub fn new() -> Self {
        Self {
            sums: [[V::splat(0.0); 2]; 2],
            turns: HeadTurns::new(),
        }
    }

    /// Adds a row's sums, times a weight.
    #[inline(always)]
    pub fn add(&mut self, row: [V; 2], weight: f64) {
        for (total, row) in self.sums.iter_mut().zip(row) {
            let (sum, rest) = two_sum(total[0], row * V::splat(weight));
            *total = [sum, total[1] + rest];
        }
    }

    #[inline(always)]
    pub fn stored(self, shift: [isize; 2]) -> RectangleSum {
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
