//! Norms of one variable's Hermite expansion, and the number of terms a pair needs.

use super::kink_tail::{PowerLaw, TailSums};
use super::octaves::{DIRECT, octaves};
use super::samples::Samples;

/// The share of a variable's norms that counts as round-off. A series can stop where both variables have less than this
/// left.
const ROUND_OFF: f64 = 1e-15;

/// The norms and the length of the expansion of φ(r z), for one r.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expansion {
    /// `√E φ²`.
    pub root: f64,
    /// `E φ/√E φ²`.
    pub mean: f64,
    /// `r/√E φ²`.
    pub scale: f64,
    /// The number of terms that a pair of such variables needs. Infinite if a power law continues the series.
    pub terms: f64,
    /// The share of `E φ²` or of `E φ'²`, whichever is larger, that the series does not account for.
    pub missing: f64,
}

/// The sums `Σ b²` (`slope`) and `Σ b²/(m+1)` (`value`) over a range of orders m that starts at `from`.
#[derive(Clone, Copy, Debug, Default)]
struct Remainder {
    from: f64,
    slope: f64,
    value: f64,
}

impl Samples {
    /// The share of `E φ'²` that comes from one octave.
    pub fn held(&self, octave: usize) -> f64 {
        let coefficients = self.octaves[octave].as_flattened();
        let sum: f64 = coefficients.iter().map(|b| b * b).sum();
        if sum > 0.0 {
            sum / self.slope_square
        } else {
            0.0
        }
    }

    /// Returns the sums over all orders, in ranges from the last to the first: the power law, each octave, and each
    /// order below [`DIRECT`] by itself.
    fn remainders(&self, law: &PowerLaw<f64>) -> Vec<Remainder> {
        let end = DIRECT as f64 * libm::exp2(self.octaves.len() as f64);
        let beyond = TailSums::new(law, law, DIRECT as f64 / end, 0.0, 0.0);
        let total = |sums: [f64; 2]| sums[0] + sums[1];
        let mut remainders = vec![Remainder {
            from: end,
            slope: total(beyond.dots()),
            value: total(beyond.values()),
        }];
        for (octave, [even, odd]) in octaves().iter().zip(&self.octaves).rev() {
            let weigh = |list: &[f64], indices: &[f64]| -> f64 {
                let pairs = list.iter().zip(indices);
                pairs.map(|(b, index)| b * b / index).sum()
            };
            remainders.push(Remainder {
                from: 0.5 * remainders[remainders.len() - 1].from,
                slope: even.iter().chain(odd).map(|b| b * b).sum(),
                value: weigh(even, &octave.indices[0]) + weigh(odd, &octave.indices[1]),
            });
        }
        for m in (0..DIRECT).rev() {
            let b = self.direct[DIRECT / 2 * (m % 2) + m / 2];
            remainders.push(Remainder {
                from: m as f64,
                slope: b * b,
                value: b * b / (m + 1) as f64,
            });
        }
        remainders
    }
}

impl Expansion {
    /// `√E φ²/r`, the inverse of `scale`; 0 if `scale` is 0.
    pub fn slope(&self) -> f64 {
        if self.scale > 0.0 {
            1.0 / self.scale
        } else {
            0.0
        }
    }

    pub fn new(samples: &Samples, law: &PowerLaw<f64>) -> Self {
        let remainders = samples.remainders(law);
        let (mut slope, mut value) = (0.0, 0.0);
        for remainder in &remainders {
            slope += remainder.slope;
            value += remainder.value;
        }
        // The root comes from the series and not from `E φ²`: the factor r stays outside the squares, which then do not
        // underflow.
        let spread = f64::sqrt(value);
        let root = libm::hypot(samples.mean, samples.r * spread);
        let scale = match (root > 0.0, spread > 0.0) {
            (true, _) => samples.r / root,
            (false, true) => 1.0 / spread, // the limit at r = 0
            (false, false) => 0.0,
        };
        let missing = share(samples.square, root * root).max(share(samples.slope_square, slope));
        let missing = missing + samples.numeric_error;
        Self {
            root,
            mean: if root > 0.0 { samples.mean / root } else { 0.0 },
            scale,
            terms: if law.as_flattened().iter().any(|c| *c != 0.0) {
                f64::INFINITY
            } else {
                terms(&remainders, slope, scale)
            },
            missing,
        }
    }
}

/// The number of terms after which less than the share [`ROUND_OFF`] is left, both of `slope`, the sum of all slopes,
/// and of `E φ²`. A value times `scale²` is a share of `E φ²`.
fn terms(remainders: &[Remainder], slope: f64, scale: f64) -> f64 {
    let (mut slope_left, mut value_left) = (0.0, 0.0);
    for (index, remainder) in remainders.iter().enumerate() {
        slope_left += remainder.slope;
        value_left += scale * scale * remainder.value;
        if slope_left > ROUND_OFF * slope || value_left > ROUND_OFF {
            // The end of this range is the start of the range before it in the list.
            let end = |previous: usize| remainders[previous].from;
            return index.checked_sub(1).map_or(f64::INFINITY, end);
        }
    }
    0.0
}

/// The distance of `sum` from `whole`, as a share of `whole`. It is 0 where `whole` is so small that squares underflow.
fn share(whole: f64, sum: f64) -> f64 {
    const LEAST: f64 = 1e-280;
    if whole > LEAST {
        (whole - sum).abs() / whole
    } else {
        0.0
    }
}
