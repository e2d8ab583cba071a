//! Polynomial interpolation in double-double precision.

use std::f64::consts::PI;
use std::ops::Range;

use crate::math::double_double::DoubleDouble;

/// A polynomial, given by its coefficients from the constant upwards.
pub(super) struct FittedPolynomial(pub(super) Vec<DoubleDouble>);

impl FittedPolynomial {
    /// The polynomial through the points (nodes, values), by Newton's divided differences.
    pub(super) fn through(nodes: &[f64], mut values: Vec<DoubleDouble>) -> Self {
        let last = nodes.len() - 1;
        for order in 1..=last {
            for i in (order..=last).rev() {
                let width = DoubleDouble::from(nodes[i]) - nodes[i - order].into();
                values[i] = (values[i] - values[i - 1]) / width;
            }
        }
        // Σ_i values[i] Π_{k<i} (t − nodes[k]), multiplied out from the innermost factor.
        for k in (0..last).rev() {
            for i in k..last {
                values[i] = values[i] - values[i + 1] * nodes[k].into();
            }
        }
        Self(values)
    }

    /// The value at t.
    pub(super) fn at(&self, t: f64) -> DoubleDouble {
        let term = |sum: DoubleDouble, coefficient: &DoubleDouble| sum * t.into() + *coefficient;
        self.0.iter().rev().fold(0.0.into(), term)
    }
}

/// The extrema of the Chebyshev polynomial of this degree on a range, ascending. Both ends are among them.
pub(super) fn extrema(range: Range<f64>, degree: usize) -> Vec<f64> {
    let (middle, half) = (
        0.5 * (range.start + range.end),
        0.5 * (range.end - range.start),
    );
    let angle = PI / degree as f64;
    let node = |i: usize| middle - half * libm::cos(i as f64 * angle);
    (0..=degree).map(node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolation_is_exact_beyond_the_digits_of_f64() {
        let nodes = extrema(0.0..0.25, 9);
        assert_eq!((nodes[0], nodes[9]), (0.0, 0.25));
        let exponential = |t: f64| DoubleDouble::from(t).exp();
        let polynomial =
            FittedPolynomial::through(&nodes, nodes.iter().map(|t| exponential(*t)).collect());
        assert_eq!(polynomial.0[0], 1.0.into());
        for t in nodes {
            let error = (polynomial.at(t) - exponential(t)).hi;
            assert!(error.abs() <= 1e-25, "{t}: {error}");
        }
        // The remainder: (1/8)^10 e^{1/4}/2⁹/10! = 6.5e-19.
        let error = (polynomial.at(0.11) - exponential(0.11)).hi;
        assert!(error.abs() <= 7e-19, "{error}");
    }
}
