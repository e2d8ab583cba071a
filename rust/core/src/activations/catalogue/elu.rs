//! Exponential linear units: ELU (Clevert et al. 2016) and SELU (Klambauer et al. 2017).

use crate::activations::activation::Formula;
use crate::error::Result;
use crate::isa::Real;
use crate::math::special::{exp, expm1};

use super::finite;

/// `φ(x) = scale·x` for x > 0, `scale·alpha·(e^x − 1)` otherwise. φ'(0) is that of the left side, `scale·alpha`.
#[derive(Clone, Copy, Debug)]
pub struct Elu {
    alpha: f64,
    scale: f64,
}

impl Elu {
    /// The ELU with scale 1.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if alpha is not finite.
    pub fn new(alpha: f64) -> Result<Self> {
        let alpha = finite("alpha", alpha)?;
        Ok(Self { alpha, scale: 1.0 })
    }

    /// The ELU that keeps mean 0 and variance 1 from layer to layer.
    pub fn selu() -> Self {
        Self {
            alpha: 1.673_263_242_354_377_2,
            scale: 1.050_700_987_355_480_5,
        }
    }
}

impl Formula for Elu {
    #[inline(always)]
    fn value_and_slope<R: Real>(&self, x: R) -> (R, R) {
        let (zero, scale) = (R::splat(0.0), R::splat(self.scale));
        let (alpha, below) = (scale * R::splat(self.alpha), x.min(zero));
        let positive = zero.less(x);
        let value = R::select(positive, scale * x, alpha * expm1(below));
        (value, R::select(positive, scale, alpha * exp(below)))
    }

    #[inline(always)]
    fn curvature<R: Real>(&self, x: R) -> R {
        let zero = R::splat(0.0);
        let below = R::splat(self.scale * self.alpha) * exp(x.min(zero));
        R::select(zero.less(x), zero, below)
    }
}
