//! The infinite-width recursion on pairs of inputs, in the gap `1 − |ρ|` (see [`Dual`]).
//!
//! ```text
//! Σ^1 = σ_w² ⟨x,x'⟩/n_0 + σ_b²           Θ^1 = Σ^1
//! Σ^{l+1} = σ_w² T(Σ^l) + σ_b²            Θ^{l+1} = Σ^{l+1} + σ_w² Ṫ(Σ^l) ⊙ Θ^l
//! ```
//!
//! Along a row's own diagonal nothing depends on the other input: [`Profile`] holds it, O(N) per layer. A pair then
//! carries its gap alone, and `Σ = r_i r_j ρ`.

use std::sync::Arc;

use crate::activation::{Activation, Dual, check_alternation};
use crate::error::{Error, Result};

/// Above this, products of two scaled roots would overflow.
const LARGEST: f64 = 1e154;

/// A dense layer as the recursion sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// Standard deviation of the weights, before division by √n.
    pub sigma_w: f64,
    /// Standard deviation of the biases; 0 means that there are none.
    pub sigma_b: f64,
}

/// An infinitely wide network: dense layers with activations between them.
#[derive(Clone, Debug)]
pub struct Recursion {
    layers: Vec<Affine>,
    activations: Vec<Arc<dyn Activation>>,
}

/// What one dense layer makes of the inputs one by one, `u = σ_w·√E φ²` being the root before the bias.
#[derive(Debug, Default)]
struct Level {
    u: Vec<f64>,
    /// `√Σ(x, x)`.
    r: Vec<f64>,
    /// r times the power of two of its input (see [`Profile`]).
    scaled: Vec<f64>,
    /// `1/r`, `u/r` and `σ_b/r`: only where there is a bias, so that r > 0.
    inverse: Vec<f64>,
    weight: Vec<f64>,
    bias: Vec<f64>,
}

/// The diagonal of every layer's kernel on a batch of inputs.
///
/// Each input has a power of two that brings its `√Σ(x, x)` of the last layer into [1, 2). Kernels, which are linear in
/// it, are computed with it and scaled back at the end: nothing on the way over- or underflows unless the result does.
#[derive(Debug)]
pub struct Profile {
    levels: Vec<Level>,
    exponents: Vec<i32>,
}

/// Gaps and kernels of one row against several columns.
#[derive(Debug, Default)]
pub struct Pairs {
    /// On entry the gaps of the inputs, on return those of the outputs.
    pub gaps: Vec<f64>,
    /// Σ of the last layer.
    pub nngp: Vec<f64>,
    /// Θ of the last layer.
    pub ntk: Vec<f64>,
    dots: Vec<f64>,
}

impl Recursion {
    /// A network of these layers and the activations between them.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the numbers of layers and activations do not match, or a sigma is out of its domain.
    pub fn new(layers: Vec<Affine>, activations: Vec<Arc<dyn Activation>>) -> Result<Self> {
        check_alternation(layers.len(), activations.len())?;
        for (index, Affine { sigma_w, sigma_b }) in layers.iter().enumerate() {
            if !(sigma_w.is_finite() && *sigma_w > 0.0) {
                let message = format!(
                    "sigma_w of dense layer {index} is {sigma_w}, but must be positive and finite"
                );
                return Err(Error::Invalid(message));
            }
            if !(sigma_b.is_finite() && *sigma_b >= 0.0) {
                let message = format!(
                    "sigma_b of dense layer {index} is {sigma_b}, but must be >= 0 and finite"
                );
                return Err(Error::Invalid(message));
            }
        }
        if let Some(activation) = activations
            .iter()
            .find(|activation| activation.dual().is_none())
        {
            let message = format!("{activation:?} has no closed form at infinite width");
            return Err(Error::Invalid(message));
        }
        Ok(Self {
            layers,
            activations,
        })
    }

    /// The profile of inputs whose root mean squares `√(|x|²/n_0)` are given.
    ///
    /// # Errors
    /// [`Error::Overflow`] if a layer's kernel is too large even in units of the last layer's.
    pub fn profile(&self, root_mean_squares: Vec<f64>, argument: &'static str) -> Result<Profile> {
        let mut levels: Vec<Level> = Vec::with_capacity(self.layers.len());
        let mut roots = root_mean_squares;
        for (index, affine) in self.layers.iter().enumerate() {
            if let Some(level) = levels.last() {
                roots = level
                    .r
                    .iter()
                    .map(|r| self.dual(index - 1).root(*r))
                    .collect();
            }
            levels.push(Level::new(affine, &roots));
        }
        let last = levels.last().map_or(&[][..], |level| &level.r);
        let exponents: Vec<i32> = last.iter().map(|r| libm::frexp(*r).1 - 1).collect();
        for level in &mut levels {
            level.scaled = level
                .r
                .iter()
                .zip(&exponents)
                .map(|(r, exponent)| libm::scalbn(*r, -exponent))
                .collect();
            // Not so for any NaN or infinity either.
            let fits = |row: &usize| level.r[*row].is_finite() && level.scaled[*row] < LARGEST;
            if let Some(row) = (0..level.r.len()).find(|row| !fits(row)) {
                return Err(Error::Overflow { argument, row });
            }
        }
        Ok(Profile { levels, exponents })
    }

    /// Runs all layers on row `i` of `rows` against `columns` of `cols`.
    ///
    /// Bitwise symmetric in the two inputs, and independent of the range of columns.
    ///
    /// # Panics
    /// If `pairs.gaps` does not hold one gap per column.
    pub fn run(
        &self,
        rows: &Profile,
        i: usize,
        cols: &Profile,
        columns: std::ops::Range<usize>,
        pairs: &mut Pairs,
    ) {
        assert_eq!(pairs.gaps.len(), columns.len());
        pairs.resize(columns.len());
        for (index, affine) in self.layers.iter().enumerate() {
            if index > 0 {
                let (r_u, r_v) = (
                    rows.levels[index - 1].r[i],
                    &cols.levels[index - 1].r[columns.clone()],
                );
                self.dual(index - 1)
                    .step(r_u, r_v, &mut pairs.gaps, &mut pairs.dots);
            }
            let (row, col) = (&rows.levels[index], &cols.levels[index]);
            if affine.sigma_b > 0.0 {
                row.widen_by_bias(i, col, columns.start, &mut pairs.gaps);
            }
            pairs.accumulate(
                index == 0,
                affine.sigma_w,
                row.scaled[i],
                &col.scaled[columns.clone()],
            );
        }
        pairs.scale_back(rows.exponents[i], &cols.exponents[columns]);
    }

    fn dual(&self, index: usize) -> &dyn Dual {
        // `new` has seen to it.
        #[allow(clippy::expect_used)]
        self.activations[index]
            .dual()
            .expect("every activation of a recursion has a dual")
    }
}

impl Level {
    fn new(affine: &Affine, roots: &[f64]) -> Self {
        let u: Vec<f64> = roots.iter().map(|root| affine.sigma_w * root).collect();
        if affine.sigma_b == 0.0 {
            return Self {
                r: u.clone(),
                u,
                ..Self::default()
            };
        }
        let r: Vec<f64> = u.iter().map(|u| libm::hypot(*u, affine.sigma_b)).collect();
        let inverse: Vec<f64> = r.iter().map(|r| 1.0 / r).collect();
        let weight = u.iter().zip(&r).map(|(u, r)| u / r).collect();
        let bias = r.iter().map(|r| affine.sigma_b / r).collect();
        Self {
            u,
            r,
            inverse,
            weight,
            bias,
            ..Self::default()
        }
    }

    /// The gaps of `u_i·φ + σ_b·b`. With `w = u_i u_j/(r_i r_j)` and `b = σ_b²/(r_i r_j)`, and
    /// `d = 1 − w − b = b (u_i−u_j)²/(r_i r_j)/(1 + w + b)`, the new correlation is `wρ + b`, so that
    /// `1 − ρ' = d + w (1−ρ)` and `1 + ρ' = d + 2b + w (1+ρ)`. Every term is positive: nothing cancels.
    fn widen_by_bias(&self, i: usize, cols: &Self, first: usize, gaps: &mut [f64]) {
        for (offset, gap) in gaps.iter_mut().enumerate() {
            let j = first + offset;
            let weight = self.weight[i] * cols.weight[j];
            let bias = self.bias[i] * cols.bias[j];
            let difference = self.u[i] - cols.u[j];
            // In this order no factor overflows: |u_i − u_j| σ_b/r_i is of the size of σ_b or of u_j.
            let spread = (difference * self.bias[i] * cols.inverse[j])
                * (difference * cols.bias[j] * self.inverse[i]);
            let spread = spread / (1.0 + weight + bias);
            let size = gap.abs();
            *gap = if gap.is_sign_positive() {
                spread + weight * size
            } else if weight * (1.0 - size) > bias {
                -(spread + 2.0 * bias + weight * size)
            } else {
                spread + weight * (2.0 - size)
            };
        }
    }
}

impl Pairs {
    fn resize(&mut self, len: usize) {
        for values in [&mut self.nngp, &mut self.ntk, &mut self.dots] {
            values.resize(len, 0.0);
        }
    }

    /// `Σ = r_i r_j ρ`, with the scaled r; `Θ = Σ` in the first layer and `Σ + σ_w² Ṫ Θ` in the others.
    fn accumulate(&mut self, first: bool, sigma_w: f64, r_row: f64, r_cols: &[f64]) {
        let variance = sigma_w * sigma_w;
        for (c, r_col) in r_cols.iter().enumerate() {
            let nngp = r_row * r_col * (1.0 - self.gaps[c].abs()).copysign(self.gaps[c]);
            self.nngp[c] = nngp;
            self.ntk[c] = if first {
                nngp
            } else {
                nngp + variance * self.dots[c] * self.ntk[c]
            };
        }
    }

    /// Undoes the scaling of the rows.
    fn scale_back(&mut self, row: i32, cols: &[i32]) {
        for (c, col) in cols.iter().enumerate() {
            self.nngp[c] = libm::scalbn(self.nngp[c], row + col);
            self.ntk[c] = libm::scalbn(self.ntk[c], row + col);
        }
    }
}
