//! Expectations of φ and φ' under a Gaussian, for many pairs at once.
//!
//! Under (u, v) ~ N(0, [[q1, c], [c, q2]]), with `r = √q` and `ρ = c/(r1·r2)`, a pair is described by its **gap**:
//! `1 − |ρ|`, with the sign of ρ, so that +0 means equal directions, −0 opposite ones, and ±1 orthogonal ones.
//! `T = E φ(u)φ(v)` is again described by the roots `√Eφ(u)²`, `√Eφ(v)²` and a gap. The slope of `T` in c is infinite at
//! `ρ = ±1` for functions with a kink: the gap keeps every digit there that the correlation itself loses.

use std::fmt::Debug;
use std::ops::Range;

use crate::derivative::Differentiable;
use crate::error::Result;
use crate::isa::{Block, Blocks, Isa, Real, Vector, Vectorized};
use crate::math::double_double::DoubleDouble;
use crate::math::number::Number;

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

/// Some numbers for each variable, stored number by number.
#[derive(Debug, Default)]
pub struct Features(pub Vec<Blocks>);

/// One u and several v, by their features.
#[derive(Clone, Debug)]
pub struct Variables<'a> {
    /// The features among which u is.
    pub rows: &'a Features,
    /// Which one u is.
    pub row: usize,
    /// The features among which the v are.
    pub cols: &'a Features,
    /// Which blocks they are.
    pub blocks: Range<usize>,
}

impl<'a> Variables<'a> {
    /// Number `index` of u.
    pub fn u(&self, index: usize) -> f64 {
        self.rows.0[index].get(self.row)
    }

    /// Number `index` of each v.
    pub fn v(&self, index: usize) -> &'a [Block] {
        &self.cols.0[index].blocks()[self.blocks.clone()]
    }
}

/// The most features that a [`ClosedForm`] can have.
pub const MOST_FEATURES: usize = 13;

/// Numbers of [`ClosedForm::describe`], filled up.
pub fn features<R: Real, const N: usize>(numbers: [R; N]) -> [R; MOST_FEATURES] {
    let mut all = [R::splat(0.0); MOST_FEATURES];
    all[..N].copy_from_slice(&numbers);
    all
}

/// Gaps below this are near: the new gap, as one less the new correlation, loses digits.
pub const NEAR: f64 = 0.1;

/// Expectations by a formula for one pair: all that there is to write for an activation with a closed form.
pub trait ClosedForm: Copy + Debug + Send + Sync {
    /// How many numbers of [`ClosedForm::describe`] are used.
    const FEATURES: usize;

    /// `√E φ(u)²` for `u ~ N(0, r²)`.
    fn root<N: Number>(&self, r: N) -> N;

    /// What [`ClosedForm::pair`] wants to know of one variable of root r. Must be finite for every finite r ≥ 0.
    fn describe<N: Number>(&self, r: N) -> [N::Single; MOST_FEATURES];

    /// See [`Dual::of_direction`].
    fn of_direction(&self, correlation: DoubleDouble) -> Option<(DoubleDouble, DoubleDouble)> {
        let _ = correlation;
        None
    }

    /// The gap of (φ(u), φ(v)), and Ṫ. Symmetric in u and v, bitwise; a gap of +0 between equal variables stays +0.
    ///
    /// To be marked `#[inline(always)]`, with all that it calls.
    fn pair<R: Real>(&self, u: [R; MOST_FEATURES], v: [R; MOST_FEATURES], gap: R) -> (R, R);

    /// As [`ClosedForm::pair`] for the pairs in whose plain formulas nothing cancels, and how much room is left before
    /// something does, less than nothing for all others. `None` if that would not be much faster.
    #[inline(always)]
    fn far_pair<R: Real>(
        &self,
        u: [R; MOST_FEATURES],
        v: [R; MOST_FEATURES],
        gap: R,
    ) -> Option<(R, (R, R))> {
        let _ = (u, v, gap);
        None
    }

    /// [`ClosedForm::pair`], by [`ClosedForm::far_pair`] where that will do.
    #[inline(always)]
    fn quick_pair<R: Real>(&self, u: [R; MOST_FEATURES], v: [R; MOST_FEATURES], gap: R) -> (R, R) {
        let Some((room, far)) = self.far_pair(u, v, gap) else {
            return self.pair(u, v, gap);
        };
        let near = room.is_negative();
        if !R::any(near) {
            return far;
        }
        let pair = self.pair(u, v, gap);
        let select = |pair, far| R::select(near, pair, far);
        (select(pair.0, far.0), select(pair.1, far.1))
    }
}

impl<C: ClosedForm> Dual for C {
    fn describe(&self, r: &[DoubleDouble]) -> Result<Description> {
        let numbers: Vec<_> = r.iter().map(|r| ClosedForm::describe(self, *r)).collect();
        let feature = |index: usize| {
            numbers
                .iter()
                .map(|numbers: &[f64; MOST_FEATURES]| numbers[index])
                .collect()
        };
        Ok(Description {
            roots: r.iter().map(|r| self.root(*r)).collect(),
            features: Features((0..C::FEATURES).map(feature).collect()),
            missing: 0.0,
        })
    }

    fn of_direction(&self, correlation: DoubleDouble) -> Option<(DoubleDouble, DoubleDouble)> {
        ClosedForm::of_direction(self, correlation)
    }

    fn step(&self, isa: Isa, pairs: Variables<'_>, gaps: &mut [Block], dots: &mut [Block]) {
        let (mut u, mut v) = ([0.0; MOST_FEATURES], [&[][..]; MOST_FEATURES]);
        for index in 0..C::FEATURES {
            (u[index], v[index]) = (pairs.u(index), pairs.v(index));
        }
        isa.run(Step {
            form: *self,
            u,
            v,
            gaps,
            dots,
        });
    }
}

/// The loop over pairs.
struct Step<'a, C> {
    /// Not by reference: what follows from its parameters alone is then computed once, before the loop.
    form: C,
    u: [f64; MOST_FEATURES],
    v: [&'a [Block]; MOST_FEATURES],
    gaps: &'a mut [Block],
    dots: &'a mut [Block],
}

impl<C: ClosedForm> Vectorized for Step<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let one = V::splat(1.0);
        let (mut u, mut v) = ([one; MOST_FEATURES], [one; MOST_FEATURES]);
        for (vector, number) in u.iter_mut().zip(self.u).take(C::FEATURES) {
            *vector = V::splat(number);
        }
        let pairs = self.gaps.iter_mut().zip(self.dots);
        for (block, (gap, dot)) in pairs.enumerate() {
            for (vector, numbers) in v.iter_mut().zip(self.v).take(C::FEATURES) {
                *vector = V::load(&numbers[block]);
            }
            let (new, slope) = self.form.quick_pair(u, v, V::load(gap));
            new.store(gap);
            slope.store(dot);
        }
    }
}
