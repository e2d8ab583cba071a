//! Σ (NNGP) and Θ (NTK) of infinitely wide networks: all layers of a tile at once.

use crate::engine::pool::Stop;
use crate::engine::scalar::Scalar;
use crate::engine::tile::{Area, Tile, TileKernel};
use crate::error::Result;
use crate::infinite::gap;
use crate::infinite::inputs::{InputPairs, Inputs};
use crate::infinite::recursion::{
    BandPairs, Output, PairRecursion, PairState, PlaneRow, Recursion,
};
use crate::isa::{Isa, WIDTH, blocks_of};

/// Kernels between two batches of inputs. Planes: one per output.
#[derive(Debug)]
pub struct Infinite<'a, T: Scalar> {
    inputs: InputPairs<'a, T>,
    recursion: PairRecursion<'a>,
    cycles: f64,
}

impl<'a, T: Scalar> Infinite<'a, T> {
    /// The `outputs` of the network between `rows` and `cols`. A symmetric kernel takes the same batch twice.
    ///
    /// # Errors
    /// [`Error::Features`](crate::Error::Features) if the batches differ in their number of features; as
    /// [`Isa::current`].
    pub fn new(
        recursion: &'a Recursion,
        rows: &'a Inputs<T>,
        cols: &'a Inputs<T>,
        outputs: &'a [Output],
    ) -> Result<Self> {
        let inputs = InputPairs::new(rows, cols)?;
        Ok(Self {
            recursion: recursion.between(Isa::current()?, &rows.profile, &cols.profile, outputs),
            cycles: inputs.entry_cycles(recursion),
            inputs,
        })
    }
}

/// Per-worker scratch space, reused between tiles.
#[derive(Debug, Default)]
pub struct Scratch {
    gaps: Tile,
    close: gap::Scratch,
    state: PairState,
}

impl<T: Scalar> TileKernel for Infinite<'_, T> {
    type Scratch = Scratch;

    fn rows(&self) -> usize {
        self.inputs.rows.len()
    }

    fn cols(&self) -> usize {
        self.inputs.cols.len()
    }

    fn planes(&self) -> usize {
        self.recursion.outputs().len()
    }

    fn entry_cycles(&self) -> f64 {
        self.cycles
    }

    fn compute(&self, area: &Area, scratch: &mut Scratch, planes: &mut [Tile], _: &Stop) {
        let Scratch { gaps, close, state } = scratch;
        self.inputs.gaps(self.recursion.isa(), area, gaps, close);
        let blocks = blocks_of(&area.cols);
        for plane in &mut *planes {
            plane.reshape(area.rows.len(), blocks.len() * WIDTH);
        }
        // Where the diagonal of a symmetric kernel crosses the tile, one half is computed and then mirrored.
        let half = self.inputs.symmetric() && area.rows == area.cols;
        for (band, first) in (0..area.rows.len()).step_by(WIDTH).enumerate() {
            let last = if half {
                blocks.start + band + 1
            } else {
                blocks.end
            };
            let (start, blocks) = (area.rows.start + first, blocks.start..last);
            let rows = start..area.rows.end.min(start + WIDTH);
            let of_row = |row: usize| &gaps.row_blocks(first + row)[..blocks.len()];
            let target = PlaneRow { planes, row: first };
            let pairs = BandPairs {
                rows,
                blocks: blocks.clone(),
            };
            self.recursion.run(&pairs, of_row, state, target);
        }
        if half {
            for plane in planes {
                plane.mirror(self.recursion.isa());
            }
        }
    }
}
