//! The values that the recursion hands from layer to layer, on the pairs of a band of rows.

use super::Output;
use crate::activations::dense_layer::BandKernels;
use crate::activations::far_layer::FarNumbers;
use crate::activations::row_pairs::BandPairs;
use crate::activations::single::SingleGaps;
use crate::isa::{Block, Isa, Vector, Vectorized};

/// Intermediate values of a band of pairs, after the current layer.
#[derive(Debug, Default)]
pub struct PairState {
    pub(super) kernels: BandKernels,
    /// The gaps in `f32`, where results are.
    pub(super) gaps: SingleGaps,
    pub(super) far: FarNumbers,
    /// The parts of Θ that are outputs, each with the index of its layer.
    pub(super) parts: Vec<(usize, Vec<Block>)>,
}

impl PairState {
    /// Starts with these gaps.
    pub(super) fn start<'g>(&mut self, pairs: &BandPairs, gaps: impl Fn(usize) -> &'g [Block]) {
        self.kernels.resize(pairs.len());
        for (index, (_, place)) in pairs.each_row().enumerate() {
            self.kernels.gaps[place].copy_from_slice(gaps(index));
        }
        self.parts.clear();
    }

    /// The part of Θ that is this output, if it is a part.
    pub(super) fn part(&self, output: Output) -> Option<&[Block]> {
        let mut parts = self.parts.iter();
        let (_, part) = parts.find(|(layer, _)| output == Output::Part(*layer))?;
        Some(part)
    }

    /// Multiplies the parts of Θ by the factors of the current layer.
    pub(super) fn multiply_parts(&mut self, isa: Isa) {
        let factors = &self.kernels.factors;
        for (_, values) in &mut self.parts {
            isa.run(Multiply { values, factors });
        }
    }
}

/// Multiplies values by factors.
struct Multiply<'a> {
    values: &'a mut [Block],
    factors: &'a [Block],
}

impl Vectorized for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for (value, factor) in self.values.iter_mut().zip(self.factors) {
            (V::load(value) * V::load(factor)).store(value);
        }
    }
}
