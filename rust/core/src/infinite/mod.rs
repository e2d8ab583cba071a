//! Kernels of infinitely wide networks: nothing here knows of finite ones.

pub mod error_bound;
pub mod gap;
pub mod gradient;
pub mod inputs;
pub mod kernel;
pub mod normed_rows;
pub mod pointwise;
pub mod recursion;
