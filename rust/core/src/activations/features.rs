//! Features: the numbers of each variable that the dual of an activation reads.

use std::ops::Range;

use crate::isa::{Block, Blocks, WIDTH};

/// Features of many variables: one list for each feature, with one number per variable.
#[derive(Debug, Default)]
pub struct Features(pub Vec<Blocks>);

/// Numbers in `f32` of many variables: one list for each number, in whole blocks.
#[derive(Debug)]
pub struct SingleNumbers(Vec<Vec<[f32; WIDTH]>>);

impl SingleNumbers {
    /// The first `count` of the numbers of each variable, for variables that fill this many blocks.
    pub(super) fn from_fn<const N: usize>(
        count: usize,
        blocks: usize,
        numbers: impl Fn(usize) -> [f32; N],
    ) -> Self {
        let mut lists = vec![vec![[0.0; WIDTH]; blocks]; count];
        for variable in 0..blocks * WIDTH {
            for (list, number) in lists.iter_mut().zip(numbers(variable)) {
                list[variable / WIDTH][variable % WIDTH] = number;
            }
        }
        Self(lists)
    }

    /// Number `index` of a variable.
    #[inline(always)]
    pub(super) fn get(&self, index: usize, variable: usize) -> f32 {
        self.0[index][variable / WIDTH][variable % WIDTH]
    }

    /// Number `index` of all variables.
    #[inline(always)]
    pub(super) fn list(&self, index: usize) -> &[[f32; WIDTH]] {
        &self.0[index]
    }
}

/// One variable u and several variables v, given by their features.
#[derive(Clone, Debug)]
pub struct Variables<'a> {
    /// The features of the batch that u belongs to.
    pub rows: &'a Features,
    /// The index of u in its batch.
    pub row: usize,
    /// The features of the batch that the v belong to.
    pub cols: &'a Features,
    /// The blocks of that batch that hold the v.
    pub blocks: Range<usize>,
}

impl<'a> Variables<'a> {
    /// Feature `index` of u.
    pub fn u(&self, index: usize) -> f64 {
        self.rows.0[index].get(self.row)
    }

    /// Feature `index` of u and of its whole block, and the same of the blocks after it, as many as there are blocks of v.
    pub fn u_blocks(&self, index: usize) -> &'a [Block] {
        let first = self.row / WIDTH;
        &self.rows.0[index].blocks()[first..first + self.blocks.len()]
    }

    /// Feature `index` of each v.
    pub fn v(&self, index: usize) -> &'a [Block] {
        &self.cols.0[index].blocks()[self.blocks.clone()]
    }
}
