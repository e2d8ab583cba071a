//! The core of ntkrs: neural tangent kernels of multilayer perceptrons on CPUs. It knows nothing of Python.
//!
//! Every heavy product is a Gram matrix of packed rows ([`panel`]), formed by one micro-kernel ([`tile`]) and finished
//! by an epilogue on a tile that is still in cache. Modules use only those listed below them:
//!
//! ```text
//! ensemble                        moments over initialisations
//! gram  multiply  contract        the drivers: whole kernels, products with vectors, with a matrix
//! gradient                        the derivatives of infinite ones
//! linear  infinite  empirical     kernels on a tile          jacobian  vector_products  train
//! recursion  gap                  one depth step             forward  backward  sweep
//! catalogue                       the activations            network
//! series                          T and Ṫ of any of them
//! activation  dual  derivative    φ, φ'; T and Ṫ; slopes    tile  panel  pool
//! tangent  number                 numbers with derivatives
//! special                         functions of vectors
//! loss  scalar  isa  random       storage types, instruction sets and their micro-kernels, normal numbers
//! error
//! ```

#![cfg_attr(test, allow(clippy::expect_used, clippy::unwrap_used))]

pub mod activations;
pub mod backward;
pub mod empirical;
pub mod engine;
pub mod ensemble;
pub mod error;
pub mod forward;
pub mod infinite;
pub mod isa;
pub mod jacobian;
pub mod loss;
pub mod math;
pub mod network;
pub mod random;
pub(crate) mod sweep;
pub mod train;
pub mod vector_products;

pub use error::{Error, Result};
