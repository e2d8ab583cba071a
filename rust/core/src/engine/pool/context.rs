//! Where the loops of a thread run: on threads of their own, on it alone, or on those of the crew it is of.

use std::cell::RefCell;
use std::mem;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::idle::Crew;
use super::latch::Shift;
use super::{QUICK, Stop, Watch, lock, message, unwatched, work_off};
use crate::error::{Error, Result};

/// Where the loops of a thread run.
#[derive(Clone)]
pub(super) enum Place {
    /// On the threads of a crew of their own.
    Apart,
    /// On this thread.
    Alone,
    /// On the threads of the crew that this thread is of, until these are to stop.
    Aboard(Arc<Stop>),
}

thread_local! {
    static PLACE: RefCell<Place> = const { RefCell::new(Place::Apart) };
}

/// Where the loops of this thread run.
pub(super) fn here() -> Place {
    PLACE.with_borrow(Place::clone)
}

/// Runs `part` with its parallel loops there.
fn at<R>(place: Place, part: impl FnOnce() -> R) -> R {
    /// Restores the place from before, after a panic too.
    struct Restore(Place);
    impl Drop for Restore {
        fn drop(&mut self) {
            PLACE.set(mem::replace(&mut self.0, Place::Apart));
        }
    }
    let _restore = Restore(PLACE.replace(place));
    part()
}

/// Runs `part` with all its parallel loops on this thread alone: for workers of an outer loop.
pub fn alone<R>(part: impl FnOnce() -> R) -> R {
    at(Place::Alone, part)
}

/// Runs `part`, of many loops one after another, on one of the threads that these run on, so that none has to be woken for
/// each of them. It takes about so many `cycles`, and must not call what is the calling thread's alone. This waits, and
/// watches: what `part` tells the watch that it is given is passed on every 50 ms.
///
/// # Errors
/// As [`for_each`]; those of `part`.
pub fn aboard<R: Send>(
    cycles: f64,
    watch: &mut Watch<'_>,
    part: impl FnOnce(&mut Watch<'_>) -> Result<R> + Send,
) -> Result<R> {
    if cycles < QUICK || !matches!(here(), Place::Apart) {
        return part(watch);
    }
    let crew = Crew::take()?;
    let shift = Shift::new(1, 0);
    let mut result = Err(Error::Cancelled);
    crew.pool.in_place_scope(|scope| {
        scope.spawn(|_| {
            let mut tell = |done, total| {
                shift.done.store(done, Ordering::Relaxed);
                shift.total.store(total, Ordering::Relaxed);
                if shift.stop.requested() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            };
            let place = Place::Aboard(Arc::clone(&shift.stop));
            let run = || result = at(place, || part(&mut tell));
            shift.end(catch_unwind(AssertUnwindSafe(run)));
        });
        shift.wait(watch);
    });
    crew.give_back();
    match (shift.outcome(), result) {
        // Why it stopped.
        (Err(Error::Cancelled), Err(error)) => Err(error),
        (outcome, result) => outcome.and(result),
    }
}

/// [`for_each`] on the threads of the crew that this thread is of. It works too, and watches after each of its items.
pub(super) fn for_each_aboard<I, S>(
    items: impl Iterator<Item = I> + Send,
    total: usize,
    stop: &Stop,
    watch: &mut Watch<'_>,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, I, &Stop) + Sync,
) -> Result<()> {
    let (items, done) = (Mutex::new(items), AtomicUsize::new(0));
    let panic = Mutex::new(None);
    let worker = |watch: &mut Watch<'_>| {
        let count = || {
            if watch(done.fetch_add(1, Ordering::Relaxed) + 1, total).is_break() {
                stop.request();
            }
        };
        let all = || work_off(&items, stop, &mut state(), &work, count);
        if let Err(payload) = catch_unwind(AssertUnwindSafe(all)) {
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
        None if stop.requested() => Err(Error::Cancelled),
        None => Ok(()),
    }
}
