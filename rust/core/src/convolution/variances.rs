//! The variances of images after one layer, at every pixel, in two floats.

use std::mem;

use super::axis::AxisLayer;
use super::images::{Images, unit};
use super::network::LayerScale;
use super::profile::{LARGEST, LayerProfile, overflow};
use crate::engine::pool::{self, Load, Watch};
use crate::error::Result;
use crate::isa::{Block, WIDTH};
use crate::math::double_double::{DoubleDouble, two_product};

/// The input of a layer.
pub(super) enum LayerInput<'a> {
    /// The pixels of the images, in units of their powers of two.
    Pixels(&'a Images),
    /// ω at each pixel of each image, eight images side by side, in units of powers of two.
    Roots(&'a [DoubleDouble]),
    /// After a pool, the sums over windows with biases, for each pixel of the layer's output.
    Totals(&'a [f64]),
}

/// The high parts of numbers, or the low parts, as blocks.
pub(super) fn part_of(numbers: &[DoubleDouble], part: usize) -> Vec<Block> {
    let chunks = numbers.as_chunks::<WIDTH>().0.iter();
    let value = |number: DoubleDouble| [number.hi, number.lo][part];
    chunks.map(|chunk| chunk.map(value)).collect()
}

/// The sums of squares over all pixels of each image.
pub(super) fn square_sums(roots: &[DoubleDouble], groups: usize) -> Vec<DoubleDouble> {
    let each = (roots.len() / groups.max(1)).max(1);
    let sum = |roots: &[DoubleDouble], lane: usize| {
        let own = roots.iter().skip(lane).step_by(WIDTH);
        own.fold(DoubleDouble::default(), |sum, root| sum + *root * *root)
    };
    let lanes = |roots| (0..WIDTH).map(move |lane| sum(roots, lane));
    roots.chunks(each).flat_map(lanes).collect()
}

/// Roots in units of the power of two of their image, and its exponent: that of the largest of them, or of the next layer's bias.
///
/// # Errors
/// [`Error::ImageOverflow`](crate::Error::ImageOverflow) if a root is too large.
pub(super) fn scaled_roots(
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
pub(super) struct LayerTask<'a> {
    pub axes: [&'a AxisLayer; 2],
    pub scale: LayerScale,
    pub sigma_b: f64,
    pub images: &'a Images,
}

/// The output of one layer on a group of images: r, i and its low part at each pixel.
#[derive(Default)]
struct GroupLevel {
    r: Vec<DoubleDouble>,
    inverses: [Vec<Block>; 2],
    largest: Block,
}

impl LayerTask<'_> {
    /// Fills the inverses of a layer and its largest roots. Returns r at each pixel of each image.
    ///
    /// # Errors
    /// [`Error::ImageOverflow`](crate::error::Error::ImageOverflow) if a root is too large; as [`pool::map`].
    pub fn run(
        &self,
        input: &LayerInput<'_>,
        level: &mut LayerProfile,
        watch: &mut Watch<'_>,
    ) -> Result<Vec<DoubleDouble>> {
        let groups = self.images.groups();
        let [rows, columns] = self.axes;
        let taps = (rows.window * columns.window) as f64;
        let pixels = (rows.output * columns.output * WIDTH) as f64;
        let load = Load::new(groups, groups as f64 * pixels * (200.0 + 20.0 * taps));
        let exponents = &level.exponents;
        let work = |group, _: &_| self.group(input, group, &exponents[group * WIDTH..]);
        let parts = pool::map(0..groups, load, watch, work)?;
        let mut all = Vec::new();
        for (group, mut part) in parts.into_iter().enumerate() {
            if let Some(lane) = part.largest.iter().position(|r| *r >= LARGEST) {
                return Err(overflow(self.images, group * WIDTH + lane));
            }
            let exponents = level.exponents[group * WIDTH..].iter();
            let unscale = |(largest, exponent): (f64, &i32)| libm::scalbn(largest, -exponent);
            level
                .largest
                .extend(part.largest.into_iter().zip(exponents).map(unscale));
            for (list, part) in level.inverses.iter_mut().zip(mem::take(&mut part.inverses)) {
                list.extend(part);
            }
            all.extend(part.r);
        }
        Ok(all)
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
            LayerInput::Totals(_) => Vec::new(),
        }
    }

    /// The output at each pixel of a group, given the exponents of the units of its input.
    fn group(&self, input: &LayerInput<'_>, group: usize, exponents: &[i32]) -> GroupLevel {
        let [rows, columns] = self.axes;
        let (mut level, root) = (GroupLevel::default(), self.scale.root);
        let squares = self.squares(input, group);
        let pixels = (0..rows.output).flat_map(|y| (0..columns.output).map(move |x| [y, x]));
        for (index, pixel) in pixels.enumerate() {
            let mut inverses = [[0.0; WIDTH]; 2];
            for lane in 0..WIDTH {
                let place = (group * rows.output * columns.output + index) * WIDTH + lane;
                let scaled = if let LayerInput::Totals(totals) = input {
                    (root * root * DoubleDouble::from(totals[place])).sqrt()
                } else {
                    let sum = self.window_sum(&squares, pixel, lane);
                    let bias = DoubleDouble::from(libm::scalbn(self.sigma_b, -exponents[lane]));
                    (root * root * sum + bias * bias).sqrt()
                };
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
