//! Pools of threads: taken by one call at a time, kept for the next, and left alone by forked children.

use std::mem;
use std::process;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::num_threads;
use crate::error::{Error, Result};
use crate::isa::DefaultFloatEnv;

/// How many idle pools are kept: one, and one for a call from within a progress callback.
const KEPT: usize = 2;

/// How many times this process is the child of a fork that [`after_fork`] was told of.
static FORKS: AtomicU64 = AtomicU64::new(0);

/// Tells this process that it is a fork's child. Its id tells that too, except in another namespace of ids.
pub fn after_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// A pool, taken by one call.
pub(super) struct PoolLease {
    process: (u32, u64),
    pub threads: usize,
    pub pool: ThreadPool,
}

/// Idle pools. The lock is only ever tried, never waited for: a child forked in the middle of a use finds it locked
/// for ever, and builds a pool for each call.
static IDLE: Mutex<Vec<PoolLease>> = Mutex::new(Vec::new());

impl PoolLease {
    /// Takes an idle pool of the present number of threads, or builds one.
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
            // A new thread inherits the mode of the one that starts it.
            .start_handler(|_| DefaultFloatEnv::set())
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

    /// Gives the pool back. Those of another number of threads end here, and of the others all but a few.
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

    /// Ends the pool's threads. A parent's pool, which has none in this process, cannot even be ended: ending waits for
    /// locks that nobody holds.
    fn end(self) {
        if self.process != this_process() {
            mem::forget(self.pool);
        }
    }
}

fn this_process() -> (u32, u64) {
    (process::id(), FORKS.load(Ordering::Relaxed))
}
