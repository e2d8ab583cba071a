//! The series of many pairs, in the gap.

use std::ops::Range;

use super::coefficients::DIRECT_AT;
use super::features::{Columns, MEAN, OCTAVES, Row, SCALE, TERMS, place};
use super::orders::{DIRECT, NODES, Octave, octaves};
use super::tail::{self, Law};
use crate::dual::{Features, Variables};
use crate::isa::{Block, Isa, Vector, Vectorized, WIDTH};
use crate::special::{expm1, log1p_unit};

/// New gaps below this are summed from differences.
const CLOSE: f64 = 1.0 / 64.0;

/// `ρ^m < e^{−2·REACH}`, which is 1e-16, from `m = REACH (1+ρ)/(1−ρ)` on.
const REACH: f64 = 18.5;

/// Orders of each parity that are summed or left out together.
const CHUNK: usize = 8;

/// `1/(m+1)`.
const INVERSES: [f64; DIRECT] = {
    let mut inverses = [0.0; DIRECT];
    let mut m = 0;
    while m < DIRECT {
        inverses[m] = 1.0 / (m + 1) as f64;
        m += 1;
    }
    inverses
};

/// Steps a row of pairs.
pub(super) fn run(isa: Isa, pairs: &Variables<'_>, gaps: &mut [Block], dots: &mut [Block]) {
    isa.run(Step {
        row: &Row::new(pairs),
        cols: pairs.cols,
        blocks: pairs.blocks.clone(),
        octaves: octaves(),
        gaps,
        dots,
    });
}

struct Step<'a> {
    row: &'a Row,
    cols: &'a Features,
    blocks: Range<usize>,
    octaves: &'a [Octave],
    gaps: &'a mut [Block],
    dots: &'a mut [Block],
}

impl Vectorized for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (row, cols) = (self.row, self.cols);
        assert!(self.gaps.len() == self.blocks.len() && self.dots.len() == self.blocks.len());
        let pairs = self.gaps.iter_mut().zip(self.dots);
        for (block, (gap, dot)) in self.blocks.zip(pairs) {
            let number = |index: usize| V::load(&cols.0[index].blocks()[block]);
            let columns = Columns::new(cols, block);
            let pair = Pair {
                row,
                columns,
                law: columns.law(),
                octaves: self.octaves,
                gap: V::load(gap),
                scale: number(SCALE),
                mean: number(MEAN),
                terms: V::splat(row.terms).max(number(TERMS)),
                last: V::splat(row.octaves).max(number(OCTAVES)),
            };
            let (correlation, slope) = pair.sums();
            slope.store(dot);
            let mut new = V::splat(1.0) - correlation.abs();
            let close = new.less(V::splat(CLOSE));
            if V::any(close) {
                new = V::select(close, pair.close_gap(correlation), new);
            }
            new.max(V::splat(0.0)).copysign(correlation).store(gap);
        }
    }
}

/// One u and eight v.
struct Pair<'a, V> {
    row: &'a Row,
    columns: Columns<'a>,
    law: Law<V>,
    octaves: &'a [Octave],
    gap: V,
    scale: V,
    mean: V,
    /// After how many terms the rest is round-off whatever ρ is, and the number of octaves before the law.
    terms: V,
    last: V,
}

impl<V: Vector> Pair<'_, V> {
    /// `T/√(T(u,u) T(v,v))` and Ṫ.
    #[inline(always)]
    fn sums(&self) -> (V, V) {
        let size = self.gap.abs();
        let (sign, rho) = (V::splat(1.0).copysign(self.gap), V::splat(1.0) - size);
        // Terms after these are round-off, because ρ is small or because all coefficients are.
        let reach = V::splat(REACH) * (V::splat(2.0) - size) / size;
        let terms = self.terms.min(reach);
        let longest = largest(terms);
        let ([mut even_dot, mut even], [mut odd_dot, mut odd]) = self.direct(terms, longest, rho);
        if longest > DIRECT as f64 {
            let all = self.beyond(terms, longest);
            even_dot = even_dot + all.dots[0] / rho.max(V::splat(0.25));
            odd_dot = odd_dot + all.dots[1];
            even = even + all.values[0];
            odd = odd + all.values[1];
        }
        let weight = V::splat(self.row.scale) * self.scale;
        let means = V::splat(self.row.mean) * self.mean;
        let correlation = weight.mul_add(sign.mul_add(even, odd), means);
        (correlation, sign.mul_add(odd_dot, even_dot))
    }

    /// `Σ b_m b_m' |ρ|^m` and `Σ b_m b_m' |ρ|^{m+1}/(m+1)` over even m below [`DIRECT`], and over odd m.
    #[inline(always)]
    fn direct(&self, terms: V, longest: f64, rho: V) -> ([V; 2], [V; 2]) {
        let zero = V::splat(0.0);
        let (mut dots, mut values) = ([zero; 2], [zero; 2]);
        let square = rho * rho;
        for chunk in (0..DIRECT / 2 / CHUNK).rev() {
            let first = (2 * CHUNK * chunk) as f64;
            if longest <= first {
                continue;
            }
            for k in (CHUNK * chunk..CHUNK * (chunk + 1)).rev() {
                for parity in [0, 1] {
                    let index = DIRECT_AT + DIRECT / 2 * parity + k;
                    let product = V::splat(self.row.list[index]) * self.columns.get(index);
                    let inverse = V::splat(INVERSES[2 * k + parity]);
                    dots[parity] = dots[parity].mul_add(square, product);
                    values[parity] = values[parity].mul_add(square, product * inverse);
                }
            }
            let wanted = V::splat(first).less(terms);
            dots = dots.map(|sum| V::select(wanted, sum, zero));
            values = values.map(|sum| V::select(wanted, sum, zero));
        }
        (
            [dots[0], rho * values[0]],
            [rho * dots[1], square * values[1]],
        )
    }

    /// The sums over the octaves and the law. Lanes leave out the octaves they do not want.
    #[inline(always)]
    fn beyond(&self, terms: V, longest: f64) -> tail::Sums<V> {
        let (zero, one) = (V::splat(0.0), V::splat(1.0));
        // Where ρ is small, nothing here is wanted.
        let size = self.gap.abs().min(V::splat(0.5));
        let decay = log1p_unit(size / (one - size));
        let mut all = tail::Sums {
            dots: [zero; 2],
            values: [zero; 2],
            openings: [zero; 2],
        };
        let mut falls = [zero; NODES];
        for (index, octave) in self.octaves[..self.octaves_wanted(longest)]
            .iter()
            .enumerate()
        {
            for (fall, u) in falls.iter_mut().zip(octave.nodes) {
                *fall = if index < 2 {
                    -expm1(V::splat(-u) * decay)
                } else {
                    *fall * (V::splat(2.0) - *fall)
                };
            }
            let part = self.octave(index, octave, &falls, size);
            let start = V::splat(octave_start(index));
            let wanted = V::select(start.less(terms), V::splat(index as f64), self.last);
            let wanted = wanted.less(self.last);
            let add = |sum: V, part: V| sum + V::select(wanted, part, zero);
            for parity in [0, 1] {
                all.dots[parity] = add(all.dots[parity], part.dots[parity]);
                all.values[parity] = add(all.values[parity], part.values[parity]);
                all.openings[parity] = add(all.openings[parity], part.openings[parity]);
            }
        }
        let y = (-self.last).power_of_two();
        let wanted = V::splat(DIRECT as f64).less(terms * y);
        if self.row.terms.is_infinite() && V::any(wanted) {
            let law = self.row.law.map(|law| law.map(V::splat));
            let part = tail::sums(&law, &self.law, y, decay, size);
            let add = |sum: V, part: V| sum + V::select(wanted, part, zero);
            for parity in [0, 1] {
                all.dots[parity] = add(all.dots[parity], part.dots[parity]);
                all.values[parity] = add(all.values[parity], part.values[parity]);
                all.openings[parity] = add(all.openings[parity], part.openings[parity]);
            }
        }
        all
    }

    /// How many octaves any lane wants.
    #[inline(always)]
    fn octaves_wanted(&self, longest: f64) -> usize {
        let there = (self.row.list.len() - place(0, 0, 0)) / (2 * NODES);
        let mut count = 0;
        while count < there && octave_start(count) < longest {
            count += 1;
        }
        count
    }

    /// The sums over one octave, with `1 − |ρ|^u` at its nodes.
    #[inline(always)]
    fn octave(&self, index: usize, octave: &Octave, falls: &[V; NODES], size: V) -> tail::Sums<V> {
        let (zero, one) = (V::splat(0.0), V::splat(1.0));
        let mut part = tail::Sums {
            dots: [zero; 2],
            values: [zero; 2],
            openings: [zero; 2],
        };
        let rho = one - size;
        for (k, fall) in falls.iter().enumerate() {
            let power = one - *fall;
            let product = |parity: usize| {
                V::splat(self.row.list[place(index, parity, k)])
                    * self.columns.at(&self.law, index, parity, k)
            };
            let (even, odd) = (product(0), product(1));
            let (over, next) = (
                V::splat(octave.inverse[k]),
                V::splat(octave.inverse_next[k]),
            );
            part.dots[0] = even.mul_add(power, part.dots[0]);
            part.dots[1] = odd.mul_add(power, part.dots[1]);
            part.values[0] = (even * power).mul_add(over, part.values[0]);
            part.values[1] = (odd * power).mul_add(next, part.values[1]);
            part.openings[0] = (even * *fall).mul_add(over, part.openings[0]);
            part.openings[1] = (odd * power.mul_add(size, *fall)).mul_add(next, part.openings[1]);
        }
        part.values[1] = part.values[1] * rho;
        part
    }

    /// `1 − |T|/√(T(u,u) T(v,v))`, without cancellation where that is small.
    ///
    /// With `â_n` the coefficients of φ in units of the roots, τ the sign of T, and `σ_n = τ` for even n, `τ sign ρ` for
    /// odd ones, it is `½ Σ (â_n(u) − σ_n â_n(v))² + Σ σ_n â_n(u) â_n(v) (1 − |ρ|ⁿ)`, whose last factor is the gap times
    /// `1 + |ρ| + … + |ρ|ⁿ⁻¹`.
    #[inline(always)]
    fn close_gap(&self, correlation: V) -> V {
        let (zero, one) = (V::splat(0.0), V::splat(1.0));
        let size = self.gap.abs();
        let rho = one - size;
        let sign = one.copysign(correlation);
        // Of even orders, whose n is odd, and of odd ones.
        let signs = [sign.copysign(self.gap * correlation), sign];
        let scales = [V::splat(self.row.scale), self.scale];
        let mean = V::splat(self.row.mean) - sign * self.mean;
        let longest = largest(self.terms);
        let (mut spread, mut sum, mut opening) = (zero, zero, zero);
        for m in (0..DIRECT.min(longest as usize)).rev() {
            let index = DIRECT_AT + DIRECT / 2 * (m % 2) + m / 2;
            let b_u = scales[0] * V::splat(self.row.list[index]);
            let b_v = signs[m % 2] * (scales[1] * self.columns.get(index));
            let kept = V::splat(m as f64).less(self.terms);
            let inverse = V::select(kept, V::splat(INVERSES[m]), zero);
            let difference = b_u - b_v;
            spread = (difference * difference).mul_add(inverse, spread);
            sum = (b_u * b_v).mul_add(inverse, sum);
            opening = opening.mul_add(rho, sum);
        }
        opening = opening * size;
        if longest > DIRECT as f64 {
            let weight = scales[0] * scales[1];
            let all = self.beyond(self.terms, longest);
            opening = (weight * signs[0]).mul_add(all.openings[0], opening);
            opening = (weight * signs[1]).mul_add(all.openings[1], opening);
            spread = spread + self.spread_beyond(&signs, longest);
        }
        V::splat(0.5).mul_add(mean.mul_add(mean, spread), opening)
    }

    /// `Σ (â_n(u) − σ_n â_n(v))²` over the octaves and the law.
    #[inline(always)]
    fn spread_beyond(&self, signs: &[V; 2], longest: f64) -> V {
        let zero = V::splat(0.0);
        let (scale_u, scale_v) = (V::splat(self.row.scale), self.scale);
        let mut spread = zero;
        for (index, octave) in self.octaves[..self.octaves_wanted(longest)]
            .iter()
            .enumerate()
        {
            let mut part = zero;
            for parity in [0, 1] {
                let inverses = [&octave.inverse, &octave.inverse_next][parity];
                for (k, inverse) in inverses.iter().enumerate() {
                    let b_u = scale_u * V::splat(self.row.list[place(index, parity, k)]);
                    let b_v = scale_v * self.columns.at(&self.law, index, parity, k);
                    let difference = b_u - signs[parity] * b_v;
                    part = (difference * difference).mul_add(V::splat(*inverse), part);
                }
            }
            let wanted = V::select(
                V::splat(octave_start(index)).less(self.terms),
                V::splat(index as f64),
                self.last,
            );
            spread = spread + V::select(wanted.less(self.last), part, zero);
        }
        if self.row.terms.is_infinite() {
            let difference = |parity: usize, j: usize| {
                let (u, v) = (V::splat(self.row.law[parity][j]), self.law[parity][j]);
                scale_u * u - signs[parity] * (scale_v * v)
            };
            let law: Law<V> = [0, 1].map(|parity| std::array::from_fn(|j| difference(parity, j)));
            let y = (-self.last).power_of_two();
            let beyond = tail::sums(&law, &law, y, zero, zero);
            spread = spread + (beyond.values[0] + beyond.values[1]);
        }
        spread
    }
}

/// Where an octave starts.
#[inline(always)]
fn octave_start(index: usize) -> f64 {
    (DIRECT << index) as f64
}

/// The largest of eight values.
#[inline(always)]
fn largest<V: Vector>(values: V) -> f64 {
    let mut block = [0.0; WIDTH];
    values.store(&mut block);
    block.into_iter().fold(0.0, f64::max)
}
