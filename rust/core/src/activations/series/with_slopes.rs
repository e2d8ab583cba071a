//! Numbers by their parts: values, or values and slopes.

use crate::activations::differentiable::DIRECTIONS;
use crate::isa::{Block, Part, Real};
use crate::math::tangent::Tangent;

/// Numbers that are made of K parts: of values, or of values and slopes.
pub(super) trait WithSlopes<const K: usize>: Real {
    /// Those of u.
    fn of_row(parts: [f64; K]) -> Self;

    /// Those of some v.
    fn of_columns(parts: [&Block; K], part: usize) -> Self;

    /// Those of some v, which do not change with it.
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
