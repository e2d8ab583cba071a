//! The two storage types, `f32` and `f64`, and the cache line of samples that both are packed into.
//!
//! A [`Scalar`] is what panels and outputs hold and what products are formed in. Everything between two
//! products (scales, activations, the kernel recursion) is `f64` for both: it costs `1/depth` of the products,
//! and a `f32` result is then exact to the rounding of its products and of the final store.

use std::fmt::Debug;

/// A storage type of panels and outputs: `f32` or `f64`.
pub trait Scalar: Copy + Debug + Default + PartialEq + Send + Sync + 'static {
    /// One cache line of values, the unit of the panel format.
    type Line: Line<Self>;

    /// The value in `f64`, exactly.
    fn widen(self) -> f64;

    /// The nearest value of this type.
    fn narrow(value: f64) -> Self;
}

/// One 64-byte aligned cache line of `T`.
pub trait Line<T>: Copy + Debug + Send + Sync + 'static {
    /// How many values one line holds: 8 `f64` or 16 `f32`.
    const LANES: usize;

    /// A line of zeros.
    const ZERO: Self;

    /// The values.
    fn lanes(&self) -> &[T];

    /// The values, to write.
    fn lanes_mut(&mut self) -> &mut [T];

    /// `self += factor * other`, lane by lane, each product and each sum rounded once.
    fn add_scaled(&mut self, factor: T, other: &Self);

    /// `sums += self`, lane by lane in `f64`.
    fn add_to(&self, sums: &mut [f64]);
}

/// `W` values of `T` on a cache line of their own.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Lanes<T, const W: usize>([T; W]);

impl Scalar for f64 {
    type Line = Lanes<f64, 8>;

    #[inline(always)]
    fn widen(self) -> f64 {
        self
    }

    #[inline(always)]
    fn narrow(value: f64) -> Self {
        value
    }
}

impl Scalar for f32 {
    type Line = Lanes<f32, 16>;

    #[inline(always)]
    fn widen(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn narrow(value: f64) -> Self {
        value as Self
    }
}

impl<const W: usize> Line<f64> for Lanes<f64, W> {
    const LANES: usize = W;
    const ZERO: Self = Self([0.0; W]);

    #[inline(always)]
    fn lanes(&self) -> &[f64] {
        &self.0
    }

    #[inline(always)]
    fn lanes_mut(&mut self) -> &mut [f64] {
        &mut self.0
    }

    #[inline(always)]
    fn add_scaled(&mut self, factor: f64, other: &Self) {
        for (sum, value) in self.0.iter_mut().zip(&other.0) {
            *sum += factor * value;
        }
    }

    #[inline(always)]
    fn add_to(&self, sums: &mut [f64]) {
        for (sum, value) in sums.iter_mut().zip(&self.0) {
            *sum += value;
        }
    }
}

impl<const W: usize> Line<f32> for Lanes<f32, W> {
    const LANES: usize = W;
    const ZERO: Self = Self([0.0; W]);

    #[inline(always)]
    fn lanes(&self) -> &[f32] {
        &self.0
    }

    #[inline(always)]
    fn lanes_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }

    #[inline(always)]
    fn add_scaled(&mut self, factor: f32, other: &Self) {
        for (sum, value) in self.0.iter_mut().zip(&other.0) {
            *sum += factor * value;
        }
    }

    #[inline(always)]
    fn add_to(&self, sums: &mut [f64]) {
        for (sum, value) in sums.iter_mut().zip(&self.0) {
            *sum += f64::from(*value);
        }
    }
}
