//! Gauss–Legendre quadrature.

use std::f64::consts::PI;

/// Nodes and weights of the Gauss–Legendre rule of n nodes on [−1, 1].
pub fn legendre(n: usize) -> Vec<(f64, f64)> {
    let rule = (0..n).map(|index| {
        let mut x = -libm::cos(PI * (index as f64 + 0.75) / (n as f64 + 0.5));
        let mut slope = 1.0;
        // Newton's method: quadratic from four digits, so that three steps are enough.
        for _ in 0..5 {
            let (mut value, mut previous) = (x, 1.0);
            for k in 2..=n {
                let k = k as f64;
                (value, previous) = (
                    ((2.0 * k - 1.0) * x * value - (k - 1.0) * previous) / k,
                    value,
                );
            }
            slope = n as f64 * (previous - x * value) / (1.0 - x * x);
            x -= value / slope;
        }
        (x, 2.0 / ((1.0 - x * x) * slope * slope))
    });
    rule.collect()
}
