//! One cache line of values: the unit of the panel format.

#![allow(unsafe_code)]

use std::slice;

/// `W` values of `T` on a 64-byte aligned cache line of their own: 8 `f64` or 16 `f32`.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Lanes<T, const W: usize>(pub [T; W]);

impl Lanes<f64, 8> {
    /// The values of lines one after the other.
    pub fn values(lines: &[Self]) -> &[f64] {
        // SAFETY: a line is 8 values and nothing else: as many bytes, of a smaller alignment.
        unsafe { slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * 8) }
    }

    /// The values of lines one after the other, to write.
    pub fn values_mut(lines: &mut [Self]) -> &mut [f64] {
        // SAFETY: as in `values`; the lines are borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * 8) }
    }
}

/// A type that is all zeros when its bytes are, that any bytes are a value of, and that needs no drop.
///
/// # Safety
/// That must be so, and its alignment must divide the size of a page.
pub unsafe trait Pod: Copy {
    /// The value of all zero bytes.
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
