//! Gauss–Legendre quadrature.

use std::f64::consts::PI;

/// The nodes and weights of the n-point Gauss–Legendre rule on [−1, 1].
pub fn legendre(n: usize) -> Vec<(f64, f64)> {
    let rule = (0..n).map(|index| {
        let mut x = -libm::cos(PI * (index as f64 + 0.75) / (n as f64 + 0.5));
        let mut slope = 1.0;
        // Newton's method starts from four correct digits and doubles them in each step: three steps are enough.
        for _ in 0..5 {
            // P_n(x) and P_{n−1}(x), by their three-term recurrence.
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
