//! Features: the numbers that the dual of an activation reads of each variable.

use std::ops::Range;

use crate::isa::{Block, Blocks};

/// Some numbers for each variable, stored number by number.
#[derive(Debug, Default)]
pub struct Features(pub Vec<Blocks>);

/// One u and several v, by their features.
#[derive(Clone, Debug)]
pub struct Variables<'a> {
    /// The features among which u is.
    pub rows: &'a Features,
    /// Which one u is.
    pub row: usize,
    /// The features among which the v are.
    pub cols: &'a Features,
    /// Which blocks they are.
    pub blocks: Range<usize>,
}

impl<'a> Variables<'a> {
    /// RowNumber `index` of u.
    pub fn u(&self, index: usize) -> f64 {
        self.rows.0[index].get(self.row)
    }

    /// RowNumber `index` of each v.
    pub fn v(&self, index: usize) -> &'a [Block] {
        &self.cols.0[index].blocks()[self.blocks.clone()]
    }
}
