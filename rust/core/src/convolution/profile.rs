//! The variances of images at every pixel, layer by layer: the plane of displacement 0, in two floats.

use std::mem;

use super::geometry::{AxisLayer, Geometry};
use super::images::{Images, unit};
use super::network::{Convolution, LayerScale};
use crate::activations::features::Features;
use crate::engine::pool::{self, Load, Stages, Watch};
use crate::error::{Error, Result};
use crate::infinite::error_bound::ErrorBound;
use crate::isa::{Block, WIDTH};
use crate::math::double_double::{DoubleDouble, two_product};

/// Roots must stay below this, or the product of two of them would overflow.
const LARGEST: f64 = 1e150;

/// The variances of a batch of images. Block `group · pixels + pixel` of a list holds one number of eight images.
///
/// The input of each layer counts in a power of two of its image. So nothing overflows or underflows in between.
#[derive(Debug)]
pub struct ImageProfile {
    pub(super) layers: Vec<LayerProfile>,
    /// `√E φ²` after the last activation, and its low part.
    pub(super) roots: [Vec<Block>; 2],
    /// The sum of its square over all pixels of each image.
    pub(super) squares: Vec<DoubleDouble>,
    /// The exponents of the powers of two that are the units of these roots, and of all tangent kernels.
    pub(super) exponents: Vec<i32>,
    missing: Vec<f64>,
}

/// The variances of a batch before and after one convolution, and the numbers of the activation after it.
#[derive(Debug, Default)]
pub(super) struct LayerProfile {
    /// ω, the root mean square of the input at each of its pixels, and its low part, unless the activation is
    /// scale-free. Empty in the first layer, whose input are the pixels themselves.
    pub inputs: [Vec<Block>; 2],
    /// `i = σ_w/(√k r)` with `r = √Σ(p, p)` at each pixel of the output, and its low part, if that of ω is
    /// there. 0 where r = 0.
    pub inverses: [Vec<Block>; 2],
    /// `κ = σ_b √k/σ_w`, one block for each group.
    pub biases: Vec<Block>,
    /// The unit of the input in that of tangent kernels, one block for each group.
    pub units: Vec<Block>,
    /// The numbers of the output's pixels that the activation reads.
    pub features: Features,
    /// The largest r of each image, and the exponent of its input's unit.
    largest: Vec<f64>,
    exponents: Vec<i32>,
}

impl ImageProfile {
    /// The variances of `images` in a network.
    ///
    /// # Errors
    /// [`Error::ImageOverflow`] if a variance leaves the range of `f64`; as [`Dual::describe`] and
    /// [`pool::for_each`](crate::engine::pool::for_each).
    ///
    /// [`Dual::describe`]: crate::activations::dual::Dual::describe
    pub fn new(
        network: &Convolution,
        geometry: &Geometry,
        images: &Images,
        watch: &mut Watch<'_>,
    ) -> Result<Self> {
        let shares = Self::shares(network, geometry);
        let (mut stages, mut layers, mut missing) =
            (Stages::new(watch, &shares), Vec::new(), Vec::new());
        let (mut input, mut exponents) = (LayerInput::Pixels(images), images.exponents.clone());
        for (index, layer) in network.layers.iter().enumerate() {
            let task = LayerTask {
                axes: geometry.axes.each_ref().map(|axis| &axis.layers[index]),
                scale: network.scale(index, images.channels),
                sigma_b: layer.scales.sigma_b,
                images,
                exponents: &exponents,
            };
            let (mut level, r) = stages.next(|watch| task.run(&input, watch))?;
            if let LayerInput::Roots(roots) = &input {
                level.inputs = [0, 1].map(|part: usize| part_of(roots, part));
            }
            let description = stages.next(|watch| layer.dual().describe(&r, watch))?;
            level.features = description.features;
            level.drop_low_parts();
            missing.push(description.missing);
            layers.push(level);
            let next = network.layers.get(index + 1);
            let bias = next.map_or(0.0, |_| network.scale(index + 1, images.channels).bias);
            let (roots, units) = scaled_roots(images, description.roots, bias)?;
            (input, exponents) = (LayerInput::Roots(roots), units);
        }
        let roots = input.into_roots();
        let mut profile = Self {
            layers,
            roots: [0, 1].map(|part: usize| part_of(&roots, part)),
            squares: square_sums(&roots, images.groups()),
            exponents,
            missing,
        };
        profile.scale(network, images)?;
        Ok(profile)
    }

    /// Estimated cycles of [`ImageProfile::new`] per image, on one thread.
    pub fn cycles(network: &Convolution, geometry: &Geometry) -> f64 {
        Self::shares(network, geometry).iter().sum()
    }

    /// Estimated cycles of its stages: the variances of each layer, and the numbers of its activation.
    fn shares(network: &Convolution, geometry: &Geometry) -> Vec<f64> {
        let [rows, columns] = geometry.axes.each_ref().map(|axis| &axis.layers);
        let layers = network.layers.iter().zip(rows.iter().zip(columns));
        let share = |(layer, (row, column)): (
            &super::network::ConvolutionLayer,
            (&AxisLayer, &AxisLayer),
        )| {
            let pixels = (row.output * column.output) as f64;
            let taps = (row.window * column.window) as f64;
            [
                pixels * (200.0 + 20.0 * taps),
                pixels * layer.dual().description_cycles(),
            ]
        };
        layers.flat_map(share).collect()
    }

    /// Fills the units of all layers.
    ///
    /// # Errors
    /// [`Error::ImageOverflow`] if a variance is too large in units of the last layer's.
    fn scale(&mut self, network: &Convolution, images: &Images) -> Result<()> {
        let learned = network.layers.iter().map(|layer| layer.scales.tau_b);
        let most = learned.fold(network.dense.sigma_b, f64::max);
        for (index, exponent) in self.exponents.iter().enumerate() {
            let too_large = libm::scalbn(most, -exponent) >= LARGEST;
            let ratio = |layer: &LayerProfile| {
                let exponent = layer.exponents[index] - exponent;
                let largest = libm::scalbn(layer.largest[index], exponent);
                largest < LARGEST && libm::scalbn(1.0, exponent).is_finite()
            };
            if too_large || !self.layers.iter().all(ratio) {
                return Err(overflow(images, index));
            }
        }
        for layer in &mut self.layers {
            let pairs = layer.exponents.iter().zip(&self.exponents);
            let units: Vec<_> = pairs
                .map(|(own, last)| libm::scalbn(1.0, own - last))
                .collect();
            layer.units = units.as_chunks().0.to_vec();
        }
        Ok(())
    }

    /// Bound on the error of any kernel entry between these images, round-off excluded, given the relative truncation
    /// error of each activation after the head.
    pub(super) fn bound(&self, dense: &[f64]) -> ErrorBound {
        ErrorBound::of_network(&[&self.missing, dense].concat())
    }
}

impl LayerProfile {
    /// Drops the low parts if the activation is scale-free: then only the roots of small gaps matter.
    fn drop_low_parts(&mut self) {
        if self.features.0.is_empty() {
            (self.inputs[1], self.inverses[1]) = (Vec::new(), Vec::new());
        }
    }
}

/// The error of an image, given its place among the lanes of all groups, whose variance is too large.
fn overflow(images: &Images, place: usize) -> Error {
    Error::ImageOverflow {
        argument: images.argument,
        image: images.image(place / WIDTH, place % WIDTH),
    }
}

/// The high parts of numbers, or the low parts, as blocks.
fn part_of(numbers: &[DoubleDouble], part: usize) -> Vec<Block> {
    let chunks = numbers.as_chunks::<WIDTH>().0.iter();
    let value = |number: DoubleDouble| [number.hi, number.lo][part];
    chunks.map(|chunk| chunk.map(value)).collect()
}

/// The sums of squares over all pixels of each image.
fn square_sums(roots: &[DoubleDouble], groups: usize) -> Vec<DoubleDouble> {
    let each = (roots.len() / groups.max(1)).max(1);
    let sum = |roots: &[DoubleDouble], lane: usize| {
        let own = roots.iter().skip(lane).step_by(WIDTH);
        own.fold(DoubleDouble::default(), |sum, root| sum + *root * *root)
    };
    let lanes = |roots| (0..WIDTH).map(move |lane| sum(roots, lane));
    roots.chunks(each).flat_map(lanes).collect()
}

/// The input of a layer.
enum LayerInput<'a> {
    /// The pixels of the images, in units of their powers of two.
    Pixels(&'a Images),
    /// ω at each pixel of each image, eight images side by side, in units of powers of two.
    Roots(Vec<DoubleDouble>),
}

impl LayerInput<'_> {
    fn into_roots(self) -> Vec<DoubleDouble> {
        match self {
            Self::Pixels(_) => Vec::new(),
            Self::Roots(roots) => roots,
        }
    }
}

/// Roots in units of the power of two of their image, and its exponent: that of the largest of them, or of the next layer's bias.
///
/// # Errors
/// [`Error::ImageOverflow`] if a root is too large.
fn scaled_roots(
    images: &Images,
    mut roots: Vec<DoubleDouble>,
    bias: f64,
) -> Result<(Vec<DoubleDouble>, Vec<i32>)> {
    let groups = images.groups();
    let each = roots.len() / groups.max(1);
    let mut exponents = vec![0; groups * WIDTH];
    for (group, roots) in roots.chunks_mut(each.max(1)).enumerate() {
        for lane in 0..WIDTH {
            let own = || roots.iter().skip(lane).step_by(WIDTH);
            // Not a number compares as false.
            if !own().all(|root| root.hi < LARGEST) {
                return Err(overflow(images, group * WIDTH + lane));
            }
            exponents[group * WIDTH + lane] =
                unit(own().fold(bias, |most, root| most.max(root.hi)));
        }
        for (place, root) in roots.iter_mut().enumerate() {
            *root = root.scaled(-exponents[group * WIDTH + place % WIDTH]);
        }
    }
    Ok((roots, exponents))
}

/// The variances after one layer, for all images.
struct LayerTask<'a> {
    axes: [&'a AxisLayer; 2],
    scale: LayerScale,
    sigma_b: f64,
    images: &'a Images,
    /// The exponents of the input's units.
    exponents: &'a [i32],
}

/// The output of one layer on a group of images: r, i and its low part at each pixel.
#[derive(Default)]
struct GroupLevel {
    r: Vec<DoubleDouble>,
    inverses: [Vec<Block>; 2],
    largest: Block,
}

impl LayerTask<'_> {
    /// Returns the layer's numbers, without those of its activation, and r at each pixel of each image.
    fn run(
        &self,
        input: &LayerInput<'_>,
        watch: &mut Watch<'_>,
    ) -> Result<(LayerProfile, Vec<DoubleDouble>)> {
        let groups = self.images.groups();
        let [rows, columns] = self.axes;
        let taps = (rows.window * columns.window) as f64;
        let pixels = (rows.output * columns.output * WIDTH) as f64;
        let load = Load::new(groups, groups as f64 * pixels * (200.0 + 20.0 * taps));
        let work = |group, _: &_| {
            let squares = self.squares(input, group);
            self.group(&squares, &self.exponents[group * WIDTH..])
        };
        let parts = pool::map(0..groups, load, watch, work)?;
        let bias = |exponent: &i32| libm::scalbn(self.scale.bias, -exponent);
        let biases: Vec<_> = self.exponents.iter().map(bias).collect();
        let mut level = LayerProfile {
            biases: biases.as_chunks().0.to_vec(),
            exponents: self.exponents.to_vec(),
            ..LayerProfile::default()
        };
        let mut all = Vec::new();
        for (group, mut part) in parts.into_iter().enumerate() {
            if let Some(lane) = part.largest.iter().position(|r| *r >= LARGEST) {
                return Err(overflow(self.images, group * WIDTH + lane));
            }
            let exponents = self.exponents[group * WIDTH..].iter();
            let unscale = |(largest, exponent): (f64, &i32)| libm::scalbn(largest, -exponent);
            level
                .largest
                .extend(part.largest.into_iter().zip(exponents).map(unscale));
            for (list, part) in level.inverses.iter_mut().zip(mem::take(&mut part.inverses)) {
                list.extend(part);
            }
            all.extend(part.r);
        }
        Ok((level, all))
    }

    /// The mean square of the input at each pixel of a group, times the number of channels.
    fn squares(&self, input: &LayerInput<'_>, group: usize) -> Vec<DoubleDouble> {
        let [rows, columns] = self.axes;
        let pixels = rows.input * columns.input;
        match input {
            LayerInput::Pixels(images) => {
                let channels = images.channels;
                let each = &images.values[group * pixels * channels..][..pixels * channels];
                let square = |pixel: &[Block], lane: usize| {
                    let squares = pixel.iter().map(|value| {
                        let (hi, lo) = two_product(value[lane], value[lane]);
                        DoubleDouble { hi, lo }
                    });
                    squares.fold(DoubleDouble::default(), |sum, square| sum + square)
                };
                let lanes = |pixel| (0..WIDTH).map(move |lane| square(pixel, lane));
                each.chunks(channels).flat_map(lanes).collect()
            }
            LayerInput::Roots(roots) => {
                let each = &roots[group * pixels * WIDTH..][..pixels * WIDTH];
                each.iter().map(|root| *root * *root).collect()
            }
        }
    }

    /// The output at each pixel of a group, given the squares of its input and the exponents of their units.
    fn group(&self, squares: &[DoubleDouble], exponents: &[i32]) -> GroupLevel {
        let [rows, columns] = self.axes;
        let (mut level, root) = (GroupLevel::default(), self.scale.root);
        let pixels = (0..rows.output).flat_map(|y| (0..columns.output).map(move |x| [y, x]));
        for pixel in pixels {
            let mut inverses = [[0.0; WIDTH]; 2];
            for lane in 0..WIDTH {
                let sum = self.window_sum(squares, pixel, lane);
                let bias = DoubleDouble::from(libm::scalbn(self.sigma_b, -exponents[lane]));
                let scaled = (root * root * sum + bias * bias).sqrt();
                let r = scaled.scaled(exponents[lane]);
                if scaled.hi != 0.0 {
                    let inverse = root / scaled;
                    (inverses[0][lane], inverses[1][lane]) = (inverse.hi, inverse.lo);
                }
                // Not a number if the square of a scale overflows: an infinite r says so.
                let hi = if r.hi.is_nan() { f64::INFINITY } else { r.hi };
                level.largest[lane] = level.largest[lane].max(hi);
                level.r.push(r);
            }
            level.inverses[0].push(inverses[0]);
            level.inverses[1].push(inverses[1]);
        }
        level
    }

    /// The sum of the squares under the window of an output pixel.
    fn window_sum(&self, squares: &[DoubleDouble], pixel: [usize; 2], lane: usize) -> DoubleDouble {
        let [rows, columns] = self.axes;
        let mut sum = DoubleDouble::default();
        for y in (0..rows.window).filter_map(|tap| rows.tap(pixel[0], tap)) {
            for x in (0..columns.window).filter_map(|tap| columns.tap(pixel[1], tap)) {
                sum = sum + squares[(y * columns.input + x) * WIDTH + lane];
            }
        }
        sum
    }
}
