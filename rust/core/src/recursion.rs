//! The infinite-width recursion on pairs of inputs, in the gap `1 − |ρ|` (see [`crate::dual`]).
//!
//! ```text
//! Σ^1 = σ_w² ⟨x,x'⟩/n_0 + σ_b²           Θ^1 = own^1
//! Σ^{l+1} = σ_w² T(Σ^l) + σ_b²            Θ^{l+1} = own^{l+1} + σ_w² Ṫ(Σ^l) ⊙ Θ^l
//! ```
//!
//! with `own = Σ`, or `τ_w² T + τ_b²` for a layer that learns at other scales. Along a row's own diagonal nothing depends on the other input: [`Profile`]
//! holds it, O(N) per layer. A pair then carries its gap alone, and `Σ = r_i r_j ρ`.

use std::ops::Range;
use std::sync::Arc;

use crate::activation::{Activation, check_alternation};
use crate::double_double::DoubleDouble;
use crate::dual::{Description, Dual, Features, Variables};
use crate::error::{Error, Result};
use crate::isa::{Block, Blocks, Isa, Vector, Vectorized, WIDTH};
use crate::tile::Tile;

/// Above this, products of two scaled roots would overflow.
const LARGEST: f64 = 1e154;

/// Powers of two whose products of two are normal numbers.
const MODERATE: i32 = 500;

/// A dense layer as the recursion sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// Standard deviation of the weights, before division by √n.
    pub sigma_w: f64,
    /// Standard deviation of the biases; 0 means that there are none.
    pub sigma_b: f64,
    /// Learning scale of the weights: σ_w if they are trained like the others, 0 if they are not.
    pub tau_w: f64,
    /// Learning scale of the biases, likewise.
    pub tau_b: f64,
}

/// Which kernel, after which dense layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Σ^{l+1}, the covariance at initialisation after dense layer l.
    Nngp(usize),
    /// Θ^{l+1}, the tangent kernel after dense layer l.
    Ntk(usize),
    /// What dense layer l contributes to Θ of the whole network.
    Part(usize),
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
    /// `√Σ(x, x)`.
    r: Vec<DoubleDouble>,
    /// r times the power of two of its input (see [`Profile`]).
    scaled: Blocks,
    /// What the next activation knows of the inputs.
    features: Features,
    /// Only where there is a bias, so that r > 0.
    bias: Option<Bias>,
    /// Only where the layer's part of Θ is not Σ.
    own: Option<Own>,
}

/// `u`, `1/r`, `u/r` and `σ_b/r`.
#[derive(Debug)]
struct Bias {
    u: Blocks,
    inverse: Blocks,
    weight: Blocks,
    bias: Blocks,
}

/// `τ_w·√E φ²` and `τ_b`, scaled as r.
#[derive(Debug)]
struct Own {
    weights: Blocks,
    biases: Blocks,
}

/// The diagonal of every layer's kernel on a batch of inputs.
///
/// Each input has a power of two that brings its `√Σ(x, x)` of the last layer into [1, 2). Kernels, which are linear in
/// it, are computed with it and scaled back at the end: nothing on the way over- or underflows unless the result does.
#[derive(Debug)]
pub struct Profile {
    levels: Vec<Level>,
    exponents: Vec<i32>,
    /// Two to the exponents, if all are moderate.
    factors: Option<Blocks>,
}

/// Kernels between two batches of inputs, by their profiles.
#[derive(Clone, Copy, Debug)]
pub struct Pass<'a> {
    recursion: &'a Recursion,
    isa: Isa,
    rows: &'a Profile,
    cols: &'a Profile,
    outputs: &'a [Output],
}

/// What the layers leave of one row against blocks of columns.
#[derive(Debug, Default)]
pub struct Pairs {
    nngp: Vec<Block>,
    ntk: Vec<Block>,
    /// The layer's own part of Θ, if it is not Σ.
    own: Option<Vec<Block>>,
    /// What the layer multiplies the parts of those before it with.
    factors: Vec<Block>,
    /// The parts that are wanted, with their layers.
    parts: Vec<(usize, Vec<Block>)>,
}

impl Recursion {
    /// A network of these layers and the activations between them.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the numbers of layers and activations do not match, or a sigma is out of its domain.
    pub fn new(layers: Vec<Affine>, activations: Vec<Arc<dyn Activation>>) -> Result<Self> {
        check_alternation(layers.len(), activations.len())?;
        for (index, affine) in layers.iter().enumerate() {
            affine.check(index)?;
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

    /// The number of dense layers.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// The dense layers.
    pub(crate) fn affine(&self) -> &[Affine] {
        &self.layers
    }

    /// The profile of inputs whose root mean squares `√(|x|²/n_0)` are given.
    ///
    /// # Errors
    /// [`Error::Overflow`] if a layer's kernel is too large even in units of the last layer's; those of
    /// [`Dual::describe`].
    pub fn profile(&self, root_mean_squares: &[f64], argument: &'static str) -> Result<Profile> {
        let mut levels: Vec<Level> = Vec::with_capacity(self.layers.len());
        let mut roots: Vec<_> = root_mean_squares.iter().map(|r| (*r).into()).collect();
        for (index, affine) in self.layers.iter().enumerate() {
            let mut level = Level::new(affine, &roots);
            if let Some(row) = level.r.iter().position(|r| !r.value.is_finite()) {
                return Err(Error::Overflow { argument, row });
            }
            if index < self.activations.len() {
                let Description {
                    features,
                    roots: next,
                } = self.dual(index).describe(&level.r)?;
                (level.features, roots) = (features, next);
            }
            levels.push(level);
        }
        let last = levels.last().map_or(&[][..], |level| &level.r);
        let exponents: Vec<i32> = last.iter().map(|r| libm::frexp(r.value).1 - 1).collect();
        for level in &mut levels {
            level.scale(&exponents);
            let too_large = |r: &f64| r.is_nan() || *r >= LARGEST;
            if let Some(row) = level
                .scaled
                .blocks()
                .as_flattened()
                .iter()
                .position(too_large)
            {
                return Err(Error::Overflow { argument, row });
            }
        }
        let moderate = exponents.iter().all(|exponent| exponent.abs() <= MODERATE);
        let factors = moderate.then(|| exponents.iter().map(|e| libm::scalbn(1.0, *e)).collect());
        Ok(Profile {
            levels,
            exponents,
            factors,
        })
    }

    /// The `outputs` between two batches of inputs.
    ///
    /// # Panics
    /// If the profiles are those of another recursion, or an output is that of a layer which does not exist.
    pub fn between<'a>(
        &'a self,
        isa: Isa,
        rows: &'a Profile,
        cols: &'a Profile,
        outputs: &'a [Output],
    ) -> Pass<'a> {
        assert!(rows.levels.len() == self.layers.len() && cols.levels.len() == self.layers.len());
        assert!(
            outputs
                .iter()
                .all(|output| output.layer() < self.layers.len())
        );
        Pass {
            recursion: self,
            isa,
            rows,
            cols,
            outputs,
        }
    }

    pub(crate) fn dual(&self, index: usize) -> &dyn Dual {
        // `new` has seen to it.
        #[allow(clippy::expect_used)]
        self.activations[index]
            .dual()
            .expect("every activation of a recursion has a dual")
    }
}

impl Affine {
    fn check(&self, index: usize) -> Result<()> {
        let scales = [
            ("sigma_w", self.sigma_w),
            ("sigma_b", self.sigma_b),
            ("tau_w", self.tau_w),
            ("tau_b", self.tau_b),
        ];
        let bad = |(name, scale): &(&str, f64)| {
            !scale.is_finite() || *scale < 0.0 || (*name == "sigma_w" && *scale == 0.0)
        };
        match scales.into_iter().find(bad) {
            None => Ok(()),
            Some((name, scale)) => {
                let bound = if name == "sigma_w" {
                    "positive"
                } else {
                    ">= 0"
                };
                let message = format!(
                    "{name} of dense layer {index} is {scale}, but must be {bound} and finite"
                );
                Err(Error::Invalid(message))
            }
        }
    }

    /// Whether the layer's part of Θ is Σ.
    fn learns_as_it_starts(&self) -> bool {
        self.tau_w == self.sigma_w && self.tau_b == self.sigma_b
    }
}

impl Output {
    fn layer(self) -> usize {
        match self {
            Self::Nngp(layer) | Self::Ntk(layer) | Self::Part(layer) => layer,
        }
    }
}

impl Pass<'_> {
    /// Runs all layers on row `i` against `blocks` of columns, whose gaps are given and lost, and writes each output to
    /// row `r` of its plane.
    ///
    /// Bitwise symmetric in the two inputs, and independent of the range of columns.
    ///
    /// # Panics
    /// If `gaps` or a plane does not hold as many blocks, or there is not one plane per output.
    pub fn run(
        &self,
        i: usize,
        blocks: &Range<usize>,
        gaps: &mut [Block],
        pairs: &mut Pairs,
        (planes, r): (&mut [Tile], usize),
    ) {
        assert!(gaps.len() == blocks.len() && planes.len() == self.outputs.len());
        pairs.reset(blocks.len());
        for (index, affine) in self.recursion.layers.iter().enumerate() {
            if index > 0 {
                let variables = Variables {
                    rows: &self.rows.levels[index - 1].features,
                    row: i,
                    cols: &self.cols.levels[index - 1].features,
                    blocks: blocks.clone(),
                };
                let dual = self.recursion.dual(index - 1);
                dual.step(self.isa, variables, gaps, &mut pairs.factors);
            }
            self.pass_layer(index, affine, i, blocks, gaps, pairs);
            for (plane, output) in planes.iter_mut().zip(self.outputs) {
                let values = match *output {
                    Output::Nngp(layer) if layer == index => &pairs.nngp,
                    Output::Ntk(layer) if layer == index => &pairs.ntk,
                    Output::Part(layer) if layer == index => {
                        let own = pairs.own.as_ref().unwrap_or(&pairs.nngp);
                        pairs.parts.push((layer, own.clone()));
                        continue;
                    }
                    _ => continue,
                };
                self.store(i, blocks, values, plane.row_blocks_mut(r));
            }
        }
        for (plane, output) in planes.iter_mut().zip(self.outputs) {
            let part = pairs
                .parts
                .iter()
                .find(|(layer, _)| *output == Output::Part(*layer));
            if let Some((_, values)) = part {
                self.store(i, blocks, values, plane.row_blocks_mut(r));
            }
        }
    }

    /// A dense layer: widens the gaps by the biases, and adds the layer to Θ.
    fn pass_layer(
        &self,
        index: usize,
        affine: &Affine,
        i: usize,
        blocks: &Range<usize>,
        gaps: &mut [Block],
        pairs: &mut Pairs,
    ) {
        let (row, cols) = (&self.rows.levels[index], &self.cols.levels[index]);
        pairs.own = match (&row.own, &cols.own) {
            (Some(row), Some(cols)) => Some(row.part(i, cols, blocks, gaps)),
            _ => None,
        };
        if let (Some(row), Some(cols)) = (&row.bias, &cols.bias) {
            self.isa.run(Widen {
                row: [&row.u, &row.inverse, &row.weight, &row.bias].map(|values| values.get(i)),
                cols: [&cols.u, &cols.inverse, &cols.weight, &cols.bias]
                    .map(|values| &values.blocks()[blocks.clone()]),
                gaps,
            });
        }
        self.isa.run(Accumulate {
            variance: affine.sigma_w * affine.sigma_w,
            r: row.scaled.get(i),
            cols: &cols.scaled.blocks()[blocks.clone()],
            gaps,
            first: index == 0,
            pairs,
        });
    }

    /// Writes values without the scaling of the rows.
    fn store(&self, i: usize, blocks: &Range<usize>, values: &[Block], target: &mut [Block]) {
        if let (Some(rows), Some(cols)) = (&self.rows.factors, &self.cols.factors) {
            self.isa.run(Scale {
                factor: rows.get(i),
                factors: &cols.blocks()[blocks.clone()],
                values,
                target,
            });
        } else {
            let exponents = &self.cols.exponents[blocks.start * WIDTH..];
            let values = values.as_flattened().iter().zip(exponents);
            for (target, (value, exponent)) in target.as_flattened_mut().iter_mut().zip(values) {
                *target = libm::scalbn(*value, self.rows.exponents[i] + exponent);
            }
        }
    }
}

impl Level {
    fn new(affine: &Affine, roots: &[DoubleDouble]) -> Self {
        let sigma_w = DoubleDouble::from(affine.sigma_w);
        let u: Vec<_> = roots.iter().map(|root| sigma_w * *root).collect();
        let own = (!affine.learns_as_it_starts()).then(|| Own {
            weights: roots.iter().map(|root| affine.tau_w * root.value).collect(),
            biases: roots.iter().map(|_| affine.tau_b).collect(),
        });
        let (r, bias) = if affine.sigma_b == 0.0 {
            (u, None)
        } else {
            let (r, bias) = Bias::new(&u, affine.sigma_b);
            (r, Some(bias))
        };
        Self {
            r,
            bias,
            own,
            ..Self::default()
        }
    }

    /// Fills what is in units of the rows' powers of two.
    fn scale(&mut self, exponents: &[i32]) {
        let scale = |(value, exponent): (f64, &i32)| libm::scalbn(value, -exponent);
        let roots = self.r.iter().map(|r| r.value);
        self.scaled = roots.zip(exponents).map(scale).collect();
        if let Some(own) = &mut self.own {
            for values in [&mut own.weights, &mut own.biases] {
                *values = values.iter().zip(exponents).map(scale).collect();
            }
        }
    }
}

impl Bias {
    /// `r = √(u² + σ_b²)`, and what [`Widen`] needs of it.
    fn new(u: &[DoubleDouble], sigma_b: f64) -> (Vec<DoubleDouble>, Self) {
        let r: Vec<_> = u.iter().map(|u| u.hypot(sigma_b.into())).collect();
        let bias = Self {
            u: u.iter().map(|u| u.value).collect(),
            inverse: r.iter().map(|r| 1.0 / r.value).collect(),
            weight: u.iter().zip(&r).map(|(u, r)| u.value / r.value).collect(),
            bias: r.iter().map(|r| sigma_b / r.value).collect(),
        };
        (r, bias)
    }
}

impl Pairs {
    fn reset(&mut self, blocks: usize) {
        // All of it is written by the first layer, or by the first activation.
        for values in [&mut self.nngp, &mut self.ntk, &mut self.factors] {
            values.resize(blocks, [0.0; WIDTH]);
        }
        self.parts.clear();
    }
}

impl Own {
    /// `τ_w² T + τ_b²`, from the gap before the bias.
    fn part(&self, i: usize, cols: &Self, blocks: &Range<usize>, gaps: &[Block]) -> Vec<Block> {
        let (weights, biases) = (self.weights.get(i), self.biases.get(i));
        let cols = [&cols.weights, &cols.biases].map(|values| &values.blocks()[blocks.clone()]);
        let part = |((weights_j, biases_j), gap): ((&Block, &Block), &Block)| {
            std::array::from_fn(|lane| {
                let rho = (1.0 - gap[lane].abs()).copysign(gap[lane]);
                weights * weights_j[lane] * rho + biases * biases_j[lane]
            })
        };
        cols[0].iter().zip(cols[1]).zip(gaps).map(part).collect()
    }
}

/// The gaps of `u_i·φ + σ_b·b`. With `w = u_i u_j/(r_i r_j)` and `b = σ_b²/(r_i r_j)`, and
/// `d = 1 − w − b = b (u_i−u_j)²/(r_i r_j)/(1 + w + b)`, the new correlation is `wρ + b`, so that
/// `1 − ρ' = d + w (1−ρ)` and `1 + ρ' = d + 2b + w (1+ρ)`. Every term is positive: nothing cancels.
struct Widen<'a> {
    /// `u`, `1/r`, `u/r` and `σ_b/r` of the row and of the columns.
    row: [f64; 4],
    cols: [&'a [Block]; 4],
    gaps: &'a mut [Block],
}

impl Vectorized for Widen<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (one, two) = (V::splat(1.0), V::splat(2.0));
        let [u, inverse, weight, bias] = self.row;
        let (u, inverse) = (V::splat(u), V::splat(inverse));
        let (weight, bias) = (V::splat(weight), V::splat(bias));
        let [us, inverses, weights, biases] = self.cols;
        let cols = us.iter().zip(inverses).zip(weights.iter().zip(biases));
        for (gap, ((u_j, inverse_j), (weight_j, bias_j))) in self.gaps.iter_mut().zip(cols) {
            let bias_j = V::load(bias_j);
            let (w, b) = (weight * V::load(weight_j), bias * bias_j);
            let difference = u - V::load(u_j);
            // In this order no factor overflows: |u_i − u_j| σ_b/r_i is of the size of σ_b or of u_j.
            let spread = (difference * bias * V::load(inverse_j)) * (difference * bias_j * inverse);
            let spread = spread / (one + w + b);
            let signed = V::load(gap);
            let size = signed.abs();
            let aligned = w.mul_add(size, spread);
            let still_opposite = -(aligned + two * b);
            let turned = w.mul_add(two - size, spread);
            let from_opposite = V::select(b.less(w * (one - size)), still_opposite, turned);
            V::select(signed.is_negative(), from_opposite, aligned).store(gap);
        }
    }
}

/// `Σ = r_i r_j ρ` and `Θ ← own + σ_w² Ṫ Θ`.
struct Accumulate<'a> {
    variance: f64,
    r: f64,
    cols: &'a [Block],
    gaps: &'a [Block],
    /// Whether there is no Θ yet.
    first: bool,
    pairs: &'a mut Pairs,
}

impl Vectorized for Accumulate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (one, r, variance) = (V::splat(1.0), V::splat(self.r), V::splat(self.variance));
        let Pairs {
            nngp,
            ntk,
            own,
            factors,
            parts,
        } = self.pairs;
        for (gap, (nngp, col)) in self.gaps.iter().zip(nngp.iter_mut().zip(self.cols)) {
            let gap = V::load(gap);
            let correlation = (one - gap.abs()).copysign(gap);
            (r * V::load(col) * correlation).store(nngp);
        }
        let own = own.as_ref().unwrap_or(nngp);
        if self.first {
            ntk.copy_from_slice(own);
            return;
        }
        for ((own, factor), ntk) in own.iter().zip(factors.iter_mut()).zip(ntk) {
            let product = variance * V::load(factor);
            product.store(factor);
            product.mul_add(V::load(ntk), V::load(own)).store(ntk);
        }
        for (_, part) in parts {
            for (part, factor) in part.iter_mut().zip(factors.iter()) {
                (V::load(part) * V::load(factor)).store(part);
            }
        }
    }
}

/// `target = factor · factors · values`.
struct Scale<'a> {
    factor: f64,
    factors: &'a [Block],
    values: &'a [Block],
    target: &'a mut [Block],
}

impl Vectorized for Scale<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let factor = V::splat(self.factor);
        let values = self.values.iter().zip(self.factors);
        for (target, (values, factors)) in self.target.iter_mut().zip(values) {
            (factor * V::load(factors) * V::load(values)).store(target);
        }
    }
}
