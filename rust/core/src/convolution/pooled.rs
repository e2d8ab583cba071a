//! Pools between convolutions: sums over the windows of both pixels of a pair.

use super::axis::AxisPlane;
use super::buffers::{Lines, PlaneGrid};
use super::chain::StageAxis;
use super::pixel_rows::RowProducts;
use super::pool_counts::PairTargets;
use crate::isa::{Vector, WIDTH};
use crate::math::double_double::two_sum;

/// Sums of more terms than this keep their rounding errors.
const PLAIN_TERMS: f64 = 100.0;

/// T and ṪΘ of the pairs of pooled pixels that the next stage needs, plane by plane.
///
/// A plane and the opposite one add to different sums. Exchanging the images exchanges the sums, and changes no bit of
/// their total.
#[derive(Debug, Default)]
pub(super) struct PooledTensor {
    /// For a plane and for its opposite: the sums of T and of ṪΘ.
    sums: [[Lines; 2]; 2],
    /// Their rounding errors, if they are kept.
    rests: [[Lines; 2]; 2],
    keeps_rests: bool,
    /// The number of places, and of those in a row.
    places: usize,
    columns: usize,
    divisor: f64,
}

impl PooledTensor {
    /// Starts the sums after a stage.
    pub fn start(&mut self, axes: &[StageAxis; 2]) {
        let [rows, columns] = axes.each_ref().map(|axis| axis.places);
        (self.places, self.columns) = (rows * columns, columns);
        self.divisor = axes[0].divisor * axes[1].divisor;
        self.keeps_rests = self.divisor > PLAIN_TERMS;
        let rests = self.rests.as_flattened_mut().iter_mut();
        let rests = rests.filter(|_| self.keeps_rests);
        for lines in self.sums.as_flattened_mut().iter_mut().chain(rests) {
            lines.resize(self.places);
            lines.blocks_mut()[..self.places].fill([0.0; WIDTH]);
        }
    }

    /// Adds the sums of opposite planes to those of the planes.
    pub fn merge(&mut self) {
        let ([sums, opposite], [rests, others]) = (&mut self.sums, &mut self.rests);
        for index in 0..2 {
            let sums = &mut sums[index].blocks_mut().as_flattened_mut()[..self.places * WIDTH];
            let opposite = &opposite[index].blocks().as_flattened()[..sums.len()];
            if !self.keeps_rests {
                for (sum, other) in sums.iter_mut().zip(opposite) {
                    *sum += other;
                }
                continue;
            }
            let rests = rests[index].blocks_mut().as_flattened_mut().iter_mut();
            let others = others[index].blocks().as_flattened();
            for ((sum, rest), (other, lost)) in
                sums.iter_mut().zip(rests).zip(opposite.iter().zip(others))
            {
                let (total, error) = two_sum(*sum, *other);
                (*sum, *rest) = (total, error + (*rest + lost));
            }
        }
    }

    /// Turns sums into means.
    pub fn divide(&mut self) {
        for (sums, rests) in self.sums[0].iter_mut().zip(&self.rests[0]) {
            let sums = &mut sums.blocks_mut().as_flattened_mut()[..self.places * WIDTH];
            if self.keeps_rests {
                for (sum, rest) in sums.iter_mut().zip(rests.blocks().as_flattened()) {
                    *sum += rest;
                }
            }
            for sum in sums {
                *sum /= self.divisor;
            }
        }
    }

    /// Writes one plane of the means to a grid.
    pub fn cut(&self, plane: [&AxisPlane; 2], grid: &mut PlaneGrid) {
        let stride = grid.stride;
        for (vertical, row) in plane[0].inputs() {
            for (horizontal, column) in plane[1].inputs() {
                for line in 0..vertical.len {
                    let from = (row + line) * self.columns + column;
                    let to = (vertical.at + line) * stride + horizontal.at;
                    let targets = [&mut grid.products, &mut grid.tangents];
                    for (target, sums) in targets.into_iter().zip(&self.sums[0]) {
                        target.blocks_mut()[to..to + horizontal.len]
                            .copy_from_slice(&sums.blocks()[from..from + horizontal.len]);
                    }
                }
            }
        }
    }
}

/// The sums of a pool over one plane.
pub(super) struct PoolSums<'a> {
    pub tensor: &'a mut PooledTensor,
    /// Where pairs go along both axes, for each segment.
    pub targets: [&'a [PairTargets]; 2],
    /// 0 for a plane, and 1 for the opposite one.
    pub direction: usize,
    /// True if the plane is its own opposite.
    pub itself: bool,
}

impl PoolSums<'_> {
    /// 0 for the rectangles of a plane, and 1 for those of its opposite.
    #[inline(always)]
    fn direction(&self, shift: [isize; 2]) -> usize {
        let backward = self.itself && shift < shift.map(|shift| -shift);
        self.direction.max(usize::from(backward))
    }

    /// The place of a rectangle among those of a plane. Those of the opposite plane have opposite shifts, and the same
    /// order.
    pub fn order(&self, shift: [isize; 2]) -> (usize, [isize; 2]) {
        match self.direction(shift) {
            0 => (0, shift),
            direction => (direction, shift.map(|shift| -shift)),
        }
    }

    /// Adds row `line` of a rectangle, given the indices of its segments.
    #[inline(always)]
    pub fn add_row<V: Vector>(
        &mut self,
        products: &RowProducts<'_>,
        [index, other]: [usize; 2],
        line: usize,
        shift: [isize; 2],
    ) {
        let (direction, columns) = (self.direction(shift), &self.targets[1][other]);
        for (row, count) in self.targets[0][index].of(line) {
            let start = row * self.tensor.columns;
            for x in 0..products.gaps.len() {
                let both = products.at::<V>(x);
                for (column, weight) in columns.of(x) {
                    let weight = V::splat(count * weight);
                    self.add(direction, start + column, both.map(|value| value * weight));
                }
            }
        }
    }

    /// Adds to the sums of a place.
    #[inline(always)]
    fn add<V: Vector>(&mut self, direction: usize, place: usize, both: [V; 2]) {
        let tensor = &mut *self.tensor;
        for (index, value) in both.into_iter().enumerate() {
            let target = &mut tensor.sums[direction][index].blocks_mut()[place];
            if tensor.keeps_rests {
                let (sum, error) = two_sum(V::load(target), value);
                sum.store(target);
                let rest = &mut tensor.rests[direction][index].blocks_mut()[place];
                (V::load(rest) + error).store(rest);
            } else {
                (V::load(target) + value).store(target);
            }
        }
    }
}
