//! One activation φ at a time, and its expectations over pairs of Gaussian variables. Nothing here knows of input
//! matrices, or of layers but for the dense one after φ, which runs in the same loop (`dense_layer`, `bias`), as the products
//! of pixel pairs do (`pixel_band`).

pub mod activation;
pub mod bias;
pub mod catalogue;
pub mod closed_form;
pub mod closed_form_slopes;
pub mod dense_layer;
pub mod differentiable;
pub mod dual;
pub mod expectations;
pub mod far_form;
pub mod far_layer;
pub mod features;
pub mod pixel_band;
pub mod row_and_columns;
pub mod row_pairs;
pub mod series;
pub mod single;
