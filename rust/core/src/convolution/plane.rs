//! All planes of one image against eight: each runs through the layers of a stage, and adds to a pool or to the head.

use super::axis::{AxisLayer, AxisPlane};
use super::buffers::{PlaneGrid, RectangleSum, RowBuffers};
use super::chain::ChainStage;
use super::geometry::Geometry;
use super::images::Images;
use super::near::{FlatHead, NEAR, SINGLE_NEAR};
use super::network::Convolution;
use super::own_pixels::WindowTotals;
use super::pair::{LayerPair, LayerSide, OwnTerm};
use super::pixels::PixelProducts;
use super::pooled::{PoolSums, PooledTensor};
use super::profile::ImageProfile;
use super::rows::{BAND, HeadSums, LayerPass, PlaneEnd};
use crate::engine::pool::Stop;
use crate::isa::{Block, Isa, WIDTH};
use crate::math::double_double::two_sum;

/// Per-worker scratch space, reused between entries.
#[derive(Debug, Default)]
pub struct PlaneScratch {
    planes: PlaneMemory,
    sums: [Vec<RectangleSum>; 2],
    /// The outputs of pools, in turns.
    pooled: [PooledTensor; 2],
}

/// Memory for one plane.
#[derive(Debug, Default)]
struct PlaneMemory {
    old: PlaneGrid,
    new: PlaneGrid,
    buffers: RowBuffers,
}

/// A batch of images with their variances.
#[derive(Clone, Copy, Debug)]
pub(super) struct ImageSide<'a> {
    pub images: &'a Images,
    pub profile: &'a ImageProfile,
    /// `1/√Σ_p ω²` of each image, and its low part, if gaps of the head's output are wanted and it is flat.
    pub flat: Option<&'a [Vec<Block>; 2]>,
}

/// Kernels of one image with the eight images of a group.
pub(super) struct ImagePairs<'a> {
    pub isa: Isa,
    pub network: &'a Convolution,
    pub geometry: &'a Geometry,
    /// The stages to run.
    pub chain: &'a [ChainStage],
    pub sides: [ImageSide<'a>; 2],
    /// The index of the image.
    pub row: usize,
    /// The index of the group.
    pub group: usize,
    /// True if gaps are rounded to `f32` in activations.
    pub single: bool,
}

/// A stage with the layers of both images, and the pooled tensor before it, if it is not the first one.
struct StagePairs<'a> {
    stage: &'a ChainStage,
    layers: Vec<LayerPair<'a>>,
    pooled: Option<&'a PooledTensor>,
}

impl ImagePairs<'_> {
    /// The means of T and of ṪΘ over the pairs that the head reads, in units of both images. If the head is flat and
    /// gaps of its output are wanted, also 1 − ρ and 1 + ρ of this output.
    pub fn run(&self, scratch: &mut PlaneScratch, stop: &Stop) -> ([Block; 2], [Block; 2]) {
        let zeros = ([[0.0; WIDTH]; 2], [[0.0; WIDTH]; 2]);
        let Some(last) = self.run_pools(scratch, stop) else {
            return zeros;
        };
        let PlaneScratch {
            planes,
            sums,
            pooled,
        } = scratch;
        let pairs = self.stage(last, &pooled[(self.chain.len() - 1) % 2]);
        let mut totals = [[[0.0; WIDTH]; 2]; 2];
        for [plane, opposite] in last.plane_pairs() {
            if stop.requested() {
                return zeros;
            }
            self.to_head(&pairs, plane, planes, &mut sums[0]);
            sums[1].clear();
            if opposite != plane {
                self.to_head(&pairs, opposite, planes, &mut sums[1]);
            }
            add_both_ways(sums, &mut totals);
        }
        let [vertical, horizontal] = &last.axes;
        let divisor = vertical.divisor * horizontal.divisor;
        let mean = |[sum, rest]: [Block; 2]| {
            std::array::from_fn(|lane| (sum[lane] + rest[lane]) / divisor)
        };
        let turns = sums[0].first().map_or([[0.0; WIDTH]; 2], |sum| sum.turns);
        (totals.map(mean), turns)
    }

    /// The sums over the windows of the first layer after the last pool, with its biases, for each pixel of the image
    /// with itself.
    pub fn totals(&self, scratch: &mut PlaneScratch, stop: &Stop) -> Vec<f64> {
        let Some(last) = self.run_pools(scratch, stop) else {
            return Vec::new();
        };
        let (grid, buffers) = (&mut scratch.planes.old, &mut scratch.planes.buffers);
        let pairs = self.stage(last, &scratch.pooled[(self.chain.len() - 1) % 2]);
        let plane = last.plane([0, 0]);
        let [inputs, outputs] = [0, 1].map(|level: usize| plane.map(|plane| &plane.levels[level]));
        self.fill(&pairs, plane, grid);
        grid.fill_guards(inputs, false);
        buffers.resize(inputs[1].size, BAND);
        let mut totals = Vec::new();
        let pass = LayerPass {
            layer: &pairs.layers[0],
            inputs,
            outputs,
            old: grid,
            new: &mut PlaneGrid::default(),
            buffers,
            end: None,
        };
        self.isa.run(WindowTotals {
            pass,
            totals: &mut totals,
        });
        totals
    }

    /// Runs all stages but the last one. Returns the last one, or none if all should stop.
    fn run_pools(&self, scratch: &mut PlaneScratch, stop: &Stop) -> Option<&ChainStage> {
        let (last, others) = self.chain.split_last()?;
        for (index, stage) in others.iter().enumerate() {
            let [even, odd] = &mut scratch.pooled;
            let (before, after) = if index % 2 == 0 {
                (even, odd)
            } else {
                (odd, even)
            };
            let pairs = self.stage(stage, before);
            after.start(&stage.axes);
            let (mut middle, memory) = (None, &mut scratch.planes);
            for [plane, opposite] in stage.plane_pairs() {
                if stop.requested() {
                    return None;
                }
                if stage.plane(plane).iter().all(|plane| plane.is_zero()) {
                    middle = Some(plane);
                    continue;
                }
                let itself = opposite == plane;
                self.to_pool(&pairs, plane, memory, after, (0, itself));
                if !itself {
                    self.to_pool(&pairs, opposite, memory, after, (1, false));
                }
            }
            after.merge();
            // The plane of all pixels with themselves is its own mirror image. It comes last.
            if let Some(plane) = middle {
                self.to_pool(&pairs, plane, memory, after, (0, true));
            }
            after.divide();
        }
        Some(last)
    }

    /// The layers of a stage, given the pooled tensor before it.
    fn stage<'a>(&'a self, stage: &'a ChainStage, pooled: &'a PooledTensor) -> StagePairs<'a> {
        StagePairs {
            stage,
            layers: stage
                .layers
                .clone()
                .map(|index| self.layer(index))
                .collect(),
            pooled: (stage.layers.start > 0).then_some(pooled),
        }
    }

    /// Runs one plane through the last stage, and replaces `sums` by its sums.
    fn to_head(
        &self,
        pairs: &StagePairs<'_>,
        plane: [usize; 2],
        memory: &mut PlaneMemory,
        sums: &mut Vec<RectangleSum>,
    ) {
        let plane = pairs.stage.plane(plane);
        sums.clear();
        let head = HeadSums {
            weights: plane.map(|plane| plane.weights.as_slice()),
            flat: self.flat_head(),
            sums,
        };
        self.plane(pairs, plane, memory, PlaneEnd::Head(head));
    }

    /// Runs one plane through a stage, and adds to the pooled tensor after it: 0 for a plane, 1 for the opposite one, and
    /// true if it is its own opposite.
    fn to_pool(
        &self,
        pairs: &StagePairs<'_>,
        plane: [usize; 2],
        memory: &mut PlaneMemory,
        tensor: &mut PooledTensor,
        (direction, itself): (usize, bool),
    ) {
        let plane = pairs.stage.plane(plane);
        let pool = PoolSums {
            tensor,
            targets: plane.map(|plane| plane.targets.as_slice()),
            direction,
            itself,
        };
        self.plane(pairs, plane, memory, PlaneEnd::Pool(pool));
    }

    /// Runs one plane through the layers of a stage.
    fn plane(
        &self,
        pairs: &StagePairs<'_>,
        plane: [&AxisPlane; 2],
        memory: &mut PlaneMemory,
        end: PlaneEnd<'_>,
    ) {
        let PlaneMemory { old, new, buffers } = memory;
        let levels = |level: usize| plane.map(|plane| &plane.levels[level]);
        let mut end = Some(end);
        self.fill(pairs, plane, old);
        for (index, layer) in pairs.layers.iter().enumerate() {
            old.fill_guards(levels(index), layer.channels.is_some());
            new.reshape(levels(index + 1));
            let [columns, width] = [levels(index), levels(index + 1)].map(|level| level[1].size);
            buffers.resize(columns, width.max(BAND));
            let is_last = index + 1 == pairs.layers.len();
            self.isa.run(LayerPass {
                layer,
                inputs: levels(index),
                outputs: levels(index + 1),
                old: &*old,
                new: &mut *new,
                buffers: &mut *buffers,
                end: if is_last { end.take() } else { None },
            });
            std::mem::swap(old, new);
        }
    }

    /// Fills the input of a stage: products of pixels, or means of the pool before it.
    fn fill(&self, pairs: &StagePairs<'_>, plane: [&AxisPlane; 2], grid: &mut PlaneGrid) {
        let levels = plane.map(|plane| &plane.levels[0]);
        grid.reshape(levels);
        match pairs.pooled {
            Some(pooled) => pooled.cut(plane, grid),
            None => self.isa.run(PixelProducts {
                levels,
                layer: &pairs.layers[0],
                channels: self.sides[0].images.channels,
                grid,
            }),
        }
    }

    /// The numbers of the head's gap, if it is wanted and the head is flat.
    fn flat_head(&self) -> Option<FlatHead> {
        let groups = [self.row / WIDTH, self.group];
        let numbers = |side: usize| {
            let parts = self.sides[side].flat?;
            Some(parts.each_ref().map(|part| part[groups[side]]))
        };
        Some(FlatHead {
            inverses: [numbers(0)?, numbers(1)?],
        })
    }

    /// Layer `index` of these images.
    fn layer(&self, index: usize) -> LayerPair<'_> {
        let layer = &self.network.layers[index];
        let axes = self.geometry.layers[index].each_ref();
        let (first, lane) = (index == 0, self.row % WIDTH);
        let single = layer.dual().single().filter(|_| self.single);
        let scale = self.network.scale(index, self.sides[0].images.channels);
        let groups = [self.row / WIDTH, self.group];
        let [side_u, side_v] =
            [0, 1].map(|side: usize| self.sides[side].layer(index, axes, groups[side]));
        let profiles = self.sides.map(|side| side.profile);
        let [u, v] = [0, 1].map(|side: usize| {
            let exponents = profiles[side].exponents[groups[side] * WIDTH..].iter();
            (&profiles[side].layers[index].units[groups[side]], exponents)
        });
        let unit = libm::scalbn(1.0, -self.sides[0].profile.exponents[self.row]);
        let (tau_w, tau_b) = (layer.scales.tau_w, layer.scales.tau_b);
        let mut own = OwnTerm {
            weights: v
                .0
                .map(|unit| tau_w * tau_w / scale.taps * (u.0[lane] * unit)),
            biases: [0.0; WIDTH],
        };
        for (bias, exponent) in own.biases.iter_mut().zip(v.1) {
            *bias = (tau_b * unit) * (tau_b * libm::scalbn(1.0, -exponent));
        }
        LayerPair {
            isa: self.isa,
            dual: layer.dual(),
            single,
            near: if single.is_some() { SINGLE_NEAR } else { NEAR },
            axes,
            lane,
            sides: [side_u, side_v],
            channels: first.then_some(self.sides[0].images.channels),
            variance: (scale.root * scale.root).hi,
            own,
            exact: !side_u.features.0.0.is_empty(),
        }
    }
}

impl<'a> ImageSide<'a> {
    /// The numbers of a group of images at layer `index`.
    fn layer(&self, index: usize, axes: [&AxisLayer; 2], group: usize) -> LayerSide<'a> {
        let (profile, layer) = (self.profile, &self.profile.layers[index]);
        let inputs = axes[0].input * axes[1].input;
        let outputs = axes[0].output * axes[1].output;
        let part = |list: &'a [Block], each: usize| match list {
            [] => list,
            _ => &list[group * each..(group + 1) * each],
        };
        let (first, channels) = (index == 0, self.images.channels);
        LayerSide {
            pixels: if first {
                part(&self.images.values, inputs * channels)
            } else {
                &[]
            },
            inputs: if first || !layer.totals.is_empty() {
                [&[], &[]]
            } else {
                layer.inputs.each_ref().map(|list| part(list, inputs))
            },
            totals: part(&layer.totals, outputs),
            inverses: layer.inverses.each_ref().map(|list| part(list, outputs)),
            bias: &layer.biases[group],
            features: (&layer.features, group * outputs),
            outputs: match profile.layers.get(index + 1) {
                Some(next) => &next.inputs,
                None => &profile.roots,
            }
            .each_ref()
            .map(|list| part(list, outputs)),
        }
    }
}

/// Adds the sums of a plane and of the opposite one, which is the plane itself if the second list is empty. Each
/// rectangle is added to that of the opposite displacement first, so that exchanging the images changes no bit.
fn add_both_ways(sums: &[Vec<RectangleSum>; 2], totals: &mut [[Block; 2]; 2]) {
    let itself = sums[1].is_empty();
    let others = if itself { &sums[0] } else { &sums[1] };
    for one in &sums[0] {
        let shift = one.shift.map(|shift| -shift);
        if itself && shift > one.shift {
            continue;
        }
        let found = others.iter().find(|other| other.shift == shift);
        let other = found.filter(|_| !itself || shift != one.shift);
        for (index, total) in totals.iter_mut().enumerate() {
            for lane in 0..WIDTH {
                let [sum, rest] = one.sums[index].map(|values| values[lane]);
                let (both, rests) = match other.map(|other| other.sums[index]) {
                    None => (sum, rest),
                    Some([values, others]) => {
                        let (both, error) = two_sum(sum, values[lane]);
                        (both, error + (rest + others[lane]))
                    }
                };
                let (new, error) = two_sum(total[0][lane], both);
                total[0][lane] = new;
                total[1][lane] += error + rests;
            }
        }
    }
}
