//! Who computes: our own thread pools, and the one parallel loop.
//!
//! No thread starts before it is needed. A call takes an idle pool, or builds one if others are computing, so that
//! calls never wait for each other; it gives the pool back at the end, and a few are kept. A pool belongs to the
//! process that built it: after `fork` the child leaves those of its parent untouched.

mod all_finite;
mod context;
mod idle;
mod latch;

use std::any::Any;
use std::env;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::error::{Error, Result};
use crate::isa::DefaultFloatEnv;
use context::{Context, for_each_installed};
use idle::PoolLease;
use latch::Latch;

pub use all_finite::AllFinite;
pub use context::{install, serially};
pub use idle::after_fork;

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

/// Whether a call should end early. Long items ask now and then.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// Whether it should.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How much there is to do.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    items: usize,
    cycles: f64,
}

impl Load {
    /// So many items, that take about so many cycles of one thread all together.
    pub fn new(items: usize, cycles: f64) -> Self {
        Self { items, cycles }
    }
}

/// Loads of fewer cycles, a tenth of a millisecond, are not worth waking other threads for.
const QUICK: f64 = 250_000.0;

/// Calls `work` on every item, on all threads, each with a `state` of its own, while the caller waits and watches. What
/// is done before other threads would be awake is done on the calling thread.
///
/// Items are claimed in order, one by one: threads that are done early take more.
///
/// # Errors
/// [`Error::Cancelled`] if `watch` breaks, [`Error::Panicked`] if `work` panics; remaining items are then dropped.
/// [`Error::Threads`] if there are no threads to be had.
pub fn for_each<I, S>(
    items: impl Iterator<Item = I> + Send,
    load: Load,
    watch: &mut Watch<'_>,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, I, &Stop) + Sync,
) -> Result<()> {
    let total = load.items;
    if total == 0 {
        return Ok(());
    }
    let context = context::here();
    if matches!(context, Context::Serial) {
        return for_each_here(items, total, watch, state(), work);
    }
    if load.cycles < QUICK {
        for_each_here(items, total, &mut unwatched, state(), work)?;
        return match watch(total, total) {
            ControlFlow::Break(()) => Err(Error::Cancelled),
            ControlFlow::Continue(()) => Ok(()),
        };
    }
    if let Context::Worker(stop) = context {
        return for_each_installed(items, total, &stop, watch, state, work);
    }
    let lease = PoolLease::take()?;
    let items = Mutex::new(items);
    let latch = Latch::new(lease.threads.min(total), total);
    let worker = || {
        let count = || {
            latch.done.fetch_add(1, Ordering::Relaxed);
        };
        work_off(&items, &latch.stop, &mut state(), &work, count);
    };
    lease.pool.in_place_scope(|scope| {
        for _ in 0..latch.workers {
            scope.spawn(|_| latch.end(catch_unwind(AssertUnwindSafe(worker))));
        }
        latch.wait(watch);
    });
    lease.give_back();
    latch.outcome()
}

/// Works on items, and calls `then` after each of them, until there are none or it is to stop.
fn work_off<I, S>(
    items: &Mutex<impl Iterator<Item = I>>,
    stop: &Stop,
    state: &mut S,
    work: impl Fn(&mut S, I, &Stop),
    mut then: impl FnMut(),
) {
    while !stop.requested() {
        let Some(item) = lock(items).next() else {
            break;
        };
        work(state, item, stop);
        then();
    }
}

/// [`for_each`] on this thread; `watch` is called after every item.
fn for_each_here<I, S>(
    items: impl Iterator<Item = I>,
    total: usize,
    watch: &mut Watch<'_>,
    mut state: S,
    work: impl Fn(&mut S, I, &Stop),
) -> Result<()> {
    let (_floats, stop) = (DefaultFloatEnv::enter(), Stop::default());
    let all = || {
        for (done, item) in items.enumerate() {
            work(&mut state, item, &stop);
            if watch(done + 1, total).is_break() {
                return Err(Error::Cancelled);
            }
        }
        Ok(())
    };
    catch_unwind(AssertUnwindSafe(all))
        .unwrap_or_else(|payload| Err(Error::Panicked(message(payload.as_ref()))))
}

/// [`for_each`] of items that take so many `cycles`, with states that outlive the call: at most one thread for each of
/// them works.
///
/// # Errors
/// As [`for_each`].
pub fn for_each_with<I, S: Send>(
    states: &mut [S],
    items: impl Iterator<Item = I> + Send,
    cycles: f64,
    watch: &mut Watch<'_>,
    work: impl Fn(&mut S, I, &Stop) + Sync,
) -> Result<()> {
    let items = Mutex::new(items);
    let load = Load::new(states.len(), cycles);
    let claim = |(): &mut (), state: &mut S, stop: &Stop| {
        work_off(&items, stop, state, &work, || ());
    };
    for_each(states.iter_mut(), load, watch, || (), claim)
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
    use std::collections::HashSet;
    use std::time::Duration;

    /// Items that are worth waking threads for.
    fn load(items: usize) -> Load {
        Load::new(items, f64::INFINITY)
    }

    fn quick(items: usize) -> Load {
        Load::new(items, 0.0)
    }

    #[test]
    fn small_loops_run_on_the_calling_thread() {
        let caller = thread::current().id();
        let work = |(): &mut (), _: usize, _: &Stop| assert_eq!(thread::current().id(), caller);
        for_each(0..100, quick(100), &mut unwatched, || (), work).unwrap();
        let stop = &mut |_, _| ControlFlow::Break(());
        let result = for_each(0..100, quick(100), stop, || (), work);
        assert_eq!(result, Err(Error::Cancelled));
    }

    #[test]
    fn every_item_is_worked_on_once() {
        let hits: Vec<AtomicUsize> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
        let hit = |(): &mut (), i: usize, _: &Stop| {
            hits[i].fetch_add(1, Ordering::Relaxed);
        };
        for_each(0..1000, load(1000), &mut unwatched, || (), hit).unwrap();
        assert!(hits.into_iter().all(|hit| hit.into_inner() == 1));
    }

    #[test]
    fn breaking_the_watch_cancels_items_to_come_and_under_way() {
        let worked = AtomicUsize::new(0);
        let wait = |(): &mut (), _: usize, stop: &Stop| {
            worked.fetch_add(1, Ordering::Relaxed);
            while !stop.requested() {
                thread::sleep(Duration::from_millis(1));
            }
        };
        let result = for_each(
            0..10_000,
            load(10_000),
            &mut |_, _| ControlFlow::Break(()),
            || (),
            wait,
        );
        assert_eq!(result, Err(Error::Cancelled));
        assert!(worked.into_inner() < 10_000);
    }

    #[test]
    fn a_panic_is_an_error_and_the_next_call_works() {
        for load in [quick(4), load(4)] {
            let fail = |(): &mut (), i: usize, _: &Stop| assert_ne!(i, 2, "two");
            let result = for_each(0..4, load, &mut unwatched, || (), fail);
            assert!(matches!(result, Err(Error::Panicked(message)) if message.contains("two")));
            let result = for_each(0..4, load, &mut unwatched, || (), |(), _, _| ());
            assert_eq!(result, Ok(()));
        }
    }

    #[test]
    fn calls_from_within_a_watch_do_not_wait_for_the_outer_one() {
        let inner_done = AtomicBool::new(false);
        let mut watch = |_, _| {
            for_each(0..4, load(4), &mut unwatched, || (), |(), _, _| ()).unwrap();
            inner_done.store(true, Ordering::Relaxed);
            ControlFlow::Continue(())
        };
        // The outer items end only when the inner call has.
        let wait = |(): &mut (), _: usize, _: &Stop| {
            while !inner_done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(1));
            }
        };
        for_each(0..8, load(8), &mut watch, || (), wait).unwrap();
    }

    #[test]
    fn the_last_report_says_that_all_is_done() {
        for load in [quick(7), load(7)] {
            let mut last = (0, 0);
            let mut watch = |done, total| {
                last = (done, total);
                ControlFlow::Continue(())
            };
            for_each(0..7, load, &mut watch, || (), |(), _, _| ()).unwrap();
            assert_eq!(last, (7, 7));
        }
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

    #[test]
    fn no_threads_is_an_error() {
        assert!(set_num_threads(0).is_err());
    }
}
