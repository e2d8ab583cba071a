//! One row against blocks of columns, and the row of the output tiles that its results go to.

use std::ops::Range;

use crate::activations::features::{Features, Variables};
use crate::engine::tile::Tile;
use crate::isa::{Block, Blocks};

/// The pairs of one row of a batch with blocks of columns of another batch.
///
/// [`Variables`] are such pairs together with the features of both batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowPairs {
    /// The index of the row in its batch.
    pub row: usize,
    /// The blocks of columns.
    pub blocks: Range<usize>,
}

impl RowPairs {
    /// The numbers of the columns, out of those of their whole batch.
    pub(super) fn cols<'a>(&self, batch: &'a Blocks) -> &'a [Block] {
        &batch.blocks()[self.blocks.clone()]
    }

    /// The pairs with the features of both batches.
    pub(super) fn variables<'a>(&self, rows: &'a Features, cols: &'a Features) -> Variables<'a> {
        Variables {
            rows,
            row: self.row,
            cols,
            blocks: self.blocks.clone(),
        }
    }
}

/// One row of several output planes, mutable. Its first blocks belong to the pairs that are computed.
#[derive(Debug)]
pub struct PlaneRow<'a> {
    /// The planes.
    pub planes: &'a mut [Tile],
    /// The index of the row in each of them.
    pub row: usize,
}
