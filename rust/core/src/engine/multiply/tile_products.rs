//! Products of some rows of a tile, and of their transpose, with groups of vectors.
//!
//! The sum over a row of a tile is taken in eight lanes, one for each column of a block, which are added in ascending order;
//! the sum over a column ascends. So the bits of a product depend neither on the group of a vector nor on the loop.
//!
//! Each loop keeps sums in about three quarters of the registers, so that multiply-adds do not wait for each other, and
//! the rest hold factors.

// Indices: in loops over several arrays of sums they keep the sums in registers without any inlining.
#![allow(clippy::needless_range_loop)]

use std::array::from_fn;
use std::ops::Range;

use super::vectors::{Group, Vectors};
use crate::engine::tile::Tile;
use crate::isa::{Block, Isa, Vector, Vectorized, WIDTH, blocks_of};

/// The number of registers from which on loops keep about two dozen sums. Otherwise, they keep six.
const MANY_REGISTERS: usize = 32;

/// Adds the product of the tile's rows with the rows `from` of the vectors to the rows `to` of the sums.
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
                vectors: vectors.rows(from).as_chunks().0,
                sums: &mut target.0.rows_mut(to)[..rows],
            }),
        }
    }
}

/// Adds the products of the tile's rows, transposed, with the rows `from` of the vectors to the rows `to` of the totals. The
/// rows of a tile may come in several calls, in ascending order.
pub(super) fn add_transposed(
    isa: Isa,
    tile: &Tile,
    vectors: &Vectors,
    from: &Range<usize>,
    totals: &mut Vectors,
    to: &Range<usize>,
) {
    let rows = from.len();
    for (vectors, totals) in vectors.groups().iter().zip(totals.groups_mut()) {
        let (source, target) = ((vectors, from), (totals, to));
        match vectors.width {
            1 => isa.run(Transposed::<1>(Operands::new(tile, rows, source, target))),
            2 => isa.run(Transposed::<2>(Operands::new(tile, rows, source, target))),
            4 => isa.run(Transposed::<4>(Operands::new(tile, rows, source, target))),
            _ => isa.run(TransposedWide {
                tile,
                vectors: &vectors.rows(from)[..rows],
                totals: target.0.rows_mut(to),
            }),
        }
    }
}

/// Rows of a tile, a group of G vectors that they are multiplied by, and the sums of their products.
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

/// `sums[g][r] += Σ_c tile[r][c] · vectors[g][c]` for G vectors.
struct Direct<'a, const G: usize>(Operands<'a, G>);

impl<const G: usize> Vectorized for Direct<'_, G> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(mut self) {
        match (V::REGISTERS >= MANY_REGISTERS, G) {
            (true, 1) => self.steps::<V, WIDTH, WIDTH>(),
            (true, _) => self.steps::<V, { 2 * WIDTH }, { 2 * WIDTH }>(),
            (false, _) => self.steps::<V, { WIDTH / 2 }, WIDTH>(),
        }
    }
}

impl<const G: usize> Direct<'_, G> {
    /// Adds all sums: N of them in one step, and T in registers at a time.
    #[inline(always)]
    fn steps<V: Vector, const T: usize, const N: usize>(&mut self) {
        for first in (0..self.0.rows).step_by(N / G) {
            let mut totals = [V::splat(0.0); N];
            for part in 0..N / T {
                let some = self.totals::<V, T>(first + part * (T / G));
                for t in 0..T {
                    totals[part * T + t] = some[t];
                }
            }
            for (set, totals) in totals.as_chunks::<WIDTH>().0.iter().enumerate() {
                let mut lanes = [0.0; WIDTH];
                sum_lanes(*totals).store(&mut lanes);
                let start = first + set * (WIDTH / G);
                for r in 0..(WIDTH / G).min(self.0.rows.saturating_sub(start)) {
                    for g in 0..G {
                        self.0.sums[g].as_flattened_mut()[start + r] += lanes[r * G + g];
                    }
                }
            }
        }
    }

    /// The sums of T/G rows from `first` on, by lanes: those of all vectors for each row. Rows past the last one are copies.
    #[inline(always)]
    fn totals<V: Vector, const T: usize>(&self, first: usize) -> [V; T] {
        let (last, blocks) = (self.0.rows - 1, self.0.vectors[0].len());
        let vectors: [&[Block]; G] = from_fn(|g| &self.0.vectors[g][..blocks]);
        let line = |t: usize| &self.0.tile.row_blocks(last.min(first + t / G))[..blocks];
        let lines: [&[Block]; T] = from_fn(line);
        let mut totals = [V::splat(0.0); T];
        for block in 0..blocks {
            for r in 0..T / G {
                let values = V::load(&lines[r * G][block]);
                for g in 0..G {
                    let factors = V::load(&vectors[g][block]);
                    totals[r * G + g] = values.mul_add(factors, totals[r * G + g]);
                }
            }
        }
        totals
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
    vectors: &'a [[Block; WIDTH]],
    sums: &'a mut [Block],
}

impl Vectorized for DirectWide<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        if V::REGISTERS >= MANY_REGISTERS {
            self.steps::<V, 6, 4>();
        } else {
            self.steps::<V, 6, 1>();
        }
    }
}

impl DirectWide<'_> {
    /// Adds all sums, with those of L lanes of R rows in registers at a time.
    #[inline(always)]
    fn steps<V: Vector, const R: usize, const L: usize>(self) {
        let (blocks, rows) = (self.vectors.len(), self.sums.len());
        for first in (0..rows).step_by(R) {
            let line = |r: usize| &self.tile.row_blocks((first + r).min(rows - 1))[..blocks];
            let lines: [&[Block]; R] = from_fn(line);
            let mut sums = [[0.0; WIDTH]; R];
            for lane in (0..WIDTH).step_by(L) {
                let mut totals = [[V::splat(0.0); L]; R];
                for block in 0..blocks {
                    for l in 0..L {
                        let factors = V::load(&self.vectors[block][lane + l]);
                        for r in 0..R {
                            let value = V::splat(lines[r][block][lane + l]);
                            totals[r][l] = value.mul_add(factors, totals[r][l]);
                        }
                    }
                }
                for r in 0..R {
                    let mut sum = V::load(&sums[r]);
                    for l in 0..L {
                        sum = sum + totals[r][l];
                    }
                    sum.store(&mut sums[r]);
                }
            }
            for (target, sums) in self.sums[first..].iter_mut().zip(&sums) {
                (V::load(target) + V::load(sums)).store(target);
            }
        }
    }
}

/// `totals[g][c] += Σ_r tile[r][c] · vectors[g][r]` for G vectors.
struct Transposed<'a, const G: usize>(Operands<'a, G>);

impl<const G: usize> Vectorized for Transposed<'_, G> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(mut self) {
        match (V::REGISTERS >= MANY_REGISTERS, G) {
            (true, 1) => self.steps::<V, 12>(),
            (true, _) => self.steps::<V, 6>(),
            (false, 1) => self.steps::<V, 6>(),
            (false, 2) => self.steps::<V, 2>(),
            (false, _) => self.steps::<V, 1>(),
        }
    }
}

impl<const G: usize> Transposed<'_, G> {
    /// Adds to the totals of all blocks of columns, B at a time.
    #[inline(always)]
    fn steps<V: Vector, const B: usize>(&mut self) {
        let blocks = self.0.sums[0].len();
        let whole = blocks - blocks % B;
        for first in (0..whole).step_by(B) {
            self.step::<V, B>(first);
        }
        for first in whole..blocks {
            self.step::<V, 1>(first);
        }
    }

    /// Adds to the totals of B blocks of columns.
    #[inline(always)]
    fn step<V: Vector, const B: usize>(&mut self, first: usize) {
        let mut totals = [[V::splat(0.0); G]; B];
        for b in 0..B {
            for g in 0..G {
                totals[b][g] = V::load(&self.0.sums[g][first + b]);
            }
        }
        let (rows, (values, stride)) = (self.0.rows, self.0.tile.blocks());
        let vectors: [&[f64]; G] = from_fn(|g| &self.0.vectors[g].as_flattened()[..rows]);
        let values = &values[first..];
        for row in 0..rows {
            let values = &values[row * stride..][..B];
            for g in 0..G {
                let factor = V::splat(vectors[g][row]);
                for b in 0..B {
                    totals[b][g] = V::load(&values[b]).mul_add(factor, totals[b][g]);
                }
            }
        }
        for b in 0..B {
            for g in 0..G {
                totals[b][g].store(&mut self.0.sums[g][first + b]);
            }
        }
    }
}

/// `totals[c][g] += Σ_r tile[r][c] · vectors[r][g]` for [`WIDTH`] vectors.
struct TransposedWide<'a> {
    tile: &'a Tile,
    vectors: &'a [Block],
    totals: &'a mut [Block],
}

impl Vectorized for TransposedWide<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        if V::REGISTERS >= MANY_REGISTERS {
            self.steps::<V, { 3 * WIDTH }, WIDTH>();
        } else {
            self.steps::<V, 6, 2>();
        }
    }
}

impl TransposedWide<'_> {
    /// Adds to the totals of all columns, C at a time, and of the rest REST at a time.
    #[inline(always)]
    fn steps<V: Vector, const C: usize, const REST: usize>(mut self) {
        let cols = self.totals.len();
        let whole = cols - cols % C;
        for first in (0..whole).step_by(C) {
            self.step::<V, C>(first);
        }
        for first in (whole..cols).step_by(REST) {
            self.step::<V, REST>(first);
        }
    }

    /// Adds to the totals of C columns.
    #[inline(always)]
    fn step<V: Vector, const C: usize>(&mut self, first: usize) {
        let targets = &mut self.totals[first..first + C];
        let mut totals = [V::splat(0.0); C];
        for c in 0..C {
            totals[c] = V::load(&targets[c]);
        }
        let (values, stride) = self.tile.blocks();
        let values = &values.as_flattened()[first..];
        for (row, factors) in self.vectors.iter().enumerate() {
            let (values, factors) = (&values[row * stride * WIDTH..][..C], V::load(factors));
            for c in 0..C {
                totals[c] = V::splat(values[c]).mul_add(factors, totals[c]);
            }
        }
        for c in 0..C {
            totals[c].store(&mut targets[c]);
        }
    }
}
