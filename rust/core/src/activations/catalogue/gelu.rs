//! The Gaussian error linear unit (Hendrycks & Gimpel 2016), with the dual of Tsuchida et al. (2021).

use std::f64::consts::{PI, SQRT_2};

use crate::activations::activation::Formula;
use crate::activations::bias::correlation;
use crate::activations::closed_form::{ClosedForm, MOST_NUMBERS, NEAR, NamedNumbers};
use crate::activations::differentiable::DIRECTIONS;
use crate::activations::far_layer::FarDual;
use crate::isa::Real;
use crate::math::double_double::DoubleDouble;
use crate::math::number::{RowNumber, Single};
use crate::math::special::{angle_and_lift, normal};
use crate::math::tangent::Tangent;

use super::arcsine::{self, Arcsine, ArcsinePair, PairAngle, angle};

/// `φ(x) = xΦ(x)`, `φ'(x) = Φ(x) + xΦ'(x)`.
#[derive(Clone, Copy, Debug)]
pub struct Gelu;

const FRAC_1_SQRT_2PI: f64 = 0.398_942_280_401_432_7;

impl Formula for Gelu {
    #[inline(always)]
    fn value_and_slope<R: Real>(&self, x: R) -> (R, R) {
        let (below, density) = normal(x);
        // Where the density is 0, |x| may be infinite.
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

/// The range of r. Below it, φ is x/2 to all digits of an angle; above it, max(x, 0).
const SMALLEST: f64 = 1e-30;
const LARGEST: f64 = 1e30;

/// The numbers of one variable.
#[derive(Clone, Copy)]
pub struct GeluVariable<R> {
    /// `e = √(1+2q)` and `y = (1−q)/(1+q)`.
    e: R,
    y: R,
    /// `√E φ²/r`, and its inverse.
    root: R,
    pub(super) inverse: R,
    /// `E ψ²/q`, where ψ is the even part of φ.
    even: R,
    pub(super) arcsine: Arcsine<R>,
}

impl<R: Copy> NamedNumbers<R> for GeluVariable<R> {
    const COUNT: usize = 5 + arcsine::NUMBERS;

    fn numbers(self) -> impl IntoIterator<Item = R> {
        let own = [self.e, self.y, self.root, self.inverse, self.even];
        own.into_iter().chain(self.arcsine.numbers())
    }

    #[inline(always)]
    fn from_numbers([e, y, root, inverse, even, arcsine @ ..]: [R; MOST_NUMBERS]) -> Self {
        Self {
            e,
            y,
            root,
            inverse,
            even,
            arcsine: Arcsine::from_numbers(arcsine),
        }
    }
}

/// `E ψ²/q = [α + (q + q e²)/((1+q)² e)]/(2π)`, where ψ is the even part of φ.
fn even_square<N: RowNumber>(r: N) -> N {
    let (one, q) = (N::constant(1.0), r * r);
    let (e, above) = ((one + q.scaled(1)).sqrt(), one + q);
    let outside = (q.scaled(1) / above) / e; // 1 + e² = 2(1+q)
    (angle(r) + outside) / DoubleDouble::PI.scaled(1).into()
}

/// `φ(x) = x/2 + ψ(x)` with an even ψ, so that `T = c/4 + Ψ(|c|)`.
///
/// With `D = (1+q1)(1+q2)`, `E = √(D−c²)` and `sin α = c/√D`,
///
/// ```text
/// 2π Ψ = cα + (c² + q1q2E²)/(DE) = cα + 1/E − (y1+y2)E/2,    y = (1−q)/(1+q)
/// Ṫ = 1/4 ± [α + (c/E)(1/E² + (2+q1+q2)/D)]/(2π)
/// ```
///
/// All of T is computed in units of r1r2. For two equal variables E is e.
impl ClosedForm for Gelu {
    type Variable<R: Real> = GeluVariable<R>;

    fn root<N: RowNumber>(&self, r: N) -> N {
        let even = even_square(r.max(SMALLEST).min(LARGEST));
        r * (N::constant(0.25) + even).sqrt()
    }

    fn variable<N: RowNumber>(&self, r: N) -> GeluVariable<N::Single> {
        let one = N::Single::splat(1.0);
        let r = r.max(SMALLEST).min(LARGEST);
        let (arcsine, z, even) = (Arcsine::new(r), r.single(), even_square(r));
        let root = (N::constant(0.25) + even).sqrt();
        GeluVariable {
            e: one.hypot(N::Single::splat(SQRT_2) * z),
            y: (one - z * z) * arcsine.m * arcsine.m,
            root: root.single(),
            inverse: (N::constant(1.0) / root).single(),
            even: even.single(),
            arcsine,
        }
    }

    #[inline(always)]
    fn pair<R: Real>(&self, u: GeluVariable<R>, v: GeluVariable<R>, gap: R) -> (R, R) {
        let (one, quarter) = (R::splat(1.0), R::splat(0.25));
        let (size, opposite) = (gap.abs(), gap.is_negative());
        let rho = one - size;
        let pair = GeluPair::new(u, v, size);
        let even = pair.even();
        let aligned = ((spread(u, v, pair) + pair.fall(u, v)) / pair.root).max(R::splat(0.0));

        // √(T11T22) − r1r2/4 + r1r2 (1−|ρ|)/4 + Ψ(c): positive terms.
        let outside = linear_spread(u, v, pair.root);
        let to_opposite = (outside + quarter.mul_add(size, even)) / pair.root;
        let to_equal = one - (even - quarter * rho) / pair.root;
        let from_opposite = R::select(to_opposite.less(one), -to_opposite, to_equal);
        let new = R::select(opposite, from_opposite, aligned);

        let (r_u, r_v, both, far) = (u.arcsine.z, v.arcsine.z, pair.both, pair.turned_e);
        let sum = both * both * (R::splat(2.0) + (r_u * r_u + r_v * r_v));
        let slope = (pair.scale * rho / far).mul_add(one / (far * far) + sum, pair.angle);
        let dot = R::splat(0.5 / PI).mul_add(R::select(opposite, -slope, slope), quarter);
        (new, dot)
    }

    #[inline(always)]
    fn far_pair<R: Real>(
        &self,
        u: GeluVariable<R>,
        v: GeluVariable<R>,
        gap: R,
    ) -> Option<(R, (R, R))> {
        let (one, quarter, turn) = (R::splat(1.0), R::splat(0.25), R::splat(0.5 / PI));
        let PairAngle {
            sines,
            sine,
            cosine,
            angle,
        } = PairAngle::new(u.arcsine, v.arcsine, gap.abs());
        let rho = one - gap.abs();
        // 1/E² = (m_u m_v/cos α)², c/E = tan α, and (2 + q1 + q2)/D = m_u² + m_v².
        let (m_u, m_v) = (u.arcsine.m * u.arcsine.m, v.arcsine.m * v.arcsine.m);
        let inverse = one / cosine;
        let tangent = sine * inverse;
        let square = (m_u * m_v) * (inverse * inverse);
        let outside = sines * ((rho * rho * square).mul_add(cosine, cosine));
        let even = turn * rho.mul_add(angle, outside);
        let correlation = (quarter * rho.copysign(gap) + even) * (u.inverse * v.inverse);
        let new = (one - correlation.abs()).copysign(correlation);
        let slope = tangent.mul_add(square + (m_u + m_v), angle);
        let dot = turn.mul_add(slope.copysign(gap), quarter);
        Some((gap.abs() - R::splat(NEAR), (new, dot)))
    }

    fn far_single(&self) -> Option<&dyn FarDual> {
        Some(self)
    }

    /// With `t = tan α`, `M = m_u² + m_v²` and `B = 1 + (1+t²)(1/E² + M)`, over r1r2 where it is of T,
    ///
    /// ```text
    /// 2π 2q_u ∂T/∂q_u = c/(ρE) [1 + m_u² − p_u² ρ² (1 + 2m_u² + 1/E²)]
    /// 2π r1r2 ∂Ṫ/∂c = c/(ρE) [B + 2t²/E²]
    /// 2π ∂Ṫ/∂log r_u = ±t [m_u² B + 2(t² m_u² − p_u²)/E² − 2p_u² m_u²]
    /// ```
    ///
    /// and `∂T/∂c = Ṫ`. So `∂T/∂log r_u = c Ṫ + 2q_u ∂T/∂q_u` at a fixed ρ.
    #[inline(always)]
    fn far_slopes<R: Real>(
        &self,
        u: [GeluVariable<R>; 2],
        v: [GeluVariable<R>; 2],
        gap: R,
    ) -> Option<(R, [Tangent<R, DIRECTIONS>; 2])> {
        let (one, two, turn) = (R::splat(1.0), R::splat(2.0), R::splat(0.5 / PI));
        let ([u, du], [v, dv]) = (u, v);
        let (margin, (new, dot)) = self.far_pair(u, v, gap)?;
        let PairAngle {
            sines,
            sine,
            cosine,
            ..
        } = PairAngle::new(u.arcsine, v.arcsine, gap.abs());
        let (m_u, m_v) = (u.arcsine.m * u.arcsine.m, v.arcsine.m * v.arcsine.m);
        let inverse = one / cosine;
        let tangent = sine * inverse;
        let (tangents, square) = (tangent * tangent, (m_u * m_v) * (inverse * inverse));
        let whole = (one + tangents).mul_add(square + (m_u + m_v), one);
        let (rho, scale) = (correlation(gap), u.inverse * v.inverse);
        let (outside, squared_rho) = (turn * sines * inverse, rho * rho);
        let mut slopes = [[gap * dot * scale; DIRECTIONS]; 2];
        slopes[1][0] = -(gap * (outside * (two * tangents).mul_add(square, whole)));
        let sides = [(m_u, u, du), (m_v, v, dv)];
        for (n, (m, own, slope)) in sides.into_iter().enumerate() {
            let p = own.arcsine.p * own.arcsine.p;
            let fall = p * squared_rho * (one + (two * m + square));
            let by_root = outside.mul_add(one + m - fall, rho * dot);
            let elasticity = slope.root.mul_add(own.inverse, one);
            slopes[0][n + 1] = correlation(new) * elasticity - by_root * scale;
            let rest = square.mul_add(tangents * m - p, -(p * m));
            let along = tangent * m.mul_add(whole, two * rest);
            slopes[1][n + 1] = (turn * along) * one.copysign(gap);
        }
        Some((margin, Tangent::from_parts([new, dot], slopes)))
    }
}

/// The numbers of a pair of variables.
#[derive(Clone, Copy)]
struct GeluPair<R> {
    angles: ArcsinePair<R>,
    /// `1 − |ρ|`.
    size: R,
    /// `r1r2`, `m_u m_v`, and the product of the roots.
    scale: R,
    both: R,
    root: R,
    /// |α|.
    angle: R,
    /// E, and that of aligned variables.
    turned_e: R,
    e: R,
}

impl<R: Real> GeluPair<R> {
    /// The pair of u and v, with `size = 1 − |ρ|`.
    #[inline(always)]
    fn new(u: GeluVariable<R>, v: GeluVariable<R>, size: R) -> Self {
        let angles = ArcsinePair::new(u.arcsine, v.arcsine, size);
        let both = u.arcsine.m * v.arcsine.m;
        let inverse = R::splat(1.0) / both;
        Self {
            angles,
            size,
            scale: u.arcsine.z * v.arcsine.z,
            both,
            root: u.root * v.root,
            angle: angles.aligned - angles.closing,
            turned_e: angles.turned_cosine * inverse,
            e: angles.cosine * inverse,
        }
    }

    /// `Ψ/(r1r2)`.
    #[inline(always)]
    fn even(&self) -> R {
        let (rho, e, both) = (R::splat(1.0) - self.size, self.turned_e, self.both);
        let above = both * both * ((self.scale * rho * rho) + self.scale * e * e);
        R::splat(0.5 / PI) * rho.mul_add(self.angle, above / e)
    }

    /// `(T(s) − T(c))/(r1r2)` with `s = r1r2`: a quarter of e, the size of the gap, and `(Ψ(s) − Ψ(c))/s`, where
    ///
    /// ```text
    /// 2π(Ψ(s) − Ψ(c))/s = δ + eα + [E] (1/(E E0) + (y1+y2)/2)        δ = α0 − α,  [E] = (E − E0)/s
    /// ```
    ///
    /// For large variables that cancels, since `(y1+y2)/2 = m1² + m2² − 1` comes near −1, and `[E]` near δ. With
    /// `[E] = (cos α − cos α0)/sin α0` and `e sin α0 = sin α0 − sin α` it is
    ///
    /// ```text
    /// eα + cos α (δ sin δ − 1 + cos δ)/sin α0 − ρ (sin δ − δ cos δ) + [E] (1/(E E0) + m1² + m2²)
    /// ```
    #[inline(always)]
    fn fall(&self, u: GeluVariable<R>, v: GeluVariable<R>) -> R {
        let (one, far, near, angles) = (R::splat(1.0), self.turned_e, self.e, self.angles);
        let (m_u, m_v, sines) = (u.arcsine.m, v.arcsine.m, u.arcsine.p * v.arcsine.p);
        let growth = self.scale * (self.size * (R::splat(2.0) - self.size)) / (far + near); // [E]
        let ArcsinePair {
            closing,
            closing_sine: sine,
            closing_cosine: cosine,
            ..
        } = angles;
        let versine = sine * sine / (one + cosine); // 1 − cos δ
        let (_, lift) = angle_and_lift(versine);
        let bend = angles.turned_cosine * (closing * sine - versine) / sines;
        let fall = (one - self.size) * lift;
        let rest = one / (far * near) + (m_u * m_u + m_v * m_v);
        let even = self.size * self.angle + (bend - fall) + growth * rest;
        R::splat(0.25).mul_add(self.size, R::splat(0.5 / PI) * even)
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
/// Three formulas share the range: [`spread_of_squares`] for variables of similar size, the difference itself for
/// variables of unlike size, and [`steep_spread`] for large ones.
#[inline(always)]
fn spread<R: Real>(u: GeluVariable<R>, v: GeluVariable<R>, pair: GeluPair<R>) -> R {
    let (one, half, turn) = (R::splat(1.0), R::splat(0.5), R::splat(0.5 / PI));
    let GeluPair { scale, both, e, .. } = pair;
    let apart = u.arcsine.apart(&v.arcsine);
    let like = spread_of_squares(u, v, pair);

    // Without the linear part of φ, in which the difference would cancel for small variables.
    let above = both * both * (scale + scale * e * e);
    let aligned = turn * (pair.angles.aligned + above / e);
    let unlike = linear_spread(u, v, pair.root) - aligned;
    let is_unlike = (scale * scale).min(half * scale).less(apart * apart);
    let spread = R::select(is_unlike, unlike, like);
    // Here `like` has an error of about apart² ε, and the steep formula one of about scale^{−3/2} ε.
    let steep = one.less(scale.min(scale * (apart * apart) * (apart * apart)));
    let spread = if R::any(steep) {
        R::select(steep, steep_spread(u, v, e), spread)
    } else {
        spread
    };
    spread.max(R::splat(0.0))
}

/// [`spread`] as half of `E(φ(u)−φ(v))² − (√T11 − √T22)²`, both as sums of squares of differences.
#[inline(always)]
fn spread_of_squares<R: Real>(u: GeluVariable<R>, v: GeluVariable<R>, pair: GeluPair<R>) -> R {
    let (two, half) = (R::splat(2.0), R::splat(0.5));
    let (quarter, turn) = (R::splat(0.25), R::splat(0.5 / PI));
    let (angles, near) = (pair.angles, pair.e);
    let (r_u, r_v) = (u.arcsine.z, v.arcsine.z);
    let apart = u.arcsine.apart(&v.arcsine);
    let (q_u, q_v) = (r_u * r_u, r_v * r_v);
    let (q_sum, q_apart) = (q_u + q_v, apart * (r_u + r_v));
    let (e_sum, e_product) = (u.e + v.e, u.e * v.e);
    let e_apart = two * q_apart / e_sum;
    let y_apart = -(two * q_apart * pair.both * pair.both);
    let mean = half * (u.y + v.y);

    // 2E − e1 − e2, and 1/e1 + 1/e2 − 2/E.
    let convex = e_apart * e_apart / (two * near + e_sum);
    let inverse = half * (e_apart * e_apart + convex * e_sum) / (e_product * near);
    let squared = apart * apart * angles.aligned
        + (q_sum * angles.excess + q_apart * angles.half_difference)
        + (inverse + (mean * convex - half * y_apart * e_apart));
    let distance = quarter * apart * apart + turn * squared;
    // T11 − T22.
    let of_angles = q_apart * (angles.aligned + angles.excess) + q_sum * angles.half_difference;
    let rest = e_apart / e_product + half * y_apart * e_sum + mean * e_apart;
    let difference = quarter.mul_add(q_apart, turn * (of_angles - rest));
    let roots = r_u * u.root + r_v * v.root;
    let ratio = difference / roots;
    half * (distance - ratio * ratio) / pair.scale
}

/// `√(T11T22) − T(c = r1r2)`, over r1r2, for large variables. There GELU falls only a little short of ReLU:
/// `T = r1r2 (1/2 − d)` with the small
///
/// ```text
/// 2π d = β − sin β cos β (1 + 1/E²),    β = π/2 − α0
/// ```
///
/// See [`spread`].
#[inline(always)]
fn steep_spread<R: Real>(u: GeluVariable<R>, v: GeluVariable<R>, near: R) -> R {
    let half = R::splat(0.5);
    let d = missing(u, v, near);
    let (d_u, d_v) = (missing(u, u, u.e), missing(v, v, v.e));
    let roots = (d_u - d_v) / (u.root + v.root);
    d - half * (d_u + d_v) - half * roots * roots
}

/// d of two variables, given their E. Here `β − sin β cos β = β sin²β − cos β (sin β − β cos β)`.
#[inline(always)]
fn missing<R: Real>(u: GeluVariable<R>, v: GeluVariable<R>, e: R) -> R {
    let both = u.arcsine.m * v.arcsine.m;
    let (sine, cosine) = (u.arcsine.p * v.arcsine.p, e * both);
    let (angle, lift) = angle_and_lift(cosine * cosine / (R::splat(1.0) + sine));
    let parts = angle * cosine * cosine - sine * lift - sine * both * both / cosine;
    R::splat(0.5 / PI) * parts
}
