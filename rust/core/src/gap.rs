//! The gaps of inputs: `1 − |ρ|` with the sign of ρ, exact to the last digits of the angle.
//!
//! An inner product has errors of some ε, which the infinite slope of a kernel at ρ = ±1 would amplify to √ε. So close
//! pairs get their gap from the difference (or the sum) of the two directions, `|x/|x| ∓ y/|y||²/2`. Where one pair of
//! eight rows and eight columns is close, the distances of all are computed: twice the cost of their inner products.

use std::ops::Range;

use crate::isa::{Block, Blocks, Isa, Vector, Vectorized, WIDTH, blocks_of};
use crate::panel::Panels;
use crate::scalar::{Line, Scalar};
use crate::tile::{Area, EDGE, Tile};

/// Gaps below this are computed from directions.
const CLOSE: f64 = 1.0 / 64.0;

/// Packed inputs with the inverse of their norms, 0 for a zero row: it has no direction, and its gap to any other is 1.
#[derive(Debug)]
pub struct Directions<T: Scalar> {
    rows: Panels<T>,
    inverse: Blocks,
}

/// What a worker keeps from tile to tile: values of [`WIDTH`] rows side by side.
#[derive(Debug, Default)]
pub struct Scratch {
    rows: Vec<Block>,
    cols: Vec<Block>,
}

impl<T: Scalar> Directions<T> {
    /// Directions of rows with these norms.
    ///
    /// # Panics
    /// If there is not one norm per row.
    pub fn new(rows: Panels<T>, norms: &[f64]) -> Self {
        assert_eq!(rows.rows(), norms.len());
        let invert = |norm: &f64| if *norm == 0.0 { 0.0 } else { 1.0 / norm };
        Self {
            inverse: norms.iter().map(invert).collect(),
            rows,
        }
    }

    /// The rows.
    pub fn rows(&self) -> &Panels<T> {
        &self.rows
    }

    /// The gap of a row to itself.
    pub fn own_gap(&self, row: usize) -> f64 {
        if self.inverse.get(row) == 0.0 {
            1.0
        } else {
            0.0
        }
    }

    /// The directions of the [`WIDTH`] rows of a block. Past the last row there are zeros.
    fn block(&self, index: usize, block: &mut Vec<Block>) {
        let inverse = &self.inverse.blocks()[index];
        let (panel, lane) = (
            index * WIDTH / Panels::<T>::LANES,
            index * WIDTH % Panels::<T>::LANES,
        );
        let lines = self.rows.slice(panel..panel + 1).panels().flatten();
        let direction = |line: &T::Line| {
            let mut values = [0.0; WIDTH];
            let lanes = &line.lanes()[lane..lane + WIDTH];
            for ((value, entry), inverse) in values.iter_mut().zip(lanes).zip(inverse) {
                *value = entry.widen() * inverse;
            }
            values
        };
        block.clear();
        block.extend(lines.map(direction));
    }
}

/// Turns the inner products of the rows of an area into their gaps.
pub fn gaps<T: Scalar>(
    isa: Isa,
    rows: &Directions<T>,
    cols: &Directions<T>,
    area: &Area,
    tile: &mut Tile,
    scratch: &mut Scratch,
) {
    let (row_blocks, col_blocks) = (blocks_of(&area.rows), blocks_of(&area.cols));
    for (band, row_block) in row_blocks.enumerate() {
        let band = band * WIDTH..area.rows.len().min((band + 1) * WIDTH);
        let close = isa.run(FromProducts {
            rows: &rows.inverse.blocks()[row_block],
            cols: &cols.inverse.blocks()[col_blocks.clone()],
            tile,
            band: band.clone(),
        });
        if close.iter().any(|close| close.any()) {
            rows.block(row_block, &mut scratch.rows);
        }
        for (chunk, close) in close
            .into_iter()
            .enumerate()
            .filter(|(_, close)| close.any())
        {
            cols.block(col_blocks.start + chunk, &mut scratch.cols);
            for sign in close.signs() {
                let squares = isa.run(SquaredDistances {
                    rows: &scratch.rows,
                    cols: &scratch.cols,
                    sign,
                });
                for (row, squares) in band.clone().zip(&squares) {
                    replace(&mut tile.row_blocks_mut(row)[chunk], squares, sign);
                }
            }
        }
    }
}

/// Replaces close gaps of that sign by halves of the squared distances.
fn replace(gaps: &mut Block, squares: &Block, sign: f64) {
    for (gap, square) in gaps.iter_mut().zip(squares) {
        if gap.abs() < CLOSE && gap.is_sign_positive() == sign.is_sign_positive() {
            *gap = (0.5 * square).copysign(sign);
        }
    }
}

/// Whether some of eight rows and eight columns are close, and whether they point the same way or opposite ones.
#[derive(Clone, Copy, Debug, Default)]
struct Close {
    aligned: bool,
    opposite: bool,
}

impl Close {
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
    type Output = [Close; EDGE / WIDTH];

    #[inline(always)]
    fn run<V: Vector>(self) -> Self::Output {
        let (zero, one, bound) = (V::splat(0.0), V::splat(1.0), V::splat(CLOSE));
        let mut close = [Close::default(); EDGE / WIDTH];
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

/// `|x ∓ y|²` of eight directions x and eight y.
struct SquaredDistances<'a> {
    rows: &'a [Block],
    cols: &'a [Block],
    sign: f64,
}

impl Vectorized for SquaredDistances<'_> {
    type Output = [Block; WIDTH];

    #[inline(always)]
    fn run<V: Vector>(self) -> Self::Output {
        let sign = V::splat(self.sign);
        let mut sums = [V::splat(0.0); WIDTH];
        for (row, col) in self.rows.iter().zip(self.cols) {
            let col = sign * V::load(col);
            for (sum, value) in sums.iter_mut().zip(row) {
                let difference = V::splat(*value) - col;
                *sum = difference.mul_add(difference, *sum);
            }
        }
        let mut squares = [[0.0; WIDTH]; WIDTH];
        for (sum, squares) in sums.into_iter().zip(&mut squares) {
            sum.store(squares);
        }
        squares
    }
}
