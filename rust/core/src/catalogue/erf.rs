//! The error function: smooth, bounded, with an arcsine for a dual (Williams 1997).

use std::f64::consts::{FRAC_2_PI, FRAC_2_SQRT_PI, PI, SQRT_2};

use crate::activation::{Activation, Formula, evaluate};
use crate::double_double::DoubleDouble;
use crate::dual::{Description, Dual, Features, Variables};
use crate::error::Result;
use crate::isa::{Block, Isa, Real};
use crate::special::{erf, exp_minus_square};

/// `φ(x) = erf(x)`, `φ'(x) = 2/√π e^{−x²}`.
#[derive(Clone, Copy, Debug)]
pub struct Erf;

impl Formula for Erf {
    #[inline(always)]
    fn value_and_slope<R: Real>(&self, x: R) -> (R, R) {
        (erf(x), R::splat(FRAC_2_SQRT_PI) * exp_minus_square(x))
    }
}

impl Activation for Erf {
    fn evaluate(&self, h: &mut [f64], slopes: &mut [f64]) {
        evaluate(self, h, slopes);
    }

    fn dual(&self) -> Option<&dyn Dual> {
        Some(self)
    }
}

/// One variable of variance q = r², described by `p = √(2q/(1+2q))` and `m = √(1/(1+2q))`: `p² + m² = 1`, and neither
/// overflows. Its own angle α has `sin α = p²`, and `E φ(u)² = 2/π α`.
#[derive(Clone, Copy)]
struct Variable {
    r: f64,
    p: f64,
    m: f64,
    angle: f64,
    /// √α, also where α underflows.
    root: f64,
    cos: f64,
}

/// Below this r, φ is linear to all digits.
const LINEAR: f64 = 1e-8;

impl Variable {
    fn new(r: f64) -> Self {
        let m = 1.0 / libm::hypot(1.0, SQRT_2 * r);
        // tan α = 2q/√(1+4q): an arcsine would lose its digits as q grows.
        let angle = libm::atan(2.0 * r * (r / libm::hypot(1.0, 2.0 * r)));
        let root = if r < LINEAR { SQRT_2 * r } else { angle.sqrt() };
        Self {
            r,
            p: SQRT_2 * r * m,
            m,
            angle,
            root,
            cos: m * (m * libm::hypot(1.0, 2.0 * r)),
        }
    }
}

/// `T = 2/π α`, `sin α = p_u p_v |ρ|`, `Ṫ = 4/π m_u m_v / cos α`.
impl Dual for Erf {
    fn describe(&self, r: &[DoubleDouble]) -> Result<Description> {
        let root = |r: &DoubleDouble| (FRAC_2_PI.sqrt() * Variable::new(r.value).root).into();
        Ok(Description {
            roots: r.iter().map(root).collect(),
            features: Features(vec![r.iter().map(|r| r.value).collect()]),
        })
    }

    fn step(&self, _isa: Isa, pairs: Variables<'_>, gaps: &mut [Block], dots: &mut [Block]) {
        let (u, r_v) = (Variable::new(pairs.u(0)), pairs.v(0).as_flattened());
        let pairs = gaps
            .as_flattened_mut()
            .iter_mut()
            .zip(dots.as_flattened_mut());
        for (r_v, (gap, dot)) in r_v.iter().zip(pairs) {
            (*gap, *dot) = pair(u, Variable::new(*r_v), *gap);
        }
    }
}

/// The gap of (erf(u), erf(v)), and Ṫ.
///
/// The new gap is `1 − α/√(α_u α_v)`. It opens for two reasons, each computed without cancellation: the angle α falls
/// from α(0), that of aligned variables, as the gap grows; and α(0) falls behind `√(α_u α_v)` as the variances part.
fn pair(u: Variable, v: Variable, gap: f64) -> (f64, f64) {
    let (aligned, both) = (u.p * v.p, u.m * v.m);
    // cos² of α(0) and of α: sums of positive terms, symmetric in u and v.
    let cos2_aligned = both * both + ((u.p * v.m) * (u.p * v.m) + (v.p * u.m) * (v.p * u.m));
    let size = gap.abs();
    let opening = aligned * aligned * (size * (2.0 - size));
    let cos_aligned = cos2_aligned.sqrt();
    let cos = (cos2_aligned + opening).max(f64::MIN_POSITIVE).sqrt();
    let dot = 4.0 / PI * both / cos;

    if u.r < LINEAR && v.r < LINEAR {
        return (gap, dot);
    }
    let scale = u.root * v.root;
    // asin((sin² α(0) − sin² α)/(sin α(0) cos α + sin α cos α(0))), without the common factor sin α(0): it may be tiny.
    let closing =
        libm::asin((aligned * size * (2.0 - size) / (cos + (1.0 - size) * cos_aligned)).min(1.0));
    let spread = if u.r == v.r {
        0.0
    } else {
        spread(u, v, aligned, cos_aligned, scale)
    };
    // erf is odd: opposite variables stay as opposite as equal ones stay equal.
    let new = if scale > 0.0 {
        (closing + spread) / scale
    } else {
        size
    };
    (new.copysign(gap), dot)
}

/// `√(α_u α_v) − α(0)`, given `scale = √(α_u α_v)` and the sine and cosine of α(0).
fn spread(u: Variable, v: Variable, sin_aligned: f64, cos_aligned: f64, scale: f64) -> f64 {
    let (sin_u, sin_v) = (u.p * u.p, v.p * v.p);
    let sines = 2.0 * ((u.r - v.r) * (u.m * v.m)) * ((u.r + v.r) * (u.m * v.m)); // sin α_u − sin α_v
    let half_difference = 0.5
        * libm::asin((sines * (sin_u + sin_v) / (sin_u * v.cos + sin_v * u.cos)).clamp(-1.0, 1.0));
    let mean = 0.5 * (u.angle + v.angle);
    if half_difference.abs() > 0.5 * mean {
        return (scale - libm::atan2(sin_aligned, cos_aligned)).max(0.0);
    }
    // With A the mean and Δ the half difference of the angles, both terms fall short of A by O(Δ²):
    // sin²α(0) = sin²A − sin²Δ and α_u α_v = A² − Δ².
    let (sin_mean, cos_mean) = libm::sincos(mean);
    let sin_half = libm::sin(half_difference);
    let arithmetic = sine_difference(
        sin_mean,
        cos_mean,
        sin_aligned,
        cos_aligned,
        sin_half * sin_half,
    );
    let geometric = half_difference * half_difference / (mean + scale);
    (arithmetic - geometric).max(0.0)
}

/// `a − b` for angles in [0, π/2], given their sines, cosines and `sin²a − sin²b`.
fn sine_difference(sin_a: f64, cos_a: f64, sin_b: f64, cos_b: f64, squares: f64) -> f64 {
    libm::asin((squares / (sin_a * cos_b + sin_b * cos_a)).clamp(-1.0, 1.0))
}
