//! Networks with parameters, and everything that is computed from them: nothing here knows of infinite width.
//!
//! A network has L dense layers, from `x^0 = x` to `f(x) = h^L`. `s` is the scale of the weights of a layer (σ_w/√n_l in
//! the NTK parameterization), `s_b` that of its biases, and `δ^l_m = ∂f_m/∂h^l`:
//!
//! ```text
//! forward      h^{l+1} = s x^l W^l + s_b b^l           x^l = φ(h^l)                       forward
//! backward     δ^l = φ'(h^l) ⊙ (s W^l δ^{l+1})         δ^L_m = unit vector m              backward
//! gradient     ∂f_m/∂W^l_ij = s x^l_i δ^{l+1}_mj       ∂f_m/∂b^l_j = s_b δ^{l+1}_mj       jacobian, batch_gradient
//! kernel       Θ(x, x') = Σ_l (s² ⟨x^l, x'^l⟩ + s_b²) ⟨δ^{l+1}, δ'^{l+1}⟩                 empirical
//! ```
//!
//! In the last two lines the scales are 0 for parameters that are not trained.
//!
//! | module | holds |
//! |---|---|
//! | [`layer`] | dense layers, packed both ways |
//! | [`network`] | dense layers with the activations between them |
//! | [`forward`] | the forward pass over a batch, in bands of samples |
//! | [`output_directions`] | directions in output space |
//! | [`backward`] | the backward pass over a batch, along any of these directions |
//! | [`outputs`] | the outputs of which a kernel is taken |
//! | [`empirical`] | the empirical NTK, tile by tile, without a Jacobian |
//! | [`pairs`] | the same for a layer of any network, from activations and gradients |
//! | [`jacobian`] | per-sample Jacobians |
//! | [`input_jacobian`] | per-sample Jacobians with respect to the inputs |
//! | `batch_pass` | forward and backward at once, keeping the factors of the weight gradients |
//! | `batch_gradient` | the gradient of a batch, from these factors |
//! | [`vector_products`] | `J v` and `Jᵀ u` |
//! | [`loss`], [`train`] | full-batch gradient descent |
//! | [`ensemble`] | mean and variance of the empirical NTK over random initialisations |

pub mod backward;
pub(crate) mod batch_gradient;
pub(crate) mod batch_pass;
pub mod empirical;
pub mod ensemble;
pub mod forward;
pub mod input_jacobian;
pub mod jacobian;
pub mod layer;
pub mod loss;
pub mod network;
pub mod output_directions;
pub mod outputs;
pub mod pairs;
pub mod train;
pub mod vector_products;
