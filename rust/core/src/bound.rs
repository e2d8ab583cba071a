//! How far off the kernels of series can be, through all layers.
//!
//! Errors are measured in units of `√(K(x,x) K(x',x'))`. With `T = Σ a_n(r1) a_n(r2) ρⁿ`, an error δ of ρ becomes at most
//! `Σ a_n² (1 − (1−δ)ⁿ)` in these units: what T falls by along a variable's own diagonal when the gap opens from 0 to δ.
//! So the step of any dual bounds how it passes errors on, kinks included; truncation adds to that.

use crate::double_double::DoubleDouble;
use crate::dual::{Description, Dual, Variables};
use crate::error::Result;
use crate::isa::{Isa, WIDTH};
use crate::recursion::Recursion;

/// Bounds on errors, in units of `√(K(x,x) K(x',x'))`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bound {
    /// Of Σ.
    pub nngp: f64,
    /// Of Θ.
    pub ntk: f64,
}

/// The diagonal of one input on its way through the layers.
#[derive(Clone, Copy)]
struct Diagonal {
    /// `√T`, or at the first layer `√(|x|²/n_0)`.
    root: f64,
    /// Θ and Ṫ.
    ntk: f64,
    dot: f64,
}

/// What truncation may add to any entry between inputs whose root mean squares `√(|x|²/n_0)` are given, besides
/// round-off. 0 where every dual is a closed form. O(N·layers), and the series.
///
/// # Errors
/// Those of [`Dual::describe`].
pub fn bound(recursion: &Recursion, root_mean_squares: &[f64]) -> Result<Bound> {
    let diagonal = |root: &f64| Diagonal {
        root: *root,
        ntk: 0.0,
        dot: 0.0,
    };
    let mut inputs: Vec<Diagonal> = root_mean_squares.iter().map(diagonal).collect();
    let (mut bound, mut of_value, mut of_slope) = (Bound::default(), 0.0, 0.0);
    for (index, affine) in recursion.affine().iter().enumerate() {
        let (mut nngp, mut ntk, mut r) = (0.0_f64, 0.0_f64, Vec::with_capacity(inputs.len()));
        for input in &mut inputs {
            let square = input.root * input.root;
            let sigma = square * affine.sigma_w * affine.sigma_w + affine.sigma_b * affine.sigma_b;
            let weights = square * affine.tau_w * affine.tau_w;
            let passed = affine.sigma_w * affine.sigma_w * input.dot * input.ntk;
            input.ntk = weights + affine.tau_b * affine.tau_b + passed;
            let errors = [
                of_value * square * affine.sigma_w * affine.sigma_w,
                of_value * weights + passed * (bound.ntk + of_slope * (1.0 + bound.ntk)),
            ];
            nngp = nngp.max(share(errors[0], sigma));
            ntk = ntk.max(share(errors[1], input.ntk));
            r.push(sigma.sqrt());
        }
        bound = Bound { nngp, ntk };
        if index + 1 < recursion.layers() {
            (of_value, of_slope) = pass(recursion.dual(index), &r, bound.nngp, &mut inputs)?;
        }
    }
    Ok(bound)
}

/// `error/whole`, of nothing nothing.
fn share(error: f64, whole: f64) -> f64 {
    if error > 0.0 { error / whole } else { 0.0 }
}

/// Takes inputs of roots r through an activation; returns the errors of T and Ṫ, given that of the correlation.
fn pass(dual: &dyn Dual, r: &[f64], error: f64, inputs: &mut [Diagonal]) -> Result<(f64, f64)> {
    let isa = Isa::current()?;
    let truncations = dual.truncations(r)?;
    let exact: Vec<DoubleDouble> = r.iter().map(|r| (*r).into()).collect();
    let Description { roots, features } = dual.describe(&exact)?;
    let (mut of_value, mut of_slope) = (0.0_f64, 0.0_f64);
    for (row, input) in inputs.iter_mut().enumerate() {
        let step = |gap: f64| {
            let (mut gaps, mut dots) = ([[gap; WIDTH]], [[0.0; WIDTH]]);
            let variables = Variables {
                rows: &features,
                row,
                cols: &features,
                blocks: row / WIDTH..row / WIDTH + 1,
            };
            dual.step(isa, variables, &mut gaps, &mut dots);
            (gaps[0][row % WIDTH], dots[0][row % WIDTH])
        };
        let ((_, dot), (gap, lower)) = (step(0.0), step(error.min(1.0)));
        (input.root, input.dot) = (roots[row].value, dot);
        if error > 0.0 {
            of_value = of_value.max(gap.abs());
            of_slope = of_slope.max(share(dot - lower, dot));
        }
    }
    let most =
        |of: fn(&crate::dual::Truncation) -> f64| truncations.iter().map(of).fold(0.0, f64::max);
    Ok((
        of_value + most(|one| one.value),
        of_slope + most(|one| one.slope),
    ))
}
