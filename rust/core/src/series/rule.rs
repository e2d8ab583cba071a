//! A rule for Gaussian expectations of a function against many Hermite polynomials at once.

use std::f64::consts::PI;

use crate::isa::{Block, Vector, Vectorized};

/// Nodes of each panel.
const PER_PANEL: usize = 32;

/// What lies beyond has the weight e^{−84}, and e^{−42} with any Hermite polynomial.
const REACH: f64 = 13.0;

/// Nodes per unit length and √terms: he_m oscillates at the frequency √m. Measured: 0.5 leaves errors of some 1e-15.
const DENSITY: f64 = 0.7;

/// Gauss–Legendre panels on the positive half-axis; functions come folded, as `f(z) + f(−z)` and `f(z) − f(−z)`. An
/// edge lies at 0, so that functions may have a kink there.
#[derive(Debug)]
pub(super) struct Rule {
    /// The nodes z > 0.
    pub nodes: Vec<f64>,
    /// `he_m` times the weights, for each m < terms.
    polynomials: Vec<Vec<f64>>,
}

impl Rule {
    /// A rule for `terms` polynomials. The first panel is halved towards 0 `splits` times, for functions that vary
    /// quickly there.
    pub fn new(terms: usize, splits: u32) -> Self {
        let panels = (DENSITY * (terms as f64).sqrt() * REACH / PER_PANEL as f64).ceil();
        let width = REACH / panels;
        let mut edges = vec![0.0];
        edges.extend(
            (1..=splits)
                .rev()
                .map(|j| width * libm::exp2(-f64::from(j))),
        );
        edges.extend((1..=panels as u32).map(|panel| f64::from(panel) * width));
        let legendre = legendre();
        let (mut nodes, mut weights) = (Vec::new(), Vec::new());
        for edge in edges.windows(2) {
            let half = 0.5 * (edge[1] - edge[0]);
            for (node, weight) in &legendre {
                let z = edge[0] + half * (1.0 + node);
                nodes.push(z);
                weights.push(half * weight * libm::exp(-0.5 * z * z) / (2.0 * PI).sqrt());
            }
        }
        Self {
            polynomials: polynomials(&nodes, weights, terms),
            nodes,
        }
    }

    /// The number of polynomials.
    pub fn terms(&self) -> usize {
        self.polynomials.len()
    }

    /// `E f(z)`, by the values of `f(z) + f(−z)` at the nodes.
    pub fn mean(&self, values: impl Iterator<Item = f64>) -> f64 {
        let products = self.polynomials[0].iter().zip(values);
        products.map(|(weight, value)| weight * value).sum()
    }
}

/// `he_{m+1} = (z he_m − √m he_{m−1})/√(m+1)`, times the weights: stable, he_m is nowhere the smaller solution.
fn polynomials(nodes: &[f64], weights: Vec<f64>, terms: usize) -> Vec<Vec<f64>> {
    let mut all = vec![weights];
    let mut previous = vec![0.0; nodes.len()];
    for m in 1..terms {
        let (subtract, scale) = (((m - 1) as f64).sqrt(), 1.0 / (m as f64).sqrt());
        let current = &all[m - 1];
        let next = nodes
            .iter()
            .zip(current.iter().zip(&previous))
            .map(|(z, (current, previous))| (z * current - subtract * previous) * scale)
            .collect();
        previous.clone_from(current);
        all.push(next);
    }
    all
}

/// Nodes and weights of the Gauss–Legendre rule on [−1, 1].
fn legendre() -> Vec<(f64, f64)> {
    let n = PER_PANEL as f64;
    let rule = (0..PER_PANEL).map(|index| {
        let mut x = -libm::cos(PI * (index as f64 + 0.75) / (n + 0.5));
        let mut slope = 1.0;
        // Newton's method: quadratic from four digits, so that three steps are enough.
        for _ in 0..5 {
            let (mut value, mut previous) = (x, 1.0);
            for k in 2..=PER_PANEL {
                let k = k as f64;
                (value, previous) = (
                    ((2.0 * k - 1.0) * x * value - (k - 1.0) * previous) / k,
                    value,
                );
            }
            slope = n * (previous - x * value) / (1.0 - x * x);
            x -= value / slope;
        }
        (x, 2.0 / ((1.0 - x * x) * slope * slope))
    });
    rule.collect()
}

/// The expectations of eight functions against all polynomials of a rule: even functions for even ones, odd for odd.
pub(super) struct Moments<'a> {
    pub rule: &'a Rule,
    /// `f(z) + f(−z)` and `f(z) − f(−z)` at each node, of the eight functions side by side.
    pub folded: [&'a [Block]; 2],
    pub moments: &'a mut [Block],
}

impl Vectorized for Moments<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        const CHAINS: usize = 4;
        let polynomials = self.rule.polynomials.iter().enumerate();
        for ((m, polynomial), moment) in polynomials.zip(self.moments) {
            let mut sums = [V::splat(0.0); CHAINS];
            // PER_PANEL nodes a panel: no remainder.
            let values = self.folded[m % 2].chunks_exact(CHAINS);
            for (weights, values) in polynomial.chunks_exact(CHAINS).zip(values) {
                for ((sum, weight), value) in sums.iter_mut().zip(weights).zip(values) {
                    *sum = V::splat(*weight).mul_add(V::load(value), *sum);
                }
            }
            ((sums[0] + sums[1]) + (sums[2] + sums[3])).store(moment);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Isa, WIDTH};

    #[test]
    fn polynomials_are_orthonormal() {
        let rule = Rule::new(64, 3);
        let mut polynomials = rule.polynomials.iter().map(|weighted| -> Vec<f64> {
            weighted
                .iter()
                .zip(&rule.polynomials[0])
                .map(|(a, weight)| a / weight)
                .collect()
        });
        let few: Vec<_> = polynomials.by_ref().take(12).collect();
        // Those of higher degree reach beyond the rule: bounded functions do not.
        for (m, n) in (0..12).flat_map(|m| (m % 2..12).step_by(2).map(move |n| (m, n))) {
            let products = rule.polynomials[m].iter().zip(&few[n]);
            let sum: f64 = products.map(|(a, b)| 2.0 * a * b).sum();
            let expected = f64::from(u8::from(m == n));
            assert!((sum - expected).abs() < 1e-13, "{m} {n} {sum}");
        }
    }

    #[test]
    fn moments_of_an_exponential_are_known() {
        // E e^{tz} he_m(z) = e^{t²/2} t^m/√m!
        let (rule, t) = (Rule::new(64, 0), 1.3);
        let fold = |sign: f64| -> Vec<Block> {
            let value = |z: &f64| [libm::exp(t * z) + sign * libm::exp(-t * z); WIDTH];
            rule.nodes.iter().map(value).collect()
        };
        let (even, odd) = (fold(1.0), fold(-1.0));
        for isa in Isa::available() {
            let mut moments = vec![[f64::NAN; WIDTH]; 64];
            isa.run(Moments {
                rule: &rule,
                folded: [&even, &odd],
                moments: &mut moments,
            });
            let mut exact = libm::exp(0.5 * t * t);
            for (m, moment) in moments.iter().enumerate().take(16) {
                assert!(
                    moment.iter().all(|value| (value - exact).abs() < 3e-14),
                    "{isa} {m} {exact} {moment:?}"
                );
                exact *= t / ((m + 1) as f64).sqrt();
            }
        }
    }
}
