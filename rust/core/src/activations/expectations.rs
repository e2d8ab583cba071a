//! Expectations of one activation over pairs of Gaussian variables, each pair given by three numbers: the variances and
//! the covariance.
//!
//! The gap of a pair is computed from products without rounding errors: with `D = q1 q2 − c²`,
//!
//! ```text
//! 1 − |ρ| = D/(√(q1 q2) (√(q1 q2) + |c|))
//! ```

use std::ops::Range;

use crate::activations::activation::Activation;
use crate::activations::bias::correlation;
use crate::activations::dual::{Description, Dual};
use crate::activations::features::Variables;
use crate::engine::pool::{self, Load, Stages, Stop, Watch};
use crate::error::{Error, Result, Shortest};
use crate::isa::{Isa, WIDTH};
use crate::math::double_double::{DoubleDouble, two_product};

/// `T = E φ(u)φ(v)` and `Ṫ = E φ'(u)φ'(v)` of several pairs.
#[derive(Clone, Debug, Default)]
pub struct Expectations {
    /// T of each pair.
    pub values: Vec<f64>,
    /// Ṫ of each pair.
    pub slopes: Vec<f64>,
    /// The truncation error, round-off excluded, as a share of `√(T(u,u) T(v,v))` and of `√(Ṫ(u,u) Ṫ(v,v))`.
    pub missing: f64,
}

/// Pairs of variables: their variances q1 and q2, and their covariances c. The three lists have one length.
#[derive(Clone, Copy, Debug)]
pub struct GaussianPairs<'a> {
    /// q1 of each pair.
    pub first: &'a [f64],
    /// q2 of each pair.
    pub second: &'a [f64],
    /// c of each pair.
    pub covariances: &'a [f64],
}

/// The number of pairs whose variables are described at a time: features of series take kilobytes per variable.
const BATCH: usize = 1 << 12;

/// The variance that stands for smaller ones in Ṫ. Features do not describe φ' at the constant 0, and Ṫ in units of its
/// diagonal would overflow near it.
const SMALLEST: f64 = 1e-140;

/// The number of pairs that one thread computes at a time.
const BAND: usize = 256;

/// Returns the expectations of an activation over `pairs`, whose numbers are finite.
///
/// A variable with a variance of 0 is the constant 0. If φ has a kink there, φ' counts as the mean of both sides: Ṫ is the
/// limit of small variances.
///
/// # Errors
/// [`Error::Invalid`] if the activation has no expectations, a variance is negative, a covariance exceeds `√(q1 q2)` by
/// more than rounding, or a result exceeds the range of `f64`; as [`Dual::describe`].
///
/// # Panics
/// If the lists differ in length.
pub fn expectations(
    activation: &dyn Activation,
    pairs: GaussianPairs<'_>,
    watch: &mut Watch<'_>,
) -> Result<Expectations> {
    let len = pairs.covariances.len();
    assert!(pairs.first.len() == len && pairs.second.len() == len);
    let dual = activation.dual().ok_or_else(|| {
        Error::Invalid(format!("{activation:?} has no expectations in closed form"))
    })?;
    let mut result = Expectations {
        values: vec![0.0; len],
        slopes: vec![0.0; len],
        missing: 0.0,
    };
    let batches: Vec<_> = (0..len).step_by(BATCH).collect();
    let shares = vec![1.0; batches.len()];
    let mut stages = Stages::new(watch, &shares);
    for start in batches {
        let range = start..len.min(start + BATCH);
        stages.next(|watch| result.fill(dual, pairs, range, watch))?;
    }
    Ok(result)
}

impl Expectations {
    /// Computes the pairs of a range.
    fn fill(
        &mut self,
        dual: &dyn Dual,
        pairs: GaussianPairs<'_>,
        range: Range<usize>,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let mut stages = Stages::new(watch, &[10.0, 1.0]);
        let batch = stages.next(|watch| DescribedPairs::new(dual, pairs, range.clone(), watch))?;
        self.missing = self.missing.max(batch.description.missing);
        let isa = Isa::current()?;
        let values = self.values[range.clone()].chunks_mut(BAND);
        let targets = values.zip(self.slopes[range.clone()].chunks_mut(BAND));
        let cycles = WIDTH as f64 * dual.cycles() * range.len() as f64;
        let load = Load::new(range.len().div_ceil(BAND), cycles);
        let work =
            |(): &mut (), (band, (values, slopes)): (usize, (&mut [f64], &mut [f64])), _: &Stop| {
                let pairs = values
                    .iter_mut()
                    .zip(slopes)
                    .zip(&batch.pairs[band * BAND..]);
                for ((value, slope), pair) in pairs {
                    [*value, *slope] = batch.pair(dual, isa, pair);
                }
            };
        stages.next(|watch| pool::for_each(targets.enumerate(), load, watch, || (), work))?;
        let results = self.values[range.clone()].iter().zip(&self.slopes[range]);
        let mut bad = results
            .zip(&batch.pairs)
            .filter(|((value, slope), _)| !(value.is_finite() && slope.is_finite()));
        match bad.next() {
            None => Ok(()),
            Some((_, pair)) => {
                let [first, second] = pair.variables.map(|index| batch.variances[index]);
                Err(too_large(first.max(second)))
            }
        }
    }
}

/// A pair of variables, by their indices, and its gap.
struct IndexedPair {
    variables: [usize; 2],
    gap: f64,
}

/// The pairs of a batch, and the description of their variables.
struct DescribedPairs {
    /// The different variances, in ascending order.
    variances: Vec<f64>,
    /// The index of the least variance that Ṫ is computed with.
    smallest: usize,
    description: Description,
    pairs: Vec<IndexedPair>,
}

impl DescribedPairs {
    fn new(
        dual: &dyn Dual,
        pairs: GaussianPairs<'_>,
        range: Range<usize>,
        watch: &mut Watch<'_>,
    ) -> Result<Self> {
        let [first, second, covariances] =
            [pairs.first, pairs.second, pairs.covariances].map(|list| &list[range.clone()]);
        let mut variances = [first, second].concat();
        if let Some(q) = variances.iter().find(|q| **q < 0.0) {
            let message = format!(
                "q1 or q2 holds {}, but a variance must be >= 0",
                Shortest(*q)
            );
            return Err(Error::Invalid(message));
        }
        if variances.iter().any(|q| *q < SMALLEST) {
            variances.push(SMALLEST);
        }
        variances.sort_unstable_by(f64::total_cmp);
        variances.dedup();
        let numbers = first.iter().zip(second).zip(covariances);
        let index = |q: f64| variances.partition_point(|other| *other < q);
        let described = numbers.map(|((q1, q2), c)| {
            let (variables, gap) = ([index(*q1), index(*q2)], gap(*q1, *q2, *c)?);
            Ok(IndexedPair { variables, gap })
        });
        let described = described.collect::<Result<_>>()?;
        let roots: Vec<_> = variances
            .iter()
            .map(|q| DoubleDouble::from(*q).sqrt())
            .collect();
        let description = dual.describe(&roots, watch)?;
        if let Some(index) = description
            .roots
            .iter()
            .position(|root| !root.hi.is_finite())
        {
            return Err(too_large(variances[index]));
        }
        Ok(Self {
            smallest: variances.partition_point(|q| *q < SMALLEST),
            variances,
            description,
            pairs: described,
        })
    }

    /// T and Ṫ of one pair.
    fn pair(&self, dual: &dyn Dual, isa: Isa, pair: &IndexedPair) -> [f64; 2] {
        let IndexedPair { variables, gap } = *pair;
        let [value, slope] = self.step(dual, isa, variables, gap);
        let larger = variables.map(|index| index.max(self.smallest));
        if larger == variables {
            return [value, slope];
        }
        [value, self.step(dual, isa, larger, gap)[1]]
    }

    /// T and Ṫ of two variables. The whole block of the second one is computed, and one of its lanes is used.
    fn step(&self, dual: &dyn Dual, isa: Isa, [first, second]: [usize; 2], gap: f64) -> [f64; 2] {
        let Description {
            roots, features, ..
        } = &self.description;
        let (block, lane) = (second / WIDTH, second % WIDTH);
        let variables = Variables {
            rows: features,
            row: first,
            cols: features,
            blocks: block..block + 1,
        };
        let (mut gaps, mut dots) = ([[gap; WIDTH]], [[0.0; WIDTH]]);
        dual.step(isa, variables, &mut gaps, &mut dots);
        let value = roots[first].hi * roots[second].hi * correlation(gaps[0][lane]);
        [value, dots[0][lane]]
    }
}

/// The error for a pair whose larger variance is q.
fn too_large(q: f64) -> Error {
    let message = format!(
        "T or its derivative exceeds the range of float64 where a variance is {}",
        Shortest(q)
    );
    Error::Invalid(message)
}

/// `1 − |ρ|` with the sign of c. It is 1 if a variance is 0.
///
/// # Errors
/// [`Error::Invalid`] if `|c|` exceeds `√(q1 q2)` by more than the share [`EXCESS`].
fn gap(q1: f64, q2: f64, c: f64) -> Result<f64> {
    if c == 0.0 {
        return Ok(1.0_f64.copysign(c));
    }
    // Powers of two bring q1 and q2 to [1/2, 2). Then nothing below overflows or underflows.
    let [half1, half2] = [q1, q2].map(|q| libm::frexp(q).1.div_euclid(2));
    let (m1, m2) = (libm::scalbn(q1, -2 * half1), libm::scalbn(q2, -2 * half2));
    let k = libm::scalbn(c.abs(), -half1 - half2);
    let ((product, rest), (square, square_rest)) = (two_product(m1, m2), two_product(k, k));
    let difference = (product - square) + (rest - square_rest);
    let root = product.sqrt();
    if k > root * (1.0 + EXCESS) || product == 0.0 {
        let message = format!(
            "c is {} where q1 is {} and q2 is {}, but |c| must be at most √(q1 q2) = {}",
            Shortest(c),
            Shortest(q1),
            Shortest(q2),
            Shortest(q1.sqrt() * q2.sqrt())
        );
        return Err(Error::Invalid(message));
    }
    let gap = difference / (root * (root + k));
    Ok(gap.clamp(0.0, 1.0).copysign(c))
}

/// The largest share by which `|c|` may exceed `√(q1 q2)`, as a result of rounding. It then counts as `√(q1 q2)`.
const EXCESS: f64 = 64.0 * f64::EPSILON;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activations::catalogue::activation;
    use crate::engine::pool::unwatched;

    #[test]
    fn gaps_are_exact() {
        let e = f64::EPSILON;
        assert_eq!(gap(1.0, 1.0, 1.0 - e / 2.0).unwrap(), e / 2.0);
        // q1 q2 = 1 + ε/2 − ε²/2, which rounds to 1.
        let close = gap(1.0 + e, 1.0 - e / 2.0, 1.0).unwrap();
        assert!((close / (e / 4.0) - 1.0).abs() < 4.0 * e);
        // |c| exceeds √(q1 q2) by ε²/2.
        assert_eq!(gap(1.0 + 2.0 * e, 1.0, 1.0 + e).unwrap(), 0.0);
        for scale in [1e-300, 1e-20, 1.0, 1e20, 1e300] {
            assert_eq!(
                gap(scale, 4.0 * scale, -2.0 * scale).unwrap().to_bits(),
                (-0.0_f64).to_bits()
            );
            assert!((gap(scale, scale, 0.5 * scale).unwrap() - 0.5).abs() < e);
        }
        assert_eq!(gap(5e-324, 5e-324, 5e-324).unwrap(), 0.0);
        assert_eq!(gap(0.0, 3.0, 0.0).unwrap(), 1.0);
        for (q1, q2, c) in [(1.0, 1.0, 1.1), (0.0, 1.0, 1e-300), (1e-300, 1.0, 1e300)] {
            assert!(
                gap(q1, q2, c)
                    .unwrap_err()
                    .to_string()
                    .contains("must be at most")
            );
        }
    }

    #[test]
    fn pairs_do_not_depend_on_their_neighbours_or_their_order() {
        for name in ["erf", "tanh", "relu"] {
            let phi = activation(name, &[]).unwrap();
            let count = BATCH + 300;
            let q = |step: usize| -> Vec<f64> {
                (0..count).map(|i| 0.1 + (i * step % 37) as f64).collect()
            };
            let (first, second) = (q(5), q(11));
            let c = first.iter().zip(&second).enumerate();
            let covariances: Vec<f64> = c
                .map(|(i, (a, b))| (i as f64 * 0.37).sin() * f64::sqrt(a * b))
                .collect();
            let of = |first: &[f64], second: &[f64], covariances: &[f64]| {
                let pairs = GaussianPairs {
                    first,
                    second,
                    covariances,
                };
                expectations(phi.as_ref(), pairs, &mut unwatched).unwrap()
            };
            let all = of(&first, &second, &covariances);
            let turned = of(&second, &first, &covariances);
            assert!(all.values == turned.values && all.slopes == turned.slopes);
            for i in [0, 7, BATCH, count - 1] {
                let one = i..i + 1;
                let alone = of(&first[one.clone()], &second[one.clone()], &covariances[one]);
                assert_eq!(
                    (alone.values[0], alone.slopes[0]),
                    (all.values[i], all.slopes[i])
                );
            }
        }
    }

    #[test]
    fn invalid_pairs_are_refused() {
        let refuse = |name: &str, parameters: &[f64], q: f64| {
            let pairs = GaussianPairs {
                first: &[q],
                second: &[1.0],
                covariances: &[0.5],
            };
            let phi = activation(name, parameters).unwrap();
            expectations(phi.as_ref(), pairs, &mut unwatched)
                .unwrap_err()
                .to_string()
        };
        assert!(refuse("erf", &[], -1.0).contains("q1 or q2 holds -1.0"));
        assert!(refuse("exp", &[1.0, 1.0], 1e6).contains("exceeds the range of float64"));
        assert!(refuse("tanh", &[], 1e20).contains("series"));
    }
}
