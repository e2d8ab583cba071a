//! Progress of calls that consist of several stages.

use std::ops::ControlFlow;

use super::Watch;

/// The number of steps in which the progress of a call of several stages is counted.
pub const STEPS: usize = 10_000;

/// The stages of a call, one after the other. Each has a share of the work, so that progress never falls, and is
/// complete at the end of the last stage.
///
/// A stage may consist of stages itself.
pub struct Stages<'a> {
    watch: &'a mut Watch<'a>,
    shares: &'a [f64],
    index: usize,
}

impl<'a> Stages<'a> {
    /// Splits the progress that `watch` hears of. `shares` are the estimated cycles of each stage.
    pub fn new(watch: &'a mut Watch<'a>, shares: &'a [f64]) -> Self {
        Self {
            watch,
            shares,
            index: 0,
        }
    }

    /// Runs the next stage, which reports its own progress to the watch that it is given.
    ///
    /// # Panics
    /// If there are more stages than shares.
    pub fn next<R>(&mut self, stage: impl FnOnce(&mut Watch<'_>) -> R) -> R {
        let [start, end] = [self.index, self.index + 1].map(|count| self.place(count));
        self.index += 1;
        let watch = &mut *self.watch;
        stage(&mut |done, total| {
            let part = done as f64 / total.max(1) as f64;
            watch(start + ((end - start) as f64 * part) as usize, STEPS)
        })
    }

    /// The number of steps that the first `count` stages take.
    fn place(&self, count: usize) -> usize {
        let sum = |shares: &[f64]| shares.iter().sum::<f64>();
        if count == self.shares.len() {
            return STEPS;
        }
        // Not a number where no stage has any work: then this is 0.
        (STEPS as f64 * sum(&self.shares[..count]) / sum(self.shares)) as usize
    }
}

/// Returns a watch that reports the same progress again and again, during a stage without a share.
///
/// It serves a first stage that reads memory that user-supplied code may change, too: while nothing is done, that memory
/// is still being read.
pub fn fixed(
    done: usize,
    total: usize,
    watch: &mut Watch<'_>,
) -> impl FnMut(usize, usize) -> ControlFlow<()> {
    move |_, _| watch(done, total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::pool::unwatched;

    /// The reports of stages with these shares, each of which reports its start, its middle and its end.
    fn reports(shares: &[f64]) -> Vec<(usize, usize)> {
        let mut heard = Vec::new();
        let mut watch = |done, total| {
            heard.push((done, total));
            ControlFlow::Continue(())
        };
        let mut stages = Stages::new(&mut watch, shares);
        for _ in shares {
            assert!(stages.next(|watch| (0..3).all(|done| watch(done, 2).is_continue())));
        }
        heard
    }

    #[test]
    fn progress_never_falls_and_ends_complete() {
        let done: Vec<_> = reports(&[3.0, 0.0, 1.0])
            .into_iter()
            .map(|(done, _)| done)
            .collect();
        assert_eq!(done, [0, 3750, 7500, 7500, 7500, 7500, 7500, 8750, 10_000]);
        for shares in [&[0.0][..], &[0.0, 0.0], &[1e300, 1e-300, 1.0]] {
            let heard = reports(shares);
            assert!(heard.is_sorted() && heard.iter().all(|(_, total)| *total == STEPS));
            assert_eq!(heard.last(), Some(&(STEPS, STEPS)), "{shares:?}");
        }
    }

    #[test]
    fn stages_have_stages() {
        let mut heard = Vec::new();
        let mut watch = |done, _| {
            heard.push(done);
            ControlFlow::Continue(())
        };
        let mut outer = Stages::new(&mut watch, &[1.0, 1.0]);
        outer.next(|watch| {
            let mut inner = Stages::new(watch, &[1.0, 3.0]);
            assert!(inner.next(|watch| watch(1, 1)).is_continue());
            assert!(inner.next(|watch| watch(1, 1)).is_continue());
        });
        assert!(outer.next(|watch| watch(7, 7)).is_continue());
        assert_eq!(heard, [1250, 5000, 10_000]);
    }

    #[test]
    fn an_empty_stage_divides_by_nothing() {
        assert!(
            Stages::new(&mut unwatched, &[1.0])
                .next(|watch| watch(0, 0))
                .is_continue()
        );
    }
}
