//! Networks with parameters: nothing here knows of infinite ones.

pub mod backward;
pub(crate) mod batch_pass;
pub mod empirical;
pub mod ensemble;
pub mod forward;
pub mod jacobian;
pub mod loss;
pub mod network;
pub mod train;
pub mod vector_products;
