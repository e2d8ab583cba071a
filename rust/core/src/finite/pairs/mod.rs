//! The empirical NTK of a layer of any network, from the values a that enter a linear map and the gradients g of the
//! outputs with respect to the values that leave it. The map is applied at T places s: tokens, pixels, time steps.
//!
//! ```text
//! K_ij = Σ_st (⟨a_is, a_jt⟩ + b) ⟨g_is, g_jt⟩                        TokenKernel
//!      = ⟨Σ_s g_is a_isᵀ, Σ_t g_jt a_jtᵀ⟩ + b ⟨Σ_s g_is, Σ_t g_jt⟩     GradientFactors
//! ```
//!
//! where b is 1 for a layer with biases. The first form takes T² (n + m) multiply-adds an entry, the second n·m.
//! [`add_layer`] adds either to a kernel. An embedding has the inner product 1 of tokens with equal indices, else 0. There
//! the gradients of equal indices are added up first ([`LookupKernel`]).

mod block_sum;
mod gradient_block;
mod gradients;
mod layer;
mod lookups;
mod token_batch;
mod tokens;

pub use gradients::GradientFactors;
pub use layer::{LayerBatch, PairForm, PairTerm, add_layer};
pub use lookups::{LookupKernel, Lookups};
pub use token_batch::{Entering, Leaving, TokenBatch};
pub use tokens::TokenKernel;
