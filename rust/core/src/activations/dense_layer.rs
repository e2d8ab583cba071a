//! A dense layer on the pairs of a band of rows. Its formulas belong into the loop over pairs of the activation before
//! it, where gaps and Ṫ are still in registers.

use std::array;
use std::ops::Range;

use crate::activations::bias::{BIAS_NUMBERS, add_bias, correlation};
use crate::activations::row_and_columns::RowAndColumns;
use crate::activations::row_pairs::{BandPairs, RowPairs};
use crate::isa::{Block, Blocks, Vector, Vectorized, WIDTH};

/// The numbers of a dense layer between two batches of inputs, those of the rows first.
#[derive(Clone, Copy, Debug)]
pub struct DenseLayer<'a> {
    /// `σ_w²`.
    pub variance: f64,
    /// `r = √Σ(x, x)` after the layer. All kernels here are in units of the inputs' powers of two.
    pub roots: [&'a Blocks; 2],
    /// The numbers that [`add_bias`] reads, if there is a bias.
    pub bias: Option<[&'a [Blocks; BIAS_NUMBERS]; 2]>,
    /// `τ_w √E φ²` and `τ_b` for the layer's own term of Θ, unless that term is Σ.
    pub own: Option<[&'a [Blocks; 2]; 2]>,
}

/// The kernels of a band of pairs, block by block in the order of [`BandPairs::each_row`].
#[derive(Debug, Default)]
pub struct BandKernels {
    /// The gaps.
    pub gaps: Vec<Block>,
    /// Σ.
    pub nngp: Vec<Block>,
    /// Θ.
    pub ntk: Vec<Block>,
    /// The layer's own term of Θ, if it is not Σ.
    pub own: Vec<Block>,
    /// Ṫ of the activation before the layer, then `Σ̇ = σ_w² Ṫ`.
    pub factors: Vec<Block>,
}

impl BandKernels {
    /// Makes room for the blocks of pairs. The values are arbitrary.
    pub fn resize(&mut self, blocks: usize) {
        let Self {
            gaps,
            nngp,
            ntk,
            own,
            factors,
        } = self;
        for values in [gaps, nngp, ntk, own, factors] {
            values.resize(blocks, [0.0; WIDTH]);
        }
    }

    /// Prepares the first layer, which no activation precedes: Ṫ is 1, and Θ that of earlier layers, or 0.
    ///
    /// # Panics
    /// If there is not one tangent kernel per pair.
    pub fn start(&mut self, tangents: Option<&[Block]>) {
        self.factors.fill([1.0; WIDTH]);
        match tangents {
            Some(tangents) => self.ntk.copy_from_slice(tangents),
            None => self.ntk.fill([0.0; WIDTH]),
        }
    }
}

/// A dense layer on a band of pairs.
///
/// Run as a [`Vectorized`] computation, it takes the gaps after the activation before it, Ṫ and Θ from the kernels, and
/// updates all of them: `Σ = r_i r_j ρ` and `Θ ← own + Σ̇ Θ`.
#[derive(Debug)]
pub struct BandLayer<'a> {
    /// The layer.
    pub layer: DenseLayer<'a>,
    /// The pairs.
    pub pairs: &'a BandPairs,
    /// Their kernels.
    pub kernels: &'a mut BandKernels,
}

impl BandLayer<'_> {
    /// The layer on the pairs of one row, whose place among the kernels is `place`.
    #[inline(always)]
    pub fn row(&mut self, pairs: &RowPairs, place: Range<usize>) -> RowLayer<'_> {
        let DenseLayer {
            variance,
            roots: [rows, cols],
            bias,
            own,
        } = self.layer;
        let kernels = &mut *self.kernels;
        RowLayer {
            variance,
            roots: RowAndColumns::new(pairs, array::from_ref(rows), array::from_ref(cols)),
            bias: bias.map(|[rows, cols]| RowAndColumns::new(pairs, rows, cols)),
            own_numbers: own.map(|[rows, cols]| RowAndColumns::new(pairs, rows, cols)),
            gaps: &mut kernels.gaps[place.clone()],
            nngp: &mut kernels.nngp[place.clone()],
            ntk: &mut kernels.ntk[place.clone()],
            own: &mut kernels.own[place.clone()],
            factors: &mut kernels.factors[place],
        }
    }
}

impl Vectorized for BandLayer<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(mut self) {
        for (pairs, place) in self.pairs.each_row() {
            let mut row = self.row(&pairs, place);
            for block in 0..pairs.blocks.len() {
                row.update(block, row.gap::<V>(block), V::load(&row.factors[block]));
            }
        }
    }
}

/// A dense layer on the pairs of one row, with their kernels.
#[derive(Debug)]
pub struct RowLayer<'a> {
    variance: f64,
    roots: RowAndColumns<'a, 1>,
    bias: Option<RowAndColumns<'a, BIAS_NUMBERS>>,
    own_numbers: Option<RowAndColumns<'a, 2>>,
    gaps: &'a mut [Block],
    nngp: &'a mut [Block],
    ntk: &'a mut [Block],
    own: &'a mut [Block],
    factors: &'a mut [Block],
}

impl RowLayer<'_> {
    /// The gaps of a block.
    #[inline(always)]
    pub fn gap<V: Vector>(&self, block: usize) -> V {
        V::load(&self.gaps[block])
    }

    /// Takes a block of pairs through the layer, given their gaps after the activation before it, and Ṫ.
    #[inline(always)]
    pub fn update<V: Vector>(&mut self, block: usize, gap: V, dot: V) {
        let with_bias = match &self.bias {
            Some(numbers) => add_bias(numbers.all(block), gap),
            None => gap,
        };
        with_bias.store(&mut self.gaps[block]);
        self.update_kernels(block, [gap, with_bias], dot);
    }

    /// Updates the kernels of a block of pairs but for its gaps, which are given without and with the bias.
    #[inline(always)]
    pub fn update_kernels<V: Vector>(&mut self, block: usize, [gap, with_bias]: [V; 2], dot: V) {
        let nngp = self.roots.product::<V>(0, block) * correlation(with_bias);
        let own = match &self.own_numbers {
            Some(numbers) => {
                let (weights, biases) = (numbers.product::<V>(0, block), numbers.product(1, block));
                let own = weights.mul_add(correlation(gap), biases);
                own.store(&mut self.own[block]);
                own
            }
            None => nngp,
        };
        let factor = V::splat(self.variance) * dot;
        let ntk = factor.mul_add(V::load(&self.ntk[block]), own);
        nngp.store(&mut self.nngp[block]);
        ntk.store(&mut self.ntk[block]);
        factor.store(&mut self.factors[block]);
    }
}
