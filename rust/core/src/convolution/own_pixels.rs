//! Sums over windows for each pixel of an image with itself: the variances after a pool.

use super::rows::LayerPass;
use super::windows::window_sum;
use crate::isa::{Block, Vector, Vectorized, WIDTH};

/// The sums of c over the windows of a layer, with its biases, on the plane of all pixels with themselves. The operations
/// are those of Σ between two images.
pub(super) struct WindowTotals<'a, 'b> {
    /// The layer, and the plane before it.
    pub pass: LayerPass<'a>,
    /// The sums of the row's image.
    pub totals: &'b mut Vec<f64>,
}

impl Vectorized for WindowTotals<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(mut self) {
        let (layer, [vertical, horizontal]) = (self.pass.layer, self.pass.outputs);
        let columns = layer.axes[1];
        let [rows, cols] = &layer.sides;
        let bias = V::splat(rows.bias[layer.lane]) * V::load(cols.bias);
        let segments = [&vertical.segments[0], &horizontal.segments[0]];
        for line in 0..segments[0].len {
            let row = self.pass.row(segments, [line, line]);
            self.pass.sum_windows::<V>(&row);
            let products = self.pass.buffers.columns[0].blocks();
            for x in 0..row.len {
                let total = window_sum::<V>(products, columns.stride * x, columns.window);
                let mut block: Block = [0.0; WIDTH];
                (total + bias).store(&mut block);
                self.totals.push(block[layer.lane]);
            }
        }
    }
}
