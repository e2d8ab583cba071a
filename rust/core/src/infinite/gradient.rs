//! Derivatives of the NNGP and NTK of infinitely wide networks with respect to σ_w and σ_b of their layers.

use crate::engine::scalar::Scalar;
use crate::engine::tile::{Area, Tile, TileKernel};
use crate::error::Result;
use crate::infinite::gap;
use crate::infinite::inputs::{Inputs, check_features, entry_cycles, input_gaps};
use crate::infinite::recursion::{Chain, Follows, Output, Recursion, States};
use crate::isa::{Isa, WIDTH, blocks_of};

/// Inputs with the derivatives of their own recursion.
#[derive(Debug)]
pub struct Chained<T: Scalar> {
    inputs: Inputs<T>,
    chain: Chain,
}

impl<T: Scalar> Chained<T> {
    /// The derivatives along these inputs' diagonal. O(N·layers).
    ///
    /// # Errors
    /// Those of [`Chain::new`].
    pub fn new(recursion: &Recursion, inputs: Inputs<T>) -> Result<Self> {
        let chain = Chain::new(recursion, &inputs.profile)?;
        Ok(Self { inputs, chain })
    }
}

/// The derivatives of kernels between two batches of inputs. Planes: for each output, ∂/∂σ_w of every dense layer, then
/// ∂/∂σ_b of every dense layer.
#[derive(Debug)]
pub struct Gradient<'a, T: Scalar> {
    rows: &'a Inputs<T>,
    cols: &'a Inputs<T>,
    pass: crate::infinite::recursion::Gradient<'a>,
    cycles: f64,
}

impl<'a, T: Scalar> Gradient<'a, T> {
    /// Those of these outputs, which are of the whole network.
    ///
    /// # Errors
    /// [`Error::Features`](crate::Error::Features) if the inputs differ in their number of features; those of
    /// [`Isa::current`].
    pub fn new(
        recursion: &'a Recursion,
        rows: &'a Chained<T>,
        cols: &'a Chained<T>,
        outputs: &'a [Output],
        follows: &'a [Follows],
    ) -> Result<Self> {
        check_features(&rows.inputs, &cols.inputs)?;
        let sides = [rows, cols].map(|side| (&side.inputs.profile, &side.chain));
        let isa = Isa::current()?;
        Ok(Self {
            rows: &rows.inputs,
            cols: &cols.inputs,
            pass: crate::infinite::recursion::Gradient::new(
                recursion, isa, sides, outputs, follows,
            ),
            cycles: 5.0 * entry_cycles(recursion, &rows.inputs),
        })
    }
}

/// What a worker keeps from tile to tile.
#[derive(Debug, Default)]
pub struct Scratch {
    gaps: Tile,
    close: gap::Scratch,
    states: States,
}

impl<T: Scalar> TileKernel for Gradient<'_, T> {
    type Scratch = Scratch;

    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn cols(&self) -> usize {
        self.cols.len()
    }

    fn planes(&self) -> usize {
        self.pass.planes()
    }

    fn entry_cycles(&self) -> f64 {
        self.cycles
    }

    fn compute(&self, area: &Area, scratch: &mut Scratch, planes: &mut [Tile]) {
        let Scratch {
            gaps,
            close,
            states,
        } = scratch;
        input_gaps(self.pass.isa(), (self.rows, self.cols), area, gaps, close);
        let blocks = blocks_of(&area.cols);
        for plane in &mut *planes {
            plane.reshape(area.rows.len(), blocks.len() * WIDTH);
        }
        for (r, i) in area.rows.clone().enumerate() {
            let row = &gaps.row_blocks(r)[..blocks.len()];
            self.pass.run(i, &blocks, row, states, (planes, r));
        }
    }
}
