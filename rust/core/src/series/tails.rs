//! How much of a function the terms of its series hold, and how many terms it takes.

use super::samples::Samples;

/// For each number of terms, what the terms after them hold of `E φ²` and of `E φ'²`, in units of these.
#[derive(Debug)]
pub(super) struct Tails {
    pub value: Vec<f64>,
    pub slope: Vec<f64>,
    /// `√E φ²`, and E φ and r in units of it.
    pub root: f64,
    pub mean: f64,
    pub scale: f64,
    /// `√E φ'²` of all terms beyond these samples, if they are the last.
    pub beyond: f64,
}

impl Tails {
    /// Of these samples; what is missing from the whole counts as a tail too, if they are `last`.
    pub fn new(samples: &Samples, last: bool) -> Self {
        let (root, scale) = root_and_scale(samples, last);
        let mean = if root > 0.0 { samples.mean / root } else { 0.0 };
        let unit = if samples.slope_square > 0.0 {
            1.0 / samples.slope_square
        } else {
            0.0
        };
        let terms = samples.slopes.len();
        let (mut value, mut slope) = (vec![0.0; terms + 1], vec![0.0; terms + 1]);
        for (m, b) in samples.slopes.iter().enumerate().rev() {
            value[m] = value[m + 1] + (scale * b) * (scale * b) / (m + 1) as f64;
            slope[m] = slope[m + 1] + b * b * unit;
        }
        let mut beyond = 0.0;
        if last {
            let wholes = [1.0 - mean * mean, 1.0];
            let missing = [(wholes[0], &value), (wholes[1], &slope)]
                .map(|(whole, tails)| missing(whole, tails));
            for (tails, missing) in [&mut value, &mut slope].into_iter().zip(missing) {
                tails.iter_mut().for_each(|tail| *tail += missing);
            }
            beyond = (missing[1] * samples.slope_square).sqrt();
        }
        Self {
            value,
            slope,
            root,
            mean,
            scale,
            beyond,
        }
    }

    /// The smallest number of terms with tails up to `tolerance`, or all.
    pub fn terms(&self, tolerance: f64) -> usize {
        let pairs = self.value.iter().zip(&self.slope);
        let larger = pairs.take_while(|(value, slope)| value.max(**slope) > tolerance);
        larger.count().min(self.value.len() - 1)
    }

    /// How many terms to look at: those that are here, if the tolerance is met with a quarter of them to spare. The
    /// coefficients of functions analytic near the axis fall like e^{−c√m}.
    pub fn wanted(&self, tolerance: f64) -> usize {
        let seen = self.value.len() - 1;
        if 4 * self.terms(tolerance * tolerance) <= 3 * seen {
            return seen;
        }
        let middle = self.value[seen / 2].max(self.slope[seen / 2]);
        let rate = -0.5 * libm::log(middle) / (0.5 * seen as f64).sqrt();
        let root = libm::log(tolerance) / rate.max(1e-3);
        ((1.4 * root * root) as usize)
            .next_power_of_two()
            .max(2 * seen)
    }
}

/// What is beyond all terms of a whole.
fn missing(whole: f64, tails: &[f64]) -> f64 {
    const ROUND_OFF: f64 = 256.0 * f64::EPSILON;
    let difference = whole - tails[0];
    if difference > ROUND_OFF {
        return difference;
    }
    // Where the difference says no more, tails that fall like e^{−2c√m} do.
    let half = tails[tails.len() / 2];
    libm::pow(half, std::f64::consts::SQRT_2).min(ROUND_OFF)
}

/// Without the last values whose squares sum up to no more than `square`.
pub(super) fn without_tail(mut values: Vec<f64>, square: f64) -> Vec<f64> {
    let mut tail = 0.0;
    while let Some(value) = values.last() {
        tail += value * value;
        if tail > square {
            break;
        }
        values.pop();
    }
    values
}

/// `√E φ²` and r divided by it. The sum of the series has no square that underflows; but it must have converged.
fn root_and_scale(samples: &Samples, last: bool) -> (f64, f64) {
    let terms = samples.slopes.iter().enumerate().rev();
    let slope: f64 = terms
        .map(|(m, b)| b * b / (m + 1) as f64)
        .sum::<f64>()
        .sqrt();
    let summed = libm::hypot(samples.mean, samples.r * slope);
    let root = if last {
        summed.max(samples.square.sqrt())
    } else {
        summed
    };
    let scale = match (root > 0.0, slope > 0.0) {
        (true, _) => samples.r / root,
        (false, true) => 1.0 / slope, // r = 0: the limit
        (false, false) => 0.0,
    };
    (root, scale)
}
