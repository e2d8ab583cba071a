//! All layers as one tabulated function of the gap, for networks without biases whose activations are homogeneous.
//!
//! If `φ(cx) = c φ(x)` for c > 0 and there are no biases, the correlation after a layer is a function of the
//! correlation before it. So `Σ/(r_i r_j)` and `Θ/(r_i r_j)` of the last layer are functions of the input correlation
//! alone. On either side of ρ = 0 they are smooth in `s = √gap`. Polynomials in s, on a few pieces of [0, 1], give them
//! to the last digit, at a cost that does not depend on the depth.
//!
//! This file fits a whole table, `polynomial` interpolates on one piece, and `look_up` reads kernels and their derivatives.

mod look_up;
mod polynomial;

use std::ops::{Range, RangeInclusive};

use super::LayerScales;
use crate::activations::dual::Dual;
use crate::isa::{LUT_LEN, Lut};
use crate::math::double_double::DoubleDouble;

use polynomial::{FittedPolynomial, extrema};

pub(super) use look_up::{LookUp, LookUpSlopes, NNGP, NTK, Query};

/// The numbers of activations for which there is a table. Fewer are computed as fast as they are looked up; for more,
/// no degree is high enough.
const ACTIVATIONS: RangeInclusive<usize> = 2..=200;

/// The degrees that are tried, in this order. The lowest one within [`TOLERANCE`] is used.
const DEGREES: [usize; 7] = [12, 13, 14, 16, 20, 24, 32];

/// The largest error of the polynomials, in units of the kernel's diagonal: a quarter of ε.
const TOLERANCE: f64 = f64::EPSILON / 4.0;

/// The pieces for one sign of ρ. Their centres in s are the multiples of `step` in [0, 1].
#[derive(Clone, Copy, Debug)]
struct SignRange {
    /// The sign of ρ, 1 or −1.
    sign: f64,
    step: f64,
    pieces: usize,
}

/// The pieces for ρ > 0, stored from the first index of a [`Lut`] upwards.
const ALIGNED: SignRange = SignRange {
    sign: 1.0,
    step: 1.0 / 8.0,
    pieces: 9,
};
/// The pieces for ρ < 0, stored from the last index downwards.
const OPPOSITE: SignRange = SignRange {
    sign: -1.0,
    step: 1.0 / 6.0,
    pieces: 7,
};
const _: () = assert!(ALIGNED.pieces + OPPOSITE.pieces == LUT_LEN);

/// The polynomials of `Σ/(r_i r_j)` and `Θ/(r_i r_j)` on every piece.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// For each power of `t = s − centre`, from 0: the coefficients of both kernels on all pieces.
    coefficients: Vec<[Lut; 2]>,
}

impl Table {
    /// The table of a network. `None` if its kernels depend on more than the gap, or a table would not save time.
    pub(super) fn new<'a>(
        layers: &[LayerScales],
        duals: impl Iterator<Item = &'a dyn Dual>,
    ) -> Option<Self> {
        let duals: Vec<_> = duals.collect();
        let biased = |layer: &LayerScales| layer.sigma_b != 0.0 || layer.tau_b != 0.0;
        if !ACTIVATIONS.contains(&duals.len()) || layers.iter().any(biased) {
            return None;
        }
        let network = Homogeneous { layers, duals };
        let diagonal = network.kernels(1.0.into())?.map(|kernel| kernel.hi);
        DEGREES
            .into_iter()
            .find_map(|degree| Self::of_degree(&network, diagonal, degree))
    }

    /// The table with polynomials of this degree, if they are close enough.
    fn of_degree(network: &Homogeneous<'_>, diagonal: [f64; 2], degree: usize) -> Option<Self> {
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
        let coefficients = coefficients.into_iter().map(|row| row.map(Lut::new));
        Some(Self {
            coefficients: coefficients.collect(),
        })
    }
}

/// A network whose kernels are tabulated, evaluated in double-double precision.
struct Homogeneous<'a> {
    layers: &'a [LayerScales],
    duals: Vec<&'a dyn Dual>,
}

impl Homogeneous<'_> {
    /// `Σ/(r_i r_j)` and `Θ/(r_i r_j)` of the last layer for inputs of this correlation. `None` if an activation is not
    /// homogeneous.
    fn kernels(&self, mut correlation: DoubleDouble) -> Option<[DoubleDouble; 2]> {
        let own = |layer: &LayerScales| {
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

impl SignRange {
    /// The index of a piece in a [`Lut`].
    fn index(&self, piece: usize) -> usize {
        if self.sign > 0.0 {
            piece
        } else {
            LUT_LEN - 1 - piece
        }
    }

    /// The polynomials of Σ and Θ on a piece. `None` if one of them is not close enough halfway between two nodes, or
    /// an activation is not homogeneous.
    fn fit(
        &self,
        network: &Homogeneous<'_>,
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

    /// The range of `t = s − centre` on a piece. The first and the last piece lie on one side of their centre.
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
    use crate::isa::{Block, Isa};

    /// A network of `depth` equal activations. Every third layer is not trained.
    fn network(slope: f64, depth: usize) -> (Vec<LayerScales>, Vec<Arc<dyn Activation>>) {
        let layer = |index: usize| LayerScales {
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

    /// Σ and Θ of inputs with r = 1 and these gaps.
    fn looked_up(isa: Isa, table: &Table, gaps: &[Block]) -> [Vec<Block>; 2] {
        let mut found = [(); 2].map(|()| vec![[f64::NAN; 8]; gaps.len()]);
        let [nngp, ntk] = &mut found;
        isa.run(LookUp {
            query: Query {
                table,
                r: 1.0,
                cols: &vec![[1.0; 8]; gaps.len()],
                gaps,
            },
            columns: [NNGP, NTK],
            targets: [nngp, ntk],
        });
        found
    }

    /// Asserts that a table gives the kernels of its network.
    fn assert_tabulated(table: &Table, network: &Homogeneous<'_>, gaps: &[Block]) {
        let kernels = |correlation| network.kernels(correlation).expect("all are homogeneous");
        let [_, diagonal] = kernels(1.0.into());
        for isa in Isa::available() {
            let found = looked_up(isa, table, gaps);
            let found = found.each_ref().map(|blocks| blocks.as_flattened());
            for (i, gap) in gaps.as_flattened().iter().enumerate() {
                let correlation = DoubleDouble::from(1.0) - gap.abs().into();
                let exact = kernels(correlation * 1.0_f64.copysign(*gap).into());
                for (kernel, scale) in [1.0, diagonal.hi].into_iter().enumerate() {
                    let error = (exact[kernel] - found[kernel][i].into()).hi / scale;
                    // The roundings of s and of the last sum, and those of the terms before it.
                    let most = 3.0 * f64::EPSILON;
                    assert!(error.abs() <= most, "{isa} {gap} {kernel}: {error}");
                }
                if *gap == 0.0 && gap.is_sign_positive() {
                    assert_eq!([found[0][i], found[1][i]], [1.0, diagonal.hi]);
                }
            }
        }
    }

    #[test]
    fn a_table_gives_the_kernels_of_its_layers() {
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
            let network = Homogeneous {
                layers: &layers,
                duals: duals(&activations).collect(),
            };
            assert_tabulated(&table, &network, gaps.as_chunks().0);
        }
    }

    #[test]
    fn networks_with_biases_or_few_layers_or_other_activations_have_no_table() {
        let (layers, activations) = network(0.0, 3);
        assert!(Table::new(&layers, duals(&activations)).is_some());
        for bias in [
            |layer: &mut LayerScales| layer.sigma_b = 0.1,
            |layer: &mut LayerScales| layer.tau_b = 0.1,
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
