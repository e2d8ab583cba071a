//! The tail of the series beyond the last octave, for activations with a kink.
//!
//! If φ' or a higher derivative jumps at 0, coefficients of even order follow `(64/u)^{5/4} Σ c_j (64/u)^j` for large
//! u, and coefficients of odd order follow `(64/u)^{3/4} Σ c_j (64/u)^j`. A power law is the list of these c_j.
//!
//! Let `x = −N ln|ρ|`. The sums of `|ρ|^u` times products of coefficients, from `u = N` on, reduce to the integrals
//! `E_s(x) = ∫_1^∞ w^{−s} e^{−xw} dw`. The sums of `1 − |ρ|^u` times such products, which small gaps are computed from,
//! reduce to `D_s(x) = ∫_1^∞ w^{−s} (1 − e^{−xw}) dw`.

use std::f64::consts::PI;

use super::octaves::{DIRECT, NODES, Octave};
use crate::isa::Real;
use crate::math::special::{erfcx, exp, expm1};

/// The number of coefficients c_j of a power law.
pub(super) const POWERS: usize = 5;

/// The number of exponents `s = 3/2, 5/2, …` for which integrals are needed.
const INTEGRALS: usize = POWERS + 2;

/// The coefficients c_j for the even orders, then those for the odd orders.
pub(super) type PowerLaw<R> = [[R; POWERS]; 2];

/// The coefficient that a law gives at node k of an octave, times the square root of the node's weight.
#[inline(always)]
pub(super) fn coefficient<R: Real>(
    law: &[R; POWERS],
    octave: &Octave,
    parity: usize,
    k: usize,
) -> R {
    let ratio = R::splat(octave.ratios[k]);
    // A loop and not a fold: a fold is not always inlined, and is then compiled without vector instructions.
    let mut sum = R::splat(0.0);
    for coefficient in law.iter().rev() {
        sum = sum.mul_add(ratio, *coefficient);
    }
    sum * R::splat(octave.powers[parity][k])
}

/// The coefficients of the product of two laws. Swapping u and v gives the same bits.
#[inline(always)]
fn product<R: Real>(u: &[R; POWERS], v: &[R; POWERS]) -> [R; POWERS] {
    let mut products = [R::splat(0.0); POWERS];
    for (j, sum) in products.iter_mut().enumerate() {
        for i in 0..j.div_ceil(2) {
            *sum = *sum + (u[i] * v[j - i] + u[j - i] * v[i]);
        }
        if j % 2 == 0 {
            *sum = *sum + u[j / 2] * v[j / 2];
        }
    }
    products
}

/// The sums of one pair over the tail, for each parity, from `u = 64/y` on.
///
/// Here `|ρ| = 1 − size = e^{−t}`, and n is u for even orders and u + 1 for odd ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct TailSums<R> {
    /// The products of the laws of both variables.
    products: PowerLaw<R>,
    /// The product for the odd orders, times u/n.
    over: [R; POWERS],
    y: R,
    size: R,
    /// `E_s` for `s = 3/2, 5/2, …`.
    e: [R; INTEGRALS],
    /// `D_s` for the same s, apart from the first, which is unused.
    d: [R; INTEGRALS],
}

impl<R: Real> TailSums<R> {
    #[inline(always)]
    pub fn new(u: &PowerLaw<R>, v: &PowerLaw<R>, y: R, t: R, size: R) -> Self {
        let (e, d) = integrals(t * R::splat(DIRECT as f64) / y);
        let products = [product(&u[0], &v[0]), product(&u[1], &v[1])];
        // 1/(u+1) = (1/u)/(1 + 1/u)
        let mut over = products[1];
        for j in 1..POWERS {
            over[j] = products[1][j] - over[j - 1] * R::splat(1.0 / DIRECT as f64);
        }
        Self {
            products,
            over,
            y,
            size,
            e,
            d,
        }
    }

    /// The factors of the sums over 1/n: `y^{3/2}/2` for odd orders and `y^{5/2}/2` for even ones.
    #[inline(always)]
    fn units(&self) -> (R, R) {
        let low = R::splat(0.5) * self.y * self.y.sqrt();
        (low, low * self.y)
    }

    /// `Σ b b' |ρ|^u` over the even orders, and over the odd ones.
    #[inline(always)]
    pub fn dots(&self) -> [R; 2] {
        let whole = R::splat(0.5 * DIRECT as f64) * self.y.sqrt();
        [
            whole * self.y * sum(&self.products[0], self.y, &self.e[1..]),
            whole * sum(&self.products[1], self.y, &self.e),
        ]
    }

    /// `Σ b b' |ρ|^n/n` over the even orders, and over the odd ones.
    #[inline(always)]
    pub fn values(&self) -> [R; 2] {
        let ((low, high), rho) = (self.units(), R::splat(1.0) - self.size);
        [
            high * sum(&self.products[0], self.y, &self.e[2..]),
            rho * (low * sum(&self.over, self.y, &self.e[1..])),
        ]
    }

    /// `Σ b b' (1 − |ρ|^n)/n` over the even orders, and over the odd ones.
    #[inline(always)]
    pub fn openings(&self) -> [R; 2] {
        let (low, high) = self.units();
        // 1 − |ρ|^{u+1} = 1 − |ρ|^u + size |ρ|^u
        let mut odd = self.d;
        for (odd, e) in odd.iter_mut().zip(self.e) {
            *odd = self.size.mul_add(e, *odd);
        }
        [
            high * sum(&self.products[0], self.y, &self.d[2..]),
            low * sum(&self.over, self.y, &odd[1..]),
        ]
    }
}

/// `Σ_j law_j y^j factors_j`.
#[inline(always)]
fn sum<R: Real>(law: &[R; POWERS], y: R, factors: &[R]) -> R {
    let mut sum = R::splat(0.0);
    for j in (0..POWERS).rev() {
        sum = sum.mul_add(y, law[j] * factors[j]);
    }
    sum
}

/// Computes `E_s(x)` and `D_s(x)` for `s = 3/2, 5/2, …`.
///
/// `D_{3/2}` is not needed and is set to 0. The recurrence runs upwards in s, so that errors do not exceed that of
/// `E_{3/2}`.
#[inline(always)]
fn integrals<R: Real>(x: R) -> ([R; INTEGRALS], [R; INTEGRALS]) {
    let (one, two) = (R::splat(1.0), R::splat(2.0));
    let (small, fallen, root) = (exp(-x), -expm1(-x), x.sqrt());
    let (mut e, mut d) = ([R::splat(0.0); INTEGRALS], [R::splat(0.0); INTEGRALS]);
    e[0] = two * small * (one - R::splat(PI.sqrt()) * root * erfcx(root));
    for i in 1..INTEGRALS {
        let inverse = R::splat(1.0 / (i as f64 + 0.5));
        let below = x * e[i - 1];
        e[i] = (small - below) * inverse;
        d[i] = (fallen + below) * inverse;
    }
    (e, d)
}

/// Fits power laws by least squares to the coefficients in a few octaves.
#[derive(Debug)]
pub(super) struct Fit<'a> {
    octaves: &'a [Octave],
    /// The orthonormal columns of the QR factorization of the matrix of powers of `unit · 64/u`.
    columns: [Vec<f64>; POWERS],
    /// The triangular factor: `upper[j]` expresses power j in the orthonormal columns.
    upper: [[f64; POWERS]; POWERS],
    /// The scale of the powers: `unit · 64/u` is 1 at the first node.
    unit: f64,
}

impl<'a> Fit<'a> {
    /// The number of octaves a law is fitted to.
    pub const OCTAVES: usize = 3;

    /// Prepares fits to the coefficients in these octaves.
    pub fn new(octaves: &'a [Octave]) -> Self {
        let unit = octaves[0].nodes[0] / DIRECT as f64;
        let ratios = || octaves.iter().flat_map(|octave| octave.ratios);
        let mut columns: [Vec<f64>; POWERS] =
            std::array::from_fn(|j| ratios().map(|x| libm::pow(unit * x, j as f64)).collect());
        let mut upper = [[0.0; POWERS]; POWERS];
        for (j, shares) in upper.iter_mut().enumerate() {
            let (before, rest) = columns.split_at_mut(j);
            // Gram–Schmidt done twice makes the columns orthogonal to round-off.
            for (i, column) in before.iter().enumerate().chain(before.iter().enumerate()) {
                let share = dot(column, &rest[0]);
                shares[i] += share;
                rest[0]
                    .iter_mut()
                    .zip(column)
                    .for_each(|(a, b)| *a -= share * b);
            }
            shares[j] = dot(&rest[0], &rest[0]).sqrt();
            rest[0].iter_mut().for_each(|a| *a /= shares[j]);
        }
        Self {
            octaves,
            columns,
            upper,
            unit,
        }
    }

    /// Fits a law to the coefficients of one parity. Also returns the sum of the squared residuals.
    pub fn law(&self, coefficients: &[[[f64; NODES]; 2]], parity: usize) -> ([f64; POWERS], f64) {
        let nodes = self.octaves.iter().zip(coefficients);
        let values: Vec<f64> = nodes
            .flat_map(|(octave, all)| (0..NODES).map(|k| all[parity][k] / octave.powers[parity][k]))
            .collect();
        let mut law: [f64; POWERS] = std::array::from_fn(|j| dot(&self.columns[j], &values));
        for j in (0..POWERS).rev() {
            let known: f64 = (j + 1..POWERS).map(|i| self.upper[i][j] * law[i]).sum();
            law[j] = (law[j] - known) / self.upper[j][j];
        }
        let law = std::array::from_fn(|j| law[j] * libm::pow(self.unit, j as f64));
        let missed = |(octave, all): (&Octave, &[[f64; NODES]; 2])| -> f64 {
            let miss = |k: usize| all[parity][k] - coefficient(&law, octave, parity, k);
            (0..NODES).map(|k| miss(k) * miss(k)).sum()
        };
        (law, self.octaves.iter().zip(coefficients).map(missed).sum())
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activations::series::octaves::{WHOLE_AXIS, octaves};

    /// The coefficients that a law gives in three octaves.
    fn coefficients(law: &PowerLaw<f64>) -> Vec<[[f64; NODES]; 2]> {
        let of_octave = |octave: &Octave| {
            [0, 1]
                .map(|parity| std::array::from_fn(|k| coefficient(&law[parity], octave, parity, k)))
        };
        octaves()[2..5].iter().map(of_octave).collect()
    }

    #[test]
    fn laws_are_found_again() {
        let law = [[0.3, -2.0, 5.0, 0.5, 1.0], [-1.0, 0.1, 0.0, 3.0, -0.7]];
        let (fit, given) = (Fit::new(&octaves()[2..5]), coefficients(&law));
        for parity in [0, 1] {
            let (found, missed) = fit.law(&given, parity);
            assert!(missed < 1e-28);
            for (j, (a, b)) in found.iter().zip(law[parity]).enumerate() {
                // (64/u)^j is at most 4^{−j} in these octaves.
                assert!(
                    (a - b).abs() < 1e-12 * libm::exp2(4.0 * j as f64),
                    "{j} {a} {b}"
                );
            }
        }
    }

    #[test]
    fn sums_are_those_of_the_octaves_that_follow() {
        let u = [[0.3, -2.0, 5.0, 0.5, 1.0], [-1.0, 0.1, 0.0, 3.0, -0.7]];
        let v = [[0.7, 1.0, 2.0, 0.0, 1.0], [0.8, 0.3, 0.2, -3.0, 0.1]];
        // The sums from u = 64·2^8 on are compared with sums over the octaves. Beyond the octaves, e^{−tu} is
        // negligible.
        for size in [1e-4, 2e-4, 3e-3] {
            let t = -libm::log1p(-size);
            let found = TailSums::new(&u, &v, 1.0 / 256.0, t, size);
            let (mut dots, mut values, mut openings) = ([0.0; 2], [0.0; 2], [0.0; 2]);
            for octave in octaves()[8..WHOLE_AXIS].iter().rev() {
                for parity in [0, 1] {
                    for k in 0..NODES {
                        let b = coefficient(&u[parity], octave, parity, k)
                            * coefficient(&v[parity], octave, parity, k);
                        let n = octave.nodes[k] + parity as f64;
                        let power = libm::exp(-t * octave.nodes[k]);
                        dots[parity] += b * power;
                        values[parity] += b * libm::exp(-t * n) / n;
                        openings[parity] -= b * libm::expm1(-t * n) / n;
                    }
                }
            }
            let whole = TailSums::new(&u, &v, 1.0 / 256.0, 0.0, 0.0);
            // These octaves end at u = 2^22. Beyond that, 1 − |ρ|^n is 1, and `openings` misses the sum of b b'/n.
            let beyond = TailSums::new(&u, &v, libm::exp2(-16.0), 0.0, 0.0).values();
            for parity in [0, 1] {
                let close = |a: f64, b: f64, scale: f64| {
                    assert!((a - b).abs() <= 1e-12 * scale.abs(), "{size} {a} {b}");
                };
                close(found.dots()[parity], dots[parity], whole.dots()[parity]);
                close(
                    found.values()[parity],
                    values[parity],
                    whole.values()[parity],
                );
                let opening = openings[parity] + beyond[parity];
                close(found.openings()[parity], opening, whole.values()[parity]);
            }
        }
    }
}
