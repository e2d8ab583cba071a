//! Pairs of rows with blocks of columns.

use std::ops::Range;

use crate::activations::features::{Features, Variables};
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

/// The pairs of consecutive rows of a batch with blocks of columns of another batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BandPairs {
    /// The rows.
    pub rows: Range<usize>,
    /// The blocks of columns.
    pub blocks: Range<usize>,
}

impl RowPairs {
    /// The numbers of the columns, out of those of their whole batch.
    pub fn cols<'a>(&self, batch: &'a Blocks) -> &'a [Block] {
        &batch.blocks()[self.blocks.clone()]
    }

    /// The pairs with the features of both batches.
    pub fn variables<'a>(&self, rows: &'a Features, cols: &'a Features) -> Variables<'a> {
        Variables {
            rows,
            row: self.row,
            cols,
            blocks: self.blocks.clone(),
        }
    }

    /// The band of this row alone.
    pub fn band(&self) -> BandPairs {
        BandPairs {
            rows: self.row..self.row + 1,
            blocks: self.blocks.clone(),
        }
    }
}

impl BandPairs {
    /// The number of blocks of pairs.
    pub fn len(&self) -> usize {
        self.rows.len() * self.blocks.len()
    }

    /// True if there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pairs of each row, with their places among all blocks of pairs, which are stored row by row.
    pub fn each_row(&self) -> impl Iterator<Item = (RowPairs, Range<usize>)> {
        let (first, blocks) = (self.rows.start, self.blocks.clone());
        self.rows.clone().map(move |row| {
            let (start, blocks) = ((row - first) * blocks.len(), blocks.clone());
            (
                RowPairs {
                    row,
                    blocks: blocks.clone(),
                },
                start..start + blocks.len(),
            )
        })
    }
}
