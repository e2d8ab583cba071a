//! The series of many pairs, in the gap.

use std::ops::Range;
use std::sync::LazyLock;

use super::coefficients::{MOST_TERMS, Variable};
use crate::double_double::DoubleDouble;
use crate::dual::{Features, Variables};
use crate::isa::{Block, Blocks, Isa, Vector, Vectorized, WIDTH};

/// Features that are one number for each variable. After them comes, for each block of variables, a feature with the
/// coefficients of these: the even ones of all, then the odd ones.
const SCALE: usize = 0;
const MEAN: usize = 1;
const TERMS: usize = 2;
const EVENS: usize = 3;
const ODDS: usize = 4;
const NUMBERS: usize = 5;

/// New gaps below this are summed from differences.
const CLOSE: f64 = 1.0 / 64.0;

/// `ρ^m < e^{−2·REACH}`, which is 1e-16, from `m = REACH (1+ρ)/(1−ρ)` on.
const REACH: f64 = 18.5;

/// `1/(m+1)`.
static INVERSES: LazyLock<Vec<f64>> =
    LazyLock::new(|| (0..=MOST_TERMS).map(|m| 1.0 / (m + 1) as f64).collect());

/// The roots and the features of these variables.
pub(super) fn pack<'a>(
    variables: impl Iterator<Item = Variable<'a>>,
) -> (Vec<DoubleDouble>, Vec<Blocks>) {
    let (mut roots, mut numbers, mut lists) = (Vec::new(), vec![Vec::new(); NUMBERS], Vec::new());
    let mut eight = Vec::new();
    for variable in variables {
        roots.push(variable.root.into());
        let [evens, odds] = variable.curve.counts;
        let all = [
            variable.scale,
            variable.mean,
            variable.curve.terms as f64,
            evens as f64,
            odds as f64,
        ];
        for (list, number) in numbers.iter_mut().zip(all) {
            list.push(number);
        }
        eight.push(variable);
        if eight.len() == WIDTH {
            lists.push(side_by_side(&eight));
            eight.clear();
        }
    }
    if !eight.is_empty() {
        lists.push(side_by_side(&eight));
    }
    let numbers = numbers.into_iter().map(|list| list.into_iter().collect());
    (roots, numbers.chain(lists).collect())
}

/// Coefficient by coefficient, zeros after the last of each, and the last variable again where there are not eight.
fn side_by_side(variables: &[Variable<'_>]) -> Blocks {
    let mut values = Vec::new();
    for parity in [0, 1] {
        let longest = variables
            .iter()
            .map(|one| one.slopes(parity).len())
            .max()
            .unwrap_or(0);
        let start = values.len();
        values.resize(start + longest * WIDTH, 0.0);
        for lane in 0..WIDTH {
            let slopes = variables[lane.min(variables.len() - 1)].slopes(parity);
            let places = values[start..].iter_mut().skip(lane).step_by(WIDTH);
            for (value, slope) in places.zip(slopes) {
                *value = *slope;
            }
        }
    }
    values.into_iter().collect()
}

/// The coefficients of a block of variables.
#[derive(Clone, Copy)]
struct Columns<'a> {
    evens: &'a [Block],
    odds: &'a [Block],
}

impl<'a> Columns<'a> {
    fn new(features: &'a Features, block: usize) -> Self {
        let evens = features.0[EVENS].blocks()[block]
            .iter()
            .fold(0.0, |a: f64, b| a.max(*b));
        let (evens, odds) = features.0[NUMBERS + block]
            .blocks()
            .split_at(evens as usize);
        Self { evens, odds }
    }
}

/// One variable.
struct Row {
    scale: f64,
    mean: f64,
    terms: f64,
    evens: Vec<f64>,
    odds: Vec<f64>,
}

impl Row {
    fn new(pairs: &Variables<'_>) -> Self {
        let (block, lane) = (pairs.row / WIDTH, pairs.row % WIDTH);
        let columns = Columns::new(pairs.rows, block);
        let list = |blocks: &[Block], count: f64| {
            blocks[..count as usize].iter().map(|b| b[lane]).collect()
        };
        Self {
            scale: pairs.u(SCALE),
            mean: pairs.u(MEAN),
            terms: pairs.u(TERMS),
            evens: list(columns.evens, pairs.u(EVENS)),
            odds: list(columns.odds, pairs.u(ODDS)),
        }
    }
}

/// Steps a row of pairs.
pub(super) fn run(isa: Isa, pairs: &Variables<'_>, gaps: &mut [Block], dots: &mut [Block]) {
    isa.run(Step {
        row: &Row::new(pairs),
        cols: pairs.cols,
        blocks: pairs.blocks.clone(),
        inverses: &INVERSES,
        gaps,
        dots,
    });
}

struct Step<'a> {
    row: &'a Row,
    cols: &'a Features,
    blocks: Range<usize>,
    inverses: &'a [f64],
    gaps: &'a mut [Block],
    dots: &'a mut [Block],
}

impl Vectorized for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self {
            row,
            cols,
            inverses,
            ..
        } = self;
        assert!(self.gaps.len() == self.blocks.len() && self.dots.len() == self.blocks.len());
        let pairs = self.gaps.iter_mut().zip(self.dots);
        for (block, (gap, dot)) in self.blocks.zip(pairs) {
            let number = |index: usize| V::load(&cols.0[index].blocks()[block]);
            let pair = Pair {
                row,
                columns: Columns::new(cols, block),
                inverses,
                gap: V::load(gap),
                scale: number(SCALE),
                mean: number(MEAN),
                terms: V::splat(row.terms).max(number(TERMS)),
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
    inverses: &'a [f64],
    gap: V,
    scale: V,
    mean: V,
    terms: V,
}

impl<V: Vector> Pair<'_, V> {
    /// `T/√(T(u,u) T(v,v))` and Ṫ.
    #[inline(always)]
    fn sums(&self) -> (V, V) {
        let size = self.gap.abs();
        let rho = (V::splat(1.0) - size).copysign(self.gap);
        let square = rho * rho;
        // Terms after these are round-off, because ρ is small or because all coefficients are.
        let reach = V::splat(REACH) * (V::splat(2.0) - size) / size;
        let terms = self.terms.min(reach);
        let longest = largest(terms);
        let (even_dot, even) = self.horner(
            &self.row.evens,
            self.columns.evens,
            0,
            (terms, longest),
            square,
        );
        let (odd_dot, odd) = self.horner(
            &self.row.odds,
            self.columns.odds,
            1,
            (terms, longest),
            square,
        );
        let weight = V::splat(self.row.scale) * self.scale;
        let means = V::splat(self.row.mean) * self.mean;
        let correlation = (weight * rho).mul_add(rho.mul_add(odd, even), means);
        (correlation, rho.mul_add(odd_dot, even_dot))
    }

    /// `Σ b_m b_m' x^k` and `Σ b_m b_m' x^k/(m+1)` over `m = 2k + parity` below `terms`.
    #[inline(always)]
    fn horner(
        &self,
        row: &[f64],
        cols: &[Block],
        parity: usize,
        (terms, longest): (V, f64),
        x: V,
    ) -> (V, V) {
        let zero = V::splat(0.0);
        let wanted = ((longest - parity as f64).max(0.0) * 0.5).ceil() as usize;
        let count = wanted.min(row.len()).min(cols.len());
        let (mut slope, mut value) = (zero, zero);
        for k in (0..count).rev() {
            let m = 2 * k + parity;
            let product = V::splat(row[k]) * V::load(&cols[k]);
            let product = V::select(V::splat(m as f64).less(terms), product, zero);
            slope = slope.mul_add(x, product);
            value = value.mul_add(x, product * V::splat(self.inverses[m]));
        }
        (slope, value)
    }

    /// `1 − |T|/√(T(u,u) T(v,v))`, without cancellation where that is small.
    ///
    /// With `â_n` the coefficients of φ in units of the roots, τ the sign of T, and `σ_n = τ` for even n, `τ sign ρ` for
    /// odd ones, it is `½ Σ (â_n(u) − σ_n â_n(v))² + Σ σ_n â_n(u) â_n(v) (1 − |ρ|ⁿ)`, whose last factor is the gap times
    /// `1 + |ρ| + … + |ρ|ⁿ⁻¹`.
    #[inline(always)]
    fn close_gap(&self, correlation: V) -> V {
        let (zero, one) = (V::splat(0.0), V::splat(1.0));
        let (evens, odds) = (&self.row.evens, &self.row.odds);
        let size = self.gap.abs();
        let rho = one - size;
        let sign = one.copysign(correlation);
        let signs = [sign.copysign(self.gap * correlation), sign];
        let scales = [V::splat(self.row.scale), self.scale];
        let mean = V::splat(self.row.mean) - sign * self.mean;
        let (mut spread, mut sum, mut opening) = (mean * mean, zero, zero);
        let longest = largest(self.terms);
        let count = (2 * evens.len())
            .max(2 * odds.len())
            .max(2 * self.columns.evens.len())
            .max(2 * self.columns.odds.len());
        for m in (0..count.min(longest as usize)).rev() {
            let (parity, k) = (m % 2, m / 2);
            let (row, col) = if parity == 0 {
                (evens.get(k), self.columns.evens.get(k))
            } else {
                (odds.get(k), self.columns.odds.get(k))
            };
            let b_u = scales[0] * V::splat(row.copied().unwrap_or(0.0));
            let b_v = signs[parity] * (scales[1] * col.map_or(zero, |block| V::load(block)));
            let kept = V::splat(m as f64).less(self.terms);
            let inverse = V::select(kept, V::splat(self.inverses[m]), zero);
            let difference = b_u - b_v;
            spread = (difference * difference).mul_add(inverse, spread);
            sum = (b_u * b_v).mul_add(inverse, sum);
            opening = opening.mul_add(rho, sum);
        }
        size.mul_add(opening, V::splat(0.5) * spread)
    }
}

/// The largest of eight values.
#[inline(always)]
fn largest<V: Vector>(values: V) -> f64 {
    let mut block = [0.0; WIDTH];
    values.store(&mut block);
    block.into_iter().fold(0.0, f64::max)
}
