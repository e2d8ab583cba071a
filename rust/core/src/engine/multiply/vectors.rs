//! Vectors, and sums of them, in groups that the registers of one loop hold.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut2};

use crate::isa::{Block, WIDTH};

/// Vectors of one length, in groups of [`WIDTH`]. The last group may have 1, 2 or 4 of them.
#[derive(Debug)]
pub struct Vectors {
    count: usize,
    groups: Vec<Group>,
}

/// Some vectors of a length that is filled up to whole blocks with zeros.
#[derive(Debug)]
pub(super) struct Group {
    /// The number of vectors, those that fill the group up included: 1, 2, 4 or [`WIDTH`].
    pub(super) width: usize,
    /// The number of blocks of one vector.
    len: usize,
    /// If there are [`WIDTH`] vectors, a block for each row; otherwise the blocks of one vector after those of another.
    blocks: Vec<Block>,
}

impl Vectors {
    /// Copies the columns of a matrix.
    pub fn new(matrix: ArrayView2<'_, f64>) -> Self {
        let mut vectors = Self {
            count: matrix.ncols(),
            groups: widths(matrix.ncols())
                .map(|width| Group::zeros(width, matrix.nrows()))
                .collect(),
        };
        for (c, column) in matrix.columns().into_iter().enumerate() {
            let group = &mut vectors.groups[c / WIDTH];
            for (row, value) in column.iter().enumerate() {
                *group.value_mut(row, c % WIDTH) = *value;
            }
        }
        vectors
    }

    /// The number of vectors.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Vectors of `rows` zeros, as many as these and in the same groups.
    pub(super) fn zeros(&self, rows: usize) -> Self {
        let groups = self
            .groups
            .iter()
            .map(|group| Group::zeros(group.width, rows))
            .collect();
        let count = self.count;
        Self { count, groups }
    }

    /// The groups.
    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The groups, mutable.
    pub(super) fn groups_mut(&mut self) -> &mut [Group] {
        &mut self.groups
    }

    /// Adds the rows from `first` on to the rows of a matrix.
    pub(super) fn add_to(&self, first: usize, matrix: &mut ArrayViewMut2<'_, f64>) {
        for (c, mut column) in matrix.columns_mut().into_iter().enumerate() {
            let group = &self.groups[c / WIDTH];
            for (row, value) in column.iter_mut().enumerate() {
                *value += group.value(first + row, c % WIDTH);
            }
        }
    }
}

/// The widths of the groups of `count` vectors.
fn widths(count: usize) -> impl Iterator<Item = usize> {
    let last = match count % WIDTH {
        0 => None,
        rest @ (1 | 2) => Some(rest),
        3 | 4 => Some(4),
        _ => Some(WIDTH),
    };
    std::iter::repeat_n(WIDTH, count / WIDTH).chain(last)
}

impl Group {
    fn zeros(width: usize, rows: usize) -> Self {
        let len = rows.div_ceil(WIDTH);
        let blocks = vec![[0.0; WIDTH]; width * len];
        Self { width, len, blocks }
    }

    /// The place of a row of one of the vectors.
    fn place(&self, row: usize, vector: usize) -> [usize; 2] {
        if self.width == WIDTH {
            [row, vector]
        } else {
            [vector * self.len + row / WIDTH, row % WIDTH]
        }
    }

    fn value(&self, row: usize, vector: usize) -> f64 {
        let [block, lane] = self.place(row, vector);
        self.blocks[block][lane]
    }

    fn value_mut(&mut self, row: usize, vector: usize) -> &mut f64 {
        let [block, lane] = self.place(row, vector);
        &mut self.blocks[block][lane]
    }

    /// The rows of a group of [`WIDTH`] vectors, filled up to whole blocks of rows: a block for each.
    pub(super) fn rows(&self, rows: &Range<usize>) -> &[Block] {
        &self.blocks[rows.start..rows.end.next_multiple_of(WIDTH)]
    }

    /// The rows, mutable.
    pub(super) fn rows_mut(&mut self, rows: &Range<usize>) -> &mut [Block] {
        &mut self.blocks[rows.start..rows.end.next_multiple_of(WIDTH)]
    }

    /// The blocks of each of G vectors.
    pub(super) fn each<const G: usize>(&self, blocks: &Range<usize>) -> [&[Block]; G] {
        std::array::from_fn(|g| &self.blocks[g * self.len..][blocks.clone()])
    }

    /// The blocks of each of G vectors, mutable.
    pub(super) fn each_mut<const G: usize>(&mut self, blocks: &Range<usize>) -> [&mut [Block]; G] {
        let mut vectors = self.blocks.chunks_mut(self.len.max(1));
        std::array::from_fn(|_| &mut vectors.next().unwrap_or_default()[blocks.clone()])
    }
}
