//! What a waiting call does every 50 ms: look for signals, and drive the caller's progress callback.

use std::ops::ControlFlow;

use ntkrs_core::Error;
use pyo3::prelude::*;

use crate::errors;

/// Runs Python from a detached call, and keeps the exception that ended it.
pub struct Ticker {
    progress: Option<Py<PyAny>>,
    failure: Option<PyErr>,
}

impl Ticker {
    /// A ticker for a call with this `progress` callback.
    pub fn new(progress: Option<Py<PyAny>>) -> Self {
        Self {
            progress,
            failure: None,
        }
    }

    /// Looks for signals and reports progress.
    pub fn report(&mut self, done: usize, total: usize) -> ControlFlow<()> {
        self.tick(|py, progress| match progress {
            Some(callback) => callback.call1(py, (done, total)).map(drop),
            None => Ok(()),
        })
    }

    /// Looks for signals only: for the short first part of a call, before the part whose progress is reported.
    pub fn prepare(&mut self, _done: usize, _total: usize) -> ControlFlow<()> {
        self.tick(|_, _| Ok(()))
    }

    /// The Python exception for an error of the call: the one raised here, if it is why the call was cancelled.
    pub fn exception(&mut self, error: Error) -> PyErr {
        match (error, self.failure.take()) {
            (Error::Cancelled, Some(failure)) => failure,
            (error, _) => errors::to_python(error),
        }
    }

    fn tick(
        &mut self,
        then: impl FnOnce(Python<'_>, Option<&Py<PyAny>>) -> PyResult<()>,
    ) -> ControlFlow<()> {
        let result = Python::attach(|py| {
            py.check_signals()?;
            then(py, self.progress.as_ref())
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
