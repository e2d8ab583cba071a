//! Gaps of nearly parallel rows from their cross products, accurate to the last digits, and 0 for parallel rows.
//!
//! Rows x and y are parallel or opposite if `w = x y_p − y x_p` is 0, for an index p with `x_p ≠ 0` and `y_p ≠ 0`. The
//! products are formed in double-double precision, where they are exact, so w is 0 for no other rows. The angle follows
//! from w by
//!
//! ```text
//! sin²θ = (|w|² − ⟨x, w⟩²/|x|²)/(x_p² |y|²) = (|w|² − ⟨y, w⟩²/|y|²)/(y_p² |x|²)
//! ```
//!
//! With p the index of the largest entry, the difference is at least |w|²/d. The mean of both fractions is symmetric in
//! x and y.

use std::array::from_fn;

use crate::isa::{Block, Vector, Vectorized, WIDTH};
use crate::math::double_double::two_product;

/// Unit vectors have errors of some 1e-32. Gaps below this are half the square of an angle that is not large against
/// them.
const TINY: f64 = 1e-30;

/// True for a gap so small that it must be computed from cross products.
fn is_tiny(gap: f64) -> bool {
    (0.0..TINY).contains(&gap)
}

/// True if one of these gaps must be computed from cross products.
pub(super) fn any_tiny(gaps: &[Block; WIDTH]) -> bool {
    gaps.as_flattened().iter().any(|gap| is_tiny(*gap))
}

/// The index of the first of the largest entries of each row.
pub(super) fn pivots(entries: &[Block]) -> [usize; WIDTH] {
    let (mut pivots, mut largest) = ([0; WIDTH], [0.0; WIDTH]);
    for (index, entries) in entries.iter().enumerate() {
        for ((pivot, largest), entry) in pivots.iter_mut().zip(&mut largest).zip(entries) {
            if entry.abs() > *largest {
                (*pivot, *largest) = (index, entry.abs());
            }
        }
    }
    pivots
}

/// [`WIDTH`] rows side by side.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) entries: &'a [Block],
    /// The inverse norms.
    pub(super) inverses: &'a Block,
    /// The results of [`pivots`].
    pub(super) pivots: [usize; WIDTH],
}

/// Replaces the gaps of eight rows x and eight rows y that are too small for their unit vectors. Their signs are those
/// of the unit vectors: rows that point in opposite directions have the same w.
pub(super) struct FromCrossProducts<'a> {
    pub(super) rows: Side<'a>,
    pub(super) cols: Side<'a>,
    /// The size up to which entries of w may be due to the rounding of the packed rows.
    pub(super) rounding: f64,
    pub(super) gaps: &'a mut [Block; WIDTH],
}

impl Vectorized for FromCrossProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for (r, gaps) in self.gaps.iter_mut().enumerate() {
            if !gaps.iter().any(|gap| is_tiny(*gap)) {
                continue;
            }
            let mut crossed = [0.0; WIDTH];
            gaps_of_row::<V>(&self.rows, &self.cols, self.rounding, r).store(&mut crossed);
            for (gap, crossed) in gaps.iter_mut().zip(crossed) {
                if is_tiny(*gap) {
                    *gap = crossed;
                }
            }
        }
    }
}

/// The gaps between row r and eight columns, if they are so small that `1 − |ρ|` is `sin²θ/2`.
#[inline(always)]
fn gaps_of_row<V: Vector>(rows: &Side<'_>, cols: &Side<'_>, rounding: f64, r: usize) -> V {
    let (zero, rounding) = (V::splat(0.0), V::splat(rounding));
    // The same index for (x, y) as for (y, x).
    let pivots: [usize; WIDTH] = from_fn(|lane| rows.pivots[r].min(cols.pivots[lane]));
    let x_pivot = V::load(&pivots.map(|pivot| rows.entries[pivot][r]));
    let y_pivot = V::load(&from_fn(|lane| cols.entries[pivots[lane]][lane]));
    let (mut square, mut along_x, mut along_y) = (zero, zero, zero);
    for (x, y) in rows.entries.iter().zip(cols.entries) {
        let (x, y) = (V::splat(x[r]), V::load(y));
        let ((there, there_low), (back, back_low)) =
            (two_product(x, y_pivot), two_product(y, x_pivot));
        let w = (there - back) + (there_low - back_low);
        let w = V::select(rounding.less(w.abs()), w, zero);
        square = w.mul_add(w, square);
        along_x = w.mul_add(x, along_x);
        along_y = w.mul_add(y, along_y);
    }
    let (x_inverse, y_inverse) = (V::splat(rows.inverses[r]), V::load(cols.inverses));
    let (along_x, along_y) = (along_x * x_inverse, along_y * y_inverse);
    let (x_scale, y_scale) = (y_inverse / x_pivot, x_inverse / y_pivot);
    let from_x = (square - along_x * along_x).max(zero) * (x_scale * x_scale);
    let from_y = (square - along_y * along_y).max(zero) * (y_scale * y_scale);
    V::splat(0.25) * (from_x + from_y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;

    /// The first gap between the rows x and y.
    fn gap(isa: Isa, x: &[f64], y: &[f64]) -> f64 {
        let fill =
            |row: &[f64]| -> Vec<Block> { row.iter().map(|entry| [*entry; WIDTH]).collect() };
        let entries = [fill(x), fill(y)];
        let norm = |row: &[f64]| row.iter().fold(0.0_f64, |norm, entry| norm.hypot(*entry));
        let inverses = [[1.0 / norm(x); WIDTH], [1.0 / norm(y); WIDTH]];
        let [rows, cols] = [0, 1].map(|side| Side {
            entries: &entries[side],
            inverses: &inverses[side],
            pivots: pivots(&entries[side]),
        });
        let mut gaps = [[0.5 * TINY; WIDTH]; WIDTH];
        isa.run(FromCrossProducts {
            rows,
            cols,
            rounding: 0.0,
            gaps: &mut gaps,
        });
        gaps[0][0]
    }

    #[test]
    fn parallel_rows_have_no_gap_and_others_have_their_own() {
        for isa in Isa::available() {
            assert_eq!(
                gap(isa, &[0.625, 0.171875], &[1.875, 0.515625]),
                0.0,
                "{isa}"
            );
            assert_eq!(gap(isa, &[0.0, 0.3], &[0.0, -0.7]), 0.0, "{isa}");
            assert_eq!(
                gap(isa, &[0.5, 0.0, 0.125], &[1.5, 0.0, 0.375]),
                0.0,
                "{isa}"
            );
            // sin θ = |x ∧ y|/(|x||y|), where |x ∧ y| is x_0 times the ulp of y_1.
            let pairs: [([f64; 2], [f64; 2], f64); 2] = [
                ([0.5, 0.25], [0.75, 0.375], 0.5 * f64::EPSILON / 4.0),
                ([0.5, 1e-20], [0.5, 1e-20], 0.5e-20_f64.next_up() - 0.5e-20),
            ];
            for (x, y, wedge) in pairs {
                let y = [y[0], y[1].next_up()];
                let sines = wedge / (x[0].hypot(x[1]) * y[0].hypot(y[1]));
                let (there, back) = (gap(isa, &x, &y), gap(isa, &y, &x));
                let exact = 0.5 * sines * sines;
                assert!(
                    (there / exact - 1.0).abs() <= 16.0 * f64::EPSILON,
                    "{isa} {there} {exact}"
                );
                assert_eq!(there.to_bits(), back.to_bits(), "{isa}");
            }
        }
    }

    #[test]
    fn other_gaps_stay_as_they_are() {
        assert!(is_tiny(0.0) && is_tiny(1e-40));
        assert!(!is_tiny(-1.0) && !is_tiny(1e-29));
        let wide = [[TINY; WIDTH]; WIDTH];
        assert!(!any_tiny(&wide));
    }
}
