//! The values and gradients at every token of a batch, and their parts that fit into a tile.

use std::ops::Range;

use crate::engine::panel::Panels;
use crate::engine::scalar::Scalar;
use crate::engine::tile::EDGE;

/// The values that enter a layer, at every token of every sample.
#[derive(Debug)]
pub enum Entering<T: Scalar> {
    /// Rows (i, s): the values of token s of sample i.
    Values(Panels<T>),
    /// Rows of a table: the index of token s of sample i at i·T + s. Two tokens have the inner product 1 if they are
    /// equal, else 0.
    Indices(Vec<i64>),
    /// Nothing: all inner products are 0, and only biases have a kernel.
    Nothing,
}

/// The gradients of S directions of outputs with respect to the values that leave a layer.
#[derive(Debug)]
pub struct Leaving<T: Scalar> {
    /// Rows (i, o, s): the gradient of direction o of sample i at token s. One matrix for each plane of the kernel.
    pub planes: Vec<Panels<T>>,
    /// S.
    pub directions: usize,
    /// T.
    pub tokens: usize,
}

impl<T: Scalar> Leaving<T> {
    /// The number of kernel rows (i, o).
    pub(super) fn rows(&self) -> usize {
        self.planes[0].rows() / self.tokens
    }

    /// The parts of a range of kernel rows whose tokens fit into a tile. Each is a list of chunks of tokens of the same
    /// kernel rows.
    pub(super) fn parts(&self, rows: &Range<usize>) -> Vec<Vec<TokenPart>> {
        let count = (EDGE / self.tokens).max(1);
        let starts = rows.clone().step_by(count);
        let part = |start: usize| {
            let rows = start..rows.end.min(start + count);
            let chunks = (0..self.tokens).step_by(EDGE);
            let chunk = |first: usize| TokenPart {
                rows: rows.clone(),
                tokens: first..self.tokens.min(first + EDGE),
            };
            chunks.map(chunk).collect()
        };
        starts.map(part).collect()
    }

    /// The rows of the gradients of a part.
    pub(super) fn rows_of(&self, part: &TokenPart) -> Range<usize> {
        part.within(&part.rows, self.tokens)
    }

    /// The rows (i, s) of the samples of a part.
    pub(super) fn samples_of(&self, part: &TokenPart) -> Range<usize> {
        let samples = part.rows.start / self.directions..(part.rows.end - 1) / self.directions + 1;
        part.within(&samples, self.tokens)
    }
}

/// A range of kernel rows, and a range of the tokens of each. More than one kernel row has all tokens.
pub(super) struct TokenPart {
    pub(super) rows: Range<usize>,
    pub(super) tokens: Range<usize>,
}

impl TokenPart {
    /// The rows (i, s) of `items`, which are kernel rows or samples.
    fn within(&self, items: &Range<usize>, tokens: usize) -> Range<usize> {
        items.start * tokens + self.tokens.start..(items.end - 1) * tokens + self.tokens.end
    }
}

/// The tokens of a batch.
#[derive(Clone, Copy, Debug)]
pub struct TokenBatch<'a, T: Scalar> {
    /// The values a.
    pub entering: &'a Entering<T>,
    /// The gradients g.
    pub leaving: &'a Leaving<T>,
}
