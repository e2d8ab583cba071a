//! The linear kernel `⟨x, x'⟩`: a plain Gram matrix.

use crate::engine::panel::Panels;
use crate::engine::pool::Stop;
use crate::engine::scalar::Scalar;
use crate::engine::tile::{Area, Tile, TileKernel, product, product_cycles};

/// `K(x, x') = ⟨x, x'⟩`.
#[derive(Debug)]
pub struct Linear<'a, T: Scalar> {
    /// Packed rows of the first batch.
    pub rows: &'a Panels<T>,
    /// Packed rows of the second batch.
    pub cols: &'a Panels<T>,
}

impl<T: Scalar> TileKernel for Linear<'_, T> {
    type Scratch = ();

    fn rows(&self) -> usize {
        self.rows.rows()
    }

    fn cols(&self) -> usize {
        self.cols.rows()
    }

    fn planes(&self) -> usize {
        1
    }

    fn entry_cycles(&self) -> f64 {
        product_cycles(self.rows.depth())
    }

    fn compute(&self, area: &Area, (): &mut (), planes: &mut [Tile], _: &Stop) {
        product(
            self.rows.of_rows(&area.rows),
            self.cols.of_rows(&area.cols),
            &mut planes[0],
        );
    }
}
