//! Odd functions, and by how much they differ from powers.

use super::sum_of_powers;
use crate::isa::Real;

/// An odd function `f(x) = Σ_n c_n x^{2n+1}`, for small x.
#[derive(Clone, Copy, Debug)]
pub struct OddSeries {
    /// `c_n c_{n+j}`, for j from 1 and n from 0.
    products: [[f64; Self::INNER]; Self::OUTER],
}

impl OddSeries {
    const INNER: usize = 4;
    const OUTER: usize = 7;

    /// The number of coefficients `c_n`.
    pub const TERMS: usize = Self::INNER + Self::OUTER;

    /// The function with these coefficients.
    pub const fn new(coefficients: [f64; Self::TERMS]) -> Self {
        let mut products = [[0.0; Self::INNER]; Self::OUTER];
        let mut j = 0;
        while j < Self::OUTER {
            let mut n = 0;
            while n < Self::INNER {
                products[j][n] = coefficients[n] * coefficients[n + j + 1];
                n += 1;
            }
            j += 1;
        }
        Self { products }
    }

    /// `f(x)f(y) − f(√(xy))²` for x, y ≥ 0, given `difference = x − y`. All digits are kept, however close x and y are.
    /// For powers it is 0.
    ///
    /// Computed as `xy Σ_{n<k} c_n c_k (xy)^{2n} (x^{k−n} − y^{k−n})²`.
    #[inline(always)]
    pub fn excess<R: Real>(&self, x: R, y: R, difference: R) -> R {
        let (sum, product) = (x + y, x * y);
        let square = product * product;
        // D_j = (x^j − y^j)/(x − y): D_1 = 1, D_{j+1} = (x + y) D_j − xy D_{j−1}.
        let (mut before, mut powers) = (R::splat(0.0), R::splat(1.0));
        let mut excess = R::splat(0.0);
        for products in &self.products {
            excess = (powers * powers).mul_add(sum_of_powers(products, square), excess);
            (before, powers) = (powers, sum * powers - product * before);
        }
        product * (difference * difference) * excess
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_excess_is_the_difference_of_both_products() {
        // x + x³
        let mut coefficients = [0.0; OddSeries::TERMS];
        coefficients[..2].copy_from_slice(&[1.0, 1.0]);
        let series = OddSeries::new(coefficients);
        let f = |x: f64| x + x * x * x;
        for (x, y) in [(0.5, 0.25), (0.5, 0.0), (0.125, 0.5), (0.25, 0.25)] {
            let exact = f(x) * f(y) - f((x * y).sqrt()).powi(2);
            assert!(
                (series.excess(x, y, x - y) - exact).abs() <= f64::EPSILON,
                "{x} {y}"
            );
        }
        // For close x and y it is xy (x − y)².
        let close = series.excess(0.5, 0.5, 1e-20);
        assert!((close / (0.25 * 1e-40) - 1.0).abs() <= 4.0 * f64::EPSILON);
    }
}
