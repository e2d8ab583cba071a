//! The normalised Hermite polynomials, continued to orders between the integers.
//!
//! `y'' = z y' − ν y` has an even and an odd solution for every ν. The even one starts at 0 from the continued value of
//! `|he_ν(0)|`, the odd one from the continued slope `|he_ν'(0)|`. At integers ν of their parity, they are then
//! `(−1)^{⌊ν/2⌋} he_ν`.
//!
//! The solutions oscillate up to the turning point 2√ν. Stepping from node to node by Taylor series is therefore stable
//! for every ν, and takes O(√ν) steps.

use super::octaves::{NODES, Octave};
use crate::isa::{Block, Vector, Vectorized, WIDTH};

/// The number of terms of a Taylor series. Steps in z are at most 2.3/√ν, and less than 1/4.
const TERMS: usize = 34;

/// The number of blocks that hold the even solutions of all orders of an octave, then the odd ones.
pub(super) const BLOCKS: usize = 2 * HALF;
const HALF: usize = NODES.div_ceil(WIDTH);

/// Computes the solutions at the nodes z > 0 of a quadrature, times the weights there. For the nodes u of an octave,
/// these are the even solutions of orders `ν = u − 1`, then the odd solutions of orders `ν = u`.
pub(super) struct Continuation<'a> {
    pub octave: &'a Octave,
    pub nodes: &'a [f64],
    pub weights: &'a [f64],
    pub values: &'a mut [[Block; BLOCKS]],
}

impl Vectorized for Continuation<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (mut orders, mut values, mut slopes) = (
            [[1.0; WIDTH]; BLOCKS],
            [[0.0; WIDTH]; BLOCKS],
            [[0.0; WIDTH]; BLOCKS],
        );
        for (k, u) in self.octave.nodes.iter().enumerate() {
            let (block, lane) = (k / WIDTH, k % WIDTH);
            orders[block][lane] = u - 1.0;
            values[block][lane] = at_zero(u - 1.0);
            orders[HALF + block][lane] = *u;
            slopes[HALF + block][lane] = u.sqrt() * at_zero(u - 1.0);
        }
        let orders = orders.map(|order| V::load(&order));
        let mut values = values.map(|value| V::load(&value));
        let mut slopes = slopes.map(|slope| V::load(&slope));
        let mut at = 0.0;
        for ((z, weight), out) in self.nodes.iter().zip(self.weights).zip(self.values) {
            let step = z - at;
            for (block, order) in orders.iter().enumerate() {
                let (value, slope) = taylor(*order, at, step, values[block], slopes[block]);
                (values[block], slopes[block]) = (value, slope);
                (value * V::splat(*weight)).store(&mut out[block]);
            }
            at = *z;
        }
    }
}

/// Returns y and y' at `z + step`, given those at z.
#[inline(always)]
fn taylor<V: Vector>(order: V, z: f64, step: f64, value: V, slope: V) -> (V, V) {
    let (mut last, mut term) = (value, slope * V::splat(step));
    let (mut sum, mut rise) = (value + term, term);
    for k in 0..TERMS {
        let k = k as f64;
        let along = V::splat(z * step / (k + 2.0));
        let back = V::splat(step * step / ((k + 1.0) * (k + 2.0))) * (V::splat(k) - order);
        let next = along.mul_add(term, back * last);
        sum = sum + next;
        rise = V::splat(k + 2.0).mul_add(next, rise);
        (last, term) = (term, next);
    }
    (sum, rise * V::splat(1.0 / step))
}

/// `|he_ν(0)|` for even ν, continued to all ν.
///
/// It is the root of `Γ(x + ½)/(√π Γ(x + 1))` with x = ν/2. The series of this in `(x + ¼)^{−2}` is exact to 1e-17 from
/// x = 31 on. `|he_ν'(0)|` for odd ν is `√ν` times `|he_{ν−1}(0)|`.
fn at_zero(order: f64) -> f64 {
    const SERIES: [f64; 5] = [
        1.0,
        -1.0 / 64.0,
        21.0 / 8192.0,
        -671.0 / 524_288.0,
        0.001_343_511_044_979_095_5,
    ];
    let center = 0.5 * order + 0.25;
    let square = 1.0 / (center * center);
    let sum = SERIES.iter().rev().fold(0.0, |sum, c| sum * square + c);
    (sum / (std::f64::consts::PI * center).sqrt()).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activations::series::octaves::octaves;
    use crate::activations::series::quadrature::Quadrature;
    use crate::isa::Isa;

    #[test]
    fn integers_give_the_polynomials() {
        for (index, order) in [(0, 70), (1, 200), (3, 901)] {
            let mut octave = octaves()[index].clone();
            octave.nodes[3] = f64::from(order + 1);
            octave.nodes[4] = f64::from(order);
            let quadrature = Quadrature::new(1024, 1);
            for isa in Isa::available() {
                let mut values = vec![[[f64::NAN; WIDTH]; BLOCKS]; quadrature.nodes.len()];
                isa.run(Continuation {
                    octave: &octave,
                    nodes: &quadrature.nodes,
                    weights: &quadrature.weights,
                    values: &mut values,
                });
                let lane = if order % 2 == 0 { 3 } else { HALF * WIDTH + 4 };
                let sign = if order % 4 < 2 { 1.0 } else { -1.0 };
                for (found, (z, weight)) in values
                    .iter()
                    .zip(quadrature.nodes.iter().zip(&quadrature.weights))
                {
                    let (mut previous, mut current) = (0.0, 1.0);
                    for m in 1..=order {
                        let m = f64::from(m);
                        let next = (z * current - (m - 1.0).sqrt() * previous) / m.sqrt();
                        (previous, current) = (current, next);
                    }
                    let value = sign * found[lane / WIDTH][lane % WIDTH];
                    assert!(
                        (value - weight * current).abs() <= 2e-13 * (1.0 + 0.0 * z),
                        "{order} {z} {value} {}",
                        weight * current
                    );
                }
            }
        }
    }
}
