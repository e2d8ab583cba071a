//! The head, with the pools before it: a mean over pairs of pixels.

use super::network::Head;
use super::pool_counts::PoolCounts;

/// The weights of pairs of pixels in the head along one axis. They are integers: the mean over windows is taken by the
/// divisor.
pub(super) struct HeadWeights {
    /// The number of windows of the head that hold both pixels, or of pairs of windows.
    values: Vec<Vec<f64>>,
    /// The sum of all weights is 1 after division by this.
    pub divisor: f64,
}

impl HeadWeights {
    /// The weights of the head after pools on n pixels.
    pub fn new(n: usize, pools: &PoolCounts, head: Head) -> Self {
        let (mut rows, mut reach) = (pools.rows.clone(), pools.reach);
        if head == Head::GlobalAvgPool {
            reach *= rows.len() as f64;
            let total = |p: usize| rows.iter().map(|row| row[p]).sum();
            rows = vec![(0..n).map(total).collect()];
        }
        let weight = |p: usize, q: usize| rows.iter().map(|row| row[p] * row[q]).sum();
        Self {
            values: (0..n)
                .map(|p| (0..n).map(|q| weight(p, q)).collect())
                .collect(),
            divisor: reach * reach * rows.len() as f64,
        }
    }

    /// The weights of `len` consecutive pairs, given the pixels of the first one.
    pub fn along(&self, start: usize, partner: usize, len: usize) -> Vec<f64> {
        let weight = |n: usize| self.values[start + n][partner + n];
        (0..len).map(weight).collect()
    }
}
