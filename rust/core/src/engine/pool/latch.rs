//! The latch on which the caller waits for the workers of its loop.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::{Stop, Watch, lock, message};
use crate::error::{Error, Result};

/// The interval at which the waiting caller reports progress and learns whether to stop.
const TICK: Duration = Duration::from_millis(50);

/// The progress of one parallel loop, shared by its workers and the waiting caller.
pub(super) struct Latch {
    pub workers: usize,
    /// The number of items done.
    pub done: AtomicUsize,
    pub total: AtomicUsize,
    pub stop: Arc<Stop>,
    ended: Mutex<Ended>,
    all_ended: Condvar,
}

/// The workers that have ended, and the message of the last one that panicked.
#[derive(Default)]
struct Ended {
    workers: usize,
    panic: Option<String>,
}

impl Latch {
    pub fn new(workers: usize, total: usize) -> Self {
        Self {
            workers,
            done: AtomicUsize::new(0),
            total: AtomicUsize::new(total),
            stop: Arc::default(),
            ended: Mutex::default(),
            all_ended: Condvar::new(),
        }
    }

    /// Records the end of one worker. A panic stops the others.
    pub fn end(&self, result: thread::Result<()>) {
        let mut ended = lock(&self.ended);
        ended.workers += 1;
        if let Err(payload) = result {
            self.stop.request();
            ended.panic = Some(message(payload.as_ref()));
        }
        self.all_ended.notify_all();
    }

    /// Waits until all workers have ended. Reports their progress to `watch`.
    pub fn wait(&self, watch: &mut Watch<'_>) {
        let mut ended = lock(&self.ended);
        while ended.workers < self.workers {
            let (guard, timeout) = self
                .all_ended
                .wait_timeout(ended, TICK)
                .unwrap_or_else(PoisonError::into_inner);
            ended = guard;
            if timeout.timed_out() && !self.stop.requested() {
                drop(ended);
                self.report(watch);
                ended = lock(&self.ended);
            }
        }
        drop(ended);
        if !self.stop.requested() {
            self.report(watch);
        }
    }

    /// Reports the progress, and requests a stop if `watch` breaks.
    fn report(&self, watch: &mut Watch<'_>) {
        let [done, total] = [&self.done, &self.total].map(|count| count.load(Ordering::Relaxed));
        if watch(done, total).is_break() {
            self.stop.request();
        }
    }

    /// The result of the loop, once all workers have ended.
    pub fn outcome(&self) -> Result<()> {
        let mut ended = lock(&self.ended);
        match ended.panic.take() {
            Some(message) => Err(Error::Panicked(message)),
            None if self.stop.requested() => Err(Error::Cancelled),
            None => Ok(()),
        }
    }
}
