//! Inputs with unit vectors and with the derivatives of the recursion along their diagonal.

use std::ops::Range;
use std::sync::Arc;

use crate::engine::panel::{PanelSlice, Panels};
use crate::engine::pool::{self, Load, Stages, Stop, Watch};
use crate::engine::scalar::Scalar;
use crate::engine::tile::EDGE;
use crate::error::Result;
use crate::infinite::inputs::Inputs;
use crate::infinite::recursion::{
    ChainedProfile, DifferentiatedProfile, Profile, ProfileSlopes, Recursion, RootChain,
};
use crate::isa::{Block, Blocks, Lanes, WIDTH, blocks_of};

/// The root mean square that stands for that of a row of zeros, where the limit of derivatives is computed. Terms of
/// higher order are smaller than the others by this factor, which is beyond the digits of a sum.
const SMALL: f64 = 1.0 / (1_u128 << 100) as f64;

/// The derivatives of a [`Profile`].
#[derive(Debug)]
struct ProfileDerivatives {
    slopes: ProfileSlopes,
    chain: RootChain,
}

impl ProfileDerivatives {
    fn new(recursion: &Recursion, profile: &Profile, watch: &mut Watch<'_>) -> Result<Self> {
        let slopes = ProfileSlopes::new(recursion, profile, watch)?;
        let chain = RootChain::new(recursion, &slopes);
        Ok(Self { slopes, chain })
    }

    fn of<'a>(&'a self, profile: &'a Profile) -> ChainedProfile<'a> {
        let Self { slopes, chain } = self;
        let profile = DifferentiatedProfile { profile, slopes };
        ChainedProfile { profile, chain }
    }
}

/// Inputs with their unit vectors, and with the derivatives of their per-row recursion.
#[derive(Debug)]
pub struct DirectedInputs<T: Scalar> {
    pub(super) inputs: Arc<Inputs<T>>,
    derivatives: ProfileDerivatives,
    /// The recursion for rows, if some of them are zero: these count as small, and orthogonal to all columns.
    without_zeros: Option<(ProfileDerivatives, Profile)>,
    /// For each tile of rows, the entries of their unit vectors: a packed (d, rows) matrix.
    units: Vec<Panels<f64>>,
    /// The powers of two that are the units of the inputs' kernels.
    powers: Blocks,
}

impl<T: Scalar> DirectedInputs<T> {
    /// Differentiates the recursion along the diagonal of the inputs. O(N·(d + layers)).
    ///
    /// # Errors
    /// As [`ProfileSlopes::new`]; [`Error::Memory`](crate::Error::Memory).
    pub fn new(
        recursion: &Recursion,
        inputs: Arc<Inputs<T>>,
        watch: &mut Watch<'_>,
    ) -> Result<Self> {
        let mut stages = Stages::new(watch, &[1.0; 4]);
        let derive = |profile: &Profile, watch: &mut Watch<'_>| {
            ProfileDerivatives::new(recursion, profile, watch)
        };
        let derivatives = stages.next(|watch| derive(&inputs.profile, watch))?;
        let profile = stages.next(|watch| inputs.profile_without_zeros(recursion, SMALL, watch))?;
        let without_zeros = stages.next(|watch| {
            let derived = |profile| Ok((derive(&profile, watch)?, profile));
            profile.map(derived).transpose()
        })?;
        let exponents = (0..inputs.len()).map(|row| inputs.profile.exponent(row));
        Ok(Self {
            derivatives,
            without_zeros,
            units: stages.next(|watch| unit_vectors(&inputs, watch))?,
            powers: exponents
                .map(|exponent| libm::scalbn(1.0, exponent))
                .collect(),
            inputs,
        })
    }

    /// True if the recursion of these inputs is not the same for rows and for columns.
    pub(super) fn has_zeros(&self) -> bool {
        self.without_zeros.is_some()
    }

    /// The inputs.
    pub fn inputs(&self) -> &Inputs<T> {
        &self.inputs
    }

    /// The number of features.
    pub(super) fn features(&self) -> usize {
        self.inputs.normed.rows().depth()
    }

    /// The recursion along the diagonal, for columns.
    pub(super) fn column_profile(&self) -> ChainedProfile<'_> {
        self.derivatives.of(&self.inputs.profile)
    }

    /// The recursion along the diagonal, for rows.
    pub(super) fn row_profile(&self) -> ChainedProfile<'_> {
        match &self.without_zeros {
            None => self.column_profile(),
            Some((derivatives, profile)) => derivatives.of(profile),
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

    /// These powers of two for blocks of rows.
    pub(super) fn unit_blocks(&self, blocks: Range<usize>) -> &[Block] {
        &self.powers.blocks()[blocks]
    }

    /// The unit of the kernels of a row over its norm: a number and the exponent of a power of two.
    pub(super) fn unit_over_norm(&self, row: usize) -> (f64, i32) {
        let lengths = self.inputs.normed.lengths(row / WIDTH);
        let (inverse, exponent) = (
            lengths.inverses[0][row % WIDTH],
            lengths.exponents[row % WIDTH] as i32,
        );
        let unit = self.row_profile().profile.profile.exponent(row);
        if inverse == 0.0 {
            (1.0 / (SMALL * (self.features() as f64).sqrt()), unit)
        } else {
            (inverse, unit - exponent)
        }
    }
}

/// The unit vectors of each tile of rows, packed (d, rows) matrices.
fn unit_vectors<T: Scalar>(inputs: &Inputs<T>, watch: &mut Watch<'_>) -> Result<Vec<Panels<f64>>> {
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
    pool::for_each(items, load, watch, Vec::new, fill)?;
    Ok(tiles)
}
