//! A convolutional network at infinite width: its layers, checked once.

use std::ops::Range;
use std::sync::Arc;

use crate::activations::activation::Activation;
use crate::activations::dual::Dual;
use crate::error::{Error, Result};
use crate::infinite::recursion::{LayerScales, Recursion};
use crate::math::double_double::DoubleDouble;

/// The pixels that a window sees beyond the edge of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// Zeros, so many that there are `⌈n/s⌉` windows. Half of them, rounded down, come first.
    Same,
    /// None: windows lie inside.
    Valid,
    /// The pixels of the opposite edge.
    Circular,
}

/// A convolution together with the activation after it.
#[derive(Clone, Debug)]
pub struct ConvolutionLayer {
    /// The rows and the columns of the window.
    pub window: [usize; 2],
    /// The steps between windows, in rows and in columns.
    pub strides: [usize; 2],
    /// The pixels beyond the edge of the image.
    pub padding: Padding,
    /// The scales, as of a dense layer with one unit per tap and channel.
    pub scales: LayerScales,
    /// The activation after the layer.
    pub activation: Arc<dyn Activation>,
}

/// The mean over each window, without padding. Pixels that do not fill a window are left out.
#[derive(Clone, Copy, Debug)]
pub struct AveragePool {
    /// The rows and the columns of the window.
    pub window: [usize; 2],
    /// The steps between windows, in rows and in columns.
    pub strides: [usize; 2],
}

/// One layer on the grid of pixels.
#[derive(Clone, Debug)]
pub enum GridLayer {
    /// A convolution and its activation: two layers of the network.
    Convolution(ConvolutionLayer),
    /// A pool: one layer of the network.
    Pool(AveragePool),
}

/// The layer that turns a grid of pixels into the input of a dense layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// One unit per pixel and channel: the mean of a kernel over all pixels.
    Flatten,
    /// The mean over all pixels: the mean of a kernel over all pairs of pixels.
    GlobalAvgPool,
}

/// Convolutions, and the pools between them and the next convolution or the head.
#[derive(Clone, Debug)]
pub(super) struct GridStage {
    /// The indices of its convolutions.
    pub layers: Range<usize>,
    pub pools: Vec<AveragePool>,
}

/// An infinitely wide convolutional network: convolutions with activations, pools, a head, and dense layers.
#[derive(Clone, Debug)]
pub struct Convolution {
    pub(super) layers: Vec<ConvolutionLayer>,
    /// At least one. All but the last one end with pools.
    pub(super) stages: Vec<GridStage>,
    pub(super) head: Head,
    /// The dense layer after the head.
    pub(super) dense: LayerScales,
    /// All dense layers, if there are several.
    pub(super) recursion: Option<Recursion>,
}

impl Convolution {
    /// A network of these layers, with the scales of the dense layers after the head and the activations between them.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the first layer is no convolution, a window or stride is 0, a scale is outside its domain,
    /// an activation has no kernel at infinite width, or the numbers of dense layers and activations do not match.
    pub fn new(
        grid: Vec<GridLayer>,
        head: Head,
        dense: Vec<LayerScales>,
        activations: Vec<Arc<dyn Activation>>,
    ) -> Result<Self> {
        let Some(first) = dense.first().copied() else {
            return Err(Error::Invalid(
                "a Dense layer after the head is needed".into(),
            ));
        };
        let recursion = Recursion::new(dense, activations)?;
        let (layers, stages) = staged(grid)?;
        Ok(Self {
            layers,
            stages,
            head,
            dense: first,
            recursion: (recursion.layers() > 1).then_some(recursion),
        })
    }

    /// True if an activation is a user-supplied function. Only the calling thread may then compute profiles.
    pub fn has_callable(&self) -> bool {
        let mut layers = self.layers.iter();
        layers.any(|layer| layer.activation.function().is_some())
            || self.recursion.as_ref().is_some_and(Recursion::has_callable)
    }

    /// True if the gap of the head's output can be taken from differences: each pixel is paired with itself alone.
    pub(super) fn is_flat(&self) -> bool {
        let last = self.stages.last();
        self.head == Head::Flatten && last.is_some_and(|stage| stage.pools.is_empty())
    }

    /// True if gaps between `f32` images are rounded to `f32` in activations.
    ///
    /// No later layer may lose digits of them: no activation, no dense layer, and no layer after a pool, which knows
    /// covariances instead of gaps.
    pub(super) fn allows_single(&self) -> bool {
        let mut layers = self.layers.iter();
        self.stages.len() == 1
            && self.recursion.is_none()
            && layers.all(|layer| layer.dual().single().is_some())
    }

    /// The index of the stage that begins with layer `index` after a pool.
    pub(super) fn stage_after_pool(&self, index: usize) -> Option<usize> {
        let found = |stage: &GridStage| stage.layers.start == index;
        self.stages
            .iter()
            .position(found)
            .filter(|stage| *stage > 0)
    }

    /// The numbers of layer `index`, on images of so many channels.
    pub(super) fn scale(&self, index: usize, channels: usize) -> LayerScale {
        let layer = &self.layers[index];
        let channels = if index == 0 { channels } else { 1 };
        let taps = (layer.window[0] * layer.window[1] * channels) as f64;
        let root = DoubleDouble::from(layer.scales.sigma_w) / DoubleDouble::from(taps).sqrt();
        LayerScale {
            root,
            taps,
            bias: (DoubleDouble::from(layer.scales.sigma_b) / root).hi,
        }
    }
}

/// The convolutions of a grid, and the stages that they form.
fn staged(grid: Vec<GridLayer>) -> Result<(Vec<ConvolutionLayer>, Vec<GridStage>)> {
    let (mut layers, mut stages) = (Vec::new(), Vec::<GridStage>::new());
    for (index, layer) in grid.into_iter().enumerate() {
        layer.check(index)?;
        let stage = stages.last_mut();
        match (layer, stage) {
            (GridLayer::Pool(_), None) => {
                return Err(Error::Invalid("the first layer must be a Conv".into()));
            }
            (GridLayer::Pool(pool), Some(stage)) => stage.pools.push(pool),
            (GridLayer::Convolution(layer), stage) => {
                layers.push(layer);
                match stage.filter(|stage| stage.pools.is_empty()) {
                    Some(stage) => stage.layers.end = layers.len(),
                    None => stages.push(GridStage {
                        layers: layers.len() - 1..layers.len(),
                        pools: Vec::new(),
                    }),
                }
            }
        }
    }
    if layers.is_empty() {
        return Err(Error::Invalid("a Conv is needed".into()));
    }
    Ok((layers, stages))
}

/// Numbers of a layer of k taps. In the first layer, k counts the channels too.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerScale {
    /// `σ_w/√k`.
    pub root: DoubleDouble,
    /// k.
    pub taps: f64,
    /// `κ = σ_b √k/σ_w`.
    pub bias: f64,
}

impl ConvolutionLayer {
    /// The dual of the activation.
    pub(super) fn dual(&self) -> &dyn Dual {
        // `Convolution::new` has checked it.
        #[allow(clippy::expect_used)]
        self.activation
            .dual()
            .expect("every activation of a convolutional network has a dual")
    }
}

impl GridLayer {
    /// Checks the numbers of a layer, given its place among the layers on the grid.
    fn check(&self, index: usize) -> Result<()> {
        let (window, strides) = match self {
            Self::Convolution(layer) => (layer.window, layer.strides),
            Self::Pool(pool) => (pool.window, pool.strides),
        };
        for (name, sizes) in [("window", window), ("strides", strides)] {
            if sizes.contains(&0) {
                let message = format!("{name} of layer {index} of the grid is {sizes:?}: use >= 1");
                return Err(Error::Invalid(message));
            }
        }
        let Self::Convolution(layer) = self else {
            return Ok(());
        };
        layer.scales.check(index)?;
        if layer.activation.dual().is_none() {
            let message = format!("{:?} has no kernel at infinite width", layer.activation);
            return Err(Error::Invalid(message));
        }
        Ok(())
    }
}
