//! Activations whose dual has a closed form.

use std::fmt::Debug;

use crate::activations::dense_layer::BandLayer;
use crate::activations::differentiable::DIRECTIONS;
use crate::activations::dual::{Description, Dual};
use crate::activations::far_layer::FarDual;
use crate::activations::features::{Features, Variables};
use crate::activations::pixel_band::PixelBand;
use crate::activations::single::SingleDual;
use crate::engine::pool::Watch;
use crate::error::Result;
use crate::isa::{Block, Blocks, Isa, Real, Vector, Vectorized, WIDTH};
use crate::math::double_double::DoubleDouble;
use crate::math::number::RowNumber;
use crate::math::tangent::Tangent;

/// The most numbers that a variable of a [`ClosedForm`] can have.
pub const MOST_NUMBERS: usize = 13;

/// The numbers of one variable, each under its name.
///
/// They are computed once per row, stored as features, and read again for every pair.
pub trait NamedNumbers<R>: Copy {
    /// The number of numbers.
    const COUNT: usize;

    /// The numbers in order.
    fn numbers(self) -> impl IntoIterator<Item = R>;

    /// Names the first [`NamedNumbers::COUNT`] of `numbers`, given in the order of [`NamedNumbers::numbers`].
    ///
    /// Implementations must be `#[inline(always)]`.
    fn from_numbers(numbers: [R; MOST_NUMBERS]) -> Self;
}

/// For duals that depend on the gap alone.
impl<R> NamedNumbers<R> for () {
    const COUNT: usize = 0;

    fn numbers(self) -> impl IntoIterator<Item = R> {
        []
    }

    #[inline(always)]
    fn from_numbers(_numbers: [R; MOST_NUMBERS]) -> Self {}
}

/// A plain formula for the new gap, `1 − |ρ'|`, loses digits where the gap is below this.
pub const NEAR: f64 = 0.1;

/// Expectations by a formula for one pair: the only trait to implement for an activation whose dual has a closed form.
pub trait ClosedForm: Copy + Debug + Send + Sync {
    /// The numbers that [`ClosedForm::pair`] reads of one variable.
    type Variable<R: Real>: NamedNumbers<R>;

    /// `√E φ(u)²` for `u ~ N(0, r²)`.
    fn root<N: RowNumber>(&self, r: N) -> N;

    /// The numbers of the variable N(0, r²), finite for every finite r ≥ 0.
    fn variable<N: RowNumber>(&self, r: N) -> Self::Variable<N::Single>;

    /// Returns the correlation of φ(u) and φ(v), and Ṫ, given the correlation of u and v, if φ is homogeneous; see
    /// [`Dual::of_direction`].
    fn of_direction(&self, correlation: DoubleDouble) -> Option<(DoubleDouble, DoubleDouble)> {
        let _ = correlation;
        None
    }

    /// The gap of (φ(u), φ(v)), and Ṫ. Symmetric in u and v, bitwise; a gap of +0 between equal variables stays +0.
    ///
    /// Implementations and everything they call must be `#[inline(always)]`.
    fn pair<R: Real>(&self, u: Self::Variable<R>, v: Self::Variable<R>, gap: R) -> (R, R);

    /// Returns a margin, then the gap of (φ(u), φ(v)) and Ṫ by plain formulas, without protection against cancellation.
    /// The margin is negative wherever cancellation would lose digits. `None` if plain formulas would not be much
    /// faster; see [`ClosedForm::pair`].
    #[inline(always)]
    fn far_pair<R: Real>(
        &self,
        u: Self::Variable<R>,
        v: Self::Variable<R>,
        gap: R,
    ) -> Option<(R, (R, R))> {
        let _ = (u, v, gap);
        None
    }

    /// The activation on gaps in `f32`, if it is a [`SingleForm`](crate::activations::single::SingleForm).
    fn single(&self) -> Option<&dyn SingleDual> {
        None
    }

    /// The activation on pairs of float32 inputs, if it is a [`FarForm`](crate::activations::far_form::FarForm).
    fn far_single(&self) -> Option<&dyn FarDual> {
        None
    }

    /// Returns the margin of [`ClosedForm::far_pair`], then the results of [`ClosedForm::pair`] with their derivatives
    /// with respect to log gap, log `r_u` and log `r_v`. `u` and `v` are the numbers and their derivatives. Where the
    /// margin is negative, the new gap and its derivatives along the roots may be rough; all others are good everywhere.
    /// `None` if forward mode is to differentiate [`ClosedForm::pair`].
    #[inline(always)]
    fn far_slopes<R: Real>(
        &self,
        u: [Self::Variable<R>; 2],
        v: [Self::Variable<R>; 2],
        gap: R,
    ) -> Option<(R, [Tangent<R, DIRECTIONS>; 2])> {
        let _ = (u, v, gap);
        None
    }

    /// [`ClosedForm::far_pair`] where its margin allows it, [`ClosedForm::pair`] elsewhere.
    #[inline(always)]
    fn quick_pair<R: Real>(&self, u: Self::Variable<R>, v: Self::Variable<R>, gap: R) -> (R, R) {
        let Some((margin, far)) = self.far_pair(u, v, gap) else {
            return self.pair(u, v, gap);
        };
        let near = margin.is_negative();
        if !R::any(near) {
            return far;
        }
        let pair = self.pair(u, v, gap);
        let select = |pair, far| R::select(near, pair, far);
        (select(pair.0, far.0), select(pair.1, far.1))
    }
}

/// The number of numbers of a variable of `C`.
pub(super) const fn count<C: ClosedForm>() -> usize {
    <C::Variable<f64> as NamedNumbers<f64>>::COUNT
}

impl<C: ClosedForm> Dual for C {
    fn describe(&self, r: &[DoubleDouble], watch: &mut Watch<'_>) -> Result<Description> {
        Description::in_bands(r, self.description_cycles(), watch, |r| {
            let mut features = vec![Vec::with_capacity(r.len()); count::<C>()];
            for r in r {
                for (feature, number) in features.iter_mut().zip(self.variable(*r).numbers()) {
                    feature.push(number);
                }
            }
            let roots = r.iter().map(|r| self.root(*r)).collect();
            (roots, features.into_iter().map(Blocks::from_iter).collect())
        })
    }

    fn of_direction(&self, correlation: DoubleDouble) -> Option<(DoubleDouble, DoubleDouble)> {
        ClosedForm::of_direction(self, correlation)
    }

    fn step(&self, isa: Isa, pairs: Variables<'_>, gaps: &mut [Block], dots: &mut [Block]) {
        let row = RowForm::new(*self, &pairs);
        isa.run(ClosedFormLoop { row, gaps, dots });
    }

    fn step_and_layer(&self, isa: Isa, features: [&Features; 2], layer: BandLayer<'_>) {
        isa.run(ClosedFormLayer {
            form: *self,
            features,
            layer,
        });
    }

    fn single(&self) -> Option<&dyn SingleDual> {
        ClosedForm::single(self)
    }

    fn far_single(&self) -> Option<&dyn FarDual> {
        ClosedForm::far_single(self)
    }

    fn pixel_step(&self, isa: Isa, band: PixelBand<'_>) {
        isa.run(ClosedFormPixels { form: *self, band });
    }
}

/// A closed form on the pairs of one u and blocks of v.
pub(super) struct RowForm<'a, C: ClosedForm> {
    /// A copy, not a reference: numbers that follow from its parameters alone are then computed before the loop.
    pub(super) form: C,
    u: [f64; MOST_NUMBERS],
    v: [&'a [Block]; MOST_NUMBERS],
}

impl<'a, C: ClosedForm> RowForm<'a, C> {
    /// The form on these pairs.
    #[inline(always)]
    pub(super) fn new(form: C, pairs: &Variables<'a>) -> Self {
        let (mut u, mut v) = ([0.0; MOST_NUMBERS], [&[][..]; MOST_NUMBERS]);
        for index in 0..count::<C>() {
            (u[index], v[index]) = (pairs.u(index), pairs.v(index));
        }
        Self { form, u, v }
    }

    /// The new gaps of a block of pairs, and Ṫ.
    #[inline(always)]
    fn pair<V: Vector>(&self, block: usize, gap: V) -> (V, V) {
        let (u, v) = self.variables(block);
        self.form.quick_pair(u, v, gap)
    }

    /// u, and a block of v.
    #[inline(always)]
    pub(super) fn variables<V: Vector>(&self, block: usize) -> (C::Variable<V>, C::Variable<V>) {
        let one = V::splat(1.0);
        let (mut u, mut v) = ([one; MOST_NUMBERS], [one; MOST_NUMBERS]);
        for index in 0..count::<C>() {
            (u[index], v[index]) = (V::splat(self.u[index]), V::load(&self.v[index][block]));
        }
        (C::Variable::from_numbers(u), C::Variable::from_numbers(v))
    }
}

/// The loop over blocks of pairs.
struct ClosedFormLoop<'a, C: ClosedForm> {
    row: RowForm<'a, C>,
    gaps: &'a mut [Block],
    dots: &'a mut [Block],
}

impl<C: ClosedForm> Vectorized for ClosedFormLoop<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let pairs = self.gaps.iter_mut().zip(self.dots);
        for (block, (gap, dot)) in pairs.enumerate() {
            let (new, slope) = self.row.pair(block, V::load(gap));
            new.store(gap);
            slope.store(dot);
        }
    }
}

/// The loop over a band of pairs, with the dense layer after the activation.
struct ClosedFormLayer<'a, C> {
    form: C,
    features: [&'a Features; 2],
    layer: BandLayer<'a>,
}

impl<C: ClosedForm> Vectorized for ClosedFormLayer<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (mut layer, [rows, cols]) = (self.layer, self.features);
        for (pairs, place) in layer.pairs.each_row() {
            let form = RowForm::new(self.form, &pairs.variables(rows, cols));
            let mut row = layer.row(&pairs, place);
            for block in 0..pairs.blocks.len() {
                let (gap, dot) = form.pair::<V>(block, row.gap(block));
                row.update(block, gap, dot);
            }
        }
    }
}

/// The loop over a band of pixel pairs, of which each has a u of its own, with the products after the activation.
struct ClosedFormPixels<'a, C> {
    form: C,
    band: PixelBand<'a>,
}

impl<C: ClosedForm> Vectorized for ClosedFormPixels<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (form, mut band, one) = (self.form, self.band, V::splat(1.0));
        let lane = band.lane % WIDTH;
        for line in 0..band.lines {
            let pairs = band.variables(line);
            let (mut row, mut col) = ([&[][..]; MOST_NUMBERS], [&[][..]; MOST_NUMBERS]);
            for index in 0..count::<C>() {
                (row[index], col[index]) = (pairs.u_blocks(index), pairs.v(index));
            }
            let (len, mut line) = (band.len, band.line(line));
            for x in 0..len {
                let (mut u, mut v) = ([one; MOST_NUMBERS], [one; MOST_NUMBERS]);
                for index in 0..count::<C>() {
                    u[index] = V::splat(row[index][x][lane]);
                    v[index] = V::load(&col[index][x]);
                }
                let (u, v) = (C::Variable::from_numbers(u), C::Variable::from_numbers(v));
                let (gap, dot) = form.quick_pair(u, v, line.gap::<V>(x));
                line.write(x, gap, dot);
            }
        }
    }
}
