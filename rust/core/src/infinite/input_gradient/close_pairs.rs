//! The tangential vectors of close pairs, one by one.

use std::array::from_fn;

use super::ordered_sums::BandSums;
use super::{CLOSE, DirectedInputs, Weights};
use crate::engine::scalar::Scalar;
use crate::engine::tile::{Area, Tile};
use crate::infinite::normed_rows::{NormedRows, Units};
use crate::isa::{Block, Isa, Vector, Vectorized, WIDTH};

/// The close pairs of a tile, in squares of eight rows and eight columns.
pub(super) struct CloseSquares<'a, T: Scalar> {
    pub(super) isa: Isa,
    pub(super) area: &'a Area,
    /// The rows and the columns.
    pub(super) sides: [&'a DirectedInputs<T>; 2],
    pub(super) gaps: &'a Tile,
    pub(super) weights: &'a Weights,
}

/// Per-worker scratch space, reused between tiles.
#[derive(Debug, Default)]
pub(super) struct CloseScratch {
    rows: UnitVectors,
    cols: UnitVectors,
}

/// Eight unit vectors side by side, in double-double precision.
#[derive(Debug, Default)]
struct UnitVectors {
    entries: Vec<Block>,
    units: Vec<[Block; 2]>,
}

impl UnitVectors {
    /// Loads the rows of block `index`. Zeros fill up the last block of features.
    fn load<T: Scalar>(&mut self, isa: Isa, normed: &NormedRows<T>, index: usize) {
        normed.entries(index, &mut self.entries);
        let units = Units {
            entries: &self.entries,
            inverses: normed.lengths(index).inverses,
            units: &mut self.units,
        };
        units.fill(isa);
        let whole = self.units.len().next_multiple_of(WIDTH);
        self.units.resize(whole, [[0.0; WIDTH]; 2]);
    }
}

/// True if the tangential vector of a pair is formed by itself. At a gap of 0 it is 0.
fn is_close(gap: f64) -> bool {
    gap.abs() < CLOSE && gap != 0.0
}

impl<T: Scalar> CloseSquares<'_, T> {
    /// Adds `f ∂K/∂ρ (ẑ ∓ x̂)` for every close pair. `slopes` holds `∂K/∂ρ` of each kernel.
    pub(super) fn add<'t>(
        &self,
        slopes: impl Iterator<Item = &'t Tile> + Clone,
        scratch: &mut CloseScratch,
        sums: &mut BandSums,
    ) {
        let Area { rows, cols } = self.area;
        for band in (0..rows.len()).step_by(WIDTH) {
            let mut loaded = false;
            let band_rows = band..rows.len().min(band + WIDTH);
            for chunk in 0..cols.len().div_ceil(WIDTH) {
                let any_close = |r: usize| {
                    let gaps = self.gaps.row_blocks(r)[chunk];
                    gaps.into_iter().any(is_close)
                };
                if !band_rows.clone().any(any_close) {
                    continue;
                }
                let [row_side, col_side] = self.sides.map(|side| &side.inputs.normed);
                if !loaded {
                    scratch
                        .rows
                        .load(self.isa, row_side, (rows.start + band) / WIDTH);
                    loaded = true;
                }
                scratch
                    .cols
                    .load(self.isa, col_side, cols.start / WIDTH + chunk);
                for r in band_rows.clone().filter(|r| any_close(*r)) {
                    self.add_row(r, chunk, slopes.clone(), scratch, sums);
                }
            }
        }
    }

    /// Adds the close pairs of row r and a block of columns.
    fn add_row<'t>(
        &self,
        r: usize,
        chunk: usize,
        slopes: impl Iterator<Item = &'t Tile>,
        scratch: &CloseScratch,
        sums: &mut BandSums,
    ) {
        let Area { rows, cols } = self.area;
        let gaps = self.gaps.row_blocks(r)[chunk];
        let results = self.weights.results();
        for (kernel, slopes) in slopes.enumerate() {
            let slopes = slopes.row_blocks(r)[chunk];
            for result in 0..results {
                let factor = |lane: usize| {
                    let col = cols.start + chunk * WIDTH + lane;
                    if !is_close(gaps[lane]) || col >= cols.end {
                        return 0.0;
                    }
                    let weight = self.weights.at(rows.start + r, col, result);
                    weight * self.sides[1].unit(col) * slopes[lane]
                };
                self.isa.run(AddDifferences {
                    row: &scratch.rows.units,
                    lane: r % WIDTH,
                    cols: &scratch.cols.units,
                    factors: from_fn(factor),
                    signs: gaps.map(f64::signum),
                    target: sums.tile(kernel * results + result).row_blocks_mut(r),
                });
            }
        }
    }
}

/// Adds `Σ_j f_j (ẑ_j ∓ x̂)` for eight columns j.
struct AddDifferences<'a> {
    row: &'a [[Block; 2]],
    /// The lane of x̂ among the rows.
    lane: usize,
    cols: &'a [[Block; 2]],
    factors: Block,
    signs: Block,
    target: &'a mut [Block],
}

impl Vectorized for AddDifferences<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (factors, signs) = (V::load(&self.factors), V::load(&self.signs));
        let (rows, _) = self.row.as_chunks::<WIDTH>();
        let (cols, _) = self.cols.as_chunks::<WIDTH>();
        for ((rows, cols), target) in rows.iter().zip(cols).zip(self.target) {
            let mut terms = [V::splat(0.0); WIDTH];
            for (term, (row, col)) in terms.iter_mut().zip(rows.iter().zip(cols)) {
                let hi = V::load(&col[0]) - signs * V::splat(row[0][self.lane]);
                let lo = V::load(&col[1]) - signs * V::splat(row[1][self.lane]);
                *term = factors * (hi + lo);
            }
            let mut sum = V::load(target);
            for term in V::transpose(terms) {
                sum = sum + term;
            }
            sum.store(target);
        }
    }
}
