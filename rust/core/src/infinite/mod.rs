//! Kernels of infinitely wide networks. Nothing here knows a network with parameters.
//!
//! - [`inputs`]: batches of inputs, packed and prepared for a kernel
//! - [`kernel`]: Σ and Θ between two batches. [`gradient`]: their derivatives. Both are tile kernels for the drivers in
//!   [`crate::engine`]
//! - [`input_gradient`]: sums of derivatives with respect to the inputs, with a driver of its own
//! - [`pointwise`]: the diagonal, and single pairs given by their correlation
//! - [`recursion`]: the equations, through all layers
//! - [`normed_rows`], [`gap`], [`cross_products`]: norms of the inputs and gaps between them, from which the recursion
//!   starts
//! - [`error_bound`]: the truncation error of activations that are computed by series

pub mod cross_products;
pub mod error_bound;
pub mod gap;
pub mod gradient;
pub mod input_gradient;
pub mod inputs;
pub mod kernel;
pub mod normed_rows;
pub mod pointwise;
pub mod recursion;
