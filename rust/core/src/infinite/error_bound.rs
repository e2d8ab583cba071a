//! How far off the kernels of series can be, through all layers.
//!
//! What a series misses is a share of the gap `g(e) = Σ p_n (1 − (1−e)ⁿ)` that it makes of a gap e, at most the share of Ṫ
//! that it misses: `1 − (1−e)ⁿ` is less than n times that of n = 1. Every g is concave, so that a relative error of a gap
//! grows in no later layer, kinks included: `e g'(e) ≤ g(e)`; and adding biases adds what has no error. The errors of
//! Ṫ are those, `e |Ṫ'(e)| ≤ Ṫ(0)`, and its own. So shares add up, layer by layer.

/// Bounds on errors besides round-off, in units of `√(K(x,x) K(x',x'))`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ErrorBound {
    /// Of Σ.
    pub nngp: f64,
    /// Of Θ.
    pub ntk: f64,
}

impl ErrorBound {
    /// The larger of both, for pairs of one batch and another.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            nngp: self.nngp.max(other.nngp),
            ntk: self.ntk.max(other.ntk),
        }
    }

    /// That after an activation whose dual misses a share, and a dense layer.
    #[must_use]
    pub(crate) fn after(self, missing: f64) -> Self {
        // Of the gap, and of the diagonal.
        let nngp = self.nngp + 2.0 * missing;
        // Θ' = own + σ_w² Ṫ Θ: its error is between those of the two.
        Self {
            nngp,
            ntk: nngp.max(self.ntk + self.nngp + missing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        let exact = ErrorBound::default().after(0.0);
        assert_eq!(exact, ErrorBound::default());
        let one = exact.after(1e-9);
        assert_eq!(
            one,
            ErrorBound {
                nngp: 2e-9,
                ntk: 2e-9
            }
        );
        // A closed form passes on what it gets, to Θ by both factors.
        assert_eq!(
            one.after(0.0),
            ErrorBound {
                nngp: 2e-9,
                ntk: 4e-9
            }
        );
        assert_eq!(one.max(exact), one);
    }
}
