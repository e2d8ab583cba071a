//! Kernels between many images: each tile computes the variances of its own images again, and memory does not grow with
//! their number.

use std::ops::ControlFlow;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use super::geometry::Geometry;
use super::images::Images;
use super::inputs::ImageInputs;
use super::kernel::{Convolutional, Scratch};
use super::network::Convolution;
use super::profile::ImageProfile;
use crate::engine::pool::{Stages, Stop, Watch, serially};
use crate::engine::tile::{Area, EDGE, Tile, TileKernel};
use crate::error::{Error, Result};
use crate::infinite::error_bound::ErrorBound;
use crate::infinite::recursion::Output;
use crate::isa::WIDTH;

/// The number of images whose variances are computed at a time to find their errors.
const BAND: usize = 8 * WIDTH;

/// The most that computing variances again may add to the time of a tile.
const MOST_TIME: f64 = 0.03;

/// Kernels between two batches of images, without their variances.
pub struct TileImages<'a> {
    pub(super) network: &'a Convolution,
    pub(super) geometry: &'a Geometry,
    /// The images of the rows and of the columns. A symmetric kernel has the same batch twice.
    pub(super) images: [&'a Images; 2],
    pub(super) outputs: &'a [Output],
    pub(super) edge: usize,
    /// The error of a tile, if one had any.
    pub(super) failure: Mutex<Option<Error>>,
}

/// The number of rows and columns of tiles so large that computing the variances of their images again takes little time.
/// `None` if there is none.
pub(super) fn tile_edge(network: &Convolution, geometry: &Geometry) -> Option<usize> {
    // A user-supplied function is called by one thread, and the dense layers after a mean over pairs need a kernel of each
    // image with itself.
    if network.has_callable() || (network.recursion.is_some() && !network.is_flat()) {
        return None;
    }
    let ratio = ImageProfile::cycles(network, geometry) / geometry.entry_cycles(network);
    let edge = (2.0 * ratio / MOST_TIME).ceil().max(1.0);
    (edge <= EDGE as f64).then(|| (edge as usize).next_multiple_of(WIDTH))
}

/// Bound on the error of any kernel entry between these images. All errors of their variances are found.
///
/// # Errors
/// As [`ImageInputs::new`].
pub(super) fn bound(
    network: &Convolution,
    geometry: &Geometry,
    images: &Images,
    watch: &mut Watch<'_>,
) -> Result<ErrorBound> {
    let bands = images.len().div_ceil(BAND);
    let shares = vec![1.0; bands];
    let mut stages = Stages::new(watch, &shares);
    let mut bound = ErrorBound::default();
    for band in 0..bands {
        let part = images.part(band * BAND..images.len().min((band + 1) * BAND));
        let inputs = stages.next(|watch| ImageInputs::new(network, geometry, part, watch))?;
        bound = bound.max(inputs.bound());
    }
    Ok(bound)
}

impl TileImages<'_> {
    /// Computes a tile.
    ///
    /// # Errors
    /// As [`ImageInputs::new`].
    fn tile(
        &self,
        area: &Area,
        scratch: &mut Scratch,
        planes: &mut [Tile],
        stop: &Stop,
    ) -> Result<()> {
        let mut watch = |_, _| match stop.requested() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let ranges = [&area.rows, &area.cols];
        let mut inputs = |side: usize| {
            let images = self.images[side].part(ranges[side].clone());
            ImageInputs::new(self.network, self.geometry, images, &mut watch)
        };
        let rows = inputs(0)?;
        let same = ptr::eq(self.images[0], self.images[1]) && area.rows == area.cols;
        let others = (!same).then(|| inputs(1)).transpose()?;
        let sides = [&rows, others.as_ref().unwrap_or(&rows)];
        let kernel = Convolutional::new(self.network, self.geometry, sides, self.outputs)?;
        let area = Area {
            rows: 0..area.rows.len(),
            cols: 0..area.cols.len(),
        };
        kernel.compute(&area, scratch, planes, stop);
        Ok(())
    }
}

impl TileKernel for TileImages<'_> {
    type Scratch = Scratch;

    fn rows(&self) -> usize {
        self.images[0].len()
    }

    fn cols(&self) -> usize {
        self.images[1].len()
    }

    fn planes(&self) -> usize {
        self.outputs.len()
    }

    fn entry_cycles(&self) -> f64 {
        self.geometry.entry_cycles(self.network)
    }

    fn edge(&self) -> usize {
        self.edge
    }

    fn compute(&self, area: &Area, scratch: &mut Scratch, planes: &mut [Tile], stop: &Stop) {
        let failed = serially(|| self.tile(area, scratch, planes, stop)).err();
        if failed.is_some() && !stop.requested() {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failed;
        }
    }

    fn check(&self) -> Result<()> {
        let failure = self.failure.lock();
        let failure = failure.unwrap_or_else(PoisonError::into_inner).take();
        failure.map_or(Ok(()), Err)
    }
}
