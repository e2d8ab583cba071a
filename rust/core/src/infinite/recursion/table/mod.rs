//! All layers as one function of the gap, in a table: for networks without biases whose activations are homogeneous.
//!
//! Where `φ(cx) = c φ(x)` for c > 0 and nothing is added, the correlation after a layer depends on the one before it
//! alone, and so do `Σ` and `Θ` of the last layer in units of `r_i r_j`. They are smooth in `s = √gap`, on either side of
//! ρ = 0: polynomials on a few pieces give them to the last digit, at a cost that does not depend on the depth.

mod polynomial;

use std::ops::{Range, RangeInclusive};

use super::Affine;
use crate::activations::dual::Dual;
use crate::isa::{Block, LUT_LEN, Lut, Vector, Vectorized};
use crate::math::double_double::DoubleDouble;

use polynomial::{FittedPolynomial, extrema};

/// How many activations: fewer are computed as fast as they are looked up, and for more no degree suffices.
const ACTIVATIONS: RangeInclusive<usize> = 2..=200;

/// The degrees that are tried: as low as will do.
const DEGREES: [usize; 7] = [12, 13, 14, 16, 20, 24, 32];

/// How far the polynomials may be from the recursion, in units of the diagonal: a quarter of ε.
const TOLERANCE: f64 = f64::EPSILON / 4.0;

/// The pieces of one sign of ρ. Their centres are the multiples of a step in [0, 1].
#[derive(Clone, Copy, Debug)]
struct Side {
    sign: f64,
    step: f64,
    pieces: usize,
}

/// Both together fill a [`Lut`]: the aligned side from its first index on, the opposite one from its last backwards.
const ALIGNED: Side = Side {
    sign: 1.0,
    step: 1.0 / 8.0,
    pieces: 9,
};
const OPPOSITE: Side = Side {
    sign: -1.0,
    step: 1.0 / 6.0,
    pieces: 7,
};
const _: () = assert!(ALIGNED.pieces + OPPOSITE.pieces == LUT_LEN);

/// Coefficient by coefficient, those of `Σ/(r_i r_j)` and of `Θ/(r_i r_j)` on every piece.
#[derive(Clone, Debug)]
pub(super) struct Table {
    coefficients: Vec<[Lut; 2]>,
}

impl Table {
    /// That of a network, unless it has none or it would not pay.
    pub(super) fn new<'a>(
        layers: &[Affine],
        duals: impl Iterator<Item = &'a dyn Dual>,
    ) -> Option<Self> {
        let duals: Vec<_> = duals.collect();
        let biased = |layer: &Affine| layer.sigma_b != 0.0 || layer.tau_b != 0.0;
        if !ACTIVATIONS.contains(&duals.len()) || layers.iter().any(biased) {
            return None;
        }
        let network = Network { layers, duals };
        let diagonal = network.kernels(1.0.into())?.map(|kernel| kernel.hi);
        DEGREES
            .into_iter()
            .find_map(|degree| Self::of_degree(&network, diagonal, degree))
    }

    fn of_degree(network: &Network<'_>, diagonal: [f64; 2], degree: usize) -> Option<Self> {
        let mut coefficients = vec![[[0.0; LUT_LEN]; 2]; degree + 1];
        for side in [ALIGNED, OPPOSITE] {
            for piece in 0..side.pieces {
                let polynomials = side.fit(network, piece, degree, diagonal)?;
                let index = side.index(piece);
                for (kernel, polynomial) in polynomials.iter().enumerate() {
                    for (row, coefficient) in coefficients.iter_mut().zip(&polynomial.0) {
                        row[kernel][index] = coefficient.hi;
                    }
                }
            }
        }
        Some(Self { coefficients })
    }
}

/// The columns of a [`Table`].
pub(super) const NNGP: usize = 0;
pub(super) const NTK: usize = 1;

/// Kernels of the last layer, of one row against some columns.
pub(super) struct LookUp<'a, const K: usize> {
    pub(super) table: &'a Table,
    /// The root of the row, and those of the columns.
    pub(super) r: f64,
    pub(super) cols: &'a [Block],
    pub(super) gaps: &'a [Block],
    /// Which of [`NNGP`] and [`NTK`], and where to.
    pub(super) columns: [usize; K],
    pub(super) targets: [&'a mut [Block]; K],
}

/// Vectors side by side: each coefficient is loaded once for so many.
const GROUP: usize = 4;

impl<const K: usize> Vectorized for LookUp<'_, K> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(mut self) {
        let (zero, one, r) = (V::splat(0.0), V::splat(1.0), V::splat(self.r));
        for start in (0..self.gaps.len()).step_by(GROUP) {
            let (mut ts, mut indices) = ([zero; GROUP], [zero.indices(); GROUP]);
            let blocks = start..self.gaps.len().min(start + GROUP);
            for (gap, (t, index)) in self.gaps[blocks.clone()]
                .iter()
                .zip(ts.iter_mut().zip(&mut indices))
            {
                let gap = V::load(gap);
                let (s, opposite) = (gap.abs().sqrt(), gap.is_negative());
                let by_sign = |number: fn(Side) -> f64| {
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
            let mut sums = [[zero; GROUP]; K];
            for coefficients in self.table.coefficients.iter().rev() {
                for (sums, column) in sums.iter_mut().zip(self.columns) {
                    for (sum, (t, index)) in sums.iter_mut().zip(ts.iter().zip(&indices)) {
                        *sum = sum.mul_add(*t, V::lookup(&coefficients[column], *index));
                    }
                }
            }
            for (sums, target) in sums.iter().zip(&mut self.targets) {
                let cols = self.cols[blocks.clone()]
                    .iter()
                    .zip(&mut target[blocks.clone()]);
                for (sum, (col, target)) in sums.iter().zip(cols) {
                    (r * V::load(col) * *sum).store(target);
                }
            }
        }
    }
}

/// The numbers that make the table, in twice as many digits.
struct Network<'a> {
    layers: &'a [Affine],
    duals: Vec<&'a dyn Dual>,
}

impl Network<'_> {
    /// `Σ` and `Θ` of the last layer for inputs of this correlation, in units of `r_i r_j`. None if an activation is not
    /// homogeneous.
    fn kernels(&self, mut correlation: DoubleDouble) -> Option<[DoubleDouble; 2]> {
        let own = |layer: &Affine| {
            let scale = DoubleDouble::from(layer.tau_w) / layer.sigma_w;
            scale * scale
        };
        let (first, others) = self.layers.split_first()?;
        let mut tangent = own(first) * correlation;
        for (layer, dual) in others.iter().zip(&self.duals) {
            let (next, slope) = dual.of_direction(correlation)?;
            correlation = next;
            tangent = own(layer) * correlation + slope * tangent;
        }
        Some([correlation, tangent])
    }
}

impl Side {
    /// Where a piece is in the table.
    fn index(&self, piece: usize) -> usize {
        if self.sign > 0.0 {
            piece
        } else {
            LUT_LEN - 1 - piece
        }
    }

    /// The polynomials of a piece. None if they are not close, or an activation is not homogeneous.
    fn fit(
        &self,
        network: &Network<'_>,
        piece: usize,
        degree: usize,
        diagonal: [f64; 2],
    ) -> Option<[FittedPolynomial; 2]> {
        let centre = DoubleDouble::from(piece as f64) * self.step.into();
        let kernels = |t: f64| {
            let s = centre + t.into();
            let gap = (s * s).min(1.0);
            network.kernels((DoubleDouble::from(1.0) - gap) * self.sign.into())
        };
        let nodes = extrema(self.reach(piece), degree);
        let values: Option<Vec<_>> = nodes.iter().map(|t| kernels(*t)).collect();
        let values = values?;
        let polynomials = [0, 1].map(|kernel| {
            let values = values.iter().map(|values| values[kernel]);
            FittedPolynomial::through(&nodes, values.collect())
        });
        for pair in nodes.windows(2) {
            let t = 0.5 * (pair[0] + pair[1]);
            let exact = kernels(t)?;
            for (kernel, polynomial) in polynomials.iter().enumerate() {
                let error = (polynomial.at(t) - exact[kernel]).hi.abs();
                let close = error <= TOLERANCE * diagonal[kernel];
                if !close {
                    return None;
                }
            }
        }
        Some(polynomials)
    }

    /// How far a piece reaches from its centre: the first and the last to one side alone.
    fn reach(&self, piece: usize) -> Range<f64> {
        let half = 0.5 * self.step;
        let below = if piece == 0 { 0.0 } else { half };
        let above = if piece + 1 == self.pieces { 0.0 } else { half };
        -below..above
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::activations::activation::Activation;
    use crate::activations::catalogue;
    use crate::isa::Isa;

    /// Layers of one activation; every third is not trained.
    fn network(slope: f64, depth: usize) -> (Vec<Affine>, Vec<Arc<dyn Activation>>) {
        let layer = |index: usize| Affine {
            sigma_w: 1.3,
            sigma_b: 0.0,
            tau_w: if index % 3 == 1 { 0.0 } else { 1.3 },
            tau_b: 0.0,
        };
        let activation =
            || catalogue::activation("leaky_relu", &[slope]).expect("the slope is finite");
        let activations = (0..depth).map(|_| activation()).collect();
        ((0..=depth).map(layer).collect(), activations)
    }

    fn duals(activations: &[Arc<dyn Activation>]) -> impl Iterator<Item = &dyn Dual> {
        activations
            .iter()
            .filter_map(|activation| activation.dual())
    }

    #[test]
    fn what_is_looked_up_is_what_the_layers_make() {
        let sizes = (0..=63).map(|i| f64::from(i) / 63.0); // 17 blocks: the last group is not whole
        let small = [1e-300, 1e-30, 1e-9, 0.99999999];
        let gaps: Vec<f64> = sizes.chain(small).flat_map(|gap| [gap, -gap]).collect();
        for (slope, depth) in [
            (0.0, 2),
            (0.0, 30),
            (0.0, 100),
            (0.3, 5),
            (-1.0, 4),
            (1.0, 2),
        ] {
            let (layers, activations) = network(slope, depth);
            let table = Table::new(&layers, duals(&activations)).expect("there is a table");
            let duals = duals(&activations).collect();
            let network = Network {
                layers: &layers,
                duals,
            };
            let [_, diagonal] = network.kernels(1.0.into()).expect("all are homogeneous");
            let blocks: Vec<Block> = gaps.as_chunks().0.to_vec();
            for isa in Isa::available() {
                let mut found = [
                    vec![[f64::NAN; 8]; blocks.len()],
                    vec![[f64::NAN; 8]; blocks.len()],
                ];
                let [nngp, ntk] = &mut found;
                isa.run(LookUp {
                    table: &table,
                    r: 1.0,
                    cols: &vec![[1.0; 8]; blocks.len()],
                    gaps: &blocks,
                    columns: [NNGP, NTK],
                    targets: [nngp, ntk],
                });
                let found = found.each_ref().map(|blocks| blocks.as_flattened());
                for (i, gap) in blocks.as_flattened().iter().enumerate() {
                    let correlation = DoubleDouble::from(1.0) - gap.abs().into();
                    let exact = network.kernels(correlation * 1.0_f64.copysign(*gap).into());
                    let exact = exact.expect("all are homogeneous");
                    for (kernel, scale) in [1.0, diagonal.hi].into_iter().enumerate() {
                        let error = (exact[kernel] - found[kernel][i].into()).hi / scale;
                        // The roundings of s and of the last sum, and those of the terms before it.
                        let most = 3.0 * f64::EPSILON;
                        assert!(
                            error.abs() <= most,
                            "{slope} {depth} {gap} {kernel}: {error}"
                        );
                    }
                    if *gap == 0.0 && gap.is_sign_positive() {
                        assert_eq!([found[0][i], found[1][i]], [1.0, diagonal.hi]);
                    }
                }
            }
        }
    }

    #[test]
    fn there_is_none_with_biases_nor_of_one_layer_nor_of_other_activations() {
        let (layers, activations) = network(0.0, 3);
        assert!(Table::new(&layers, duals(&activations)).is_some());
        for bias in [
            |layer: &mut Affine| layer.sigma_b = 0.1,
            |layer: &mut Affine| layer.tau_b = 0.1,
        ] {
            let mut biased = layers.clone();
            bias(&mut biased[2]);
            assert!(Table::new(&biased, duals(&activations)).is_none());
        }
        assert!(Table::new(&layers[..2], duals(&activations[..1])).is_none());
        let mixed: Vec<Arc<dyn Activation>> = vec![
            activations[0].clone(),
            catalogue::activation("erf", &[]).expect("erf has no parameters"),
            activations[1].clone(),
        ];
        assert!(Table::new(&layers, duals(&mixed)).is_none());
    }
}
