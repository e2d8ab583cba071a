//! Derivatives of the per-row recursion ([`Profile`]).

use super::profile::Level;
use super::{LayerScales, Profile, Recursion};
use crate::activations::bias::COSINE;
use crate::activations::differentiable::DescriptionSlopes;
use crate::activations::features::Features;
use crate::engine::pool::{Stages, Watch};
use crate::engine::rows::per_row;
use crate::error::Result;
use crate::isa::Blocks;
use std::ops::Range;

/// The index of `α = u²/r²`, the derivative of log r with respect to log u, in [`ProfileSlopes::numbers`].
pub(super) const ALPHA: usize = 0;
/// The index of `σ_b/r²`, the derivative of log r with respect to `σ_b`.
pub(super) const BETA: usize = 1;
/// The index of `u`, in units of the input's power of two.
pub(super) const ROOT: usize = 2;
/// The index of `τ_b`, in these units.
pub(super) const TAU_B: usize = 3;
/// The index of 1, in these units.
pub(super) const UNIT: usize = 4;
/// The index of the derivative of log ω with respect to log r of the layer before, where `ω = √E φ²` and `u = σ_w ω`.
pub(super) const ELASTICITY: usize = 5;

/// The number of these indices.
pub(super) const NUMBERS: usize = 6;

/// The derivatives of a [`Profile`].
#[derive(Debug)]
pub struct ProfileSlopes {
    levels: Vec<LevelSlopes>,
}

/// The derivatives of one layer's part of a profile.
#[derive(Debug)]
struct LevelSlopes {
    numbers: [Blocks; NUMBERS],
    /// The derivatives of the features of the activation after the layer.
    features: Features,
}

impl ProfileSlopes {
    /// Differentiates a profile of this recursion. O(N) per layer.
    ///
    /// # Errors
    /// As [`Differentiable::slopes`](crate::activations::differentiable::Differentiable::slopes).
    pub fn new(recursion: &Recursion, profile: &Profile, watch: &mut Watch<'_>) -> Result<Self> {
        let mut levels = Vec::with_capacity(profile.levels.len());
        let mut elasticities: Blocks = profile.exponents.iter().map(|_| 0.0).collect();
        let shares = recursion.slope_shares();
        let mut stages = Stages::new(watch, &shares);
        for (index, level) in profile.levels.iter().enumerate() {
            let (scales, exponents) = (&recursion.layers[index], &profile.exponents);
            let numbers = stages.next(|watch| layer_numbers(scales, level, exponents, watch))?;
            let slopes = if index < recursion.activations.len() {
                stages.next(|watch| recursion.dual(index).slopes(&level.r, watch))?
            } else {
                DescriptionSlopes::default()
            };
            let [alpha, beta, root, tau_b, unit] = numbers;
            levels.push(LevelSlopes {
                numbers: [alpha, beta, root, tau_b, unit, elasticities],
                features: slopes.features,
            });
            elasticities = slopes.elasticities;
        }
        Ok(Self { levels })
    }

    /// The numbers of each input after dense layer `layer`, in the order of [`ALPHA`], …, [`ELASTICITY`].
    pub(super) fn numbers(&self, layer: usize) -> &[Blocks; NUMBERS] {
        &self.levels[layer].numbers
    }

    /// The derivatives of the features of the activation after dense layer `layer`.
    pub(super) fn features(&self, layer: usize) -> &Features {
        &self.levels[layer].features
    }
}

/// These numbers for one dense layer, but for the elasticities.
fn layer_numbers(
    scales: &LayerScales,
    level: &Level,
    exponents: &[i32],
    watch: &mut Watch<'_>,
) -> Result<[Blocks; ELASTICITY]> {
    let band = |rows: Range<usize>| {
        let (r, exponents) = (&level.r[rows.clone()], &exponents[rows.clone()]);
        let pairs = || r.iter().map(|r| r.hi).zip(exponents);
        let scaled = |value: f64, exponent: &i32| libm::scalbn(value, -exponent);
        // u/r.
        let cosines: Vec<f64> = match &level.bias {
            Some(bias) => bias[COSINE].of(&rows).collect(),
            None => vec![1.0; rows.len()],
        };
        let u = pairs()
            .zip(&cosines)
            .map(|((r, exponent), cosine)| scaled(cosine * r, exponent));
        let constant = |value: f64| pairs().map(move |(_, exponent)| scaled(value, exponent));
        let numbers = vec![
            cosines.iter().map(|cosine| cosine * cosine).collect(),
            pairs().map(|(r, _)| scales.sigma_b / r / r).collect(),
            u.collect(),
            constant(scales.tau_b).collect(),
            constant(1.0).collect(),
        ];
        Ok((Vec::<()>::new(), numbers))
    };
    let (_, numbers) = per_row(level.r.len(), Level::CYCLES, watch, &band)?;
    let mut numbers = numbers.into_iter();
    Ok([(); ELASTICITY].map(|()| numbers.next().unwrap_or_default()))
}
