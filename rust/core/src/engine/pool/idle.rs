//! Idle pools: each is taken by one call at a time and kept for the next. Forked children leave them alone.

use std::mem;
use std::process;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::threads::{limit_threads, num_threads};
use crate::error::{Error, Result};
use crate::isa::DefaultFloatEnv;

/// The number of idle pools that are kept: one, and another one for calls made from a progress callback.
const KEPT: usize = 2;

/// The number of calls of [`after_fork`] in this process and its ancestors.
static FORKS: AtomicU64 = AtomicU64::new(0);

/// Marks this process as a forked child. Comparing process ids is not enough across PID namespaces.
pub fn after_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// A pool taken by one call.
pub(super) struct PoolLease {
    /// The process that built the pool.
    process: (u32, u64),
    pub threads: usize,
    pub pool: ThreadPool,
}

/// Idle pools. The lock is only tried, never waited for: a process forked while it was held finds it locked forever, and
/// then builds a pool for each call.
static IDLE: Mutex<Vec<PoolLease>> = Mutex::new(Vec::new());

impl PoolLease {
    /// Takes an idle pool with the current number of threads, or builds one.
    pub fn take() -> Result<Self> {
        let (process, threads) = (this_process(), num_threads()?);
        if let Ok(mut idle) = IDLE.try_lock() {
            let fits = |lease: &Self| lease.process == process && lease.threads == threads;
            if let Some(index) = idle.iter().position(fits) {
                return Ok(idle.swap_remove(index));
            }
        }
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("ntkrs-{index}"))
            // A new thread inherits the floating-point environment of the thread that starts it. Calls in it that ask for
            // the number of threads mean those of the pool.
            .start_handler(move |_| {
                DefaultFloatEnv::set();
                limit_threads(threads);
            })
            .build()
            .map_err(|error| Error::Threads {
                threads,
                reason: error.to_string(),
            })?;
        Ok(Self {
            process,
            threads,
            pool,
        })
    }

    /// Gives the pool back. At most [`KEPT`] idle pools with this number of threads are kept; all others end.
    pub fn give_back(self) {
        let (process, threads) = (self.process, self.threads);
        let mut others = vec![];
        match IDLE.try_lock() {
            Ok(mut idle) if process == this_process() => {
                idle.push(self);
                let keep = |lease: &Self| lease.process == process && lease.threads == threads;
                let (mut kept, other): (Vec<_>, Vec<_>) = idle.drain(..).partition(keep);
                others = other;
                others.extend(kept.drain(KEPT.min(kept.len())..));
                *idle = kept;
            }
            _ => others.push(self),
        }
        others.into_iter().for_each(Self::end);
    }

    /// Ends the pool's threads. A parent's pool is leaked instead: it has no threads in this process, and ending it would
    /// wait forever for locks that no thread holds.
    fn end(self) {
        if self.process != this_process() {
            mem::forget(self.pool);
        }
    }
}

/// The process id, and the number of forks before.
fn this_process() -> (u32, u64) {
    (process::id(), FORKS.load(Ordering::Relaxed))
}
