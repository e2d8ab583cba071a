//! The variances of images at every pixel, layer by layer: the plane of displacement 0, in two floats.

use super::images::Images;
use super::network::Convolution;
use crate::activations::features::Features;
use crate::error::{Error, Result};
use crate::infinite::error_bound::ErrorBound;
use crate::isa::{Block, WIDTH};
use crate::math::double_double::DoubleDouble;

/// Roots must stay below this, or the product of two of them would overflow.
pub(super) const LARGEST: f64 = 1e150;

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
    pub(super) missing: Vec<f64>,
}

/// The variances of a batch before and after one convolution, and the numbers of the activation after it.
#[derive(Debug, Default)]
pub(super) struct LayerProfile {
    /// ω, the root mean square of the input at each of its pixels, and its low part, unless the activation is
    /// scale-free. Empty in the first layer, whose input are the pixels themselves.
    pub inputs: [Vec<Block>; 2],
    /// In the first layer after a pool, the sums over windows, with biases, of each pixel with itself. Empty in the others.
    pub totals: Vec<Block>,
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
    pub largest: Vec<f64>,
    pub exponents: Vec<i32>,
}

impl ImageProfile {
    /// Fills the units of all layers.
    ///
    /// # Errors
    /// [`Error::ImageOverflow`] if a variance is too large in units of the last layer's.
    pub(super) fn scale(&mut self, network: &Convolution, images: &Images) -> Result<()> {
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

    /// The memory that the numbers of all pixels take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let layer = |layer: &LayerProfile| -> usize {
            let lists = layer.inputs.iter().chain(&layer.inverses);
            let features = layer.features.0.iter().map(|list| list.blocks().len());
            lists.map(Vec::len).chain(features).sum::<usize>() + layer.totals.len()
        };
        let roots = self.roots.iter().map(Vec::len).sum::<usize>();
        (self.layers.iter().map(layer).sum::<usize>() + roots) * size_of::<Block>()
    }

    /// Bound on the error of any kernel entry between these images, round-off excluded, given the relative truncation
    /// error of each activation after the head.
    pub(super) fn bound(&self, dense: &[f64]) -> ErrorBound {
        ErrorBound::of_network(&[&self.missing, dense].concat())
    }
}

impl LayerProfile {
    /// Drops the low parts if the activation is scale-free: then only the roots of small gaps matter.
    pub fn drop_low_parts(&mut self) {
        if self.features.0.is_empty() {
            (self.inputs[1], self.inverses[1]) = (Vec::new(), Vec::new());
        }
    }
}

/// The error of an image, given its place among the lanes of all groups, whose variance is too large.
pub(super) fn overflow(images: &Images, place: usize) -> Error {
    Error::ImageOverflow {
        argument: images.argument,
        image: images.first + images.image(place / WIDTH, place % WIDTH),
    }
}
