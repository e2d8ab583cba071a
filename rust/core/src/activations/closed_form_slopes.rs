//! Derivatives of closed forms by plain formulas, and those of the new gap of close pairs in forward mode.

use crate::activations::closed_form::{ClosedForm, MOST_NUMBERS, NamedNumbers, count};
use crate::activations::differentiable::{DIRECTIONS, Form, in_forward_mode};
use crate::isa::Real;
use crate::math::number::RowNumber;
use crate::math::tangent::Tangent;

/// The numbers of a variable, and their derivatives.
type NumbersAndSlopes<R> = [[R; MOST_NUMBERS]; 2];

impl<C: ClosedForm> Form for C {
    fn root_and_features<N: RowNumber>(&self, r: N) -> (N, Vec<N::Single>) {
        let numbers = self.variable(r).numbers();
        (self.root(r), numbers.into_iter().collect())
    }

    #[inline(always)]
    fn of_pair<R: Real>(&self, u: impl Fn(usize) -> R, v: impl Fn(usize) -> R, gap: R) -> (R, R) {
        let one = R::splat(1.0);
        let (mut row, mut col) = ([one; MOST_NUMBERS], [one; MOST_NUMBERS]);
        for index in 0..count::<C>() {
            (row[index], col[index]) = (u(index), v(index));
        }
        let (u, v) = (
            C::Variable::from_numbers(row),
            C::Variable::from_numbers(col),
        );
        self.quick_pair(u, v, gap)
    }

    #[inline(always)]
    fn slopes_of_pair<R: Real>(
        &self,
        u: impl Fn(usize) -> [R; 2],
        v: impl Fn(usize) -> [R; 2],
        gap: R,
    ) -> [Tangent<R, DIRECTIONS>; 2] {
        let (mut row, mut col) = (
            [[R::splat(1.0); MOST_NUMBERS]; 2],
            [[R::splat(1.0); MOST_NUMBERS]; 2],
        );
        for index in 0..count::<C>() {
            [row[0][index], row[1][index]] = u(index);
            [col[0][index], col[1][index]] = v(index);
        }
        if let Some(results) = slopes_by_formula(*self, [row, col], gap) {
            return results;
        }
        let (u, v) = (|k| [row[0][k], row[1][k]], |k| [col[0][k], col[1][k]]);
        in_forward_mode(self, u, v, gap)
    }
}

/// [`ClosedForm::pair`] with derivatives with respect to log gap, log `r_u` and log `r_v`, where
/// [`ClosedForm::far_slopes`] knows them.
///
/// The new gap of close pairs is differentiated again, along one root at a time: u and v change places. In the loop, the
/// formula is compiled once, not once for each direction.
#[inline(always)]
fn slopes_by_formula<C: ClosedForm, R: Real>(
    form: C,
    variables: [NumbersAndSlopes<R>; 2],
    gap: R,
) -> Option<[Tangent<R, DIRECTIONS>; 2]> {
    let [u, v] = variables;
    let (margin, [mut new, mut dot]) = form.far_slopes(
        [
            C::Variable::from_numbers(u[0]),
            C::Variable::from_numbers(u[1]),
        ],
        [
            C::Variable::from_numbers(v[0]),
            C::Variable::from_numbers(v[1]),
        ],
        gap,
    )?;
    let near = margin.is_negative();
    if !R::any(near) {
        return Some([new, dot]);
    }
    let one = Tangent::<R, 1>::constant(R::splat(1.0));
    for side in [0, 1] {
        let ([own, slopes], [other, _]) = (variables[side], variables[1 - side]);
        let (mut row, mut col) = ([one; MOST_NUMBERS], [one; MOST_NUMBERS]);
        for index in 0..count::<C>() {
            row[index] = Tangent::along(0, own[index], slopes[index]);
            col[index] = Tangent::constant(other[index]);
        }
        let (row, col) = (
            C::Variable::from_numbers(row),
            C::Variable::from_numbers(col),
        );
        let (close, close_dot) = form.pair(row, col, Tangent::constant(gap));
        new.value = R::select(near, close.value, new.value);
        dot.value = R::select(near, close_dot.value, dot.value);
        new.slopes[1 + side] = R::select(near, close.slopes[0], new.slopes[1 + side]);
    }
    Some([new, dot])
}
