//! Weighted sums of the derivatives of kernels with respect to their first input: `G_i = Σ_j W_ij ∂₁K(x_i, z_j)`.
//!
//! With unit vectors `x̂ = x/|x|`, the correlation ρ and `λ = log |x|`,
//!
//! ```text
//! |x| ∂₁K(x, z) = (∂K/∂ρ) (ẑ − ρ x̂) + (∂K/∂λ) x̂
//! ```
//!
//! A tile of both derivatives is computed at a time. Multiplied by the weights, the first one makes a product with a
//! packed tile of unit vectors, in the loops of [`product`]. The factors of x̂ are summed. Memory does not grow with N·M.
//!
//! At a kink, `∂K/∂ρ` grows like `1/√gap` while the tangential vector `ẑ − ρ x̂` shrinks like `√gap`, and sums of both
//! terms by themselves would lose digits. So pairs with gaps below [`CLOSE`] are left out of the product: `ẑ ∓ x̂` is
//! formed for each of them, in double-double precision. At a gap of 0 the vector vanishes, and with it the cusp.
//!
//! - `directed_inputs`: the inputs, with all that depends on one of them alone
//! - `weighting`: the factors of one row of pairs
//! - `close_pairs`: the pairs that are left out of the product
//! - `ordered_sums`: sums over tiles, in an order that does not depend on threads
//! - this file: the steps of one tile

mod close_pairs;
mod directed_inputs;
mod ordered_sums;
mod weighting;

use std::ops::Range;
use std::ptr;

use ndarray::{Array2, Array3, s};

use crate::engine::panel::PanelSlice;
use crate::engine::pool::{self, Load, Stop, Watch};
use crate::engine::scalar::Scalar;
use crate::engine::tile::{Area, EDGE, Tile, area_count, areas, product, product_cycles};
use crate::error::{Error, Result};
use crate::infinite::gap;
use crate::infinite::inputs::InputPairs;
use crate::infinite::recursion::{
    Output, PairSlopes, PlaneRow, Recursion, RowPairs, SLOPES, SlopeState,
};
use crate::isa::{Block, Isa, Lanes, WIDTH, blocks_of};

use close_pairs::{CloseScratch, CloseSquares};
use ordered_sums::{BandSums, OrderedSums};
use weighting::{WeightRow, fill_factors};

pub use directed_inputs::DirectedInputs;

/// Pairs with gaps of smaller size are left out of the product with unit vectors. Otherwise its error is at most
/// `√(2/CLOSE)` times that of a sum of the derivatives.
const CLOSE: f64 = 1.0 / 256.0;

/// The weights of the derivatives.
#[derive(Debug)]
pub enum Weights {
    /// One for each pair, (N, M).
    Pairs(Array2<f64>),
    /// The same for all rows: one for each column and each of O results, (M, O).
    Columns(Array2<f64>),
}

impl Weights {
    /// The weight of a pair in one of the results.
    fn at(&self, row: usize, col: usize, result: usize) -> f64 {
        match self {
            Self::Pairs(weights) => weights[[row, col]],
            Self::Columns(weights) => weights[[col, result]],
        }
    }

    /// The weights of a row and of these columns in one of the results. `column` is room for a column of a matrix.
    fn of_row<'a>(
        &'a self,
        row: usize,
        cols: &Range<usize>,
        result: usize,
        column: &'a mut Vec<f64>,
    ) -> &'a [f64] {
        let weights = match self {
            Self::Pairs(weights) => weights.row(row),
            Self::Columns(weights) => weights.column(result),
        };
        let part = weights.slice_move(s![cols.clone()]);
        if let Some(part) = part.to_slice() {
            return part;
        }
        column.clear();
        column.extend(part);
        column
    }

    /// The number of results.
    fn results(&self) -> usize {
        match self {
            Self::Pairs(_) => 1,
            Self::Columns(weights) => weights.ncols(),
        }
    }

    /// Checks the shape.
    ///
    /// # Errors
    /// [`Error::Shape`].
    fn check(&self, rows: usize, cols: usize) -> Result<()> {
        match self {
            Self::Pairs(weights) => Error::check_shape("weights", weights.shape(), &[rows, cols]),
            Self::Columns(weights) => {
                Error::check_shape("weights", weights.shape(), &[cols, weights.ncols()])
            }
        }
    }
}

/// Returns `Σ_j W_ij ∂₁K(x_i, z_j)`, (N, d, O), for each of `outputs`, which must be those of the last layer. If `rows`
/// and `cols` are the same batch, half of the kernel is computed.
///
/// Row i depends on row i of the inputs and of the weights, and on all columns, to the last bit. Memory: twice that of
/// the results, and (M, d).
///
/// # Errors
/// [`Error::Features`], [`Error::Shape`]; [`Error::Invalid`] if a result is not finite, [`Error::Cancelled`],
/// [`Error::Panicked`]; as [`Isa::current`].
pub fn input_gradient<T: Scalar>(
    recursion: &Recursion,
    [rows, cols]: [&DirectedInputs<T>; 2],
    outputs: &[Output],
    weights: &Weights,
    watch: &mut Watch<'_>,
) -> Result<Vec<Array3<T>>> {
    let inputs = InputPairs::new(&rows.inputs, &cols.inputs)?;
    let (count, features) = (rows.inputs.len(), rows.features());
    weights.check(count, cols.inputs.len())?;
    let shape = (count, features, weights.results());
    let mut results: Vec<Array3<T>> = outputs.iter().map(|_| Array3::default(shape)).collect();
    let isa = Isa::current()?;
    let task = TileTask {
        slopes: PairSlopes::new(
            recursion,
            isa,
            [rows.row_profile(), cols.column_profile()],
            outputs,
        ),
        inputs,
        sides: [rows, cols],
        weights,
        isa,
        symmetric: ptr::eq(rows, cols) && !rows.has_zeros(),
    };
    task.run(recursion, &mut results, watch)?;
    Ok(results)
}

/// The contribution of one tile of pairs. All tasks share it.
struct TileTask<'a, T: Scalar> {
    slopes: PairSlopes<'a>,
    inputs: InputPairs<'a, T>,
    sides: [&'a DirectedInputs<T>; 2],
    weights: &'a Weights,
    isa: Isa,
    /// True if rows and columns are the same, so that each pair serves twice.
    symmetric: bool,
}

/// Per-worker scratch space, reused between tiles.
#[derive(Debug, Default)]
struct GradientWorker {
    gaps: Tile,
    close: gap::Scratch,
    state: SlopeState,
    planes: Vec<Tile>,
    /// The gaps and the planes, with rows and columns exchanged.
    turned_gaps: Tile,
    turned_planes: Vec<Tile>,
    side: SideWorker,
}

/// The scratch space for the contributions of a tile to its rows.
#[derive(Debug, Default)]
struct SideWorker {
    /// The products of weights and units of one row.
    factors: Vec<Block>,
    /// The weights of one result, if they are not side by side.
    column: Vec<f64>,
    /// The factors of the unit vectors, and their transpose.
    weighted: Tile,
    turned: Tile,
    /// The factors in panels.
    lines: Vec<Lanes<f64, WIDTH>>,
    close: CloseScratch,
    sums: BandSums,
}

impl<T: Scalar> TileTask<'_, T> {
    /// Runs all tiles, and writes the results.
    fn run(
        &self,
        recursion: &Recursion,
        results: &mut [Array3<T>],
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let [rows, cols] = self.sides.map(|side| side.inputs.len());
        let products = (self.weights.results() * results.len()) as f64;
        let cycles = 4.0 * self.inputs.entry_cycles(recursion)
            + products * product_cycles(self.sides[0].features());
        let sums = OrderedSums::new(self.isa, self.sides[0], cols.div_ceil(EDGE), results);
        let tiles = area_count(rows, cols, EDGE, self.symmetric);
        let load = Load::new(tiles, cycles * (rows * cols) as f64);
        let work = |worker: &mut GradientWorker, area: Area, stop: &Stop| {
            self.tile(&area, worker, stop, &sums);
        };
        let areas = areas(rows, cols, EDGE, self.symmetric);
        pool::for_each(areas, load, watch, GradientWorker::default, work)?;
        sums.check()
    }

    /// Adds the contributions of one tile, and those of its mirror image.
    fn tile(
        &self,
        area: &Area,
        worker: &mut GradientWorker,
        stop: &Stop,
        sums: &OrderedSums<'_, T>,
    ) {
        self.differentiate(area, worker);
        let GradientWorker {
            gaps, planes, side, ..
        } = &mut *worker;
        let direct = planes.chunks(SLOPES).map(|planes| [&planes[0], &planes[1]]);
        self.side(area, gaps, direct, side, stop);
        if stop.requested() {
            return;
        }
        sums.add(area, &side.sums);
        if self.symmetric && area.is_above_diagonal() {
            let (rows, cols) = (area.cols.clone(), area.rows.clone());
            let mirrored = Area { rows, cols };
            self.mirrored(&mirrored, worker, stop);
            if !stop.requested() {
                sums.add(&mirrored, &worker.side.sums);
            }
        }
    }

    /// Computes the contributions to the rows of `mirrored`, the mirror image of the tile in `worker`.
    fn mirrored(&self, mirrored: &Area, worker: &mut GradientWorker, stop: &Stop) {
        let GradientWorker {
            gaps,
            planes,
            turned_gaps,
            turned_planes,
            side,
            ..
        } = worker;
        gaps.transpose(self.isa, turned_gaps);
        turned_planes.resize_with(planes.len(), Tile::default);
        for (plane, turned) in planes.iter().zip(&mut *turned_planes) {
            plane.transpose(self.isa, turned);
        }
        let planes = turned_planes.chunks(SLOPES);
        let planes = planes.map(|planes| [&planes[0], &planes[2]]);
        self.side(mirrored, turned_gaps, planes, side, stop);
    }

    /// Computes the gaps and all derivatives of a tile.
    fn differentiate(&self, area: &Area, worker: &mut GradientWorker) {
        let GradientWorker {
            gaps,
            close,
            state,
            planes,
            ..
        } = worker;
        self.inputs.gaps(self.isa, area, gaps, close);
        let blocks = blocks_of(&area.cols);
        planes.resize_with(self.slopes.planes(), Tile::default);
        for plane in &mut *planes {
            plane.reshape(area.rows.len(), area.cols.len());
        }
        for (r, row) in area.rows.clone().enumerate() {
            let gaps = &gaps.row_blocks(r)[..blocks.len()];
            let blocks = blocks.clone();
            let (pairs, target) = (RowPairs { row, blocks }, PlaneRow { planes, row: r });
            self.slopes.run(&pairs, gaps, state, target);
        }
    }

    /// Computes the contributions to the rows of `area`: `worker.sums`. `slopes` holds, for each kernel, `∂K/∂ρ` and
    /// `∂K/∂λ` of the rows.
    fn side<'t>(
        &self,
        area: &Area,
        gaps: &Tile,
        slopes: impl Iterator<Item = [&'t Tile; 2]> + Clone,
        worker: &mut SideWorker,
        stop: &Stop,
    ) {
        let results = self.weights.results();
        worker
            .sums
            .reshape(slopes.clone().count() * results, area.rows.len());
        for (kernel, slopes) in slopes.clone().enumerate() {
            for result in 0..results {
                if stop.requested() {
                    return;
                }
                let tiles = [gaps, slopes[0], slopes[1]];
                self.weigh(area, tiles, result, kernel * results + result, worker);
                self.multiply(area, kernel * results + result, worker);
            }
        }
        let squares = CloseSquares {
            isa: self.isa,
            area,
            sides: self.sides,
            gaps,
            weights: self.weights,
        };
        let SideWorker { close, sums, .. } = worker;
        squares.add(slopes.map(|[rho, _]| rho), close, sums);
    }

    /// Multiplies a tile of derivatives by the weights of a result. Sum `index` gets the factors of x̂, and
    /// `worker.weighted` those of the unit vectors of the columns. `tiles` are the gaps, `∂K/∂ρ` and `∂K/∂λ`.
    fn weigh(
        &self,
        area: &Area,
        tiles: [&Tile; 3],
        result: usize,
        index: usize,
        worker: &mut SideWorker,
    ) {
        let SideWorker {
            factors,
            column,
            weighted,
            sums,
            ..
        } = worker;
        let units = self.sides[1].unit_blocks(blocks_of(&area.cols));
        weighted.reshape(area.rows.len(), area.cols.len());
        for (r, row) in area.rows.clone().enumerate() {
            if r == 0 || matches!(self.weights, Weights::Pairs(_)) {
                let weights = self.weights.of_row(row, &area.cols, result, column);
                fill_factors(factors, weights, units);
            }
            sums.along(index)[r] = self.isa.run(WeightRow {
                tiles: tiles.map(|tile| &tile.row_blocks(r)[..factors.len()]),
                factors,
                weighted: weighted.row_blocks_mut(r),
            });
        }
    }

    /// Sets sum `index` to the product of `worker.weighted` and the unit vectors of the columns.
    fn multiply(&self, area: &Area, index: usize, worker: &mut SideWorker) {
        let SideWorker {
            weighted,
            turned,
            lines,
            sums,
            ..
        } = worker;
        weighted.transpose(self.isa, turned);
        lines.clear();
        for panel in 0..area.rows.len().div_ceil(WIDTH) {
            lines.extend((0..area.cols.len()).map(|c| Lanes(turned.row_blocks(c)[panel])));
        }
        let factors = PanelSlice::<f64>::new(lines, area.cols.len(), self.isa);
        let units = self.sides[1].unit_vectors(area.cols.start / EDGE);
        product(factors, units, sums.tile(index));
    }
}
