//! Kernels of single pairs: the diagonal, and pairs given by their correlation.

use std::slice;

use crate::engine::pool::{self, Load, Stop, Watch};
use crate::engine::scalar::Scalar;
use crate::engine::tile::Tile;
use crate::error::{Error, Result};
use crate::infinite::inputs::Inputs;
use crate::infinite::recursion::{Output, PairRecursion, PairState, PlaneRow, Recursion, RowPairs};
use crate::isa::{Isa, WIDTH};
use crate::math::double_double::DoubleDouble;

/// The diagonal of one kernel, with the same bits as in the whole kernel. O(N·(d + layers)).
///
/// # Errors
/// [`Error::Cancelled`], [`Error::Panicked`]; as [`Isa::current`].
pub fn diagonal<T: Scalar>(
    recursion: &Recursion,
    inputs: &Inputs<T>,
    output: Output,
    watch: &mut Watch<'_>,
) -> Result<Vec<f64>> {
    let (profile, outputs) = (&inputs.profile, [output]);
    let pairs = recursion.between(Isa::current()?, profile, profile, &outputs);
    let own_gap = |i: usize| inputs.normed.own_gap(i);
    pointwise(&pairs, inputs.len(), own_gap, watch)
}

/// One kernel of pairs of inputs, both with the norm `√(q n_0)`, for each of these correlations.
///
/// # Errors
/// [`Error::Invalid`] if a correlation is not in [−1, 1], or q is negative or not finite; as [`diagonal`] and
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
    // All inputs have the same norm, so the profile of one band serves all bands.
    let profile = recursion.profile(vec![DoubleDouble::from(q).sqrt(); BAND], "rho")?;
    let outputs = [output];
    let pairs = recursion.between(Isa::current()?, &profile, &profile, &outputs);
    let gap = |i: usize| (1.0 - rho[i].abs()).copysign(rho[i]);
    pointwise(&pairs, rho.len(), gap, watch)
}

/// The number of pairs that one thread computes at a time: a multiple of [`WIDTH`].
const BAND: usize = 1024;

/// The only output of `recursion` for `len` pairs of an input with itself, or with one of the same profile. `gap(i)` is
/// the gap of pair i. The inputs are those of the profile, over and over.
fn pointwise(
    recursion: &PairRecursion<'_>,
    len: usize,
    gap: impl Fn(usize) -> f64 + Sync,
    watch: &mut Watch<'_>,
) -> Result<Vec<f64>> {
    let mut values = vec![0.0; len];
    let bands = values.chunks_mut(BAND).enumerate();
    let load = Load::new(bands.len(), (WIDTH * len) as f64 * recursion.cycles());
    let scratch = || (PairState::default(), Tile::default());
    let work =
        |(state, tile): &mut (PairState, Tile), (band, values): (usize, &mut [f64]), _: &Stop| {
            tile.reshape(1, WIDTH);
            for (i, value) in (band * BAND..).zip(values) {
                let row = i % recursion.rows();
                let blocks = row / WIDTH..row / WIDTH + 1;
                let (pairs, planes) = (RowPairs { row, blocks }, slice::from_mut(tile));
                let target = PlaneRow { planes, row: 0 };
                // The whole block of columns is computed, and one of its lanes is used.
                recursion.run(&pairs, &mut [[gap(i); WIDTH]], state, target);
                *value = tile.row(0)[row % WIDTH];
            }
        };
    pool::for_each(bands, load, watch, scratch, work)?;
    Ok(values)
}
