//! The error function: smooth, bounded, with an arcsine for a dual (Williams 1997).

use std::f64::consts::{FRAC_2_SQRT_PI, PI, SQRT_2};

use crate::activation::{Activation, Dual, evaluate_each};

/// `φ(x) = erf(x)`, `φ'(x) = 2/√π e^{−x²}`.
#[derive(Clone, Copy, Debug)]
pub struct Erf;

impl Activation for Erf {
    fn evaluate(&self, h: &mut [f64], slopes: &mut [f64]) {
        evaluate_each(h, slopes, |x| {
            (libm::erf(x), FRAC_2_SQRT_PI * libm::exp(-x * x))
        });
    }

    fn dual(&self) -> Option<&dyn Dual> {
        Some(self)
    }
}

/// One variable, described by `p = √(2q/(1+2q))` and `m = √(1/(1+2q))`: `p² + m² = 1`, and neither overflows.
#[derive(Clone, Copy)]
struct Variable {
    r: f64,
    p: f64,
    m: f64,
    /// `arcsin(2q/(1+2q))`, so that `E φ(u)² = 2/π·angle`.
    angle: f64,
}

impl Variable {
    fn new(r: f64) -> Self {
        let m = 1.0 / libm::hypot(1.0, SQRT_2 * r);
        // tan(angle) = 2q/√(1+4q): an arcsine would lose its digits as q grows.
        let angle = libm::atan(2.0 * r * (r / libm::hypot(1.0, 2.0 * r)));
        Self {
            r,
            p: SQRT_2 * r * m,
            m,
            angle,
        }
    }
}

/// `T = 2/π α`, `sin α = y = p_u p_v (1 − e)`, `Ṫ = 4/π m_u m_v / cos α`.
impl Dual for Erf {
    fn root(&self, r: f64) -> f64 {
        // Where the angle underflows, φ is linear to all digits.
        if r < 1e-8 {
            FRAC_2_SQRT_PI * r
        } else {
            (2.0 / PI * Variable::new(r).angle).sqrt()
        }
    }

    fn step(&self, r_u: f64, r_v: &[f64], gaps: &mut [f64], dots: &mut [f64]) {
        assert!(r_v.len() == gaps.len() && gaps.len() == dots.len());
        let u = Variable::new(r_u);
        for ((r_v, gap), dot) in r_v.iter().zip(gaps).zip(dots) {
            (*gap, *dot) = pair(u, Variable::new(*r_v), *gap);
        }
    }
}

/// The gap of (erf(u), erf(v)), and Ṫ.
fn pair(u: Variable, v: Variable, gap: f64) -> (f64, f64) {
    let (aligned, both) = (u.p * v.p, u.m * v.m);
    // Squared cosines of the angles at gap 0 and at this gap: sums of positive terms, symmetric in u and v.
    let cos2_aligned = both * both + ((u.p * v.m) * (u.p * v.m) + (v.p * u.m) * (v.p * u.m));
    let opening = aligned * aligned * (gap * (2.0 - gap));
    let cos_aligned = cos2_aligned.sqrt();
    let cos = (cos2_aligned + opening).max(f64::MIN_POSITIVE).sqrt();
    let dot = 4.0 / PI * both / cos;

    let scale = u.angle.sqrt() * v.angle.sqrt();
    if scale == 0.0 {
        return (gap, dot);
    }
    let y = aligned * (1.0 - gap);
    let aligned_angle = libm::atan2(aligned, cos_aligned);
    // α(0) − α(gap), from sin² differences while both angles are positive: no cancellation.
    let closing = if y > 0.0 {
        libm::asin((opening / (aligned * cos + y * cos_aligned)).min(1.0))
    } else {
        aligned_angle - libm::atan2(y, cos)
    };
    // The geometric mean of the two angles is not the angle of the geometric mean, except between equal variances.
    let spread = if u.r == v.r {
        0.0
    } else {
        (scale - aligned_angle).max(0.0)
    };
    ((closing + spread) / scale, dot)
}
