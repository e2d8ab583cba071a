//! How the diagonal of every layer's kernel answers to changes, input by input.

use super::bias::COSINE;
use super::{Profile, Recursion};
use crate::activations::differentiable::DescriptionSlopes;
use crate::activations::features::Features;
use crate::error::Result;
use crate::isa::Blocks;

/// Numbers of each layer, of each input: `u²/r²` and `σ_b/r²`, the derivatives of log r with respect to log u and σ_b.
pub(super) const ALPHA: usize = 0;
pub(super) const BETA: usize = 1;
/// `u`, τ_b and 1, times the power of two of the input.
pub(super) const ROOT: usize = 2;
pub(super) const TAU_B: usize = 3;
pub(super) const UNIT: usize = 4;
/// The derivative of log ω with respect to log r of the layer before.
pub(super) const ELASTICITY: usize = 5;

/// How many there are.
pub(super) const NUMBERS: usize = 6;

/// The derivatives along a [`Profile`].
#[derive(Debug)]
pub struct ProfileSlopes {
    levels: Vec<LevelSlopes>,
}

#[derive(Debug)]
struct LevelSlopes {
    numbers: [Blocks; NUMBERS],
    /// Derivatives of the features of the activation after the layer.
    slopes: Features,
}

impl ProfileSlopes {
    /// Those along a profile of this recursion. O(N) per layer.
    ///
    /// # Errors
    /// Those of [`Differentiable::slopes`](crate::activations::differentiable::Differentiable::slopes).
    pub fn new(recursion: &Recursion, profile: &Profile) -> Result<Self> {
        let mut levels = Vec::with_capacity(profile.levels.len());
        let mut elasticities: Blocks = profile.exponents.iter().map(|_| 0.0).collect();
        for (index, level) in profile.levels.iter().enumerate() {
            let scales = recursion.layers[index];
            let pairs = || level.r.iter().map(|r| r.hi).zip(&profile.exponents);
            let scaled = |value: f64, exponent: &i32| libm::scalbn(value, -exponent);
            let cosines: Blocks = match &level.bias {
                Some(bias) => bias[COSINE].clone(),
                None => level.r.iter().map(|_| 1.0).collect(),
            };
            let both = || pairs().zip(cosines.iter());
            let numbers = [
                cosines.iter().map(|cosine| cosine * cosine).collect(),
                pairs().map(|(r, _)| scales.sigma_b / r / r).collect(),
                both()
                    .map(|((r, exponent), cosine)| scaled(cosine * r, exponent))
                    .collect(),
                pairs()
                    .map(|(_, exponent)| scaled(scales.tau_b, exponent))
                    .collect(),
                pairs().map(|(_, exponent)| scaled(1.0, exponent)).collect(),
                elasticities,
            ];
            let slopes = if index < recursion.activations.len() {
                recursion.dual(index).slopes(&level.r)?
            } else {
                DescriptionSlopes::default()
            };
            elasticities = slopes.elasticities;
            levels.push(LevelSlopes {
                numbers,
                slopes: slopes.features,
            });
        }
        Ok(Self { levels })
    }

    /// The numbers of a layer.
    pub(super) fn numbers(&self, layer: usize) -> &[Blocks; NUMBERS] {
        &self.levels[layer].numbers
    }

    /// The slopes of the features of the activation after a layer.
    pub(super) fn slopes(&self, layer: usize) -> &Features {
        &self.levels[layer].slopes
    }
}
