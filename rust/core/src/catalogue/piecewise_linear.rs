//! max(x, 0) + slope·min(x, 0): the identity (1), ReLU (0), leaky ReLU and the absolute value (−1).

use std::f64::consts::PI;

use crate::activation::{Activation, Dual, evaluate_each};
use crate::error::{Error, Result};

/// `φ(x) = max(x, 0) + slope·min(x, 0)`.
#[derive(Clone, Copy, Debug)]
pub struct PiecewiseLinear {
    slope: f64,
    /// φ'(0), where the two sides disagree.
    at_zero: f64,
}

impl PiecewiseLinear {
    /// # Errors
    /// [`Error::Invalid`] if the slope is not finite.
    pub fn new(slope: f64, at_zero: f64) -> Result<Self> {
        if slope.is_finite() {
            Ok(Self { slope, at_zero })
        } else {
            Err(Error::Invalid(format!(
                "slope is {slope}, but must be finite"
            )))
        }
    }
}

impl Activation for PiecewiseLinear {
    fn evaluate(&self, h: &mut [f64], slopes: &mut [f64]) {
        // Selections, not branches: the signs of pre-activations cannot be predicted.
        evaluate_each(h, slopes, |x| {
            let side = if x > 0.0 { 1.0 } else { self.slope };
            (side * x + 0.0, if x == 0.0 { self.at_zero } else { side }) // + 0: no −0 comes out
        });
    }

    fn dual(&self) -> Option<&dyn Dual> {
        Some(self)
    }
}

/// Cho & Saul (2009), in the gap. With a the slope, `κ = (1−a)²/(π(1+a²))` and `s = 2a/(1+a²) = 1 − πκ`, the new
/// correlation is `ρ' = ρ + κ (sin θ − θ cos θ)`; with ψ the angle from the nearer of the two directions, and
/// `lift = sin ψ − ψ cos ψ`, that is `1 − ρ' = e − κ lift` near ρ = 1, and `ρ' = −s cos ψ + κ lift` near ρ = −1.
impl Dual for PiecewiseLinear {
    fn root(&self, r: f64) -> f64 {
        r * self.mean_square().sqrt()
    }

    fn step(&self, _r_u: f64, _r_v: &[f64], gaps: &mut [f64], dots: &mut [f64]) {
        assert_eq!(gaps.len(), dots.len());
        let kink = (1.0 - self.slope) * (1.0 - self.slope) / (2.0 * PI);
        let (kappa, s) = (kink / self.mean_square(), self.slope / self.mean_square());
        // 1 + s and 1 − s, which cancel for slopes near −1 and 1.
        let sum = 0.5 * (1.0 + self.slope) * (1.0 + self.slope) / self.mean_square();
        let difference = 0.5 * (1.0 - self.slope) * (1.0 - self.slope) / self.mean_square();
        for (gap, dot) in gaps.iter_mut().zip(dots) {
            let size = gap.abs();
            let psi = 2.0 * libm::asin((0.5 * size).sqrt());
            let lift = kappa * lift(size, psi);
            if gap.is_sign_positive() {
                *dot = self.mean_square() - kink * psi;
                *gap = (size - lift).max(0.0);
            } else {
                *dot = self.slope + kink * psi;
                *gap = if s * (1.0 - size) > lift {
                    -(difference + s * size + lift).max(0.0)
                } else {
                    (sum - s * size - lift).max(0.0)
                };
            }
        }
    }
}

impl PiecewiseLinear {
    /// `E φ(u)²` of a standard normal u.
    fn mean_square(&self) -> f64 {
        0.5 * (1.0 + self.slope * self.slope)
    }
}

/// `sin ψ − ψ cos ψ` for `cos ψ = 1 − gap`, in [0, 1].
fn lift(gap: f64, theta: f64) -> f64 {
    // Below 1/2 the two terms cancel: Σ_k (−1)^{k+1} 2k/(2k+1)! θ^{2k+1}, whose next term is below 1e-17 of the first.
    const SERIES: [f64; 7] = [
        1.0 / 3.0,
        -1.0 / 30.0,
        1.0 / 840.0,
        -1.0 / 45_360.0,
        1.0 / 3_991_680.0,
        -1.0 / 518_918_400.0,
        1.0 / 93_405_312_000.0,
    ];
    if theta < 0.5 {
        let square = theta * theta;
        theta * square * SERIES.iter().rev().fold(0.0, |sum, c| sum * square + c)
    } else {
        (gap * (2.0 - gap)).sqrt() - theta * (1.0 - gap)
    }
}
