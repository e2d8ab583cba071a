//! The Gaussian error linear unit (Hendrycks & Gimpel 2016), with the dual of Tsuchida et al. (2021).

use std::f64::consts::{PI, SQRT_2};

use crate::activations::activation::{Activation, Formula, curvature, evaluate};
use crate::activations::closed_form::{ClosedForm, MOST_FEATURES, NEAR, features};
use crate::activations::dual::Dual;
use crate::isa::Real;
use crate::math::double_double::DoubleDouble;
use crate::math::number::{RowNumber, Single};
use crate::math::special::{angle_and_lift, normal};

use super::arcsine::{Arcsine, NUMBERS, Pair, Turned, angle};

/// `φ(x) = xΦ(x)`, `φ'(x) = Φ(x) + xΦ'(x)`.
#[derive(Clone, Copy, Debug)]
pub struct Gelu;

const FRAC_1_SQRT_2PI: f64 = 0.398_942_280_401_432_7;

impl Formula for Gelu {
    #[inline(always)]
    fn value_and_slope<R: Real>(&self, x: R) -> (R, R) {
        let (below, density) = normal(x);
        // Far out the density is 0, and |x| may be infinite.
        let bounded = x.max(R::splat(-100.0)).min(R::splat(100.0));
        let slope = (bounded * R::splat(FRAC_1_SQRT_2PI)).mul_add(density, below);
        (x.max(R::splat(-100.0)) * below, slope)
    }

    #[inline(always)]
    fn curvature<R: Real>(&self, x: R) -> R {
        let (_, density) = normal(x);
        let bounded = x.max(R::splat(-100.0)).min(R::splat(100.0));
        let fall = R::splat(2.0) - bounded * bounded;
        R::splat(FRAC_1_SQRT_2PI) * density * fall
    }
}

impl Activation for Gelu {
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

/// The range of r. Below, φ is x/2 to all digits of an angle; above, it is max(x, 0).
const SMALLEST: f64 = 1e-30;
const LARGEST: f64 = 1e30;

/// What describes one variable: the angle's numbers, and these.
#[derive(Clone, Copy)]
struct GeluVariable<R> {
    angle: Arcsine<R>,
    /// `e = √(1+2q)` and `y = (1−q)/(1+q)`.
    e: R,
    y: R,
    /// `√E φ²/r` and, of the even part of φ, `E ψ²/q`.
    root: R,
    even: R,
    /// `r/√E φ²`.
    inverse: R,
}

impl<S: Single> GeluVariable<S> {
    fn new<N: RowNumber<Single = S>>(r: N) -> Self {
        let one = S::splat(1.0);
        let r = r.max(SMALLEST).min(LARGEST);
        let (angle, z, even) = (Arcsine::new(r), r.single(), even_square(r));
        let root = (N::constant(0.25) + even).sqrt();
        Self {
            angle,
            e: one.hypot(S::splat(SQRT_2) * z),
            y: (one - z * z) * angle.m * angle.m,
            root: root.single(),
            even: even.single(),
            inverse: (N::constant(1.0) / root).single(),
        }
    }
}

/// Of the even part of φ, `E ψ²/q = [α + (q + q e²)/((1+q)² e)]/(2π)`.
fn even_square<N: RowNumber>(r: N) -> N {
    let (one, q) = (N::constant(1.0), r * r);
    let (e, above) = ((one + q.scaled(1)).sqrt(), one + q);
    let outside = (q.scaled(1) / above) / e; // 1 + e² = 2(1+q)
    (angle(r) + outside) / DoubleDouble::PI.scaled(1).into()
}

impl<R: Real> GeluVariable<R> {
    #[inline(always)]
    fn of(numbers: &[R]) -> Self {
        Self {
            angle: Arcsine::of(numbers),
            e: numbers[NUMBERS],
            y: numbers[NUMBERS + 1],
            root: numbers[NUMBERS + 2],
            even: numbers[NUMBERS + 3],
            inverse: numbers[NUMBERS + 4],
        }
    }
}

/// `φ(x) = x/2 + ψ(x)` with an even ψ, so that `T = c/4 + Ψ(|c|)`. With `D = (1+q1)(1+q2)`, `E = √(D−c²)` and `sin α = c/√D`,
///
/// ```text
/// 2π Ψ = cα + (c² + q1q2E²)/(DE) = cα + 1/E − (y1+y2)E/2,    y = (1−q)/(1+q)
/// Ṫ = 1/4 ± [α + (c/E)(1/E² + (2+q1+q2)/D)]/(2π)
/// ```
///
/// In units of r1r2; of two equal variables E is e.
impl ClosedForm for Gelu {
    const FEATURES: usize = NUMBERS + 5;

    fn root<N: RowNumber>(&self, r: N) -> N {
        let even = even_square(r.max(SMALLEST).min(LARGEST));
        r * (N::constant(0.25) + even).sqrt()
    }

    fn describe<N: RowNumber>(&self, r: N) -> [N::Single; MOST_FEATURES] {
        let variable = GeluVariable::new(r);
        let [z, rest, p, m, a, b, c, d] = variable.angle.numbers();
        let GeluVariable {
            e,
            y,
            root,
            even,
            inverse,
            ..
        } = variable;
        features([z, rest, p, m, a, b, c, d, e, y, root, even, inverse])
    }

    #[inline(always)]
    fn pair<R: Real>(&self, u: [R; MOST_FEATURES], v: [R; MOST_FEATURES], gap: R) -> (R, R) {
        let (one, half, quarter) = (R::splat(1.0), R::splat(0.5), R::splat(0.25));
        let turn = R::splat(0.5 / PI);
        let (size, opposite) = (gap.abs(), gap.is_negative());
        let rho = one - size;
        let (u, v) = (GeluVariable::of(&u), GeluVariable::of(&v));
        let pair = Pair::new(u.angle, v.angle, size);
        let (r_u, r_v, both) = (u.angle.z, v.angle.z, u.angle.m * v.angle.m);
        let scale = r_u * r_v;
        let whole = u.root * v.root;

        // E of these and of aligned variables, and the angle.
        let inverse = one / both;
        let (far, near) = (pair.turned_cosine * inverse, pair.cosine * inverse);
        let angle = pair.aligned - pair.closing;
        // Ψ/(r1r2) of these and of aligned variables.
        let even = |angle: R, rho: R, e: R| {
            let above = both * both * ((scale * rho * rho) + scale * e * e);
            turn * rho.mul_add(angle, above / e)
        };
        let even_turned = even(angle, rho, far);

        // Ψ(s) − Ψ(c), over r1r2: s(α0 − α) + seα + [1/E]  − (y1+y2)/2 [E], where E grows by `growth`.
        let growth = scale * (size * (R::splat(2.0) - size)) / (far + near);
        let mean = half * (u.y + v.y);
        let falling = pair.closing + size * angle + growth * (one / (far * near) + mean);
        let falling = quarter.mul_add(size, turn * falling);
        let spread = spread(u, v, pair, near, whole);
        let aligned = ((spread + falling) / whole).max(R::splat(0.0));

        // √(T11T22) − r1r2/4 + r1r2 (1−|ρ|)/4 + Ψ(c): positive terms.
        let outside = linear_spread(u, v, whole);
        let to_opposite = (outside + quarter.mul_add(size, even_turned)) / whole;
        let to_equal = one - (even_turned - quarter * rho) / whole;
        let from_opposite = R::select(to_opposite.less(one), -to_opposite, to_equal);
        let new = R::select(opposite, from_opposite, aligned);

        let sum = both * both * (R::splat(2.0) + (r_u * r_u + r_v * r_v));
        let slope = (scale * rho / far).mul_add(one / (far * far) + sum, angle);
        let dot = turn.mul_add(R::select(opposite, -slope, slope), quarter);
        (new, dot)
    }

    #[inline(always)]
    fn far_pair<R: Real>(
        &self,
        u: [R; MOST_FEATURES],
        v: [R; MOST_FEATURES],
        gap: R,
    ) -> Option<(R, (R, R))> {
        let (one, quarter, turn) = (R::splat(1.0), R::splat(0.25), R::splat(0.5 / PI));
        let (u, v) = (GeluVariable::of(&u), GeluVariable::of(&v));
        let turned = Turned::new(u.angle, v.angle, gap.abs());
        let Turned {
            sines,
            sine,
            cosine,
            angle,
        } = turned;
        let rho = one - gap.abs();
        // 1/E² = (m_u m_v/cos α)², c/E = tan α, and (2 + q1 + q2)/D = m_u² + m_v².
        let (m_u, m_v) = (u.angle.m * u.angle.m, v.angle.m * v.angle.m);
        let inverse = one / cosine;
        let tangent = sine * inverse;
        let square = (m_u * m_v) * (inverse * inverse);
        let even = turn
            * rho.mul_add(
                angle,
                sines * ((rho * rho * square).mul_add(cosine, cosine)),
            );
        let correlation = (quarter * rho.copysign(gap) + even) * (u.inverse * v.inverse);
        let new = (one - correlation.abs()).copysign(correlation);
        let slope = tangent.mul_add(square + (m_u + m_v), angle);
        let dot = turn.mul_add(slope.copysign(gap), quarter);
        Some((gap.abs() - R::splat(NEAR), (new, dot)))
    }
}

/// `√(T11T22)/(r1r2) − 1/4`.
#[inline(always)]
fn linear_spread<R: Real>(u: GeluVariable<R>, v: GeluVariable<R>, whole: R) -> R {
    let quarter = R::splat(0.25);
    (quarter * (u.even + v.even) + u.even * v.even) / (whole + quarter)
}

/// `√(T11T22) − T(c = r1r2)`, over r1r2.
///
/// It is half of `E(φ(u)−φ(v))² − (√T11 − √T22)²`, where both squares are sums of squares of differences. Variables of
/// unlike size take the difference itself, small ones without the linear part of φ, in which it cancels, and large ones
/// without that of ReLU.
#[inline(always)]
fn spread<R: Real>(u: GeluVariable<R>, v: GeluVariable<R>, pair: Pair<R>, near: R, whole: R) -> R {
    let (one, two) = (R::splat(1.0), R::splat(2.0));
    let (half, quarter, turn) = (R::splat(0.5), R::splat(0.25), R::splat(0.5 / PI));
    let (r_u, r_v) = (u.angle.z, v.angle.z);
    let (scale, apart) = (r_u * r_v, u.angle.apart(&v.angle));
    let (q_u, q_v) = (r_u * r_u, r_v * r_v);
    let (q_sum, q_apart) = (q_u + q_v, apart * (r_u + r_v));
    let both = u.angle.m * v.angle.m;
    let (e_sum, e_product) = (u.e + v.e, u.e * v.e);
    let e_apart = two * q_apart / e_sum;
    let y_apart = -(two * q_apart * both * both);
    let mean = half * (u.y + v.y);
    let alpha = pair.aligned;

    // 2E − e1 − e2, and 1/e1 + 1/e2 − 2/E.
    let convex = e_apart * e_apart / (two * near + e_sum);
    let inverse = half * (e_apart * e_apart + convex * e_sum) / (e_product * near);
    let squared = apart * apart * alpha
        + (q_sum * pair.excess + q_apart * pair.half_difference)
        + (inverse + (mean * convex - half * y_apart * e_apart));
    let distance = quarter * apart * apart + turn * squared;
    // T11 − T22.
    let angles = q_apart * (alpha + pair.excess) + q_sum * pair.half_difference;
    let rest = e_apart / e_product + half * y_apart * e_sum + mean * e_apart;
    let difference = quarter.mul_add(q_apart, turn * (angles - rest));
    let roots = r_u * u.root + r_v * v.root;
    let ratio = difference / roots;
    let large = half * (distance - ratio * ratio) / scale;

    let above = both * both * (scale + scale * near * near);
    let aligned = turn * (alpha + above / near);
    let small = linear_spread(u, v, whole) - aligned;
    let unlike = (scale * scale).min(half * scale).less(apart * apart);
    let spread = R::select(unlike, small, large);
    // Where `large` has an error of some apart² ε, and the other one of scale^{−3/2} ε.
    let steep = one.less(scale.min(scale * (apart * apart) * (apart * apart)));
    let spread = if R::any(steep) {
        R::select(steep, steep_spread(u, v, near), spread)
    } else {
        spread
    };
    spread.max(R::splat(0.0))
}

/// As [`spread`], from what ReLU has more than GELU: `T = r1r2 (1/2 − d)` with the small
///
/// ```text
/// 2π d = β − sin β cos β (1 + 1/E²),    β = π/2 − α0
/// ```
#[inline(always)]
fn steep_spread<R: Real>(u: GeluVariable<R>, v: GeluVariable<R>, near: R) -> R {
    let half = R::splat(0.5);
    let d = missing(u, v, near);
    let (d_u, d_v) = (missing(u, u, u.e), missing(v, v, v.e));
    let roots = (d_u - d_v) / (u.root + v.root);
    d - half * (d_u + d_v) - half * roots * roots
}

/// d of two variables whose E is given: `β − sin β cos β = β sin²β − cos β (sin β − β cos β)`.
#[inline(always)]
fn missing<R: Real>(u: GeluVariable<R>, v: GeluVariable<R>, e: R) -> R {
    let both = u.angle.m * v.angle.m;
    let (sine, cosine) = (u.angle.p * v.angle.p, e * both);
    let (angle, lift) = angle_and_lift(cosine * cosine / (R::splat(1.0) + sine));
    let parts = angle * cosine * cosine - sine * lift - sine * both * both / cosine;
    R::splat(0.5 / PI) * parts
}
