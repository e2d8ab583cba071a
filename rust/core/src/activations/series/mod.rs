//! Expectations of any smooth activation as Hermite series in ρ, together with their truncation error.
//!
//! With `b_m(r) = E φ'(r z) he_m(z)`, he_m the normalised Hermite polynomials, and `a_0(r) = E φ(r z)`,
//!
//! ```text
//! Ṫ = Σ b_m(r1) b_m(r2) ρ^m          T = a_0(r1) a_0(r2) + r1 r2 Σ b_m(r1) b_m(r2) ρ^{m+1}/(m+1)
//! ```
//!
//! (Mehler; Han et al. 2022). The coefficients of φ itself follow from those of φ':
//! `E φ(r z) he_n(z) = r/√n b_{n−1}(r)`. This form is as accurate for small r as for large r, and makes dT/dc = Ṫ hold
//! term by term.
//!
//! Nearly parallel pairs and large r need millions of terms. The first terms are summed one by one. The next come in
//! octaves of m, each summed by a quadrature with a few nodes, which lie between the integers. If φ has a kink, the
//! tail beyond the octaves is summed as integrals of a power law.
//!
//! The number of octaves of a variable depends on its r alone, so an entry of a kernel depends on its two rows alone.

mod expansion;
mod fractional_hermite;
mod interpolation;
mod kink_tail;
mod numeric_slopes;
mod octaves;
mod one_minus_power;
mod packed;
mod pair_loops;
mod pair_sums;
mod quadrature;
mod samples;
mod with_slopes;

use crate::activations::activation::{Formula, Smooth};
use crate::activations::differentiable::{DescriptionSlopes, Differentiable, DualStep, elasticity};
use crate::activations::dual::{Description, Dual};
use crate::activations::features::{Features, Variables};
use crate::engine::pool::{Stages, Watch};
use crate::error::Result;
use crate::isa::{Block, Isa, Real};
use crate::math::double_double::DoubleDouble;

use interpolation::curves;
use samples::Interval;

/// A function whose dual is a Hermite series.
#[derive(Clone, Copy, Debug)]
pub struct Series<S>(pub S);

/// The shares of the curves, and of the variables on them, in the work.
const SHARES: [f64; 2] = [1.0, 10.0];

impl<F: Formula> Formula for Series<F> {
    #[inline(always)]
    fn value_and_slope<R: Real>(&self, x: R) -> (R, R) {
        self.0.value_and_slope(x)
    }

    #[inline(always)]
    fn curvature<R: Real>(&self, x: R) -> R {
        self.0.curvature(x)
    }
}

impl<S: Smooth> Dual for Series<S> {
    fn describe(&self, r: &[DoubleDouble], watch: &mut Watch<'_>) -> Result<Description> {
        describe(&self.0, r, watch)
    }

    fn description_cycles(&self) -> f64 {
        20_000.0
    }

    fn cycles(&self) -> f64 {
        100.0
    }

    fn step(&self, isa: Isa, pairs: Variables<'_>, gaps: &mut [Block], dots: &mut [Block]) {
        pair_loops::run(isa, &pairs, gaps, dots);
    }
}

impl<S: Smooth> Differentiable for Series<S> {
    fn slopes(&self, r: &[DoubleDouble], watch: &mut Watch<'_>) -> Result<DescriptionSlopes> {
        slopes(&self.0, r, watch)
    }

    fn differentiate(
        &self,
        isa: Isa,
        pairs: &Variables<'_>,
        slopes: &Variables<'_>,
        gaps: &[Block],
        steps: &mut [DualStep],
    ) {
        pair_loops::differentiate(isa, [pairs, slopes], gaps, steps);
    }
}

/// [`Dual::describe`] of any function, compiled once.
fn describe(
    function: &dyn Smooth,
    r: &[DoubleDouble],
    watch: &mut Watch<'_>,
) -> Result<Description> {
    let isa = Isa::current()?;
    let mut stages = Stages::new(watch, &SHARES);
    let curves = stages.next(|watch| curves(function, r, isa, watch))?;
    let curve = |r: f64| &curves[&Interval::of(r)];
    let (roots, features) = stages.next(|watch| packed::pack(r, |r| curve(r).at(r, isa), watch))?;
    let missing = r.iter().map(|r| curve(r.hi).missing(r.hi));
    Ok(Description {
        roots,
        features: Features(features),
        missing: missing.fold(0.0, f64::max),
    })
}

/// [`Differentiable::slopes`] of any function, compiled once.
fn slopes(
    function: &dyn Smooth,
    r: &[DoubleDouble],
    watch: &mut Watch<'_>,
) -> Result<DescriptionSlopes> {
    let isa = Isa::current()?;
    let mut stages = Stages::new(watch, &SHARES);
    let curves = stages.next(|watch| curves(function, r, isa, watch))?;
    let curve = |r: f64| &curves[&Interval::of(r)];
    let (slopes, features) =
        stages.next(|watch| packed::pack(r, |r| curve(r).slopes_at(r, isa), watch))?;
    let roots = r.iter().map(|r| curve(r.hi).at(r.hi, isa).root);
    let pairs = roots.zip(slopes.iter().map(|slope| slope.hi));
    Ok(DescriptionSlopes {
        elasticities: pairs.map(elasticity).collect(),
        features: Features(features),
    })
}
