//! The infinite-width recursion on pairs of inputs, in the gap `e = 1 − ρ`.
//!
//! ```text
//! Σ^1 = σ_w² ⟨x,x'⟩/n_0 + σ_b²           Θ^1 = Σ^1
//! Σ^{l+1} = σ_w² T(Σ^l) + σ_b²            Θ^{l+1} = Σ^{l+1} + σ_w² Ṫ(Σ^l) ⊙ Θ^l
//! ```
//!
//! Along a row's own diagonal nothing depends on the other input: [`Profile`] holds it, O(N) per layer. A pair then
//! carries its gap alone, and `Σ = r_i r_j (1 − e)`.

use std::sync::Arc;

use crate::activation::{Activation, Dual};
use crate::error::{Error, Result};

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
    /// `1/r` and `u/r`, `σ_b/r`: only where there is a bias, so that r > 0.
    inverse: Vec<f64>,
    weight: Vec<f64>,
    bias: Vec<f64>,
}

/// The diagonal of every layer's kernel on a batch of inputs.
#[derive(Debug)]
pub struct Profile {
    levels: Vec<Level>,
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
        if layers.len() != activations.len() + 1 {
            let (dense, between) = (layers.len(), activations.len());
            let message = format!(
                "{dense} dense layers need {dense} - 1 activations between them, not {between}"
            );
            return Err(Error::Invalid(message));
        }
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
    pub fn profile(&self, root_mean_squares: Vec<f64>) -> Profile {
        let mut levels: Vec<Level> = Vec::with_capacity(self.layers.len());
        for (index, affine) in self.layers.iter().enumerate() {
            let roots = match levels.last() {
                None => root_mean_squares.clone(),
                Some(level) => level
                    .r
                    .iter()
                    .map(|r| self.dual(index - 1).root(*r))
                    .collect(),
            };
            levels.push(Level::new(affine, &roots));
        }
        Profile { levels }
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
                row.r[i],
                &col.r[columns.clone()],
            );
        }
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
        }
    }

    /// The gap of `(u_i·φ + σ_b·b)`: `w_i w_j e + b_i b_j (u_i−u_j)²/(r_i r_j) / (1 + w_i w_j + b_i b_j)`, where
    /// `w = u/r` and `b = σ_b/r`. Every term is positive: nothing cancels.
    fn widen_by_bias(&self, i: usize, cols: &Self, first: usize, gaps: &mut [f64]) {
        for (offset, gap) in gaps.iter_mut().enumerate() {
            let j = first + offset;
            let weight = self.weight[i] * cols.weight[j];
            let bias = self.bias[i] * cols.bias[j];
            let difference = self.u[i] - cols.u[j];
            let spread = (difference * self.inverse[i]) * (difference * cols.inverse[j]);
            *gap = weight * *gap + bias * spread / (1.0 + weight + bias);
        }
    }
}

impl Pairs {
    fn resize(&mut self, len: usize) {
        for values in [&mut self.nngp, &mut self.ntk, &mut self.dots] {
            values.resize(len, 0.0);
        }
    }

    /// `Σ = r_i r_j (1 − e)`; `Θ = Σ` in the first layer and `Σ + σ_w² Ṫ Θ` in the others.
    fn accumulate(&mut self, first: bool, sigma_w: f64, r_row: f64, r_cols: &[f64]) {
        let variance = sigma_w * sigma_w;
        for (c, r_col) in r_cols.iter().enumerate() {
            let nngp = r_row * r_col * (1.0 - self.gaps[c]);
            self.nngp[c] = nngp;
            self.ntk[c] = if first {
                nngp
            } else {
                nngp + variance * self.dots[c] * self.ntk[c]
            };
        }
    }
}
