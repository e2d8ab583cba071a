//! The number of threads.

use std::env;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::error::{Error, Result};

/// Environment variables that set the number of threads. The first one found counts.
const VARIABLES: [&str; 2] = ["NTKRS_NUM_THREADS", "RAYON_NUM_THREADS"];

/// The number set by [`set_num_threads`], or 0 if the environment decides.
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

/// The number of threads that a call made now would use. It is the number set by [`set_num_threads`], or else that of
/// the environment variables `NTKRS_NUM_THREADS` and `RAYON_NUM_THREADS`, or else as many as affinity and cgroup allow.
///
/// # Errors
/// [`Error::Invalid`] if the environment variable that counts is not a number.
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
            // In rayon 0 means "choose for me", and so it does here.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_threads_are_an_error() {
        assert!(set_num_threads(0).is_err());
    }
}
