//! Expansion coefficients as functions of r, interpolated between the points of an interval.
//!
//! Pairs use the coefficients of φ divided by `√E φ²`: `â_n = r/√n b_{n−1}/√E φ²`. Then `T = Σ â_n â_n' ρⁿ`, in units
//! of the product of both roots `√E φ²`. The coefficients are analytic in r for any φ of interest. Fifteen points in a
//! half octave of r leave errors of about 1e-15, and one more point measures the error.

use std::collections::{BTreeMap, BTreeSet};

use super::expansion::Expansion;
use super::kink_tail::{Fit, POWERS, PowerLaw};
use super::octaves::{DIRECT, NODES, WHOLE_AXIS, octaves};
use super::samples::{Interval, POINTS, Samples};
use crate::activations::activation::Smooth;
use crate::engine::pool::{self, Load, Watch};
use crate::error::{Error, Result, Shortest};
use crate::isa::{Block, Isa, Vector, Vectorized, WIDTH};
use crate::math::double_double::DoubleDouble;

/// The largest error at which a fitted power law is accepted, as a share of `E φ'²`. Extrapolation makes the error
/// about ten times larger.
const MISSED: f64 = 1e-16;

/// The largest missing share at which a series can end. While more is missing, the series continues, however little the
/// last octave holds.
const TOLERANCE: f64 = 1e-10;

/// The largest missing share at which a series needs no octaves beyond those of [`WHOLE_AXIS`].
const ENOUGH: f64 = 1e-12;

/// The largest r that is accepted. Above it, φ(r z) varies too fast in z for the quadrature rules used here.
const LARGEST_ROOT: f64 = 1_048_576.0;

/// The position in a coefficient list of the coefficients below [`DIRECT`]. The power laws come before them.
pub(super) const DIRECT_AT: usize = 2 * POWERS;
/// The position in a coefficient list of the coefficients of the octaves.
pub(super) const OCTAVES_AT: usize = DIRECT_AT + DIRECT;

/// The length of a coefficient list with this number of octaves.
pub(super) fn length(octaves: usize) -> usize {
    OCTAVES_AT + 2 * NODES * octaves
}

/// The index `n = m + 1` of each entry of a coefficient list; 1 for entries of the power laws.
fn indices() -> impl Iterator<Item = f64> {
    let direct = |parity: usize| (0..DIRECT / 2).map(move |k| (2 * k + parity + 1) as f64);
    let beyond = octaves().iter().flat_map(|octave| octave.indices).flatten();
    std::iter::repeat_n(1.0, DIRECT_AT)
        .chain(direct(0))
        .chain(direct(1))
        .chain(beyond)
}

/// Expansion coefficients of all variables in one interval of r, interpolated.
#[derive(Debug)]
pub(super) struct Curve {
    /// The interpolation points r, in descending order. The next three fields hold one number for each of them.
    points: Vec<f64>,
    /// `√E φ(r z)²`.
    roots: Vec<f64>,
    /// `E φ/√E φ²`.
    means: Vec<f64>,
    /// `√E φ²/r`.
    slopes: Vec<f64>,
    /// The coefficient list of each point: the power laws, which lack the factor 1/√n, then the coefficients below
    /// [`DIRECT`], then the coefficients of each octave. In each of these parts, even orders precede odd ones.
    lists: Vec<Vec<Block>>,
    pub octaves: usize,
    /// The number of terms that a pair of such variables needs. Infinite if a power law continues the series.
    pub terms: f64,
    /// The share of T or Ṫ that the series misses at each point.
    missing: Vec<f64>,
    /// The error of T or Ṫ, as a share, that comes from interpolating the coefficients between the points.
    error: f64,
}

/// The numbers of one variable, or their derivatives, interpolated from the curve of its interval.
#[derive(Debug)]
pub(super) struct CurveVariable<'a> {
    pub curve: &'a Curve,
    pub root: f64,
    pub mean: f64,
    pub slope: f64,
    list: Vec<Block>,
}

/// Builds the curve of every interval that contains one of the given r.
///
/// # Errors
/// [`Error::Invalid`] if an r is above [`LARGEST_ROOT`], any error of evaluating φ, and [`Error::Cancelled`].
pub(super) fn curves(
    phi: &dyn Smooth,
    r: &[DoubleDouble],
    isa: Isa,
    watch: &mut Watch<'_>,
) -> Result<BTreeMap<Interval, Curve>> {
    let mut intervals = BTreeSet::new();
    for r in r.iter().map(|r| r.hi) {
        if r > LARGEST_ROOT {
            let message = format!(
                "the kernel of {phi:?} is a series for √Σ(x, x) up to {}, but {} came. Scale the inputs or sigma_w.",
                Shortest(LARGEST_ROOT),
                Shortest(r)
            );
            return Err(Error::Invalid(message));
        }
        intervals.insert(Interval::of(r));
    }
    let curve = |interval: &Interval| Ok((*interval, Curve::new(phi, *interval, isa)?));
    if !phi.is_user_supplied() {
        let load = Load::new(intervals.len(), CURVE * intervals.len() as f64);
        let curves = pool::map(intervals.iter(), load, watch, |interval, _| curve(interval))?;
        return curves.into_iter().collect();
    }
    let (mut curves, count) = (BTreeMap::new(), intervals.len());
    for (index, interval) in intervals.iter().enumerate() {
        curves.extend([curve(interval)?]);
        if watch(index + 1, count).is_break() {
            return Err(Error::Cancelled);
        }
    }
    Ok(curves)
}

/// Estimated cycles of building a curve.
const CURVE: f64 = 2e6;

/// The largest missing share of several samples that these power laws continue.
fn missing(samples: &[Samples], laws: &[PowerLaw<f64>]) -> f64 {
    let all = samples.iter().zip(laws);
    let shares = all.map(|(sample, law)| Expansion::new(sample, law).missing);
    shares.fold(0.0, f64::max)
}

/// Fits power laws to the last octaves of all samples. Also returns their largest error, as a share of `E φ'²`.
fn fitted(samples: &[Samples]) -> (Vec<PowerLaw<f64>>, f64) {
    let count = samples[0].octaves.len();
    let window = count - Fit::OCTAVES..count;
    let fit = Fit::new(&octaves()[window.clone()]);
    let mut most = 0.0_f64;
    let mut law = |sample: &Samples| {
        let both = [0, 1].map(|parity| fit.law(&sample.octaves[window.clone()], parity));
        let held = sample.held(count - 1);
        // An error d of a coefficient b changes b² by about 2bd.
        let missed = (both[0].1 + both[1].1) / sample.slope_square;
        most = most.max((missed * held).sqrt()).max(missed);
        both.map(|(law, _)| law)
    };
    let laws = samples.iter().map(&mut law).collect();
    (laws, if most.is_nan() { f64::INFINITY } else { most })
}

/// Returns power laws that continue all samples with a negligible error, if there are any.
fn continuation(samples: &[Samples]) -> Option<Vec<PowerLaw<f64>>> {
    if samples[0].octaves.len() < Fit::OCTAVES {
        return None;
    }
    let (laws, missed) = fitted(samples);
    (missed < MISSED).then_some(laws)
}

/// Returns the fitted power laws or no laws, whichever misses less, and the share that it misses.
fn best(samples: &[Samples], without: &[PowerLaw<f64>]) -> (Vec<PowerLaw<f64>>, f64) {
    let ((laws, _), ended) = (fitted(samples), missing(samples, without));
    let continued = missing(samples, &laws);
    if continued < ended {
        (laws, continued)
    } else {
        (without.to_vec(), ended)
    }
}

/// Removes the last octave of all samples.
fn shorten(samples: &mut [Samples]) {
    for sample in samples {
        sample.octaves.pop();
    }
}

impl Curve {
    fn new(phi: &dyn Smooth, interval: Interval, isa: Isa) -> Result<Self> {
        let mut samples = Samples::direct(phi, interval, isa)?;
        let without = vec![[[0.0; POWERS]; 2]; samples.len()];
        let (on_whole_axis, near_zero) = octaves().split_at(WHOLE_AXIS);
        for octave in on_whole_axis {
            Samples::extend(&mut samples, octave, phi, interval, isa)?;
            if Samples::are_negligible(&samples) && missing(&samples, &without) < TOLERANCE {
                shorten(&mut samples);
                return Ok(Self::between(&samples, &without, isa));
            }
            if let Some(laws) = continuation(&samples) {
                return Ok(Self::between(&samples, &laws, isa));
            }
        }
        let (mut laws, least) = best(&samples, &without);
        if least > ENOUGH {
            let mut longer = samples.clone();
            for octave in near_zero {
                Samples::extend(&mut longer, octave, phi, interval, isa)?;
                if Samples::are_negligible(&longer) {
                    shorten(&mut longer);
                    break;
                }
                if continuation(&longer).is_some() {
                    break;
                }
            }
            // Coefficients from near 0 are wrong if φ' oscillates or jumps far away from 0.
            let (more, left) = best(&longer, &without);
            if left < least {
                (samples, laws) = (longer, more);
            }
        }
        Ok(Self::between(&samples, &laws, isa))
    }

    /// Builds the curve through these samples, of which the last only checks the interpolation.
    fn between(samples: &[Samples], laws: &[PowerLaw<f64>], isa: Isa) -> Self {
        let all = samples.iter().zip(laws);
        let expansions: Vec<Expansion> = all
            .clone()
            .map(|(sample, law)| Expansion::new(sample, law))
            .collect();
        let list = |((sample, law), expansion): ((&Samples, &PowerLaw<f64>), &Expansion)| {
            let octaves = sample.octaves.as_flattened().as_flattened();
            let values = law
                .as_flattened()
                .iter()
                .chain(&sample.direct)
                .chain(octaves);
            let mut list = vec![[0.0; WIDTH]; length(sample.octaves.len()).div_ceil(WIDTH)];
            let places = list.as_flattened_mut().iter_mut().zip(indices());
            for ((place, index), value) in places.zip(values) {
                *place = expansion.scale * value / index.sqrt();
            }
            list
        };
        let terms = expansions.iter().map(|expansion| expansion.terms);
        let mut curve = Self {
            points: samples.iter().map(|sample| sample.r).collect(),
            roots: expansions.iter().map(|expansion| expansion.root).collect(),
            means: expansions.iter().map(|expansion| expansion.mean).collect(),
            slopes: expansions.iter().map(Expansion::slope).collect(),
            lists: all.zip(&expansions).map(list).collect(),
            octaves: samples[0].octaves.len(),
            terms: terms.fold(0.0, f64::max),
            missing: expansions
                .iter()
                .map(|expansion| expansion.missing)
                .collect(),
            error: 0.0,
        };
        curve.check(isa);
        curve
    }

    /// Removes the last point, and takes the interpolation error from its coefficients and the interpolated ones.
    fn check(&mut self, isa: Isa) {
        let (r, exact) = (self.points.pop(), self.lists.pop());
        for values in [
            &mut self.roots,
            &mut self.means,
            &mut self.slopes,
            &mut self.missing,
        ] {
            values.pop();
        }
        let (Some(r), Some(exact)) = (r, exact) else {
            return;
        };
        let found = self.at(r, isa);
        let pairs = found.list().iter().zip(exact.as_flattened()).zip(indices());
        let (mut error, mut whole) = (0.0, 0.0);
        for ((a, b), index) in pairs.skip(DIRECT_AT) {
            error += (a - b) * (a - b) * index;
            whole += b * b * index;
        }
        if whole > 0.0 {
            self.error = 2.0 * f64::sqrt(error / whole);
        }
    }

    /// The share of T or Ṫ that is missing at r: the larger one at the points on both sides of r, plus the
    /// interpolation error.
    pub fn missing(&self, r: f64) -> f64 {
        let above = self.points.partition_point(|point| *point >= r);
        let next = above.saturating_sub(1)..(above + 1).min(self.missing.len());
        self.missing[next].iter().copied().fold(0.0, f64::max) + self.error
    }

    /// Interpolates the numbers of the variable N(0, r²).
    pub fn at(&self, r: f64, isa: Isa) -> CurveVariable<'_> {
        self.combined(&self.weights(r), isa)
    }

    /// Interpolates the derivatives of these numbers with respect to log r.
    pub fn slopes_at(&self, r: f64, isa: Isa) -> CurveVariable<'_> {
        let (weights, mut slopes) = (self.weights(r), [0.0; POINTS]);
        for (weight, row) in weights.iter().zip(self.differentiation()) {
            for (slope, entry) in slopes.iter_mut().zip(row) {
                *slope += r * weight * entry;
            }
        }
        self.combined(&slopes, isa)
    }

    /// Adds up the numbers at the points, multiplied by these weights.
    fn combined(&self, weights: &[f64; POINTS], isa: Isa) -> CurveVariable<'_> {
        let sum = |values: &[f64]| {
            let products = values.iter().zip(weights);
            products.map(|(value, weight)| value * weight).sum()
        };
        let mut list = vec![[0.0; WIDTH]; self.lists[0].len()];
        isa.run(Combine {
            weights,
            points: &self.lists,
            sums: &mut list,
        });
        CurveVariable {
            curve: self,
            root: sum(&self.roots),
            mean: sum(&self.means),
            slope: sum(&self.slopes),
            list,
        }
    }

    /// The interpolation weights of all points at r, by the barycentric formula for Chebyshev points that include the
    /// ends (Berrut & Trefethen 2004).
    fn weights(&self, r: f64) -> [f64; POINTS] {
        let mut weights = [0.0; POINTS];
        if let Some(found) = self.points.iter().position(|point| *point == r) {
            weights[found] = 1.0;
            return weights;
        }
        for (j, (weight, point)) in weights.iter_mut().zip(&self.points).enumerate() {
            *weight = chebyshev_weight(j) * (self.points[0] / (r - point));
        }
        let sum: f64 = weights.iter().sum();
        weights.map(|weight| weight / sum)
    }

    /// The differentiation matrix: multiplied by values at the points, it gives the derivatives in r at the points.
    fn differentiation(&self) -> [[f64; POINTS]; POINTS] {
        let mut matrix = [[0.0; POINTS]; POINTS];
        let points = self.points.iter().enumerate();
        for ((j, point), row) in points.clone().zip(&mut matrix) {
            for (k, other) in points.clone().filter(|(k, _)| *k != j) {
                row[k] = chebyshev_weight(k) / chebyshev_weight(j) / (point - other);
                row[j] -= row[k];
            }
        }
        matrix
    }
}

/// The barycentric weight of a Chebyshev point.
fn chebyshev_weight(index: usize) -> f64 {
    let sign = if index.is_multiple_of(2) { 1.0 } else { -1.0 };
    let is_end = index == 0 || index == POINTS - 1;
    if is_end { 0.5 * sign } else { sign }
}

impl CurveVariable<'_> {
    /// The coefficient list: the power laws, the coefficients below [`DIRECT`], and the coefficients of each octave.
    pub fn list(&self) -> &[f64] {
        &self.list.as_flattened()[..length(self.curve.octaves)]
    }
}

/// Computes the weighted sum of the coefficient lists of all points.
struct Combine<'a> {
    weights: &'a [f64],
    points: &'a [Vec<Block>],
    sums: &'a mut [Block],
}

impl Vectorized for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for (index, result) in self.sums.iter_mut().enumerate() {
            let mut sum = V::splat(0.0);
            for (weight, list) in self.weights.iter().zip(self.points) {
                sum = V::splat(*weight).mul_add(V::load(&list[index]), sum);
            }
            sum.store(result);
        }
    }
}
