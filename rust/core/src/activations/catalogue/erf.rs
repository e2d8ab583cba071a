//! The error function. Its dual is an arcsine (Williams 1997).

use std::f64::consts::{FRAC_2_SQRT_PI, PI};

use crate::activations::activation::Formula;
use crate::activations::closed_form::{ClosedForm, MOST_NUMBERS, NEAR, NamedNumbers};
use crate::activations::differentiable::DIRECTIONS;
use crate::activations::far_layer::FarDual;
use crate::isa::Real;
use crate::math::double_double::DoubleDouble;
use crate::math::number::RowNumber;
use crate::math::special::{erf, exp_minus_square, polynomial};
use crate::math::tangent::Tangent;

use super::arcsine::{
    self, Arcsine, ArcsinePair, PairAngle, SMALLEST, SMALLEST_COSINE, angle, arcsine_lift,
};

/// `φ(x) = erf(x)`, `φ'(x) = 2/√π e^{−x²}`.
#[derive(Clone, Copy, Debug)]
pub struct Erf;

impl Formula for Erf {
    #[inline(always)]
    fn value_and_slope<R: Real>(&self, x: R) -> (R, R) {
        (erf(x), R::splat(FRAC_2_SQRT_PI) * exp_minus_square(x))
    }

    #[inline(always)]
    fn curvature<R: Real>(&self, x: R) -> R {
        // Where the exponential is 0, 2|x| may be infinite.
        let bounded = x.max(R::splat(-100.0)).min(R::splat(100.0));
        R::splat(-2.0 * FRAC_2_SQRT_PI) * bounded * exp_minus_square(x)
    }
}

/// Below this root z, α is z² in double-double precision.
const LINEAR: f64 = 1e-16;

/// √α of the variable of root z, accurate even where α underflows.
fn root_of_angle<N: RowNumber>(z: N) -> N {
    if z.value() < LINEAR {
        z
    } else {
        angle(z).sqrt()
    }
}

/// √w of a variable of root r.
fn argument<N: RowNumber>(r: N) -> N {
    r * DoubleDouble::from(2.0).sqrt().into()
}

/// The numbers of one variable.
#[derive(Clone, Copy)]
pub struct ErfVariable<R> {
    /// √α, and its inverse.
    root: R,
    pub(super) inverse: R,
    /// `α/sin α − 1`. Used where sin α is below [`MIDDLING`].
    lift: R,
    pub(super) arcsine: Arcsine<R>,
}

impl<R: Copy> NamedNumbers<R> for ErfVariable<R> {
    const COUNT: usize = 3 + arcsine::NUMBERS;

    fn numbers(self) -> impl IntoIterator<Item = R> {
        let own = [self.root, self.inverse, self.lift];
        own.into_iter().chain(self.arcsine.numbers())
    }

    #[inline(always)]
    fn from_numbers([root, inverse, lift, arcsine @ .., _, _]: [R; MOST_NUMBERS]) -> Self {
        Self {
            root,
            inverse,
            lift,
            arcsine: Arcsine::from_numbers(arcsine),
        }
    }
}

/// `T = 2/π α`, `sin α = p_u p_v |ρ|`, `Ṫ = 4/π m_u m_v / cos α`, with w = 2q.
///
/// The new gap is `1 − α/√(α_u α_v)`. It has two contributions, each computed without cancellation: α falls below α0,
/// the angle of aligned variables, as the gap grows; and α0 falls below `√(α_u α_v)` as the variances grow apart.
impl ClosedForm for Erf {
    type Variable<R: Real> = ErfVariable<R>;

    fn root<N: RowNumber>(&self, r: N) -> N {
        let turn = DoubleDouble::from(2.0) / DoubleDouble::PI;
        root_of_angle(argument(r)) * turn.sqrt().into()
    }

    fn variable<N: RowNumber>(&self, r: N) -> ErfVariable<N::Single> {
        let z = argument(r).max(SMALLEST);
        let root = root_of_angle(z);
        let bounded = z.min(2.0);
        let (w, one) = (bounded * bounded, N::constant(1.0));
        let lift = root * root / w * (w + one) - one; // sin α = w/(1+w)
        ErfVariable {
            root: root.single(),
            inverse: (one / root).single(),
            lift: lift.single(),
            arcsine: Arcsine::new(z),
        }
    }

    #[inline(always)]
    fn pair<R: Real>(&self, u: ErfVariable<R>, v: ErfVariable<R>, gap: R) -> (R, R) {
        let pair = ArcsinePair::new(u.arcsine, v.arcsine, gap.abs());
        // √(α_u α_v) is less than A by half the square of √α_u − √α_v.
        let difference = R::splat(2.0) * pair.half_difference / (u.root + v.root);
        let short = R::splat(0.5) * difference * difference;
        let scale = u.root * v.root;
        // If the angles differ much, their difference is at least √(α_u α_v)/2: nothing cancels in the plain formula.
        let unlike = (R::splat(0.25) * scale).less(pair.half_difference.abs());
        let spread = R::select(unlike, scale - pair.aligned, pair.excess - short);
        // Small angles are nearly proportional to the variances. All these differences then cancel.
        let middling = largest_sine(u, v).less(R::splat(MIDDLING));
        let product_excess = product_excess(u, v, pair);
        let spread = R::select(middling, product_excess / (scale + pair.aligned), spread);
        let new = (pair.closing + spread.max(R::splat(0.0))) / scale;
        let new = nearly_linear_gap(u, v, gap.abs(), new);
        let dot = R::splat(4.0 / PI) * (u.arcsine.m * v.arcsine.m) / pair.turned_cosine;
        // erf is odd: opposite variables stay opposite.
        (new.copysign(gap), dot)
    }

    #[inline(always)]
    fn far_pair<R: Real>(
        &self,
        u: ErfVariable<R>,
        v: ErfVariable<R>,
        gap: R,
    ) -> Option<(R, (R, R))> {
        let pair = PairAngle::new(u.arcsine, v.arcsine, gap.abs());
        let new = (-pair.angle).mul_add(u.inverse * v.inverse, R::splat(1.0));
        let dot = R::splat(4.0 / PI) * (u.arcsine.m * v.arcsine.m) / pair.cosine;
        let margin = (gap.abs() - R::splat(NEAR)).min(largest_sine(u, v) - R::splat(SMALL));
        Some((margin, (new.copysign(gap), dot)))
    }

    fn far_single(&self) -> Option<&dyn FarDual> {
        Some(self)
    }

    /// `∂α/∂log r_u = tan α m_u²`, `∂log m_u/∂log r_u = −p_u²` and `∂log cos α/∂log r_u = −tan²α m_u²`.
    #[inline(always)]
    fn far_slopes<R: Real>(
        &self,
        u: [ErfVariable<R>; 2],
        v: [ErfVariable<R>; 2],
        gap: R,
    ) -> Option<(R, [Tangent<R, DIRECTIONS>; 2])> {
        let ([u, du], [v, dv]) = (u, v);
        let (margin, (new, _)) = self.far_pair(u, v, gap)?;
        let pair = PairAngle::new(u.arcsine, v.arcsine, gap.abs());
        let inverse = R::splat(1.0) / pair.cosine.max(R::splat(SMALLEST_COSINE));
        let (tangent, scale) = (pair.sine * inverse, u.inverse * v.inverse);
        let opened = inverse * (R::splat(1.0) - gap.abs());
        let dot = R::splat(4.0 / PI) * (u.arcsine.m * v.arcsine.m) * inverse;
        let mut slopes = [[gap * (pair.sines * inverse) * scale; DIRECTIONS]; 2];
        slopes[1][0] = -(gap.abs() * pair.sines * (dot * tangent) * inverse);
        for (n, [own, slope, other]) in [[u, du, v], [v, dv, u]].into_iter().enumerate() {
            let angle = opened * (slope.arcsine.p * other.arcsine.p);
            let fall = (pair.angle * (slope.root * own.inverse) - angle) * scale;
            slopes[0][n + 1] = fall * R::splat(1.0).copysign(gap);
            let (turned, p) = (tangent * own.arcsine.m, own.arcsine.p);
            slopes[1][n + 1] = dot * (turned * turned - p * p);
        }
        Some((margin, Tangent::from_parts([new, dot], slopes)))
    }
}

/// Variables whose sines sin α are below this count as small.
const SMALL: f64 = 0.125;

/// Below this sine, angles are so nearly proportional to the variances that their differences cancel.
const MIDDLING: f64 = 0.8;

/// The larger of sin α_u and sin α_v.
#[inline(always)]
fn largest_sine<R: Real>(u: ErfVariable<R>, v: ErfVariable<R>) -> R {
    let (p_u, p_v) = (u.arcsine.p, v.arcsine.p);
    (p_u * p_u).max(p_v * p_v)
}

/// `A_u A_v − 1` with `A = α/sin α`.
#[inline(always)]
fn product_lift<R: Real>(u: ErfVariable<R>, v: ErfVariable<R>) -> R {
    u.lift * v.lift + (u.lift + v.lift)
}

/// Coefficients of `(S − sin S)/S³` for S ≤ 1.9, in powers of S².
const FALLS: [f64; 10] = {
    let mut coefficients = [1.0 / 6.0; 10];
    let mut k = 1;
    while k < coefficients.len() {
        coefficients[k] = -coefficients[k - 1] / ((2 * k + 2) * (2 * k + 3)) as f64;
        k += 1;
    }
    coefficients
};

/// Coefficients of `(1 − (sin Δ/Δ)²)/Δ²` for Δ ≤ 0.42, in powers of Δ².
const SQUARE_FALLS: [f64; 8] = {
    let mut coefficients = [1.0 / 3.0; 8];
    let mut k = 1;
    while k < coefficients.len() {
        coefficients[k] = -4.0 * coefficients[k - 1] / ((2 * k + 3) * (2 * k + 4)) as f64;
        k += 1;
    }
    coefficients
};

/// `α_u α_v − α0²` for sines below [`MIDDLING`], with all its digits.
///
/// With `S = A + α0`, `Δ = (α_u − α_v)/2` and `E = A − α0`, it is `E S − Δ²`, where `sin E sin S = sin²Δ`. For
/// variables of similar size this is
///
/// ```text
/// Δ² [S/sin S · (sin Δ/Δ)² · E/sin E − 1]
/// ```
///
/// computed from the difference of each factor from 1, of which the first dominates. For variables of unlike size it is
/// `sin²α0 [A(sin α_u) A(sin α_v) − A(sin α0)²]` with `A(x) = asin(x)/x`, and the first product dominates.
#[inline(always)]
fn product_excess<R: Real>(u: ErfVariable<R>, v: ErfVariable<R>, pair: ArcsinePair<R>) -> R {
    let one = R::splat(1.0);
    let (sine_u, sine_v) = (u.arcsine.p * u.arcsine.p, v.arcsine.p * v.arcsine.p);
    let (large, small) = (sine_u.max(sine_v), sine_u.min(sine_v));
    let like = large.less(R::splat(8.0) * small);
    let (product, opened) = (sine_u * sine_v, pair.sine_of_excess);
    let lift = arcsine_lift(R::select(like, opened * opened, product));

    let sum = pair.aligned + pair.aligned + pair.excess;
    let rise = sum * (sum * sum) * polynomial(&FALLS, sum * sum) / pair.sine_of_sum;
    let square = pair.half_difference * pair.half_difference;
    let fall = square * polynomial(&SQUARE_FALLS, square);
    let of_like = square * (rise - (one + rise) * (fall - lift + fall * lift));

    let of_unlike = product * (product_lift(u, v) - lift * (R::splat(2.0) + lift));
    R::select(like, of_like, of_unlike)
}

/// For small variables that are not close, the new gap from `size`, the old one; for all others, `new`.
///
/// φ is nearly linear for small variables, so that the new gap is nearly the old one: the rounding errors of other
/// formulas would add up from layer to layer. With `A(x) = asin(x)/x`, `1 − gap = |ρ| A(s|ρ|)/√(A_u A_v)`.
#[inline(always)]
fn nearly_linear_gap<R: Real>(u: ErfVariable<R>, v: ErfVariable<R>, size: R, new: R) -> R {
    let (one, bound) = (R::splat(1.0), R::splat(SMALL));
    // Where the change of the gap is not small against the gap, the old gap does not give the digits of the new one.
    let applies = largest_sine(u, v).max(bound * bound / size).less(bound);
    if !R::any(applies) {
        return new;
    }
    let rho = one - size;
    let turned_sine = u.arcsine.p * v.arcsine.p * rho;
    let both = product_lift(u, v);
    let mean = both / (one + (one + both).sqrt()); // √(A_u A_v) − 1
    let fall = (mean - arcsine_lift(turned_sine * turned_sine)) / (one + mean);
    R::select(applies, rho.mul_add(fall, size), new)
}
