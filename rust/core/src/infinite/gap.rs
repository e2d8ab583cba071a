//! The gaps of inputs, `1 − |ρ|` with the sign of ρ, accurate to the last digits however small they are.
//!
//! An inner product has errors of a few ε. The slope of a kernel at ρ = ±1 may be infinite, which would amplify them to
//! √ε; and if `Σ(x, x)` is large, a kernel of distances would see an error of `ε Σ`. So close pairs get their gap from
//! the difference of the two rows, or from their sum if they point in opposite directions:
//!
//! ```text
//! 1 − ρ = (|x − y|² − (|x| − |y|)²)/(2|x||y|)
//! ```
//!
//! with norms in double-double precision. Where most of the distance is the difference of the norms, this cancels.
//! There the unit vectors are formed in double-double precision, and the gap is `|x/|x| − y/|y||²/2`. Gaps too small
//! for these, down to the 0 of parallel rows, follow from cross products (see [`super::cross_products`]). If one pair
//! of eight rows and eight columns is close, the distances of all 64 pairs are computed, which costs twice as much as
//! their inner products.

use std::ops::Range;

use crate::engine::scalar::Scalar;
use crate::engine::tile::{Area, EDGE, Tile};
use crate::infinite::cross_products::{FromCrossProducts, Side, any_tiny, pivots};
use crate::infinite::normed_rows::{Lengths, NormedRows, Units};
use crate::isa::{Block, Isa, Vector, Vectorized, WIDTH, blocks_of};

/// Gaps smaller than this, of either sign, are computed from differences.
///
/// In a squared distance 2Σe, an absolute error ε of the gap e is an error of `2Σε`. A kernel of distances sees the
/// relative error, about `ε/e`.
const CLOSE: f64 = 3.0 / 16.0;

/// Per-worker scratch space, reused between tiles.
#[derive(Debug, Default)]
pub struct Scratch {
    rows: Entries,
    cols: Entries,
}

/// The entries of [`WIDTH`] rows side by side.
#[derive(Debug, Default)]
struct Entries {
    values: Vec<Block>,
    /// The unit vectors of the rows in double-double precision, computed on first use.
    units: Vec<[Block; 2]>,
    /// The index of a largest entry of each row, computed on first use.
    pivots: Option<[usize; WIDTH]>,
}

impl Entries {
    /// Loads the rows of block `index`.
    fn load<T: Scalar>(&mut self, normed: &NormedRows<T>, index: usize) {
        normed.entries(index, &mut self.values);
        self.units.clear();
        self.pivots = None;
    }

    /// The unit vectors, given the lengths of the rows.
    fn units(&mut self, isa: Isa, lengths: Lengths<'_>) -> &[[Block; 2]] {
        if self.units.is_empty() {
            let units = Units {
                entries: &self.values,
                inverses: lengths.inverses,
                units: &mut self.units,
            };
            units.fill(isa);
        }
        &self.units
    }

    /// The rows as a side of [`FromCrossProducts`].
    fn side<'a>(&'a mut self, lengths: Lengths<'a>) -> Side<'a> {
        let pivots = *self.pivots.get_or_insert_with(|| pivots(&self.values));
        Side {
            entries: &self.values,
            inverses: lengths.inverses[0],
            pivots,
        }
    }
}

/// Replaces the inner products of the rows of an area by their gaps.
pub fn gaps<T: Scalar>(
    isa: Isa,
    [rows, cols]: [&NormedRows<T>; 2],
    area: &Area,
    tile: &mut Tile,
    scratch: &mut Scratch,
) {
    let (row_blocks, col_blocks) = (blocks_of(&area.rows), blocks_of(&area.cols));
    for (band, row_block) in row_blocks.enumerate() {
        let band = band * WIDTH..area.rows.len().min((band + 1) * WIDTH);
        let close = isa.run(FromProducts {
            rows: &rows.inverses()[row_block],
            cols: &cols.inverses()[col_blocks.clone()],
            tile,
            band: band.clone(),
        });
        if close.iter().any(|close| close.any()) {
            scratch.rows.load(rows, row_block);
        }
        for (chunk, close) in close.into_iter().enumerate() {
            if !close.any() {
                continue;
            }
            let col_block = col_blocks.start + chunk;
            scratch.cols.load(cols, col_block);
            let lengths = [rows.lengths(row_block), cols.lengths(col_block)];
            let band = band.clone();
            let mut square = GapSquare { tile, band, chunk };
            for sign in close.signs() {
                scratch.replace_close(isa, lengths, T::ROUNDING, sign, &mut square);
            }
        }
    }
}

/// Eight rows of a tile of gaps, and eight columns.
struct GapSquare<'a> {
    tile: &'a mut Tile,
    /// The rows.
    band: Range<usize>,
    /// The block of columns.
    chunk: usize,
}

impl GapSquare<'_> {
    /// Replaces close gaps of this sign by those of `values` that are known. Returns true if others are left.
    fn replace(&mut self, values: &[Block; WIDTH], sign: f64) -> bool {
        let mut left = false;
        for (row, values) in self.band.clone().zip(values) {
            let gaps = &mut self.tile.row_blocks_mut(row)[self.chunk];
            for (gap, value) in gaps.iter_mut().zip(values) {
                if gap.abs() < CLOSE && gap.is_sign_positive() == sign.is_sign_positive() {
                    if *value == UNKNOWN {
                        left = true;
                    } else {
                        *gap = value.copysign(sign);
                    }
                }
            }
        }
        left
    }
}

/// Marks a gap that cannot be computed accurately from the difference of the rows.
const UNKNOWN: f64 = -1.0;

impl Scratch {
    /// Replaces the close gaps of this sign between the loaded rows and columns: by differences of the rows, or by
    /// those of their unit vectors where the former cancel, or by cross products where the latter cancel too. `rounding`
    /// is that of the entries.
    fn replace_close(
        &mut self,
        isa: Isa,
        lengths: [Lengths<'_>; 2],
        rounding: f64,
        sign: f64,
        square: &mut GapSquare<'_>,
    ) {
        let differences = isa.run(FromDifferences {
            rows: &self.rows.values,
            cols: &self.cols.values,
            lengths,
            sign,
        });
        if square.replace(&differences, sign) {
            let mut units = isa.run(FromUnits {
                rows: self.rows.units(isa, lengths[0]),
                cols: self.cols.units(isa, lengths[1]),
                sign,
            });
            // Gaps that are known stay as they are: which formula a pair gets must not depend on its neighbours.
            let known = differences.as_flattened().iter();
            for (unit, known) in units.as_flattened_mut().iter_mut().zip(known) {
                if *known != UNKNOWN {
                    *unit = UNKNOWN;
                }
            }
            if any_tiny(&units) {
                isa.run(FromCrossProducts {
                    rows: self.rows.side(lengths[0]),
                    cols: self.cols.side(lengths[1]),
                    rounding,
                    gaps: &mut units,
                });
            }
            square.replace(&units, sign);
        }
    }
}

/// The signs of the close gaps between eight rows and eight columns.
#[derive(Clone, Copy, Debug, Default)]
struct CloseSigns {
    /// True if rows are close that point in the same direction.
    aligned: bool,
    /// True if rows are close that point in opposite directions.
    opposite: bool,
}

impl CloseSigns {
    fn any(self) -> bool {
        self.aligned || self.opposite
    }

    /// Records the signs of the close gaps among these.
    fn note(&mut self, gaps: &Block) {
        for gap in gaps.iter().filter(|gap| gap.abs() < CLOSE) {
            self.aligned |= gap.is_sign_positive();
            self.opposite |= gap.is_sign_negative();
        }
    }

    /// The signs, as 1 and −1.
    fn signs(self) -> impl Iterator<Item = f64> {
        let signs = [self.aligned.then_some(1.0), self.opposite.then_some(-1.0)];
        signs.into_iter().flatten()
    }
}

/// Replaces inner products by gaps, `1 − |ρ|` with `ρ = ⟨x, y⟩/(|x||y|)`. Returns the signs of the close gaps for each
/// block of columns.
struct FromProducts<'a> {
    /// The inverse norms of the rows.
    rows: &'a Block,
    /// The inverse norms of the columns.
    cols: &'a [Block],
    tile: &'a mut Tile,
    /// The rows of the tile.
    band: Range<usize>,
}

impl Vectorized for FromProducts<'_> {
    type Output = [CloseSigns; EDGE / WIDTH];

    #[inline(always)]
    fn run<V: Vector>(self) -> Self::Output {
        let (zero, one, bound) = (V::splat(0.0), V::splat(1.0), V::splat(CLOSE));
        let mut close = [CloseSigns::default(); EDGE / WIDTH];
        for (row, inverse) in self.band.zip(self.rows) {
            let inverse = V::splat(*inverse);
            let values = self.tile.row_blocks_mut(row).iter_mut().zip(self.cols);
            for ((values, col), close) in values.zip(&mut close) {
                let correlation = V::load(values) * (inverse * V::load(col));
                let size = (one - correlation.abs()).max(zero);
                size.copysign(correlation).store(values);
                if V::any(size.less(bound)) {
                    close.note(values);
                }
            }
        }
        close
    }
}

/// Computes the gaps of eight rows x and eight rows y from their differences, `(|x ∓ ty|² − (|x| − t|y|)²)/(2t|x||y|)`.
/// The power of two t brings x and y to the same units. Products with it are exact, so the result is symmetric in x and
/// y.
struct FromDifferences<'a> {
    rows: &'a [Block],
    cols: &'a [Block],
    lengths: [Lengths<'a>; 2],
    sign: f64,
}

impl Vectorized for FromDifferences<'_> {
    type Output = [Block; WIDTH];

    #[inline(always)]
    fn run<V: Vector>(self) -> Self::Output {
        /// The exponent of t is at most this, of either sign. Norms further apart cancel for any such t, and unit
        /// vectors are used instead.
        const FAR: f64 = 64.0;
        /// Norms have errors of some 1e-32. In a smaller square than this they would be visible.
        const FAINT: f64 = 1e-36;
        let ([rows, cols], half, zero) = (self.lengths, V::splat(0.5), V::splat(0.0));
        let ([norms, rests], inverses) = (cols.norms.map(V::load), V::load(cols.inverses[0]));
        let exponents = V::load(cols.exponents);
        let mut scales = [half; WIDTH];
        for (scale, exponent) in scales.iter_mut().zip(rows.exponents) {
            let apart = (exponents - V::splat(*exponent)).min(V::splat(FAR));
            *scale = apart.max(V::splat(-FAR)).power_of_two();
        }
        let turned = scales.map(|scale| V::splat(-self.sign) * scale);
        let mut values = squares(self.rows, self.cols, |row, col, r| {
            turned[r].mul_add(V::load(col), V::splat(row[r]))
        });
        for (r, value) in values.iter_mut().enumerate() {
            let [norm, rest, inverse] =
                [rows.norms[0][r], rows.norms[1][r], rows.inverses[0][r]].map(V::splat);
            let apart = (norm - scales[r] * norms) + (rest - scales[r] * rests);
            let square = V::load(value);
            let turn = square - apart * apart;
            let gap = half * (turn * (inverse * inverses)) / scales[r];
            // If less than half of the square is left, the difference may have lost digits.
            let unknown = V::splat(UNKNOWN);
            let known = V::select(turn.less(half * square), unknown, gap);
            let faint = V::select(zero.less(square), unknown, zero);
            V::select(square.less(V::splat(FAINT)), faint, known).store(value);
        }
        values
    }
}

/// Computes the gaps of eight unit vectors x and eight unit vectors y, `|x ∓ y|²/2`.
struct FromUnits<'a> {
    rows: &'a [[Block; 2]],
    cols: &'a [[Block; 2]],
    sign: f64,
}

impl Vectorized for FromUnits<'_> {
    type Output = [Block; WIDTH];

    #[inline(always)]
    fn run<V: Vector>(self) -> Self::Output {
        let (half, sign) = (V::splat(0.5), V::splat(self.sign));
        let mut values = squares(self.rows, self.cols, |row, col, r| {
            let difference = |part: usize| V::splat(row[part][r]) - sign * V::load(&col[part]);
            difference(0) + difference(1)
        });
        for value in &mut values {
            (half * V::load(value)).store(value);
        }
        values
    }
}

/// `Σ_k difference(rows[k], cols[k], r)²` for eight r. Partial sums over 64 values of k are added in order, because the
/// rounding errors of a long sum of nearly equal terms all have the same sign.
#[inline(always)]
fn squares<E, V: Vector>(
    rows: &[E],
    cols: &[E],
    difference: impl Fn(&E, &E, usize) -> V,
) -> [Block; WIDTH] {
    const SUM: usize = 64;
    let mut totals = [[0.0; WIDTH]; WIDTH];
    for (rows, cols) in rows.chunks(SUM).zip(cols.chunks(SUM)) {
        let mut sums = [V::splat(0.0); WIDTH];
        for (row, col) in rows.iter().zip(cols) {
            for (r, sum) in sums.iter_mut().enumerate() {
                let difference = difference(row, col, r);
                *sum = difference.mul_add(difference, *sum);
            }
        }
        for (sum, total) in sums.into_iter().zip(&mut totals) {
            (V::load(total) + sum).store(total);
        }
    }
    totals
}
