//! The number of threads.

use std::cell::Cell;
use std::env;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::error::{Error, Result};

/// Environment variables that set the number of threads. The first one found counts.
const VARIABLES: [&str; 2] = ["NTKRS_NUM_THREADS", "RAYON_NUM_THREADS"];

/// A number of threads that can be set on every machine.
const ALWAYS: usize = 64;

/// The number set by [`set_num_threads`], or 0 if the environment decides.
static CHOSEN: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The most threads of a call made by this thread. A worker counts the threads of its pool.
    static LIMIT: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The largest number of threads: 64, or four for each processor that affinity and cgroup allow.
///
/// More threads than processors never make a call faster: they only cost the time and memory to start them. The room
/// above is for tests and for processes whose affinity is widened later.
pub fn max_num_threads() -> usize {
    processors().saturating_mul(4).max(ALWAYS)
}

/// Sets the number of threads of later calls in this process.
///
/// # Errors
/// [`Error::Invalid`] for 0, or for more than [`max_num_threads`].
pub fn set_num_threads(count: usize) -> Result<()> {
    if count == 0 {
        return Err(Error::Invalid(
            "the number of threads must be at least 1, but 0 was given".into(),
        ));
    }
    check_number("the number of threads", count)?;
    CHOSEN.store(count, Ordering::Relaxed);
    Ok(())
}

/// Checks that `count` threads are not too many. `what` names the number.
fn check_number(what: &str, count: usize) -> Result<()> {
    // Asking for the number of processors takes tens of microseconds.
    if count <= ALWAYS || count <= max_num_threads() {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "{what} is {count}, but at most {} can be set here: four for each of {} processors, or {ALWAYS}. More threads \
         than processors make nothing faster.",
        max_num_threads(),
        processors()
    )))
}

/// The number of processors that affinity and cgroup allow.
fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Limits the threads of all calls that this thread makes from now on, and returns the limit before, which is
/// `usize::MAX` at first. Calls of other threads are not affected. A limit of 0 counts as 1.
pub fn limit_threads(count: usize) -> usize {
    LIMIT.replace(count.max(1))
}

/// The number of threads that a call made now would use. It is the number set by [`set_num_threads`], or else that of
/// the environment variables `NTKRS_NUM_THREADS` and `RAYON_NUM_THREADS`, or else as many as affinity and cgroup allow;
/// but at most the limit of this thread.
///
/// # Errors
/// [`Error::Invalid`] if the environment variable that counts is not a number, or exceeds [`max_num_threads`].
pub fn num_threads() -> Result<usize> {
    let count = match CHOSEN.load(Ordering::Relaxed) {
        0 => from_environment()?,
        count => count,
    };
    Ok(count.min(LIMIT.get()))
}

fn from_environment() -> Result<usize> {
    for variable in VARIABLES {
        let Some(value) = env::var_os(variable).filter(|value| !value.is_empty()) else {
            continue;
        };
        return match value.to_str().map(str::trim).map(str::parse) {
            // In rayon 0 means "choose for me", and so it does here.
            Some(Ok(0)) => continue,
            Some(Ok(count)) => {
                check_number(&format!("the environment variable {variable}"), count).map(|()| count)
            }
            _ => Err(Error::Invalid(format!(
                "the environment variable {variable} is {value:?}, but a number of threads is needed. \
                 Unset it, or set it to a positive integer."
            ))),
        };
    }
    Ok(processors())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_threads_are_an_error() {
        assert!(set_num_threads(0).is_err());
    }

    #[test]
    fn a_limit_is_that_of_one_thread() {
        let free = num_threads().unwrap();
        assert_eq!(limit_threads(1), usize::MAX);
        assert_eq!(num_threads().unwrap(), 1);
        assert_eq!(thread::spawn(num_threads).join().unwrap().unwrap(), free);
        assert_eq!(limit_threads(0), 1);
        assert_eq!(limit_threads(usize::MAX), 1);
        assert_eq!(num_threads().unwrap(), free);
    }

    #[test]
    fn too_many_threads_are_an_error() {
        let most = max_num_threads();
        assert!(most >= 64 && most >= 4 * processors());
        assert!(check_number("n", most).is_ok());
        let error = check_number("n", most + 1).unwrap_err().to_string();
        assert!(error.contains(&format!("at most {most}")), "{error}");
        assert!(set_num_threads(usize::MAX).is_err());
    }
}
