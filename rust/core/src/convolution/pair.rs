//! The numbers of one image and of eight others at one layer.

use super::axis::AxisLayer;
use crate::activations::dual::Dual;
use crate::activations::features::Features;
use crate::activations::single::SingleDual;
use crate::isa::{Block, Isa, Vector};

/// The numbers of one group of images at one layer, each in a list with one block for each pixel.
#[derive(Clone, Copy)]
pub(super) struct LayerSide<'a> {
    /// The images' values, one block for each pixel and channel. They are the input of the first layer.
    pub pixels: &'a [Block],
    /// ω and its low part. Empty in the first layer, and after a pool.
    pub inputs: [&'a [Block]; 2],
    /// i and its low part.
    pub inverses: [&'a [Block]; 2],
    /// In the first layer after a pool, the sum of c over the window and the biases, of each image with itself.
    pub totals: &'a [Block],
    /// κ.
    pub bias: &'a Block,
    /// The numbers of the activation, of all groups, and the first block of this one.
    pub features: (&'a Features, usize),
    /// ω after the activation, and its low part.
    pub outputs: [&'a [Block]; 2],
}

/// Factors of a layer's own term of Θ: `own = weights · unit_i unit_j Σ_τ c_τ + biases · scale_i scale_j`.
#[derive(Clone, Copy)]
pub(super) struct OwnTerm {
    /// `τ_w²/k` in units of the tangent kernels, for each column.
    pub weights: Block,
    /// `τ_b²` in these units.
    pub biases: Block,
}

/// One layer of one image against the eight of a group.
#[derive(Clone, Copy)]
pub(super) struct LayerPair<'a> {
    pub isa: Isa,
    pub dual: &'a dyn Dual,
    /// The activation on gaps in `f32`, if these are in use.
    pub single: Option<&'a dyn SingleDual>,
    pub axes: [&'a AxisLayer; 2],
    /// The image of the rows is that in this lane of its group.
    pub lane: usize,
    pub sides: [LayerSide<'a>; 2],
    /// The number of channels in the first layer; `None` in the others.
    pub channels: Option<usize>,
    /// `σ_w²/k`.
    pub variance: f64,
    pub own: OwnTerm,
    /// Gaps smaller than this, of either sign, are computed from differences.
    pub near: f64,
    /// True if small gaps need all their digits, not only those of their roots.
    pub exact: bool,
}

impl LayerPair<'_> {
    /// True for the first layer after a pool.
    pub fn is_pooled(&self) -> bool {
        !self.sides[0].totals.is_empty()
    }

    /// One number of a side: that of the row's image in every lane, or those of the columns.
    #[inline(always)]
    pub fn one<V: Vector>(&self, side: usize, block: &Block) -> V {
        if side == 0 {
            V::splat(block[self.lane])
        } else {
            V::load(block)
        }
    }

    /// A number of a side at a pixel, with its low part where it is wanted.
    #[inline(always)]
    pub fn number<V: Vector>(&self, side: usize, parts: [&[Block]; 2], at: usize) -> [V; 2] {
        if self.exact {
            return self.number_with_low(side, parts, at);
        }
        [self.one(side, &parts[0][at]), V::splat(0.0)]
    }

    /// A number of a side with its low part, at a pixel.
    #[inline(always)]
    pub fn number_with_low<V: Vector>(
        &self,
        side: usize,
        parts: [&[Block]; 2],
        at: usize,
    ) -> [V; 2] {
        [self.one(side, &parts[0][at]), self.one(side, &parts[1][at])]
    }
}
