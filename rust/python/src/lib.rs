//! The Python module `ntkrs._core`: every function unwraps its arguments, detaches, and wraps the result.

mod arrays;
mod callable;
mod ensemble;
mod errors;
mod finite;
mod gradient;
mod gram;
mod infinite;
mod ticker;
mod train;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use ntkrs_core::engine::pool::{self, Load, Stop, unwatched};
use ntkrs_core::isa::{Isa, peak_loop};
use pyo3::prelude::*;

/// The compiled core of ntkrs. Private: use the functions of `ntkrs`.
#[pymodule]
mod _core {
    #[pymodule_export]
    use super::ensemble::ensemble_ntk;
    #[pymodule_export]
    use super::finite::{Network, derivatives};
    #[pymodule_export]
    use super::gram::linear_gram;
    #[pymodule_export]
    use super::infinite::InfiniteKernel;
    #[pymodule_export]
    use super::train::Trainer;
    #[pymodule_export]
    use super::{after_fork, get_num_threads, isa, peak_flops, set_num_threads};

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

/// What tells this library from others whose file is called `_core`: threadpoolctl looks for the symbol.
#[allow(unsafe_code, reason = "a name of its own cannot clash")]
#[unsafe(no_mangle)]
pub extern "C" fn ntkrs_num_threads() -> usize {
    pool::num_threads().unwrap_or(0)
}

/// Tells a forked child what it is.
#[pyfunction]
fn after_fork() {
    pool::after_fork();
}

/// The flops per second of all threads together, in registers alone: what benchmarks are held against.
#[pyfunction]
fn peak_flops(py: Python<'_>, single: bool) -> PyResult<f64> {
    const ROUNDS: usize = 20_000_000;
    let run = || {
        let (isa, threads, flops) = (Isa::current()?, pool::num_threads()?, AtomicUsize::new(0));
        let load = Load::new(threads, f64::INFINITY);
        let work = |(): &mut (), _: usize, _: &Stop| {
            flops.fetch_add(peak_loop(isa, single, ROUNDS), Ordering::Relaxed);
        };
        let start = Instant::now();
        pool::for_each(0..threads, load, &mut unwatched, || (), work)?;
        Ok(flops.into_inner() as f64 / start.elapsed().as_secs_f64())
    };
    py.detach(run).map_err(errors::to_python)
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
