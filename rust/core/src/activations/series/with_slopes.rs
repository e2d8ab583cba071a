//! Numbers built from stored arrays: plain values, or values with derivatives.
//!
//! A number of u has no derivative but that along u, and so on. Operations that know this multiply no zeros, which a
//! compiler must not leave out.

use crate::activations::differentiable::DIRECTIONS;
use crate::isa::{Block, Part, Real};
use crate::math::tangent::Tangent;

/// A number built from K parts: its value alone, or its value and its slope.
pub(super) trait WithSlopes<const K: usize>: Real {
    /// A number of u, the same in every lane.
    fn of_row(parts: [f64; K]) -> Self;

    /// A number of the v in part `part` of a block, one per lane.
    fn of_columns(parts: [&Block; K], part: usize) -> Self;

    /// The same for a number that counts as constant: its slopes are 0.
    fn constant(values: &Block, part: usize) -> Self;

    /// The product of a number of u and one of the v.
    fn product(u: Self, v: Self) -> Self;

    /// `self · factor`, where the factor depends on the gap alone.
    #[must_use]
    fn times(self, factor: Self) -> Self;

    /// `self · factor + term`, where the factor depends on the gap alone.
    #[must_use]
    fn times_plus(self, factor: Self, term: Self) -> Self;

    /// `n · self`.
    #[must_use]
    fn multiple(self, n: f64) -> Self;

    /// `n · self + term`.
    #[must_use]
    fn multiple_plus(self, n: f64, term: Self) -> Self;
}

impl<P: Part> WithSlopes<1> for P {
    #[inline(always)]
    fn of_row([value]: [f64; 1]) -> Self {
        P::splat(value)
    }

    #[inline(always)]
    fn of_columns([values]: [&Block; 1], part: usize) -> Self {
        P::load_part(values, part)
    }

    #[inline(always)]
    fn constant(values: &Block, part: usize) -> Self {
        P::load_part(values, part)
    }

    #[inline(always)]
    fn product(u: Self, v: Self) -> Self {
        u * v
    }

    #[inline(always)]
    fn times(self, factor: Self) -> Self {
        self * factor
    }

    #[inline(always)]
    fn times_plus(self, factor: Self, term: Self) -> Self {
        self.mul_add(factor, term)
    }

    #[inline(always)]
    fn multiple(self, n: f64) -> Self {
        P::splat(n) * self
    }

    #[inline(always)]
    fn multiple_plus(self, n: f64, term: Self) -> Self {
        P::splat(n).mul_add(self, term)
    }
}

impl<P: Part> WithSlopes<2> for Tangent<P, DIRECTIONS> {
    #[inline(always)]
    fn of_row([value, slope]: [f64; 2]) -> Self {
        Self::along(1, P::splat(value), P::splat(slope))
    }

    #[inline(always)]
    fn of_columns([values, slopes]: [&Block; 2], part: usize) -> Self {
        Self::along(2, P::load_part(values, part), P::load_part(slopes, part))
    }

    #[inline(always)]
    fn constant(values: &Block, part: usize) -> Self {
        Tangent::constant(P::load_part(values, part))
    }

    #[inline(always)]
    fn product(u: Self, v: Self) -> Self {
        let ([_, row, _], [_, _, col]) = (u.slopes, v.slopes);
        Self {
            value: u.value * v.value,
            slopes: [P::splat(0.0), row * v.value, u.value * col],
        }
    }

    #[inline(always)]
    fn times(self, factor: Self) -> Self {
        let [gap, row, col] = self.slopes;
        let along = self.value * factor.slopes[0];
        Self {
            value: self.value * factor.value,
            slopes: [
                gap.mul_add(factor.value, along),
                row * factor.value,
                col * factor.value,
            ],
        }
    }

    #[inline(always)]
    fn times_plus(self, factor: Self, term: Self) -> Self {
        let ([gap, row, col], [gap_term, row_term, col_term]) = (self.slopes, term.slopes);
        let along = self.value.mul_add(factor.slopes[0], gap_term);
        Self {
            value: self.value.mul_add(factor.value, term.value),
            slopes: [
                gap.mul_add(factor.value, along),
                row.mul_add(factor.value, row_term),
                col.mul_add(factor.value, col_term),
            ],
        }
    }

    #[inline(always)]
    fn multiple(self, n: f64) -> Self {
        let (n, [gap, row, col]) = (P::splat(n), self.slopes);
        Self {
            value: n * self.value,
            slopes: [n * gap, n * row, n * col],
        }
    }

    #[inline(always)]
    fn multiple_plus(self, n: f64, term: Self) -> Self {
        let ([gap, row, col], [gap_term, row_term, col_term]) = (self.slopes, term.slopes);
        let n = P::splat(n);
        Self {
            value: n.mul_add(self.value, term.value),
            slopes: [
                n.mul_add(gap, gap_term),
                n.mul_add(row, row_term),
                n.mul_add(col, col_term),
            ],
        }
    }
}
