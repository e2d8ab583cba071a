//! The NNGP and NTK of infinitely wide networks, all layers of a tile at once.

use std::ptr;

use crate::engine::scalar::Scalar;
use crate::engine::tile::{Area, Tile, TileKernel};
use crate::error::Result;
use crate::infinite::gap;
use crate::infinite::inputs::{Inputs, check_features, entry_cycles, input_gaps};
use crate::infinite::recursion::{Output, PairRecursion, PairState, Recursion};
use crate::isa::{Isa, WIDTH, blocks_of};

/// The kernels between two batches of inputs.
#[derive(Debug)]
pub struct Infinite<'a, T: Scalar> {
    rows: &'a Inputs<T>,
    cols: &'a Inputs<T>,
    recursion: PairRecursion<'a>,
    cycles: f64,
}

impl<'a, T: Scalar> Infinite<'a, T> {
    /// The `outputs` of the network, between `rows` and `cols` (the same for a symmetric kernel).
    ///
    /// # Errors
    /// [`Error::Features`](crate::Error::Features) if the batches differ in their number of features; those of [`Isa::current`].
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
            recursion: recursion.between(Isa::current()?, &rows.profile, &cols.profile, outputs),
            cycles: entry_cycles(recursion, rows),
        })
    }
}

/// What a worker keeps from tile to tile.
#[derive(Debug, Default)]
pub struct Scratch {
    gaps: Tile,
    pairs: PairState,
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
        self.recursion.outputs().len()
    }

    fn entry_cycles(&self) -> f64 {
        self.cycles
    }

    fn compute(&self, area: &Area, scratch: &mut Scratch, planes: &mut [Tile]) {
        input_gaps(
            self.recursion.isa(),
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
            self.recursion
                .run(i, &blocks, row, &mut scratch.pairs, (planes, r));
        }
        if half {
            planes
                .iter_mut()
                .for_each(|plane| plane.mirror(self.recursion.isa()));
        }
    }
}
