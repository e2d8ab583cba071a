//! φ' of a function that is given by its values alone.
//!
//! The nodes of a quadrature form panels of Gauss–Legendre nodes, none of which contains 0. On a panel, φ is a polynomial
//! through its values there, if it is smooth on both sides of 0. The derivative of this polynomial has errors of some
//! 100 ε |φ|, divided by the length of the panel. Short panels near 0 are therefore replaced by one that is longer.
//!
//! The last Legendre coefficients of the polynomial tell how well it follows φ.

use std::array;
use std::sync::LazyLock;

use super::quadrature::{PER_PANEL, Quadrature};
use crate::activations::activation::Smooth;
use crate::error::Result;
use crate::math::quadrature::legendre;

/// Numbers at the nodes of a panel.
type Panel = [f64; PER_PANEL];

/// A quadrature for orders up to this has panels so short that polynomials follow tanh to the last digits. An integral
/// needs half as many nodes, because Gauss rules are exact for twice the degree.
const FINE: usize = 1024;

/// The length of the longer panel near 0, unless φ varies too fast there. It is then halved up to [`HALVINGS`] times.
const LONG: f64 = 0.5;
const HALVINGS: usize = 30;

/// The largest share of the values that the last coefficients may have as a result of rounding.
const ROUND_OFF: f64 = 64.0 * f64::EPSILON;

/// The error of slopes that rounding leaves, as a share of `√E φ'²`.
pub(super) const NUMERIC_ERROR: f64 = 3e-13;

/// A quadrature for φ and for polynomials up to these orders.
pub(super) fn quadrature(phi: &dyn Smooth, orders: usize, splits: u32) -> Quadrature {
    let fine = if phi.has_slopes() { 0 } else { FINE };
    Quadrature::new(orders.max(fine), splits)
}

/// φ' at the nodes z of a quadrature and at their negatives.
#[derive(Debug, Default)]
pub(super) struct NumericSlopes {
    pub slopes: Vec<f64>,
    /// The mean square of the error that comes from polynomials that do not follow φ.
    pub square_error: f64,
}

impl NumericSlopes {
    /// Computes the slopes of φ at r z and −r z, given the values there.
    ///
    /// # Errors
    /// As [`Smooth::evaluate`].
    pub fn new(phi: &dyn Smooth, quadrature: &Quadrature, r: f64, values: &[f64]) -> Result<Self> {
        let mut found = Self::default();
        let count = quadrature.nodes.len();
        for (sign, values) in [1.0, -1.0].into_iter().zip(values.chunks(count.max(1))) {
            let near = NearZero::new(phi, sign)?;
            let panels = quadrature
                .nodes
                .chunks(PER_PANEL)
                .zip(quadrature.weights.chunks(PER_PANEL));
            for ((nodes, weights), values) in panels.zip(values.chunks(PER_PANEL)) {
                let x: Panel = array::from_fn(|j| r * nodes[j]);
                let error = if x[PER_PANEL - 1] < near.length {
                    found.slopes.extend(x.iter().map(|x| sign * near.slope(*x)));
                    near.error
                } else {
                    let values = array::from_fn(|j| values[j]);
                    let half = (x[PER_PANEL - 1] - x[0]) / (2.0 * RULE.nodes[PER_PANEL - 1]);
                    let slopes = RULE.slopes(&values);
                    found
                        .slopes
                        .extend(slopes.iter().map(|slope| sign * slope / half));
                    RULE.error(&values) / half
                };
                found.square_error += weights.iter().sum::<f64>() * error * error;
            }
        }
        Ok(found)
    }
}

/// The polynomial of a panel that begins at 0, on one side of it.
struct NearZero {
    length: f64,
    /// The slopes at the nodes of the panel.
    slopes: Panel,
    error: f64,
}

impl NearZero {
    /// Chooses the longest panel on which a polynomial follows φ(sign · x).
    fn new(phi: &dyn Smooth, sign: f64) -> Result<Self> {
        let mut best: Option<Self> = None;
        for halvings in 0..=HALVINGS {
            let length = LONG * libm::exp2(-(halvings as f64));
            let mut values: Vec<f64> = RULE
                .nodes
                .iter()
                .map(|t| sign * 0.5 * length * (1.0 + t))
                .collect();
            phi.evaluate(&mut values, &mut [0.0; PER_PANEL])?;
            let (values, half) = (array::from_fn(|j| values[j]), 0.5 * length);
            let panel = Self {
                length,
                slopes: RULE.slopes(&values).map(|slope| slope / half),
                error: RULE.error(&values) / half,
            };
            let follows = panel.error == 0.0;
            if best.as_ref().is_none_or(|best| panel.error < best.error) {
                best = Some(panel);
            }
            if follows {
                break;
            }
        }
        Ok(best.unwrap_or(Self {
            length: 0.0,
            slopes: [0.0; PER_PANEL],
            error: 0.0,
        }))
    }

    /// The derivative in x at a point of the panel, by the barycentric formula.
    fn slope(&self, x: f64) -> f64 {
        let t = 2.0 * x / self.length - 1.0;
        let (mut above, mut below) = (0.0, 0.0);
        for ((node, weight), slope) in RULE.nodes.iter().zip(&RULE.barycentric).zip(&self.slopes) {
            if t == *node {
                return *slope;
            }
            let share = weight / (t - node);
            above += share * slope;
            below += share;
        }
        above / below
    }
}

/// Polynomials through values at the Gauss–Legendre nodes on [−1, 1].
struct PolynomialRule {
    nodes: Panel,
    barycentric: Panel,
    differentiation: Vec<Panel>,
    /// The functionals of the last Legendre coefficients.
    last: [Panel; LAST],
}

/// The number of coefficients that tell whether a polynomial follows a function, of even and of odd functions.
const LAST: usize = 4;

static RULE: LazyLock<PolynomialRule> = LazyLock::new(PolynomialRule::new);

impl PolynomialRule {
    fn new() -> Self {
        let rule = legendre(PER_PANEL);
        let nodes: Panel = array::from_fn(|j| rule[j].0);
        let barycentric: Panel = array::from_fn(|j| {
            let size = ((1.0 - nodes[j] * nodes[j]) * rule[j].1).sqrt();
            if j.is_multiple_of(2) { size } else { -size }
        });
        let row = |i: usize| {
            let mut row: Panel = array::from_fn(|j| {
                let distance = nodes[i] - nodes[j];
                if i == j {
                    0.0
                } else {
                    barycentric[j] / barycentric[i] / distance
                }
            });
            row[i] = -row.iter().sum::<f64>();
            row
        };
        let coefficient = |k: usize| {
            let factor = k as f64 + 0.5;
            array::from_fn(|j| factor * rule[j].1 * legendre_polynomial(k, nodes[j]))
        };
        Self {
            nodes,
            barycentric,
            differentiation: (0..PER_PANEL).map(row).collect(),
            last: array::from_fn(|k| coefficient(PER_PANEL - LAST + k)),
        }
    }

    /// The derivatives of the polynomial through these values, at the nodes.
    fn slopes(&self, values: &Panel) -> Panel {
        array::from_fn(|i| dot(&self.differentiation[i], values))
    }

    /// An estimate of the distance of these derivatives from those of the function: 0 if only rounding is left.
    fn error(&self, values: &Panel) -> f64 {
        let largest = values
            .iter()
            .fold(0.0, |most: f64, value| most.max(value.abs()));
        let last = self
            .last
            .iter()
            .map(|functional| dot(functional, values).abs());
        let last = last.fold(0.0, f64::max);
        // The derivative of P_k is at most k (k + 1)/2.
        let steepest = 0.5 * (PER_PANEL * PER_PANEL) as f64;
        steepest * (last - ROUND_OFF * largest).max(0.0)
    }
}

fn dot(a: &Panel, b: &Panel) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `P_k(t)`.
fn legendre_polynomial(k: usize, t: f64) -> f64 {
    let (mut previous, mut value) = (0.0, 1.0);
    for n in 0..k {
        let n = n as f64;
        (previous, value) = (
            value,
            ((2.0 * n + 1.0) * t * value - n * previous) / (n + 1.0),
        );
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Values(fn(f64) -> f64);

    impl Smooth for Values {
        fn evaluate(&self, x: &mut [f64], _slopes: &mut [f64]) -> Result<()> {
            x.iter_mut().for_each(|x| *x = (self.0)(*x));
            Ok(())
        }

        fn has_slopes(&self) -> bool {
            false
        }
    }

    /// The largest error of the slopes at all nodes, and the root of the mean square that is known of it.
    fn errors(phi: fn(f64) -> f64, slope: fn(f64) -> f64, r: f64) -> (f64, f64) {
        let quadrature = Quadrature::new(FINE, 0);
        let nodes = quadrature.nodes.iter();
        let x: Vec<f64> = nodes
            .clone()
            .map(|z| r * z)
            .chain(nodes.map(|z| -r * z))
            .collect();
        let values: Vec<f64> = x.iter().map(|x| phi(*x)).collect();
        let found = NumericSlopes::new(&Values(phi), &quadrature, r, &values).unwrap();
        let differences = x
            .iter()
            .zip(&found.slopes)
            .map(|(x, found)| (slope(*x) - found).abs());
        (differences.fold(0.0, f64::max), found.square_error.sqrt())
    }

    #[test]
    fn slopes_of_smooth_functions() {
        // The rounding of φ, times up to 500, over half of a panel: 0.25 near 0, and some 0.01 beyond it for
        // r = 0.05. Relative to the largest slope.
        for r in [0.0, 1e-300, 1e-9, 1e-3, 0.05, 1.0, 1.4] {
            let (error, known) = errors(libm::tanh, |x| 1.0 - libm::tanh(x) * libm::tanh(x), r);
            assert!(error < 4e-12 && known == 0.0, "tanh {r} {error} {known}");
            let (error, known) = errors(libm::cos, |x| -libm::sin(x), r);
            assert!(error < 4e-12 && known == 0.0, "cos {r} {error} {known}");
            let (error, known) = errors(
                |x| libm::sin(40.0 * x),
                |x| 40.0 * libm::cos(40.0 * x),
                r.min(0.05),
            );
            assert!(
                error < 40.0 * 4e-12 && known == 0.0,
                "sin {r} {error} {known}"
            );
            let (error, known) = errors(
                |x| x.max(0.1 * x) + 1.0,
                |x| if x > 0.0 { 1.0 } else { 0.1 },
                r.max(1e-300),
            );
            assert!(error < 2e-11 && known == 0.0, "kink {r} {error} {known}");
        }
    }

    #[test]
    fn functions_that_are_not_followed_are_known() {
        let (error, known) = errors(|x| (x - 1.0).abs(), |x| (x - 1.0).signum(), 1.0);
        assert!(error > 0.1 && known > 0.1, "{error} {known}");
        let (error, known) = errors(|x| libm::sin(60.0 * x), |x| 60.0 * libm::cos(60.0 * x), 1.0);
        assert!(error > 1.0 && known > 1.0, "{error} {known}");
    }
}
