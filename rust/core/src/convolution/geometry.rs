//! Padding, strides and displacements, for each axis on its own.
//!
//! A convolution moves both pixels of a pair by the same tap, and a stride s maps a displacement δ to sδ. So the plane of
//! all pairs of one displacement needs a single plane of the layer before. Along one axis, a plane is one [`Segment`] of
//! pixels p, each paired with `p + δ`. If images wrap around, displacements count modulo the side n, and a plane has two
//! segments: δ and δ − n.

use super::head::HeadWeights;
use super::network::{Convolution, ConvolutionLayer, Padding};
use crate::error::{Error, Result};
use crate::infinite::recursion::Recursion;

/// One axis of a convolution: the sizes of its input, its window and its output.
#[derive(Clone, Copy, Debug)]
pub(super) struct AxisLayer {
    pub input: usize,
    pub output: usize,
    pub window: usize,
    pub stride: usize,
    /// The number of pixels of padding before the first one.
    pub before: usize,
    pub circular: bool,
}

impl AxisLayer {
    /// The layer on an input of `input` pixels. `None` if no window fits.
    fn new(input: usize, window: usize, stride: usize, padding: Padding) -> Option<Self> {
        let (output, total) = if padding == Padding::Valid {
            (input.checked_sub(window)? / stride + 1, 0)
        } else {
            let output = input.div_ceil(stride);
            (
                output,
                ((output - 1) * stride + window).saturating_sub(input),
            )
        };
        Some(Self {
            input,
            output,
            window,
            stride,
            before: total / 2,
            circular: padding == Padding::Circular,
        })
    }

    /// The pixel under a tap of window `output`. `None` if it lies outside.
    #[inline(always)]
    pub fn tap(&self, output: usize, tap: usize) -> Option<usize> {
        let (at, first) = (self.stride * output + tap, self.before);
        if self.circular {
            return Some((at + first * (self.input - 1)) % self.input);
        }
        at.checked_sub(first).filter(|at| *at < self.input)
    }
}

/// Consecutive pixels `start..start + len`, each paired with the pixel that lies `shift` further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub start: usize,
    pub len: usize,
    pub shift: isize,
    /// The place of the first pair in the plane's memory.
    pub at: usize,
}

impl Segment {
    /// The pixel that the first one is paired with.
    pub fn partner(&self) -> usize {
        self.start.wrapping_add_signed(self.shift)
    }
}

/// One axis of a plane at the input of one layer, or after the last one.
#[derive(Clone, Debug, Default)]
pub(super) struct AxisLevel {
    pub segments: Vec<Segment>,
    /// The number of places: pairs, and those around them that windows reach.
    pub size: usize,
    /// The places around the pairs. Each comes with the place that it is a copy of, where images wrap around.
    pub guards: Vec<(usize, Option<usize>)>,
}

impl AxisLevel {
    /// The segments of a displacement, one after the other. `reach(segment)` is the number of guards before and after.
    /// `circle` is the number of pixels if images wrap around.
    fn new(
        segments: Vec<Segment>,
        reach: impl Fn(&Segment) -> [usize; 2],
        circle: Option<usize>,
    ) -> Self {
        let (mut level, mut guards) = (Self::default(), Vec::new());
        for mut segment in segments {
            let [before, after] = reach(&segment);
            let (from, at) = (level.size, level.size + before);
            let to = at + segment.len + after;
            let around = (from..at).chain(at + segment.len..to);
            // The pixel of a guard, counted on the circle.
            let pixel =
                |place: usize| circle.map(|side| (segment.start + place + side * to - at) % side);
            guards.extend(around.map(|place| (place, pixel(place))));
            (segment.at, level.size) = (at, to);
            level.segments.push(segment);
        }
        let source =
            |(place, pixel): (usize, Option<usize>)| (place, pixel.map(|pixel| level.place(pixel)));
        level.guards = guards.into_iter().map(source).collect();
        level
    }

    /// The place of the pair of pixel p.
    #[inline(always)]
    pub fn place(&self, p: usize) -> usize {
        let [first, others @ ..] = &self.segments[..] else {
            return 0;
        };
        let found = others.iter().rev().find(|segment| p >= segment.start);
        let segment = found.unwrap_or(first);
        segment.at + p - segment.start
    }

    /// The segment of this displacement.
    pub fn with_shift(&self, shift: isize) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.shift == shift)
    }
}

/// One axis of a plane: all pairs of one displacement, at every level.
#[derive(Clone, Debug)]
pub(super) struct AxisPlane {
    /// The inputs of all convolutions, and the output of the last one.
    pub levels: Vec<AxisLevel>,
    /// The weights of the last level's pairs in the head, for each of its segments.
    pub weights: Vec<Vec<f64>>,
    /// The index of the plane with the opposite displacement.
    pub opposite: usize,
}

/// One axis of a network: its layers, and the planes that the head reads.
#[derive(Clone, Debug)]
pub(super) struct GridAxis {
    pub layers: Vec<AxisLayer>,
    pub planes: Vec<AxisPlane>,
    /// The sum of the weights in the head is 1 after division by this.
    pub divisor: f64,
    /// The side of the grid that the head sees.
    pub outputs: usize,
}

/// The segments of all pairs with displacement `shift` among n pixels; modulo n if they lie on a circle.
fn segments(n: usize, shift: isize, circular: bool) -> Vec<Segment> {
    let one = |start: usize, len: usize, shift: isize| Segment {
        start,
        len,
        shift,
        at: 0,
    };
    if circular {
        let shift = shift.rem_euclid(n as isize) as usize;
        let first = one(0, n - shift, shift as isize);
        let second = one(n - shift, shift, shift as isize - n as isize);
        return if shift == 0 {
            vec![first]
        } else {
            vec![first, second]
        };
    }
    let start = shift.min(0).unsigned_abs();
    vec![one(start, n - shift.unsigned_abs(), shift)]
}

impl AxisPlane {
    /// The plane of this displacement after the last layer. `circles` says for each level if its pixels lie on a circle.
    fn new(layers: &[AxisLayer], circles: &[bool], last: usize, shift: isize) -> Self {
        let mut level = AxisLevel::new(
            segments(last, shift, circles[layers.len()]),
            |_| [0; 2],
            None,
        );
        let (mut levels, mut shift) = (Vec::new(), shift);
        for (layer, circle) in layers.iter().zip(circles).rev() {
            let stride = layer.stride as isize;
            shift *= stride;
            // Windows of a segment reach this far beyond the segment that they lie on.
            let reach = |input: &Segment| {
                let mut outputs = level.segments.iter();
                let output = outputs.find(|output| output.shift * stride == input.shift);
                output.map_or([0; 2], |output| {
                    let end = layer.stride * (output.len - 1) + layer.window;
                    [layer.before, end.saturating_sub(layer.before + input.len)]
                })
            };
            let wrap = layer.circular.then_some(layer.input);
            let before = AxisLevel::new(segments(layer.input, shift, *circle), reach, wrap);
            levels.push(std::mem::replace(&mut level, before));
        }
        levels.push(level);
        levels.reverse();
        Self {
            levels,
            weights: Vec::new(),
            opposite: 0,
        }
    }
}

impl GridAxis {
    /// All planes of these layers whose weights in the head are not 0. `circles` is as for [`AxisPlane::new`].
    fn new(layers: Vec<AxisLayer>, circles: &[bool], weights: &HeadWeights) -> Self {
        let last = layers.last().map_or(0, |layer| layer.output);
        let circle = circles[layers.len()];
        let side = last as isize;
        let shifts = if circle { 0..side } else { 1 - side..side };
        let mut planes = Vec::new();
        for shift in shifts {
            let mut plane = AxisPlane::new(&layers, circles, last, shift);
            let ends = plane.levels[layers.len()].segments.iter();
            let along = |end: &Segment| weights.along(end.start, end.partner(), end.len);
            plane.weights = ends.map(along).collect();
            if plane.weights.iter().flatten().any(|weight| *weight != 0.0) {
                planes.push((shift, plane));
            }
        }
        let same = |a: isize, b: isize| a == b || (circle && (a - b).rem_euclid(side) == 0);
        let kept: Vec<isize> = planes.iter().map(|(shift, _)| *shift).collect();
        let opposite = |shift: isize| kept.iter().position(|other| same(*other, -shift));
        let planes = planes.into_iter().map(|(shift, plane)| AxisPlane {
            // Weights are symmetric: the opposite plane is kept too.
            opposite: opposite(shift).unwrap_or(0),
            ..plane
        });
        Self {
            planes: planes.collect(),
            divisor: weights.divisor,
            outputs: weights.outputs,
            layers,
        }
    }
}

/// The sizes of a network's layers on images of one size, and the displacements that it needs.
#[derive(Clone, Debug)]
pub struct Geometry {
    pub(super) axes: [GridAxis; 2],
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
        let (mut input, mut layers) = (sides, [Vec::new(), Vec::new()]);
        for (index, layer) in network.layers.iter().enumerate() {
            for axis in [0, 1] {
                let (window, stride) = (layer.window[axis], layer.strides[axis]);
                let fitted = AxisLayer::new(input[axis], window, stride, layer.padding);
                layers[axis].push(fitted.ok_or_else(|| unfit(2 * index, layer.window, input))?);
            }
            input = [0, 1].map(|axis: usize| layers[axis][index].output);
        }
        check_pools(network, input)?;
        let circles = circles(network, &layers)?;
        let axis = |axis: usize| {
            let pools = network.pools.iter();
            let pools: Vec<_> = pools
                .map(|pool| (pool.window[axis], pool.strides[axis]))
                .collect();
            let weights = HeadWeights::new(input[axis], &pools, network.head);
            GridAxis::new(layers[axis].clone(), &circles[axis], &weights)
        };
        Ok(Self {
            axes: [axis(0), axis(1)],
        })
    }

    /// The rows and columns of the grid that the head sees.
    pub fn outputs(&self) -> [usize; 2] {
        self.axes.each_ref().map(|axis| axis.outputs)
    }

    /// Estimated cycles per entry of a kernel of this network, on one thread.
    pub fn entry_cycles(&self, network: &Convolution) -> f64 {
        let duals = network.layers.iter().map(|layer| layer.dual().cycles());
        let mean = duals.sum::<f64>() / network.layers.len() as f64;
        let dense = network.recursion.as_ref().map_or(0.0, Recursion::cycles);
        self.pairs() * mean + dense
    }

    /// The number of pairs of pixels of all planes at all levels after the first.
    fn pairs(&self) -> f64 {
        let levels = 1..=self.axes[0].layers.len();
        let pairs = |axis: &GridAxis, level: usize| -> f64 {
            let lens = axis
                .planes
                .iter()
                .flat_map(|plane| &plane.levels[level].segments);
            lens.map(|segment| segment.len as f64).sum()
        };
        levels
            .map(|level| pairs(&self.axes[0], level) * pairs(&self.axes[1], level))
            .sum()
    }
}

/// Checks that the windows of all pools fit.
fn check_pools(network: &Convolution, mut grid: [usize; 2]) -> Result<()> {
    for (index, pool) in network.pools.iter().enumerate() {
        if (0..2).any(|axis| grid[axis] < pool.window[axis]) {
            return Err(unfit(2 * network.layers.len() + index, pool.window, grid));
        }
        grid = [0, 1].map(|axis| (grid[axis] - pool.window[axis]) / pool.strides[axis] + 1);
    }
    Ok(())
}

/// Says for each axis and level if its pixels lie on a circle.
///
/// # Errors
/// [`Error::Invalid`] if a circular layer follows one that breaks the circle, or has a stride that does not divide the
/// side.
fn circles(network: &Convolution, layers: &[Vec<AxisLayer>; 2]) -> Result<[Vec<bool>; 2]> {
    let wraps = |layer: &ConvolutionLayer| layer.padding == Padding::Circular;
    let any = network.layers.iter().any(wraps);
    let mut circles = [vec![any], vec![any]];
    for (index, layer) in network.layers.iter().enumerate() {
        for (circles, axes) in circles.iter_mut().zip(layers) {
            let (axis, circle) = (&axes[index], circles[index]);
            let divides = axis.input.is_multiple_of(axis.stride);
            if wraps(layer) && !(circle && divides) {
                return Err(broken(2 * index, axis, divides));
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

/// The error of a window that does not fit.
fn unfit(layer: usize, window: [usize; 2], input: [usize; 2]) -> Error {
    let ([rows, columns], [height, width]) = (window, input);
    Error::Invalid(format!(
        "layer {layer} has a window of {rows} × {columns}, but its input has {height} × {width} pixels. Use larger \
         images, a smaller window, or padding \"same\" in this layer or before it."
    ))
}
