//! The losses that training minimises, with their gradients.

/// A loss of outputs f (N, O) and targets y (N, O).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// `1/(2NO) Σ (f − y)²`.
    MeanSquare,
    /// `−1/N Σ y log softmax(f)`, where every row of y sums to 1.
    SoftmaxCrossEntropy,
}

impl Loss {
    /// Replaces the outputs f of one of N samples by the gradient of the loss in them. Returns the sample's share of the
    /// loss.
    pub(crate) fn seed(self, samples: usize, f: &mut [f64], y: impl Iterator<Item = f64>) -> f64 {
        match self {
            Self::MeanSquare => {
                let count = (samples * f.len()) as f64;
                let mut sum = 0.0;
                for (f, y) in f.iter_mut().zip(y) {
                    let residual = *f - y;
                    sum += residual * residual;
                    *f = residual / count;
                }
                sum / (2.0 * count)
            }
            Self::SoftmaxCrossEntropy => {
                let largest = f.iter().fold(f64::NEG_INFINITY, |max, f| max.max(*f));
                let sum: f64 = f.iter().map(|f| (f - largest).exp()).sum();
                let (normaliser, count) = (largest + sum.ln(), samples as f64);
                let mut loss = 0.0;
                for (f, y) in f.iter_mut().zip(y) {
                    loss += y * (normaliser - *f);
                    *f = ((*f - normaliser).exp() - y) / count;
                }
                loss / count
            }
        }
    }
}
