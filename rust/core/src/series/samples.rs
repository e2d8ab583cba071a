//! Expectations of φ and φ' by quadrature, at the points of a piece of the axis of roots.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use super::rule::{Moments, Rule};
use crate::activation::Smooth;
use crate::error::Result;
use crate::isa::{Block, Isa, WIDTH};

/// The points of a piece between which all else is interpolated. One more checks them.
pub(super) const POINTS: usize = 15;

/// What is known of one variable.
#[derive(Clone, Debug)]
pub(super) struct Samples {
    pub r: f64,
    /// `E φ`, `E φ²` and `E φ'²`.
    pub mean: f64,
    pub square: f64,
    pub slope_square: f64,
    /// `b_m = E φ'(r z) he_m(z)`.
    pub slopes: Vec<f64>,
}

impl Samples {
    /// By quadrature, at up to [`WIDTH`] roots.
    ///
    /// # Errors
    /// Those of φ.
    pub fn quadrature(phi: &dyn Smooth, rule: &Rule, roots: &[f64], isa: Isa) -> Result<Vec<Self>> {
        let nodes = rule.nodes.len();
        let mut folded = [vec![[0.0; WIDTH]; nodes], vec![[0.0; WIDTH]; nodes]];
        let mut samples = Vec::new();
        for (lane, r) in roots.iter().enumerate() {
            let at = |sign: f64| rule.nodes.iter().map(move |z| sign * r * z);
            let mut values: Vec<f64> = at(1.0).chain(at(-1.0)).collect();
            let mut slopes = vec![0.0; 2 * nodes];
            phi.evaluate(&mut values, &mut slopes)?;
            let (right, left) = slopes.split_at(nodes);
            for (k, (right, left)) in right.iter().zip(left).enumerate() {
                folded[0][k][lane] = right + left;
                folded[1][k][lane] = right - left;
            }
            let square = |(a, b): (&f64, &f64)| a * a + b * b;
            let (ahead, behind) = values.split_at(nodes);
            samples.push(Self {
                r: *r,
                mean: rule.mean(ahead.iter().zip(behind).map(|(a, b)| a + b)),
                square: rule.mean(ahead.iter().zip(behind).map(square)),
                slope_square: rule.mean(right.iter().zip(left).map(square)),
                slopes: Vec::new(),
            });
        }
        let mut moments = vec![[0.0; WIDTH]; rule.terms()];
        isa.run(Moments {
            rule,
            folded: [&folded[0], &folded[1]],
            moments: &mut moments,
        });
        for (lane, sample) in samples.iter_mut().enumerate() {
            sample.slopes = moments.iter().map(|moment: &Block| moment[lane]).collect();
        }
        Ok(samples)
    }
}

/// A half octave of roots, or 0 alone. Pieces do not depend on what roots there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Piece {
    /// `r = 2^exponent · [1/2, 1)`; none for 0.
    exponent: Option<i32>,
    upper: bool,
}

impl Piece {
    /// The piece of a root ≥ 0.
    pub fn of(r: f64) -> Self {
        if r == 0.0 {
            return Self {
                exponent: None,
                upper: false,
            };
        }
        let (mantissa, exponent) = libm::frexp(r);
        Self {
            exponent: Some(exponent),
            upper: mantissa >= FRAC_1_SQRT_2,
        }
    }

    /// How often the first panel of a rule is to be halved: φ(r z) varies within 1/r.
    pub fn splits(self) -> u32 {
        let exponent = self.exponent.unwrap_or(0);
        (exponent - 2).max(0).unsigned_abs()
    }

    /// Its Chebyshev points, ends included, and last the one to check at: midway between two near the middle.
    pub fn points(self) -> Vec<f64> {
        let Some(exponent) = self.exponent else {
            return vec![0.0; 2];
        };
        let ends = if self.upper {
            [FRAC_1_SQRT_2, 1.0]
        } else {
            [0.5, FRAC_1_SQRT_2]
        };
        let (middle, half) = (0.5 * (ends[0] + ends[1]), 0.5 * (ends[1] - ends[0]));
        let last = (POINTS - 1) as f64;
        let places = (0..POINTS).map(|j| j as f64).chain([0.5 * last - 0.5]);
        places
            .map(|j| libm::scalbn(middle + half * libm::cos(PI * j / last), exponent))
            .collect()
    }
}
