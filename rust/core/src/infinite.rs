//! The NNGP and NTK of infinitely wide networks, all layers of a tile at once.

use std::{ptr, slice};

use crate::bound::Bound;
use crate::directions::Directions;
use crate::engine::panel::Panels;
use crate::engine::pool::{self, Load, Stop, Watch};
use crate::engine::scalar::Scalar;
use crate::engine::tile::{Area, Tile, TileKernel, product, product_cycles};
use crate::error::{Error, Result};
use crate::gap::{self, gaps};
use crate::isa::{Isa, WIDTH, blocks_of};
use crate::math::double_double::DoubleDouble;
use crate::recursion::{Output, Pairs, Pass, Profile, Recursion};

use ndarray::ArrayView2;

/// Packed inputs with all that the recursion knows of them one by one.
#[derive(Debug)]
pub struct Inputs<T: Scalar> {
    directions: Directions<T>,
    pub(crate) profile: Profile,
}

/// Packed inputs: all that is to be taken while nobody else may change them.
#[derive(Debug)]
pub struct Packed<T: Scalar> {
    rows: Panels<T>,
    exponents: Vec<i32>,
    argument: &'static str,
}

impl<T: Scalar> Packed<T> {
    /// Packs (N, d) inputs. O(N·d).
    ///
    /// # Errors
    /// [`Error::NotFinite`], [`Error::NoFeatures`], [`Error::Memory`]; those of [`pool::for_each`].
    pub fn new(x: ArrayView2<'_, T>, argument: &'static str) -> Result<Self> {
        if x.ncols() == 0 {
            return Err(Error::NoFeatures { argument });
        }
        let (rows, exponents) = Panels::pack_scaled(x, argument)?;
        Ok(Self {
            rows,
            exponents,
            argument,
        })
    }
}

impl<T: Scalar> Inputs<T> {
    /// Runs the recursion along the diagonal of the inputs. O(N·d + N·layers).
    ///
    /// # Errors
    /// Those of [`pool::for_each`] and of [`Recursion::profile`].
    pub fn new(recursion: &Recursion, packed: Packed<T>) -> Result<Self> {
        let directions = Directions::new(packed.rows, &packed.exponents)?;
        Ok(Self {
            profile: recursion.profile(directions.root_mean_squares(), packed.argument)?,
            directions,
        })
    }

    /// The number of inputs.
    pub fn len(&self) -> usize {
        self.directions.rows().rows()
    }

    /// Whether there is no input.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How far off the kernels between any of the inputs can be.
    pub fn bound(&self) -> Bound {
        self.profile.bound()
    }
}

/// That two batches of inputs belong together.
///
/// # Errors
/// [`Error::Features`] if the inputs differ in their number of features.
pub fn check_features<T: Scalar>(rows: &Inputs<T>, cols: &Inputs<T>) -> Result<()> {
    let depth = |inputs: &Inputs<T>| inputs.directions.rows().depth();
    let (expected, got) = (depth(rows), depth(cols));
    if got != expected {
        return Err(Error::Features {
            argument: "Z",
            got,
            reference: "X",
            expected,
        });
    }
    Ok(())
}

/// About how many cycles of one thread an entry of a kernel of these inputs takes.
pub(crate) fn entry_cycles<T: Scalar>(recursion: &Recursion, inputs: &Inputs<T>) -> f64 {
    product_cycles(inputs.directions.rows().depth()) + recursion.cycles()
}

/// Fills a tile with the gaps between inputs.
pub(crate) fn input_gaps<T: Scalar>(
    isa: Isa,
    (rows, cols): (&Inputs<T>, &Inputs<T>),
    area: &Area,
    tile: &mut Tile,
    scratch: &mut gap::Scratch,
) {
    let (rows, cols) = (&rows.directions, &cols.directions);
    let (row_panels, col_panels) = (
        rows.rows().of_rows(&area.rows),
        cols.rows().of_rows(&area.cols),
    );
    product(row_panels, col_panels, tile);
    gaps(isa, [rows, cols], area, tile, scratch);
}

/// The kernels between two batches of inputs.
#[derive(Debug)]
pub struct Infinite<'a, T: Scalar> {
    rows: &'a Inputs<T>,
    cols: &'a Inputs<T>,
    pass: Pass<'a>,
    cycles: f64,
}

impl<'a, T: Scalar> Infinite<'a, T> {
    /// The `outputs` of the network, between `rows` and `cols` (the same for a symmetric kernel).
    ///
    /// # Errors
    /// [`Error::Features`] if the batches differ in their number of features; those of [`Isa::current`].
    pub fn new(
        recursion: &'a Recursion,
        rows: &'a Inputs<T>,
        cols: &'a Inputs<T>,
        outputs: &'a [Output],
    ) -> Result<Self> {
        check_features(rows, cols)?;
        Ok(Self {
            rows,
            cols,
            pass: recursion.between(Isa::current()?, &rows.profile, &cols.profile, outputs),
            cycles: entry_cycles(recursion, rows),
        })
    }
}

/// What a worker keeps from tile to tile.
#[derive(Debug, Default)]
pub struct Scratch {
    gaps: Tile,
    pairs: Pairs,
    close: gap::Scratch,
}

impl<T: Scalar> TileKernel for Infinite<'_, T> {
    type Scratch = Scratch;

    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn cols(&self) -> usize {
        self.cols.len()
    }

    fn planes(&self) -> usize {
        self.pass.outputs().len()
    }

    fn entry_cycles(&self) -> f64 {
        self.cycles
    }

    fn compute(&self, area: &Area, scratch: &mut Scratch, planes: &mut [Tile]) {
        input_gaps(
            self.pass.isa(),
            (self.rows, self.cols),
            area,
            &mut scratch.gaps,
            &mut scratch.close,
        );
        let blocks = blocks_of(&area.cols);
        for plane in &mut *planes {
            plane.reshape(area.rows.len(), blocks.len() * WIDTH);
        }
        let half = ptr::eq(self.rows, self.cols) && area.rows == area.cols;
        for (r, i) in area.rows.clone().enumerate() {
            let last = if half {
                blocks.start + r / WIDTH + 1
            } else {
                blocks.end
            };
            let (blocks, row) = (blocks.start..last, scratch.gaps.row_blocks_mut(r));
            let row = &mut row[..blocks.len()];
            self.pass
                .run(i, &blocks, row, &mut scratch.pairs, (planes, r));
        }
        if half {
            planes
                .iter_mut()
                .for_each(|plane| plane.mirror(self.pass.isa()));
        }
    }
}

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
    let own_gap = |i: usize| inputs.directions.own_gap(i);
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
    let pass = recursion.between(Isa::current()?, profile, profile, &outputs);
    let mut values = vec![0.0; len];
    let bands = values.chunks_mut(BAND).enumerate();
    let load = Load::new(bands.len(), (WIDTH * len) as f64 * recursion.cycles());
    let state = || (Pairs::default(), Tile::default());
    let work =
        |(pairs, tile): &mut (Pairs, Tile), (band, values): (usize, &mut [f64]), _: &Stop| {
            tile.reshape(1, WIDTH);
            for (i, value) in (band * BAND..).zip(values) {
                let (row, mut gaps) = (i % profile.len(), [[gap(i); WIDTH]]);
                let (block, plane) = (row / WIDTH, slice::from_mut(tile));
                pass.run(row, &(block..block + 1), &mut gaps, pairs, (plane, 0));
                *value = tile.row(0)[row % WIDTH];
            }
        };
    pool::for_each(bands, load, watch, state, work)?;
    Ok(values)
}
