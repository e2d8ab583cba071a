//! Expectations of φ and φ' under a Gaussian, for many pairs at once.
//!
//! Let (u, v) ~ N(0, [[q1, c], [c, q2]]), with roots `r = √q` and correlation `ρ = c/(r1·r2)`. A pair is described by
//! its roots and its **gap**: `1 − |ρ|` with the sign of ρ. A gap of +0 means equal directions, −0 opposite ones, and
//! ±1 orthogonal ones.
//!
//! `T = E φ(u)φ(v)` is described in the same way: by the roots `√E φ(u)²` and `√E φ(v)²`, and a new gap. If φ has a
//! kink, a derivative of `T` in c is infinite at `ρ = ±1`. The gap keeps the digits there that the correlation itself
//! loses.

use crate::activations::dense_layer::{BandKernels, BandLayer};
use crate::activations::differentiable::Differentiable;
use crate::activations::far_layer::FarDual;
use crate::activations::features::{Features, Variables};
use crate::activations::pixel_band::PixelBand;
use crate::activations::single::SingleDual;
use crate::engine::pool::Watch;
use crate::engine::rows::{Numbers, per_row};
use crate::error::Result;
use crate::isa::{Block, Isa};
use crate::math::double_double::DoubleDouble;

/// The expectations of one activation.
pub trait Dual: Differentiable {
    /// Precomputes, for each variable N(0, r²), the numbers that [`Dual::step`] reads.
    ///
    /// # Errors
    /// If φ cannot be evaluated at one of the points that this needs; as [`pool::for_each`](crate::engine::pool::for_each).
    fn describe(&self, r: &[DoubleDouble], watch: &mut Watch<'_>) -> Result<Description>;

    /// Estimated cycles of [`Dual::describe`] per variable, on one thread.
    fn description_cycles(&self) -> f64 {
        500.0
    }

    /// Replaces each gap by that of (φ(u), φ(v)), and writes `Ṫ = E φ'(u)φ'(v)` to `dots`, for the pairs of one u and
    /// several v.
    ///
    /// The result is symmetric in u and v, bitwise. A gap of +0 between equal roots stays +0.
    ///
    /// # Panics
    /// If the slices differ in length.
    fn step(&self, isa: Isa, pairs: Variables<'_>, gaps: &mut [Block], dots: &mut [Block]);

    /// [`Dual::step`] on a band of pixel pairs, of which each has a u of its own, and the products after it.
    ///
    /// # Panics
    /// If the slices of the band are too short.
    fn pixel_step(&self, isa: Isa, band: PixelBand<'_>) {
        band.run(isa, |pairs, gaps, dots| self.step(isa, pairs, gaps, dots));
    }

    /// [`Dual::step`] on a band of rows, and the dense layer after it: replaces the gaps and Θ, and writes Σ and Σ̇.
    ///
    /// # Panics
    /// If there is not one variable for each row and column, or no room for the kernels of a pair.
    fn step_and_layer(&self, isa: Isa, [rows, cols]: [&Features; 2], layer: BandLayer<'_>) {
        let BandKernels { gaps, factors, .. } = &mut *layer.kernels;
        for (pairs, place) in layer.pairs.each_row() {
            let variables = pairs.variables(rows, cols);
            self.step(
                isa,
                variables,
                &mut gaps[place.clone()],
                &mut factors[place],
            );
        }
        isa.run(layer);
    }

    /// The activation on gaps in `f32`. `None` if kernels of float32 inputs would then not be right to 8 of its ε.
    fn single(&self) -> Option<&dyn SingleDual> {
        None
    }

    /// The activation on pairs of float32 inputs, if formulas in `f32` for far pairs would be right to 8 of its ε, and
    /// faster.
    fn far_single(&self) -> Option<&dyn FarDual> {
        None
    }

    /// Estimated cycles of [`Dual::step`] per pair, on one thread.
    fn cycles(&self) -> f64 {
        10.0
    }

    /// Returns the correlation of φ(u) and φ(v), and Ṫ in units of `√(T(u,u) T(v,v))/(r1·r2)`, given the correlation of
    /// u and v.
    ///
    /// The correlation alone determines both if φ is homogeneous: `φ(cx) = c φ(x)` for c > 0. `None` for all other
    /// functions.
    fn of_direction(&self, correlation: DoubleDouble) -> Option<(DoubleDouble, DoubleDouble)> {
        let _ = correlation;
        None
    }
}

/// Per-variable results of an activation applied to Gaussian variables.
#[derive(Debug, Default)]
pub struct Description {
    /// `√E φ(u)²`.
    pub roots: Vec<DoubleDouble>,
    /// The numbers that pairs read.
    pub features: Features,
    /// The truncation error for any two of the variables, round-off not included, as a share of `1 ∓ ρ'`, and of Ṫ in
    /// units of `√(Ṫ(u,u) Ṫ(v,v))`. 0 for closed forms.
    pub missing: f64,
}

impl Description {
    /// Describes variables on all threads. `band` returns the roots and the features of some of them, in closed form.
    ///
    /// # Errors
    /// As [`per_row`].
    pub(crate) fn in_bands(
        r: &[DoubleDouble],
        cycles: f64,
        watch: &mut Watch<'_>,
        band: impl Fn(&[DoubleDouble]) -> Numbers<DoubleDouble> + Sync,
    ) -> Result<Self> {
        let (roots, features) = per_row(r.len(), cycles, watch, &|rows| Ok(band(&r[rows])))?;
        Ok(Self {
            roots,
            features: Features(features),
            missing: 0.0,
        })
    }
}
