//! Derivatives of the NNGP and NTK of infinitely wide networks with respect to σ_w and σ_b of their layers.

use crate::engine::scalar::Scalar;
use crate::engine::tile::{Area, Tile, TileKernel};
use crate::error::Result;
use crate::infinite::gap;
use crate::infinite::inputs::{Inputs, check_features, entry_cycles, input_gaps};
use crate::infinite::recursion::{
    GradientRecursion, LayerStates, Output, ProfileSlopes, Recursion, TiedScales,
};
use crate::isa::{Isa, WIDTH, blocks_of};

/// Inputs with the derivatives of their own recursion.
#[derive(Debug)]
pub struct DifferentiatedInputs<T: Scalar> {
    inputs: Inputs<T>,
    slopes: ProfileSlopes,
}

impl<T: Scalar> DifferentiatedInputs<T> {
    /// The derivatives along these inputs' diagonal. O(N·layers).
    ///
    /// # Errors
    /// Those of [`ProfileSlopes::new`].
    pub fn new(recursion: &Recursion, inputs: Inputs<T>) -> Result<Self> {
        let slopes = ProfileSlopes::new(recursion, &inputs.profile)?;
        Ok(Self { inputs, slopes })
    }
}

/// The derivatives of kernels between two batches of inputs. Planes: for each output, ∂/∂σ_w of every dense layer, then
/// ∂/∂σ_b of every dense layer.
#[derive(Debug)]
pub struct KernelGradient<'a, T: Scalar> {
    rows: &'a Inputs<T>,
    cols: &'a Inputs<T>,
    recursion: GradientRecursion<'a>,
    cycles: f64,
}

impl<'a, T: Scalar> KernelGradient<'a, T> {
    /// Those of these outputs, which are of the whole network.
    ///
    /// # Errors
    /// [`Error::Features`](crate::Error::Features) if the inputs differ in their number of features; those of
    /// [`Isa::current`].
    pub fn new(
        recursion: &'a Recursion,
        rows: &'a DifferentiatedInputs<T>,
        cols: &'a DifferentiatedInputs<T>,
        outputs: &'a [Output],
        tied: &'a [TiedScales],
    ) -> Result<Self> {
        check_features(&rows.inputs, &cols.inputs)?;
        let sides = [rows, cols].map(|side| (&side.inputs.profile, &side.slopes));
        let isa = Isa::current()?;
        Ok(Self {
            rows: &rows.inputs,
            cols: &cols.inputs,
            recursion: GradientRecursion::new(recursion, isa, sides, outputs, tied),
            cycles: 5.0 * entry_cycles(recursion, &rows.inputs),
        })
    }
}

/// What a worker keeps from tile to tile.
#[derive(Debug, Default)]
pub struct Scratch {
    gaps: Tile,
    close: gap::Scratch,
    states: LayerStates,
}

impl<T: Scalar> TileKernel for KernelGradient<'_, T> {
    type Scratch = Scratch;

    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn cols(&self) -> usize {
        self.cols.len()
    }

    fn planes(&self) -> usize {
        self.recursion.planes()
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
        input_gaps(
            self.recursion.isa(),
            (self.rows, self.cols),
            area,
            gaps,
            close,
        );
        let blocks = blocks_of(&area.cols);
        for plane in &mut *planes {
            plane.reshape(area.rows.len(), blocks.len() * WIDTH);
        }
        for (r, i) in area.rows.clone().enumerate() {
            let row = &gaps.row_blocks(r)[..blocks.len()];
            self.recursion.run(i, &blocks, row, states, (planes, r));
        }
    }
}
