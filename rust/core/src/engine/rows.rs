//! Numbers of each row of a batch, computed band by band on all threads.

use std::ops::Range;

use crate::engine::pool::{self, Load, Stages, Watch};
use crate::error::Result;
use crate::isa::Blocks;

/// The number of rows in a band: whole blocks.
const BAND: usize = 256;

/// The numbers of some rows: a list with one value per row, and several lists of numbers in blocks.
pub type Numbers<R> = (Vec<R>, Vec<Blocks>);

/// Returns the numbers of `rows` rows. `band` computes those of a band, which depend on each row alone. `cycles` are the
/// estimated cycles per row.
///
/// # Errors
/// The error of the first band that has one; as [`pool::for_each`].
pub fn per_row<R: Copy + Send + Sync>(
    rows: usize,
    cycles: f64,
    watch: &mut Watch<'_>,
    band: &(dyn Fn(Range<usize>) -> Result<Numbers<R>> + Sync),
) -> Result<Numbers<R>> {
    let mut stages = Stages::new(watch, &[10.0, 1.0]);
    let count = rows.div_ceil(BAND);
    let bands = (0..count).map(|index| index * BAND..rows.min((index + 1) * BAND));
    let load = Load::new(count, cycles * rows as f64);
    let parts = stages.next(|watch| pool::map(bands, load, watch, |rows, _| band(rows)))?;
    let parts = parts.into_iter().collect::<Result<Vec<_>>>()?;
    if count < 2 {
        return match parts.into_iter().next() {
            Some(part) => Ok(part),
            None => band(0..0),
        };
    }
    stages.next(|watch| join(&parts, rows, watch))
}

/// Joins the numbers of all bands.
fn join<R: Copy + Send + Sync>(
    parts: &[Numbers<R>],
    rows: usize,
    watch: &mut Watch<'_>,
) -> Result<Numbers<R>> {
    let lists = parts[0].1.len();
    let load = Load::new(lists + 1, (2 * rows * (lists + 1)) as f64);
    let joined = pool::map(0..=lists, load, watch, |index, stop| {
        let parts = parts.iter().take_while(|_| !stop.requested());
        match index.checked_sub(1) {
            None => (parts.flat_map(|part| &part.0).copied().collect(), None),
            Some(list) => (
                Vec::new(),
                Some(Blocks::join(parts.map(|part| &part.1[list]))),
            ),
        }
    })?;
    let (mut values, blocks): (Vec<Vec<R>>, Vec<_>) = joined.into_iter().unzip();
    Ok((
        values.swap_remove(0),
        blocks.into_iter().flatten().collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::pool::unwatched;
    use crate::error::Error;

    #[test]
    fn numbers_come_in_the_order_of_their_rows() {
        for rows in [0, 1, BAND, 5 * BAND + 3] {
            for cycles in [0.0, 1e9] {
                let band = |rows: Range<usize>| {
                    let numbers =
                        |factor: f64| rows.clone().map(|row| factor * row as f64).collect();
                    Ok((rows.clone().collect(), vec![numbers(2.0), numbers(3.0)]))
                };
                let (values, lists) = per_row(rows, cycles, &mut unwatched, &band).unwrap();
                assert!(values.into_iter().eq(0..rows));
                for (list, factor) in lists.iter().zip([2.0, 3.0]) {
                    assert!(list.iter().eq((0..rows).map(|row| factor * row as f64)));
                    let last = factor * rows.saturating_sub(1) as f64;
                    let filling = &list.blocks().as_flattened()[rows..];
                    assert!(filling.iter().all(|value| *value == last));
                }
                assert_eq!(lists.len(), 2);
            }
        }
    }

    #[test]
    fn the_error_is_that_of_the_first_band() {
        let band = |rows: Range<usize>| -> Result<Numbers<f64>> {
            let (argument, row) = ("X", rows.start);
            if row > 0 {
                return Err(Error::Overflow { argument, row });
            }
            Ok((Vec::new(), Vec::new()))
        };
        let error = per_row(9 * BAND, 1e9, &mut unwatched, &band).unwrap_err();
        let (argument, row) = ("X", BAND);
        assert_eq!(error, Error::Overflow { argument, row });
    }
}
