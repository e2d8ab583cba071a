//! The gaps of inputs: `1 − |ρ|` with the sign of ρ, exact to the last digits, however small.
//!
//! An inner product has errors of some ε, which the infinite slope of a kernel at ρ = ±1 would amplify to √ε, and large
//! `Σ(x, x)` to `ε Σ` of a squared distance. So close pairs get their gap from the difference (or the sum) of the two rows,
//!
//! ```text
//! 1 − ρ = (|x − y|² − (|x| − |y|)²)/(2|x||y|)
//! ```
//!
//! with norms in two floats. Where most of the distance is that of the norms, the two unit vectors in two floats differ
//! by what is left: `|x/|x| − y/|y||²/2`. Where one pair of eight rows and eight columns is close, the distances of all
//! are computed: twice the cost of their inner products.

use std::ops::Range;

use crate::engine::scalar::Scalar;
use crate::engine::tile::{Area, EDGE, Tile};
use crate::infinite::normed_rows::{Lengths, NormedRows, Units};
use crate::isa::{Block, Isa, Vector, Vectorized, WIDTH, blocks_of};

/// Gaps below this are computed from differences.
///
/// An error ε of a gap e is one of `Σ ε` of a squared distance 2Σe, of which a kernel of distances sees some `ε/e`.
const CLOSE: f64 = 3.0 / 16.0;

/// What a worker keeps from tile to tile.
#[derive(Debug, Default)]
pub struct Scratch {
    rows: Entries,
    cols: Entries,
}

/// [`WIDTH`] rows side by side, and their unit vectors in two floats once they are wanted.
#[derive(Debug, Default)]
struct Entries {
    values: Vec<Block>,
    units: Vec<[Block; 2]>,
}

impl Entries {
    fn load<T: Scalar>(&mut self, normed: &NormedRows<T>, index: usize) {
        normed.entries(index, &mut self.values);
        self.units.clear();
    }

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
}

/// Turns the inner products of the rows of an area into their gaps.
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
            for sign in close.signs() {
                let mut replace = |values: &[Block; WIDTH]| {
                    let pairs = band.clone().zip(values);
                    pairs.fold(false, |left, (row, values)| {
                        replace(&mut tile.row_blocks_mut(row)[chunk], values, sign) || left
                    })
                };
                let differences = scratch.by_differences(isa, lengths, sign);
                if replace(&differences) {
                    let mut units = scratch.by_units(isa, lengths, sign);
                    // The others keep what they have, whatever their neighbours are.
                    let known = differences.as_flattened().iter();
                    for (unit, known) in units.as_flattened_mut().iter_mut().zip(known) {
                        if *known != UNKNOWN {
                            *unit = UNKNOWN;
                        }
                    }
                    replace(&units);
                }
            }
        }
    }
}

impl Scratch {
    fn by_differences(&self, isa: Isa, lengths: [Lengths<'_>; 2], sign: f64) -> [Block; WIDTH] {
        isa.run(FromDifferences {
            rows: &self.rows.values,
            cols: &self.cols.values,
            lengths,
            sign,
        })
    }

    fn by_units(&mut self, isa: Isa, lengths: [Lengths<'_>; 2], sign: f64) -> [Block; WIDTH] {
        isa.run(FromUnits {
            rows: self.rows.units(isa, lengths[0]),
            cols: self.cols.units(isa, lengths[1]),
            sign,
        })
    }
}

/// What stands for a gap that the difference of two rows does not tell.
const UNKNOWN: f64 = -1.0;

/// Replaces close gaps of that sign by those that are known. Returns whether there are others.
fn replace(gaps: &mut Block, values: &Block, sign: f64) -> bool {
    let mut left = false;
    for (gap, value) in gaps.iter_mut().zip(values) {
        if gap.abs() < CLOSE && gap.is_sign_positive() == sign.is_sign_positive() {
            if *value == UNKNOWN {
                left = true;
            } else {
                *gap = value.copysign(sign);
            }
        }
    }
    left
}

/// Whether some of eight rows and eight columns are close, and whether they point the same way or opposite ones.
#[derive(Clone, Copy, Debug, Default)]
struct CloseSigns {
    aligned: bool,
    opposite: bool,
}

impl CloseSigns {
    fn any(self) -> bool {
        self.aligned || self.opposite
    }

    /// Looks at these gaps too.
    fn note(&mut self, gaps: &Block) {
        for gap in gaps.iter().filter(|gap| gap.abs() < CLOSE) {
            self.aligned |= gap.is_sign_positive();
            self.opposite |= gap.is_sign_negative();
        }
    }

    fn signs(self) -> impl Iterator<Item = f64> {
        let signs = [self.aligned.then_some(1.0), self.opposite.then_some(-1.0)];
        signs.into_iter().flatten()
    }
}

/// `1 − |ρ|` from inner products and inverse norms, in place; tells which blocks of columns have close pairs.
struct FromProducts<'a> {
    /// Inverse norms of the rows of the band, and of the columns.
    rows: &'a Block,
    cols: &'a [Block],
    tile: &'a mut Tile,
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

/// `(|x ∓ ty|² − (|x| − t|y|)²)/(2t|x||y|)` of eight rows x and eight y, where t is the power of two that brings both to
/// the same units: products with it are exact, and so x and y may change places.
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
        /// Units that are further apart than this are those of norms that are.
        const FAR: f64 = 64.0;
        let ([rows, cols], half) = (self.lengths, V::splat(0.5));
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
            // Less than half of it may have lost its digits.
            let known = V::select(turn.less(half * square), V::splat(UNKNOWN), gap);
            known.store(value);
        }
        values
    }
}

/// `|x ∓ y|²/2` of eight unit vectors x and eight y.
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

/// `Σ_k difference(rows[k], cols[k], r)²` of eight r: sums over some k, in order, since rounding errs to the same side in
/// a long sum of equal terms.
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
