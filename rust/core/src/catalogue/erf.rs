//! The error function: smooth, bounded, with an arcsine for a dual (Williams 1997).

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI, FRAC_2_SQRT_PI, PI, SQRT_2};

use crate::activation::{Activation, Formula, evaluate};
use crate::dual::{ClosedForm, Dual, MOST_FEATURES, features};
use crate::isa::Real;
use crate::number::{Number, Single};
use crate::special::{erf, exp_minus_square};

use super::arcsine::{Arcsine, NUMBERS, Pair};

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

/// Below this r, φ is linear to all digits.
const LINEAR: f64 = 1e-8;

/// √α of the variable of root r, also where α underflows.
fn root_of_angle<S: Single>(r: S) -> S {
    let z = S::splat(SQRT_2) * r;
    if r.lone() < LINEAR {
        z
    } else {
        Arcsine::new(z).angle().sqrt()
    }
}

/// `T = 2/π α`, `sin α = p_u p_v |ρ|`, `Ṫ = 4/π m_u m_v / cos α`, with w = 2q.
///
/// The new gap is `1 − α/√(α_u α_v)`. It opens for two reasons, each computed without cancellation: the angle α falls
/// from α0, that of aligned variables, as the gap grows; and α0 falls behind `√(α_u α_v)` as the variances part.
impl ClosedForm for Erf {
    const FEATURES: usize = NUMBERS + 1;

    fn root<N: Number>(&self, r: N) -> N {
        (N::Single::splat(FRAC_2_PI.sqrt()) * root_of_angle(r.single())).into()
    }

    fn describe<N: Number>(&self, r: N) -> [N::Single; MOST_FEATURES] {
        let variable = Arcsine::new(N::Single::splat(SQRT_2) * r.single());
        let [z, p, m, a, b, c, d] = variable.numbers();
        features([
            z,
            p,
            m,
            a,
            b,
            c,
            d,
            root_of_angle(variable.z * N::Single::splat(FRAC_1_SQRT_2)),
        ])
    }

    #[inline(always)]
    fn pair<R: Real>(&self, u: [R; MOST_FEATURES], v: [R; MOST_FEATURES], gap: R) -> (R, R) {
        let (first, second) = (Arcsine::of(&u), Arcsine::of(&v));
        let (root_u, root_v) = (u[NUMBERS], v[NUMBERS]);
        let pair = Pair::new(first, second, gap.abs());
        // √(α_u α_v) falls short of A by half the square of √α_u − √α_v.
        let difference = R::splat(2.0) * pair.half_difference / (root_u + root_v);
        let short = R::splat(0.5) * difference * difference;
        let scale = root_u * root_v;
        // The difference of two angles of unlike size is no smaller than their root: nothing cancels in it.
        let unlike = (R::splat(0.25) * scale).less(pair.half_difference.abs());
        let spread = R::select(unlike, scale - pair.aligned, pair.excess - short);
        // Small angles are nearly proportional to the variances, and all of these differences cancel.
        let small = pair.small_excess / (scale + pair.aligned);
        let spread = R::select(small.is_negative(), spread, small);
        let new = (pair.closing + spread.max(R::splat(0.0))) / scale;
        let dot = R::splat(4.0 / PI) * (first.m * second.m) / pair.turned_cosine;
        // erf is odd: opposite variables stay as opposite as equal ones stay equal.
        (new.copysign(gap), dot)
    }
}
