//! The two storage types, `f32` and `f64`.
//!
//! Panels and outputs hold values of a [`Scalar`] type, and products are formed in it. Everything between two products
//! is computed in `f64` for both types. That costs `1/depth` of the products, and the only rounding errors of an `f32`
//! result are then those of its products and of the final store. Two exceptions: gaps of `f32` inputs, rows or images,
//! are `f32` behind activations that do not let their errors grow (`activations/single.rs`); behind erf and GELU, pairs
//! that are far apart have formulas in `f32` (`activations/far_form.rs`).

use std::fmt::Debug;

use crate::isa::{self, Isa, Lanes, MicroKernel, Pod, Vector, WIDTH};

/// Keeps other types out: `unsafe` code relies on the properties of these two.
mod sealed {
    pub trait Sealed {}

    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A storage type of panels and outputs: `f32` or `f64`.
pub trait Scalar:
    sealed::Sealed + Copy + Debug + Default + PartialEq + Send + Sync + 'static
{
    /// One cache line of values.
    type Line: Line<Self>;

    /// The NumPy name of the type.
    const NAME: &'static str;

    /// True for `f32`.
    const SINGLE: bool;

    /// The smallest positive number: twice the largest rounding error of subnormal numbers.
    const ROUNDING: f64;

    /// The value in `f64`, exactly.
    fn widen(self) -> f64;

    /// The nearest value of this type.
    fn narrow(value: f64) -> Self;

    /// Block `block` of a line, exactly.
    ///
    /// # Panics
    /// If there is no such block.
    fn load<V: Vector>(line: &Self::Line, block: usize) -> V;

    /// Writes block `block` of a line, rounded.
    ///
    /// # Panics
    /// If there is no such block.
    fn store<V: Vector>(values: V, line: &mut Self::Line, block: usize);

    /// Transposes a square block of lines.
    ///
    /// # Panics
    /// If the number of lines is not the number of values in a line.
    fn transpose<V: Vector>(source: &[Self::Line], target: &mut [Self::Line]);

    /// Writes the values of one line, rounded, past the caches, as [`Vector::stream`] does.
    ///
    /// # Panics
    /// If there are fewer values.
    fn stream<V: Vector>(values: &[f64], line: &mut Self::Line);

    /// The micro-kernel of an instruction set.
    fn micro_kernel(isa: Isa) -> MicroKernel<Self::Line>;
}

/// Returns true if a value, rounded to `T`, is finite.
#[inline(always)]
pub fn fits<T: Scalar>(value: f64) -> bool {
    T::narrow(value).widen().is_finite()
}

/// Returns true if all values, rounded to `T`, are finite.
pub fn all_fit<T: Scalar>(values: &[f64]) -> bool {
    // Without an early exit the loop vectorises.
    values
        .iter()
        .fold(true, |all, value| all & fits::<T>(*value))
}

/// One cache line of `T`.
pub trait Line<T>: Pod + Debug + Send + Sync + 'static {
    /// The number of values in a line.
    const LANES: usize;

    /// The number of blocks in a line.
    const BLOCKS: usize = Self::LANES / WIDTH;

    /// The values.
    fn lanes(&self) -> &[T];

    /// The values, mutable.
    fn lanes_mut(&mut self) -> &mut [T];
}

impl<const W: usize> Line<f64> for Lanes<f64, W> {
    const LANES: usize = W;

    #[inline]
    fn lanes(&self) -> &[f64] {
        &self.0
    }

    #[inline]
    fn lanes_mut(&mut self) -> &mut [f64] {
        &mut self.0
    }
}

impl<const W: usize> Line<f32> for Lanes<f32, W> {
    const LANES: usize = W;

    #[inline]
    fn lanes(&self) -> &[f32] {
        &self.0
    }

    #[inline]
    fn lanes_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

impl Scalar for f64 {
    type Line = Lanes<f64, 8>;
    const NAME: &'static str = "float64";
    const SINGLE: bool = false;
    const ROUNDING: f64 = f64::from_bits(1);

    #[inline]
    fn widen(self) -> f64 {
        self
    }

    #[inline]
    fn narrow(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn load<V: Vector>(line: &Self::Line, block: usize) -> V {
        V::load(&line.0.as_chunks().0[block])
    }

    #[inline(always)]
    fn store<V: Vector>(values: V, line: &mut Self::Line, block: usize) {
        values.store(&mut line.0.as_chunks_mut().0[block]);
    }

    #[inline(always)]
    fn transpose<V: Vector>(source: &[Self::Line], target: &mut [Self::Line]) {
        assert!(source.len() == WIDTH && target.len() == WIDTH);
        let mut rows = [V::splat(0.0); WIDTH];
        for (row, line) in rows.iter_mut().zip(source) {
            *row = V::load(&line.0);
        }
        for (column, line) in V::transpose(rows).into_iter().zip(target) {
            column.store(&mut line.0);
        }
    }

    #[inline(always)]
    fn stream<V: Vector>(values: &[f64], line: &mut Self::Line) {
        V::load(&values.as_chunks().0[0]).stream(line);
    }

    fn micro_kernel(isa: Isa) -> MicroKernel<Self::Line> {
        isa::micro_kernel_f64(isa)
    }
}

impl Scalar for f32 {
    type Line = Lanes<f32, 16>;
    const NAME: &'static str = "float32";
    const SINGLE: bool = true;
    const ROUNDING: f64 = f32::from_bits(1) as f64;

    #[inline]
    fn widen(self) -> f64 {
        f64::from(self)
    }

    #[inline]
    fn narrow(value: f64) -> Self {
        value as Self
    }

    #[inline(always)]
    fn load<V: Vector>(line: &Self::Line, block: usize) -> V {
        V::widen(&line.0.as_chunks().0[block])
    }

    #[inline(always)]
    fn store<V: Vector>(values: V, line: &mut Self::Line, block: usize) {
        values.narrow(&mut line.0.as_chunks_mut().0[block]);
    }

    #[inline(always)]
    fn transpose<V: Vector>(source: &[Self::Line], target: &mut [Self::Line]) {
        let ([source], []) = source.as_chunks() else {
            panic!("{} lines", source.len())
        };
        let ([target], []) = target.as_chunks_mut() else {
            panic!("{} lines", target.len())
        };
        V::transpose_narrow(source, target);
    }

    #[inline(always)]
    fn stream<V: Vector>(values: &[f64], line: &mut Self::Line) {
        let blocks = values.as_chunks().0;
        V::stream_rounded([V::load(&blocks[0]), V::load(&blocks[1])], line);
    }

    fn micro_kernel(isa: Isa) -> MicroKernel<Self::Line> {
        isa::micro_kernel_f32(isa)
    }
}
