//! The runtime: the number of threads, the instruction set, and the peak speed of both.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use ntkrs_core::engine::pool::{self, Load, Stop, unwatched};
use ntkrs_core::isa::{Isa, peak_loop};
use pyo3::prelude::*;

use crate::errors::Result;

/// Returns the number of threads. threadpoolctl finds this library by this symbol, because other libraries are called
/// `_core` too.
#[allow(unsafe_code, reason = "no other library has a symbol of this name")]
#[unsafe(no_mangle)]
pub extern "C" fn ntkrs_num_threads() -> usize {
    pool::num_threads().unwrap_or(0)
}

/// Sets the number of threads that computations use.
#[pyfunction]
pub fn set_num_threads(count: usize) -> Result<()> {
    Ok(pool::set_num_threads(count)?)
}

/// Returns the largest number of threads that [`set_num_threads`] accepts.
#[pyfunction]
pub fn max_num_threads() -> usize {
    pool::max_num_threads()
}

/// Limits the threads of computations that this thread starts, and returns the limit before.
#[pyfunction]
pub fn limit_threads(count: usize) -> usize {
    pool::limit_threads(count)
}

/// Returns the number of threads that computations use.
#[pyfunction]
pub fn get_num_threads() -> Result<usize> {
    Ok(pool::num_threads()?)
}

/// Marks this process as a forked child, whose threads must be started again.
#[pyfunction]
pub fn after_fork() {
    pool::after_fork();
}

/// Returns the name of the instruction set in use.
#[pyfunction]
pub fn isa() -> Result<&'static str> {
    Ok(Isa::current().map(Isa::name)?)
}

/// Measures the flops per second of all threads together, with all operands in registers, in float32 if `single`.
/// Benchmarks are compared with this bound.
#[pyfunction]
pub fn peak_flops(py: Python<'_>, single: bool) -> Result<f64> {
    const ROUNDS: usize = 20_000_000;
    let run = || {
        let (isa, threads, flops) = (Isa::current()?, pool::num_threads()?, AtomicUsize::new(0));
        let load = Load::new(threads, f64::INFINITY);
        let work = |(): &mut (), _: usize, _: &Stop| {
            flops.fetch_add(peak_loop(isa, single, ROUNDS), Ordering::Relaxed);
        };
        let start = Instant::now();
        pool::for_each(0..threads, load, &mut unwatched, || (), work)?;
        ntkrs_core::Result::Ok(flops.into_inner() as f64 / start.elapsed().as_secs_f64())
    };
    Ok(py.detach(run)?)
}
