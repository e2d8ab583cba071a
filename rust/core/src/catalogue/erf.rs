//! The error function: smooth, bounded, with an arcsine for a dual (Williams 1997).

use std::f64::consts::{FRAC_2_SQRT_PI, PI};

use crate::activation::{Activation, Formula, evaluate};
use crate::double_double::DoubleDouble;
use crate::dual::{ClosedForm, Dual, MOST_FEATURES, features};
use crate::isa::Real;
use crate::special::{erf, exp_minus_square};

use super::arcsine::{Arcsine, NUMBERS, Pair, SMALLEST, angle};

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

/// Below this root, α is its square to twice the digits.
const LINEAR: f64 = 1e-16;

/// √α of the variable of root z, also where α underflows.
fn root_of_angle(z: DoubleDouble) -> DoubleDouble {
    if z.value < LINEAR { z } else { angle(z).sqrt() }
}

/// √w of a variable of root r.
fn argument(r: DoubleDouble) -> DoubleDouble {
    r * DoubleDouble::from(2.0).sqrt()
}

/// `T = 2/π α`, `sin α = p_u p_v |ρ|`, `Ṫ = 4/π m_u m_v / cos α`, with w = 2q.
///
/// The new gap is `1 − α/√(α_u α_v)`. It opens for two reasons, each computed without cancellation: the angle α falls
/// from α0, that of aligned variables, as the gap grows; and α0 falls behind `√(α_u α_v)` as the variances part.
impl ClosedForm for Erf {
    const FEATURES: usize = NUMBERS + 1;

    fn root(&self, r: DoubleDouble) -> DoubleDouble {
        let turn = DoubleDouble::from(2.0) / DoubleDouble::PI;
        root_of_angle(argument(r)) * turn.sqrt()
    }

    fn describe(&self, r: DoubleDouble) -> [f64; MOST_FEATURES] {
        let root = argument(r).max(SMALLEST);
        let variable = Arcsine::new(root);
        let [z, rest, p, m, a, b, c, d] = variable.numbers();
        features([z, rest, p, m, a, b, c, d, root_of_angle(root).value])
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
