//! Σ (NNGP) and Θ (NTK) of infinitely wide convolutional networks.

use super::geometry::Geometry;
use super::images::Images;
use super::inputs::ImageInputs;
use super::network::Convolution;
use super::plane::{ImagePairs, PlaneScratch};
use super::profile::ImageProfile;
use crate::engine::pool::{self, Load, Stages, Stop, Watch};
use crate::engine::tile::{Area, EDGE, Tile, TileKernel};
use crate::error::Result;
use crate::infinite::recursion::{Output, PairRecursion, PairState, PlaneRow, RowPairs};
use crate::isa::{Block, Isa, WIDTH, blocks_of};

/// Kernels between two batches of images. Planes: one per output.
#[derive(Debug)]
pub struct Convolutional<'a> {
    network: &'a Convolution,
    geometry: &'a Geometry,
    rows: &'a ImageInputs,
    cols: &'a ImageInputs,
    outputs: &'a [Output],
    /// All dense layers, if there are several.
    dense: Option<PairRecursion<'a>>,
    pub(super) isa: Isa,
    /// True if gaps are rounded to `f32` in activations.
    single: bool,
    cycles: f64,
}

impl<'a> Convolutional<'a> {
    /// The `outputs` of the network between `rows` and `cols`: Σ or Θ after the last dense layer. A symmetric kernel
    /// takes the same batch twice.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if the batches differ in the shape of their images; as
    /// [`Isa::current`].
    pub fn new(
        network: &'a Convolution,
        geometry: &'a Geometry,
        [rows, cols]: [&'a ImageInputs; 2],
        outputs: &'a [Output],
    ) -> Result<Self> {
        rows.images.check_shape(&cols.images)?;
        let isa = Isa::current()?;
        let dense = match (&network.recursion, &rows.dense, &cols.dense) {
            (Some(recursion), Some(rows), Some(cols)) => {
                Some(recursion.between(isa, &rows.profile, &cols.profile, outputs))
            }
            _ => None,
        };
        Ok(Self {
            network,
            geometry,
            rows,
            cols,
            outputs,
            dense,
            isa,
            single: [rows, cols].iter().all(|inputs| inputs.images.single)
                && network.allows_single(),
            cycles: geometry.entry_cycles(network),
        })
    }

    /// Writes all outputs of image `row` with the groups of a range to row `target` of the planes.
    fn row(&self, pairs: &RowPairs, scratch: &mut Scratch, mut target: PlaneRow<'_>, stop: &Stop) {
        let row = pairs.row;
        scratch.gaps.clear();
        scratch.tangents.clear();
        for (index, group) in pairs.blocks.clone().enumerate() {
            let (means, turns) = ImagePairs {
                isa: self.isa,
                network: self.network,
                geometry: self.geometry,
                chain: &self.geometry.chain,
                sides: [self.rows, self.cols].map(ImageInputs::side),
                row,
                group,
                single: self.single,
            }
            .run(&mut scratch.planes, stop);
            if self.dense.is_some() {
                scratch.gaps.push(self.gaps(row, group, &means[0], turns));
                scratch.tangents.push(self.tangents(row, group, &means[1]));
            } else {
                self.write(row, group, &means, index, &mut target);
            }
        }
        if let Some(dense) = &self.dense {
            let Scratch {
                gaps,
                tangents,
                state,
                ..
            } = scratch;
            let gaps = &gaps[..];
            dense.run_after(&pairs.band(), |_| gaps, tangents, state, target);
        }
    }

    /// The gaps of the head's output, given T, 1 − ρ and 1 + ρ, if they are known.
    fn gaps(&self, row: usize, group: usize, values: &Block, turns: [Block; 2]) -> Block {
        let (Some(rows), Some(cols)) = (&self.rows.dense, &self.cols.dense) else {
            return [0.0; WIDTH];
        };
        if rows.flat.is_some() {
            let gap = |lane: usize| {
                let [aligned, opposite] = turns.map(|turn| turn[lane]);
                // A zero image has no direction: both are 0.
                match (aligned == 0.0 && opposite == 0.0, aligned <= 1.0) {
                    (true, _) => 1.0,
                    (_, true) => aligned,
                    (_, false) => -opposite,
                }
            };
            return std::array::from_fn(gap);
        }
        let square = rows.squares[row];
        let gap = |lane: usize| {
            let other = cols.squares[group * WIDTH + lane];
            // The root of a square is exact: equal images have a gap of 0.
            let root = (square * other).sqrt();
            let correlation = if root == 0.0 {
                0.0
            } else {
                values[lane] / root
            };
            (1.0 - correlation.abs()).max(0.0).copysign(correlation)
        };
        std::array::from_fn(gap)
    }

    /// The tangent kernel of the head's output, in the units of the dense layers.
    fn tangents(&self, row: usize, group: usize, tangents: &Block) -> Block {
        let shift = |side: &ImageInputs, image: usize, place: usize| {
            let own = side.profile.exponents[place];
            side.dense
                .as_ref()
                .map_or(0, |dense| own - dense.profile.exponent(image))
        };
        let of_row = shift(self.rows, row, row);
        std::array::from_fn(|lane| {
            let place = group * WIDTH + lane;
            let image = self.cols.images.image(group, lane);
            libm::scalbn(tangents[lane], of_row + shift(self.cols, image, place))
        })
    }

    /// Writes the outputs of a network with one dense layer, given the means of the head, to block `index` of a row.
    fn write(
        &self,
        row: usize,
        group: usize,
        means: &[Block; 2],
        index: usize,
        target: &mut PlaneRow<'_>,
    ) {
        let exponent = self.rows.profile.exponents[row];
        let exponents = &self.cols.profile.exponents[group * WIDTH..];
        for (output, plane) in self.outputs.iter().zip(&mut *target.planes) {
            let values = &mut plane.row_blocks_mut(target.row)[index];
            for (lane, value) in values.iter_mut().enumerate() {
                let exponent = exponent + exponents[lane];
                let [nngp, ntk] = means.map(|mean| libm::scalbn(mean[lane], exponent));
                *value = self.of_dense(*output, nngp, ntk);
            }
        }
    }

    /// The output of the only dense layer.
    fn of_dense(&self, output: Output, nngp: f64, ntk: f64) -> f64 {
        let scales = &self.network.dense;
        let (variance, bias) = (
            scales.sigma_w * scales.sigma_w,
            scales.sigma_b * scales.sigma_b,
        );
        if matches!(output, Output::Nngp(_)) {
            return variance.mul_add(nngp, bias);
        }
        let own = (scales.tau_w * scales.tau_w).mul_add(nngp, scales.tau_b * scales.tau_b);
        variance.mul_add(ntk, own)
    }
}

/// Per-worker scratch space, reused between tiles.
#[derive(Debug, Default)]
pub struct Scratch {
    planes: PlaneScratch,
    gaps: Vec<Block>,
    tangents: Vec<Block>,
    state: PairState,
}

impl TileKernel for Convolutional<'_> {
    type Scratch = Scratch;

    fn rows(&self) -> usize {
        self.rows.images.len()
    }

    fn cols(&self) -> usize {
        self.cols.images.len()
    }

    fn planes(&self) -> usize {
        self.outputs.len()
    }

    fn entry_cycles(&self) -> f64 {
        self.cycles
    }

    fn edge(&self) -> usize {
        if self.network.is_flat() {
            EDGE / 3
        } else {
            WIDTH
        }
    }

    fn compute(&self, area: &Area, scratch: &mut Scratch, planes: &mut [Tile], stop: &Stop) {
        let blocks = blocks_of(&area.cols);
        for plane in &mut *planes {
            plane.reshape(area.rows.len(), blocks.len() * WIDTH);
        }
        for (r, row) in area.rows.clone().enumerate() {
            let blocks = blocks.clone();
            let target = PlaneRow { planes, row: r };
            self.row(&RowPairs { row, blocks }, scratch, target, stop);
        }
    }
}

/// The diagonal of one kernel, with the same bits as in the whole kernel.
///
/// # Errors
/// As [`Convolutional::new`] and [`pool::for_each`].
pub fn diagonal(
    network: &Convolution,
    geometry: &Geometry,
    images: Images,
    output: Output,
    watch: &mut Watch<'_>,
) -> Result<Vec<f64>> {
    let count = images.len() as f64;
    let pairs = WIDTH as f64 * geometry.entry_cycles(network);
    let shares = [ImageProfile::cycles(network, geometry), pairs];
    let mut stages = Stages::new(watch, &shares);
    let inputs = stages.next(|watch| ImageInputs::new(network, geometry, images, watch))?;
    let (mut values, outputs) = (vec![0.0; inputs.images.len()], [output]);
    let kernel = Convolutional::new(network, geometry, [&inputs, &inputs], &outputs)?;
    let load = Load::new(values.len(), count * pairs);
    let scratch = || (Scratch::default(), [Tile::default()]);
    let work = |(scratch, tile): &mut (Scratch, [Tile; 1]),
                (row, value): (usize, &mut f64),
                stop: &Stop| {
        tile[0].reshape(1, WIDTH);
        let blocks = row / WIDTH..row / WIDTH + 1;
        let target = PlaneRow {
            planes: &mut tile[..],
            row: 0,
        };
        kernel.row(&RowPairs { row, blocks }, scratch, target, stop);
        *value = tile[0].row(0)[row % WIDTH];
    };
    let items = values.iter_mut().enumerate();
    stages.next(|watch| pool::for_each(items, load, watch, scratch, work))?;
    Ok(values)
}
