//! The watch over a running call: every 50 ms it checks for signals and calls the progress callback.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use ntkrs_core::Error;
use pyo3::prelude::*;

use crate::errors::Exception;

/// An optional Python callable, called as `progress(done, total)`.
pub type Progress = Option<Py<PyAny>>;

/// The least time between two reports, unless all is done. Work that is watched closely does not slow down.
const PAUSE: Duration = Duration::from_millis(25);

/// Calls Python from a detached call, and keeps the exception that cancels it.
pub struct Ticker {
    callback: Progress,
    /// The number of items done before this call.
    before: usize,
    total: usize,
    last: Instant,
    failure: Option<PyErr>,
}

impl Ticker {
    /// Returns the ticker of a call with this `progress` callback. The callback hears of `total` items, of which `before`
    /// were done before.
    pub fn new(progress: Progress, before: usize, total: usize) -> Self {
        Self {
            callback: progress,
            before,
            total,
            last: Instant::now(),
            failure: None,
        }
    }

    /// Returns the watch that checks for signals and reports progress.
    pub fn watch(&mut self) -> impl FnMut(usize, usize) -> ControlFlow<()> {
        |done, _| self.report(self.before + done)
    }

    /// Returns the Python exception for an error of the call. If this ticker cancelled the call, that is the exception it
    /// kept.
    pub fn exception(&mut self, error: Error) -> Exception {
        match (error, self.failure.take()) {
            (Error::Cancelled, Some(failure)) => failure.into(),
            (error, _) => error.into(),
        }
    }

    fn report(&mut self, done: usize) -> ControlFlow<()> {
        let now = Instant::now();
        if done < self.total && now.duration_since(self.last) < PAUSE {
            return ControlFlow::Continue(());
        }
        self.last = now;
        let result = Python::attach(|py| {
            py.check_signals()?;
            match &self.callback {
                Some(callback) => callback.call1(py, (done, self.total)).map(drop),
                None => Ok(()),
            }
        });
        match result {
            Ok(()) => ControlFlow::Continue(()),
            Err(failure) => {
                self.failure = Some(failure);
                ControlFlow::Break(())
            }
        }
    }
}
