//! The core of ntkrs: neural tangent kernels of multilayer perceptrons and convolutional networks on CPUs, without Python.
//!
//! Every heavy product is a Gram matrix of packed rows ([`engine::panel`]). One micro-kernel forms it tile by tile
//! ([`engine::tile`]), and a kernel finishes each tile while it is still in cache. A folder uses only the folders drawn
//! below it:
//!
//! ```text
//!   convolution/                       kernels of images
//!        |
//! infinite/           finite/        kernels on a tile
//!      \   activations/  /           φ, and expectations over pairs
//!           engine/                  panels, tiles, threads, drivers
//!      math/     isa/    random/     numbers, instruction sets, normal random numbers
//! ```
//!
//! [`engine`], [`math`] and [`random`] use only [`isa`], and all folders may use [`error`]. `tests/layers.rs` checks these
//! rules. Three laws hold everywhere:
//!
//! 1. Purity: an entry depends, bit for bit, on its own row and column alone ([`engine::tile::TileKernel`]).
//! 2. `f64` between products: only packed values and products have the storage type ([`engine::scalar`]), and, of `f32`
//!    inputs, the gaps behind some activations ([`activations::single`]) and the formulas of others for far pairs
//!    ([`activations::far_form`]).
//! 3. One writer: a tile is written by one worker, once ([`engine::tile::Canvas`]).
//!
//! This is the tangent kernel of three inputs, for a ReLU network with one hidden layer:
//!
//! ```
//! use ndarray::{Array4, array};
//! use ntkrs_core::activations::catalogue::activation;
//! use ntkrs_core::engine::{gram, pool::unwatched};
//! use ntkrs_core::infinite::inputs::{Inputs, Packed};
//! use ntkrs_core::infinite::kernel::Infinite;
//! use ntkrs_core::infinite::recursion::{LayerScales, Output, Recursion};
//!
//! let x = array![[1.0, 1.0], [1.0, -1.0], [2.0, 0.0]];
//! let (sigma_w, sigma_b) = (2.0_f64.sqrt(), 0.0);
//! let dense = LayerScales { sigma_w, sigma_b, tau_w: sigma_w, tau_b: sigma_b };
//! let network = Recursion::new(vec![dense; 2], vec![activation("relu", &[])?])?;
//!
//! let packed = Packed::new(x.view(), "X", &mut unwatched)?;
//! let inputs = Inputs::new(&network, packed, &mut unwatched)?;
//! let kernel = Infinite::new(&network, &inputs, &inputs, &[Output::Ntk(1)])?;
//! let mut ntk = Array4::<f64>::zeros((3, 1, 3, 1));
//! gram::symmetric(&kernel, vec![ntk.view_mut()], &mut unwatched)?;
//!
//! // Θ(x, x) = 4 ⟨x, x⟩/n_0 for σ_w² = 2, σ_b = 0.
//! assert!((ntk[[0, 0, 0, 0]] - 4.0).abs() < 1e-14);
//! assert_eq!(ntk[[0, 0, 1, 0]], ntk[[1, 0, 0, 0]]);
//! # Ok::<(), ntkrs_core::Error>(())
//! ```

#![cfg_attr(test, allow(clippy::expect_used, clippy::unwrap_used))]

pub mod activations;
pub mod convolution;
pub mod engine;
pub mod error;
pub mod finite;
pub mod infinite;
pub mod isa;
pub mod math;
pub mod random;

pub use error::{Error, Result};
