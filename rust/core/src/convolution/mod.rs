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
//! A pool between convolutions mixes displacements. So a network is a chain of stages, and the pairs of pooled pixels are
//! kept between them.
//!
//! - [`network`]: the layers, checked once
//! - [`geometry`]: the sizes of all layers. `axis`: padding, strides and displacements. `chain`: the stages and planes that
//!   are needed. `pool_counts`, `head`: the weights of pairs in pools and in the head
//! - [`images`]: batches of images, eight side by side. [`profile`]: their variances at every pixel and layer.
//!   `own_variances`, `variances`: how they are computed. [`inputs`]: both, with the numbers of dense layers after the head
//! - `plane`: one displacement of one image against eight, through all layers of a stage. `pair`: their numbers,
//!   `buffers`: memory
//! - `pixels`: products of pixels. `rows`: one layer on a plane. `windows`, `row_gaps`, `pixel_rows`: its sums, gaps and
//!   rows. `near`: gaps of nearly equal patches. `pooled`: sums over the windows of pools. `own_pixels`: variances after them
//! - [`kernel`]: Σ and Θ between two batches, a tile kernel for the drivers in [`crate::engine`], and the diagonal.
//!   [`tile_images`]: the same, with variances that are computed for each tile. [`batch_pair`]: either of them

mod axis;
pub mod batch_pair;
mod buffers;
mod chain;
pub mod geometry;
mod head;
pub mod images;
pub mod inputs;
pub mod kernel;
mod near;
pub mod network;
mod own_pixels;
mod own_variances;
mod pair;
mod pixel_rows;
mod pixels;
mod plane;
mod pool_counts;
mod pooled;
pub mod profile;
mod row_gaps;
mod rows;
pub mod tile_images;
mod variances;
mod windows;

#[cfg(test)]
mod tests;
