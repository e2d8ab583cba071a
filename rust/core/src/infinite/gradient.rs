//! Derivatives of Σ and Θ of infinitely wide networks with respect to `σ_w` and `σ_b` of their layers.

use std::sync::Arc;

use crate::engine::pool::{Stop, Watch};
use crate::engine::scalar::Scalar;
use crate::engine::tile::{Area, Tile, TileKernel};
use crate::error::Result;
use crate::infinite::gap;
use crate::infinite::inputs::{InputPairs, Inputs};
use crate::infinite::recursion::{
    DifferentiatedProfile, GradientRecursion, LayerStates, Output, PlaneRow, ProfileSlopes,
    Recursion, RowPairs, TiedScales,
};
use crate::isa::{Isa, WIDTH, blocks_of};

/// Inputs with the derivatives of their per-row recursion.
#[derive(Debug)]
pub struct DifferentiatedInputs<T: Scalar> {
    inputs: Arc<Inputs<T>>,
    slopes: ProfileSlopes,
}

impl<T: Scalar> DifferentiatedInputs<T> {
    /// Differentiates the recursion along the diagonal of the inputs. O(N·layers).
    ///
    /// # Errors
    /// As [`ProfileSlopes::new`].
    pub fn new(
        recursion: &Recursion,
        inputs: Arc<Inputs<T>>,
        watch: &mut Watch<'_>,
    ) -> Result<Self> {
        let slopes = ProfileSlopes::new(recursion, &inputs.profile, watch)?;
        Ok(Self { inputs, slopes })
    }

    fn profile(&self) -> DifferentiatedProfile<'_> {
        DifferentiatedProfile {
            profile: &self.inputs.profile,
            slopes: &self.slopes,
        }
    }
}

/// The derivatives of kernels between two batches of inputs. Planes: for each output, `∂/∂σ_w` of every dense layer,
/// then `∂/∂σ_b` of every dense layer.
#[derive(Debug)]
pub struct KernelGradient<'a, T: Scalar> {
    inputs: InputPairs<'a, T>,
    recursion: GradientRecursion<'a>,
    cycles: f64,
}

impl<'a, T: Scalar> KernelGradient<'a, T> {
    /// Prepares the derivatives of `outputs`, which must be those of the last layer.
    ///
    /// # Errors
    /// [`Error::Features`](crate::Error::Features) if the batches differ in their number of features; as
    /// [`Isa::current`].
    pub fn new(
        recursion: &'a Recursion,
        rows: &'a DifferentiatedInputs<T>,
        cols: &'a DifferentiatedInputs<T>,
        outputs: &'a [Output],
        tied: &'a [TiedScales],
    ) -> Result<Self> {
        let inputs = InputPairs::new(&rows.inputs, &cols.inputs)?;
        let (isa, sides) = (Isa::current()?, [rows.profile(), cols.profile()]);
        Ok(Self {
            recursion: GradientRecursion::new(recursion, isa, sides, outputs, tied),
            cycles: 5.0 * inputs.entry_cycles(recursion),
            inputs,
        })
    }
}

/// Per-worker scratch space, reused between tiles.
#[derive(Debug, Default)]
pub struct Scratch {
    gaps: Tile,
    close: gap::Scratch,
    states: LayerStates,
}

impl<T: Scalar> TileKernel for KernelGradient<'_, T> {
    type Scratch = Scratch;

    fn rows(&self) -> usize {
        self.inputs.rows.len()
    }

    fn cols(&self) -> usize {
        self.inputs.cols.len()
    }

    fn planes(&self) -> usize {
        self.recursion.planes()
    }

    fn entry_cycles(&self) -> f64 {
        self.cycles
    }

    fn compute(&self, area: &Area, scratch: &mut Scratch, planes: &mut [Tile], _: &Stop) {
        let Scratch {
            gaps,
            close,
            states,
        } = scratch;
        self.inputs.gaps(self.recursion.isa(), area, gaps, close);
        let blocks = blocks_of(&area.cols);
        for plane in &mut *planes {
            plane.reshape(area.rows.len(), blocks.len() * WIDTH);
        }
        for (r, row) in area.rows.clone().enumerate() {
            let gaps = &gaps.row_blocks(r)[..blocks.len()];
            let blocks = blocks.clone();
            let (pairs, target) = (RowPairs { row, blocks }, PlaneRow { planes, row: r });
            self.recursion.run(&pairs, gaps, states, target);
        }
    }
}
