//! The first step of a plane: products of pixels.

use super::axis::{AxisLevel, Segment};
use super::buffers::PlaneGrid;
use super::pair::LayerPair;
use crate::isa::{Vector, Vectorized};

/// The products of all pixel pairs of a plane: `Σ_c x_c x'_c`.
pub(super) struct PixelProducts<'a> {
    pub levels: [&'a AxisLevel; 2],
    /// The first layer.
    pub layer: &'a LayerPair<'a>,
    pub channels: usize,
    pub grid: &'a mut PlaneGrid,
}

impl Vectorized for PixelProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(mut self) {
        let [rows, columns] = self.levels;
        for vertical in &rows.segments {
            for horizontal in &columns.segments {
                for line in 0..vertical.len {
                    self.row::<V>(vertical, horizontal, line);
                }
            }
        }
    }
}

impl PixelProducts<'_> {
    /// One row of pairs.
    #[inline(always)]
    fn row<V: Vector>(&mut self, vertical: &Segment, horizontal: &Segment, line: usize) {
        let (lane, channels) = (self.layer.lane, self.channels);
        let (columns, len) = (self.layer.axes[1].input, horizontal.len);
        let first = (vertical.start + line) * columns + horizontal.start;
        let partner = (vertical.partner() + line) * columns + horizontal.partner();
        let [rows, cols] = &self.layer.sides;
        let u = &rows.pixels[first * channels..(first + len) * channels];
        let v = &cols.pixels[partner * channels..(partner + len) * channels];
        let to = (vertical.at + line) * self.grid.stride + horizontal.at;
        let targets = &mut self.grid.products.blocks_mut()[to..to + len];
        let pixels = u.chunks_exact(channels).zip(v.chunks_exact(channels));
        for (target, (u, v)) in targets.iter_mut().zip(pixels) {
            let mut sum = V::splat(0.0);
            for (u, v) in u.iter().zip(v) {
                sum = V::splat(u[lane]).mul_add(V::load(v), sum);
            }
            sum.store(target);
        }
    }
}
