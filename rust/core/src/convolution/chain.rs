//! The stages of a network between pools, and the planes that each of them computes.
//!
//! A pool mixes planes: its output needs all pairs of pixels that lie in the windows of both pixels. So the planes of a
//! stage run one by one, and add window sums to a tensor of pooled pairs, from which the next stage cuts its planes.
//! The needed planes are found from the last stage back to the first.

use std::ops::Range;

use super::axis::{AxisLayer, AxisPlane, Segment};
use super::head::HeadWeights;
use super::network::Head;
use super::pool_counts::{PairPlaces, PoolCounts};

/// One axis of a stage: its layers, and the pools after them.
#[derive(Clone, Debug)]
pub(super) struct AxisStage {
    pub layers: Vec<AxisLayer>,
    /// Says for the input of each layer, and for the last output, if its pixels lie on a circle.
    pub circles: Vec<bool>,
    pub pools: PoolCounts,
}

/// One axis of the planes of a stage.
#[derive(Clone, Debug)]
pub(super) struct StageAxis {
    pub planes: Vec<AxisPlane>,
    /// Sums over windows, or those of the head, become means by division by this.
    pub divisor: f64,
    /// The number of places in the pooled tensor after the stage. 0 after the last stage.
    pub places: usize,
}

/// A stage of a chain.
#[derive(Clone, Debug)]
pub(super) struct ChainStage {
    /// The indices of its layers.
    pub layers: Range<usize>,
    pub axes: [StageAxis; 2],
}

/// The end of a chain.
#[derive(Clone, Copy)]
pub(super) enum ChainEnd {
    /// The head.
    Head(Head),
    /// The first layer after the last pool: each pixel of its output, paired with itself.
    OwnPixels,
}

impl AxisStage {
    /// The side of the last layer's output.
    fn last(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.output)
    }

    /// Fills the weights in the head of a plane. Returns true if one is not 0.
    fn weigh(weights: &HeadWeights, plane: &mut AxisPlane) -> bool {
        let along = |end: &Segment| weights.along(end.start, end.partner(), end.len);
        plane.weights = ends(plane).map(along).collect();
        plane.weights.iter().flatten().any(|weight| *weight != 0.0)
    }

    /// The planes for which `read` returns true.
    fn planes(&self, mut read: impl FnMut(&mut AxisPlane) -> bool) -> Vec<AxisPlane> {
        let (last, circle) = (self.last(), self.circles[self.layers.len()]);
        let side = last as isize;
        let shifts = if circle { 0..side } else { 1 - side..side };
        let mut planes = Vec::new();
        for shift in shifts {
            let mut plane = AxisPlane::new(&self.layers, &self.circles, last, shift);
            if read(&mut plane) {
                planes.push((shift, plane));
            }
        }
        let same = |a: isize, b: isize| a == b || (circle && (a - b).rem_euclid(side) == 0);
        let kept: Vec<isize> = planes.iter().map(|(shift, _)| *shift).collect();
        let opposite = |shift: isize| kept.iter().position(|other| same(*other, -shift));
        let mut first = 0;
        let with_opposite = |(shift, mut plane): (isize, AxisPlane)| {
            // Weights are symmetric: the opposite plane is kept too.
            plane.opposite = opposite(shift).unwrap_or(0);
            plane.first = first;
            first += plane
                .inputs()
                .map(|(segment, _)| segment.len)
                .sum::<usize>();
            plane
        };
        planes.into_iter().map(with_opposite).collect()
    }

    /// The last stage of a chain.
    fn end(&self, end: ChainEnd) -> StageAxis {
        let (planes, divisor) = match end {
            ChainEnd::Head(head) => {
                let weights = HeadWeights::new(self.last(), &self.pools, head);
                let planes = self.planes(|plane| Self::weigh(&weights, plane));
                (planes, weights.divisor)
            }
            ChainEnd::OwnPixels => {
                let first = Self {
                    layers: self.layers[..1].to_vec(),
                    circles: self.circles[..2].to_vec(),
                    ..self.clone()
                };
                (first.planes(|plane| plane.is_zero()), 1.0)
            }
        };
        StageAxis {
            planes,
            divisor,
            places: 0,
        }
    }

    /// The places in the pooled tensor of all pairs before the pools, given the planes after them.
    fn pair_places(&self, planes: &[AxisPlane]) -> PairPlaces {
        let mut places = PairPlaces::new(self.last());
        for (segment, first) in planes.iter().flat_map(AxisPlane::inputs) {
            for line in 0..segment.len {
                for (p, count) in self.pools.reached(segment.start + line) {
                    for (q, other) in self.pools.reached(segment.partner() + line) {
                        places.push([p, q], first + line, count * other);
                    }
                }
            }
        }
        places
    }

    /// A stage before another one.
    fn before(&self, next: &StageAxis) -> StageAxis {
        let places = self.pair_places(&next.planes);
        let read = |plane: &mut AxisPlane| {
            let along = |end: &Segment| places.along(end.start, end.partner(), end.len);
            plane.targets = ends(plane).map(along).collect();
            !plane.targets.iter().all(|targets| targets.is_empty())
        };
        let inputs = next.planes.iter().flat_map(AxisPlane::inputs);
        StageAxis {
            planes: self.planes(read),
            divisor: self.pools.reach * self.pools.reach,
            places: inputs.map(|(segment, _)| segment.len).sum(),
        }
    }
}

/// The segments of a plane after its last layer.
fn ends(plane: &AxisPlane) -> impl Iterator<Item = &Segment> {
    let level = plane.levels.last().into_iter();
    level.flat_map(|level| &level.segments)
}

/// The chain of stages, given both axes of each, that leads to an end. It is empty if there are none.
pub(super) fn chain(stages: &[(Range<usize>, [AxisStage; 2])], end: ChainEnd) -> Vec<ChainStage> {
    let mut chain: Vec<ChainStage> = Vec::new();
    for (layers, axes) in stages.iter().rev() {
        let (axes, layers) = match (chain.last(), end) {
            (Some(next), _) => {
                let axis = |axis: usize| axes[axis].before(&next.axes[axis]);
                ([axis(0), axis(1)], layers.clone())
            }
            (None, ChainEnd::Head(_)) => {
                (axes.each_ref().map(|axis| axis.end(end)), layers.clone())
            }
            (None, ChainEnd::OwnPixels) => {
                let first = layers.start..layers.start + 1;
                (axes.each_ref().map(|axis| axis.end(end)), first)
            }
        };
        chain.push(ChainStage { layers, axes });
    }
    chain.reverse();
    chain
}

impl ChainStage {
    /// The planes, each with the opposite one, which follows it or is the same. Each is an index along both axes.
    pub fn plane_pairs(&self) -> impl Iterator<Item = [[usize; 2]; 2]> {
        let [vertical, horizontal] = self.axes.each_ref().map(|axis| &axis.planes);
        let all = vertical.iter().enumerate().flat_map(move |(y, rows)| {
            let columns = horizontal.iter().enumerate();
            columns.map(move |(x, columns)| [[y, x], [rows.opposite, columns.opposite]])
        });
        all.filter(|[plane, opposite]| opposite >= plane)
    }

    /// Both axes of a plane.
    pub fn plane(&self, [y, x]: [usize; 2]) -> [&AxisPlane; 2] {
        [&self.axes[0].planes[y], &self.axes[1].planes[x]]
    }

    /// The number of pairs of pixels of all planes at all levels after the first.
    pub fn pairs(&self) -> f64 {
        let pairs = |axis: &StageAxis, level: usize| -> f64 {
            let lens = axis
                .planes
                .iter()
                .flat_map(|plane| &plane.levels[level].segments);
            lens.map(|segment| segment.len as f64).sum()
        };
        (1..=self.layers.len())
            .map(|level| pairs(&self.axes[0], level) * pairs(&self.axes[1], level))
            .sum()
    }
}
