//! A symmetric matrix that is stored, in memory or in a file, as a kernel: its tiles are read instead of computed.

use std::ops::Range;

use ndarray::{Array2, ArrayView1, ArrayView2, Axis, concatenate, s};

use crate::engine::multiply::{Half, Pair, ProductSums, Vectors};
use crate::engine::packed_layout::Halves;
use crate::engine::pool::{Stages, Stop, Watch};
use crate::engine::scalar::Scalar;
use crate::engine::tile::{Area, EDGE, Tile, TileKernel};
use crate::error::{Error, Result};
use crate::isa::{Isa, Vector, Vectorized, prefetch};

/// The number of bands of either half of the matrix.
const BANDS: usize = 8;

/// The number of rows that are read and multiplied at a time, while they stay in L1.
const STRIP: usize = EDGE / 4;

/// Some rows of a symmetric matrix (N, N): rows j of its first half and rows h + j of its second, for a range of j. All rows
/// and columns are at the positions of [`Halves`].
#[derive(Debug)]
pub struct Stored<'a, T: Scalar> {
    halves: Halves,
    rows: Range<usize>,
    entries: RowStorage<'a, T>,
    isa: Isa,
}

/// The entries of these rows.
#[derive(Debug)]
enum RowStorage<'a, T> {
    /// Rows of the packed array.
    Packed { values: &'a [T], first: usize },
    /// Rows j of the matrix, and rows h + j.
    Square([ArrayView2<'a, T>; 2]),
}

impl<'a, T: Scalar> Stored<'a, T> {
    /// The rows from j = `start` on of a matrix of this order. `upper` are rows of the packed array; with `lower` they are
    /// rows j of the matrix itself, and `lower` rows h + j of it.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::Invalid`] if they are not; as [`Isa::current`].
    pub fn new(
        order: usize,
        start: usize,
        upper: ArrayView2<'a, T>,
        lower: Option<ArrayView2<'a, T>>,
    ) -> Result<Self> {
        let halves = Halves::new(order);
        let (layout, len) = (halves.layout(), upper.nrows());
        let rows = start..start.saturating_add(len);
        if !start.is_multiple_of(EDGE) || rows.end > layout.rows() {
            let message = format!(
                "rows of a stored matrix begin at a multiple of {EDGE} and end at {}, but these are {rows:?}",
                layout.rows()
            );
            return Err(Error::Invalid(message));
        }
        let entries = if let Some(lower) = lower {
            Error::check_shape("K", upper.shape(), &[len, order])?;
            Error::check_shape("K", lower.shape(), &[len, order])?;
            RowStorage::Square([upper, lower])
        } else {
            Error::check_shape("the packed K", upper.shape(), &[len, layout.cols()])?;
            let Some(values) = upper.to_slice() else {
                let message = "the packed K is not contiguous in C order";
                return Err(Error::Invalid(message.into()));
            };
            let first = start * layout.cols();
            RowStorage::Packed { values, first }
        };
        let isa = Isa::current()?;
        Ok(Self {
            halves,
            rows,
            entries,
            isa,
        })
    }

    /// All rows of a square matrix.
    ///
    /// # Errors
    /// [`Error::Shape`] if it is not square; as [`Isa::current`].
    pub fn whole(matrix: ArrayView2<'a, T>) -> Result<Self> {
        let order = matrix.nrows();
        Error::check_shape("K", matrix.shape(), &[order, order])?;
        let (upper, lower) = (
            matrix.split_at(Axis(0), order.div_ceil(2)).0,
            matrix.split_at(Axis(0), order / 2).1,
        );
        Self::new(order, 0, upper, Some(lower))
    }

    /// The positions of the rows.
    fn positions(&self) -> [Range<usize>; 2] {
        let second = self.halves.second();
        let end = self.rows.end.next_multiple_of(EDGE);
        [0, second].map(|half| half + self.rows.start..half + end)
    }

    /// The entries at one position of a row and consecutive positions of columns, which are stored side by side.
    fn entries(&self, row: usize, cols: &Range<usize>) -> ArrayView1<'_, T> {
        let (i, j) = (self.halves.row(row), self.halves.row(cols.start));
        match &self.entries {
            RowStorage::Packed { values, first } => {
                let start = self.halves.layout().offset(i, j) - first;
                ArrayView1::from(&values[start..start + cols.len()])
            }
            RowStorage::Square(halves) => {
                let half = usize::from(row >= self.halves.second());
                let local = row - half * self.halves.second() - self.rows.start;
                halves[half].slice(s![local, j..j + cols.len()])
            }
        }
    }

    /// Writes these entries.
    fn read(&self, row: usize, cols: &Range<usize>, target: &mut [f64]) {
        let source = self.entries(row, cols);
        if let Some(source) = source.to_slice() {
            self.isa.run(Widen { source, target });
        } else {
            let pairs = target.iter_mut().zip(source);
            pairs.for_each(|(target, source)| *target = source.widen());
        }
    }
}

impl<T: Scalar> TileKernel for Stored<'_, T> {
    type Scratch = ();

    fn rows(&self) -> usize {
        self.halves.len()
    }

    fn cols(&self) -> usize {
        self.halves.len()
    }

    fn planes(&self) -> usize {
        1
    }

    fn entry_cycles(&self) -> f64 {
        1.0
    }

    fn strip(&self) -> usize {
        STRIP
    }

    fn prefetch(&self, area: &Area) {
        let cols = self.halves.occupied(&area.cols);
        if cols.is_empty() {
            return;
        }
        for row in self.halves.occupied(&area.rows) {
            if let Some(entries) = self.entries(row, &cols).to_slice() {
                prefetch(entries);
            }
        }
    }

    /// Reads a tile, or some rows of one: in the first half on or above the diagonal, in the second on or below it.
    fn compute(&self, area: &Area, (): &mut (), planes: &mut [Tile], _: &Stop) {
        let (tile, rows) = (&mut planes[0], self.halves.occupied(&area.rows));
        let (cols, second) = (self.halves.occupied(&area.cols), self.halves.second());
        let diagonal = area.rows.start == area.cols.start;
        tile.reshape(area.rows.len(), area.cols.len());
        for (r, row) in area.rows.clone().enumerate() {
            let target = tile.row_mut(r);
            let cols = match (diagonal, row < second) {
                (false, _) => cols.clone(),
                (true, true) => row..cols.end.max(row),
                (true, false) => cols.start..cols.end.min(row + 1).max(cols.start),
            };
            if cols.is_empty() || !rows.contains(&row) {
                target.fill(0.0);
                continue;
            }
            let [from, to] = [cols.start, cols.end].map(|col| col - area.cols.start);
            target[..from].fill(0.0);
            target[to..].fill(0.0);
            self.read(row, &cols, &mut target[from..to]);
        }
        if diagonal {
            complete(tile, area.rows.start < second);
        }
    }
}

/// Mirrors the entries of a tile above its diagonal, or below it.
fn complete(tile: &mut Tile, above: bool) {
    for r in 0..tile.shape()[0] {
        for c in 0..r {
            let (from, to) = if above {
                ((c, r), (r, c))
            } else {
                ((r, c), (c, r))
            };
            let value = tile.row(from.0)[from.1];
            tile.row_mut(to.0)[to.1] = value;
        }
    }
}

/// `target = source`, exactly.
struct Widen<'a, T> {
    source: &'a [T],
    target: &'a mut [f64],
}

impl<T: Scalar> Vectorized for Widen<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let pairs = self.target.iter_mut().zip(self.source);
        pairs.for_each(|(target, source)| *target = source.widen());
    }
}

/// The product K V of a stored matrix with vectors V (N, r), from its rows piece by piece.
///
/// Each half is cut into [`BANDS`] bands. Rows of band b of a file hold the pairs of bands (b, c) for c ≥ b, and in the
/// second half (b, c) for c ≤ b. Each pair has sums of its own, to which pieces add their tiles in ascending order, and which
/// are added at the end: the bits depend neither on pieces nor on threads.
pub struct StoredProduct {
    halves: Halves,
    sums: ProductSums,
}

impl StoredProduct {
    /// Sums of nothing yet, for a matrix of this order.
    ///
    /// # Errors
    /// [`Error::Shape`] if V does not have one row per column of K; as [`Isa::current`].
    pub fn new(order: usize, vectors: ArrayView2<'_, f64>) -> Result<Self> {
        Error::check_shape("V", vectors.shape(), &[order, vectors.ncols()])?;
        let halves = Halves::new(order);
        let mut placed = Array2::zeros((halves.len(), vectors.ncols()));
        for (row, vector) in vectors.rows().into_iter().enumerate() {
            placed.row_mut(halves.position(row)).assign(&vector);
        }
        let sums = ProductSums::new(pairs(halves), Vectors::new(placed.view()), EDGE)?;
        Ok(Self { halves, sums })
    }

    /// N.
    pub fn order(&self) -> usize {
        self.halves.layout().order()
    }

    /// Adds the products of some rows. Pieces come once each, in ascending order.
    ///
    /// # Errors
    /// [`Error::Cancelled`], [`Error::Panicked`]; the sums must not be used then.
    pub fn add<T: Scalar>(&self, rows: &Stored<'_, T>, watch: &mut Watch<'_>) -> Result<()> {
        let cycles = self.cycles(rows.rows.len());
        let positions = rows.positions();
        Stages::new(watch, &[cycles]).next(|watch| self.sums.add(rows, &positions, cycles, watch))
    }

    /// Estimated cycles of [`StoredProduct::add`] for this number of rows.
    pub fn cycles(&self, rows: usize) -> f64 {
        let entries = rows as f64 * self.halves.len() as f64;
        entries * (1.0 + 0.25 * self.sums.count() as f64)
    }

    /// Returns the product, (N, r).
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is not finite, [`Error::Cancelled`], [`Error::Panicked`].
    pub fn total(&self, watch: &mut Watch<'_>) -> Result<Array2<f64>> {
        let halves = self.halves;
        let total = self.sums.total(halves.len(), watch)?;
        let second = halves.second();
        let parts = [0..second, second..halves.len()].map(|half| halves.occupied(&half));
        let parts = parts.map(|rows| total.slice_axis(Axis(0), rows.into()));
        concatenate(Axis(0), &parts).map_err(|error| Error::Invalid(error.to_string()))
    }
}

/// The pairs of bands, those of each band of file rows after each other.
fn pairs(halves: Halves) -> Vec<Pair> {
    let (len, second) = (halves.second(), halves.second());
    let edge = (len / EDGE).div_ceil(BANDS).max(1) * EDGE;
    let bands = |half: usize, rows: Range<usize>| {
        rows.step_by(edge)
            .map(move |start| half + start..half + len.min(start + edge))
    };
    let mut pairs = Vec::new();
    for start in (0..len).step_by(edge) {
        let end = len.min(start + edge);
        for cols in bands(0, start..len).chain(bands(second, 0..len)) {
            let rows = start..end;
            pairs.push(Pair::new(Area { rows, cols }, Half::Upper));
        }
        for cols in bands(second, 0..end) {
            let rows = second + start..second + end;
            pairs.push(Pair::new(Area { rows, cols }, Half::Lower));
        }
    }
    pairs
}

#[cfg(test)]
mod tests;
