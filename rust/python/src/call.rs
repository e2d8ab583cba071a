//! One call from Python into the core: the floating-point environment, the detached computation, and its exception.

use ntkrs_core::engine::pool::{self, STEPS, Watch, fixed};
use ntkrs_core::isa::DefaultFloatEnv;
use pyo3::prelude::*;

use crate::errors::Result;
use crate::ticker::{Progress, Ticker};

/// A running call. It starts before the arguments are packed and ends with the computation.
pub struct Call<'py> {
    py: Python<'py>,
    ticker: Ticker,
    _floats: DefaultFloatEnv,
}

/// Calls of fewer cycles (some milliseconds) end before anybody could want to hear of them.
const QUICK: f64 = 1e7;

/// Returns the cycles that [`Call::detach`] takes: 0 if the computation calls Python functions.
pub fn watched(callable: bool, cycles: f64) -> f64 {
    if callable { 0.0 } else { cycles }
}

impl<'py> Call<'py> {
    /// Starts a call with this `progress` callback. Until the call ends, this thread has the floating-point environment
    /// that the core assumes.
    pub fn enter(py: Python<'py>, progress: Progress) -> Self {
        Self::part(py, progress, 0, STEPS)
    }

    /// Starts a call that is a part of a longer task, or counts its own items: its progress is that of `total` items, of
    /// which `before` were done before.
    pub fn part(py: Python<'py>, progress: Progress, before: usize, total: usize) -> Self {
        Self {
            py,
            ticker: Ticker::new(progress, before, total),
            _floats: DefaultFloatEnv::enter(),
        }
    }

    /// Reads the arguments while no other Python thread can change them. Meanwhile the progress is that nothing is done.
    ///
    /// # Errors
    /// As [`Call::detach`].
    pub fn read<R>(
        &mut self,
        read: impl FnOnce(&mut Watch<'_>) -> ntkrs_core::Result<R>,
    ) -> Result<R> {
        let result = read(&mut fixed(0, STEPS, &mut self.ticker.watch()));
        result.map_err(|error| self.ticker.exception(error))
    }

    /// Runs `compute` detached from the interpreter, so that other Python threads can run, and ends the call.
    ///
    /// `cycles` is its estimated cost on one thread. If it is not small, `compute` runs inside the thread pool, while
    /// this thread does nothing but watch. It is 0 for computations that must stay on this thread.
    ///
    /// # Errors
    /// The exception for the error of `compute`. If a signal handler or the progress callback cancelled the call, the
    /// exception that it raised.
    pub fn detach<R: Send>(
        mut self,
        cycles: f64,
        compute: impl FnOnce(&mut Watch<'_>) -> ntkrs_core::Result<R> + Send,
    ) -> Result<R> {
        let ticker = &mut self.ticker;
        let cycles = if cycles < QUICK { 0.0 } else { cycles };
        let result = self
            .py
            .detach(|| pool::install(cycles, &mut ticker.watch(), compute));
        result.map_err(|error| self.ticker.exception(error))
    }
}
