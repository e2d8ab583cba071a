//! One activation φ at a time, and expectations of it over pairs of Gaussian variables: nothing here knows of input
//! matrices or of layers.

pub mod activation;
pub mod catalogue;
pub mod closed_form;
pub mod differentiable;
pub mod dual;
pub mod features;
pub mod series;
