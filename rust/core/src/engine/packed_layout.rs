//! The rectangular full packed format of LAPACK (`transr = N`, `uplo = L`): a symmetric matrix in half of the memory.
//!
//! With h = ⌊N/2⌋, m = ⌈N/2⌉ and e = 1 for even N, else 0, the row-major array A has m rows and N + e columns:
//!
//! ```text
//! A[j][0 .. j + e] = K[h + j][m .. m + j + e]          A[j][j + e .. N + e] = K[j][j .. N]          j = 0 … m − 1
//! ```
//!
//! Products see the matrix in [`Halves`]: row j of the first half and row h + j of the second lie in one row of A.

use std::ops::Range;

use crate::engine::tile::EDGE;

/// The places of a symmetric matrix (N, N) in packed format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedLayout {
    order: usize,
}

impl PackedLayout {
    /// The layout of a matrix of this order N.
    pub fn new(order: usize) -> Self {
        Self { order }
    }

    /// N.
    pub fn order(self) -> usize {
        self.order
    }

    /// The number of rows of the array: m.
    pub fn rows(self) -> usize {
        self.order.div_ceil(2)
    }

    /// The number of columns of the array: N + e.
    pub fn cols(self) -> usize {
        self.order + self.even()
    }

    /// The first row of the second half that shares a row of the array with row 0: h.
    pub fn half(self) -> usize {
        self.order / 2
    }

    /// e: 1 for an even order, 0 for an odd one.
    fn even(self) -> usize {
        1 - self.order % 2
    }

    /// The place of entry (i, j), and of (j, i), in the array.
    #[inline]
    pub fn offset(self, i: usize, j: usize) -> usize {
        let (low, high) = if i < j { (i, j) } else { (j, i) };
        if low < self.rows() {
            low * self.cols() + self.even() + high
        } else {
            (high - self.half()) * self.cols() + (low - self.rows())
        }
    }
}

/// The rows and columns of a symmetric matrix at positions that fall into two halves of whole tiles.
///
/// Row j < m is at position j, and row h + j at position [`Halves::second`] + j: at the same place in its half as the row of
/// the packed array that holds it. Positions without a row count as zeros: those after the end of a half, and for odd N the
/// first one of the second half, since row h is in the first half already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Halves {
    layout: PackedLayout,
}

impl Halves {
    /// The positions of a matrix of this order.
    pub fn new(order: usize) -> Self {
        let layout = PackedLayout::new(order);
        Self { layout }
    }

    /// The packed layout.
    pub fn layout(self) -> PackedLayout {
        self.layout
    }

    /// The number of positions.
    pub fn len(self) -> usize {
        2 * self.second()
    }

    /// Returns true if there are no positions.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The first position of the second half: a multiple of [`EDGE`].
    pub fn second(self) -> usize {
        self.layout.rows().next_multiple_of(EDGE)
    }

    /// The positions of a half that have a row, for a range within one half.
    pub fn occupied(self, range: &Range<usize>) -> Range<usize> {
        let (rows, second) = (self.layout.rows(), self.second());
        let all = if range.start < second {
            0..rows
        } else {
            second + rows - self.layout.half()..second + rows
        };
        let start = range.start.max(all.start);
        start..range.end.min(all.end).max(start)
    }

    /// The row at an occupied position.
    pub fn row(self, position: usize) -> usize {
        let second = self.second();
        if position < second {
            position
        } else {
            self.layout.half() + position - second
        }
    }

    /// The position of a row.
    pub fn position(self, row: usize) -> usize {
        if row < self.layout.rows() {
            row
        } else {
            self.second() + row - self.layout.half()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every order whose halves are small, and some around a tile.
    fn orders() -> impl Iterator<Item = usize> {
        (0..40).chain([190, 191, 192, 193, 194])
    }

    #[test]
    fn the_layout_is_that_of_its_equations() {
        for order in orders() {
            let (layout, h, m, e) = (
                PackedLayout::new(order),
                order / 2,
                order.div_ceil(2),
                1 - order % 2,
            );
            for j in 0..m {
                for c in 0..j + e {
                    assert_eq!(layout.offset(h + j, m + c), j * (order + e) + c);
                }
                for c in j..order {
                    assert_eq!(layout.offset(j, c), j * (order + e) + e + c);
                }
            }
        }
    }

    #[test]
    fn each_place_holds_one_entry() {
        for order in orders() {
            let layout = PackedLayout::new(order);
            let mut entries = vec![0; layout.rows() * layout.cols()];
            assert_eq!(entries.len(), order * (order + 1) / 2);
            for i in 0..order {
                for j in 0..=i {
                    entries[layout.offset(i, j)] += 1;
                    assert_eq!(layout.offset(i, j), layout.offset(j, i));
                }
            }
            assert!(entries.iter().all(|count| *count == 1));
        }
    }

    #[test]
    fn each_row_has_one_position() {
        for order in orders() {
            let halves = Halves::new(order);
            let (second, len) = (halves.second(), halves.len());
            let found: Vec<_> = [0..second, second..len]
                .iter()
                .flat_map(|half| halves.occupied(half))
                .collect();
            assert!(
                found
                    .iter()
                    .map(|position| halves.row(*position))
                    .eq(0..order)
            );
            assert!((0..order).map(|row| halves.position(row)).eq(found));
            for start in (0..len).step_by(EDGE) {
                let range = start..start + EDGE;
                let part = halves.occupied(&range);
                assert!(part.start >= range.start && part.end <= range.end.max(part.start));
            }
        }
    }
}
