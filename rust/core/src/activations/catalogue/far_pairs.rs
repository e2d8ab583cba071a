//! Formulas in `f32` for pairs of float32 inputs that are far apart: those of erf and GELU.

use std::f64::consts::PI;

use crate::activations::bias::correlation;
use crate::activations::closed_form::NEAR;
use crate::activations::far_form::{FarForm, MOST_SINGLES};
use crate::isa::Real;
use crate::math::special::single_angle_lift;

use super::arcsine::Arcsine;
use super::erf::{Erf, ErfVariable};
use super::gelu::{Gelu, GeluVariable};

/// With `A(α) = α/sin α`, the correlation is `|ρ| A(α)/√(A_u A_v)`, and the new gap `g + |ρ| (1 − A/√(A_u A_v))`. The
/// slope is `Ṫ = 4/π (1 − s)`, with `s = 1 − m_u m_v/cos α`, or `4/π m_u m_v/cos α` where that is small. Fall and s are
/// computed without cancellation, so that nearly linear layers hardly round.
impl FarForm for Erf {
    const SINGLES: usize = 5;
    const FAR: f64 = NEAR;

    fn singles(&self, variable: ErfVariable<f64>) -> [f64; MOST_SINGLES] {
        let ErfVariable {
            inverse, arcsine, ..
        } = variable;
        let Arcsine { p, m, .. } = arcsine;
        [p, m, p * p, m * m, 1.0 - p * inverse] // 1/√A = p/√α
    }

    #[inline(always)]
    fn far<R: Real>(&self, u: [R; MOST_SINGLES], v: [R; MOST_SINGLES], size: R) -> [R; 2] {
        let ([p_u, m_u, s_u, n_u, j_u], [p_v, m_v, s_v, n_v, j_v]) = (u, v);
        let (one, two) = (R::splat(1.0), R::splat(2.0));
        let (sines, both) = (p_u * p_v, m_u * m_v);
        let sine = sines * (one - size);
        // cos²α, without and with m_u² m_v².
        let rest = (sines * sines).mul_add(size * (two - size), s_u * n_v + s_v * n_u);
        let square = both.mul_add(both, rest);
        let inverse = square.inverse_sqrt();
        let cosine = square * inverse;
        let lift = single_angle_lift(sine * sine, cosine);
        let j = (-j_u).mul_add(j_v, j_u + j_v); // 1 − 1/√(A_u A_v)
        let fall = lift.mul_add(j, j - lift);
        let missing = (rest * inverse) / (cosine + both); // 1 − m_u m_v/cos α
        let share = both * inverse;
        // The sign tells which of the two it is, for zeros too.
        let slope = R::select(share.less(R::splat(0.5)), -share, missing);
        [fall, slope]
    }

    #[inline(always)]
    fn finish<R: Real>(
        &self,
        _u: ErfVariable<R>,
        _v: ErfVariable<R>,
        gap: R,
        [fall, slope]: [R; 2],
    ) -> (R, R) {
        let size = gap.abs();
        let new = (R::splat(1.0) - size).mul_add(fall, size);
        let (zero, one) = (R::splat(0.0), R::splat(1.0));
        let slope = R::select(slope.is_negative(), zero, one) - slope;
        (new.copysign(gap), R::splat(4.0 / PI) * slope)
    }
}

/// The even part of T and the slope of Ṫ are `f32`, the linear parts `f64`.
impl FarForm for Gelu {
    const SINGLES: usize = 2;
    const FAR: f64 = 0.25;

    fn singles(&self, variable: GeluVariable<f64>) -> [f64; MOST_SINGLES] {
        let Arcsine { p, m, .. } = variable.arcsine;
        [p, m * m, 1.0, 1.0, 1.0]
    }

    #[inline(always)]
    fn far<R: Real>(&self, u: [R; MOST_SINGLES], v: [R; MOST_SINGLES], size: R) -> [R; 2] {
        let ([p_u, m_u, ..], [p_v, m_v, ..]) = (u, v);
        let (one, turn) = (R::splat(1.0), R::splat(0.5 / PI));
        let (sines, both, sum, rho) = (p_u * p_v, m_u * m_v, m_u + m_v, one - size);
        let sine = sines * rho;
        let opening = size * (R::splat(2.0) - size);
        let square = (sines * sines).mul_add(opening, sum - both); // cos²α
        let inverse = square.inverse_sqrt();
        let cosine = square * inverse;
        let angle = sine.mul_add(single_angle_lift(sine * sine, cosine), sine);
        let share = both * (inverse * inverse); // 1/E²
        let outside = sines * (rho * rho * share).mul_add(cosine, cosine);
        let even = turn * rho.mul_add(angle, outside);
        let slope = turn * (sine * inverse).mul_add(share + sum, angle);
        [even, slope]
    }

    #[inline(always)]
    fn finish<R: Real>(
        &self,
        u: GeluVariable<R>,
        v: GeluVariable<R>,
        gap: R,
        [even, slope]: [R; 2],
    ) -> (R, R) {
        let (one, quarter) = (R::splat(1.0), R::splat(0.25));
        let rho = correlation(gap);
        let new_rho = quarter.mul_add(rho, even) * (u.inverse * v.inverse);
        let new = (one - new_rho.abs()).copysign(new_rho);
        (new, quarter + slope.copysign(gap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Isa, Lanes, Singles, Vector, Vectorized, WIDTH};
    use crate::math::double_double::DoubleDouble;

    /// [`FarForm::far`] of a pair of variables, in `f32`.
    struct FarInSingle<F> {
        form: F,
        singles: [[f64; MOST_SINGLES]; 2],
        size: f64,
    }

    impl<F: FarForm> Vectorized for FarInSingle<F> {
        type Output = [f64; 2];

        #[inline(always)]
        fn run<V: Vector>(self) -> [f64; 2] {
            let zero = V::Singles::splat(0.0);
            let mut singles = [[zero; MOST_SINGLES]; 2];
            for (singles, numbers) in singles.iter_mut().zip(self.singles) {
                for (single, number) in singles.iter_mut().zip(numbers) {
                    *single = V::Singles::splat(number);
                }
            }
            let [u, v] = singles;
            let far = self.form.far(u, v, V::Singles::splat(self.size));
            let (mut numbers, mut values) = ([0.0; 2], Lanes([f32::NAN; 2 * WIDTH]));
            for (number, far) in numbers.iter_mut().zip(far) {
                far.store(&mut values);
                *number = f64::from(values.0[WIDTH]);
            }
            numbers
        }
    }

    /// Compares far pairs of variables with these roots with the exact formulas.
    fn check(form: impl FarForm, isa: Isa, roots: [f64; 2]) {
        let [u, v] = roots.map(|r| form.variable(DoubleDouble::from(r)));
        let singles = [u, v].map(|variable| form.singles(variable));
        for size in [0.25, 0.3, 0.6, 0.9, 1.0] {
            let numbers = |singles| {
                isa.run(FarInSingle {
                    form,
                    singles,
                    size,
                })
            };
            let [far, mirrored] = [numbers(singles), numbers([singles[1], singles[0]])];
            assert_eq!(far, mirrored);
            for gap in [size, -size] {
                let found = form.finish(u, v, gap, far);
                let exact = form.pair(u, v, gap);
                let errors = [
                    correlation(found.0) - correlation(exact.0),
                    found.1 - exact.1,
                ];
                for error in errors {
                    // Some twenty roundings of ε/2 at most, in random directions, of numbers that are about 1 at most.
                    let right = error.abs() <= 3.0 * f64::from(f32::EPSILON);
                    assert!(right, "{isa} {form:?} {roots:?} {gap}: {found:?} {exact:?}");
                }
            }
        }
    }

    #[test]
    fn far_pairs_are_those_of_the_exact_formulas() {
        const ROOTS: [f64; 9] = [0.0, 1e-30, 1e-9, 0.1, 0.3, 1.0, 2.0, 50.0, 1e30];
        for isa in Isa::available() {
            for u in ROOTS {
                for v in ROOTS {
                    check(Erf, isa, [u, v]);
                    check(Gelu, isa, [u, v]);
                }
            }
        }
    }
}
