//! The coefficients of variables, interpolated between the points of their intervals.
//!
//! Pairs want those of φ in units of its root: `â_n = r/√n b_{n−1}/√E φ²`, so that `T = Σ â_n â_n' ρⁿ` in units of both.
//! They are analytic in r for any φ of interest: fifteen points in a half octave leave errors of some 1e-15, and one more
//! point checks that.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::expansion::Expansion;
use super::kink_tail::{Fit, POWERS, PowerLaw};
use super::octaves::{DIRECT, MOST_OCTAVES, NODES, octaves};
use super::samples::{Interval, POINTS, Samples};
use crate::activations::activation::Smooth;
use crate::error::{Error, Result};
use crate::isa::{Block, Isa, Vector, Vectorized, WIDTH};

/// An octave that holds less than this share of `E φ'²` ends a series: products with any other are round-off.
const NOTHING: f64 = 1e-28;

/// What a law may miss of `E φ'²`. Extrapolation makes some ten times as much of it.
const MISSED: f64 = 1e-16;

/// A series goes on while more than this is missing, however little the last octave holds.
const TOLERANCE: f64 = 1e-10;

/// The largest r: beyond it, φ(r z) varies within less than any rule here resolves.
const LARGEST_ROOT: f64 = 1_048_576.0;

/// Where a list of coefficients has those below [`DIRECT`] and those of the octaves; before are the laws.
pub(super) const DIRECT_AT: usize = 2 * POWERS;
pub(super) const OCTAVES_AT: usize = DIRECT_AT + DIRECT;

/// How long a list of coefficients with so many octaves is.
pub(super) fn length(octaves: usize) -> usize {
    OCTAVES_AT + 2 * NODES * octaves
}

/// `n = m + 1` of the entries of a list; 1 for the laws.
fn indices() -> impl Iterator<Item = f64> {
    let direct = |parity: usize| (0..DIRECT / 2).map(move |k| (2 * k + parity + 1) as f64);
    let beyond = octaves().iter().flat_map(|octave| octave.indices).flatten();
    std::iter::repeat_n(1.0, DIRECT_AT)
        .chain(direct(0))
        .chain(direct(1))
        .chain(beyond)
}

/// All that pairs want to know of the variables of one interval.
#[derive(Debug)]
pub(super) struct Curve {
    /// The points r, and at them `√E φ(r z)²`, `E φ` in units of it, and it in units of r.
    points: Vec<f64>,
    roots: Vec<f64>,
    means: Vec<f64>,
    slopes: Vec<f64>,
    /// At each point the laws, which are without the factor 1/√n, the coefficients below [`DIRECT`] and those of each
    /// octave; those of even order first.
    lists: Vec<Vec<Block>>,
    /// The number of octaves.
    pub octaves: usize,
    /// The number of terms after which two such variables can stop; infinite where a law goes on.
    pub terms: f64,
    /// What is missing of T or Ṫ at each point, as a share, and the error of the coefficients between them.
    missing: Vec<f64>,
    error: f64,
}

/// One variable on its curve.
#[derive(Debug)]
pub(super) struct CurveVariable<'a> {
    pub curve: &'a Curve,
    pub root: f64,
    pub mean: f64,
    pub slope: f64,
    list: Vec<Block>,
}

/// The curves of all intervals that have one of the roots r.
///
/// # Errors
/// [`Error::Invalid`] if a root is too large; those of φ.
pub(super) fn curves(
    phi: &dyn Smooth,
    r: impl Iterator<Item = f64>,
    isa: Isa,
) -> Result<BTreeMap<Interval, Curve>> {
    let mut curves = BTreeMap::new();
    for r in r {
        if r > LARGEST_ROOT {
            let message = format!(
                "the kernel of {phi:?} is a series for √Σ(x, x) up to {LARGEST_ROOT}, but {r} came. Scale the inputs \
                 or sigma_w."
            );
            return Err(Error::Invalid(message));
        }
        if let Entry::Vacant(entry) = curves.entry(Interval::of(r)) {
            entry.insert(Curve::new(phi, Interval::of(r), isa)?);
        }
    }
    Ok(curves)
}

/// Laws of all samples, and what they miss of `E φ'²` at most.
fn laws(samples: &[Samples]) -> (Vec<PowerLaw<f64>>, f64) {
    let count = samples[0].octaves.len();
    let window = count - Fit::OCTAVES..count;
    let fit = Fit::new(&octaves()[window.clone()]);
    let mut most = 0.0_f64;
    let mut law = |sample: &Samples| {
        let both = [0, 1].map(|parity| fit.law(&sample.octaves[window.clone()], parity));
        let held = sample.held(count - 1);
        // An error d of coefficients b is one of 2bd of a sum of squares.
        let missed = (both[0].1 + both[1].1) / sample.slope_square;
        most = most.max((missed * held).sqrt()).max(missed);
        both.map(|(law, _)| law)
    };
    let laws = samples.iter().map(&mut law).collect();
    (laws, if most.is_nan() { f64::INFINITY } else { most })
}

impl Curve {
    fn new(phi: &dyn Smooth, interval: Interval, isa: Isa) -> Result<Self> {
        let mut samples = Samples::direct(phi, interval, isa)?;
        let none = [[0.0; POWERS]; 2];
        let missing = |samples: &[Samples], laws: &[PowerLaw<f64>]| {
            let all = samples.iter().zip(laws);
            all.map(|(sample, law)| Expansion::new(sample, law).missing)
                .fold(0.0, f64::max)
        };
        let without = vec![none; samples.len()];
        for (index, octave) in octaves().iter().enumerate() {
            Samples::extend(&mut samples, octave, phi, interval, isa)?;
            let negligible = samples.iter().all(|sample| sample.held(index) < NOTHING);
            if negligible && missing(&samples, &without) < TOLERANCE {
                samples
                    .iter_mut()
                    .for_each(|sample| sample.octaves.truncate(index));
                break;
            }
            if index + 1 < Fit::OCTAVES {
                continue;
            }
            let (laws, missed) = laws(&samples);
            let last = index + 1 == MOST_OCTAVES;
            let better = || missing(&samples, &laws) < missing(&samples, &without);
            if missed < MISSED || last && better() {
                return Ok(Self::between(&samples, &laws, isa));
            }
        }
        Ok(Self::between(&samples, &without, isa))
    }

    /// Between these points, the last of which is a check.
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

    /// Compares the last point with what the others make of it, and forgets it.
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

    /// What is missing of T or Ṫ at r, as a share: no more than at the points next to it. The first point is the largest.
    pub fn missing(&self, r: f64) -> f64 {
        let above = self.points.partition_point(|point| *point >= r);
        let next = above.saturating_sub(1)..(above + 1).min(self.missing.len());
        self.missing[next].iter().copied().fold(0.0, f64::max) + self.error
    }

    /// The variable of root r.
    pub fn at(&self, r: f64, isa: Isa) -> CurveVariable<'_> {
        self.combined(&self.weights(r), isa)
    }

    /// The derivatives of its numbers with respect to log r.
    pub fn slopes_at(&self, r: f64, isa: Isa) -> CurveVariable<'_> {
        let (weights, mut slopes) = (self.weights(r), [0.0; POINTS]);
        for (weight, row) in weights.iter().zip(self.differentiation()) {
            for (slope, entry) in slopes.iter_mut().zip(row) {
                *slope += r * weight * entry;
            }
        }
        self.combined(&slopes, isa)
    }

    /// Sums of the numbers at the points.
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

    /// Those of the barycentric formula for Chebyshev points with the ends (Berrut & Trefethen 2004).
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

    /// What numbers at the points are multiplied with for their derivatives at the points, row by row.
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

/// The weight of a Chebyshev point in the barycentric formula.
fn chebyshev_weight(index: usize) -> f64 {
    let sign = if index.is_multiple_of(2) { 1.0 } else { -1.0 };
    let is_end = index == 0 || index == POINTS - 1;
    if is_end { 0.5 * sign } else { sign }
}

impl CurveVariable<'_> {
    /// The laws, the coefficients below [`DIRECT`] and those of each octave.
    pub fn list(&self) -> &[f64] {
        &self.list.as_flattened()[..length(self.curve.octaves)]
    }
}

/// Sums of the lists at points.
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
