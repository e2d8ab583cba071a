//! Sines and cosines of any frequency and phase.

use std::f64::consts::{FRAC_PI_4, SQRT_2};

use crate::activations::activation::Formula;
use crate::activations::closed_form::{ClosedForm, MOST_NUMBERS, NamedNumbers};
use crate::error::{Error, Result, Shortest};
use crate::isa::Real;
use crate::math::double_double::DoubleDouble;
use crate::math::number::{RowNumber, Single};
use crate::math::special::{OddSeries, exp, expm1, sin_cos};

use super::{finite, positive};

/// `φ(x) = a sin(bx + p)`, or `a cos(bx + p)`.
#[derive(Clone, Copy, Debug)]
pub struct Wave {
    a: f64,
    b: DoubleDouble,
    p: f64,
    is_cosine: bool,
    /// The shares in φ² of the odd and the even part of φ: cos²p and sin²p for a sine.
    odd: f64,
    even: f64,
    /// a²b².
    slope: f64,
}

impl Wave {
    /// `a sin(bx + p)`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if p is not finite, or a or b is larger than 1e70.
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
    /// [`Error::Invalid`] if γ is not positive and finite.
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

    /// `√E φ²/|a|`, given `x = b²q`.
    fn relative_root<N: RowNumber>(&self, x: N) -> N {
        let less = -(-x.scaled(1)).exp_m1();
        let (odd, even) = (N::constant(self.odd), N::constant(self.even));
        (even * (N::constant(2.0) - less) + less * odd)
            .scaled(-1)
            .sqrt()
    }

    /// `|b| r`, within [`SMALLEST`] and [`LARGEST`].
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

/// An amplitude or a frequency, bounded so that the squares of their products are finite.
fn bounded(name: &str, value: f64) -> Result<f64> {
    if value.abs() <= 1e70 {
        return Ok(value);
    }
    Err(Error::Invalid(format!(
        "{name} is {}, but must be at most 1e+70 in size",
        Shortest(value)
    )))
}

/// The series of sinh, for arguments in [0, 1/2].
const SINH: OddSeries = {
    let mut inverse = [1.0; OddSeries::TERMS];
    let mut n = 1;
    while n < inverse.len() {
        inverse[n] = inverse[n - 1] / ((2 * n) * (2 * n + 1)) as f64;
        n += 1;
    }
    OddSeries::new(inverse)
};

/// The range of |b| r. Below it, φ is linear or constant to all digits; above it, only equal or opposite variables are
/// correlated.
const SMALLEST: f64 = 1e-100;
const LARGEST: f64 = 1e100;

/// The numbers of one variable.
#[derive(Clone, Copy)]
pub struct WaveVariable<R> {
    /// `z = |b| r`, and its low part.
    z: R,
    z_low: R,
    /// `e^{−x}` and `1 − e^{−2x}`, with `x = z²`.
    falling: R,
    wide: R,
    /// `√E φ²/|a|`.
    root: R,
}

impl<R: Copy> NamedNumbers<R> for WaveVariable<R> {
    const COUNT: usize = 5;

    fn numbers(self) -> impl IntoIterator<Item = R> {
        [self.z, self.z_low, self.falling, self.wide, self.root]
    }

    #[inline(always)]
    fn from_numbers([z, z_low, falling, wide, root, ..]: [R; MOST_NUMBERS]) -> Self {
        Self {
            z,
            z_low,
            falling,
            wide,
            root,
        }
    }
}

/// With `x = b²q`, `x0 = b²r1r2`, and S, C for `odd` and `even`,
///
/// ```text
/// T = a² e^{−(x1+x2)/2} t(x0 ρ),    t(x) = S sinh x + C cosh x
/// ```
///
/// so that the new gap is `[√(t(x1)t(x2)) − t(x0)] + [t(x0) − t(x0ρ)]`, over the root. Both brackets are written as
/// sums of positive terms, with `M = b²(r1+r2)²/2`, `m = b²(r1−r2)²/2` and `Y = |x1−x2|/2`, everything times
/// `e^{−(x1+x2)/2}`.
impl ClosedForm for Wave {
    type Variable<R: Real> = WaveVariable<R>;

    fn root<N: RowNumber>(&self, r: N) -> N {
        let z = r * self.b.into();
        self.relative_root(z * z) * N::constant(self.a.abs())
    }

    fn variable<N: RowNumber>(&self, r: N) -> WaveVariable<N::Single> {
        let z = self.phase(r);
        let x = z * z;
        let single = x.single();
        WaveVariable {
            z: z.single(),
            z_low: z.low(),
            falling: (-single).exp(),
            wide: -(N::Single::splat(-2.0) * single).expm1(),
            root: self.relative_root(x).single(),
        }
    }

    #[inline(always)]
    fn pair<R: Real>(&self, u: WaveVariable<R>, v: WaveVariable<R>, gap: R) -> (R, R) {
        let (two, odd, even) = (R::splat(2.0), R::splat(self.odd), R::splat(self.even));
        let opposite = gap.is_negative();
        let pair = WavePair::new(u, v, gap.abs());
        let WavePair {
            scale, near, far, ..
        } = pair;
        let spread = self.spread(u, v, pair);
        // S and C times sinh x0 ∓ sinh x0|ρ| and cosh x0 ∓ cosh x0|ρ|.
        let odd_falls = odd * scale * -near * (two + far);
        let odd_sums = odd * scale * -far * (two + near);
        let even_falls = even * scale * (near * far);
        let even_sums = even * scale * ((two + far) * (two + near));
        let aligned = (spread + odd_falls + even_falls) / pair.root;
        let to_equal = (spread + odd_sums + even_falls) / pair.root;
        let to_opposite = (spread + odd_falls + even_sums) / pair.root;
        let from_opposite = R::select(to_opposite.less(to_equal), -to_opposite, to_equal);
        let new = R::select(opposite, from_opposite, aligned);

        (new, self.slope_of(pair, opposite))
    }
}

/// The numbers of a pair of variables.
#[derive(Clone, Copy)]
struct WavePair<R> {
    /// `x0`, and the difference of the z.
    product: R,
    difference: R,
    /// `e^{−m}/2`, `e^{−x0(1−|ρ|)} − 1` and `e^{−x0(1+|ρ|)} − 1`.
    scale: R,
    near: R,
    far: R,
    /// The product of the roots.
    root: R,
}

impl<R: Real> WavePair<R> {
    /// The pair of u and v, with `size = 1 − |ρ|`.
    #[inline(always)]
    fn new(u: WaveVariable<R>, v: WaveVariable<R>, size: R) -> Self {
        let (two, half) = (R::splat(2.0), R::splat(0.5));
        let product = u.z * v.z;
        let difference = (u.z - v.z) + (u.z_low - v.z_low);
        Self {
            product,
            difference,
            scale: half * exp(-(half * difference * difference)),
            near: expm1(-(product * size)),
            far: expm1(-(product * (two - size))),
            root: u.root * v.root,
        }
    }
}

impl Wave {
    /// `Ṫ = a²b² e^{−(x1+x2)/2} (S cosh(x0ρ) + C sinh(x0ρ))`.
    #[inline(always)]
    fn slope_of<R: Real>(&self, pair: WavePair<R>, opposite: R::Mask) -> R {
        let WavePair {
            scale, near, far, ..
        } = pair;
        let one = R::splat(1.0);
        // The exponentials of x0(ρ−1) and of x0(−ρ−1), both minus 1.
        let plus = R::select(opposite, far, near);
        let minus = R::select(opposite, near, far);
        let exponentials = if self.odd < self.even {
            // Small variables see the cosh alone, which S makes small, or the sinh, where 1 would swallow the digits.
            let (cosh, sinh) = ((one + plus) + (one + minus), plus - minus);
            R::splat(self.odd) * cosh + R::splat(self.even) * sinh
        } else {
            let kappa = R::splat(self.odd - self.even); // cos 2p
            (one + plus) + kappa * (one + minus)
        };
        R::splat(self.slope) * scale * exponentials
    }

    /// `√(t(x1)t(x2)) − t(x0)`, as the difference of the squares over the sum.
    #[inline(always)]
    fn spread<R: Real>(&self, u: WaveVariable<R>, v: WaveVariable<R>, pair: WavePair<R>) -> R {
        let (two, half) = (R::splat(2.0), R::splat(0.5));
        let (odd, even) = (R::splat(self.odd), R::splat(self.even));
        let WavePair {
            product,
            difference,
            scale,
            near,
            far,
            root,
        } = pair;
        let twice_less = near + far + near * far; // e^{−2x0} − 1
        let sum = u.z + v.z;
        let (large, small) = (half * sum * sum, half * difference * difference); // M and m
        let (less_large, less_small) = (expm1(-(two * large)), expm1(-(two * small)));
        // 4 e^{−(x1+x2)} times sinh M sinh m and sinh² Y, and times sinh x1 sinh x2 and sinh² x0.
        let sines = less_large * less_small;
        let mixed = u.falling.max(v.falling) * expm1(-(sum * difference.abs()));
        let mixed = mixed * mixed;
        let (own, aligned_sine) = (u.wide * v.wide, two * scale * twice_less);
        // Two equal differences: the one with the smaller terms has more digits.
        let far_apart = R::select(
            sines.less(own),
            sines - mixed,
            own - aligned_sine * aligned_sine,
        );
        let excess = SINH.excess(large, small, two * product);
        let close_to_zero = R::splat(4.0) * (u.falling * v.falling) * excess;
        let of_odd = R::select(
            large.less(half),
            close_to_zero,
            far_apart.max(R::splat(0.0)),
        );
        let of_even = sines + mixed;
        let of_both = two * (two + less_large) * -less_small;
        let squares = odd * odd * of_odd + even * even * of_even + odd * even * of_both;
        let aligned = scale * (even * (two + twice_less) - odd * twice_less);
        R::splat(0.25) * squares / (root + aligned)
    }
}
