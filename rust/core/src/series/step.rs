//! The series of many pairs, in the gap.

use std::ops::Range;

use super::features::{Columns, MEAN, OCTAVES, Row, SLOPE, TERMS};
use super::orders::{DIRECT, NODES, Octave, octaves};
use super::tail::{Beyond, Law};
use crate::dual::{Features, Variables};
use crate::isa::{Block, Isa, Vector, Vectorized, WIDTH};
use crate::special::{expm1, log1p_unit};

/// New gaps below this are summed from differences.
const CLOSE: f64 = 1.0 / 64.0;

/// `ρ^m < e^{−2·REACH}`, which is 1e-16, from `m = REACH (1+ρ)/(1−ρ)` on.
const REACH: f64 = 18.5;

/// Orders of each parity that are summed or left out together.
const CHUNK: usize = 8;

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
            let signed = V::load(gap);
            let pair = Pair {
                row,
                columns: Columns::new(cols, block),
                octaves: self.octaves,
                size: signed.abs(),
                sign: V::splat(1.0).copysign(signed),
                slope: number(SLOPE),
                mean: number(MEAN),
                terms: V::splat(row.terms).max(number(TERMS)),
                last: V::splat(row.last).max(number(OCTAVES)),
            };
            let mut falls = None;
            let (correlation, slope) = pair.sums(&mut falls);
            slope.store(dot);
            let mut new = V::splat(1.0) - correlation.abs();
            let close = new.less(V::splat(CLOSE));
            if V::any(close) {
                new = V::select(close, pair.close_gap(correlation, &mut falls), new);
            }
            new.max(V::splat(0.0)).copysign(correlation).store(gap);
        }
    }
}

/// One u and eight v. Sums come in twos: over even orders, and over odd ones.
struct Pair<'a, V> {
    row: &'a Row,
    columns: Columns<'a>,
    octaves: &'a [Octave],
    /// `1 − |ρ|`, and the sign of ρ.
    size: V,
    sign: V,
    slope: V,
    mean: V,
    /// After how many terms the rest is round-off whatever ρ is, and the number of octaves before the law.
    terms: V,
    last: V,
}

impl<V: Vector> Pair<'_, V> {
    /// `T/√(T(u,u) T(v,v))` and Ṫ.
    #[inline(always)]
    fn sums(&self, falls: &mut Option<Falls<V>>) -> (V, V) {
        let rho = V::splat(1.0) - self.size;
        // Terms after these are round-off, because ρ is small or because all coefficients are.
        let reach = V::splat(REACH) * (V::splat(2.0) - self.size) / self.size;
        let terms = self.terms.min(reach);
        let longest = largest(terms);
        let (mut values, mut dots) = self.direct(terms, longest, rho);
        if longest > DIRECT as f64 {
            let falls = self.falls(falls);
            let (more_values, more_dots) = self.beyond(&falls, terms, longest);
            // Even orders are one below u.
            let inverse = V::splat(1.0) / rho.max(V::splat(0.25));
            values = [values[0] + more_values[0], values[1] + more_values[1]];
            dots = [
                more_dots[0].mul_add(inverse, dots[0]),
                dots[1] + more_dots[1],
            ];
        }
        let means = V::splat(self.row.mean) * self.mean;
        let weight = V::splat(self.row.slope) * self.slope;
        (
            self.sign.mul_add(values[0], values[1] + means),
            weight * self.sign.mul_add(dots[1], dots[0]),
        )
    }

    /// `Σ â â' |ρ|^n` and `Σ n â â' |ρ|^{n−1}` below [`DIRECT`].
    #[inline(always)]
    fn direct(&self, terms: V, longest: f64, rho: V) -> ([V; 2], [V; 2]) {
        let zero = V::splat(0.0);
        let (mut values, mut dots) = ([zero; 2], [zero; 2]);
        let square = rho * rho;
        for chunk in (0..DIRECT / 2 / CHUNK).rev() {
            let first = (2 * CHUNK * chunk) as f64;
            if longest <= first {
                continue;
            }
            for k in (CHUNK * chunk..CHUNK * (chunk + 1)).rev() {
                for parity in [0, 1] {
                    let (u, v) = self.direct_at(k, parity);
                    let (product, n) = (u * v, V::splat((2 * k + parity + 1) as f64));
                    values[parity] = values[parity].mul_add(square, product);
                    dots[parity] = dots[parity].mul_add(square, n * product);
                }
            }
            let wanted = V::splat(first).less(terms);
            values = values.map(|sum| V::select(wanted, sum, zero));
            dots = dots.map(|sum| V::select(wanted, sum, zero));
        }
        (
            [rho * values[0], square * values[1]],
            [dots[0], rho * dots[1]],
        )
    }

    /// The same sums over the octaves and the law, those of even order with `|ρ|^n` instead of `|ρ|^{n−1}`.
    #[inline(always)]
    fn beyond(&self, falls: &Falls<V>, terms: V, longest: f64) -> ([V; 2], [V; 2]) {
        let (one, mut values, mut dots) = (V::splat(1.0), [V::splat(0.0); 2], [V::splat(0.0); 2]);
        let mut powers = falls.first[0];
        for (index, octave) in self.octaves[..self.octaves_there(longest)]
            .iter()
            .enumerate()
        {
            falls.advance(index, &mut powers);
            let (mut part, mut slopes) = ([V::splat(0.0); 2], [V::splat(0.0); 2]);
            for (k, fall) in powers.iter().enumerate() {
                for parity in [0, 1] {
                    let (u, v) = self.at(index, parity, k);
                    let term = u * v * (one - *fall);
                    let n = V::splat(octave.indices[parity][k]);
                    part[parity] = part[parity] + term;
                    slopes[parity] = n.mul_add(term, slopes[parity]);
                }
            }
            part[1] = part[1] * (one - self.size);
            self.add(index, terms, part, &mut values);
            self.add(index, terms, slopes, &mut dots);
        }
        if self.goes_on(terms) {
            let [u, v] = self.laws();
            let rest = Beyond::new(&u, &v, self.start(), falls.decay, falls.size);
            self.add_rest(terms, rest.values(), &mut values);
            self.add_rest(terms, rest.dots(), &mut dots);
        }
        (values, dots)
    }

    /// `1 − |T|/√(T(u,u) T(v,v))`, without cancellation where that is small.
    ///
    /// With τ the sign of T, and `σ_n = τ` for even n, `τ sign ρ` for odd ones, it is
    /// `½ Σ (â_n(u) − σ_n â_n(v))² + Σ σ_n â_n(u) â_n(v) (1 − |ρ|ⁿ)`, whose last factor is the gap times
    /// `1 + |ρ| + … + |ρ|ⁿ⁻¹`.
    #[inline(always)]
    fn close_gap(&self, correlation: V, falls: &mut Option<Falls<V>>) -> V {
        let sign = V::splat(1.0).copysign(correlation);
        // The n of even orders are odd.
        let signs = [sign * self.sign, sign];
        let longest = largest(self.terms);
        let (mut spread, mut openings) = self.close_direct(&signs, longest);
        if longest > DIRECT as f64 {
            let falls = self.falls(falls);
            let (more_spread, more) = self.close_beyond(&falls, &signs, longest);
            spread = spread + more_spread;
            openings = [openings[0] + more[0], openings[1] + more[1]];
        }
        let mean = V::splat(self.row.mean) - sign * self.mean;
        let spread = V::splat(0.5) * mean.mul_add(mean, spread);
        spread + signs[0].mul_add(openings[0], signs[1] * openings[1])
    }

    /// `Σ (â_n(u) − σ_n â_n(v))²`, and `Σ â_n(u) â_n(v) (1 − |ρ|ⁿ)`, below [`DIRECT`].
    #[inline(always)]
    fn close_direct(&self, signs: &[V; 2], longest: f64) -> (V, [V; 2]) {
        let (zero, rho) = (V::splat(0.0), V::splat(1.0) - self.size);
        let square = rho * rho;
        // Of each parity: products so far, and Σ over k of those above k, times |ρ|^{2k}.
        let (mut spread, mut sums, mut rises) = ([zero; 2], [zero; 2], [zero; 2]);
        for chunk in (0..DIRECT / 2 / CHUNK).rev() {
            let first = (2 * CHUNK * chunk) as f64;
            if longest <= first {
                continue;
            }
            for k in (CHUNK * chunk..CHUNK * (chunk + 1)).rev() {
                for parity in [0, 1] {
                    let (u, v) = self.direct_at(k, parity);
                    let difference = u - signs[parity] * v;
                    spread[parity] = difference.mul_add(difference, spread[parity]);
                    rises[parity] = rises[parity].mul_add(square, sums[parity]);
                    sums[parity] = sums[parity] + u * v;
                }
            }
            let wanted = V::splat(first).less(self.terms);
            for all in [&mut spread, &mut sums, &mut rises] {
                *all = all.map(|sum| V::select(wanted, sum, zero));
            }
        }
        // 1 − |ρ|^{2k+1} = (1 − |ρ|) + |ρ| (1 − |ρ|^{2k}), and that of 2k + 2 is (1 − |ρ|²) + |ρ|² (1 − |ρ|^{2k}).
        let squares = self.size * (V::splat(2.0) - self.size);
        let openings = [
            (squares * rho).mul_add(rises[0], self.size * sums[0]),
            squares * square.mul_add(rises[1], sums[1]),
        ];
        (spread[0] + spread[1], openings)
    }

    /// The same over the octaves and the law.
    #[inline(always)]
    fn close_beyond(&self, falls: &Falls<V>, signs: &[V; 2], longest: f64) -> (V, [V; 2]) {
        let (one, mut spread, mut openings) =
            (V::splat(1.0), [V::splat(0.0); 2], [V::splat(0.0); 2]);
        let mut powers = falls.first[0];
        for index in 0..self.octaves_there(longest) {
            falls.advance(index, &mut powers);
            let (mut part, mut rises) = ([V::splat(0.0); 2], [V::splat(0.0); 2]);
            for (k, fall) in powers.iter().enumerate() {
                let rise = [*fall, (one - *fall).mul_add(falls.size, *fall)];
                for parity in [0, 1] {
                    let (u, v) = self.at(index, parity, k);
                    let difference = u - signs[parity] * v;
                    part[parity] = difference.mul_add(difference, part[parity]);
                    rises[parity] = (u * v).mul_add(rise[parity], rises[parity]);
                }
            }
            self.add(index, self.terms, part, &mut spread);
            self.add(index, self.terms, rises, &mut openings);
        }
        if self.goes_on(self.terms) {
            let [u, v] = self.laws();
            let rest = Beyond::new(&u, &v, self.start(), falls.decay, falls.size);
            self.add_rest(self.terms, rest.openings(), &mut openings);
            let mut law = u;
            for parity in [0, 1] {
                for (u, v) in law[parity].iter_mut().zip(v[parity]) {
                    *u = *u - signs[parity] * v;
                }
            }
            let none = V::splat(0.0);
            let rest = Beyond::new(&law, &law, self.start(), none, none);
            self.add_rest(self.terms, rest.values(), &mut spread);
        }
        (spread[0] + spread[1], openings)
    }

    /// The coefficients of u and of v below [`DIRECT`], number k of a parity.
    #[inline(always)]
    fn direct_at(&self, k: usize, parity: usize) -> (V, V) {
        let index = DIRECT / 2 * parity + k;
        (
            V::splat(self.row.direct[index]),
            V::load(&self.columns.direct[index]),
        )
    }

    /// Those at a node of an octave.
    #[inline(always)]
    fn at(&self, index: usize, parity: usize, k: usize) -> (V, V) {
        let u = V::splat(self.row.octaves[index][parity][k]);
        (u, self.columns.at(index, parity, k))
    }

    /// Those known already, or now. No closure: it would be compiled without the instructions.
    #[inline(always)]
    fn falls(&self, known: &mut Option<Falls<V>>) -> Falls<V> {
        if let Some(falls) = known {
            return *falls;
        }
        let wanted = if largest(self.last) > 1.0 { 2 } else { 1 };
        let falls = Falls::new(self.size, &self.octaves[..wanted]);
        *known = Some(falls);
        falls
    }

    /// The laws of u and of v.
    #[inline(always)]
    fn laws(&self) -> [Law<V>; 2] {
        let columns = self.columns.law();
        let mut row = columns;
        let values = self.row.law.as_flattened();
        for (vector, value) in row.as_flattened_mut().iter_mut().zip(values) {
            *vector = V::splat(*value);
        }
        [row, columns]
    }

    /// How many octaves any lane wants of those there are.
    #[inline(always)]
    fn octaves_there(&self, longest: f64) -> usize {
        let mut count = 0;
        while count < self.row.octaves.len() && ((DIRECT << count) as f64) < longest {
            count += 1;
        }
        count
    }

    /// Adds the sums of an octave in those lanes that want it.
    #[inline(always)]
    fn add(&self, index: usize, terms: V, part: [V; 2], sums: &mut [V; 2]) {
        let (zero, index) = (V::splat(0.0), index as u32);
        let wanted = V::splat(f64::from(DIRECT as u32) * f64::from(1_u32 << index)).less(terms);
        let there = V::splat(f64::from(index)).less(self.last);
        for (sum, part) in sums.iter_mut().zip(part) {
            *sum = *sum + V::select(wanted, V::select(there, part, zero), zero);
        }
    }

    /// 64/u where the law takes over.
    #[inline(always)]
    fn start(&self) -> V {
        (-self.last).power_of_two()
    }

    /// Whether any lane wants what comes after the octaves.
    #[inline(always)]
    fn goes_on(&self, terms: V) -> bool {
        self.row.terms.is_infinite() && V::any(V::splat(DIRECT as f64).less(terms * self.start()))
    }

    #[inline(always)]
    fn add_rest(&self, terms: V, part: [V; 2], sums: &mut [V; 2]) {
        let wanted = V::splat(DIRECT as f64).less(terms * self.start());
        for (sum, part) in sums.iter_mut().zip(part) {
            *sum = *sum + V::select(wanted, part, V::splat(0.0));
        }
    }
}

/// `1 − |ρ|^u` at the nodes of octaves.
#[derive(Clone, Copy)]
struct Falls<V> {
    /// `−ln |ρ|` and `1 − |ρ|`, of a larger |ρ| where this is so small that nothing here is wanted.
    decay: V,
    size: V,
    /// Those of the first two octaves.
    first: [[V; NODES]; 2],
}

impl<V: Vector> Falls<V> {
    #[inline(always)]
    fn new(size: V, octaves: &[Octave]) -> Self {
        let size = size.min(V::splat(0.5));
        let decay = log1p_unit(size / (V::splat(1.0) - size));
        let mut first = [[V::splat(1.0); NODES]; 2];
        for (falls, octave) in first.iter_mut().zip(octaves) {
            for (fall, u) in falls.iter_mut().zip(octave.nodes) {
                *fall = -expm1(V::splat(-u) * decay);
            }
        }
        Self { decay, size, first }
    }

    /// Those of this octave, given those of the one before: from the third on, nodes are twice those before.
    #[inline(always)]
    fn advance(&self, index: usize, falls: &mut [V; NODES]) {
        if index < 2 {
            *falls = self.first[index];
            return;
        }
        for fall in falls {
            *fall = *fall * (V::splat(2.0) - *fall);
        }
    }
}

/// The largest of eight values.
#[inline(always)]
fn largest<V: Vector>(values: V) -> f64 {
    let mut block = [0.0; WIDTH];
    values.store(&mut block);
    block.into_iter().fold(0.0, f64::max)
}
