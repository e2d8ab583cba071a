//! Expectations of φ and φ', computed by quadrature at the interpolation points of an interval of r.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use super::fractional_hermite::{self, Continuation};
use super::numeric_slopes::{NUMERIC_ERROR, NumericSlopes, quadrature};
use super::octaves::{DIRECT, NODES, Octave, WHOLE_AXIS, octaves};
use super::quadrature::{Moments, Quadrature};
use crate::activations::activation::Smooth;
use crate::error::Result;
use crate::isa::{Block, Isa, WIDTH};

/// The number of interpolation points of an interval. One more point checks the interpolation.
pub(super) const POINTS: usize = 15;

/// A series can end at an octave that holds less than this share of `E φ'²`, since the products of its coefficients
/// with those of any other variable are round-off.
const NOTHING: f64 = 1e-28;

/// The same where φ' is known from values of φ alone. What is left is the square of its errors.
const NUMERIC_NOTHING: f64 = 1e-25;

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
    /// The error of φ' as a share of its root mean square, if φ is given by its values alone; otherwise 0.
    pub numeric_error: f64,
    /// `b_m = E φ'(r z) he_m(z)` for m below [`DIRECT`]: even m first, then odd m.
    pub direct: Vec<f64>,
    /// `b_m` at the nodes of each octave, times the roots of the node weights: even orders first, then odd orders.
    pub octaves: Vec<[[f64; NODES]; 2]>,
}

impl Samples {
    /// Computes the samples at all points of an interval, without octaves.
    ///
    /// # Errors
    /// As [`Smooth::evaluate`].
    pub fn direct(phi: &dyn Smooth, interval: Interval, isa: Isa) -> Result<Vec<Self>> {
        let quadrature = quadrature(phi, DIRECT, interval.splits());
        let orders = quadrature.polynomials();
        let sample = |r: f64| {
            let mut sample = Self {
                r,
                mean: 0.0,
                square: 0.0,
                slope_square: 0.0,
                numeric_error: 0.0,
                direct: Vec::new(),
                octaves: Vec::new(),
            };
            let (values, slopes, square_error) = quadrature.evaluate(phi, r)?;
            sample.average(&quadrature, &values, &slopes);
            sample.note_error(phi, square_error);
            let [even, odd] = folded(&slopes);
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
        let on_whole_axis = octave.start < octaves()[WHOLE_AXIS].start;
        let quadrature = if on_whole_axis {
            quadrature(phi, octave.nodes[NODES - 1] as usize, interval.splits())
        } else {
            Quadrature::near_zero(octave.start, interval.end())
        };
        let orders = octave.orders(&quadrature, isa);
        for sample in samples {
            let (values, slopes, square_error) = quadrature.evaluate(phi, sample.r)?;
            if on_whole_axis {
                sample.average(&quadrature, &values, &slopes);
                sample.note_error(phi, square_error);
            }
            sample
                .octaves
                .push(octave.coefficients(&orders, &slopes, isa));
        }
        Ok(())
    }

    /// True if the last octave of all samples is negligible.
    pub fn are_negligible(samples: &[Self]) -> bool {
        let last = samples[0].octaves.len() - 1;
        samples.iter().all(|sample| {
            let nothing = if sample.numeric_error > 0.0 {
                NUMERIC_NOTHING
            } else {
                NOTHING
            };
            sample.held(last) < nothing
        })
    }

    /// Sets the error of φ', given the mean square of what is known of it.
    fn note_error(&mut self, phi: &dyn Smooth, square_error: f64) {
        if !phi.has_slopes() {
            let share = if self.slope_square > 0.0 {
                (square_error / self.slope_square).sqrt()
            } else {
                0.0
            };
            self.numeric_error = NUMERIC_ERROR + 2.0 * share;
        }
    }

    /// Sets `E φ`, `E φ²` and `E φ'²`, given φ(r z) and φ'(r z) at the nodes of a quadrature over the whole axis.
    fn average(&mut self, quadrature: &Quadrature, values: &[f64], slopes: &[f64]) {
        let square = |(a, b): (&f64, &f64)| a * a + b * b;
        self.mean = quadrature.mean(sides(values).map(|(a, b)| a + b));
        self.square = quadrature.mean(sides(values).map(square));
        self.slope_square = quadrature.mean(sides(slopes).map(square));
    }
}

impl Octave {
    /// The Hermite functions of the orders of this octave, as [`Continuation`] gives them.
    fn orders(
        &self,
        quadrature: &Quadrature,
        isa: Isa,
    ) -> Vec<[Block; fractional_hermite::BLOCKS]> {
        let mut orders = vec![[[0.0; WIDTH]; fractional_hermite::BLOCKS]; quadrature.nodes.len()];
        isa.run(Continuation {
            octave: self,
            nodes: &quadrature.nodes,
            weights: &quadrature.weights,
            values: &mut orders,
        });
        orders
    }

    /// The coefficients `b_m` at the nodes of this octave, times the roots of the node weights.
    fn coefficients(
        &self,
        orders: &[[Block; fractional_hermite::BLOCKS]],
        slopes: &[f64],
        isa: Isa,
    ) -> [[f64; NODES]; 2] {
        let [even, odd] = folded(slopes);
        let moments = isa.run(Moments {
            orders,
            folded: [&even, &odd],
        });
        let (even, odd) = moments.split_at(fractional_hermite::BLOCKS / 2);
        [even, odd]
            .map(|moments| std::array::from_fn(|k| self.roots[k] * moments.as_flattened()[k]))
    }
}

impl Quadrature {
    /// Returns φ(r z) and φ'(r z) at the nodes z, and then at their negatives. Last comes the mean square of the error of
    /// φ' that is known if φ is given by its values alone.
    fn evaluate(&self, phi: &dyn Smooth, r: f64) -> Result<(Vec<f64>, Vec<f64>, f64)> {
        let at = |r: f64| self.nodes.iter().map(move |z| r * z);
        let mut values: Vec<f64> = at(r).chain(at(-r)).collect();
        let mut slopes = vec![0.0; values.len()];
        phi.evaluate(&mut values, &mut slopes)?;
        if phi.has_slopes() {
            return Ok((values, slopes, 0.0));
        }
        let found = NumericSlopes::new(phi, self, r, &values)?;
        Ok((values, found.slopes, found.square_error))
    }
}

/// The values at each node z and at −z.
fn sides(values: &[f64]) -> impl Iterator<Item = (&f64, &f64)> {
    let (right, left) = values.split_at(values.len() / 2);
    right.iter().zip(left)
}

/// The sums over ±z, then the differences.
fn folded(slopes: &[f64]) -> [Vec<f64>; 2] {
    [
        sides(slopes).map(|(a, b)| a + b).collect(),
        sides(slopes).map(|(a, b)| a - b).collect(),
    ]
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

    /// An upper bound of the r in the interval, less than twice as large as they are.
    fn end(self) -> f64 {
        self.exponent
            .map_or(0.0, |exponent| libm::scalbn(1.0, exponent))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// `x/(1 + |x|)`, with jumps of φ'' and of all its even derivatives.
    #[derive(Debug)]
    struct Kinked;

    /// `log cosh x + x`, without a kink.
    #[derive(Debug)]
    struct Analytic;

    impl Smooth for Kinked {
        fn evaluate(&self, x: &mut [f64], slopes: &mut [f64]) -> Result<()> {
            for (x, slope) in x.iter_mut().zip(slopes) {
                let inverse = 1.0 / (1.0 + x.abs());
                (*x, *slope) = (*x * inverse, inverse * inverse);
            }
            Ok(())
        }
    }

    impl Smooth for Analytic {
        fn evaluate(&self, x: &mut [f64], slopes: &mut [f64]) -> Result<()> {
            for (x, slope) in x.iter_mut().zip(slopes) {
                let rest = libm::log1p(libm::exp(-2.0 * x.abs()));
                *slope = 1.0 + libm::tanh(*x);
                *x += x.abs() + rest - std::f64::consts::LN_2;
            }
            Ok(())
        }
    }

    #[test]
    fn coefficients_from_near_zero_are_those_from_the_whole_axis() {
        let functions: [&dyn Smooth; 2] = [&Kinked, &Analytic];
        for (phi, r) in functions
            .into_iter()
            .flat_map(|phi| [30.0, 900.0].map(|r| (phi, r)))
        {
            let interval = Interval::of(r);
            for octave in &octaves()[12..WHOLE_AXIS] {
                let all = Quadrature::new(octave.nodes[NODES - 1] as usize, interval.splits());
                let near = Quadrature::near_zero(octave.start, interval.end());
                assert!(near.nodes.len() < all.nodes.len());
                for isa in Isa::available() {
                    let coefficients = |quadrature: &Quadrature| {
                        let orders = octave.orders(quadrature, isa);
                        let (_, slopes, _) = quadrature.evaluate(phi, r).expect("it does not fail");
                        octave.coefficients(&orders, &slopes, isa)
                    };
                    let (exact, found) = (coefficients(&all), coefficients(&near));
                    let pairs = exact.as_flattened().iter().zip(found.as_flattened());
                    for (node, (exact, found)) in pairs.enumerate() {
                        // The round-off of sums over |φ'| ≤ 2 times he_m ≤ 1, over some thousand nodes, times the root
                        // of a node weight: √m/2.
                        let tolerance = 1e-15 * octave.start.sqrt();
                        assert!(
                            (exact - found).abs() < tolerance,
                            "{phi:?} {r} {} {node}: {exact} {found}",
                            octave.start
                        );
                    }
                }
            }
        }
    }
}
