//! One activation φ at a time, and its expectations over pairs of Gaussian variables. Nothing here knows of input
//! matrices or of layers.

pub mod activation;
pub mod catalogue;
pub mod closed_form;
pub mod differentiable;
pub mod dual;
pub mod expectations;
pub mod features;
pub mod series;
