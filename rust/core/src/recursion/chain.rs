//! How the diagonal of every layer's kernel answers to changes, input by input.

use std::ops::Range;

use super::{Profile, Recursion};
use crate::dual::Features;
use crate::error::Result;
use crate::isa::Blocks;

/// Numbers of each layer, of each input, the first being what [`widen`](super::widening::widen) wants.
pub(super) const WIDENING: Range<usize> = 0..5;
/// `u²/r²` and `σ_b/r²`: the derivatives of log r with respect to log u and σ_b.
pub(super) const ALPHA: usize = 5;
pub(super) const BETA: usize = 6;
/// `u`, τ_b and 1, times the power of two of the input.
pub(super) const ROOT: usize = 7;
pub(super) const TAU_B: usize = 8;
pub(super) const UNIT: usize = 9;
/// The derivative of log ω with respect to log r of the layer before.
pub(super) const ELASTICITY: usize = 10;

/// How many there are.
pub(super) const NUMBERS: usize = 11;

/// The derivatives along a [`Profile`].
#[derive(Debug)]
pub struct Chain {
    links: Vec<Link>,
}

#[derive(Debug)]
struct Link {
    numbers: [Blocks; NUMBERS],
    /// Derivatives of the features of the activation after the layer.
    slopes: Features,
}

impl Chain {
    /// Those along a profile of this recursion. O(N) per layer.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if the derivatives of an activation's dual are not known.
    pub fn new(recursion: &Recursion, profile: &Profile) -> Result<Self> {
        let activations = recursion.differentiable()?;
        let mut links = Vec::with_capacity(profile.levels.len());
        let mut elasticities: Blocks = profile.exponents.iter().map(|_| 0.0).collect();
        for (index, level) in profile.levels.iter().enumerate() {
            let affine = recursion.layers[index];
            let u = level.u();
            let scaled = |value: f64| move |exponent: &i32| libm::scalbn(value, -exponent);
            let each = |f: fn(f64, f64, f64) -> f64| {
                let pairs = u.iter().zip(&level.r);
                pairs
                    .map(|(u, r)| f(u.value, r.value, affine.sigma_b))
                    .collect()
            };
            let roots = u.iter().zip(&profile.exponents);
            let numbers = [
                each(|u, _, _| u),
                u.iter().map(|u| u.rest).collect(),
                each(|_, r, _| 1.0 / r),
                each(|u, r, _| u / r),
                each(|_, r, sigma_b| sigma_b / r),
                each(|u, r, _| (u / r) * (u / r)),
                each(|_, r, sigma_b| sigma_b / r / r),
                roots
                    .map(|(u, exponent)| scaled(u.value)(exponent))
                    .collect(),
                profile.exponents.iter().map(scaled(affine.tau_b)).collect(),
                profile.exponents.iter().map(scaled(1.0)).collect(),
                elasticities,
            ];
            let slopes = activations
                .get(index)
                .map(|activation| activation.slopes(&level.r))
                .unwrap_or_default();
            elasticities = slopes.elasticities;
            links.push(Link {
                numbers,
                slopes: slopes.features,
            });
        }
        Ok(Self { links })
    }

    /// The numbers of a layer.
    pub(super) fn numbers(&self, layer: usize) -> &[Blocks; NUMBERS] {
        &self.links[layer].numbers
    }

    /// The slopes of the features of the activation after a layer.
    pub(super) fn slopes(&self, layer: usize) -> &Features {
        &self.links[layer].slopes
    }
}
