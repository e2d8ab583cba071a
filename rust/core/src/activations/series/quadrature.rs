//! A quadrature for the Gaussian expectations of a function times Hermite polynomials of many orders at once.

use std::f64::consts::PI;

use super::octaves::DIRECT;
use crate::isa::{Block, Vector, Vectorized, WIDTH};
use crate::math::quadrature::legendre;

/// The number of nodes of each panel.
pub(super) const PER_PANEL: usize = 32;

/// The end of the last panel. The Gaussian weight beyond it is e^{−84}, and e^{−42} with any Hermite polynomial.
const REACH: f64 = 13.0;

/// The number of nodes per unit length, divided by the root of the highest order: he_m oscillates at the frequency √m.
/// A density of 0.5 leaves measured errors of about 1e-15.
const DENSITY: f64 = 0.7;

/// The width of the edge of the window near 0, times the root of the lowest order.
const EDGE: f64 = 13.0;

/// The length of the window near 0 and the distance of the middle of its edge, in widths of this edge.
const WINDOW: f64 = 12.0;
const MIDDLE: f64 = 6.0;

/// The largest length of the first panel near 0, in units of 1/r.
const FIRST: f64 = 4.0;

/// The number of blocks that hold the orders below [`DIRECT`].
pub(super) const BLOCKS: usize = DIRECT / WIDTH;

/// Gauss–Legendre panels on the positive half-axis.
///
/// Functions are given folded, as `f(z) + f(−z)` and `f(z) − f(−z)`. They may have a kink at 0, because the first panel
/// starts there.
#[derive(Debug)]
pub(super) struct Quadrature {
    /// The nodes z > 0.
    pub nodes: Vec<f64>,
    /// Their weights, times the Gaussian density.
    pub weights: Vec<f64>,
}

impl Quadrature {
    /// A quadrature for orders up to `orders`. The first panel is halved towards 0 `splits` times, for functions that
    /// vary quickly there.
    pub fn new(orders: usize, splits: u32) -> Self {
        Self::panels(REACH, (orders as f64).sqrt(), splits)
    }

    /// A quadrature near 0, for the orders from `lowest` to twice that of functions that vary on the scale 1/r.
    ///
    /// The weights have a factor `χ(z) = ½ erfc((z − c)/w)`, which is 1 near 0 and 0 beyond `z = 2c`. It removes a
    /// function that is flat at 0 and smooth, of which he_m finds no more than `e^{−m w²/4}`: this is e^{−42}.
    /// A kink at 0 counts in full. The window is as long as 25 waves of he_m, so the number of nodes depends on r/√m
    /// alone.
    pub fn near_zero(lowest: f64, r: f64) -> Self {
        let width = EDGE / lowest.sqrt();
        let reach = WINDOW * width;
        let frequency = (2.0 * lowest).sqrt();
        let first = reach / panel_count(reach, frequency);
        let splits = (r * first / FIRST).max(1.0).log2().ceil();
        let mut quadrature = Self::panels(reach, frequency, splits as u32);
        for (z, weight) in quadrature.nodes.iter().zip(&mut quadrature.weights) {
            *weight *= 0.5 * libm::erfc(z / width - MIDDLE);
        }
        quadrature
    }

    /// Panels up to `reach`, for polynomials that oscillate at this frequency.
    fn panels(reach: f64, frequency: f64, splits: u32) -> Self {
        let panels = panel_count(reach, frequency);
        let width = reach / panels;
        let mut edges = vec![0.0];
        edges.extend(
            (1..=splits)
                .rev()
                .map(|j| width * libm::exp2(-f64::from(j))),
        );
        edges.extend((1..=panels as u32).map(|panel| f64::from(panel) * width));
        let legendre = legendre(PER_PANEL);
        let (mut nodes, mut weights) = (Vec::new(), Vec::new());
        for edge in edges.windows(2) {
            let half = 0.5 * (edge[1] - edge[0]);
            for (node, weight) in &legendre {
                let z = edge[0] + half * (1.0 + node);
                nodes.push(z);
                weights.push(half * weight * libm::exp(-0.5 * z * z) / (2.0 * PI).sqrt());
            }
        }
        Self { nodes, weights }
    }

    /// `E f(z)`, given the values of `f(z) + f(−z)` at the nodes.
    pub fn mean(&self, values: impl Iterator<Item = f64>) -> f64 {
        let products = self.weights.iter().zip(values);
        products.map(|(weight, value)| weight * value).sum()
    }

    /// `he_m` at each node, times the weight of the node, for all m below [`DIRECT`]: even m first, then odd m.
    ///
    /// The recurrence `he_{m+1} = (z he_m − √m he_{m−1})/√(m+1)` is stable: he_m is nowhere its smaller solution.
    pub fn polynomials(&self) -> Vec<[Block; BLOCKS]> {
        let of_node = |(z, weight): (&f64, &f64)| {
            let mut all = [[0.0; WIDTH]; BLOCKS];
            let (mut previous, mut current) = (0.0, *weight);
            for m in 0..DIRECT {
                let place = DIRECT / 2 * (m % 2) + m / 2;
                all[place / WIDTH][place % WIDTH] = current;
                let next = (z * current - (m as f64).sqrt() * previous) / ((m + 1) as f64).sqrt();
                (previous, current) = (current, next);
            }
            all
        };
        self.nodes.iter().zip(&self.weights).map(of_node).collect()
    }
}

/// The number of panels of equal length up to `reach`.
fn panel_count(reach: f64, frequency: f64) -> f64 {
    (DENSITY * frequency * reach / PER_PANEL as f64).ceil()
}

/// Computes the expectations `E f(z) he_m(z)` of one function f for B blocks of orders m. The first half of the blocks
/// is for even orders, the second half for odd ones.
pub(super) struct Moments<'a, const B: usize> {
    /// The Hermite functions of all orders at each node, times the weight of the node.
    pub orders: &'a [[Block; B]],
    /// `f(z) + f(−z)` and `f(z) − f(−z)` at each node.
    pub folded: [&'a [f64]; 2],
}

impl<const B: usize> Vectorized for Moments<'_, B> {
    type Output = [Block; B];

    #[inline(always)]
    fn run<V: Vector>(self) -> [Block; B] {
        let mut sums = [V::splat(0.0); B];
        let folded = self.folded[0].iter().zip(self.folded[1]);
        for (orders, (even, odd)) in self.orders.iter().zip(folded) {
            let values = [V::splat(*even), V::splat(*odd)];
            for (block, (sum, order)) in sums.iter_mut().zip(orders).enumerate() {
                *sum = V::load(order).mul_add(values[2 * block / B], *sum);
            }
        }
        sums.map(|sum| {
            let mut block = [0.0; WIDTH];
            sum.store(&mut block);
            block
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;

    /// The expectations of a function times he_m, for all m below [`DIRECT`].
    fn moments(isa: Isa, quadrature: &Quadrature, function: impl Fn(f64) -> f64) -> Vec<f64> {
        let fold = |sign: f64| -> Vec<f64> {
            let value = |z: &f64| function(*z) + sign * function(-z);
            quadrature.nodes.iter().map(value).collect()
        };
        let (even, odd) = (fold(1.0), fold(-1.0));
        let orders = quadrature.polynomials();
        let blocks = isa.run(Moments {
            orders: &orders,
            folded: [&even, &odd],
        });
        let place = |m: usize| DIRECT / 2 * (m % 2) + m / 2;
        (0..DIRECT)
            .map(|m| blocks.as_flattened()[place(m)])
            .collect()
    }

    #[test]
    fn polynomials_are_orthonormal() {
        let (quadrature, isa) = (Quadrature::new(DIRECT, 3), Isa::PORTABLE);
        for (m, coefficients) in [
            (0, [1.0, 0.0, 0.0]),
            (1, [0.0, 1.0, 0.0]),
            (2, [-1.0, 0.0, 1.0]),
        ] {
            let norm = if m == 2 { 2.0_f64.sqrt() } else { 1.0 };
            let function =
                |z: f64| (coefficients[0] + z * (coefficients[1] + z * coefficients[2])) / norm;
            // Only low orders: for high n, a polynomial times he_n reaches beyond the last panel. Bounded functions
            // times he_n do not.
            for (n, found) in moments(isa, &quadrature, function)
                .into_iter()
                .enumerate()
                .take(12)
            {
                let expected = f64::from(u8::from(m == n));
                assert!((found - expected).abs() < 1e-13, "{m} {n} {found}");
            }
        }
    }

    #[test]
    fn moments_of_an_exponential_are_known() {
        // E e^{tz} he_m(z) = e^{t²/2} t^m/√m!
        let (quadrature, t) = (Quadrature::new(DIRECT, 0), 1.3);
        for isa in Isa::available() {
            let mut exact = libm::exp(0.5 * t * t);
            for (m, found) in moments(isa, &quadrature, |z| libm::exp(t * z))
                .into_iter()
                .enumerate()
                .take(16)
            {
                assert!((found - exact).abs() < 3e-14, "{isa} {m} {exact} {found}");
                exact *= t / ((m + 1) as f64).sqrt();
            }
        }
    }
}
