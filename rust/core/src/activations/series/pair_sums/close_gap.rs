//! New gaps of pairs that stay close, from differences of coefficients.

use super::super::kink_tail::TailSums;
use super::super::octaves::DIRECT;
use super::super::one_minus_power::OneMinusPower;
use super::super::with_slopes::WithSlopes;
use super::{CHUNK, PairSums};

impl<R: WithSlopes<K>, const K: usize> PairSums<'_, R, K> {
    /// Returns `1 − |T|/√(T(u,u) T(v,v))`, without cancellation where this is small.
    ///
    /// Let τ be the sign of T, and let `σ_n` be τ for even n and `τ sign ρ` for odd n. The result is
    /// `½ Σ (â_n(u) − σ_n â_n(v))² + Σ σ_n â_n(u) â_n(v) (1 − |ρ|ⁿ)`. The factor `1 − |ρ|ⁿ` is the old gap's size times
    /// `1 + |ρ| + … + |ρ|ⁿ⁻¹`.
    #[inline(always)]
    pub(super) fn close_gap(
        &self,
        correlation: R,
        one_minus_power: &mut Option<OneMinusPower<R>>,
    ) -> R {
        let sign = R::splat(1.0).copysign(correlation);
        // Even orders m have odd n.
        let signs = [sign * self.sign, sign];
        let (mut spread, mut openings) = self.close_direct(&signs);
        if R::any(R::splat(DIRECT as f64).less(self.terms)) {
            let one_minus_power = self.one_minus_power(one_minus_power);
            let (more_spread, more) = self.close_beyond(&one_minus_power, &signs);
            spread = spread + more_spread;
            openings = [openings[0] + more[0], openings[1] + more[1]];
        }
        let mean = self.means[0] - sign * self.means[1];
        let spread = R::splat(0.5) * mean.mul_add(mean, spread);
        spread + signs[0].mul_add(openings[0], signs[1] * openings[1])
    }

    /// Returns `Σ (â_n(u) − σ_n â_n(v))²` and `Σ â_n(u) â_n(v) (1 − |ρ|ⁿ)` over the orders below [`DIRECT`]. The second
    /// sum is split by parity.
    #[inline(always)]
    fn close_direct(&self, signs: &[R; 2]) -> (R, [R; 2]) {
        let (zero, rho) = (R::splat(0.0), R::splat(1.0) - self.size);
        let square = rho * rho;
        // For each parity, from the highest k down: `sums` adds up the products of the coefficients of u and v, and
        // `rises` adds up |ρ|^{2k} times the sum of the products above k.
        let (mut spread, mut sums, mut rises) = ([zero; 2], [zero; 2], [zero; 2]);
        for chunk in (0..DIRECT / 2 / CHUNK).rev() {
            let wanted = R::splat((2 * CHUNK * chunk) as f64).less(self.terms);
            if !R::any(wanted) {
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
            for all in [&mut spread, &mut sums, &mut rises] {
                *all = all.map(|sum| R::select(wanted, sum, zero));
            }
        }
        // 1 − |ρ|^{2k+1} = (1 − |ρ|) + |ρ| (1 − |ρ|^{2k}), and 1 − |ρ|^{2k+2} = (1 − |ρ|²) + |ρ|² (1 − |ρ|^{2k}).
        let squares = self.size * (R::splat(2.0) - self.size);
        let openings = [
            (squares * rho).mul_add(rises[0], self.size * sums[0]),
            squares * square.mul_add(rises[1], sums[1]),
        ];
        (spread[0] + spread[1], openings)
    }

    /// Returns the sums of [`PairSums::close_direct`] over the octaves and the power-law tail.
    #[inline(always)]
    fn close_beyond(&self, one_minus_power: &OneMinusPower<R>, signs: &[R; 2]) -> (R, [R; 2]) {
        let (one, mut spread, mut openings) =
            (R::splat(1.0), [R::splat(0.0); 2], [R::splat(0.0); 2]);
        let mut falls = one_minus_power.first[0];
        for index in 0..self.octaves_there(self.terms) {
            one_minus_power.advance(index, &mut falls);
            let (mut part, mut rises) = ([R::splat(0.0); 2], [R::splat(0.0); 2]);
            for (k, fall) in falls.iter().enumerate() {
                let rise = [*fall, (one - *fall).mul_add(one_minus_power.size, *fall)];
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
            self.add_close_rest(one_minus_power, signs, &mut spread, &mut openings);
        }
        (spread[0] + spread[1], openings)
    }

    /// Adds the sums of [`PairSums::close_direct`] over the power-law tail.
    #[inline(always)]
    fn add_close_rest(
        &self,
        one_minus_power: &OneMinusPower<R>,
        signs: &[R; 2],
        spread: &mut [R; 2],
        openings: &mut [R; 2],
    ) {
        let ([u, v], start) = (self.laws(), self.start());
        let rest = TailSums::new(&u, &v, start, one_minus_power.decay, one_minus_power.size);
        self.add_rest(self.terms, rest.openings(), openings);
        let mut law = u;
        for parity in [0, 1] {
            for (u, v) in law[parity].iter_mut().zip(v[parity]) {
                *u = *u - signs[parity] * v;
            }
        }
        let none = R::splat(0.0);
        let rest = TailSums::new(&law, &law, start, none, none);
        self.add_rest(self.terms, rest.values(), spread);
    }
}
