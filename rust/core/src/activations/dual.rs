//! Expectations of φ and φ' under a Gaussian, for many pairs at once.
//!
//! Under (u, v) ~ N(0, [[q1, c], [c, q2]]), with `r = √q` and `ρ = c/(r1·r2)`, a pair is described by its **gap**:
//! `1 − |ρ|`, with the sign of ρ, so that +0 means equal directions, −0 opposite ones, and ±1 orthogonal ones.
//! `T = E φ(u)φ(v)` is again described by the roots `√Eφ(u)²`, `√Eφ(v)²` and a gap. The slope of `T` in c is infinite at
//! `ρ = ±1` for functions with a kink: the gap keeps every digit there that the correlation itself loses.

use crate::activations::differentiable::Differentiable;
use crate::activations::features::{Features, Variables};
use crate::error::Result;
use crate::isa::{Block, Isa};
use crate::math::double_double::DoubleDouble;

/// The expectations of one activation.
pub trait Dual: Differentiable {
    /// All that [`Dual::step`] wants to know of variables of roots r, one by one.
    ///
    /// # Errors
    /// If φ cannot be evaluated there.
    fn describe(&self, r: &[DoubleDouble]) -> Result<Description>;

    /// For the pairs of one u and several v: replaces each gap by that of (φ(u), φ(v)) and writes `Ṫ = E φ'(u)φ'(v)` to
    /// `dots`.
    ///
    /// Symmetric in u and v, bitwise; a gap of +0 between equal roots stays +0.
    ///
    /// # Panics
    /// If the slices differ in length.
    fn step(&self, isa: Isa, pairs: Variables<'_>, gaps: &mut [Block], dots: &mut [Block]);

    /// About how many cycles of one thread [`Dual::step`] takes for a pair.
    fn cycles(&self) -> f64 {
        10.0
    }

    /// The correlation of φ(u) and φ(v) for u and v of this one, and Ṫ in units of `√(T(u,u) T(v,v))/(r1·r2)`, if they depend
    /// on nothing else: where `φ(cx) = c φ(x)` for c > 0.
    fn of_direction(&self, correlation: DoubleDouble) -> Option<(DoubleDouble, DoubleDouble)> {
        let _ = correlation;
        None
    }
}

/// What an activation makes of Gaussian variables, one by one.
#[derive(Debug, Default)]
pub struct Description {
    /// `√E φ(u)²`.
    pub roots: Vec<DoubleDouble>,
    /// What the pairs need.
    pub features: Features,
    /// Which share is missing besides round-off: of `1 ∓ ρ'` and of Ṫ between any of the variables, in units of
    /// `√(Ṫ(u,u) Ṫ(v,v))`. 0 for closed forms.
    pub missing: f64,
}
