//! All planes of one image against eight: each runs through all layers, and adds to the head.

use super::buffers::{PlaneGrid, RectangleSum, RowBuffers};
use super::geometry::{AxisLayer, AxisPlane, Geometry};
use super::images::Images;
use super::near::FlatHead;
use super::network::Convolution;
use super::pair::{LayerPair, LayerSide, OwnTerm};
use super::pixels::PixelProducts;
use super::profile::ImageProfile;
use super::rows::{BAND, HeadSums, LayerPass};
use crate::engine::pool::Stop;
use crate::isa::{Block, Isa, WIDTH};
use crate::math::double_double::two_sum;

/// Per-worker scratch space, reused between entries.
#[derive(Debug, Default)]
pub struct PlaneScratch {
    old: PlaneGrid,
    new: PlaneGrid,
    buffers: RowBuffers,
    sums: [Vec<RectangleSum>; 2],
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
    pub sides: [ImageSide<'a>; 2],
    /// The index of the image.
    pub row: usize,
    /// The index of the group.
    pub group: usize,
}

impl ImagePairs<'_> {
    /// The means of T and of ṪΘ over the pairs that the head reads, in units of both images. If the head is flat and
    /// gaps of its output are wanted, also 1 − ρ and 1 + ρ of this output.
    pub fn run(&self, scratch: &mut PlaneScratch, stop: &Stop) -> ([Block; 2], [Block; 2]) {
        let layers: Vec<_> = (0..self.network.layers.len())
            .map(|index| self.layer(index))
            .collect();
        let [vertical, horizontal] = &self.geometry.axes;
        let mut totals = [[[0.0; WIDTH]; 2]; 2];
        for (y, rows) in vertical.planes.iter().enumerate() {
            for (x, columns) in horizontal.planes.iter().enumerate() {
                let opposite = [rows.opposite, columns.opposite];
                if opposite < [y, x] {
                    continue;
                }
                if stop.requested() {
                    return ([[0.0; WIDTH]; 2], [[0.0; WIDTH]; 2]);
                }
                self.plane(&layers, [rows, columns], scratch, 0);
                scratch.sums[1].clear();
                if opposite != [y, x] {
                    let [y, x] = opposite;
                    let planes = [&vertical.planes[y], &horizontal.planes[x]];
                    self.plane(&layers, planes, scratch, 1);
                }
                add_both_ways(&scratch.sums, &mut totals);
            }
        }
        let divisor = vertical.divisor * horizontal.divisor;
        let mean = |[sum, rest]: [Block; 2]| {
            std::array::from_fn(|lane| (sum[lane] + rest[lane]) / divisor)
        };
        let turns = scratch.sums[0]
            .first()
            .map_or([[0.0; WIDTH]; 2], |sum| sum.turns);
        (totals.map(mean), turns)
    }

    /// Runs one plane through all layers, and writes its sums to list `target`.
    fn plane(
        &self,
        layers: &[LayerPair<'_>],
        plane: [&AxisPlane; 2],
        scratch: &mut PlaneScratch,
        target: usize,
    ) {
        let PlaneScratch {
            old,
            new,
            buffers,
            sums,
        } = scratch;
        let levels = |level: usize| plane.map(|plane| &plane.levels[level]);
        sums[target].clear();
        self.multiply_pixels(&layers[0], plane, old);
        for (index, layer) in layers.iter().enumerate() {
            old.fill_guards(levels(index), index == 0);
            new.reshape(levels(index + 1));
            let [columns, pairs] = [levels(index), levels(index + 1)].map(|level| level[1].size);
            buffers.resize(columns, pairs.max(BAND));
            let is_last = index + 1 == layers.len();
            self.isa.run(LayerPass {
                layer,
                inputs: levels(index),
                outputs: levels(index + 1),
                old: &*old,
                new: &mut *new,
                buffers: &mut *buffers,
                head: is_last.then_some(HeadSums {
                    weights: plane.map(|plane| plane.weights.as_slice()),
                    flat: self.flat_head(),
                    sums: &mut sums[target],
                }),
            });
            std::mem::swap(old, new);
        }
    }

    /// Fills the input of the first layer: products of pixels.
    fn multiply_pixels(&self, layer: &LayerPair<'_>, plane: [&AxisPlane; 2], grid: &mut PlaneGrid) {
        let levels = plane.map(|plane| &plane.levels[0]);
        grid.reshape(levels);
        self.isa.run(PixelProducts {
            levels,
            layer,
            channels: self.sides[0].images.channels,
            grid,
        });
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
        let axes = self
            .geometry
            .axes
            .each_ref()
            .map(|axis| &axis.layers[index]);
        let (first, lane) = (index == 0, self.row % WIDTH);
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
        let first = index == 0;
        let channels = self.images.channels;
        LayerSide {
            pixels: if first {
                part(&self.images.values, inputs * channels)
            } else {
                &[]
            },
            inputs: if first {
                [&[], &[]]
            } else {
                layer.inputs.each_ref().map(|list| part(list, inputs))
            },
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
