//! Thread pools, and the one parallel loop: nothing else in this library starts or wakes a thread.
//!
//! No thread starts before it is needed. A call takes an idle pool, or builds one if all of them are busy, so that calls
//! never wait for each other. It gives the pool back at the end, and a few are kept. A pool belongs to the process that
//! built it: after `fork` the child leaves its parent's pools untouched.
//!
//! `context` decides where a loop runs, `idle` keeps the pools, `latch` lets the caller wait for its workers, `threads`
//! sets their number, `stages` shares out the progress of a call, and `all_finite` is the flag by which workers report
//! values that are not finite.

mod all_finite;
mod context;
mod idle;
mod latch;
mod stages;
mod threads;

use std::any::Any;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::isa::DefaultFloatEnv;
use context::Context;
use idle::PoolLease;
use latch::Latch;

pub use all_finite::AllFinite;
pub use context::{install, serially};
pub use idle::after_fork;
pub use stages::{STEPS, Stages, fixed};
pub use threads::{limit_threads, max_num_threads, num_threads, set_num_threads};

/// Called on the calling thread every 50 ms with (done, total), and once at the end. `Break` cancels the call.
pub type Watch<'a> = dyn FnMut(usize, usize) -> ControlFlow<()> + 'a;

/// A [`Watch`] that does nothing.
pub fn unwatched(_done: usize, _total: usize) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// A request to end a call early. Items that take long should ask for it from time to time.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// Returns true if the call should end.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The size of a loop.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    items: usize,
    cycles: f64,
}

impl Load {
    /// `items` work items with an estimated total cost of `cycles` on one thread.
    pub fn new(items: usize, cycles: f64) -> Self {
        Self { items, cycles }
    }
}

/// Loops of fewer cycles (a tenth of a millisecond) are not worth waking other threads for.
const QUICK: f64 = 250_000.0;

/// Calls `work` on every item, on all threads, while the caller waits and watches. Each thread has its own `state`.
///
/// Items are claimed in order, one by one: threads that finish early take more of them. Loops so small that they would
/// end before other threads wake up run on the calling thread.
///
/// # Errors
/// [`Error::Cancelled`] if `watch` breaks, [`Error::Panicked`] if `work` panics; the remaining items are then dropped.
/// [`Error::Threads`] if no thread could be started.
pub fn for_each<I, S>(
    items: impl Iterator<Item = I> + Send,
    load: Load,
    watch: &mut Watch<'_>,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, I, &Stop) + Sync,
) -> Result<()> {
    let items = Mutex::new(items);
    let share = |stop: &Stop, then: &mut dyn FnMut()| {
        work_off(&items, stop, &mut state(), &work, then);
    };
    run(load, watch, &share)
}

/// The share of a loop that one thread takes. It works on items, and calls the function after each of them, until none is
/// left or a stop is requested.
type Share<'a> = dyn Fn(&Stop, &mut dyn FnMut()) + Sync + 'a;

/// [`for_each`] for items of any type. The machinery of threads is compiled once, and every loop's work once.
fn run(load: Load, watch: &mut Watch<'_>, share: &Share<'_>) -> Result<()> {
    let total = load.items;
    if total == 0 {
        return Ok(());
    }
    match context::here() {
        Context::Serial => run_here(total, watch, share),
        _ if load.cycles < QUICK => {
            run_here(total, &mut unwatched, share)?;
            match watch(total, total) {
                ControlFlow::Break(()) => Err(Error::Cancelled),
                ControlFlow::Continue(()) => Ok(()),
            }
        }
        Context::Worker(worker) => worker.run(total, watch, share),
        Context::Caller => run_leased(total, watch, share),
    }
}

/// [`run`] on this thread. `watch` is called after every item.
fn run_here(total: usize, watch: &mut Watch<'_>, share: &Share<'_>) -> Result<()> {
    let (_floats, stop, mut done) = (DefaultFloatEnv::enter(), Stop::default(), 0);
    let mut count = || {
        done += 1;
        if watch(done, total).is_break() {
            stop.request();
        }
    };
    match catch_unwind(AssertUnwindSafe(|| share(&stop, &mut count))) {
        Err(payload) => Err(Error::Panicked(message(payload.as_ref()))),
        Ok(()) if stop.requested() => Err(Error::Cancelled),
        Ok(()) => Ok(()),
    }
}

/// [`run`] on a pool of its own.
fn run_leased(total: usize, watch: &mut Watch<'_>, share: &Share<'_>) -> Result<()> {
    let lease = PoolLease::take()?;
    let latch = Latch::new(lease.threads.min(total), total);
    let worker = || {
        share(&latch.stop, &mut || {
            latch.done.fetch_add(1, Ordering::Relaxed);
        });
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

/// Calls `work` on items, and `then` after each of them, until none is left or a stop is requested.
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

/// [`for_each`] with states that outlive the call. At most one thread per state works. `cycles` is the estimated total
/// cost on one thread.
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

/// Returns `work` of every item, in the order of the items.
///
/// # Errors
/// As [`for_each`].
pub fn map<I, R: Send>(
    items: impl Iterator<Item = I> + Send,
    load: Load,
    watch: &mut Watch<'_>,
    work: impl Fn(I, &Stop) -> R + Sync,
) -> Result<Vec<R>> {
    let mut results: Vec<Option<R>> = (0..load.items).map(|_| None).collect();
    let slots = results.iter_mut().zip(items);
    let fill = |(): &mut (), (slot, item): (&mut Option<R>, I), stop: &Stop| {
        *slot = Some(work(item, stop));
    };
    for_each(slots, load, watch, || (), fill)?;
    Ok(results.into_iter().flatten().collect())
}

/// Calls `work` on chunks of values, on all threads. `cycles` are the estimated cycles per value.
///
/// # Errors
/// As [`for_each`].
pub fn for_each_chunk<T: Send>(
    values: &mut [T],
    cycles: f64,
    watch: &mut Watch<'_>,
    work: impl Fn(&mut [T]) + Sync,
) -> Result<()> {
    const CHUNK: usize = 1 << 16;
    let load = Load::new(values.len().div_ceil(CHUNK), cycles * values.len() as f64);
    let chunks = values.chunks_mut(CHUNK);
    for_each(
        chunks,
        load,
        watch,
        || (),
        |(): &mut (), chunk, _| work(chunk),
    )
}

/// Locks a mutex. A panic elsewhere does not poison it: the loop reports the panic itself.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The message of a panic.
fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown panic".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::sync::atomic::AtomicUsize;
    use std::thread;
    use std::time::Duration;

    /// A loop worth waking threads for.
    fn load(items: usize) -> Load {
        Load::new(items, f64::INFINITY)
    }

    /// A loop that runs on the calling thread.
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
    fn breaking_the_watch_cancels_pending_and_running_items() {
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
        // The outer items end only after the inner call.
        let wait = |(): &mut (), _: usize, _: &Stop| {
            while !inner_done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(1));
            }
        };
        for_each(0..8, load(8), &mut watch, || (), wait).unwrap();
    }

    #[test]
    fn a_limited_call_runs_on_as_many_threads() {
        let before = limit_threads(1);
        let seen = Mutex::new(HashSet::new());
        let note = |(): &mut (), _: usize, _: &Stop| {
            lock(&seen).insert(thread::current().id());
            assert_eq!(num_threads(), Ok(1));
            thread::sleep(Duration::from_millis(1));
        };
        for_each(0..20, load(20), &mut unwatched, || (), note).unwrap();
        limit_threads(before);
        assert_eq!(lock(&seen).len(), 1);
    }

    #[test]
    fn the_last_report_says_that_all_items_are_done() {
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
}
