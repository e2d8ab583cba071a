//! Expectations of φ and φ', computed by quadrature at the interpolation points of an interval of r.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use super::fractional_hermite::{self, Continuation};
use super::octaves::{DIRECT, NODES, Octave};
use super::quadrature::{Moments, Quadrature};
use crate::activations::activation::Smooth;
use crate::error::Result;
use crate::isa::{Isa, WIDTH};

/// The number of interpolation points of an interval. One more point checks the interpolation.
pub(super) const POINTS: usize = 15;

/// The expectations that belong to one variable N(0, r²).
#[derive(Clone, Debug)]
pub(super) struct Samples {
    pub r: f64,
    /// `E φ`.
    pub mean: f64,
    /// `E φ²`.
    pub square: f64,
    /// `E φ'²`.
    pub slope_square: f64,
    /// `b_m = E φ'(r z) he_m(z)` for m below [`DIRECT`]: even m first, then odd m.
    pub direct: Vec<f64>,
    /// `b_m` at the nodes of each octave, times the roots of the node weights: even orders first, then odd orders.
    pub octaves: Vec<[[f64; NODES]; 2]>,
}

/// φ'(r z) at the nodes z of a quadrature, folded: its sums over ±z, then its differences.
type Folded = [Vec<f64>; 2];

impl Samples {
    /// Computes the samples at all points of an interval, without octaves.
    ///
    /// # Errors
    /// As [`Smooth::evaluate`].
    pub fn direct(phi: &dyn Smooth, interval: Interval, isa: Isa) -> Result<Vec<Self>> {
        let quadrature = Quadrature::new(DIRECT, interval.splits());
        let orders = quadrature.polynomials();
        let sample = |r: f64| {
            let mut sample = Self {
                r,
                mean: 0.0,
                square: 0.0,
                slope_square: 0.0,
                direct: Vec::new(),
                octaves: Vec::new(),
            };
            let [even, odd] = sample.fold(phi, &quadrature)?;
            let moments = isa.run(Moments {
                orders: &orders,
                folded: [&even, &odd],
            });
            sample.direct = moments.as_flattened().to_vec();
            Ok(sample)
        };
        interval.points().into_iter().map(sample).collect()
    }

    /// Adds one more octave to all samples.
    ///
    /// # Errors
    /// As [`Smooth::evaluate`].
    pub fn extend(
        samples: &mut [Self],
        octave: &Octave,
        phi: &dyn Smooth,
        interval: Interval,
        isa: Isa,
    ) -> Result<()> {
        let quadrature = Quadrature::new(octave.nodes[NODES - 1] as usize, interval.splits());
        let mut orders = vec![[[0.0; WIDTH]; fractional_hermite::BLOCKS]; quadrature.nodes.len()];
        isa.run(Continuation {
            octave,
            nodes: &quadrature.nodes,
            weights: &quadrature.weights,
            values: &mut orders,
        });
        for sample in samples {
            let [even, odd] = sample.fold(phi, &quadrature)?;
            let moments = isa.run(Moments {
                orders: &orders,
                folded: [&even, &odd],
            });
            let (even, odd) = moments.split_at(fractional_hermite::BLOCKS / 2);
            sample.octaves.push([even, odd].map(|moments| {
                std::array::from_fn(|k| octave.roots[k] * moments.as_flattened()[k])
            }));
        }
        Ok(())
    }

    /// Returns φ'(r z) at the nodes of a quadrature, folded. Also computes `E φ`, `E φ²` and `E φ'²` again, with this
    /// quadrature.
    fn fold(&mut self, phi: &dyn Smooth, quadrature: &Quadrature) -> Result<Folded> {
        let nodes = quadrature.nodes.len();
        let at = |r: f64| quadrature.nodes.iter().map(move |z| r * z);
        let mut values: Vec<f64> = at(self.r).chain(at(-self.r)).collect();
        let mut slopes = vec![0.0; 2 * nodes];
        phi.evaluate(&mut values, &mut slopes)?;
        let (right, left) = slopes.split_at(nodes);
        let (ahead, behind) = values.split_at(nodes);
        let square = |(a, b): (&f64, &f64)| a * a + b * b;
        self.mean = quadrature.mean(ahead.iter().zip(behind).map(|(a, b)| a + b));
        self.square = quadrature.mean(ahead.iter().zip(behind).map(square));
        self.slope_square = quadrature.mean(right.iter().zip(left).map(square));
        let both = || right.iter().zip(left);
        Ok([
            both().map(|(a, b)| a + b).collect(),
            both().map(|(a, b)| a - b).collect(),
        ])
    }
}

/// An interval of r: a half octave, or r = 0 alone. The same r always lies in the same interval, whatever other r
/// occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Interval {
    /// The octave: `r = 2^exponent · [1/2, 1)`. `None` for r = 0.
    exponent: Option<i32>,
    /// True for the upper half of the octave, `2^exponent · [1/√2, 1)`.
    upper: bool,
}

impl Interval {
    /// The interval of an r ≥ 0.
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

    /// The number of times to halve the first panel of a quadrature: φ(r z) varies on the scale 1/r.
    fn splits(self) -> u32 {
        let exponent = self.exponent.unwrap_or(0);
        (exponent - 1).max(0).unsigned_abs()
    }

    /// The Chebyshev points of the interval, ends included. Last comes the point that checks the interpolation: midway
    /// between two of them near the middle.
    fn points(self) -> Vec<f64> {
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
