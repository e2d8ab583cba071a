//! The Python module `ntkrs._core`: every function unwraps its arguments, computes detached, and wraps the result.
//!
//! Each topic is one file, with a section of the same name in `_core.pyi`: `runtime`, `gram`, `stored`, `activations`,
//! `prepared_inputs`, `kernel` (with `kernel_gradient`), `network` (with `vector_products`), `training`, `ensemble`, `pairs` and
//! `convolution`. The other files are shared by these.
//! No two files import each other, directly or through others.

mod activations;
mod arrays;
mod call;
mod callable;
mod convolution;
mod ensemble;
mod errors;
mod gram;
mod input_gradient;
mod kernel;
mod kernel_arguments;
mod kernel_gradient;
mod network;
mod pairs;
mod prepared_inputs;
mod runtime;
mod stored;
mod ticker;
mod training;
mod vector_products;

use pyo3::prelude::*;

/// The compiled core of ntkrs. Private: use the functions of `ntkrs`.
#[pymodule]
mod _core {
    /// The version of the crate, which is that of the package.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");

    /// "release", or "debug" for a build that is many times slower.
    #[pymodule_export]
    const PROFILE: &str = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };

    #[pymodule_export]
    use super::runtime::{
        after_fork, get_num_threads, isa, limit_threads, max_num_threads, peak_flops,
        set_num_threads,
    };

    #[pymodule_export]
    use super::gram::linear_gram;

    #[pymodule_export]
    use super::stored::{StoredProduct, packed_offset, stored_product};

    #[pymodule_export]
    use super::activations::{derivatives, dual};

    #[pymodule_export]
    use super::prepared_inputs::PreparedInputs;

    #[pymodule_export]
    use super::kernel::InfiniteKernel;

    #[pymodule_export]
    use super::convolution::ConvolutionalKernel;

    #[pymodule_export]
    use super::network::Network;

    #[pymodule_export]
    use super::training::Trainer;

    #[pymodule_export]
    use super::ensemble::ensemble_ntk;

    #[pymodule_export]
    use super::pairs::add_layer_kernel;
}
