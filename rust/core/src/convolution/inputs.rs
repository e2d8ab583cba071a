//! Batches of images, ready for the kernels of one network.

use super::geometry::Geometry;
use super::images::Images;
use super::network::Convolution;
use super::plane::{ImagePairs, ImageSide, PlaneScratch};
use super::profile::ImageProfile;
use crate::engine::pool::{self, Load, Stages, Stop, Watch};
use crate::error::Result;
use crate::infinite::error_bound::ErrorBound;
use crate::infinite::recursion::{Batch, Profile};
use crate::isa::{Block, Isa, WIDTH};
use crate::math::double_double::DoubleDouble;

/// A batch of images with their variances.
#[derive(Debug)]
pub struct ImageInputs {
    pub(super) images: Images,
    pub(super) profile: ImageProfile,
    /// The numbers of the dense layers, if there are several.
    pub(super) dense: Option<DenseInputs>,
}

/// The output of the head, as the input of dense layers.
#[derive(Debug)]
pub(super) struct DenseInputs {
    pub profile: Profile,
    /// The mean square of the head's output of each image in a lane of all groups, in units of its power of two.
    pub squares: Vec<f64>,
    /// `1/√Σ_p ω²` of each image and its low part, one block for each group, if the head is flat.
    pub flat: Option<[Vec<Block>; 2]>,
}

impl ImageInputs {
    /// Computes the variances of images.
    ///
    /// # Errors
    /// As [`ImageProfile::new`], and as [`Recursion::profile`](crate::infinite::recursion::Recursion::profile).
    pub fn new(
        network: &Convolution,
        geometry: &Geometry,
        images: Images,
        watch: &mut Watch<'_>,
    ) -> Result<Self> {
        let mut stages = Stages::new(watch, &[1.0, 1.0]);
        let profile = stages.next(|watch| ImageProfile::new(network, geometry, &images, watch))?;
        let mut inputs = Self {
            images,
            profile,
            dense: None,
        };
        let dense = stages.next(|watch| inputs.dense(network, geometry, watch))?;
        inputs.dense = dense;
        Ok(inputs)
    }

    /// Bound on the error of any kernel entry between these images, round-off excluded.
    pub fn bound(&self) -> ErrorBound {
        let dense = self
            .dense
            .as_ref()
            .map_or(&[][..], |dense| dense.profile.missing());
        self.profile.bound(dense)
    }

    pub(super) fn side(&self) -> ImageSide<'_> {
        ImageSide {
            images: &self.images,
            profile: &self.profile,
            flat: self.dense.as_ref().and_then(|dense| dense.flat.as_ref()),
        }
    }

    /// The input of the dense layers, if there are several.
    fn dense(
        &self,
        network: &Convolution,
        geometry: &Geometry,
        watch: &mut Watch<'_>,
    ) -> Result<Option<DenseInputs>> {
        let Some(recursion) = &network.recursion else {
            return Ok(None);
        };
        let mut stages = Stages::new(watch, &[10.0, 1.0]);
        let [rows, columns] = geometry.outputs();
        let flat = network.is_flat().then(|| self.flat());
        let squares: Vec<DoubleDouble> = if flat.is_some() {
            let pixels = (rows * columns) as f64;
            self.profile
                .squares
                .iter()
                .map(|square| *square / pixels)
                .collect()
        } else {
            stages.next(|watch| self.own_means(network, geometry, watch))?
        };
        let root = |image: usize| squares[image].sqrt().scaled(self.profile.exponents[image]);
        let batch = Batch {
            first: self.images.first,
            ..Batch::whole(self.images.len(), self.images.argument)
        };
        let profile = stages.next(|watch| recursion.profile(&batch, &root, watch))?;
        Ok(Some(DenseInputs {
            profile,
            squares: squares.iter().map(|square| square.hi).collect(),
            flat,
        }))
    }

    /// `1/√Σ_p ω²` of each image, and its low part; 0 for an image whose output is 0.
    fn flat(&self) -> [Vec<Block>; 2] {
        let inverse = |square: &DoubleDouble| match square.hi {
            0.0 => DoubleDouble::default(),
            _ => DoubleDouble::from(1.0) / square.sqrt(),
        };
        let inverses: Vec<_> = self.profile.squares.iter().map(inverse).collect();
        let groups = inverses.as_chunks::<WIDTH>().0;
        [
            groups
                .iter()
                .map(|group| group.map(|number| number.hi))
                .collect(),
            groups
                .iter()
                .map(|group| group.map(|number| number.lo))
                .collect(),
        ]
    }

    /// The mean of T over the pairs that the head reads, of each image with itself, in units of its power of two.
    fn own_means(
        &self,
        network: &Convolution,
        geometry: &Geometry,
        watch: &mut Watch<'_>,
    ) -> Result<Vec<DoubleDouble>> {
        let isa = Isa::current()?;
        let mut squares = vec![DoubleDouble::default(); self.profile.exponents.len()];
        let work = |scratch: &mut PlaneScratch,
                    (place, square): (usize, &mut DoubleDouble),
                    stop: &Stop| {
            let pairs = ImagePairs {
                isa,
                network,
                geometry,
                chain: &geometry.chain,
                sides: [self.side(), self.side()],
                row: place,
                group: place / WIDTH,
                // For dense layers, which need gaps in `f64`.
                single: false,
            };
            let (means, _) = pairs.run(scratch, stop);
            *square = means[0][place % WIDTH].into();
        };
        let cycles = (squares.len() * WIDTH) as f64 * geometry.entry_cycles(network);
        let load = Load::new(squares.len(), cycles);
        let items = squares.iter_mut().enumerate();
        pool::for_each(items, load, watch, PlaneScratch::default, work)?;
        Ok(squares)
    }
}
