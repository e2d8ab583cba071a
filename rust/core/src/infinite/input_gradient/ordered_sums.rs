//! Sums over the tiles of each band of rows, in the order of their columns, whatever the order of the tasks.

use std::collections::BTreeMap;
use std::sync::Mutex;

use ndarray::Array3;

use super::DirectedInputs;
use crate::engine::pool::{AllFinite, lock};
use crate::engine::scalar::Scalar;
use crate::engine::tile::{Area, EDGE, Tile};
use crate::error::{Error, Result};
use crate::isa::{Block, Isa, Vector, Vectorized};

/// The sums of several results over some columns, for one band of rows.
#[derive(Clone, Debug, Default)]
pub(super) struct BandSums {
    /// For each result, the sums of tangential vectors, (rows, d).
    tiles: Vec<Tile>,
    /// For each result and each row, the factor of x̂.
    along: Vec<Vec<f64>>,
}

impl BandSums {
    /// Makes room for `results` results on `rows` rows. Their values are arbitrary.
    pub(super) fn reshape(&mut self, results: usize, rows: usize) {
        self.tiles.resize_with(results, Tile::default);
        self.along.resize_with(results, Vec::new);
        for along in &mut self.along {
            along.resize(rows, 0.0);
        }
    }

    /// The sums of tangential vectors of a result.
    pub(super) fn tile(&mut self, result: usize) -> &mut Tile {
        &mut self.tiles[result]
    }

    /// The factors of x̂ of a result.
    pub(super) fn along(&mut self, result: usize) -> &mut [f64] {
        &mut self.along[result]
    }

    /// Adds sums over later columns.
    fn add(&mut self, isa: Isa, other: &Self) {
        for (tile, other) in self.tiles.iter_mut().zip(&other.tiles) {
            for r in 0..other.shape()[0] {
                isa.run(AddTo {
                    sums: tile.row_blocks_mut(r),
                    terms: other.row_blocks(r),
                });
            }
        }
        for (along, other) in self.along.iter_mut().zip(&other.along) {
            along
                .iter_mut()
                .zip(other)
                .for_each(|(value, other)| *value += other);
        }
    }
}

/// Adds terms to sums.
struct AddTo<'a> {
    sums: &'a mut [Block],
    terms: &'a [Block],
}

impl Vectorized for AddTo<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for (sum, term) in self.sums.iter_mut().zip(self.terms) {
            (V::load(sum) + V::load(term)).store(sum);
        }
    }
}

/// One band of rows.
struct SumBand<'a, T> {
    /// The number of tiles that have been added.
    added: usize,
    total: BandSums,
    /// The sums of later tiles, which came too early.
    waiting: BTreeMap<usize, BandSums>,
    /// For each kernel, the rows of its result.
    targets: Vec<&'a mut [T]>,
}

/// The sums of all bands.
pub(super) struct OrderedSums<'a, T: Scalar> {
    isa: Isa,
    rows: &'a DirectedInputs<T>,
    /// The number of tiles of a band.
    tiles: usize,
    bands: Vec<Mutex<SumBand<'a, T>>>,
    finite: AllFinite,
}

impl<'a, T: Scalar> OrderedSums<'a, T> {
    /// Sums of nothing yet. `targets` are the results (N, d, O) of each kernel, in C order.
    pub(super) fn new(
        isa: Isa,
        rows: &'a DirectedInputs<T>,
        tiles: usize,
        targets: &'a mut [Array3<T>],
    ) -> Self {
        let band = || SumBand {
            added: 0,
            total: BandSums::default(),
            waiting: BTreeMap::new(),
            targets: Vec::new(),
        };
        let count = rows.inputs.len().div_ceil(EDGE);
        let mut bands: Vec<SumBand<'a, T>> = (0..count).map(|_| band()).collect();
        for target in targets {
            let length = EDGE * target.len() / rows.inputs.len().max(1);
            let values = target.as_slice_mut().unwrap_or_default();
            for (band, values) in bands.iter_mut().zip(values.chunks_mut(length.max(1))) {
                band.targets.push(values);
            }
        }
        Self {
            isa,
            rows,
            tiles,
            bands: bands.into_iter().map(Mutex::new).collect(),
            finite: AllFinite::new(),
        }
    }

    /// Adds the sums over a tile to those of its rows. The last one completes the rows of the results.
    pub(super) fn add(&self, area: &Area, sums: &BandSums) {
        let (index, tile) = (area.rows.start / EDGE, area.cols.start / EDGE);
        let band = &mut *lock(&self.bands[index]);
        if tile != band.added {
            band.waiting.insert(tile, sums.clone());
            return;
        }
        if tile == 0 {
            band.total = sums.clone();
        } else {
            band.total.add(self.isa, sums);
        }
        band.added += 1;
        while let Some(sums) = band.waiting.remove(&band.added) {
            band.total.add(self.isa, &sums);
            band.added += 1;
        }
        if band.added == self.tiles {
            self.complete(index * EDGE, band);
        }
    }

    /// Writes the results of a band of rows: `(sum + factor · x̂)/|x|`, scaled back from the rows' units.
    fn complete(&self, first: usize, band: &mut SumBand<'_, T>) {
        let BandSums { tiles, along } = std::mem::take(&mut band.total);
        let results = tiles.len() / band.targets.len().max(1);
        let features = self.rows.features();
        let mut finite = true;
        for (n, (tile, along)) in tiles.iter().zip(&along).enumerate() {
            let (kernel, result) = (n / results, n % results);
            let target = &mut band.targets[kernel];
            for (r, factor) in along.iter().enumerate() {
                let (scale, exponent) = self.rows.unit_over_norm(first + r);
                for (k, sum) in tile.row(r)[..features].iter().enumerate() {
                    let vector = sum + factor * self.rows.unit_entry(first + r, k);
                    let value = libm::scalbn(scale * vector, exponent);
                    finite &= value.is_finite();
                    target[(r * features + k) * results + result] = T::narrow(value);
                }
            }
        }
        self.finite.record(finite);
    }

    /// To be called after all tiles.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a result is not finite.
    pub(super) fn check(&self) -> Result<()> {
        let message = "the gradient leaves the range of float64: scale X, sigma_w or the weights";
        self.finite.check(|| Error::Invalid(message.into()))
    }
}
