//! The sizes of a network's layers on images of one size, and the planes of pairs of pixels that it needs.

use std::mem;

use super::axis::AxisLayer;
use super::chain::{AxisStage, ChainEnd, ChainStage, chain};
use super::network::{AveragePool, Convolution, ConvolutionLayer, GridStage, Padding};
use super::pool_counts::PoolCounts;
use crate::error::{Error, Result};
use crate::infinite::recursion::Recursion;

/// The sizes of a network's layers on images of one size, and the displacements that it needs.
#[derive(Clone, Debug)]
pub struct Geometry {
    /// Both axes of every layer.
    pub(super) layers: Vec<[AxisLayer; 2]>,
    /// The stages that lead to the head.
    pub(super) chain: Vec<ChainStage>,
    /// For each stage after a pool, the stages that lead to the variances of its first output.
    pub(super) own: Vec<Vec<ChainStage>>,
    outputs: [usize; 2],
}

impl Geometry {
    /// The geometry of a network on images of these rows and columns.
    ///
    /// # Errors
    /// [`Error::Invalid`] if an image has no pixel, a window without padding does not fit, or a circular layer follows
    /// one that breaks the circle.
    pub fn new(network: &Convolution, sides: [usize; 2]) -> Result<Self> {
        if sides.contains(&0) {
            let [rows, columns] = sides;
            let message =
                format!("images have {rows} × {columns} pixels, but at least one is needed");
            return Err(Error::Invalid(message));
        }
        let mut grid = Grid {
            sides,
            ..Grid::default()
        };
        let (mut layers, mut stages) = (Vec::new(), Vec::new());
        for stage in &network.stages {
            let axes = grid.stage(network, stage)?;
            let [rows, columns] = axes.each_ref().map(|axis| &axis.layers);
            layers.extend(
                rows.iter()
                    .zip(columns)
                    .map(|(row, column)| [*row, *column]),
            );
            stages.push((stage.layers.clone(), axes));
        }
        let own = 2..=stages.len();
        Ok(Self {
            layers,
            own: own
                .map(|count| chain(&stages[..count], ChainEnd::OwnPixels))
                .collect(),
            chain: chain(&stages, ChainEnd::Head(network.head)),
            outputs: grid.sides,
        })
    }

    /// The rows and columns of the grid that the head sees.
    pub fn outputs(&self) -> [usize; 2] {
        self.outputs
    }

    /// Estimated cycles per entry of a kernel of this network, on one thread.
    pub fn entry_cycles(&self, network: &Convolution) -> f64 {
        let dense = network.recursion.as_ref().map_or(0.0, Recursion::cycles);
        Self::cycles(network, &self.chain) + dense
    }

    /// Estimated cycles of the stages of a chain for a pair of images, on one thread.
    pub(super) fn cycles(network: &Convolution, chain: &[ChainStage]) -> f64 {
        let duals = network.layers.iter().map(|layer| layer.dual().cycles());
        let mean = duals.sum::<f64>() / network.layers.len() as f64;
        mean * chain.iter().map(ChainStage::pairs).sum::<f64>()
    }
}

/// The grid of pixels before a stage.
#[derive(Default)]
struct Grid {
    sides: [usize; 2],
    /// The number of layers of the network before it: convolutions, activations and pools.
    before: usize,
}

impl Grid {
    /// Passes through a stage, and returns both of its axes.
    fn stage(&mut self, network: &Convolution, stage: &GridStage) -> Result<[AxisStage; 2]> {
        let (before, mut layers) = (self.before, [Vec::new(), Vec::new()]);
        let convolutions = &network.layers[stage.layers.clone()];
        for layer in convolutions {
            for axis in [0, 1] {
                let (window, stride) = (layer.window[axis], layer.strides[axis]);
                let fitted = AxisLayer::new(self.sides[axis], window, stride, layer.padding);
                layers[axis].push(fitted.ok_or_else(|| self.unfit(layer.window))?);
            }
            self.before += 2;
            self.sides = layers
                .each_ref()
                .map(|layers: &Vec<AxisLayer>| layers.last().map_or(0, |layer| layer.output));
        }
        let mut circles = circles(convolutions, &layers, before)?;
        let pixels = self.sides;
        for pool in &stage.pools {
            if (0..2).any(|axis| self.sides[axis] < pool.window[axis]) {
                return Err(self.unfit(pool.window));
            }
            self.before += 1;
            self.sides =
                [0, 1].map(|axis| (self.sides[axis] - pool.window[axis]) / pool.strides[axis] + 1);
        }
        let mut axis = |axis: usize| {
            let sizes = |pool: &AveragePool| (pool.window[axis], pool.strides[axis]);
            let pools: Vec<_> = stage.pools.iter().map(sizes).collect();
            AxisStage {
                layers: mem::take(&mut layers[axis]),
                circles: mem::take(&mut circles[axis]),
                pools: PoolCounts::new(pixels[axis], &pools),
            }
        };
        Ok([axis(0), axis(1)])
    }

    /// The error of a window that does not fit.
    fn unfit(&self, window: [usize; 2]) -> Error {
        let ([rows, columns], [height, width]) = (window, self.sides);
        let layer = self.before;
        Error::Invalid(format!(
            "layer {layer} has a window of {rows} × {columns}, but its input has {height} × {width} pixels. Use larger \
             images, a smaller window, or padding \"same\" in this layer or before it."
        ))
    }
}

/// Says for each axis and level of a stage if its pixels lie on a circle, given the number of the network's layers before
/// it.
///
/// # Errors
/// [`Error::Invalid`] if a circular layer follows one that breaks the circle, or has a stride that does not divide the
/// side.
fn circles(
    convolutions: &[ConvolutionLayer],
    layers: &[Vec<AxisLayer>; 2],
    before: usize,
) -> Result<[Vec<bool>; 2]> {
    let wraps = |layer: &ConvolutionLayer| layer.padding == Padding::Circular;
    let any = convolutions.iter().any(wraps);
    let mut circles = [vec![any], vec![any]];
    for (index, layer) in convolutions.iter().enumerate() {
        for (circles, axes) in circles.iter_mut().zip(layers) {
            let (axis, circle) = (&axes[index], circles[index]);
            let divides = axis.input.is_multiple_of(axis.stride);
            if wraps(layer) && !(circle && divides) {
                return Err(broken(before + 2 * index, axis, divides));
            }
            circles.push(circle && divides && layer.padding != Padding::Valid);
        }
    }
    Ok(circles)
}

/// The error of a circular layer that has no circle.
fn broken(layer: usize, axis: &AxisLayer, divides: bool) -> Error {
    let (stride, side) = (axis.stride, axis.input);
    Error::Invalid(if divides {
        format!(
            "layer {layer} has padding \"circular\", but a layer before it has padding \"valid\", or a stride that does \
             not divide the side of its input. Use padding \"same\" in layer {layer}, or \"circular\" before it."
        )
    } else {
        format!(
            "layer {layer} has padding \"circular\" and stride {stride}, which does not divide the {side} pixels of its \
             input. Use a stride that does, or padding \"same\"."
        )
    })
}
