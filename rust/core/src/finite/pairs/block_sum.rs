//! Sums of products over the tokens of two samples.

use crate::isa::{Vector, Vectorized};

/// The number of partial sums of a row or a column of terms.
const LANES: usize = 8;

/// The largest number of tokens of either sample.
const MOST: usize = crate::engine::tile::EDGE;

/// The terms `(inner[s][t] + bias) · outer[s][t]` of two samples. An absent `inner` counts as 0.
///
/// Their sum is the mean of the sum over rows and the sum over columns, in the same order. So it has the same bits for
/// the transposed terms.
pub struct BlockSum<'a, I, O> {
    /// Row s of the inner factors.
    pub inner: Option<I>,
    /// Row s of the outer factors.
    pub outer: O,
    /// The number of rows and of columns, at most [`EDGE`](crate::engine::tile::EDGE).
    pub shape: [usize; 2],
    /// The summand of every inner factor.
    pub bias: f64,
    /// Scratch space.
    pub scratch: &'a mut BlockScratch,
}

/// The terms of a row, and partial sums of the columns.
#[derive(Debug)]
pub struct BlockScratch {
    terms: [f64; MOST],
    columns: [[f64; MOST]; LANES],
}

impl Default for BlockScratch {
    fn default() -> Self {
        Self {
            terms: [0.0; MOST],
            columns: [[0.0; MOST]; LANES],
        }
    }
}

impl<'t, I: Fn(usize) -> &'t [f64], O: Fn(usize) -> &'t [f64]> Vectorized for BlockSum<'_, I, O> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Vector>(self) -> f64 {
        let [rows, cols] = self.shape;
        let BlockScratch { terms, columns } = self.scratch;
        let terms = &mut terms[..cols];
        for column in columns.iter_mut().take(rows) {
            column[..cols].fill(0.0);
        }
        let mut of_rows = 0.0;
        for s in 0..rows {
            let outer = &(self.outer)(s)[..cols];
            match &self.inner {
                Some(inner) => {
                    let factors = inner(s)[..cols].iter().zip(outer);
                    for (term, (inner, outer)) in terms.iter_mut().zip(factors) {
                        *term = (inner + self.bias) * outer;
                    }
                }
                None => {
                    for (term, outer) in terms.iter_mut().zip(outer) {
                        *term = self.bias * outer;
                    }
                }
            }
            let column = columns[s % LANES][..cols].iter_mut();
            column.zip(&*terms).for_each(|(sum, term)| *sum += term);
            of_rows += sum_of_lanes(terms);
        }
        let used = &columns[..rows.min(LANES)];
        let column = |t: usize| used.iter().fold(0.0, |sum, lane| sum + lane[t]);
        let of_columns = (0..cols).fold(0.0, |sum, t| sum + column(t));
        0.5 * (of_rows + of_columns)
    }
}

/// `Σ_k Σ_t values[LANES·t + k]`, both ascending from zero.
#[inline(always)]
fn sum_of_lanes(values: &[f64]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += value;
    }
    lanes[..values.len().min(LANES)]
        .iter()
        .fold(0.0, |sum, lane| sum + lane)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;
    use ndarray::Array2;

    fn sum(inner: &Array2<f64>, outer: &Array2<f64>, bias: f64, isa: Isa) -> f64 {
        let row = |matrix: &'static Array2<f64>| move |s: usize| matrix.row(s).to_slice().unwrap();
        let leak =
            |matrix: &Array2<f64>| &*Box::leak(Box::new(matrix.as_standard_layout().into_owned()));
        let [inner, outer] = [leak(inner), leak(outer)];
        isa.run(BlockSum {
            inner: Some(row(inner)),
            outer: row(outer),
            shape: [outer.nrows(), outer.ncols()],
            bias,
            scratch: &mut BlockScratch::default(),
        })
    }

    #[test]
    fn the_transposed_terms_have_a_sum_of_the_same_bits() {
        for shape in [(1, 1), (3, 5), (8, 17), (MOST, 1), (MOST, 61)] {
            let value =
                |seed: f64| move |(s, t): (usize, usize)| (seed + (31 * s + 7 * t) as f64).sin();
            let inner = Array2::from_shape_fn(shape, value(0.3));
            let outer = Array2::from_shape_fn(shape, value(1.7));
            let expected = ((&inner + 0.5) * &outer).sum();
            for isa in Isa::available() {
                let found = sum(&inner, &outer, 0.5, isa);
                // Sums of fewer than 1e4 terms below 2, most of them cancelling.
                assert!((found - expected).abs() < 1e-11, "{shape:?} {isa}");
                let [inner, outer] = [inner.t().to_owned(), outer.t().to_owned()];
                let transposed = sum(&inner, &outer, 0.5, isa);
                assert_eq!(transposed.to_bits(), found.to_bits(), "{shape:?} {isa}");
            }
        }
    }
}
