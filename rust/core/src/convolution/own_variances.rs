//! The variances of images, from layer to layer.

use std::mem;

use super::axis::AxisLayer;
use super::geometry::Geometry;
use super::images::Images;
use super::network::{Convolution, ConvolutionLayer};
use super::plane::{ImagePairs, ImageSide, PlaneScratch};
use super::profile::{ImageProfile, LayerProfile};
use super::variances::{LayerInput, LayerTask, part_of, scaled_roots, square_sums};
use crate::engine::pool::{self, Load, Stages, Stop, Watch};
use crate::error::Result;
use crate::isa::{Isa, WIDTH};
use crate::math::double_double::DoubleDouble;

impl ImageProfile {
    /// The variances of `images` in a network.
    ///
    /// # Errors
    /// [`Error::ImageOverflow`] if a variance leaves the range of `f64`; as [`Dual::describe`] and
    /// [`pool::for_each`].
    ///
    /// [`Error::ImageOverflow`]: crate::error::Error::ImageOverflow
    /// [`Dual::describe`]: crate::activations::dual::Dual::describe
    pub fn new(
        network: &Convolution,
        geometry: &Geometry,
        images: &Images,
        watch: &mut Watch<'_>,
    ) -> Result<Self> {
        let shares = Self::shares(network, geometry);
        let (mut stages, mut roots) = (Stages::new(watch, &shares), Vec::new());
        let mut profile = Self {
            layers: Vec::new(),
            roots: [Vec::new(), Vec::new()],
            squares: Vec::new(),
            exponents: images.exponents.clone(),
            missing: Vec::new(),
        };
        let batch = ImageBatch {
            network,
            geometry,
            images,
        };
        for index in 0..network.layers.len() {
            roots = batch.add_layer(index, &mut profile, &roots, &mut stages)?;
        }
        profile.squares = square_sums(&roots, images.groups());
        profile.scale(network, images)?;
        Ok(profile)
    }

    /// Adds a layer of which only the input is known.
    fn start_layer(&mut self, network: &Convolution, images: &Images) {
        let bias = network.scale(self.layers.len(), images.channels).bias;
        let biases = self.exponents.iter();
        let biases: Vec<_> = biases
            .map(|exponent| libm::scalbn(bias, -exponent))
            .collect();
        self.layers.push(LayerProfile {
            inputs: mem::take(&mut self.roots),
            biases: biases.as_chunks().0.to_vec(),
            // Known at the end: until then tangent kernels have no unit, and nobody reads them.
            units: vec![[1.0; WIDTH]; images.groups()],
            exponents: self.exponents.clone(),
            ..LayerProfile::default()
        });
    }

    /// Estimated cycles of [`ImageProfile::new`] per image, on one thread.
    pub fn cycles(network: &Convolution, geometry: &Geometry) -> f64 {
        Self::shares(network, geometry).iter().sum()
    }

    /// Estimated cycles of its stages: for each layer the pairs of an image with itself before it, the variances, and the
    /// numbers of the activation.
    fn shares(network: &Convolution, geometry: &Geometry) -> Vec<f64> {
        let layers = network.layers.iter().zip(&geometry.layers).enumerate();
        let share =
            |(index, (layer, [row, column])): (usize, (&ConvolutionLayer, &[AxisLayer; 2]))| {
                let pixels = (row.output * column.output) as f64;
                let taps = (row.window * column.window) as f64;
                let own = network.stage_after_pool(index);
                [
                    own.map_or(0.0, |stage| {
                        WIDTH as f64 * Geometry::cycles(network, &geometry.own[stage - 1])
                    }),
                    pixels * (200.0 + 20.0 * taps),
                    pixels * layer.dual().description_cycles(),
                ]
            };
        layers.flat_map(share).collect()
    }
}

/// A batch of images whose variances are computed.
struct ImageBatch<'a> {
    network: &'a Convolution,
    geometry: &'a Geometry,
    images: &'a Images,
}

impl ImageBatch<'_> {
    /// Adds layer `index` to a profile, given ω of its input. Returns ω of its output in units of powers of two, which are
    /// then those of the profile.
    fn add_layer(
        &self,
        index: usize,
        profile: &mut ImageProfile,
        roots: &[DoubleDouble],
        stages: &mut Stages<'_>,
    ) -> Result<Vec<DoubleDouble>> {
        let (layer, channels) = (&self.network.layers[index], self.images.channels);
        profile.start_layer(self.network, self.images);
        let totals = stages.next(|watch| self.totals(index, profile, watch))?;
        let input = match (index, &totals) {
            (0, _) => LayerInput::Pixels(self.images),
            (_, None) => LayerInput::Roots(roots),
            (_, Some(totals)) => LayerInput::Totals(totals),
        };
        let task = LayerTask {
            axes: self.geometry.layers[index].each_ref(),
            scale: self.network.scale(index, channels),
            sigma_b: layer.scales.sigma_b,
            images: self.images,
        };
        let level = &mut profile.layers[index];
        let r = stages.next(|watch| task.run(&input, level, watch))?;
        let description = stages.next(|watch| layer.dual().describe(&r, watch))?;
        level.features = description.features;
        level.totals = totals.unwrap_or_default().as_chunks().0.to_vec();
        level.drop_low_parts();
        profile.missing.push(description.missing);
        let is_last = index + 1 == self.network.layers.len();
        let next = (!is_last).then(|| self.network.scale(index + 1, channels).bias);
        let (roots, units) = scaled_roots(self.images, description.roots, next.unwrap_or(0.0))?;
        profile.exponents = units;
        profile.roots = [0, 1].map(|part: usize| part_of(&roots, part));
        Ok(roots)
    }

    /// The sums over the windows of layer `index` with its biases, for each pixel of each image with itself, eight images
    /// side by side. `None` if no pool precedes the layer.
    fn totals(
        &self,
        index: usize,
        profile: &ImageProfile,
        watch: &mut Watch<'_>,
    ) -> Result<Option<Vec<f64>>> {
        let Some(stage) = self.network.stage_after_pool(index) else {
            return Ok(None);
        };
        let (isa, chain) = (Isa::current()?, &self.geometry.own[stage - 1][..]);
        let side = ImageSide {
            images: self.images,
            profile,
            flat: None,
        };
        let work =
            |scratch: &mut PlaneScratch, (place, totals): (usize, &mut Vec<f64>), stop: &Stop| {
                let pairs = ImagePairs {
                    isa,
                    network: self.network,
                    geometry: self.geometry,
                    chain,
                    sides: [side, side],
                    row: place,
                    group: place / WIDTH,
                    // For layers after a pool, which need gaps in `f64`.
                    single: false,
                };
                *totals = pairs.totals(scratch, stop);
            };
        let mut all = vec![Vec::new(); self.images.groups() * WIDTH];
        let cycles = (all.len() * WIDTH) as f64 * Geometry::cycles(self.network, chain);
        let (load, items) = (Load::new(all.len(), cycles), all.iter_mut().enumerate());
        pool::for_each(items, load, watch, PlaneScratch::default, work)?;
        let group = |images: &[Vec<f64>]| -> Vec<f64> {
            let pixels = 0..images[0].len();
            let lanes = |pixel: usize| images.iter().map(move |totals| totals[pixel]);
            pixels.flat_map(lanes).collect()
        };
        Ok(Some(all.chunks(WIDTH).flat_map(group).collect()))
    }
}
