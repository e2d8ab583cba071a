//! The error function: smooth, bounded, with an arcsine for a dual (Williams 1997).

use std::f64::consts::{FRAC_2_SQRT_PI, PI};

use crate::activations::activation::{Activation, Formula, curvature, evaluate};
use crate::activations::closed_form::{ClosedForm, MOST_FEATURES, NEAR, features};
use crate::activations::dual::Dual;
use crate::isa::Real;
use crate::math::double_double::DoubleDouble;
use crate::math::number::RowNumber;
use crate::math::special::{erf, exp_minus_square, polynomial};

use super::arcsine::{Arcsine, NUMBERS, Pair, SMALLEST, Turned, angle, arcsine_lift};

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
        // Far out the bell is 0, and 2|x| may be infinite.
        let bounded = x.max(R::splat(-100.0)).min(R::splat(100.0));
        R::splat(-2.0 * FRAC_2_SQRT_PI) * bounded * exp_minus_square(x)
    }
}

impl Activation for Erf {
    fn evaluate(&self, h: &mut [f64], slopes: &mut [f64]) {
        evaluate(self, h, slopes);
    }

    fn curvature(&self, h: &mut [f64]) {
        curvature(self, h);
    }

    fn dual(&self) -> Option<&dyn Dual> {
        Some(self)
    }
}

/// Below this root, α is its square to twice the digits.
const LINEAR: f64 = 1e-16;

/// √α of the variable of root z, also where α underflows.
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

/// `T = 2/π α`, `sin α = p_u p_v |ρ|`, `Ṫ = 4/π m_u m_v / cos α`, with w = 2q.
///
/// The new gap is `1 − α/√(α_u α_v)`. It opens for two reasons, each computed without cancellation: the angle α falls
/// from α0, that of aligned variables, as the gap grows; and α0 falls behind `√(α_u α_v)` as the variances part.
impl ClosedForm for Erf {
    const FEATURES: usize = NUMBERS + 3;

    fn root<N: RowNumber>(&self, r: N) -> N {
        let turn = DoubleDouble::from(2.0) / DoubleDouble::PI;
        root_of_angle(argument(r)) * turn.sqrt().into()
    }

    fn describe<N: RowNumber>(&self, r: N) -> [N::Single; MOST_FEATURES] {
        let root = argument(r).max(SMALLEST);
        let variable = Arcsine::new(root);
        let [z, rest, p, m, a, b, c, d] = variable.numbers();
        let alpha = root_of_angle(root);
        // α/sin α − 1, with sin α = w/(1+w): of variables whose sine is below MIDDLING.
        let near = root.min(2.0);
        let (w, one) = (near * near, N::constant(1.0));
        let lift = alpha * alpha / w * (w + one) - one;
        let [alpha, lift, inverse] = [alpha, lift, one / alpha].map(N::single);
        features([z, rest, p, m, a, b, c, d, alpha, lift, inverse])
    }

    #[inline(always)]
    fn pair<R: Real>(&self, u: [R; MOST_FEATURES], v: [R; MOST_FEATURES], gap: R) -> (R, R) {
        let (first, second) = (Arcsine::of(&u), Arcsine::of(&v));
        let (root_u, root_v) = (u[NUMBERS], v[NUMBERS]);
        let lifts = [u, v].map(|w| w[NUMBERS + 1]);
        let pair = Pair::new(first, second, gap.abs());
        // √(α_u α_v) falls short of A by half the square of √α_u − √α_v.
        let difference = R::splat(2.0) * pair.half_difference / (root_u + root_v);
        let short = R::splat(0.5) * difference * difference;
        let scale = root_u * root_v;
        // The difference of two angles of unlike size is no smaller than their root: nothing cancels in it.
        let unlike = (R::splat(0.25) * scale).less(pair.half_difference.abs());
        let spread = R::select(unlike, scale - pair.aligned, pair.excess - short);
        // The smaller the angles, the more they are proportional to the variances, and all of these differences cancel.
        let middling = largest_sine(first, second).less(R::splat(MIDDLING));
        let product_excess = product_excess(first, second, lifts, pair);
        let spread = R::select(middling, product_excess / (scale + pair.aligned), spread);
        let new = (pair.closing + spread.max(R::splat(0.0))) / scale;
        let new = nearly_linear_gap(first, second, lifts, gap.abs(), new);
        let dot = R::splat(4.0 / PI) * (first.m * second.m) / pair.turned_cosine;
        // erf is odd: opposite variables stay as opposite as equal ones stay equal.
        (new.copysign(gap), dot)
    }

    #[inline(always)]
    fn far_pair<R: Real>(
        &self,
        u: [R; MOST_FEATURES],
        v: [R; MOST_FEATURES],
        gap: R,
    ) -> Option<(R, (R, R))> {
        let (first, second) = (Arcsine::of(&u), Arcsine::of(&v));
        let turned = Turned::new(first, second, gap.abs());
        let inverse = u[NUMBERS + 2] * v[NUMBERS + 2];
        let new = (-turned.angle).mul_add(inverse, R::splat(1.0));
        let dot = R::splat(4.0 / PI) * (first.m * second.m) / turned.cosine;
        let room = (gap.abs() - R::splat(NEAR)).min(largest_sine(first, second) - R::splat(SMALL));
        Some((room, (new.copysign(gap), dot)))
    }
}

/// Sines below this are those of small variables.
const SMALL: f64 = 0.125;

#[inline(always)]
fn largest_sine<R: Real>(u: Arcsine<R>, v: Arcsine<R>) -> R {
    (u.p * u.p).max(v.p * v.p)
}

/// Sines below this are those of variables whose angles are nearly proportional to their variances.
const MIDDLING: f64 = 0.8;

/// `(S − sin S)/S³` for S ≤ 1.9, in S².
const FALLS: [f64; 10] = {
    let mut coefficients = [1.0 / 6.0; 10];
    let mut k = 1;
    while k < coefficients.len() {
        coefficients[k] = -coefficients[k - 1] / ((2 * k + 2) * (2 * k + 3)) as f64;
        k += 1;
    }
    coefficients
};

/// `(1 − (sin Δ/Δ)²)/Δ²` for Δ ≤ 0.42, in Δ².
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
/// With `S = A + α0`, `Δ = (α_u − α_v)/2` and `E = A − α0`, it is `E S − Δ²`, where `sin E sin S = sin²Δ`: of like variables
///
/// ```text
/// Δ² [S/sin S · (sin Δ/Δ)² · E/sin E − 1]
/// ```
///
/// by what each factor differs from 1, of which the first prevails. Of unlike ones, with `A(x) = asin(x)/x`, it is
/// `sin²α0 [A(sin α_u) A(sin α_v) − A(sin α0)²]`, and the first product prevails.
#[inline(always)]
fn product_excess<R: Real>(u: Arcsine<R>, v: Arcsine<R>, lifts: [R; 2], pair: Pair<R>) -> R {
    let one = R::splat(1.0);
    let (sine_u, sine_v) = (u.p * u.p, v.p * v.p);
    let (large, small) = (sine_u.max(sine_v), sine_u.min(sine_v));
    let like = large.less(R::splat(8.0) * small);
    let (product, opened) = (sine_u * sine_v, pair.sine_of_excess);
    let lift = arcsine_lift(R::select(like, opened * opened, product));

    let sum = pair.aligned + pair.aligned + pair.excess;
    let rise = sum * (sum * sum) * polynomial(&FALLS, sum * sum) / pair.sine_of_sum;
    let square = pair.half_difference * pair.half_difference;
    let fall = square * polynomial(&SQUARE_FALLS, square);
    let of_like = square * (rise - (one + rise) * (fall - lift + fall * lift));

    let own = lifts[0] * lifts[1] + (lifts[0] + lifts[1]);
    let of_unlike = product * (own - lift * (R::splat(2.0) + lift));
    R::select(like, of_like, of_unlike)
}

/// The new gap of small variables that are not close, for `size` the old one; else `new`.
///
/// φ is nearly linear there, and the new gap nearly the old one: its rounding would add up from layer to layer. With
/// `A(x) = asin(x)/x`, `1 − gap = |ρ| A(s|ρ|)/√(A_u A_v)`.
#[inline(always)]
fn nearly_linear_gap<R: Real>(u: Arcsine<R>, v: Arcsine<R>, lifts: [R; 2], size: R, new: R) -> R {
    let (one, bound) = (R::splat(1.0), R::splat(SMALL));
    // Where the difference from the old gap is not small against it, its digits are not those of the new one.
    let applies = largest_sine(u, v).max(bound * bound / size).less(bound);
    if !R::any(applies) {
        return new;
    }
    let rho = one - size;
    let turned_sine = u.p * v.p * rho;
    let both = lifts[0] * lifts[1] + (lifts[0] + lifts[1]); // A_u A_v − 1
    let mean = both / (one + (one + both).sqrt());
    let fall = (mean - arcsine_lift(turned_sine * turned_sine)) / (one + mean);
    R::select(applies, rho.mul_add(fall, size), new)
}
