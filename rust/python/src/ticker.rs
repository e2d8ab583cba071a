//! The watch over a running call: every 50 ms it checks for signals and calls the progress callback.

use std::ops::ControlFlow;

use ntkrs_core::Error;
use pyo3::prelude::*;

use crate::errors::Exception;

/// An optional Python callable, called as `progress(done, total)`.
pub type Progress = Option<Py<PyAny>>;

/// Calls Python from a detached call, and keeps the exception that cancels it.
pub struct Ticker {
    callback: Progress,
    failure: Option<PyErr>,
}

impl Ticker {
    /// Returns the ticker of a call with this `progress` callback.
    pub fn new(progress: Progress) -> Self {
        Self {
            callback: progress,
            failure: None,
        }
    }

    /// Returns a watch that checks for signals and reports progress.
    pub fn progress(&mut self) -> impl FnMut(usize, usize) -> ControlFlow<()> {
        |done, total| self.report(done, total)
    }

    /// Returns a watch for one part of a longer task, which has `total` items. `before` of them were done before this
    /// part.
    pub fn progress_of_part(
        &mut self,
        before: usize,
        total: usize,
    ) -> impl FnMut(usize, usize) -> ControlFlow<()> {
        move |done, _| self.report(before + done, total)
    }

    /// Returns a watch that only checks for signals. It serves calls without progress, and the short first part of a call
    /// whose second part reports progress.
    pub fn signals(&mut self) -> impl FnMut(usize, usize) -> ControlFlow<()> {
        |_, _| self.tick(|_, _| Ok(()))
    }

    /// Returns the Python exception for an error of the call. If this ticker cancelled the call, that is the exception it
    /// kept.
    pub fn exception(&mut self, error: Error) -> Exception {
        match (error, self.failure.take()) {
            (Error::Cancelled, Some(failure)) => failure.into(),
            (error, _) => error.into(),
        }
    }

    fn report(&mut self, done: usize, total: usize) -> ControlFlow<()> {
        self.tick(|py, callback| match callback {
            Some(callback) => callback.call1(py, (done, total)).map(drop),
            None => Ok(()),
        })
    }

    fn tick(
        &mut self,
        then: impl FnOnce(Python<'_>, Option<&Py<PyAny>>) -> PyResult<()>,
    ) -> ControlFlow<()> {
        let result = Python::attach(|py| {
            py.check_signals()?;
            then(py, self.callback.as_ref())
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
