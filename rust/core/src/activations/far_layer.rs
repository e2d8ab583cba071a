//! A dense layer on pairs of float32 inputs, behind an activation that has formulas in `f32` for pairs that are far apart.

use crate::activations::dense_layer::BandLayer;
use crate::activations::features::{Features, SingleNumbers};
use crate::isa::{BlockPair, Isa};

/// The expectations of one activation on pairs of float32 inputs.
pub trait FarDual {
    /// The numbers in `f32` of a batch of variables, given their features.
    fn single_features(&self, features: &Features) -> SingleNumbers;

    /// [`Dual::step_and_layer`](crate::activations::dual::Dual::step_and_layer) with formulas in `f32` for far pairs.
    ///
    /// # Panics
    /// If there is not one variable for each row and column, or no room for the kernels of a pair.
    fn step_and_layer(&self, isa: Isa, layer: FarLayer<'_>);
}

/// The numbers in `f32` of the pairs of two rows, which are side by side.
#[derive(Debug, Default)]
pub struct FarNumbers(pub(super) Vec<[BlockPair; FAR_NUMBERS]>);

/// A dense layer on a band of pairs of float32 inputs.
#[derive(Debug)]
pub struct FarLayer<'a> {
    /// The layer.
    pub layer: BandLayer<'a>,
    /// The features of the rows and of the columns.
    pub features: [&'a Features; 2],
    /// The same in `f32`.
    pub singles: [&'a SingleNumbers; 2],
    /// Room for the numbers of two rows.
    pub numbers: &'a mut FarNumbers,
}

/// The count of numbers in `f32` that the formulas for far pairs return.
pub(super) const FAR_NUMBERS: usize = 2;
