//! Kernels of single pairs: the diagonal, and pairs given by their correlation.

use std::slice;

use crate::engine::pool::{self, Load, Stop, Watch};
use crate::engine::scalar::Scalar;
use crate::engine::tile::Tile;
use crate::error::{Error, Result};
use crate::infinite::inputs::Inputs;
use crate::infinite::recursion::{Output, PairState, Profile, Recursion};
use crate::isa::{Isa, WIDTH};
use crate::math::double_double::DoubleDouble;

/// The diagonal of one kernel, the bits that the whole kernel has there. O(N·(d + layers)).
///
/// # Errors
/// [`Error::Cancelled`], [`Error::Panicked`]; those of [`Isa::current`].
pub fn diagonal<T: Scalar>(
    recursion: &Recursion,
    inputs: &Inputs<T>,
    output: Output,
    watch: &mut Watch<'_>,
) -> Result<Vec<f64>> {
    let own_gap = |i: usize| inputs.normed.own_gap(i);
    let profile = &inputs.profile;
    pointwise(recursion, profile, inputs.len(), own_gap, output, watch)
}

/// One kernel of pairs of inputs that have the norm `√(q n_0)` and these correlations.
///
/// # Errors
/// [`Error::Invalid`] if a correlation is not in [−1, 1], or q is negative or not finite; those of [`diagonal`] and of
/// [`Recursion::profile`].
pub fn scalar(
    recursion: &Recursion,
    rho: &[f64],
    q: f64,
    output: Output,
    watch: &mut Watch<'_>,
) -> Result<Vec<f64>> {
    if let Some(bad) = rho.iter().find(|rho| !(-1.0..=1.0).contains(*rho)) {
        let message = format!("rho holds {bad}, but must be in [-1, 1]");
        return Err(Error::Invalid(message));
    }
    if !(q.is_finite() && q >= 0.0) {
        let message = format!("q is {q}, but must be >= 0 and finite");
        return Err(Error::Invalid(message));
    }
    // All inputs have one profile: that of a band of them serves every band.
    let profile = recursion.profile(vec![DoubleDouble::from(q).sqrt(); BAND], "rho")?;
    let gap = |i: usize| (1.0 - rho[i].abs()).copysign(rho[i]);
    pointwise(recursion, &profile, rho.len(), gap, output, watch)
}

/// Inputs that one thread takes at a time, whole blocks of them.
const BAND: usize = 1024;

/// One kernel of each input of a profile with itself, or with one that has its profile and this gap to it. Past its end
/// the profile begins anew.
fn pointwise(
    recursion: &Recursion,
    profile: &Profile,
    len: usize,
    gap: impl Fn(usize) -> f64 + Sync,
    output: Output,
    watch: &mut Watch<'_>,
) -> Result<Vec<f64>> {
    let outputs = [output];
    let pair_recursion = recursion.between(Isa::current()?, profile, profile, &outputs);
    let mut values = vec![0.0; len];
    let bands = values.chunks_mut(BAND).enumerate();
    let load = Load::new(bands.len(), (WIDTH * len) as f64 * recursion.cycles());
    let state = || (PairState::default(), Tile::default());
    let work =
        |(pairs, tile): &mut (PairState, Tile), (band, values): (usize, &mut [f64]), _: &Stop| {
            tile.reshape(1, WIDTH);
            for (i, value) in (band * BAND..).zip(values) {
                let (row, mut gaps) = (i % profile.len(), [[gap(i); WIDTH]]);
                let (block, plane) = (row / WIDTH, slice::from_mut(tile));
                pair_recursion.run(row, &(block..block + 1), &mut gaps, pairs, (plane, 0));
                *value = tile.row(0)[row % WIDTH];
            }
        };
    pool::for_each(bands, load, watch, state, work)?;
    Ok(values)
}
