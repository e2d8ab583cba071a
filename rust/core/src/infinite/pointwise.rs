//! Kernels of single pairs: the diagonal, and pairs given by their correlation.

use std::slice;

use crate::engine::pool::{self, Load, Stages, Stop, Watch, unwatched};
use crate::engine::scalar::Scalar;
use crate::engine::tile::Tile;
use crate::error::{Error, Result, Shortest};
use crate::infinite::error_bound::ErrorBound;
use crate::infinite::inputs::{Inputs, Packed};
use crate::infinite::normed_rows::NormedRows;
use crate::infinite::recursion::{
    BandPairs, Batch, Output, PairRecursion, PairState, PlaneRow, Profile, Recursion,
};
use crate::isa::{Isa, WIDTH};
use crate::math::double_double::DoubleDouble;

/// The number of inputs whose profile is kept at a time: it takes gigabytes for a hundred thousand inputs of a deep
/// network.
const BATCH: usize = 1 << 15;

/// The diagonal of one kernel, with the same bits as in the whole kernel. O(N·(d + layers)).
///
/// # Errors
/// [`Error::Cancelled`], [`Error::Panicked`]; as [`Recursion::profile`] and [`Isa::current`].
pub fn diagonal<T: Scalar>(
    recursion: &Recursion,
    packed: Packed<T>,
    output: Output,
    watch: &mut Watch<'_>,
) -> Result<Vec<f64>> {
    let own = OwnKernels::new(recursion, output)?;
    let mut values = vec![0.0; packed.len()];
    let shares = [
        recursion.profile_cycles(),
        WIDTH as f64 * recursion.cycles(),
    ];
    let then = |profile: &Profile, first: usize, normed: &NormedRows<T>, watch: &mut Watch<'_>| {
        let values = &mut values[first..first + profile.len()];
        own.write(profile, first, normed, values, watch)
    };
    by_batch(recursion, packed, shares, watch, then)?;
    Ok(values)
}

/// The same, for inputs whose recursion has been run. O(N·layers).
///
/// # Errors
/// As [`diagonal`].
pub fn diagonal_of_inputs<T: Scalar>(
    recursion: &Recursion,
    inputs: &Inputs<T>,
    output: Output,
    watch: &mut Watch<'_>,
) -> Result<Vec<f64>> {
    let mut values = vec![0.0; inputs.len()];
    let own = OwnKernels::new(recursion, output)?;
    own.write(&inputs.profile, 0, &inputs.normed, &mut values, watch)?;
    Ok(values)
}

/// One kernel between inputs and themselves.
struct OwnKernels<'a> {
    recursion: &'a Recursion,
    isa: Isa,
    outputs: [Output; 1],
}

impl<'a> OwnKernels<'a> {
    fn new(recursion: &'a Recursion, output: Output) -> Result<Self> {
        Ok(Self {
            recursion,
            isa: Isa::current()?,
            outputs: [output],
        })
    }

    /// Writes the kernels of the inputs of a profile, the first of which is input `first` of `normed`.
    fn write<T: Scalar>(
        &self,
        profile: &Profile,
        first: usize,
        normed: &NormedRows<T>,
        values: &mut [f64],
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let outputs = &self.outputs;
        let pairs = self.recursion.between(self.isa, profile, profile, outputs);
        pointwise(&pairs, values, |i| normed.own_gap(first + i), watch)
    }
}

/// A bound on the error of any kernel entry between the inputs, round-off excluded. O(N·(d + layers)).
///
/// # Errors
/// As [`diagonal`].
pub fn error_bound<T: Scalar>(
    recursion: &Recursion,
    packed: Packed<T>,
    watch: &mut Watch<'_>,
) -> Result<ErrorBound> {
    // The largest error of each activation: those of a pair may come from different batches.
    let mut missing = Vec::new();
    let shares = [recursion.profile_cycles(), 0.0];
    by_batch(recursion, packed, shares, watch, |profile, _, _, _| {
        missing.resize(profile.missing().len(), 0.0);
        let pairs = missing.iter_mut().zip(profile.missing());
        pairs.for_each(|(most, missing): (&mut f64, &f64)| *most = most.max(*missing));
        Ok(())
    })?;
    Ok(ErrorBound::of_network(&missing))
}

/// Calls `then` on the profiles of batches of inputs, one after the other, with the index of the first input of each.
/// `shares` are the estimated cycles per input of a profile, and of `then`.
fn by_batch<T: Scalar>(
    recursion: &Recursion,
    packed: Packed<T>,
    [profile, pairs]: [f64; 2],
    watch: &mut Watch<'_>,
    mut then: impl FnMut(&Profile, usize, &NormedRows<T>, &mut Watch<'_>) -> Result<()>,
) -> Result<()> {
    let (rows, argument) = (packed.len(), packed.argument);
    let firsts = (0..rows).step_by(BATCH);
    let norm = NormedRows::<T>::cycles(packed.features());
    let batches = firsts.clone().flat_map(|first| {
        let rows = BATCH.min(rows - first) as f64;
        [rows * profile, rows * pairs]
    });
    let shares: Vec<_> = [norm * rows as f64].into_iter().chain(batches).collect();
    let mut stages = Stages::new(watch, &shares);
    let normed = stages.next(|watch| packed.normed(watch))?;
    for first in firsts {
        let batch = Batch {
            first,
            rows: BATCH.min(rows - first),
            argument,
            single: T::SINGLE,
        };
        let root = |row| normed.root_mean_square(row);
        let profile = stages.next(|watch| recursion.profile(&batch, &root, watch))?;
        stages.next(|watch| then(&profile, first, &normed, watch))?;
    }
    Ok(())
}

/// One kernel of pairs of inputs, both with the norm `√(q n_0)`, for each of these correlations.
///
/// # Errors
/// [`Error::Invalid`] if a correlation is not in [−1, 1], or q is negative or not finite; as [`diagonal`].
pub fn scalar(
    recursion: &Recursion,
    rho: &[f64],
    q: f64,
    output: Output,
    watch: &mut Watch<'_>,
) -> Result<Vec<f64>> {
    let shares = [1.0, WIDTH as f64 * recursion.cycles()];
    let mut stages = Stages::new(watch, &shares);
    stages.next(|watch| check_correlations(rho, watch))?;
    if !(q.is_finite() && q >= 0.0) {
        let message = format!("q is {}, but must be >= 0 and finite", Shortest(q));
        return Err(Error::Invalid(message));
    }
    // All inputs have the same norm, so the profile of one band serves all bands.
    let (root, batch) = (DoubleDouble::from(q).sqrt(), Batch::whole(BAND, "rho"));
    let profile = recursion.profile(&batch, &|_| root, &mut unwatched)?;
    let outputs = [output];
    let pairs = recursion.between(Isa::current()?, &profile, &profile, &outputs);
    let gap = |i: usize| (1.0 - rho[i].abs()).copysign(rho[i]);
    let mut values = vec![0.0; rho.len()];
    stages.next(|watch| pointwise(&pairs, &mut values, gap, watch))?;
    Ok(values)
}

/// Checks that correlations are in [−1, 1].
fn check_correlations(rho: &[f64], watch: &mut Watch<'_>) -> Result<()> {
    let bands = rho.chunks(CHECKED);
    let load = Load::new(bands.len(), rho.len() as f64);
    let bad = |band: &[f64], _: &Stop| {
        let bad = band.iter().find(|rho| !(-1.0..=1.0).contains(*rho));
        bad.copied()
    };
    match pool::map(bands, load, watch, bad)?
        .into_iter()
        .flatten()
        .next()
    {
        None => Ok(()),
        Some(bad) => {
            let message = format!("rho holds {}, but must be in [-1, 1]", Shortest(bad));
            Err(Error::Invalid(message))
        }
    }
}

/// The number of correlations that one thread checks at a time.
const CHECKED: usize = 1 << 16;

/// The number of pairs that one thread computes at a time: a multiple of [`WIDTH`].
const BAND: usize = 1024;

/// Writes the only output of `recursion` for pairs of an input with itself, or with one of the same profile. `gap(i)` is
/// the gap of pair i. The inputs are those of the profile, over and over.
fn pointwise(
    recursion: &PairRecursion<'_>,
    values: &mut [f64],
    gap: impl Fn(usize) -> f64 + Sync,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let len = values.len();
    let bands = values.chunks_mut(BAND).enumerate();
    let load = Load::new(bands.len(), (WIDTH * len) as f64 * recursion.cycles());
    let scratch = || (PairState::default(), Tile::default());
    let work =
        |(state, tile): &mut (PairState, Tile), (band, values): (usize, &mut [f64]), _: &Stop| {
            tile.reshape(1, WIDTH);
            for (i, value) in (band * BAND..).zip(values) {
                let row = i % recursion.rows();
                let (rows, block) = (row..row + 1, row / WIDTH);
                let pairs = BandPairs {
                    rows,
                    blocks: block..block + 1,
                };
                let target = PlaneRow {
                    planes: slice::from_mut(tile),
                    row: 0,
                };
                // The whole block of columns is computed, and one of its lanes is used.
                let gaps = [[gap(i); WIDTH]];
                recursion.run(&pairs, |_| &gaps[..], state, target);
                *value = tile.row(0)[row % WIDTH];
            }
        };
    pool::for_each(bands, load, watch, scratch, work)
}
