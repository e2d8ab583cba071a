//! Numbers built from stored arrays: plain values, or values with derivatives.

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
}
