//! Error bounds for kernels of series activations, propagated through all layers.
//!
//! A series maps a gap e to the gap `g(e) = Σ p_n (1 − (1−e)ⁿ)`. Since `1 − (1−e)ⁿ ≤ n e`, the share of `g(e)` that a
//! truncated series misses is at most the share of Ṫ that it misses. Every g is concave, so `e g'(e) ≤ g(e)`, and no
//! later layer increases the relative error of a gap, kinks included. Biases add exact terms. Since `e |Ṫ'(e)| ≤ Ṫ(0)`,
//! Ṫ inherits at most the relative error of its gap, and has its own error besides. So the shares add up, layer by
//! layer.

/// Bounds on errors in units of `√(K(x,x) K(x',x'))`, round-off excluded.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ErrorBound {
    /// The bound for Σ.
    pub nngp: f64,
    /// The bound for Θ.
    pub ntk: f64,
}

impl ErrorBound {
    /// Bounds on the errors of a network, given the relative truncation error of each activation.
    #[must_use]
    pub(crate) fn of_network(missing: &[f64]) -> Self {
        let missing = missing.iter();
        missing.fold(Self::default(), |bound, missing| bound.after(*missing))
    }

    /// The larger of both bounds, which holds for pairs of one batch with another.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            nngp: self.nngp.max(other.nngp),
            ntk: self.ntk.max(other.ntk),
        }
    }

    /// Propagates the bound through an activation with relative truncation error `missing`, and a dense layer.
    #[must_use]
    fn after(self, missing: f64) -> Self {
        // Once for the gap, and once for the diagonal.
        let nngp = self.nngp + 2.0 * missing;
        // Θ' = own + σ_w² Ṫ Θ, and own has the error of Σ. The error of the sum is at most the larger of the two.
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
        let expected = ErrorBound {
            nngp: 2e-9,
            ntk: 2e-9,
        };
        assert_eq!(one, expected);
        // A closed form adds no error. Θ has the error of both its factors.
        let expected = ErrorBound {
            nngp: 2e-9,
            ntk: 4e-9,
        };
        assert_eq!(one.after(0.0), expected);
        assert_eq!(one.max(exact), one);
    }
}
