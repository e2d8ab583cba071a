//! Vectors, and sums of them, in groups that the registers of one loop hold.

use std::ops::Range;

use ndarray::{ArrayView2, ArrayViewMut1, ArrayViewMut2};

use crate::isa::{Block, Isa, Lanes, Pod, Vector, Vectorized, WIDTH, blocks_of};

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
    /// The blocks. If there are [`WIDTH`] vectors, one for each row; otherwise those of one vector after those of another.
    lines: Vec<Lanes<f64, WIDTH>>,
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

    /// Adds the first rows of `totals`, as many as `rows` has, to these rows, and makes them zeros.
    pub(super) fn take(&mut self, isa: Isa, rows: &Range<usize>, totals: &mut Self) {
        for (sums, totals) in self.groups.iter_mut().zip(&mut totals.groups) {
            sums.take(isa, rows, totals);
        }
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
        for (c, column) in matrix.columns_mut().into_iter().enumerate() {
            self.groups[c / WIDTH].add_to(c % WIDTH, first, column);
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
        let lines = vec![Pod::ZERO; width * len];
        Self { width, len, lines }
    }

    /// All blocks.
    fn blocks(&self) -> &[Block] {
        Lanes::values(&self.lines).as_chunks().0
    }

    /// All blocks, mutable.
    fn blocks_mut(&mut self) -> &mut [Block] {
        Lanes::values_mut(&mut self.lines).as_chunks_mut().0
    }

    /// [`Vectors::take`].
    fn take(&mut self, isa: Isa, rows: &Range<usize>, totals: &mut Self) {
        let (parts, [to, from]) = if self.width == WIDTH {
            let filled = |start: usize| start..start + rows.len().next_multiple_of(WIDTH);
            (1, [rows.start, 0].map(filled))
        } else {
            (self.width, [blocks_of(rows), blocks_of(&(0..rows.len()))])
        };
        let [len, totals_len] = [self.len, totals.len];
        for part in 0..parts {
            let sums = &mut self.blocks_mut()[part * len..][to.clone()];
            let totals = &mut totals.blocks_mut()[part * totals_len..][from.clone()];
            isa.run(Take { sums, totals });
        }
    }

    /// The place of a row of one of the vectors.
    fn place(&self, row: usize, vector: usize) -> [usize; 2] {
        if self.width == WIDTH {
            [row, vector]
        } else {
            [vector * self.len + row / WIDTH, row % WIDTH]
        }
    }

    /// Adds the rows from `first` on of one of the vectors to a column.
    fn add_to(&self, vector: usize, first: usize, mut column: ArrayViewMut1<'_, f64>) {
        let [block, lane] = self.place(first, vector);
        let blocks = &self.blocks()[block..];
        if self.width == WIDTH {
            let pairs = column.iter_mut().zip(blocks);
            pairs.for_each(|(value, block)| *value += block[lane]);
        } else {
            let pairs = column.iter_mut().zip(&blocks.as_flattened()[lane..]);
            pairs.for_each(|(value, sum)| *value += sum);
        }
    }

    fn value_mut(&mut self, row: usize, vector: usize) -> &mut f64 {
        let [block, lane] = self.place(row, vector);
        &mut self.blocks_mut()[block][lane]
    }

    /// The rows of a group of [`WIDTH`] vectors, filled up to whole blocks of rows: a block for each.
    pub(super) fn rows(&self, rows: &Range<usize>) -> &[Block] {
        &self.blocks()[rows.start..rows.end.next_multiple_of(WIDTH)]
    }

    /// The rows, mutable.
    pub(super) fn rows_mut(&mut self, rows: &Range<usize>) -> &mut [Block] {
        &mut self.blocks_mut()[rows.start..rows.end.next_multiple_of(WIDTH)]
    }

    /// The blocks of each of G vectors.
    pub(super) fn each<const G: usize>(&self, blocks: &Range<usize>) -> [&[Block]; G] {
        std::array::from_fn(|g| &self.blocks()[g * self.len..][blocks.clone()])
    }

    /// The blocks of each of G vectors, mutable.
    pub(super) fn each_mut<const G: usize>(&mut self, blocks: &Range<usize>) -> [&mut [Block]; G] {
        let len = self.len.max(1);
        let mut vectors = self.blocks_mut().chunks_mut(len);
        std::array::from_fn(|_| &mut vectors.next().unwrap_or_default()[blocks.clone()])
    }
}

/// `sums += totals`, and then `totals = 0`.
struct Take<'a> {
    sums: &'a mut [Block],
    totals: &'a mut [Block],
}

impl Vectorized for Take<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for (sums, totals) in self.sums.iter_mut().zip(self.totals) {
            (V::load(sums) + V::load(totals)).store(sums);
            V::splat(0.0).store(totals);
        }
    }
}
