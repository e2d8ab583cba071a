//! Inputs with unit vectors and with the derivatives of the recursion along their diagonal.

use crate::engine::panel::{PanelSlice, Panels};
use crate::engine::pool::{self, Load, Stop, unwatched};
use crate::engine::scalar::Scalar;
use crate::engine::tile::EDGE;
use crate::error::Result;
use crate::infinite::inputs::{Inputs, Packed, SMALL};
use crate::infinite::recursion::{
    ChainedProfile, DifferentiatedProfile, ProfileSlopes, Recursion, RootChain,
};
use crate::isa::{Block, Blocks, Lanes, WIDTH, blocks_of};

/// Inputs with their unit vectors, and with the derivatives of their per-row recursion.
#[derive(Debug)]
pub struct DirectedInputs<T: Scalar> {
    pub(super) inputs: Inputs<T>,
    slopes: ProfileSlopes,
    chain: RootChain,
    /// For each tile of rows, the entries of their unit vectors: a packed (d, rows) matrix.
    units: Vec<Panels<f64>>,
    /// The powers of two that are the units of the inputs' kernels.
    powers: Blocks,
}

impl<T: Scalar> DirectedInputs<T> {
    /// Differentiates the recursion along the diagonal of the inputs. O(N·(d + layers)).
    ///
    /// # Errors
    /// As [`Inputs::new`] and [`ProfileSlopes::new`]; [`Error::Memory`](crate::Error::Memory).
    pub fn new(recursion: &Recursion, packed: Packed<T>) -> Result<Self> {
        let inputs = Inputs::without_zeros(recursion, packed)?;
        let slopes = ProfileSlopes::new(recursion, &inputs.profile)?;
        let exponents = (0..inputs.len()).map(|row| inputs.profile.exponent(row));
        Ok(Self {
            chain: RootChain::new(recursion, &slopes),
            slopes,
            units: unit_vectors(&inputs)?,
            powers: exponents
                .map(|exponent| libm::scalbn(1.0, exponent))
                .collect(),
            inputs,
        })
    }

    /// The inputs.
    pub fn inputs(&self) -> &Inputs<T> {
        &self.inputs
    }

    /// The number of features.
    pub(super) fn features(&self) -> usize {
        self.inputs.normed.rows().depth()
    }

    /// The recursion along the diagonal.
    pub(super) fn profile(&self) -> ChainedProfile<'_> {
        ChainedProfile {
            profile: DifferentiatedProfile {
                profile: &self.inputs.profile,
                slopes: &self.slopes,
            },
            chain: &self.chain,
        }
    }

    /// The unit vectors of one tile of rows: a packed (d, rows) matrix.
    pub(super) fn unit_vectors(&self, tile: usize) -> PanelSlice<'_, f64> {
        self.units[tile].all()
    }

    /// Entry k of the unit vector of a row; 0 for a row of zeros.
    pub(super) fn unit_entry(&self, row: usize, k: usize) -> f64 {
        self.units[row / EDGE].value(k, row % EDGE)
    }

    /// The power of two that is the unit of the kernels of a row.
    pub(super) fn unit(&self, row: usize) -> f64 {
        self.powers.get(row)
    }

    /// The unit of the kernels of a row over its norm: a number and the exponent of a power of two.
    pub(super) fn unit_over_norm(&self, row: usize) -> (f64, i32) {
        let lengths = self.inputs.normed.lengths(row / WIDTH);
        let (inverse, exponent) = (
            lengths.inverses[0][row % WIDTH],
            lengths.exponents[row % WIDTH] as i32,
        );
        let unit = self.inputs.profile.exponent(row);
        if inverse == 0.0 {
            (1.0 / (SMALL * (self.features() as f64).sqrt()), unit)
        } else {
            (inverse, unit - exponent)
        }
    }
}

/// The unit vectors of each tile of rows, packed (d, rows) matrices.
fn unit_vectors<T: Scalar>(inputs: &Inputs<T>) -> Result<Vec<Panels<f64>>> {
    let (rows, depth) = (inputs.len(), inputs.normed.rows().depth());
    let starts = (0..rows).step_by(EDGE);
    let tile = |start: usize| Panels::unwritten(depth, EDGE.min(rows - start));
    let mut tiles = starts.map(tile).collect::<Result<Vec<Panels<f64>>>>()?;
    let load = Load::new(tiles.len(), 4.0 * (rows * depth) as f64);
    let fill = |entries: &mut Vec<Block>, (index, tile): (usize, &mut Panels<f64>), _: &Stop| {
        let mut lines: Vec<Lanes<f64, WIDTH>> = Vec::new();
        let rows = index * EDGE..index * EDGE + tile.depth();
        for block in blocks_of(&rows) {
            inputs.normed.entries(block, entries);
            let inverses = inputs.normed.inverses()[block];
            let unit = |row: &Block| Lanes(std::array::from_fn(|lane| row[lane] * inverses[lane]));
            lines.extend(entries.iter().map(unit));
        }
        let isa = tile.all().isa();
        for (panel, target) in tile.chunks_mut(1).enumerate() {
            PanelSlice::<f64>::new(&lines, depth, isa).transpose(panel, target);
        }
    };
    let items = tiles.iter_mut().enumerate();
    pool::for_each(items, load, &mut unwatched, Vec::new, fill)?;
    Ok(tiles)
}
