//! Expectations of any smooth activation, by the series of Hermite polynomials in ρ, with the error they have.
//!
//! With `b_m(r) = E φ'(r z) he_m(z)`, he_m the normalised Hermite polynomials, and `a_0(r) = E φ(r z)`,
//!
//! ```text
//! Ṫ = Σ b_m(r1) b_m(r2) ρ^m          T = a_0(r1) a_0(r2) + r1 r2 Σ b_m(r1) b_m(r2) ρ^{m+1}/(m+1)
//! ```
//!
//! (Mehler; Han et al. 2022). Coefficients of φ itself are not needed: `E φ(r z) he_n(z) = r/√n b_{n−1}(r)`, which is as
//! exact for small r as for large, and makes dT/dc = Ṫ hold term by term.
//!
//! A variable has its own number of terms, a function of its r alone, past which its coefficients are 0: an entry of a
//! kernel depends on its two rows alone.

mod coefficients;
mod rule;
mod samples;
mod step;
mod tails;

use std::fmt::Debug;

use crate::activation::{Activation, Formula, Smooth, curvature, evaluate};
use crate::double_double::DoubleDouble;
use crate::dual::{Description, Dual, Features, Truncation, Variables};
use crate::error::Result;
use crate::isa::{Block, Isa};

use coefficients::{Curve, curves};
use samples::Piece;

/// A function with its series for a dual.
#[derive(Clone, Copy, Debug)]
pub struct Series<S>(pub S);

impl<F: Formula + Debug + Send + Sync> Activation for Series<F> {
    fn evaluate(&self, h: &mut [f64], slopes: &mut [f64]) {
        evaluate(&self.0, h, slopes);
    }

    fn curvature(&self, h: &mut [f64]) {
        curvature(&self.0, h);
    }

    fn dual(&self) -> Option<&dyn Dual> {
        Some(self)
    }
}

impl<S: Smooth> Dual for Series<S> {
    fn describe(&self, r: &[DoubleDouble]) -> Result<Description> {
        let (isa, r): (_, Vec<f64>) = (Isa::current()?, r.iter().map(|r| r.value).collect());
        let curves = curves(&self.0, &r, isa)?;
        let variables = r.iter().map(|r| curves[&Piece::of(*r)].at(*r, isa));
        let (roots, features) = step::pack(variables);
        Ok(Description {
            roots,
            features: Features(features),
        })
    }

    fn step(&self, isa: Isa, pairs: Variables<'_>, gaps: &mut [Block], dots: &mut [Block]) {
        step::run(isa, &pairs, gaps, dots);
    }

    fn truncations(&self, r: &[f64]) -> Result<Vec<Truncation>> {
        let curves = curves(&self.0, r, Isa::current()?)?;
        let wanted = curves.values().map(|curve| curve.terms).max();
        let truncation = |curve: &Curve| match wanted {
            Some(wanted) if curve.kept < wanted => curve.cut,
            _ => curve.truncation,
        };
        Ok(r.iter()
            .map(|r| truncation(&curves[&Piece::of(*r)]))
            .collect())
    }
}
