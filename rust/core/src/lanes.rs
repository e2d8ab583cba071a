//! One cache line of values: the unit of the panel format.

/// `W` values of `T` on a 64-byte aligned cache line of their own: 8 `f64` or 16 `f32`.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Lanes<T, const W: usize>(pub [T; W]);
