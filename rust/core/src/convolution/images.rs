//! Batches of images, eight side by side.

use std::ops::Range;

use ndarray::ArrayView4;

use super::network::Convolution;
use crate::engine::pool::{self, Load, Watch, unwatched};
use crate::engine::scalar::Scalar;
use crate::error::{Error, Result};
use crate::isa::{Block, WIDTH};

/// A private copy of a batch of images in `f64`, taken before another thread can change them.
///
/// Images are grouped by eight, and the last one fills up its group. Block `(group · pixels + pixel) · channels + channel`
/// holds one value of each image of a group.
#[derive(Debug)]
pub struct Images {
    pub(super) values: Vec<Block>,
    /// The exponents of the powers of two that are the units of the images, eight in every group.
    pub(super) exponents: Vec<i32>,
    /// The index of the first image in the batch that errors name.
    pub(super) first: usize,
    len: usize,
    pub(super) sides: [usize; 2],
    pub(super) channels: usize,
    /// True if the values are those of `f32` images.
    pub(super) single: bool,
    pub(super) argument: &'static str,
}

impl Images {
    /// Copies (N, H, W, C) images. `argument` is their name in errors.
    ///
    /// # Errors
    /// [`Error::PixelNotFinite`], [`Error::Cancelled`], and [`Error::Invalid`] if an image has no pixel or channel.
    pub fn new<T: Scalar>(
        network: &Convolution,
        x: ArrayView4<'_, T>,
        argument: &'static str,
        watch: &mut Watch<'_>,
    ) -> Result<Self> {
        let (len, height, width, channels) = x.dim();
        let each = height * width * channels;
        if each == 0 {
            let shape = (height, width, channels);
            let message = format!(
                "{argument} has images of shape {shape:?}, but each needs a pixel and a channel"
            );
            return Err(Error::Invalid(message));
        }
        let groups = len.div_ceil(WIDTH);
        let mut values = vec![[0.0; WIDTH]; groups * each];
        // The bias of the first layer counts in the unit too, so that its ratio to the pixels is finite.
        let bias = network.scale(0, channels).bias;
        let chunks = values.chunks_mut(each).enumerate();
        let load = Load::new(groups, 4.0 * (len * each) as f64);
        let copy = |(group, values): (usize, &mut [Block]), _: &_| {
            let group = GroupCopy { x: &x, group, bias };
            group.fill(values, argument)
        };
        // The watch may run Python code, which may write to the array: nobody reads it then.
        let exponents = pool::map(chunks, load, &mut unwatched, copy)?;
        let exponents = exponents.into_iter().collect::<Result<Vec<_>>>()?;
        if watch(1, 1).is_break() {
            return Err(Error::Cancelled);
        }
        Ok(Self {
            values,
            exponents: exponents.into_flattened(),
            first: 0,
            len,
            sides: [height, width],
            channels,
            single: T::SINGLE,
            argument,
        })
    }

    /// A copy of some images. The last one must end a group or the batch.
    ///
    /// # Panics
    /// If the first one does not begin a group.
    pub(super) fn part(&self, images: Range<usize>) -> Self {
        assert!(images.start.is_multiple_of(WIDTH));
        let each = self.sides[0] * self.sides[1] * self.channels;
        let groups = images.start / WIDTH..images.end.div_ceil(WIDTH);
        Self {
            values: self.values[groups.start * each..groups.end * each].to_vec(),
            exponents: self.exponents[groups.start * WIDTH..groups.end * WIDTH].to_vec(),
            first: self.first + images.start,
            len: images.len(),
            ..*self
        }
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is no image.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The rows and columns of each image.
    pub fn sides(&self) -> [usize; 2] {
        self.sides
    }

    /// The number of groups of eight.
    pub(super) fn groups(&self) -> usize {
        self.len.div_ceil(WIDTH)
    }

    /// The index of the image in a lane of a group. The last image fills up its group.
    pub(super) fn image(&self, group: usize, lane: usize) -> usize {
        (group * WIDTH + lane).min(self.len - 1)
    }

    /// Checks that another batch has images of the same shape.
    ///
    /// # Errors
    /// [`Error::Invalid`] otherwise.
    pub fn check_shape(&self, other: &Self) -> Result<()> {
        let shape = |images: &Self| (images.sides[0], images.sides[1], images.channels);
        if shape(self) == shape(other) {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "{} has images of shape {:?}, but {} has {:?}. Crop or resize one of them.",
            other.argument,
            shape(other),
            self.argument,
            shape(self)
        )))
    }
}

/// The copy of one group of images.
struct GroupCopy<'a, 'x, T> {
    x: &'a ArrayView4<'x, T>,
    group: usize,
    /// The images' units are not much smaller than this.
    bias: f64,
}

impl<T: Scalar> GroupCopy<'_, '_, T> {
    /// Copies the images, each in its own unit. Returns the exponents of the units.
    fn fill(&self, values: &mut [Block], argument: &'static str) -> Result<[i32; WIDTH]> {
        let (len, _, _, channels) = self.x.dim();
        let mut exponents = [0; WIDTH];
        for (lane, exponent) in exponents.iter_mut().enumerate() {
            let image = (self.group * WIDTH + lane).min(len - 1);
            let pixels = self.x.index_axis(ndarray::Axis(0), image);
            let mut largest = self.bias;
            for (place, (value, source)) in values.iter_mut().zip(pixels.iter()).enumerate() {
                let source = source.widen();
                if !source.is_finite() {
                    let (pixel, channel) = (place / channels, place % channels);
                    let width = self.x.dim().2;
                    return Err(Error::PixelNotFinite {
                        argument,
                        place: [image, pixel / width, pixel % width, channel],
                        value: source,
                    });
                }
                value[lane] = source;
                largest = largest.max(source.abs());
            }
            *exponent = unit(largest);
            for value in &mut *values {
                value[lane] = libm::scalbn(value[lane], -*exponent);
            }
        }
        Ok(exponents)
    }
}

/// The exponent of the power of two in which a number is in [1, 2); 0 for 0.
pub(super) fn unit(number: f64) -> i32 {
    if number == 0.0 {
        return 0;
    }
    libm::frexp(number).1 - 1
}
