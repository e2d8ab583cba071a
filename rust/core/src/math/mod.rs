//! Functions of numbers, for any [`Real`](crate::isa::Real): no slices of samples, no threads, no `unsafe`.
//!
//! - [`double_double`]: numbers of about 32 digits
//! - [`tangent`]: numbers that carry derivatives
//! - [`number`]: traits for per-row quantities, which double-doubles and numbers with one derivative implement
//! - [`special`]: exponentials, error functions, angles, sines
//! - [`quadrature`]: Gauss–Legendre nodes and weights

pub mod double_double;
pub mod number;
pub mod quadrature;
pub mod special;
pub mod tangent;
