//! Memory of planes and rows.

use std::ops::Range;

use super::axis::AxisLevel;
use crate::isa::{Block, Lanes, WIDTH};

/// Blocks that start on cache lines.
#[derive(Debug, Default)]
pub(super) struct Lines(Vec<Lanes<f64, WIDTH>>);

impl Lines {
    /// Makes room for so many blocks. Their values are arbitrary.
    pub fn resize(&mut self, blocks: usize) {
        if self.0.len() < blocks {
            self.0.resize(blocks, Lanes([f64::NAN; WIDTH]));
        }
    }

    #[inline(always)]
    pub fn blocks(&self) -> &[Block] {
        Lanes::values(&self.0).as_chunks().0
    }

    #[inline(always)]
    pub fn blocks_mut(&mut self) -> &mut [Block] {
        Lanes::values_mut(&mut self.0).as_chunks_mut().0
    }
}

/// A plane at the input of a layer: a rectangle of places, row by row.
#[derive(Debug, Default)]
pub(super) struct PlaneGrid {
    /// `c = ωω'ρ`; in the first layer the products of pixels.
    pub products: Lines,
    /// ṪΘ.
    pub tangents: Lines,
    pub gaps: Lines,
    /// The number of places in a row.
    pub stride: usize,
}

impl PlaneGrid {
    pub fn reshape(&mut self, levels: [&AxisLevel; 2]) {
        self.stride = levels[1].size;
        let places = levels[0].size * levels[1].size;
        for lines in [&mut self.products, &mut self.tangents, &mut self.gaps] {
            lines.resize(places);
        }
    }

    /// Gaps, products and tangent kernels, mutable.
    pub fn results(&mut self) -> [&mut Lines; 3] {
        [&mut self.gaps, &mut self.products, &mut self.tangents]
    }

    /// Fills the places around the pairs: with zeros, or with the pairs that they stand for.
    pub fn fill_guards(&mut self, levels: [&AxisLevel; 2], first: bool) {
        let stride = self.stride;
        let fill = |blocks: &mut [Block]| {
            for segment in &levels[0].segments {
                let rows = segment.at..segment.at + segment.len;
                for row in blocks.chunks_mut(stride).take(rows.end).skip(rows.start) {
                    for (place, source) in &levels[1].guards {
                        row[*place] = source.map_or([0.0; WIDTH], |source| row[source]);
                    }
                }
            }
            for (place, source) in &levels[0].guards {
                let to = place * stride;
                match source {
                    Some(source) => {
                        blocks.copy_within(source * stride..(source + 1) * stride, to);
                    }
                    None => blocks[to..to + stride].fill([0.0; WIDTH]),
                }
            }
        };
        fill(self.products.blocks_mut());
        if !first {
            fill(self.tangents.blocks_mut());
        }
    }
}

/// Rows of intermediate values.
#[derive(Debug, Default)]
pub(super) struct RowBuffers {
    /// Sums of the columns of windows: of c, and of ṪΘ.
    pub columns: [Lines; 2],
    /// Gaps and Θ before the activation.
    pub gaps: Lines,
    pub own: Lines,
    /// After the last layer of a stage, gaps, c and ṪΘ.
    pub results: [Lines; 3],
}

impl RowBuffers {
    /// Makes room for sums of so many columns, and for bands of so many pairs.
    pub fn resize(&mut self, columns: usize, pairs: usize) {
        let Self {
            columns: sums,
            gaps,
            own,
            results,
        } = self;
        for lines in sums {
            lines.resize(columns);
        }
        for lines in [gaps, own].into_iter().chain(results) {
            lines.resize(pairs);
        }
    }

    /// Gaps and Θ of some pairs before the activation, mutable.
    #[inline(always)]
    pub fn before(&mut self, places: Range<usize>) -> [&mut [Block]; 2] {
        self.columns_and_before(places).1
    }

    /// The sums of columns, and [`RowBuffers::before`].
    #[inline(always)]
    pub fn columns_and_before(
        &mut self,
        places: Range<usize>,
    ) -> ([&[Block]; 2], [&mut [Block]; 2]) {
        let [products, tangents] = &self.columns;
        let (gaps, own) = (self.gaps.blocks_mut(), self.own.blocks_mut());
        (
            [products.blocks(), tangents.blocks()],
            [&mut gaps[places.clone()], &mut own[places]],
        )
    }
}

/// Sums over all pairs of one displacement: of T and of ṪΘ, each with its rounding error.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RectangleSum {
    pub shift: [isize; 2],
    pub sums: [[Block; 2]; 2],
    /// 1 − ρ and 1 + ρ of the head's output, if it is flat.
    pub turns: [Block; 2],
}
