//! Products of one tile, and of its transpose, with groups of vectors.
//!
//! The sum over a row of a tile is taken in eight lanes, one for each column of a block, which are added in ascending order;
//! the sum over a column ascends. So the bits of a product depend neither on the group of a vector nor on the loop.

use std::ops::Range;

use super::vectors::{Group, Vectors};
use crate::engine::tile::Tile;
use crate::isa::{Block, Isa, Vector, Vectorized, WIDTH, blocks_of};

/// The number of sums that are in registers at a time, beside their factors: AVX2 has 16 registers of half a vector.
const SUMS: usize = 4;

/// The number of rows of a tile that are multiplied by the same vectors, for groups of [`WIDTH`] vectors.
const ROWS: usize = 3;

/// The number of blocks whose sums over a column are in registers at a time, for each vector of a small group.
const COLUMN_BLOCKS: usize = 2;

/// Adds the product of a tile with the rows `from` of the vectors to the rows `to` of the sums.
pub(super) fn add(
    isa: Isa,
    tile: &Tile,
    vectors: &Vectors,
    from: &Range<usize>,
    sums: &mut Vectors,
    to: &Range<usize>,
) {
    let rows = to.len();
    for (vectors, sums) in vectors.groups().iter().zip(sums.groups_mut()) {
        match vectors.width {
            1 => isa.run(direct::<1>(tile, rows, (vectors, from), (sums, to))),
            2 => isa.run(direct::<2>(tile, rows, (vectors, from), (sums, to))),
            4 => isa.run(direct::<4>(tile, rows, (vectors, from), (sums, to))),
            _ => isa.run(DirectWide {
                tile,
                rows,
                vectors: vectors.rows(from).as_chunks().0,
                sums: sums.rows_mut(to),
            }),
        }
    }
}

/// Adds the product of a tile's transpose with the rows `from` of the vectors to the rows `to` of the sums.
pub(super) fn add_transposed(
    isa: Isa,
    tile: &Tile,
    vectors: &Vectors,
    from: &Range<usize>,
    sums: &mut Vectors,
    to: &Range<usize>,
) {
    let rows = from.len();
    for (vectors, sums) in vectors.groups().iter().zip(sums.groups_mut()) {
        match vectors.width {
            1 => isa.run(transposed::<1>(tile, rows, (vectors, from), (sums, to))),
            2 => isa.run(transposed::<2>(tile, rows, (vectors, from), (sums, to))),
            4 => isa.run(transposed::<4>(tile, rows, (vectors, from), (sums, to))),
            _ => isa.run(TransposedWide {
                tile,
                rows,
                vectors: vectors.rows(from),
                sums: sums.rows_mut(to),
            }),
        }
    }
}

/// The loop [`Direct`] on a group of G vectors.
fn direct<'a, const G: usize>(
    tile: &'a Tile,
    rows: usize,
    (vectors, from): (&'a Group, &Range<usize>),
    (sums, to): (&'a mut Group, &Range<usize>),
) -> Direct<'a, G> {
    let (vectors, sums) = (
        vectors.each(&blocks_of(from)),
        sums.each_mut(&blocks_of(to)),
    );
    Direct {
        tile,
        rows,
        vectors,
        sums,
    }
}

/// The loop [`Transposed`] on a group of G vectors.
fn transposed<'a, const G: usize>(
    tile: &'a Tile,
    rows: usize,
    (vectors, from): (&'a Group, &Range<usize>),
    (sums, to): (&'a mut Group, &Range<usize>),
) -> Transposed<'a, G> {
    let (vectors, sums) = (
        vectors.each(&blocks_of(from)),
        sums.each_mut(&blocks_of(to)),
    );
    Transposed {
        tile,
        rows,
        vectors,
        sums,
    }
}

/// `sums[g][r] += Σ_c tile[r][c] · vectors[g][c]` for G vectors: 8/G rows at a time.
struct Direct<'a, const G: usize> {
    tile: &'a Tile,
    rows: usize,
    vectors: [&'a [Block]; G],
    sums: [&'a mut [Block]; G],
}

impl<const G: usize> Vectorized for Direct<'_, G> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(mut self) {
        let (lines, stride) = self.tile.lines();
        for first in (0..self.rows).step_by(WIDTH / G) {
            let mut totals = [V::splat(0.0); WIDTH];
            for (half, totals) in totals.chunks_exact_mut(SUMS).enumerate() {
                let mut starts = [0; SUMS];
                for (r, start) in starts.iter_mut().enumerate() {
                    let row = first + half * SUMS / G + r;
                    *start = row.min(self.rows - 1) * stride;
                }
                self.sum::<V>(lines, &starts, totals);
            }
            let mut lanes = [0.0; WIDTH];
            sum_lanes(totals).store(&mut lanes);
            for (r, lanes) in lanes.chunks_exact(G).enumerate() {
                if first + r < self.rows {
                    for (sums, lane) in self.sums.iter_mut().zip(lanes) {
                        sums.as_flattened_mut()[first + r] += lane;
                    }
                }
            }
        }
    }
}

impl<const G: usize> Direct<'_, G> {
    /// Computes the lanes of G sums for each of some rows, of which these are the first blocks.
    #[inline(always)]
    fn sum<V: Vector>(&mut self, lines: &[Block], starts: &[usize; SUMS], totals: &mut [V]) {
        let mut sums = [V::splat(0.0); SUMS];
        for block in 0..self.vectors[0].len() {
            // A loop: functions of arrays are not always inlined, and are then compiled without vector instructions.
            let mut factors = [V::splat(0.0); G];
            for (factor, vector) in factors.iter_mut().zip(&self.vectors) {
                *factor = V::load(&vector[block]);
            }
            for (sums, start) in sums.chunks_exact_mut(G).zip(starts) {
                let values = V::load(&lines[start + block]);
                for (sum, factor) in sums.iter_mut().zip(&factors) {
                    *sum = values.mul_add(*factor, *sum);
                }
            }
        }
        totals.copy_from_slice(&sums);
    }
}

/// The sum of the lanes of each vector, in ascending order.
#[inline(always)]
fn sum_lanes<V: Vector>(vectors: [V; WIDTH]) -> V {
    let lanes = V::transpose(vectors);
    let mut sum = lanes[0];
    for lane in &lanes[1..] {
        sum = sum + *lane;
    }
    sum
}

/// `sums[r][g] += Σ_c tile[r][c] · vectors[c][g]` for [`WIDTH`] vectors: [`ROWS`] rows and two lanes at a time.
struct DirectWide<'a> {
    tile: &'a Tile,
    rows: usize,
    vectors: &'a [[Block; WIDTH]],
    sums: &'a mut [Block],
}

impl Vectorized for DirectWide<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (lines, stride) = self.tile.lines();
        for first in (0..self.rows).step_by(ROWS) {
            let mut starts = [0; ROWS];
            for (r, start) in starts.iter_mut().enumerate() {
                *start = (first + r).min(self.rows - 1) * stride;
            }
            // Adding −0 changes nothing.
            let mut totals = [V::splat(-0.0); ROWS];
            for lane in (0..WIDTH).step_by(2) {
                let mut sums = [[V::splat(0.0); 2]; ROWS];
                for (block, factors) in self.vectors.iter().enumerate() {
                    let factors = [V::load(&factors[lane]), V::load(&factors[lane + 1])];
                    for (sums, start) in sums.iter_mut().zip(&starts) {
                        let values = &lines[start + block];
                        sums[0] = V::splat(values[lane]).mul_add(factors[0], sums[0]);
                        sums[1] = V::splat(values[lane + 1]).mul_add(factors[1], sums[1]);
                    }
                }
                for (total, sums) in totals.iter_mut().zip(&sums) {
                    *total = *total + sums[0] + sums[1];
                }
            }
            for (sums, total) in self.sums[first..self.rows].iter_mut().zip(&totals) {
                (V::load(sums) + *total).store(sums);
            }
        }
    }
}

/// `sums[g][c] += Σ_r tile[r][c] · vectors[g][r]` for G vectors.
struct Transposed<'a, const G: usize> {
    tile: &'a Tile,
    rows: usize,
    vectors: [&'a [Block]; G],
    sums: [&'a mut [Block]; G],
}

impl<const G: usize> Vectorized for Transposed<'_, G> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(mut self) {
        let blocks = self.sums[0].len();
        let whole = blocks - blocks % COLUMN_BLOCKS;
        for first in (0..whole).step_by(COLUMN_BLOCKS) {
            self.step::<V, COLUMN_BLOCKS>(first);
        }
        for first in whole..blocks {
            self.step::<V, 1>(first);
        }
    }
}

impl<const G: usize> Transposed<'_, G> {
    /// Adds the sums of B blocks of columns.
    #[inline(always)]
    fn step<V: Vector, const B: usize>(&mut self, first: usize) {
        let (lines, stride) = self.tile.lines();
        let mut totals = [[V::splat(0.0); B]; G];
        for (row, line) in lines.chunks_exact(stride).take(self.rows).enumerate() {
            let mut values = [V::splat(0.0); B];
            for (value, block) in values.iter_mut().zip(&line[first..first + B]) {
                *value = V::load(block);
            }
            for (totals, vector) in totals.iter_mut().zip(&self.vectors) {
                let factor = V::splat(vector[row / WIDTH][row % WIDTH]);
                for (total, value) in totals.iter_mut().zip(&values) {
                    *total = value.mul_add(factor, *total);
                }
            }
        }
        for (sums, totals) in self.sums.iter_mut().zip(&totals) {
            for (sums, total) in sums[first..first + B].iter_mut().zip(totals) {
                (V::load(sums) + *total).store(sums);
            }
        }
    }
}

/// `sums[c][g] += Σ_r tile[r][c] · vectors[r][g]` for [`WIDTH`] vectors: [`SUMS`] columns at a time.
struct TransposedWide<'a> {
    tile: &'a Tile,
    rows: usize,
    vectors: &'a [Block],
    sums: &'a mut [Block],
}

impl Vectorized for TransposedWide<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (lines, stride) = self.tile.lines();
        let vectors = &self.vectors[..self.rows];
        for (part, sums) in self.sums.chunks_exact_mut(SUMS).enumerate() {
            let (block, lane) = (part * SUMS / WIDTH, part * SUMS % WIDTH);
            let mut totals = [V::splat(0.0); SUMS];
            for (line, factors) in lines.chunks_exact(stride).zip(vectors) {
                let (values, factors) = (&line[block][lane..lane + SUMS], V::load(factors));
                for (total, value) in totals.iter_mut().zip(values) {
                    *total = V::splat(*value).mul_add(factors, *total);
                }
            }
            for (sums, total) in sums.iter_mut().zip(&totals) {
                (V::load(sums) + *total).store(sums);
            }
        }
    }
}
