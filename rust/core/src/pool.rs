//! Who computes: our own thread pools, one per process and thread count, and the one parallel loop.
//!
//! No thread starts before it is needed. A pool belongs to the process that built it: after `fork` the child finds
//! none of its own, builds one, and leaves its parent's untouched.

use std::any::Any;
use std::env;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};

/// How often a waiting caller looks up: to report progress and to hear that it should stop.
const TICK: Duration = Duration::from_millis(50);

/// Environment variables that set the number of threads, the first one found winning.
const VARIABLES: [&str; 2] = ["NTKRS_NUM_THREADS", "RAYON_NUM_THREADS"];

/// Called on the calling thread every 50 ms with (done, total), and once at the end; `Break` cancels.
pub type Watch<'a> = dyn FnMut(usize, usize) -> ControlFlow<()> + 'a;

/// A [`Watch`] that looks away.
pub fn unwatched(_done: usize, _total: usize) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// The number set by [`set_num_threads`]; 0 means that the environment decides.
static CHOSEN: AtomicUsize = AtomicUsize::new(0);

/// Sets the number of threads of later calls in this process.
///
/// # Errors
/// [`Error::Invalid`] for 0.
pub fn set_num_threads(count: usize) -> Result<()> {
    if count == 0 {
        return Err(Error::Invalid(
            "the number of threads must be at least 1, but 0 was given".into(),
        ));
    }
    CHOSEN.store(count, Ordering::Relaxed);
    Ok(())
}

/// The number of threads that a call made now would use: the one set, or that of the environment variables
/// `NTKRS_NUM_THREADS` or `RAYON_NUM_THREADS`, or what affinity and cgroup allow.
///
/// # Errors
/// [`Error::Invalid`] if the environment variable that counts is no positive integer.
pub fn num_threads() -> Result<usize> {
    match CHOSEN.load(Ordering::Relaxed) {
        0 => from_environment(),
        count => Ok(count),
    }
}

fn from_environment() -> Result<usize> {
    for variable in VARIABLES {
        let Some(value) = env::var_os(variable).filter(|value| !value.is_empty()) else {
            continue;
        };
        return match value.to_str().map(str::trim).map(str::parse) {
            // rayon reads 0 as "choose for me", and so do we.
            Some(Ok(0)) => continue,
            Some(Ok(count)) => Ok(count),
            _ => Err(Error::Invalid(format!(
                "the environment variable {variable} is {value:?}, but a number of threads is needed. \
                 Unset it, or set it to a positive integer."
            ))),
        };
    }
    Ok(thread::available_parallelism().map_or(1, usize::from))
}

/// A list that only grows: a pool per (process, thread count) that was ever asked for.
struct Node {
    process: u32,
    threads: usize,
    pool: ThreadPool,
    next: OnceLock<Box<Node>>,
}

static POOLS: OnceLock<Box<Node>> = OnceLock::new();

fn pool() -> Result<&'static ThreadPool> {
    let (process, threads) = (process::id(), num_threads()?);
    let mut link = &POOLS;
    loop {
        while let Some(node) = link.get() {
            if node.process == process && node.threads == threads {
                return Ok(&node.pool);
            }
            link = &node.next;
        }
        // Built outside of the lock of `OnceLock`, so that a fork meanwhile cannot leave it locked in the child.
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("ntkrs-{index}"))
            .build()
            .map_err(|error| {
                Error::Invalid(format!("{threads} threads could not be started: {error}"))
            })?;
        // If another thread was quicker, its node is looked at next, and this pool ends.
        let _ = link.set(Box::new(Node {
            process,
            threads,
            pool,
            next: OnceLock::new(),
        }));
    }
}

/// Calls `work` on every item, on all threads, each with a `state` of its own, while the caller waits and watches.
///
/// Items are claimed in order, one by one: threads that are done early take more.
///
/// # Errors
/// [`Error::Cancelled`] if `watch` breaks, [`Error::Panicked`] if `work` panics; remaining items are then dropped.
pub fn for_each<I, S>(
    items: impl Iterator<Item = I> + Send,
    total: usize,
    watch: &mut Watch<'_>,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, I) + Sync,
) -> Result<()> {
    if total == 0 {
        return Ok(());
    }
    let pool = pool()?;
    let items = Mutex::new(items);
    let shift = Shift::new(pool.current_num_threads().min(total));
    let worker = || {
        let mut state = state();
        while !shift.stopped() {
            let Some(item) = lock(&items).next() else {
                break;
            };
            work(&mut state, item);
            shift.done.fetch_add(1, Ordering::Relaxed);
        }
    };
    pool.in_place_scope(|scope| {
        for _ in 0..shift.workers {
            scope.spawn(|_| shift.end(catch_unwind(AssertUnwindSafe(worker))));
        }
        shift.wait(total, watch);
    });
    shift.outcome()
}

/// The workers of one parallel loop, as the waiting caller sees them.
struct Shift {
    workers: usize,
    done: AtomicUsize,
    stop: AtomicBool,
    cancelled: AtomicBool,
    ended: Mutex<Ended>,
    all_ended: Condvar,
}

#[derive(Default)]
struct Ended {
    workers: usize,
    panic: Option<String>,
}

impl Shift {
    fn new(workers: usize) -> Self {
        Self {
            workers,
            done: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            ended: Mutex::default(),
            all_ended: Condvar::new(),
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn end(&self, result: thread::Result<()>) {
        let mut ended = lock(&self.ended);
        ended.workers += 1;
        if let Err(payload) = result {
            self.stop.store(true, Ordering::Relaxed);
            ended.panic = Some(message(payload.as_ref()));
        }
        self.all_ended.notify_all();
    }

    /// Waits for the workers, telling `watch` how far they are.
    fn wait(&self, total: usize, watch: &mut Watch<'_>) {
        let mut ended = lock(&self.ended);
        while ended.workers < self.workers {
            let (guard, timeout) = self
                .all_ended
                .wait_timeout(ended, TICK)
                .unwrap_or_else(PoisonError::into_inner);
            ended = guard;
            if timeout.timed_out() && !self.stopped() {
                drop(ended);
                self.report(total, watch);
                ended = lock(&self.ended);
            }
        }
        drop(ended);
        if !self.stopped() {
            self.report(total, watch);
        }
    }

    fn report(&self, total: usize, watch: &mut Watch<'_>) {
        if watch(self.done.load(Ordering::Relaxed), total).is_break() {
            self.cancelled.store(true, Ordering::Relaxed);
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn outcome(self) -> Result<()> {
        let ended = self
            .ended
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        match ended.panic {
            Some(message) => Err(Error::Panicked(message)),
            None if self.cancelled.into_inner() => Err(Error::Cancelled),
            None => Ok(()),
        }
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown panic".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_worked_on_once() {
        let hits: Vec<AtomicUsize> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
        for_each(
            0..1000,
            1000,
            &mut unwatched,
            || (),
            |(), i: usize| {
                hits[i].fetch_add(1, Ordering::Relaxed);
            },
        )
        .unwrap();
        assert!(hits.into_iter().all(|hit| hit.into_inner() == 1));
    }

    #[test]
    fn breaking_the_watch_cancels() {
        let worked = AtomicUsize::new(0);
        let result = for_each(
            0..10_000,
            10_000,
            &mut |_, _| ControlFlow::Break(()),
            || (),
            |(), _| {
                thread::sleep(Duration::from_millis(1));
                worked.fetch_add(1, Ordering::Relaxed);
            },
        );
        assert_eq!(result, Err(Error::Cancelled));
        assert!(worked.into_inner() < 10_000);
    }

    #[test]
    fn a_panic_is_an_error_and_the_next_call_works() {
        let result = for_each(
            0..4,
            4,
            &mut unwatched,
            || (),
            |(), i| assert_ne!(i, 2, "two"),
        );
        assert!(matches!(result, Err(Error::Panicked(message)) if message.contains("two")));
        assert_eq!(for_each(0..4, 4, &mut unwatched, || (), |(), _| ()), Ok(()));
    }

    #[test]
    fn the_last_report_says_that_all_is_done() {
        let mut last = (0, 0);
        let mut watch = |done, total| {
            last = (done, total);
            ControlFlow::Continue(())
        };
        for_each(0..7, 7, &mut watch, || (), |(), _| ()).unwrap();
        assert_eq!(last, (7, 7));
    }

    #[test]
    fn no_threads_is_an_error() {
        assert!(set_num_threads(0).is_err());
    }
}
