//! Two batches of images, ready for kernels between them.

use std::sync::Mutex;

use super::geometry::Geometry;
use super::images::Images;
use super::inputs::ImageInputs;
use super::kernel::{Convolutional, Scratch};
use super::network::Convolution;
use super::profile::ImageProfile;
use super::tile_images::{TileImages, bound, tile_edge};
use crate::engine::pool::{Stages, Stop, Watch, unwatched};
use crate::engine::tile::{Area, Tile, TileKernel};
use crate::error::Result;
use crate::infinite::error_bound::ErrorBound;
use crate::infinite::recursion::Output;
use crate::isa::WIDTH;

/// Variances of fewer bytes are kept for all images. Larger ones are computed again for each tile, where that takes little
/// time.
pub const MOST_BYTES: usize = 24 << 20;

/// Two batches of images with the variances of all of them, unless these are large.
pub struct BatchPair<'a> {
    network: &'a Convolution,
    geometry: Geometry,
    prepared: Prepared,
}

/// The batches of a kernel.
struct Sides<T> {
    rows: T,
    /// The columns, unless they are the rows.
    cols: Option<T>,
}

impl<T> Sides<T> {
    fn both(&self) -> [&T; 2] {
        [&self.rows, self.cols.as_ref().unwrap_or(&self.rows)]
    }
}

#[expect(clippy::large_enum_variant, reason = "a call has only one")]
enum Prepared {
    /// Images with their variances.
    Kept(Sides<ImageInputs>),
    /// Images alone, with the edge of tiles and the error bound.
    Images(Sides<Images>, usize, ErrorBound),
}

impl<'a> BatchPair<'a> {
    /// Prepares X, and Z unless it is X. Variances of at least `most` bytes are computed again for each tile, where that
    /// takes little time.
    ///
    /// # Errors
    /// As [`Geometry::new`] and [`ImageInputs::new`].
    pub fn new(
        network: &'a Convolution,
        (x, z): (Images, Option<Images>),
        most: usize,
        watch: &mut Watch<'_>,
    ) -> Result<Self> {
        let geometry = Geometry::new(network, x.sides())?;
        let others = z.as_ref().map_or(0, Images::len);
        let shares = [x.len() as f64, others as f64];
        let mut stages = Stages::new(watch, &shares);
        let count = x.len() + others;
        let least = x.len().min(z.as_ref().map_or(x.len(), Images::len));
        let edge = match tile_edge(network, &geometry).filter(|edge| least >= *edge) {
            Some(edge) if bytes(network, &geometry, &x, count)? >= most => Some(edge),
            _ => None,
        };
        let prepared = if let Some(edge) = edge {
            let mut of = |x| stages.next(|watch| bound(network, &geometry, x, watch));
            let rows = of(&x)?;
            let cols = z.as_ref().map_or(Ok(rows), of)?;
            Prepared::Images(Sides { rows: x, cols: z }, edge, rows.max(cols))
        } else {
            let mut of = |x| stages.next(|watch| ImageInputs::new(network, &geometry, x, watch));
            let (rows, cols) = (of(x)?, z.map(of).transpose()?);
            Prepared::Kept(Sides { rows, cols })
        };
        Ok(Self {
            network,
            geometry,
            prepared,
        })
    }

    /// The `outputs` between the batches.
    ///
    /// # Errors
    /// As [`Convolutional::new`].
    pub fn kernel(&'a self, outputs: &'a [Output]) -> Result<BatchKernel<'a>> {
        let (network, geometry) = (self.network, &self.geometry);
        Ok(match &self.prepared {
            Prepared::Kept(sides) => {
                let kernel = Convolutional::new(network, geometry, sides.both(), outputs)?;
                BatchKernel::Kept(kernel)
            }
            Prepared::Images(sides, edge, _) => BatchKernel::Tiles(TileImages {
                network,
                geometry,
                images: sides.both(),
                outputs,
                edge: *edge,
                failure: Mutex::new(None),
            }),
        })
    }

    /// True if the columns are the rows.
    pub fn is_symmetric(&self) -> bool {
        match &self.prepared {
            Prepared::Kept(sides) => sides.cols.is_none(),
            Prepared::Images(sides, ..) => sides.cols.is_none(),
        }
    }

    /// Bound on the error of any kernel entry, round-off excluded.
    pub fn bound(&self) -> ErrorBound {
        match &self.prepared {
            Prepared::Kept(sides) => {
                let [rows, cols] = sides.both().map(ImageInputs::bound);
                rows.max(cols)
            }
            Prepared::Images(.., bound) => *bound,
        }
    }
}

/// The bytes of the variances of `count` images, given a batch of some of them; 0 if they are few.
///
/// # Errors
/// As [`ImageInputs::new`].
fn bytes(network: &Convolution, geometry: &Geometry, x: &Images, count: usize) -> Result<usize> {
    let pixels = x.sides().iter().product::<usize>() * network.layers.len();
    if x.is_empty() || count * pixels < 1 << 16 {
        return Ok(0);
    }
    let group = x.part(0..x.len().min(WIDTH));
    let profile = ImageProfile::new(network, geometry, &group, &mut unwatched)?;
    Ok(count * profile.bytes() / WIDTH)
}

/// Kernels between two batches of images.
pub enum BatchKernel<'a> {
    /// With the variances of all images.
    Kept(Convolutional<'a>),
    /// With those of a tile at a time.
    Tiles(TileImages<'a>),
}

/// Calls a method of either kernel.
macro_rules! either {
    ($kernel:expr, $method:ident($($argument:expr),*)) => {
        match $kernel {
            BatchKernel::Kept(kernel) => kernel.$method($($argument),*),
            BatchKernel::Tiles(kernel) => kernel.$method($($argument),*),
        }
    };
}

impl TileKernel for BatchKernel<'_> {
    type Scratch = Scratch;

    fn rows(&self) -> usize {
        either!(self, rows())
    }

    fn cols(&self) -> usize {
        either!(self, cols())
    }

    fn planes(&self) -> usize {
        either!(self, planes())
    }

    fn entry_cycles(&self) -> f64 {
        either!(self, entry_cycles())
    }

    fn edge(&self) -> usize {
        either!(self, edge())
    }

    fn compute(&self, area: &Area, scratch: &mut Scratch, planes: &mut [Tile], stop: &Stop) {
        either!(self, compute(area, scratch, planes, stop));
    }

    fn check(&self) -> Result<()> {
        either!(self, check())
    }
}
