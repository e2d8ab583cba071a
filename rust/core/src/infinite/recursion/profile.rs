//! What a batch of inputs is to every layer, one by one.

use std::ops::Range;

use super::LayerScales;
use super::bias::{BIAS_NUMBERS, bias_numbers, correlation};
use crate::activations::features::Features;
use crate::infinite::error_bound::ErrorBound;
use crate::isa::{Block, Blocks, Isa, Vector, Vectorized, WIDTH};
use crate::math::double_double::DoubleDouble;

/// The diagonal of every layer's kernel on a batch of inputs.
///
/// Each input has a power of two that brings its `√Σ(x, x)` of the last layer into [1, 2). Kernels, which are linear in
/// it, are computed with it and scaled back at the end: nothing on the way over- or underflows unless the result does.
#[derive(Debug)]
pub struct Profile {
    pub(super) levels: Vec<Level>,
    pub(super) exponents: Vec<i32>,
    /// Two to the exponents, if all are moderate.
    pub(super) factors: Option<Blocks>,
    /// What the last layer's kernels miss between any of the inputs.
    pub(super) bound: ErrorBound,
}

/// What one dense layer makes of the inputs one by one, `u = σ_w·√E φ²` being the root before the bias.
#[derive(Debug, Default)]
pub(super) struct Level {
    /// `√Σ(x, x)`.
    pub(super) r: Vec<DoubleDouble>,
    /// r times the power of two of its input (see [`Profile`]).
    pub(super) scaled: Blocks,
    /// What the next activation knows of the inputs.
    pub(super) features: Features,
    /// See [`bias_numbers`]. Only where there is a bias, so that r > 0.
    pub(super) bias: Option<[Blocks; BIAS_NUMBERS]>,
    /// Only where the layer's part of Θ is not Σ.
    pub(super) own: Option<LayerTerm>,
}

/// `τ_w·√E φ²` and `τ_b`, scaled as r.
#[derive(Debug)]
pub(super) struct LayerTerm {
    pub(super) weights: Blocks,
    pub(super) biases: Blocks,
}

impl Profile {
    /// The number of inputs.
    pub fn len(&self) -> usize {
        self.exponents.len()
    }

    /// Whether there is no input.
    pub fn is_empty(&self) -> bool {
        self.exponents.is_empty()
    }

    /// How far off the kernels between any of the inputs can be.
    pub fn bound(&self) -> ErrorBound {
        self.bound
    }

    /// Takes the powers of two of input `i` and of blocks of `others` from values that are linear in both.
    pub(super) fn unscale(
        &self,
        others: &Self,
        isa: Isa,
        (i, blocks): (usize, &Range<usize>),
        values: &mut [Block],
    ) {
        if let (Some(own), Some(factors)) = (&self.factors, &others.factors) {
            isa.run(Unscale {
                factor: own.get(i),
                factors: &factors.blocks()[blocks.clone()],
                values,
            });
        } else {
            let exponents = &others.exponents[blocks.start * WIDTH..];
            for (value, exponent) in values.as_flattened_mut().iter_mut().zip(exponents) {
                *value = libm::scalbn(*value, self.exponents[i] + exponent);
            }
        }
    }
}

/// `values ← factor · factors · values`.
struct Unscale<'a> {
    factor: f64,
    factors: &'a [Block],
    values: &'a mut [Block],
}

impl Vectorized for Unscale<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let factor = V::splat(self.factor);
        for (value, factors) in self.values.iter_mut().zip(self.factors) {
            (factor * V::load(factors) * V::load(value)).store(value);
        }
    }
}

impl Level {
    pub(super) fn new(scales: &LayerScales, roots: &[DoubleDouble]) -> Self {
        let sigma_w = DoubleDouble::from(scales.sigma_w);
        let u: Vec<_> = roots.iter().map(|root| sigma_w * *root).collect();
        let own = (!scales.learns_as_it_starts()).then(|| LayerTerm {
            weights: roots.iter().map(|root| scales.tau_w * root.hi).collect(),
            biases: roots.iter().map(|_| scales.tau_b).collect(),
        });
        let (r, bias) = if scales.sigma_b == 0.0 {
            (u, None)
        } else {
            let sigma_b = scales.sigma_b;
            let r: Vec<_> = u.iter().map(|u| u.hypot(sigma_b.into())).collect();
            let pairs = u.iter().zip(&r);
            let numbers: Vec<_> = pairs.map(|(u, r)| bias_numbers(*u, *r, sigma_b)).collect();
            let number = |index: usize| numbers.iter().map(|numbers| numbers[index]).collect();
            (r, Some(std::array::from_fn(number)))
        };
        Self {
            r,
            bias,
            own,
            ..Self::default()
        }
    }

    /// Fills what is in units of the rows' powers of two.
    pub(super) fn scale(&mut self, exponents: &[i32]) {
        let scale = |(value, exponent): (f64, &i32)| libm::scalbn(value, -exponent);
        let roots = self.r.iter().map(|r| r.hi);
        self.scaled = roots.zip(exponents).map(scale).collect();
        if let Some(own) = &mut self.own {
            for values in [&mut own.weights, &mut own.biases] {
                *values = values.iter().zip(exponents).map(scale).collect();
            }
        }
    }
}

impl LayerTerm {
    /// `τ_w² T + τ_b²`, from the gap before the bias.
    pub(super) fn part(
        &self,
        i: usize,
        cols: &Self,
        blocks: &Range<usize>,
        gaps: &[Block],
    ) -> Vec<Block> {
        let (weights, biases) = (self.weights.get(i), self.biases.get(i));
        let cols = [&cols.weights, &cols.biases].map(|values| &values.blocks()[blocks.clone()]);
        let part = |((weights_j, biases_j), gap): ((&Block, &Block), &Block)| {
            std::array::from_fn(|lane| {
                weights * weights_j[lane] * correlation(gap[lane]) + biases * biases_j[lane]
            })
        };
        cols[0].iter().zip(cols[1]).zip(gaps).map(part).collect()
    }
}
