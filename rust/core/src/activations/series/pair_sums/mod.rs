//! Sums of the series for many pairs. Correlations are given and returned as gaps: `1 − |ρ|` with the sign of ρ.

mod close_gap;

use super::kink_tail::{POWERS, PowerLaw, TailSums};
use super::octaves::{DIRECT, Octave};
use super::one_minus_power::OneMinusPower;
use super::packed::{Columns, MEAN, OCTAVES, Row, SLOPE, SeriesBlock, TERMS, coefficient};
use super::with_slopes::WithSlopes;

/// New gaps below this are computed again from differences of coefficients, which avoids cancellation.
const CLOSE: f64 = 1.0 / 64.0;

/// Sums end at the order `m = REACH (1+ρ)/(1−ρ)`: from there on, `ρ^m < e^{−2·REACH}`, which is 1e-16.
const REACH: f64 = 18.5;

/// The number of orders of each parity that are summed or left out together.
const CHUNK: usize = 8;

/// One u and some of the v in a block. Its methods return arrays of two sums: over even orders m, then over odd ones.
/// The terms of φ have the index `n = m + 1`.
pub(super) struct PairSums<'a, R, const K: usize> {
    rows: &'a [Row; K],
    columns: [Columns<'a>; K],
    octaves: &'a [Octave],
    part: usize,
    /// `1 − |ρ|`.
    size: R,
    /// The sign of ρ.
    sign: R,
    /// The unit of φ', `√E φ²/r`, of u times that of v.
    slopes: R,
    /// `E φ` of u, then of v, in units of `√E φ²`.
    means: [R; 2],
    /// The number of terms after which the rest is round-off, whatever ρ is.
    terms: R,
    /// The number of octaves before the power law takes over.
    last: R,
}

impl<'a, R: WithSlopes<K>, const K: usize> PairSums<'a, R, K> {
    #[inline(always)]
    pub(super) fn new(series: &'a SeriesBlock<'a, K>, block: usize, part: usize, gap: R) -> Self {
        let SeriesBlock {
            rows,
            cols,
            octaves,
            ..
        } = series;
        let mut columns = [Columns::new(cols[0], block); K];
        for (columns, cols) in columns.iter_mut().zip(cols) {
            *columns = Columns::new(cols, block);
        }
        let number = |k: usize, index: usize| &cols[k].0[index].blocks()[block];
        let (mut row, mut col) = ([[0.0; K]; 2], [[number(0, SLOPE); K], [number(0, MEAN); K]]);
        for k in 0..K {
            (row[0][k], row[1][k]) = (rows[k].slope, rows[k].mean);
            (col[0][k], col[1][k]) = (number(k, SLOPE), number(k, MEAN));
        }
        Self {
            rows,
            columns,
            octaves,
            part,
            size: gap.abs(),
            sign: R::splat(1.0).copysign(gap),
            slopes: R::product(R::of_row(row[0]), R::of_columns(col[0], part)),
            means: [R::of_row(row[1]), R::of_columns(col[1], part)],
            terms: R::splat(rows[0].terms).max(R::constant(number(0, TERMS), part)),
            last: R::splat(rows[0].last).max(R::constant(number(0, OCTAVES), part)),
        }
    }

    /// The unit of Ṫ, `√(T(u,u) T(v,v))/(r_u r_v)`.
    #[inline(always)]
    pub(super) fn unit_of_dots(&self) -> R {
        self.slopes
    }

    /// Returns the gap of (φ(u), φ(v)), and Ṫ.
    #[inline(always)]
    pub(super) fn step(&self) -> (R, R) {
        let mut one_minus_power = None;
        let (correlation, slope) = self.sums(&mut one_minus_power);
        let mut new = R::splat(1.0) - correlation.abs();
        let close = new.less(R::splat(CLOSE));
        if R::any(close) {
            let close_gap = self.close_gap(correlation, &mut one_minus_power);
            new = R::select(close, close_gap, new);
        }
        (new.max(R::splat(0.0)).copysign(correlation), slope)
    }

    /// Returns `T/√(T(u,u) T(v,v))` and Ṫ.
    #[inline(always)]
    fn sums(&self, one_minus_power: &mut Option<OneMinusPower<R>>) -> (R, R) {
        let rho = R::splat(1.0) - self.size;
        // Later terms are round-off: either |ρ|^m is small, or all coefficients are.
        let reach = R::splat(REACH) * (R::splat(2.0) - self.size) / self.size;
        let terms = self.terms.min(reach);
        let (mut values, mut dots) = self.direct(terms, rho);
        if R::any(R::splat(DIRECT as f64).less(terms)) {
            let one_minus_power = self.one_minus_power(one_minus_power);
            let (more_values, more_dots) = self.beyond(&one_minus_power, terms);
            // For even orders, `beyond` has summed |ρ|^n instead of |ρ|^{n−1}.
            let inverse = R::splat(1.0) / rho.max(R::splat(0.25));
            values = [values[0] + more_values[0], values[1] + more_values[1]];
            dots = [
                more_dots[0].mul_add(inverse, dots[0]),
                dots[1] + more_dots[1],
            ];
        }
        let means = self.means[0] * self.means[1];
        (
            self.sign.mul_add(values[0], values[1] + means),
            self.slopes * self.sign.mul_add(dots[1], dots[0]),
        )
    }

    /// Returns `Σ â â' |ρ|^n` and `Σ n â â' |ρ|^{n−1}` over the orders below [`DIRECT`].
    #[inline(always)]
    fn direct(&self, terms: R, rho: R) -> ([R; 2], [R; 2]) {
        let zero = R::splat(0.0);
        let (mut values, mut dots) = ([zero; 2], [zero; 2]);
        let square = rho * rho;
        for chunk in (0..DIRECT / 2 / CHUNK).rev() {
            let wanted = R::splat((2 * CHUNK * chunk) as f64).less(terms);
            if !R::any(wanted) {
                continue;
            }
            for k in (CHUNK * chunk..CHUNK * (chunk + 1)).rev() {
                for parity in [0, 1] {
                    let (u, v) = self.direct_at(k, parity);
                    let (product, n) = (R::product(u, v), (2 * k + parity + 1) as f64);
                    values[parity] = values[parity].times_plus(square, product);
                    dots[parity] = dots[parity].times_plus(square, product.multiple(n));
                }
            }
            values = values.map(|sum| R::select(wanted, sum, zero));
            dots = dots.map(|sum| R::select(wanted, sum, zero));
        }
        (
            [rho * values[0], square * values[1]],
            [dots[0], rho * dots[1]],
        )
    }

    /// Returns the sums of [`PairSums::direct`] over the octaves and the power-law tail. For even orders, the second
    /// sum has `|ρ|^n` instead of `|ρ|^{n−1}`.
    #[inline(always)]
    fn beyond(&self, one_minus_power: &OneMinusPower<R>, terms: R) -> ([R; 2], [R; 2]) {
        let (one, mut values, mut dots) = (R::splat(1.0), [R::splat(0.0); 2], [R::splat(0.0); 2]);
        let mut falls = one_minus_power.first[0];
        for (index, octave) in self.octaves[..self.octaves_there(terms)].iter().enumerate() {
            one_minus_power.advance(index, &mut falls);
            let (mut part, mut slopes) = ([R::splat(0.0); 2], [R::splat(0.0); 2]);
            for (k, fall) in falls.iter().enumerate() {
                for parity in [0, 1] {
                    let (u, v) = self.at(index, parity, k);
                    let term = R::product(u, v).times(one - *fall);
                    let n = octave.indices[parity][k];
                    part[parity] = part[parity] + term;
                    slopes[parity] = term.multiple_plus(n, slopes[parity]);
                }
            }
            part[1] = part[1] * (one - self.size);
            self.add(index, terms, part, &mut values);
            self.add(index, terms, slopes, &mut dots);
        }
        if self.goes_on(terms) {
            let [u, v] = self.laws();
            let rest = TailSums::new(
                &u,
                &v,
                self.start(),
                one_minus_power.decay,
                one_minus_power.size,
            );
            self.add_rest(terms, rest.values(), &mut values);
            self.add_rest(terms, rest.dots(), &mut dots);
        }
        (values, dots)
    }

    /// Coefficient k of one parity among those below [`DIRECT`], of u and of v.
    #[inline(always)]
    fn direct_at(&self, k: usize, parity: usize) -> (R, R) {
        let index = DIRECT / 2 * parity + k;
        let (mut row, mut columns) = ([0.0; K], [&self.columns[0].direct[index]; K]);
        for n in 0..K {
            row[n] = self.rows[n].direct[index];
            columns[n] = &self.columns[n].direct[index];
        }
        (R::of_row(row), R::of_columns(columns, self.part))
    }

    /// The coefficients of u and of v at node k of octave `index`. If the columns have fewer octaves, their power law
    /// gives the coefficient of v.
    #[inline(always)]
    fn at(&self, index: usize, parity: usize, k: usize) -> (R, R) {
        let mut row = [0.0; K];
        for (value, own) in row.iter_mut().zip(self.rows) {
            *value = own.octaves[index][parity][k];
        }
        let u = R::of_row(row);
        let Some(block) = self.columns[0].at(index, parity, k) else {
            let [_, law] = self.laws();
            return (u, coefficient(&law, &self.octaves[index], parity, k));
        };
        let mut columns = [block; K];
        for (block, own) in columns.iter_mut().zip(&self.columns) {
            *block = own.at(index, parity, k).unwrap_or(block);
        }
        (u, R::of_columns(columns, self.part))
    }

    /// Returns the powers in `known`, which are computed on the first call.
    ///
    /// This avoids a closure, which would be compiled without the vector instructions.
    #[inline(always)]
    fn one_minus_power(&self, known: &mut Option<OneMinusPower<R>>) -> OneMinusPower<R> {
        if let Some(one_minus_power) = known {
            return *one_minus_power;
        }
        let second = R::any(R::splat(1.0).less(self.last));
        let wanted = if second { 2 } else { 1 };
        let one_minus_power = OneMinusPower::new(self.size, &self.octaves[..wanted]);
        *known = Some(one_minus_power);
        one_minus_power
    }

    /// The power laws of u and of v.
    #[inline(always)]
    fn laws(&self) -> [PowerLaw<R>; 2] {
        let mut laws = [[[R::splat(0.0); POWERS]; 2]; 2];
        let [u, v] = &mut laws;
        let both = u.as_flattened_mut().iter_mut().zip(v.as_flattened_mut());
        for (j, (u, v)) in both.enumerate() {
            let (mut row, mut columns) = ([0.0; K], [&self.columns[0].law[j]; K]);
            for n in 0..K {
                row[n] = self.rows[n].law.as_flattened()[j];
                columns[n] = &self.columns[n].law[j];
            }
            (*u, *v) = (R::of_row(row), R::of_columns(columns, self.part));
        }
        laws
    }

    /// The number of octaves that some lane needs, at most those of the row.
    #[inline(always)]
    fn octaves_there(&self, terms: R) -> usize {
        let mut count = 0;
        while count < self.rows[0].octaves.len()
            && R::any(R::splat(self.octaves[count].start).less(terms))
        {
            count += 1;
        }
        count
    }

    /// Adds the sums over an octave, in the lanes that have this octave and need it.
    #[inline(always)]
    fn add(&self, index: usize, terms: R, part: [R; 2], sums: &mut [R; 2]) {
        let zero = R::splat(0.0);
        let wanted = R::splat(self.octaves[index].start).less(terms);
        let there = R::splat(index as f64).less(self.last);
        for (sum, part) in sums.iter_mut().zip(part) {
            *sum = *sum + R::select(wanted, R::select(there, part, zero), zero);
        }
    }

    /// 64/u at the u where the power law takes over.
    #[inline(always)]
    fn start(&self) -> R {
        (-self.last).power_of_two()
    }

    /// Returns true if some lane needs the power-law tail beyond the octaves.
    #[inline(always)]
    fn goes_on(&self, terms: R) -> bool {
        self.rows[0].terms.is_infinite()
            && R::any(R::splat(DIRECT as f64).less(terms * self.start()))
    }

    /// Adds the sums over the power-law tail, in the lanes that need it.
    #[inline(always)]
    fn add_rest(&self, terms: R, part: [R; 2], sums: &mut [R; 2]) {
        let wanted = R::splat(DIRECT as f64).less(terms * self.start());
        for (sum, part) in sums.iter_mut().zip(part) {
            *sum = *sum + R::select(wanted, part, R::splat(0.0));
        }
    }
}
