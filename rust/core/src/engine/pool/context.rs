//! Where a parallel loop started by this thread runs: on a pool of its own, serially, or on the pool the thread belongs
//! to.

use std::cell::RefCell;
use std::mem;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::idle::PoolLease;
use super::latch::Latch;
use super::{QUICK, STEPS, Share, Stop, Watch, lock, message, unwatched};
use crate::error::{Error, Result};

/// The place where this thread's parallel loops run.
#[derive(Clone)]
pub(super) enum Context {
    /// On a pool of its own.
    Caller,
    /// On this thread alone.
    Serial,
    /// On the pool that this thread belongs to.
    Worker(PoolWorker),
}

/// A thread of a pool, and the flag that stops the loops it starts.
#[derive(Clone)]
pub(super) struct PoolWorker {
    stop: Arc<Stop>,
}

thread_local! {
    static CONTEXT: RefCell<Context> = const { RefCell::new(Context::Caller) };
}

/// The context of this thread.
pub(super) fn here() -> Context {
    CONTEXT.with_borrow(Context::clone)
}

/// Runs `part` with its parallel loops in the given context.
fn at<R>(context: Context, part: impl FnOnce() -> R) -> R {
    /// Restores the previous context, even after a panic.
    struct Restore(Context);
    impl Drop for Restore {
        fn drop(&mut self) {
            CONTEXT.set(mem::replace(&mut self.0, Context::Caller));
        }
    }
    let _restore = Restore(CONTEXT.replace(context));
    part()
}

/// Runs `part` with all its parallel loops on this thread. For workers of an outer loop.
pub fn serially<R>(part: impl FnOnce() -> R) -> R {
    at(Context::Serial, part)
}

/// Runs `part` inside the thread pool, so that its successive loops need not wake the workers each time.
///
/// `cycles` is the estimated cost of `part` on one thread. `part` must not call anything reserved to the calling thread
/// (user-supplied functions). It reports progress to the watch it is given, which reaches `watch` every 50 ms.
///
/// # Errors
/// As [`for_each`](super::for_each), and those of `part`.
pub fn install<R: Send>(
    cycles: f64,
    watch: &mut Watch<'_>,
    part: impl FnOnce(&mut Watch<'_>) -> Result<R> + Send,
) -> Result<R> {
    if cycles < QUICK || !matches!(here(), Context::Caller) {
        return part(watch);
    }
    let (mut part, mut result) = (Some(part), Err(Error::Cancelled));
    let mut run = |watch: &mut Watch<'_>| {
        if let Some(part) = part.take() {
            result = part(watch);
        }
    };
    let outcome = on_worker(watch, &mut run);
    match (outcome, result) {
        // The error of `part` says why it stopped.
        (Err(Error::Cancelled), Err(error)) => Err(error),
        (outcome, result) => outcome.and(result),
    }
}

/// Calls `part` on a thread of an idle pool, whose loops then run on that pool.
fn on_worker(watch: &mut Watch<'_>, part: &mut (dyn FnMut(&mut Watch<'_>) + Send)) -> Result<()> {
    let lease = PoolLease::take()?;
    let latch = Latch::new(1, STEPS);
    lease.pool.in_place_scope(|scope| {
        scope.spawn(|_| {
            let mut tell = |done, total| {
                latch.done.store(done, Ordering::Relaxed);
                latch.total.store(total, Ordering::Relaxed);
                if latch.stop.requested() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            };
            let context = Context::Worker(PoolWorker {
                stop: Arc::clone(&latch.stop),
            });
            let run = || at(context, || part(&mut tell));
            latch.end(catch_unwind(AssertUnwindSafe(run)));
        });
        latch.wait(watch);
    });
    lease.give_back();
    latch.outcome()
}

impl PoolWorker {
    /// [`run`](super::run) on the pool that this thread belongs to. This thread works too, and calls `watch` after each of
    /// its items and at the end.
    pub fn run(&self, total: usize, watch: &mut Watch<'_>, share: &Share<'_>) -> Result<()> {
        let stop = &*self.stop;
        let (done, panic) = (AtomicUsize::new(0), Mutex::new(None));
        let worker = |watch: &mut Watch<'_>| {
            let mut count = || {
                if watch(done.fetch_add(1, Ordering::Relaxed) + 1, total).is_break() {
                    stop.request();
                }
            };
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| share(stop, &mut count))) {
                stop.request();
                *lock(&panic) = Some(message(payload.as_ref()));
            }
        };
        rayon::in_place_scope(|scope| {
            for _ in 1..rayon::current_num_threads().min(total) {
                scope.spawn(|_| worker(&mut unwatched));
            }
            worker(watch);
        });
        match lock(&panic).take() {
            Some(message) => Err(Error::Panicked(message)),
            // Other threads may have ended the last items.
            None if stop.requested() || watch(total, total).is_break() => Err(Error::Cancelled),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::pool::{Load, for_each, set_num_threads};
    use std::collections::HashSet;
    use std::thread;
    use std::time::Duration;

    /// A loop worth waking threads for.
    fn load(items: usize) -> Load {
        Load::new(items, f64::INFINITY)
    }

    #[test]
    fn the_last_report_of_an_installed_loop_is_complete_whichever_thread_ends_last() {
        set_num_threads(3).unwrap();
        let mut last = (0, 0);
        let mut watch = |done, total| {
            last = (done, total);
            ControlFlow::Continue(())
        };
        let part = |watch: &mut Watch<'_>| {
            let driver = thread::current().id();
            let slow_elsewhere = |(): &mut (), _: usize, _: &Stop| {
                let slow = thread::current().id() != driver;
                thread::sleep(Duration::from_millis(if slow { 50 } else { 1 }));
            };
            for_each(0..3, load(3), watch, || (), slow_elsewhere)
        };
        install(f64::INFINITY, &mut watch, part).unwrap();
        assert_eq!(last, (3, 3));
    }

    #[test]
    fn installed_loops_share_one_pool() {
        set_num_threads(3).unwrap();
        let hits: Vec<AtomicUsize> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
        let threads = Mutex::new(HashSet::new());
        let hit = |(): &mut (), i: usize, _: &Stop| {
            hits[i].fetch_add(1, Ordering::Relaxed);
            lock(&threads).insert(thread::current().id());
        };
        let part = |watch: &mut Watch<'_>| {
            for _ in 0..20 {
                for_each(0..1000, load(1000), watch, || (), hit)?;
            }
            Ok(thread::current().id())
        };
        let driver = install(f64::INFINITY, &mut unwatched, part).unwrap();
        assert!(hits.into_iter().all(|hit| hit.into_inner() == 20));
        let threads = threads.into_inner().unwrap();
        assert!(threads.contains(&driver) && threads.len() <= 3);
        assert!(!threads.contains(&thread::current().id()));
        let here = install(0.0, &mut unwatched, |_| Ok(thread::current().id()));
        assert_eq!(here, Ok(thread::current().id()));
    }

    #[test]
    fn an_error_in_an_installed_loop_ends_the_call() {
        let run = |watch: &mut Watch<'_>, work: &(dyn Fn(usize, &Stop) + Sync)| {
            install(f64::INFINITY, watch, |watch| {
                let work = |(): &mut (), i: usize, stop: &Stop| work(i, stop);
                for_each(0..8, load(8), watch, || (), work)
            })
        };
        let result = run(&mut unwatched, &|i, _| assert_ne!(i, 2, "two"));
        assert!(matches!(result, Err(Error::Panicked(message)) if message.contains("two")));
        let wait = |_: usize, stop: &Stop| {
            while !stop.requested() {
                thread::sleep(Duration::from_millis(1));
            }
        };
        let result = run(&mut |_, _| ControlFlow::Break(()), &wait);
        assert_eq!(result, Err(Error::Cancelled));
        let result: Result<()> = install(f64::INFINITY, &mut unwatched, |_| panic!("install"));
        assert!(matches!(result, Err(Error::Panicked(message)) if message.contains("install")));
        assert_eq!(run(&mut unwatched, &|_, _| ()), Ok(()));
    }
}
