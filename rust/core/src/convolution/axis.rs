//! Pairs of pixels along one axis: padding, strides and displacements.
//!
//! A convolution moves both pixels of a pair by the same tap, and a stride s maps a displacement δ to sδ. So the plane of
//! all pairs of one displacement needs a single plane of the layer before. Along one axis, a plane is one [`Segment`] of
//! pixels p, each paired with `p + δ`. If images wrap around, displacements count modulo the side n, and a plane has two
//! segments: δ and δ − n.

use super::network::Padding;
use super::pool_counts::PairTargets;

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
    pub fn new(input: usize, window: usize, stride: usize, padding: Padding) -> Option<Self> {
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

/// One axis of a plane: all pairs of one displacement, at every level of a stage.
#[derive(Clone, Debug)]
pub(super) struct AxisPlane {
    /// The inputs of all convolutions of the stage, and the output of the last one.
    pub levels: Vec<AxisLevel>,
    /// After the last stage, the weights of the last level's pairs in the head, for each of its segments.
    pub weights: Vec<Vec<f64>>,
    /// After other stages, where these pairs go in the pooled tensor, for each segment.
    pub targets: Vec<PairTargets>,
    /// The place of the first level's first pair in the pooled tensor before this stage.
    pub first: usize,
    /// The index of the plane with the opposite displacement.
    pub opposite: usize,
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
    pub fn new(layers: &[AxisLayer], circles: &[bool], last: usize, shift: isize) -> Self {
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
            targets: Vec::new(),
            first: 0,
            opposite: 0,
        }
    }

    /// The segments of the first level, each with the place of its first pair in the pooled tensor before this stage.
    pub fn inputs(&self) -> impl Iterator<Item = (&Segment, usize)> {
        let mut next = self.first;
        let segments = self.levels.iter().take(1).flat_map(|level| &level.segments);
        segments.map(move |segment| {
            next += segment.len;
            (segment, next - segment.len)
        })
    }

    /// True if each pixel is paired with itself.
    pub fn is_zero(&self) -> bool {
        let level = self.levels.last();
        level.is_some_and(|level| level.segments.iter().all(|segment| segment.shift == 0))
    }
}
