//! Activations whose dual has a closed form.

use std::fmt::Debug;

use crate::activations::differentiable::Form;
use crate::activations::dual::{Description, Dual};
use crate::activations::features::{Features, Variables};
use crate::error::Result;
use crate::isa::{Block, Isa, Real, Vector, Vectorized};
use crate::math::double_double::DoubleDouble;
use crate::math::number::RowNumber;

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
    fn root<N: RowNumber>(&self, r: N) -> N;

    /// What [`ClosedForm::pair`] wants to know of one variable of root r. Must be finite for every finite r ≥ 0.
    fn describe<N: RowNumber>(&self, r: N) -> [N::Single; MOST_FEATURES];

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
        isa.run(ClosedFormLoop {
            form: *self,
            u,
            v,
            gaps,
            dots,
        });
    }
}

impl<C: ClosedForm> Form for C {
    fn variable<N: RowNumber>(&self, r: N) -> (N, Vec<N::Single>) {
        let features = self.describe(r);
        (self.root(r), features[..C::FEATURES].to_vec())
    }

    #[inline(always)]
    fn of_pair<R: Real>(&self, u: impl Fn(usize) -> R, v: impl Fn(usize) -> R, gap: R) -> (R, R) {
        let one = R::splat(1.0);
        let (mut row, mut col) = ([one; MOST_FEATURES], [one; MOST_FEATURES]);
        for index in 0..C::FEATURES {
            (row[index], col[index]) = (u(index), v(index));
        }
        self.quick_pair(row, col, gap)
    }
}

/// The loop over pairs.
struct ClosedFormLoop<'a, C> {
    /// Not by reference: what follows from its parameters alone is then computed once, before the loop.
    form: C,
    u: [f64; MOST_FEATURES],
    v: [&'a [Block]; MOST_FEATURES],
    gaps: &'a mut [Block],
    dots: &'a mut [Block],
}

impl<C: ClosedForm> Vectorized for ClosedFormLoop<'_, C> {
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
