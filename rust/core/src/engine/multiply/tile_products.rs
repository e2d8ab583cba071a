//! Products of one tile, and of its transpose, with groups of vectors.
//!
//! The sum over a row of a tile is taken in eight lanes, one for each column of a block, which are added in ascending order;
//! the sum over a column ascends. So the bits of a product depend neither on the group of a vector nor on the loop.

// Indices: in loops over several arrays of sums they keep the sums in registers without any inlining.
#![allow(clippy::needless_range_loop)]

use std::ops::Range;

use super::vectors::{Group, Vectors};
use crate::engine::tile::Tile;
use crate::isa::{Block, Isa, Vector, Vectorized, WIDTH, blocks_of};

/// The number of blocks whose sums over a column are in registers at a time.
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
        let (source, target) = ((vectors, from), (sums, to));
        match vectors.width {
            1 => isa.run(Direct::<1>(Operands::new(tile, rows, source, target))),
            2 => isa.run(Direct::<2>(Operands::new(tile, rows, source, target))),
            4 => isa.run(Direct::<4>(Operands::new(tile, rows, source, target))),
            _ => isa.run(DirectWide {
                tile,
                rows,
                vectors: vectors.rows(from).as_chunks().0,
                sums: target.0.rows_mut(to),
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
        let (source, target) = ((vectors, from), (sums, to));
        match vectors.width {
            1 => isa.run(Transposed::<1>(Operands::new(tile, rows, source, target))),
            2 => isa.run(Transposed::<2>(Operands::new(tile, rows, source, target))),
            4 => isa.run(Transposed::<4>(Operands::new(tile, rows, source, target))),
            _ => isa.run(TransposedWide {
                tile,
                rows,
                vectors: vectors.rows(from),
                sums: target.0.rows_mut(to).as_chunks_mut().0,
            }),
        }
    }
}

/// A tile, a group of G vectors that it is multiplied by, and the sums of their products.
struct Operands<'a, const G: usize> {
    tile: &'a Tile,
    rows: usize,
    vectors: [&'a [Block]; G],
    sums: [&'a mut [Block]; G],
}

impl<'a, const G: usize> Operands<'a, G> {
    /// The operands of the rows `from` of the vectors, and of the rows `to` of the sums.
    fn new(
        tile: &'a Tile,
        rows: usize,
        (vectors, from): (&'a Group, &Range<usize>),
        (sums, to): (&'a mut Group, &Range<usize>),
    ) -> Self {
        Self {
            tile,
            rows,
            vectors: vectors.each(&blocks_of(from)),
            sums: sums.each_mut(&blocks_of(to)),
        }
    }
}

/// `sums[g][r] += Σ_c tile[r][c] · vectors[g][c]` for G vectors: 8/G rows at a time.
struct Direct<'a, const G: usize>(Operands<'a, G>);

impl<const G: usize> Vectorized for Direct<'_, G> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (rows, blocks) = (WIDTH / G, self.0.vectors[0].len());
        for first in (0..self.0.rows).step_by(rows) {
            let last = self.0.rows - 1;
            let lines: [&[Block]; WIDTH] =
                std::array::from_fn(|r| &self.0.tile.row_blocks(last.min(first + r))[..blocks]);
            let mut totals = [V::splat(0.0); WIDTH];
            for block in 0..blocks {
                // A loop: functions of arrays are not always inlined, and are then compiled without vector instructions.
                let mut factors = [V::splat(0.0); G];
                for (factor, vector) in factors.iter_mut().zip(self.0.vectors) {
                    *factor = V::load(&vector[block]);
                }
                for r in 0..rows {
                    let values = V::load(&lines[r][block]);
                    for g in 0..G {
                        totals[r * G + g] = values.mul_add(factors[g], totals[r * G + g]);
                    }
                }
            }
            let mut lanes = [0.0; WIDTH];
            sum_lanes(totals).store(&mut lanes);
            for r in 0..rows.min(self.0.rows - first) {
                for g in 0..G {
                    self.0.sums[g].as_flattened_mut()[first + r] += lanes[r * G + g];
                }
            }
        }
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

/// `sums[r][g] += Σ_c tile[r][c] · vectors[c][g]` for [`WIDTH`] vectors.
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
        for (row, sums) in self.sums[..self.rows].iter_mut().enumerate() {
            let mut totals = [V::splat(0.0); WIDTH];
            for (values, factors) in self.tile.row_blocks(row).iter().zip(self.vectors) {
                for lane in 0..WIDTH {
                    let factors = V::load(&factors[lane]);
                    totals[lane] = V::splat(values[lane]).mul_add(factors, totals[lane]);
                }
            }
            let mut total = totals[0];
            for lane in &totals[1..] {
                total = total + *lane;
            }
            (V::load(sums) + total).store(sums);
        }
    }
}

/// `sums[g][c] += Σ_r tile[r][c] · vectors[g][r]` for G vectors.
struct Transposed<'a, const G: usize>(Operands<'a, G>);

impl<const G: usize> Vectorized for Transposed<'_, G> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(mut self) {
        let blocks = self.0.sums[0].len();
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
        let mut totals = [[V::splat(0.0); G]; B];
        for row in 0..self.0.rows {
            let values = &self.0.tile.row_blocks(row)[first..first + B];
            for g in 0..G {
                let factor = V::splat(self.0.vectors[g][row / WIDTH][row % WIDTH]);
                for b in 0..B {
                    totals[b][g] = V::load(&values[b]).mul_add(factor, totals[b][g]);
                }
            }
        }
        for b in 0..B {
            for g in 0..G {
                let sums = &mut self.0.sums[g][first + b];
                (V::load(sums) + totals[b][g]).store(sums);
            }
        }
    }
}

/// `sums[c][g] += Σ_r tile[r][c] · vectors[r][g]` for [`WIDTH`] vectors.
struct TransposedWide<'a> {
    tile: &'a Tile,
    rows: usize,
    vectors: &'a [Block],
    sums: &'a mut [[Block; WIDTH]],
}

impl Vectorized for TransposedWide<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for (block, sums) in self.sums.iter_mut().enumerate() {
            let mut totals = [V::splat(0.0); WIDTH];
            for (row, factors) in self.vectors[..self.rows].iter().enumerate() {
                let (values, factors) = (&self.tile.row_blocks(row)[block], V::load(factors));
                for lane in 0..WIDTH {
                    totals[lane] = V::splat(values[lane]).mul_add(factors, totals[lane]);
                }
            }
            for (sums, total) in sums.iter_mut().zip(totals) {
                (V::load(sums) + total).store(sums);
            }
        }
    }
}
