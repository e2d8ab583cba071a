//! One call from Python into the core: the floating-point environment, the detached computation, and its exception.

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

impl<'py> Call<'py> {
    /// Starts a call with this `progress` callback. Until the call ends, this thread has the floating-point environment
    /// that the core assumes.
    pub fn enter(py: Python<'py>, progress: Progress) -> Self {
        Self {
            py,
            ticker: Ticker::new(progress),
            _floats: DefaultFloatEnv::enter(),
        }
    }

    /// Runs `compute` detached from the interpreter, so that other Python threads can run, and ends the call.
    ///
    /// # Errors
    /// The exception for the error of `compute`. If a signal handler or the progress callback cancelled the call, the
    /// exception that it raised.
    pub fn detach<R: Send>(
        mut self,
        compute: impl FnOnce(&mut Ticker) -> ntkrs_core::Result<R> + Send,
    ) -> Result<R> {
        let ticker = &mut self.ticker;
        let result = self.py.detach(|| compute(ticker));
        result.map_err(|error| self.ticker.exception(error))
    }
}
