//! The orders m over which series are summed: all of them at first, then the nodes of a quadrature.
//!
//! But for the sign (−1)^{⌊m/2⌋}, which products lose, coefficients of even order and those of odd order are smooth
//! functions of m, on the scale of m itself: powers of m for a kink, `e^{−c√m}` for poles. So sums over m from
//! [`DIRECT`] on are integrals, by [`NODES`] nodes in each octave however many terms they stand for: to 4e-15 where terms
//! fall like `m^{−3/2}`, after a jump of φ', and to 5e-12 of the little that there is where they fall like `m^{−5}`. With `u = m + 1` for even orders and `u = m` for odd ones, both are sums over one grid of u, and the nodes of an
//! octave are twice those of the one before: so `1 − |ρ|^u` follows without a further power.

use std::sync::LazyLock;

use crate::math::quadrature::legendre;

/// How many orders are summed one by one.
pub(super) const DIRECT: usize = 64;

/// Nodes of an octave.
pub(super) const NODES: usize = 10;

/// The most octaves.
pub(super) const MOST_OCTAVES: usize = 16;

static OCTAVES: LazyLock<Vec<Octave>> =
    LazyLock::new(|| (0..MOST_OCTAVES).map(Octave::new).collect());

/// An octave `[64, 128)·2^index` of u.
#[derive(Clone, Debug)]
pub(super) struct Octave {
    pub nodes: [f64; NODES],
    /// The roots of the weights: coefficients are multiplied by them.
    pub roots: [f64; NODES],
    /// `n = m + 1`, the indices of φ: u for even orders, `u + 1` for odd ones.
    pub indices: [[f64; NODES]; 2],
    pub inverse_roots: [[f64; NODES]; 2],
    /// `64/u`, and the roots of the weights times its powers 5/4 and 3/4 (see [`super::kink_tail`]).
    pub ratios: [f64; NODES],
    pub powers: [[f64; NODES]; 2],
}

/// All octaves.
pub(super) fn octaves() -> &'static [Octave] {
    &OCTAVES
}

impl Octave {
    fn new(index: usize) -> Self {
        let start = DIRECT as f64 * libm::exp2(index as f64);
        let (nodes, weights) = if index == 0 {
            (FIRST_NODES, FIRST_WEIGHTS)
        } else {
            // Orders of one parity are 2 apart.
            let rule = legendre(NODES);
            let node = |k: usize| start * (1.5 + 0.5 * rule[k].0);
            let weight = |k: usize| 0.25 * start * rule[k].1;
            (std::array::from_fn(node), std::array::from_fn(weight))
        };
        let roots = weights.map(f64::sqrt);
        let ratios = nodes.map(|u| DIRECT as f64 / u);
        let indices = [nodes, nodes.map(|u| u + 1.0)];
        let power =
            |exponent: f64| std::array::from_fn(|k| roots[k] * libm::pow(ratios[k], exponent));
        Self {
            nodes,
            roots,
            indices,
            inverse_roots: indices.map(|indices| indices.map(|n| 1.0 / n.sqrt())),
            ratios,
            powers: [power(1.25), power(0.75)],
        }
    }
}

/// The Gauss rule of the sum over u = 65, 67, … without the integral from 128 on, which is what the octaves after the
/// first make of it: exact for polynomials of degree 19.
const FIRST_NODES: [f64; NODES] = [
    65.182_411_055_243_23,
    68.828_608_072_294_92,
    74.737_178_427_037_97,
    82.543_509_666_700_26,
    91.567_606_109_094_23,
    101.010_061_434_856_03,
    110.032_616_191_990_63,
    117.833_914_604_099_1,
    123.721_095_067_491_82,
    127.172_563_473_433_35,
];

const FIRST_WEIGHTS: [f64; NODES] = [
    1.316_433_515_793_029_6,
    2.393_137_245_233_637_6,
    3.478_059_736_470_252,
    4.270_691_755_382_829,
    4.686_148_585_615_938,
    4.685_815_899_530_543,
    4.269_355_820_821_346,
    3.473_680_197_482_231_4,
    2.369_587_160_426_734,
    1.057_090_083_243_458,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octaves_sum_smooth_functions() {
        // Σ over u = 65, 67, …, 2^24 + 63 of functions that are nothing beyond.
        for (power, rate, tolerance) in [
            (1.5, 3e-6, 1e-14),
            (1.5, 1e-3, 1e-14),
            (2.5, 0.02, 1e-13),
            (3.5, 0.5, 1e-12),
            (5.0, 0.1, 1e-11),
        ] {
            let function = |u: f64| libm::exp(-rate * u) * libm::pow(DIRECT as f64 / u, power);
            let last = (50.0 / rate) as u32;
            let terms = (0..last / 2).rev();
            let exact: f64 = terms.map(|k| function(f64::from(65 + 2 * k))).sum();
            let octave = |octave: &Octave| -> f64 {
                let nodes = octave.nodes.iter().zip(octave.roots);
                nodes.map(|(u, root)| root * root * function(*u)).sum()
            };
            let sum: f64 = octaves().iter().rev().map(octave).sum();
            let beyond = libm::exp(-rate * DIRECT as f64 * 65536.0) * 1e5;
            // Of what a sum without decay would be.
            let scale = 32.0 / (power - 1.0);
            assert!(
                (sum - exact).abs() <= tolerance * scale + beyond,
                "{power} {rate} {sum} {exact}"
            );
        }
    }
}
