//! The coefficients of variables: as many as the tolerance takes, interpolated between the points of their pieces.
//!
//! They are analytic in r for any φ of interest: fifteen points in a half octave leave errors of some 1e-15, and one more
//! point checks that.

use std::collections::BTreeMap;

use super::rule::Rule;
use super::samples::{POINTS, Piece, Samples};
use super::tails::{Tails, without_tail};
use crate::activation::Smooth;
use crate::dual::Truncation;
use crate::error::{Error, Result};
use crate::isa::{Block, Isa, Vector, Vectorized, WIDTH};

/// What the terms left out of an entry may add to it, in units of its scale, if [`MOST_TERMS`] are enough.
const TOLERANCE: f64 = 1e-11;

/// The most terms of a series, and the number tried first: powers of two.
pub(super) const MOST_TERMS: usize = 2048;
const FEWEST_TERMS: usize = 64;

/// The largest r: beyond it, φ(r z) varies within less than any rule here resolves.
const LARGEST_ROOT: f64 = 1_048_576.0;

/// All that pairs want to know of the variables of one piece.
#[derive(Debug)]
pub(super) struct Curve {
    /// The points r, and at them `√E φ(r z)²`, `E φ` and r in units of it.
    points: Vec<f64>,
    roots: Vec<f64>,
    means: Vec<f64>,
    scales: Vec<f64>,
    /// At each point `b_0, b_2, …`, filled up to whole blocks with zeros, then `b_1, b_3, …`.
    slopes: Vec<Vec<Block>>,
    /// How many even and odd coefficients there are.
    pub counts: [usize; 2],
    /// The number of terms after which two such variables can stop; against others they may need more.
    pub terms: usize,
    /// The number of terms that there are, and what pairs of these variables miss; pairs with others that want more
    /// terms than these have miss `cut`.
    pub kept: usize,
    pub truncation: Truncation,
    pub cut: Truncation,
}

/// One variable on its curve.
#[derive(Debug)]
pub(super) struct Variable<'a> {
    pub curve: &'a Curve,
    pub root: f64,
    pub mean: f64,
    pub scale: f64,
    slopes: Vec<Block>,
}

/// The curves of all pieces that have one of the roots r.
///
/// # Errors
/// [`Error::Invalid`] if a root is too large; those of φ.
pub(super) fn curves(phi: &dyn Smooth, r: &[f64], isa: Isa) -> Result<BTreeMap<Piece, Curve>> {
    let mut curves = BTreeMap::new();
    for r in r {
        if *r > LARGEST_ROOT {
            let message = format!(
                "the kernel of {phi:?} is a series for √Σ(x, x) up to {LARGEST_ROOT}, but {r} came. Scale the inputs \
                 or sigma_w."
            );
            return Err(Error::Invalid(message));
        }
        let piece = Piece::of(*r);
        if let std::collections::btree_map::Entry::Vacant(entry) = curves.entry(piece) {
            entry.insert(Curve::new(phi, piece, isa)?);
        }
    }
    Ok(curves)
}

impl Curve {
    fn new(phi: &dyn Smooth, piece: Piece, isa: Isa) -> Result<Self> {
        let mut terms = FEWEST_TERMS;
        loop {
            let rule = Rule::new(terms, piece.splits());
            let mut samples = Vec::new();
            for roots in piece.points().chunks(WIDTH) {
                samples.extend(Samples::quadrature(phi, &rule, roots, isa)?);
            }
            let tails: Vec<Tails> = samples
                .iter()
                .map(|one| Tails::new(one, terms == MOST_TERMS))
                .collect();
            let wanted = tails.iter().map(|tails| tails.wanted(TOLERANCE)).max();
            match wanted {
                Some(wanted) if wanted > terms && terms < MOST_TERMS => {
                    terms = wanted.min(MOST_TERMS)
                }
                _ => return Ok(Self::between(&samples, &tails, isa)),
            }
        }
    }

    /// Between these points, the last of which is a check.
    fn between(samples: &[Samples], tails: &[Tails], isa: Isa) -> Self {
        let most = |tolerance| {
            tails
                .iter()
                .map(|tails| tails.terms(tolerance))
                .max()
                .unwrap_or(0)
        };
        let (kept, terms) = (most(TOLERANCE * TOLERANCE), most(TOLERANCE));
        let parity = |sample: &Samples, parity: usize| -> Vec<f64> {
            let all = sample.slopes[..kept].iter().skip(parity).step_by(2);
            without_tail(
                all.copied().collect(),
                TOLERANCE * TOLERANCE * sample.slope_square,
            )
        };
        let count = |which| {
            samples
                .iter()
                .map(|sample| parity(sample, which).len())
                .max()
                .unwrap_or(0)
        };
        // A series that has not ended by the last term gets one more, with all that is left: what it makes of a variable
        // and itself is right then.
        let endless = tails.iter().any(|tails| tails.slope[kept] > TOLERANCE);
        let counts = if endless {
            [MOST_TERMS / 2 + 1, MOST_TERMS / 2]
        } else {
            [count(0), count(1)]
        };
        let layout = |sample: &Samples| {
            let slope = |m: usize| sample.slopes.get(m).copied().unwrap_or(0.0);
            let blocks = |parity: usize| {
                (0..counts[parity].div_ceil(WIDTH)).map(move |block| {
                    std::array::from_fn(|lane| {
                        let k = block * WIDTH + lane;
                        if k < counts[parity] {
                            slope(2 * k + parity)
                        } else {
                            0.0
                        }
                    })
                })
            };
            blocks(0).chain(blocks(1)).collect()
        };
        let most_tail = |of: fn(&Tails) -> &[f64], terms: usize| {
            tails
                .iter()
                .map(|tails| of(tails)[terms])
                .fold(0.0, f64::max)
        };
        let tail = |terms: usize| Truncation {
            value: most_tail(|tails| &tails.value, terms),
            slope: most_tail(|tails| &tails.slope, terms),
        };
        let whole = tail(kept);
        let mut curve = Self {
            points: samples.iter().map(|sample| sample.r).collect(),
            roots: tails.iter().map(|tails| tails.root).collect(),
            means: tails.iter().map(|tails| tails.mean).collect(),
            scales: tails.iter().map(|tails| tails.scale).collect(),
            slopes: samples.iter().map(layout).collect(),
            counts,
            terms,
            kept,
            truncation: tail(terms),
            cut: Truncation {
                value: whole.value.sqrt(),
                slope: whole.slope.sqrt(),
            },
        };
        curve.check(isa);
        if endless {
            (curve.terms, curve.kept) = (MOST_TERMS + 1, MOST_TERMS + 1);
            for (slopes, tails) in curve.slopes.iter_mut().zip(tails) {
                slopes[MOST_TERMS / 2 / WIDTH][0] = tails.beyond;
            }
        }
        curve
    }

    /// Compares the last point with what the others make of it, and forgets it.
    fn check(&mut self, isa: Isa) {
        let r = self.points.pop();
        let exact = self.slopes.pop();
        for values in [&mut self.roots, &mut self.means, &mut self.scales] {
            values.pop();
        }
        let (Some(r), Some(exact)) = (r, exact) else {
            return;
        };
        let found = self.at(r, isa);
        let square = |blocks: &[Block]| blocks.as_flattened().iter().map(|b| b * b).sum::<f64>();
        let differences = found.slopes.iter().zip(&exact);
        let differences: Vec<Block> = differences
            .map(|(a, b)| std::array::from_fn(|lane| a[lane] - b[lane]))
            .collect();
        if square(&exact) > 0.0 {
            let error = (square(&differences) / square(&exact)).sqrt();
            for truncation in [&mut self.truncation, &mut self.cut] {
                truncation.value += 2.0 * error;
                truncation.slope += 2.0 * error;
            }
        }
    }

    /// The variable of root r.
    pub fn at(&self, r: f64, isa: Isa) -> Variable<'_> {
        let weights = self.weights(r);
        let sum = |values: &[f64]| {
            values
                .iter()
                .zip(&weights)
                .map(|(value, weight)| value * weight)
                .sum()
        };
        let mut slopes = vec![[0.0; WIDTH]; self.slopes[0].len()];
        isa.run(Combine {
            weights: &weights,
            points: &self.slopes,
            sums: &mut slopes,
        });
        Variable {
            curve: self,
            root: sum(&self.roots),
            mean: sum(&self.means),
            scale: sum(&self.scales),
            slopes,
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
            let sign = if j % 2 == 0 { 1.0 } else { -1.0 };
            let half = if j == 0 || j == POINTS - 1 { 0.5 } else { 1.0 };
            *weight = sign * half * (self.points[0] / (r - point));
        }
        let sum: f64 = weights.iter().sum();
        weights.map(|weight| weight / sum)
    }
}

impl Variable<'_> {
    /// `b_0, b_2, …` or `b_1, b_3, …`
    pub fn slopes(&self, parity: usize) -> &[f64] {
        let start = if parity == 0 {
            0
        } else {
            self.curve.counts[0].div_ceil(WIDTH)
        };
        &self.slopes[start..].as_flattened()[..self.curve.counts[parity]]
    }
}

/// Sums of the slopes at points.
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
            for (weight, slopes) in self.weights.iter().zip(self.points) {
                sum = V::splat(*weight).mul_add(V::load(&slopes[index]), sum);
            }
            sum.store(result);
        }
    }
}
