//! A flag that the workers of one loop share: no value so far was NaN or an infinity.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// True until a worker reports a value that is not finite.
#[derive(Debug)]
pub struct AllFinite(AtomicBool);

impl AllFinite {
    /// A flag that is still true.
    pub fn new() -> Self {
        Self(AtomicBool::new(true))
    }

    /// Reports whether all values of one item of the loop are finite.
    pub fn record(&self, finite: bool) {
        if !finite {
            self.0.store(false, Ordering::Relaxed);
        }
    }

    /// To be called after the loop.
    ///
    /// # Errors
    /// `error()` if some value was not finite.
    pub fn check(&self, error: impl FnOnce() -> Error) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err(error())
        }
    }
}

impl Default for AllFinite {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_item_is_enough() {
        let finite = AllFinite::new();
        finite.record(true);
        assert_eq!(finite.check(|| Error::Cancelled), Ok(()));
        finite.record(false);
        finite.record(true);
        assert_eq!(finite.check(|| Error::Cancelled), Err(Error::Cancelled));
    }
}
