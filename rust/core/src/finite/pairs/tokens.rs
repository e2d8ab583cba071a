//! The kernel of a layer from inner products of tokens.

use std::ops::Range;

use super::block_sum::{BlockScratch, BlockSum};
use super::token_batch::{Entering, Leaving, TokenBatch, TokenPart};
use crate::engine::panel::Panels;
use crate::engine::pool::Stop;
use crate::engine::scalar::Scalar;
use crate::engine::tile::{Area, Tile, TileKernel, product, product_cycles};
use crate::isa::{Isa, Vector, Vectorized};

/// The place of row `row` in a tile of whole panels that hold the rows `all`.
fn place<T: Scalar>(all: &Range<usize>, row: usize) -> usize {
    row - all.start / Panels::<T>::LANES * Panels::<T>::LANES
}

/// `factor · Σ_st (⟨a_is, a_jt⟩ + bias) ⟨g_is, g_jt⟩`.
#[derive(Debug)]
pub struct TokenKernel<'a, T: Scalar> {
    /// The first batch.
    pub rows: TokenBatch<'a, T>,
    /// The second batch, for the same kind of [`Entering`].
    pub cols: TokenBatch<'a, T>,
    /// The factor of the kernel.
    pub factor: f64,
    /// 1 for a layer with biases, else 0.
    pub bias: f64,
}

/// Per-worker scratch space, reused between tiles.
#[derive(Debug, Default)]
pub struct Scratch {
    /// `⟨a, a'⟩` of tokens.
    inner: Tile,
    /// `⟨g, g'⟩` of tokens, for each plane.
    outer: Vec<Tile>,
    /// `⟨a, a'⟩ + b` of one sample and each column.
    factors: Vec<f64>,
    block: BlockScratch,
}

impl<T: Scalar> TokenKernel<'_, T> {
    /// The gradients of both batches.
    fn leaving(&self) -> [&Leaving<T>; 2] {
        [self.rows.leaving, self.cols.leaving]
    }

    fn isa(&self) -> Isa {
        self.rows.leaving.planes[0].all().isa()
    }

    /// Writes the inner products of the tokens of two parts. Returns false if there are none.
    fn write_inner(&self, row: &TokenPart, col: &TokenPart, tile: &mut Tile) -> bool {
        let [first, second] = self.leaving();
        let (rows, cols) = (first.samples_of(row), second.samples_of(col));
        match (self.rows.entering, self.cols.entering) {
            (Entering::Values(x), Entering::Values(z)) => {
                product(x.of_rows(&rows), z.of_rows(&cols), tile);
                true
            }
            (Entering::Indices(x), Entering::Indices(z)) => {
                let [row, col] = [place::<T>(&rows, rows.start), place::<T>(&cols, cols.start)];
                tile.reshape(row + rows.len(), col + cols.len());
                for (r, index) in x[rows].iter().enumerate() {
                    let values = tile.row_mut(row + r)[col..].iter_mut();
                    let equal = |other: &i64| f64::from(u8::from(index == other));
                    let pairs = values.zip(&z[cols.clone()]);
                    pairs.for_each(|(value, other)| *value = equal(other));
                }
                true
            }
            _ => false,
        }
    }

    /// Writes the inner products of two parts to `scratch`. Returns false if nothing enters.
    fn write_both(&self, row: &TokenPart, col: &TokenPart, scratch: &mut Scratch) -> bool {
        let [first, second] = self.leaving();
        let (rows, cols) = (first.rows_of(row), second.rows_of(col));
        let gradients = first.planes.iter().zip(&second.planes);
        scratch.outer.resize(gradients.len(), Tile::default());
        for (tile, (x, z)) in scratch.outer.iter_mut().zip(gradients) {
            product(x.of_rows(&rows), z.of_rows(&cols), tile);
        }
        self.write_inner(row, col, &mut scratch.inner)
    }

    /// Writes the kernel of samples that have one token each.
    fn write_products(&self, area: &Area, scratch: &mut Scratch, planes: &mut [Tile]) {
        let [row, col] = [&area.rows, &area.cols].map(|rows| TokenPart {
            rows: rows.clone(),
            tokens: 0..1,
        });
        let has_inner = self.write_both(&row, &col, scratch);
        let [first, start] = [&row, &col].map(|part| place::<T>(&part.rows, part.rows.start));
        planes
            .iter_mut()
            .for_each(|plane| plane.reshape(row.rows.len(), col.rows.len()));
        for (r, kernel_row) in row.rows.clone().enumerate() {
            if r == 0 || kernel_row.is_multiple_of(self.rows.leaving.directions) {
                self.write_factors(kernel_row, [&row, &col], has_inner, scratch);
            }
            for (plane, outer) in planes.iter_mut().zip(&scratch.outer) {
                self.isa().run(TermProducts {
                    factor: self.factor,
                    inner: &scratch.factors,
                    outer: &outer.row(first + r)[start..],
                    terms: plane.row_mut(r),
                });
            }
        }
    }

    /// Writes `⟨a, a'⟩ + b` of the sample of a kernel row, for each column of a part.
    fn write_factors(
        &self,
        kernel_row: usize,
        [row, col]: [&TokenPart; 2],
        has_inner: bool,
        scratch: &mut Scratch,
    ) {
        let Scratch { inner, factors, .. } = scratch;
        factors.clear();
        if !has_inner {
            factors.resize(col.rows.len(), self.bias);
            return;
        }
        let [first, second] = self.leaving();
        let (rows, cols) = (first.samples_of(row), second.samples_of(col));
        let inner = inner.row(place::<T>(&rows, kernel_row / first.directions));
        let inner = &inner[place::<T>(&cols, cols.start)..];
        let count = second.directions;
        if count == 1 {
            let inner = inner[..cols.len()].iter();
            factors.extend(inner.map(|inner| inner + self.bias));
        } else {
            let sample = |col: usize| col / count - cols.start;
            let each = col.rows.clone();
            factors.extend(each.map(|col| inner[sample(col)] + self.bias));
        }
    }

    /// Adds the terms of two parts to each plane of `sums`, whose first row and column are those of the parts.
    fn add_terms(
        &self,
        row: &TokenPart,
        col: &TokenPart,
        scratch: &mut Scratch,
        sums: &mut [Tile],
    ) {
        let has_inner = self.write_both(row, col, scratch);
        let Scratch {
            inner,
            outer,
            block,
            ..
        } = scratch;
        let [first, second] = self.leaving();
        let (rows, cols) = (Places::of(first, row), Places::of(second, col));
        for (sums, outer) in sums.iter_mut().zip(outer) {
            for r in 0..row.rows.len() {
                for (c, sum) in sums.row_mut(r).iter_mut().enumerate() {
                    let ([i, k], [j, l]) = (rows.at(r), cols.at(c));
                    let inner = has_inner.then_some(|s: usize| &inner.row(i + s)[j..]);
                    *sum += self.isa().run(BlockSum {
                        inner,
                        outer: |s: usize| &outer.row(k + s)[l..],
                        shape: [row.tokens.len(), col.tokens.len()],
                        bias: self.bias,
                        scratch: block,
                    });
                }
            }
        }
    }

    /// Writes the sums of all terms of two lists of chunks to each plane of `sums`.
    ///
    /// The terms of chunks (a, b) and (b, a) are added to each other first. So the sum does not depend on which of the two
    /// samples is the row.
    fn write_sums(
        &self,
        rows: &[TokenPart],
        cols: &[TokenPart],
        scratch: &mut Scratch,
        sums: &mut [Tile],
    ) {
        let shape = [rows[0].rows.len(), cols[0].rows.len()];
        let most = rows.len().max(cols.len());
        let mut both = vec![Tile::default(); sums.len()];
        let clear = |tiles: &mut [Tile]| tiles.iter_mut().for_each(|t| t.reset(shape[0], shape[1]));
        clear(sums);
        for low in 0..most {
            for high in low..most {
                clear(&mut both);
                let orders: &[_] = if low == high {
                    &[(low, low)]
                } else {
                    &[(low, high), (high, low)]
                };
                for (a, b) in orders {
                    if let (Some(row), Some(col)) = (rows.get(*a), cols.get(*b)) {
                        self.add_terms(row, col, scratch, &mut both);
                    }
                }
                for (sums, both) in sums.iter_mut().zip(&both) {
                    (0..shape[0]).for_each(|r| add(both.row(r), sums.row_mut(r)));
                }
            }
        }
    }
}

/// `sums += values`.
fn add(values: &[f64], sums: &mut [f64]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

/// The places of the first tokens of the kernel rows of a part, in the tiles of inner and of outer products.
struct Places {
    first: usize,
    directions: usize,
    tokens: usize,
    inner: usize,
    outer: usize,
}

impl Places {
    fn of<T: Scalar>(leaving: &Leaving<T>, part: &TokenPart) -> Self {
        let [inner, outer] = [leaving.samples_of(part), leaving.rows_of(part)]
            .map(|rows| place::<T>(&rows, rows.start));
        Self {
            first: part.rows.start,
            directions: leaving.directions,
            tokens: leaving.tokens,
            inner,
            outer,
        }
    }

    /// The places of kernel row `r` of the part.
    fn at(&self, r: usize) -> [usize; 2] {
        let sample = |row: usize| row / self.directions;
        let samples = sample(self.first + r) - sample(self.first);
        [
            self.inner + samples * self.tokens,
            self.outer + r * self.tokens,
        ]
    }
}

/// `terms = factor · inner ⊙ outer`.
struct TermProducts<'a> {
    factor: f64,
    inner: &'a [f64],
    outer: &'a [f64],
    terms: &'a mut [f64],
}

impl Vectorized for TermProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let products = self.inner.iter().zip(self.outer);
        for (term, (inner, outer)) in self.terms.iter_mut().zip(products) {
            *term = self.factor * (inner * outer);
        }
    }
}

impl<T: Scalar> TileKernel for TokenKernel<'_, T> {
    type Scratch = Scratch;

    fn rows(&self) -> usize {
        self.rows.leaving.rows()
    }

    fn cols(&self) -> usize {
        self.cols.leaving.rows()
    }

    fn planes(&self) -> usize {
        self.rows.leaving.planes.len()
    }

    fn entry_cycles(&self) -> f64 {
        let inner = match self.rows.entering {
            Entering::Values(values) => values.depth(),
            _ => 1,
        };
        let outer = self.planes() * self.rows.leaving.planes[0].depth();
        (self.rows.leaving.tokens * self.cols.leaving.tokens) as f64 * product_cycles(inner + outer)
    }

    fn compute(&self, area: &Area, scratch: &mut Scratch, planes: &mut [Tile], _: &Stop) {
        if self.rows.leaving.tokens == 1 && self.cols.leaving.tokens == 1 {
            return self.write_products(area, scratch, planes);
        }
        for plane in &mut *planes {
            plane.reset(area.rows.len(), area.cols.len());
        }
        let mut sums = vec![Tile::default(); planes.len()];
        for rows in self.rows.leaving.parts(&area.rows) {
            for cols in self.cols.leaving.parts(&area.cols) {
                self.write_sums(&rows, &cols, scratch, &mut sums);
                let (top, left) = (&rows[0].rows, &cols[0].rows);
                for (plane, sums) in planes.iter_mut().zip(&sums) {
                    for r in 0..top.len() {
                        let row = plane.row_mut(top.start - area.rows.start + r);
                        let row = &mut row[left.start - area.cols.start..][..left.len()];
                        let values = row.iter_mut().zip(sums.row(r));
                        values.for_each(|(value, sum)| *value = self.factor * sum);
                    }
                }
            }
        }
    }
}
