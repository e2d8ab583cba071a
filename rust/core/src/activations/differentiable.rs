//! Derivatives of a dual with respect to its inputs: in forward mode, where every number carries its own derivatives, or
//! by formulas where an activation has them.

use std::fmt::Debug;
use std::ops::Range;

use crate::activations::features::{Features, Variables};
use crate::engine::pool::Watch;
use crate::engine::rows::per_row;
use crate::error::Result;
use crate::isa::{Block, Blocks, Isa, Part, Real, Vector, Vectorized};
use crate::math::double_double::DoubleDouble;
use crate::math::number::{Jet, RowNumber};
use crate::math::tangent::Tangent;

/// A dual whose formulas are written once for any type of number, derivatives included.
pub trait Form: Debug + Send + Sync {
    /// `√E φ(u)²` for `u ~ N(0, r²)`, and the features of u.
    fn root_and_features<N: RowNumber>(&self, r: N) -> (N, Vec<N::Single>);

    /// The gap of (φ(u), φ(v)), and Ṫ. `u` and `v` return the features of the two variables by their index.
    ///
    /// Implementations and everything they call must be `#[inline(always)]`.
    fn of_pair<R: Real>(&self, u: impl Fn(usize) -> R, v: impl Fn(usize) -> R, gap: R) -> (R, R);

    /// [`Form::of_pair`] with derivatives with respect to log gap, log `r_u` and log `r_v`. `u` and `v` return the
    /// features and their derivatives.
    #[inline(always)]
    fn slopes_of_pair<R: Real>(
        &self,
        u: impl Fn(usize) -> [R; 2],
        v: impl Fn(usize) -> [R; 2],
        gap: R,
    ) -> [Tangent<R, DIRECTIONS>; 2] {
        in_forward_mode(self, u, v, gap)
    }
}

/// [`Form::slopes_of_pair`] by numbers that carry all derivatives along.
#[inline(always)]
pub fn in_forward_mode<F: Form + ?Sized, R: Real>(
    form: &F,
    u: impl Fn(usize) -> [R; 2],
    v: impl Fn(usize) -> [R; 2],
    gap: R,
) -> [Tangent<R, DIRECTIONS>; 2] {
    let (new, dot) = form.of_pair(
        |k| Tangent::along(1, u(k)[0], u(k)[1]),
        |k| Tangent::along(2, v(k)[0], v(k)[1]),
        Tangent::along(0, gap, gap),
    );
    [new, dot]
}

/// Derivatives of an activation's dual with respect to its inputs.
pub trait Differentiable: Debug + Send + Sync {
    /// Derivatives of the description of variables N(0, r²) with respect to log r.
    ///
    /// # Errors
    /// If φ cannot be evaluated at one of the points that this needs; as [`pool::for_each`](crate::engine::pool::for_each).
    fn slopes(&self, r: &[DoubleDouble], watch: &mut Watch<'_>) -> Result<DescriptionSlopes>;

    /// Computes the step of the dual and its derivatives, for the pairs of one u and several v. `slopes` holds the
    /// derivatives of the features of `pairs`.
    ///
    /// Exchanging u and v exchanges the derivatives, bitwise.
    ///
    /// # Panics
    /// If the slices differ in length.
    fn differentiate(
        &self,
        isa: Isa,
        pairs: &Variables<'_>,
        slopes: &Variables<'_>,
        gaps: &[Block],
        steps: &mut [DualStep],
    );
}

/// Derivatives of a [`Description`](crate::activations::dual::Description) with respect to log r.
#[derive(Debug, Default)]
pub struct DescriptionSlopes {
    /// Derivatives of `log √E φ(u)²`; 0 where the logarithm is −∞.
    pub elasticities: Blocks,
    /// Derivatives of the features.
    pub features: Features,
}

/// The derivative of the logarithm of a root, given the root and its derivative. It is 0 if the root is 0.
pub fn elasticity((root, slope): (f64, f64)) -> f64 {
    match root {
        0.0 => 0.0,
        root => slope / root,
    }
}

/// The result of one step on a block of pairs, with derivatives.
#[derive(Clone, Copy, Debug, Default)]
pub struct DualStep {
    /// The gap of (φ(u), φ(v)).
    pub gap: Block,
    /// Ṫ.
    pub dot: Block,
    /// Derivatives of the new gap with respect to the logarithms of the old gap, of `r_u` and of `r_v`.
    pub gap_slopes: [Block; DIRECTIONS],
    /// Derivatives of Ṫ with respect to the same three logarithms.
    pub dot_slopes: [Block; DIRECTIONS],
}

/// The number of directions of derivatives: along the gap, log `r_u` and log `r_v`.
pub const DIRECTIONS: usize = 3;

impl DualStep {
    /// Writes one part of the block.
    #[inline(always)]
    pub fn store<P: Part>(&mut self, part: usize, [new, dot]: [Tangent<P, DIRECTIONS>; 2]) {
        new.value.store_part(&mut self.gap, part);
        dot.value.store_part(&mut self.dot, part);
        for n in 0..DIRECTIONS {
            new.slopes[n].store_part(&mut self.gap_slopes[n], part);
            dot.slopes[n].store_part(&mut self.dot_slopes[n], part);
        }
    }
}

/// Estimated cycles of [`Differentiable::slopes`] per variable.
const SLOPE_CYCLES: f64 = 1000.0;

impl<F: Form> Differentiable for F {
    fn slopes(&self, r: &[DoubleDouble], watch: &mut Watch<'_>) -> Result<DescriptionSlopes> {
        slopes(r, &|r| self.root_and_features(r), watch)
    }

    fn differentiate(
        &self,
        isa: Isa,
        pairs: &Variables<'_>,
        slopes: &Variables<'_>,
        gaps: &[Block],
        steps: &mut [DualStep],
    ) {
        assert!(gaps.len() == steps.len() && gaps.len() == pairs.blocks.len());
        let features = 0..pairs.rows.0.len();
        isa.run(DifferentiationLoop {
            form: self,
            u: features
                .clone()
                .map(|k| [pairs.u(k), slopes.u(k)])
                .collect(),
            v: features.map(|k| [pairs.v(k), slopes.v(k)]).collect(),
            gaps,
            steps,
        });
    }
}

/// [`Differentiable::slopes`] of any dual, given its roots and features as functions of r.
fn slopes(
    r: &[DoubleDouble],
    variable: &(dyn Fn(Jet) -> (Jet, Vec<Jet>) + Sync),
    watch: &mut Watch<'_>,
) -> Result<DescriptionSlopes> {
    let band = |rows: Range<usize>| {
        let along_log_r = r[rows].iter().map(|r| Jet::along(0, r.hi, r.hi));
        let (roots, features): (Vec<_>, Vec<_>) = along_log_r.map(variable).unzip();
        let pairs = roots.iter().map(|root| (root.value, root.slopes[0]));
        let elasticities = pairs.map(elasticity).collect();
        let count = features.first().map_or(0, Vec::len);
        let feature = |index: usize| features.iter().map(|one| one[index].slopes[0]).collect();
        let lists = [elasticities].into_iter().chain((0..count).map(feature));
        Ok((Vec::<()>::new(), lists.collect()))
    };
    let (_, mut numbers) = per_row(r.len(), SLOPE_CYCLES, watch, &band)?;
    Ok(DescriptionSlopes {
        elasticities: numbers.remove(0),
        features: Features(numbers),
    })
}

/// The loop over blocks of pairs.
struct DifferentiationLoop<'a, F> {
    form: &'a F,
    /// The features of u, each with its derivative.
    u: Vec<[f64; 2]>,
    /// The same for the v.
    v: Vec<[&'a [Block]; 2]>,
    gaps: &'a [Block],
    steps: &'a mut [DualStep],
}

impl<F: Form> Vectorized for DifferentiationLoop<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (u, v) = (&self.u, &self.v);
        for (block, (gap, step)) in self.gaps.iter().zip(self.steps).enumerate() {
            for part in 0..V::Part::PARTS {
                let gap = V::Part::load_part(gap, part);
                let results = self.form.slopes_of_pair(
                    |k| [V::Part::splat(u[k][0]), V::Part::splat(u[k][1])],
                    |k| {
                        let [values, slopes] = v[k];
                        let value = V::Part::load_part(&values[block], part);
                        [value, V::Part::load_part(&slopes[block], part)]
                    },
                    gap,
                );
                step.store(part, results);
            }
        }
    }
}
