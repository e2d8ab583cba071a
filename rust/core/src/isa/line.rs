//! One cache line of values: the unit of the panel format.

#![allow(unsafe_code, reason = "lines are slices of values too")]

use std::slice;

/// `W` values of `T` on one cache line, aligned to 64 bytes: 8 `f64` or 16 `f32`.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Lanes<T, const W: usize>(pub [T; W]);

impl Lanes<f64, 8> {
    /// The values of consecutive lines.
    pub fn values(lines: &[Self]) -> &[f64] {
        // SAFETY: a line is 8 values and nothing else: as many bytes, of a smaller alignment.
        unsafe { slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * 8) }
    }

    /// The values of consecutive lines, mutable.
    pub fn values_mut(lines: &mut [Self]) -> &mut [f64] {
        // SAFETY: as in `values`; the lines are borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * 8) }
    }
}

/// Plain old data: any bytes are a value, zero bytes are [`Pod::ZERO`], and dropping it does nothing.
///
/// # Safety
/// All of this must be true, and the alignment must divide the size of a page.
pub unsafe trait Pod: Copy {
    /// The value whose bytes are all zero.
    const ZERO: Self;
}

// SAFETY: an array of floats; its alignment is 64.
unsafe impl<const W: usize> Pod for Lanes<f64, W> {
    const ZERO: Self = Self([0.0; W]);
}

// SAFETY: an array of floats; its alignment is 64.
unsafe impl<const W: usize> Pod for Lanes<f32, W> {
    const ZERO: Self = Self([0.0; W]);
}
