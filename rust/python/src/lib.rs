//! The Python module `ntkrs._core`: every function unwraps its arguments, detaches, and wraps the result.

mod arrays;
mod errors;
mod finite;
mod gram;
mod infinite;
mod ticker;

use ntkrs_core::isa::Isa;
use ntkrs_core::pool;
use pyo3::prelude::*;

/// The compiled core of ntkrs. Private: use the functions of `ntkrs`.
#[pymodule]
mod _core {
    #[pymodule_export]
    use super::finite::Network;
    #[pymodule_export]
    use super::gram::linear_gram;
    #[pymodule_export]
    use super::infinite::InfiniteKernel;
    #[pymodule_export]
    use super::{get_num_threads, isa, set_num_threads};

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
}

/// The instruction set in use.
#[pyfunction]
fn isa() -> PyResult<&'static str> {
    Isa::current().map(Isa::name).map_err(errors::to_python)
}

#[pyfunction]
fn set_num_threads(count: usize) -> PyResult<()> {
    pool::set_num_threads(count).map_err(errors::to_python)
}

#[pyfunction]
fn get_num_threads() -> PyResult<usize> {
    pool::num_threads().map_err(errors::to_python)
}
