//! Gaps of a row of pixel pairs after a convolution, and Θ, from sums over its windows.

use super::near::NearForm;
use super::pixel_rows::PixelRow;
use super::windows::WindowSums;
use crate::isa::{Block, Vector, WIDTH};

/// A row of pairs, and the plane before a layer.
pub(super) struct RowGaps<'a> {
    pub near: NearForm<'a>,
    pub row: PixelRow,
}

impl RowGaps<'_> {
    /// Fills a row of gaps and one of Θ, given the windows of c and of ṪΘ.
    #[inline(always)]
    pub fn fill<V: Vector>(
        &self,
        mut products: impl WindowSums<V>,
        mut tangents: impl WindowSums<V>,
        [gaps, own]: [&mut [Block]; 2],
    ) {
        let (layer, row) = (self.near.layer, self.row);
        let ([u, v], [rows, cols]) = (row.pixels, &layer.sides);
        let inverses_u = &rows.inverses[0][u..u + row.len];
        let inverses_v = &cols.inverses[0][v..v + row.len];
        let (gaps, own) = (&mut gaps[..row.len], &mut own[..row.len]);
        let bias = V::splat(rows.bias[layer.lane]) * V::load(cols.bias);
        let (variance, lane) = (V::splat(layer.variance), layer.lane % WIDTH);
        let (zero, one, bound) = (V::splat(0.0), V::splat(1.0), V::splat(layer.near));
        let (weights, biases) = (V::load(&layer.own.weights), V::load(&layer.own.biases));
        for x in 0..row.len {
            let total = products.next(x);
            let tangent = weights.mul_add(total, biases);
            let tangent = variance.mul_add(tangents.next(x), tangent);
            tangent.store(&mut own[x]);
            let inverse = V::splat(inverses_u[x][lane]) * V::load(&inverses_v[x]);
            let correlation = inverse * (total + bias);
            let size = (one - correlation.abs()).max(zero);
            size.copysign(correlation).store(&mut gaps[x]);
            if V::any(size.less(bound)) {
                let mut sum = [0.0; WIDTH];
                (total + bias).store(&mut sum);
                self.near.replace(row.pair(x), &sum, &mut gaps[x]);
            }
        }
    }
}
