//! Reading a table: kernels of the last layer, and their derivatives with respect to ρ.

use super::{ALIGNED, OPPOSITE, SignRange, Table};
use crate::isa::{Block, Vector, Vectorized};

/// The column of a [`Table`] that holds `Σ/(r_i r_j)`.
pub(in super::super) const NNGP: usize = 0;
/// The column of a [`Table`] that holds `Θ/(r_i r_j)`.
pub(in super::super) const NTK: usize = 1;

/// The pairs of one row with some columns, to be looked up in a table.
#[derive(Clone, Copy)]
pub(in super::super) struct Query<'a> {
    pub(in super::super) table: &'a Table,
    /// `r_i` and `r_j` of the last layer.
    pub(in super::super) r: f64,
    pub(in super::super) cols: &'a [Block],
    pub(in super::super) gaps: &'a [Block],
}

/// Looks up K kernels of the last layer: `r_i r_j` times their polynomials.
pub(in super::super) struct LookUp<'a, const K: usize> {
    pub(in super::super) query: Query<'a>,
    /// The kernels, [`NNGP`] or [`NTK`] each, and one target for each.
    pub(in super::super) columns: [usize; K],
    pub(in super::super) targets: [&'a mut [Block]; K],
}

/// The number of vectors that are looked up together where there are registers for them: each coefficient is loaded once for
/// all of them.
const GROUP: usize = 4;

/// Enough registers for the sums of a [`GROUP`] of vectors and two kernels, their arguments and indices.
const MANY_REGISTERS: usize = 32;

/// The pieces that a group of vectors lies on, and the arguments of the polynomials.
struct Arguments<V: Vector, const G: usize> {
    /// `t = s − centre`, with `s = √gap`.
    t: [V; G],
    /// The indices of the pieces in a [`Lut`](crate::isa::Lut).
    piece: [V::Indices; G],
}

impl<V: Vector, const G: usize> Arguments<V, G> {
    /// At most G blocks of gaps; the vectors past the last one are 0.
    #[inline(always)]
    fn of_gaps(gaps: &[Block]) -> Self {
        let (zero, one) = (V::splat(0.0), V::splat(1.0));
        let (mut ts, mut indices) = ([zero; G], [zero.indices(); G]);
        for (gap, (t, index)) in gaps.iter().zip(ts.iter_mut().zip(&mut indices)) {
            let gap = V::load(gap);
            let (s, opposite) = (gap.abs().sqrt(), gap.is_negative());
            let by_sign = |number: fn(SignRange) -> f64| {
                V::select(
                    opposite,
                    V::splat(number(OPPOSITE)),
                    V::splat(number(ALIGNED)),
                )
            };
            let piece = (s * by_sign(|side| 1.0 / side.step)).round();
            *t = piece.mul_add(by_sign(|side| -side.step), s);
            *index = V::select(opposite, -one - piece, piece).indices();
        }
        Self {
            t: ts,
            piece: indices,
        }
    }
}

impl<const K: usize> Vectorized for LookUp<'_, K> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        if V::REGISTERS >= MANY_REGISTERS {
            self.look_up::<V, GROUP>();
        } else {
            self.look_up::<V, 1>();
        }
    }
}

impl<const K: usize> LookUp<'_, K> {
    /// Looks up G vectors at a time.
    #[inline(always)]
    fn look_up<V: Vector, const G: usize>(mut self) {
        let Query {
            table,
            r,
            cols,
            gaps,
        } = self.query;
        let r = V::splat(r);
        for start in (0..gaps.len()).step_by(G) {
            let blocks = start..gaps.len().min(start + G);
            let Arguments { t, piece } = Arguments::<V, G>::of_gaps(&gaps[blocks.clone()]);
            // Horner's rule, for K kernels and G vectors side by side.
            let mut sums = [[V::splat(0.0); G]; K];
            for coefficients in table.coefficients.iter().rev() {
                for (sums, column) in sums.iter_mut().zip(self.columns) {
                    for (sum, (t, piece)) in sums.iter_mut().zip(t.iter().zip(&piece)) {
                        *sum = sum.mul_add(*t, V::lookup(&coefficients[column], *piece));
                    }
                }
            }
            for (sums, target) in sums.iter().zip(&mut self.targets) {
                let pairs = cols[blocks.clone()].iter().zip(&mut target[blocks.clone()]);
                for (sum, (col, target)) in sums.iter().zip(pairs) {
                    (r * V::load(col) * *sum).store(target);
                }
            }
        }
    }
}

/// Looks up one kernel K of the last layer, and its derivative with respect to ρ, `−∂K/∂gap`.
///
/// With p the polynomial in `s = √|gap|`, the derivative is `∓p'(s)/(2s)`. At a gap of 0 it counts as 0.
pub(in super::super) struct LookUpSlopes<'a> {
    pub(in super::super) query: Query<'a>,
    /// The kernel, [`NNGP`] or [`NTK`].
    pub(in super::super) column: usize,
    pub(in super::super) values: &'a mut [Block],
    pub(in super::super) slopes: &'a mut [Block],
}

impl Vectorized for LookUpSlopes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        if V::REGISTERS >= MANY_REGISTERS {
            self.look_up::<V, GROUP>();
        } else {
            self.look_up::<V, 1>();
        }
    }
}

impl LookUpSlopes<'_> {
    /// Looks up G vectors at a time.
    #[inline(always)]
    fn look_up<V: Vector, const G: usize>(self) {
        let Query {
            table,
            r,
            cols,
            gaps,
        } = self.query;
        let (r, zero) = (V::splat(r), V::splat(0.0));
        for start in (0..gaps.len()).step_by(G) {
            let blocks = start..gaps.len().min(start + G);
            let Arguments { t, piece } = Arguments::<V, G>::of_gaps(&gaps[blocks.clone()]);
            // Horner's rule for the polynomial and for its derivative.
            let (mut values, mut slopes) = ([zero; G], [zero; G]);
            for coefficients in table.coefficients.iter().rev() {
                for n in 0..G {
                    slopes[n] = slopes[n].mul_add(t[n], values[n]);
                    let coefficient = V::lookup(&coefficients[self.column], piece[n]);
                    values[n] = values[n].mul_add(t[n], coefficient);
                }
            }
            for (n, block) in blocks.enumerate() {
                let (scale, gap) = (r * V::load(&cols[block]), V::load(&gaps[block]));
                let size = gap.abs();
                let along = V::splat(-0.5).copysign(-gap) * slopes[n] / size.sqrt();
                let along = V::select(zero.less(size), along, zero);
                (scale * values[n]).store(&mut self.values[block]);
                (scale * along).store(&mut self.slopes[block]);
            }
        }
    }
}
