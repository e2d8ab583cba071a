//! Sums of a tile and stored rows.

use super::Tile;
use crate::engine::scalar::{Scalar, fits};
use crate::isa::{Vector, Vectorized};

/// Adds `sources` to the first rows of a tile, each as far as it is long. Returns true if all sums, rounded to `T`, are
/// finite.
///
/// # Panics
/// If a source is longer than a row, or there are more sources than rows.
pub(super) struct AddRows<'a, I> {
    pub(super) sources: I,
    pub(super) tile: &'a mut Tile,
}

impl<'s, T: Scalar, I: Iterator<Item = &'s [T]>> Vectorized for AddRows<'_, I> {
    type Output = bool;

    #[inline(always)]
    fn run<V: Vector>(self) -> bool {
        let mut finite = true;
        for (r, source) in self.sources.enumerate() {
            let values = &mut self.tile.row_mut(r)[..source.len()];
            for (value, stored) in values.iter_mut().zip(source) {
                *value += stored.widen();
                finite &= fits::<T>(*value);
            }
        }
        finite
    }
}
