//! The head, with the pools before it: a mean over pairs of pixels.

use super::network::Head;

/// The weights of pairs of pixels in the head along one axis. They are integers: the mean over windows is taken by the
/// divisor.
pub(super) struct HeadWeights {
    /// The number of windows of the head that hold both pixels, or of pairs of windows.
    values: Vec<Vec<f64>>,
    /// The sum of all weights is 1 after division by this.
    pub divisor: f64,
    /// The side of the grid that the head sees.
    pub outputs: usize,
}

impl HeadWeights {
    /// The weights of pools after each other, given (window, stride) of each, and then the head, on n pixels.
    pub fn new(n: usize, pools: &[(usize, usize)], head: Head) -> Self {
        // Row a holds the number of ways in which output a reaches each pixel.
        let mut rows: Vec<Vec<f64>> = (0..n)
            .map(|p| (0..n).map(|q| f64::from(u8::from(p == q))).collect())
            .collect();
        let mut reach = 1.0;
        for (window, stride) in pools {
            reach *= *window as f64;
            let sum = |start: usize| -> Vec<f64> {
                let inside = &rows[start..start + window];
                (0..n)
                    .map(|p| inside.iter().map(|row| row[p]).sum())
                    .collect()
            };
            rows = (0..=rows.len() - window)
                .step_by(*stride)
                .map(sum)
                .collect();
        }
        let outputs = rows.len();
        if head == Head::GlobalAvgPool {
            let total = |p: usize| rows.iter().map(|row| row[p]).sum();
            rows = vec![(0..n).map(total).collect()];
            reach *= outputs as f64;
        }
        let weight = |p: usize, q: usize| rows.iter().map(|row| row[p] * row[q]).sum();
        Self {
            values: (0..n)
                .map(|p| (0..n).map(|q| weight(p, q)).collect())
                .collect(),
            divisor: reach * reach * rows.len() as f64,
            outputs,
        }
    }

    /// The weights of `len` consecutive pairs, given the pixels of the first one.
    pub fn along(&self, start: usize, partner: usize, len: usize) -> Vec<f64> {
        let weight = |n: usize| self.values[start + n][partner + n];
        (0..len).map(weight).collect()
    }
}
