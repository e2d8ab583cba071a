//! Kernels of infinitely wide convolutional networks (Arora et al. 2019), exact to the last digits.
//!
//! With p a pixel of the first image, p' one of the second, and τ the k taps of a window,
//!
//! ```text
//! Σ^1     = σ_w² B[⟨x_p, x'_p'⟩/C] + σ_b²     Θ^1     = own^1         B[T][p,p'] = 1/k Σ_τ T[p + τ, p' + τ]
//! Σ^{l+1} = σ_w² B[T(Σ^l)] + σ_b²             Θ^{l+1} = own^{l+1} + σ_w² B[Ṫ(Σ^l) ⊙ Θ^l]
//! ```
//!
//! with `own = Σ`, or `own^{l+1} = τ_w² B[T(Σ^l)] + τ_b²`. Then the head takes a mean over pairs of pixels.
//!
//! B moves both pixels by the same τ, so pairs of one displacement `p' − p` never meet those of another. A plane of all
//! pairs of one displacement runs through all layers on its own, in cache, and the tensor of all pairs never exists.
//!
//! - [`network`]: the layers, checked once
//! - [`geometry`]: padding, strides and displacements along each axis. `head`: the weights of pairs in the head
//! - [`images`]: batches of images, eight side by side. [`profile`]: their variances at every pixel and layer.
//!   [`inputs`]: both, with the numbers of dense layers after the head
//! - `plane`: one displacement of one image against eight, through all layers. `pair`: their numbers, `buffers`: memory
//! - `pixels`: products of pixels. `rows`: one layer on a plane. `near`: gaps of nearly equal patches
//! - [`kernel`]: Σ and Θ between two batches, a tile kernel for the drivers in [`crate::engine`], and the diagonal

mod buffers;
pub mod geometry;
mod head;
pub mod images;
pub mod inputs;
pub mod kernel;
mod near;
pub mod network;
mod pair;
mod pixels;
mod plane;
pub mod profile;
mod rows;

#[cfg(test)]
mod tests;
