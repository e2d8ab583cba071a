//! User-supplied activations, applied to a whole layer on the calling thread: no worker may call them.

use super::{store_unit, too_large};
use crate::activations::activation::Smooth;
use crate::engine::panel::Panels;
use crate::engine::pool::Watch;
use crate::engine::scalar::{Line, Scalar, all_fit};
use crate::error::{Error, Result};

/// The number of values per call: enough to make the cost of the call itself small, and few enough that they stay in cache
/// and the call returns soon.
const CALL: usize = 1 << 16;

/// Replaces pre-activations by φ and writes φ', one row per sample.
///
/// # Errors
/// The errors of the function, [`Error::TooLarge`] and [`Error::Cancelled`].
pub(super) fn apply<T: Scalar>(
    function: &dyn Smooth,
    values: &mut Panels<T>,
    slopes: &mut Panels<T>,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let (samples, units) = (values.rows(), values.depth());
    let panels = (CALL / (Panels::<T>::LANES * units)).max(1);
    let size = panels * Panels::<T>::LANES;
    let (mut h, mut slope) = (Vec::new(), Vec::new());
    let chunks = values.chunks_mut(panels).zip(slopes.chunks_mut(panels));
    for (chunk, (values, slopes)) in chunks.enumerate() {
        let count = size.min(samples - chunk * size);
        // One row per unit.
        h.clear();
        for unit in 0..units {
            let lines = values.iter().skip(unit).step_by(units);
            let lanes = lines.flat_map(|line| line.lanes());
            h.extend(lanes.take(count).map(|value| value.widen()));
        }
        slope.resize(h.len(), 0.0);
        function.evaluate(&mut h, &mut slope)?;
        if !(all_fit::<T>(&h) && all_fit::<T>(&slope)) {
            return Err(too_large::<T>());
        }
        let rows = h.chunks(count).zip(slope.chunks(count));
        for (unit, (value, slope)) in rows.enumerate() {
            store_unit::<T>(values, units, unit, value);
            store_unit::<T>(slopes, units, unit, slope);
        }
        if watch(samples.min((chunk + 1) * size), samples).is_break() {
            return Err(Error::Cancelled);
        }
    }
    Ok(())
}
