//! Functions of numbers, for any [`Real`](crate::isa::Real): no slices of samples, no threads, no `unsafe`.

pub mod double_double;
pub mod number;
pub mod quadrature;
pub mod special;
pub mod tangent;
