//! What the coefficients of one variable hold of φ and φ', and how many of them pairs want.

use super::kink_tail::{PowerLaw, TailSums};
use super::octaves::{DIRECT, octaves};
use super::samples::Samples;

/// Terms after which less than this share is left, of both variables, are round-off.
const ROUND_OFF: f64 = 1e-15;

#[derive(Clone, Copy, Debug)]
pub(super) struct Expansion {
    /// `√E φ²`, and E φ and r in units of it.
    pub root: f64,
    pub mean: f64,
    pub scale: f64,
    /// The number of terms that two such variables want: infinite where a law goes on.
    pub terms: f64,
    /// The larger of what is missing of `E φ²` and `E φ'²`, as a share.
    pub missing: f64,
}

/// What the terms from some number on hold: `Σ b²` and `Σ b²/(m+1)`.
#[derive(Clone, Copy, Debug, Default)]
struct Remainder {
    from: f64,
    slope: f64,
    value: f64,
}

impl Samples {
    /// The share of `E φ'²` that an octave holds.
    pub fn held(&self, octave: usize) -> f64 {
        let coefficients = self.octaves[octave].as_flattened();
        let sum: f64 = coefficients.iter().map(|b| b * b).sum();
        if sum > 0.0 {
            sum / self.slope_square
        } else {
            0.0
        }
    }

    /// What the terms hold, from the last to the first: the law, the octaves, and the direct ones one by one.
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
    /// The unit of φ' in those of φ: `√E φ²/r`.
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
        // The sum of the series has no square that underflows.
        let spread = f64::sqrt(value);
        let root = libm::hypot(samples.mean, samples.r * spread);
        let scale = match (root > 0.0, spread > 0.0) {
            (true, _) => samples.r / root,
            (false, true) => 1.0 / spread, // r = 0: the limit
            (false, false) => 0.0,
        };
        let missing = share(samples.square, root * root).max(share(samples.slope_square, slope));
        let mut terms = 0.0;
        let (mut slope_left, mut value_left) = (0.0, 0.0);
        for (index, remainder) in remainders.iter().enumerate() {
            slope_left += remainder.slope;
            value_left += scale * scale * remainder.value;
            if slope_left > ROUND_OFF * slope || value_left > ROUND_OFF {
                // The end of this remainder.
                let end = |previous: usize| remainders[previous].from;
                terms = index.checked_sub(1).map_or(f64::INFINITY, end);
                break;
            }
        }
        Self {
            root,
            mean: if root > 0.0 { samples.mean / root } else { 0.0 },
            scale,
            terms: if law.as_flattened().iter().any(|c| *c != 0.0) {
                f64::INFINITY
            } else {
                terms
            },
            missing,
        }
    }
}

/// How far a sum is from the whole, as a share of it; nothing where squares underflow.
fn share(whole: f64, sum: f64) -> f64 {
    const LEAST: f64 = 1e-280;
    if whole > LEAST {
        (whole - sum).abs() / whole
    } else {
        0.0
    }
}
