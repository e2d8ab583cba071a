//! Sines and cosines of any frequency and phase.

use std::f64::consts::{FRAC_PI_4, SQRT_2};

use crate::activations::activation::{Activation, Formula, curvature, evaluate};
use crate::activations::closed_form::{ClosedForm, MOST_FEATURES, features};
use crate::activations::dual::Dual;
use crate::error::{Error, Result};
use crate::isa::Real;
use crate::math::double_double::DoubleDouble;
use crate::math::number::{RowNumber, Single};
use crate::math::special::{OddSeries, exp, expm1, sin_cos};

use super::{finite, positive};

/// `φ(x) = a sin(bx + p)`, or a cos(bx + p).
#[derive(Clone, Copy, Debug)]
pub struct Wave {
    a: f64,
    b: DoubleDouble,
    p: f64,
    is_cosine: bool,
    /// The parts of φ² that are odd and even in x: cos²p and sin²p, of a sine.
    odd: f64,
    even: f64,
    /// a²b².
    slope: f64,
}

impl Wave {
    /// `a sin(bx + p)`.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if a parameter is not finite.
    pub fn sine(a: f64, b: f64, p: f64) -> Result<Self> {
        let (sine, cosine) = libm::sincos(finite("p", p)?);
        let (a, b) = (bounded("a", a)?, bounded("b", b)?);
        Ok(Self {
            a,
            b: b.into(),
            p,
            is_cosine: false,
            odd: cosine * cosine,
            even: sine * sine,
            slope: (a * b) * (a * b),
        })
    }

    /// `a cos(bx + p)`.
    ///
    /// # Errors
    /// As [`Wave::sine`].
    pub fn cosine(a: f64, b: f64, p: f64) -> Result<Self> {
        let sine = Self::sine(a, b, p)?;
        Ok(Self {
            is_cosine: true,
            odd: sine.even,
            even: sine.odd,
            ..sine
        })
    }

    /// `√2 sin(√(2γ) x + π/4)`.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if γ is not positive and finite.
    pub fn rbf(gamma: f64) -> Result<Self> {
        let square = DoubleDouble::from(positive("gamma", gamma)?).scaled(1);
        let b = square.sqrt();
        Ok(Self {
            b,
            odd: 0.5,
            even: 0.5,
            slope: 2.0 * square.hi,
            ..Self::sine(SQRT_2, b.hi, FRAC_PI_4)?
        })
    }

    /// `√E φ²/|a|` of `b²q`.
    fn relative_root<N: RowNumber>(&self, x: N) -> N {
        let less = -(-x.scaled(1)).exp_m1();
        let (odd, even) = (N::constant(self.odd), N::constant(self.even));
        (even * (N::constant(2.0) - less) + less * odd)
            .scaled(-1)
            .sqrt()
    }

    /// `|b| r`, within a range.
    fn phase<N: RowNumber>(&self, r: N) -> N {
        (r * self.b.abs().into()).max(SMALLEST).min(LARGEST)
    }
}

impl Formula for Wave {
    #[inline(always)]
    fn value_and_slope<R: Real>(&self, x: R) -> (R, R) {
        let (a, b) = (R::splat(self.a), R::splat(self.b.hi));
        let (sine, cosine) = sin_cos(b.mul_add(x, R::splat(self.p)));
        if self.is_cosine {
            (a * cosine, -(a * b * sine))
        } else {
            (a * sine, a * b * cosine)
        }
    }

    #[inline(always)]
    fn curvature<R: Real>(&self, x: R) -> R {
        let (value, _) = self.value_and_slope(x);
        R::splat(-(self.b.hi * self.b.hi)) * value
    }
}

impl Activation for Wave {
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

/// An amplitude or a frequency: the squares of their products are finite.
fn bounded(name: &str, value: f64) -> Result<f64> {
    if value.abs() <= 1e70 {
        return Ok(value);
    }
    Err(Error::Invalid(format!(
        "{name} is {value}, but must be at most 1e70 in size"
    )))
}

/// That of sinh, in [0, 1/2].
const SINH: OddSeries = {
    let mut inverse = [1.0; OddSeries::TERMS];
    let mut n = 1;
    while n < inverse.len() {
        inverse[n] = inverse[n - 1] / ((2 * n) * (2 * n + 1)) as f64;
        n += 1;
    }
    OddSeries::new(inverse)
};

/// The range of |b| r: below, φ is linear or constant to all digits; above, it has forgotten all but equal variables.
const SMALLEST: f64 = 1e-100;
const LARGEST: f64 = 1e100;

/// With `x = b²q`, `x0 = b²r1r2`, and S, C for `odd` and `even`,
///
/// ```text
/// T = a² e^{−(x1+x2)/2} t(x0 ρ),    t(x) = S sinh x + C cosh x
/// ```
///
/// so that the new gap is `[√(t(x1)t(x2)) − t(x0)] + [t(x0) − t(x0ρ)]`, over the root. Both brackets are written as sums
/// of positive terms, with `M = b²(r1+r2)²/2`, `m = b²(r1−r2)²/2`, `Y = |x1−x2|/2`, all of them times `e^{−(x1+x2)/2}`.
impl ClosedForm for Wave {
    const FEATURES: usize = 5;

    fn root<N: RowNumber>(&self, r: N) -> N {
        let z = r * self.b.into();
        self.relative_root(z * z) * N::constant(self.a.abs())
    }

    /// `|b| r`, what rounding took from it, `e^{−x}`, `√E φ²/|a|`, and `1 − e^{−2x}`.
    fn describe<N: RowNumber>(&self, r: N) -> [N::Single; MOST_FEATURES] {
        let z = self.phase(r);
        let x = z * z;
        let single = x.single();
        let (falling, wide) = ((-single).exp(), -(N::Single::splat(-2.0) * single).expm1());
        features([
            z.single(),
            z.low(),
            falling,
            self.relative_root(x).single(),
            wide,
        ])
    }

    #[inline(always)]
    fn pair<R: Real>(&self, u: [R; MOST_FEATURES], v: [R; MOST_FEATURES], gap: R) -> (R, R) {
        let (one, two, half) = (R::splat(1.0), R::splat(2.0), R::splat(0.5));
        let (odd, even) = (R::splat(self.odd), R::splat(self.even));
        let (size, opposite) = (gap.abs(), gap.is_negative());
        let product = u[0] * v[0];
        let difference = (u[0] - v[0]) + (u[1] - v[1]);

        let scale = half * exp(-(half * difference * difference));
        let near = expm1(-(product * size));
        let far = expm1(-(product * (two - size)));
        let whole = u[3] * v[3];
        let spread = self.spread(u, v, WavePair { scale, near, far }, whole, difference);
        // S and C times sinh x0 ∓ sinh x0|ρ| and cosh x0 ∓ cosh x0|ρ|.
        let odd_falls = odd * scale * -near * (two + far);
        let odd_sums = odd * scale * -far * (two + near);
        let even_falls = even * scale * (near * far);
        let even_sums = even * scale * ((two + far) * (two + near));
        let aligned = (spread + odd_falls + even_falls) / whole;
        let to_equal = (spread + odd_sums + even_falls) / whole;
        let to_opposite = (spread + odd_falls + even_sums) / whole;
        let from_opposite = R::select(to_opposite.less(to_equal), -to_opposite, to_equal);
        let new = R::select(opposite, from_opposite, aligned);

        let kappa = R::splat(self.odd - self.even); // cos 2p
        let (plus, minus) = (
            R::select(opposite, far, near),
            R::select(opposite, near, far),
        );
        let dot = R::splat(self.slope) * scale * ((one + plus) + kappa * (one + minus));
        (new, dot)
    }
}

/// What a pair of waves is made of: `e^{−m}/2`, `e^{−x0(1−|ρ|)} − 1` and `e^{−x0(1+|ρ|)} − 1`.
#[derive(Clone, Copy)]
struct WavePair<R> {
    scale: R,
    near: R,
    far: R,
}

impl Wave {
    /// `√(t(x1)t(x2)) − t(x0)`: the difference of the squares over the sum. `whole` is the root, `difference` that of
    /// the phases.
    #[inline(always)]
    fn spread<R: Real>(
        &self,
        u: [R; MOST_FEATURES],
        v: [R; MOST_FEATURES],
        pair: WavePair<R>,
        whole: R,
        difference: R,
    ) -> R {
        let (two, half) = (R::splat(2.0), R::splat(0.5));
        let (odd, even) = (R::splat(self.odd), R::splat(self.even));
        let WavePair { scale, near, far } = pair;
        let twice_less = near + far + near * far; // e^{−2x0} − 1
        let sum = u[0] + v[0];
        let (large, small) = (half * sum * sum, half * difference * difference); // M and m
        let (less_large, less_small) = (expm1(-(two * large)), expm1(-(two * small)));
        // 4 e^{−(x1+x2)} times sinh M sinh m and sinh² Y, and times sinh x1 sinh x2 and sinh² x0.
        let sines = less_large * less_small;
        let mixed = u[2].max(v[2]) * expm1(-(sum * difference.abs()));
        let mixed = mixed * mixed;
        let (own, aligned_sine) = (u[4] * v[4], two * scale * twice_less);
        // Two differences that are the same: the one of smaller terms has more digits.
        let far_apart = R::select(
            sines.less(own),
            sines - mixed,
            own - aligned_sine * aligned_sine,
        );
        let close_to_zero =
            R::splat(4.0) * (u[2] * v[2]) * SINH.excess(large, small, two * (u[0] * v[0]));
        let of_odd = R::select(
            large.less(half),
            close_to_zero,
            far_apart.max(R::splat(0.0)),
        );
        let of_even = sines + mixed;
        let of_both = two * (two + less_large) * -less_small;
        let squares = odd * odd * of_odd + even * even * of_even + odd * even * of_both;
        let aligned = scale * (even * (two + twice_less) - odd * twice_less);
        R::splat(0.25) * squares / (whole + aligned)
    }
}
