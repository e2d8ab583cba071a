//! The orders m at which series are summed: every order at first, then the nodes of a quadrature.
//!
//! Coefficients have a sign (−1)^{⌊m/2⌋}, which cancels in the products of two variables. Apart from the sign, the
//! coefficients of even order are a smooth function of m, and so are those of odd order. These functions vary on the
//! scale of m itself: they are powers of m for a kink, and `e^{−c√m}` for poles. Sums over m from [`DIRECT`] on can
//! therefore be computed as integrals, with [`NODES`] nodes in each octave, whatever the number of terms in it.
//!
//! The relative error is 4e-15 where terms fall like `m^{−3/2}`, which is the case if φ' jumps. It is 5e-12 where they
//! fall like `m^{−5}`, but then the sum itself is small.
//!
//! With `u = m + 1` for even orders and `u = m` for odd ones, both parities are sums over the same grid of u. From the
//! third octave on, nodes are twice those of the octave before, so that `1 − |ρ|^u` follows from its values there
//! without computing another power.

use std::sync::LazyLock;

use crate::math::quadrature::legendre;

/// The number of orders that are summed one by one.
pub(super) const DIRECT: usize = 64;

/// The number of quadrature nodes in an octave, for each parity.
pub(super) const NODES: usize = 10;

/// The largest number of octaves.
pub(super) const MOST_OCTAVES: usize = 48;

/// The number of octaves with coefficients from a quadrature over the whole axis. The coefficients of later octaves come
/// from a quadrature near 0, because one over the whole axis costs √m.
pub(super) const WHOLE_AXIS: usize = 16;

static OCTAVES: LazyLock<Vec<Octave>> =
    LazyLock::new(|| (0..MOST_OCTAVES).map(Octave::new).collect());

/// The quadrature rule of one octave `[64, 128)·2^index` of u.
#[derive(Clone, Debug)]
pub(super) struct Octave {
    /// The first u.
    pub start: f64,
    /// The nodes u.
    pub nodes: [f64; NODES],
    /// The square roots of the weights. Coefficients are stored multiplied by them.
    pub roots: [f64; NODES],
    /// The indices `n = m + 1` of the coefficients of φ: u for even orders m, and `u + 1` for odd ones.
    pub indices: [[f64; NODES]; 2],
    /// `1/√n`.
    pub inverse_roots: [[f64; NODES]; 2],
    /// `64/u`.
    pub ratios: [f64; NODES],
    /// The square roots of the weights times `(64/u)^{5/4}`, for even orders, and times `(64/u)^{3/4}`, for odd ones
    /// (see [`super::kink_tail`]).
    pub powers: [[f64; NODES]; 2],
}

/// All octaves, in ascending order.
pub(super) fn octaves() -> &'static [Octave] {
    &OCTAVES
}

impl Octave {
    fn new(index: usize) -> Self {
        let start = DIRECT as f64 * libm::exp2(index as f64);
        let (nodes, weights) = if index == 0 {
            (FIRST_NODES, FIRST_WEIGHTS)
        } else {
            // The weights have a factor 1/2, because orders of one parity are 2 apart.
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
            start,
            nodes,
            roots,
            indices,
            inverse_roots: indices.map(|indices| indices.map(|n| 1.0 / n.sqrt())),
            ratios,
            powers: [power(1.25), power(0.75)],
        }
    }
}

/// The nodes of the Gauss rule for the first octave.
///
/// The rule computes the sum over u = 65, 67, … minus half the integral from 128 on, because the later octaves replace
/// the sum by that integral. It is exact for polynomials of degree 19.
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

/// The weights that belong to [`FIRST_NODES`].
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
        // Sums over u = 65, 67, … are compared with the octaves, both to where the function is negligible.
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
            // The tolerance is a share of the sum without exponential decay.
            let scale = 32.0 / (power - 1.0);
            assert!(
                (sum - exact).abs() <= tolerance * scale,
                "{power} {rate} {sum} {exact}"
            );
        }
    }
}
