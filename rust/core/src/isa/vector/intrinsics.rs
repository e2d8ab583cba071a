//! Expressions of intrinsics, for the types whose values exist only where the processor has the instructions.

/// An expression of AVX-512 intrinsics.
macro_rules! avx512 {
    ($expression:expr) => {
        // SAFETY: only code that `avx512::run` calls knows the types of AVX-512, and it is called only where there is AVX-512.
        unsafe { $expression }
    };
}
pub(super) use avx512;

/// An expression of AVX2 intrinsics.
macro_rules! avx2 {
    ($expression:expr) => {
        // SAFETY: only code that `avx2::run` calls knows the types of AVX2, and it is called only where there are AVX2 and FMA.
        unsafe { $expression }
    };
}
pub(super) use avx2;

/// Computes both halves of a vector, by an expression of the operands' halves.
macro_rules! halves {
    (|$($operand:ident),+| $expression:expr) => {
        Self([
            { $(let $operand = $operand.0[0];)+ avx2!($expression) },
            { $(let $operand = $operand.0[1];)+ avx2!($expression) },
        ])
    };
}
pub(super) use halves;
