//! The outputs of which an empirical kernel is taken.

use ndarray::Array2;

use crate::engine::scalar::Scalar;
use crate::engine::tile::product_cycles;
use crate::finite::network::Network;
use crate::finite::output_directions::OutputDirections;

/// A choice of entries of the (O, O) block of each pair of samples, and how they are combined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outputs {
    /// The whole block. Rows and columns of the kernel are (sample, output), sample-major.
    Full,
    /// `Σ_m Θ_mm`.
    Trace,
    /// `Σ_m Θ_mm / O`.
    Mean,
    /// `Θ_mm`, one plane for each m.
    Diagonal,
    /// `Σ_mn Θ_mn / O`, the kernel of the sum of all outputs over √O ("pseudo-NTK").
    Sum,
    /// `Θ_mm` of one output.
    Single(usize),
}

impl Outputs {
    /// The number of directions along which a network of `outputs` outputs is differentiated.
    fn directions(self, outputs: usize) -> usize {
        match self {
            Self::Sum | Self::Single(_) => 1,
            Self::Full | Self::Trace | Self::Mean | Self::Diagonal => outputs,
        }
    }

    /// Estimated cycles of a [`Linearized`](crate::finite::empirical::Linearized) of `samples` samples, on one thread.
    pub fn pass_cycles<T: Scalar>(self, network: &Network<T>, samples: usize) -> f64 {
        (1 + self.directions(network.outputs())) as f64 * network.cycles(samples)
    }

    /// Estimated cycles of a kernel between `rows` and `cols` samples, on one thread.
    pub fn kernel_cycles<T: Scalar>(self, network: &Network<T>, rows: usize, cols: usize) -> f64 {
        let count = self.directions(network.outputs());
        let layers = network.layers.iter();
        let products = layers.map(|layer| layer.inputs() + count * layer.outputs());
        let blocks = if self == Self::Full { count } else { 1 };
        rows as f64 * cols as f64 * blocks as f64 * product_cycles(products.sum())
    }

    /// The groups of directions whose kernels are computed.
    pub(super) fn groups(self, outputs: usize) -> Vec<OutputDirections> {
        let unit =
            |m: usize| Array2::from_shape_fn((1, outputs), |(_, n)| f64::from(u8::from(m == n)));
        let groups = match self {
            Self::Full => vec![Array2::eye(outputs)],
            Self::Sum => vec![Array2::from_elem(
                (1, outputs),
                1.0 / (outputs as f64).sqrt(),
            )],
            Self::Single(m) => vec![unit(m)],
            Self::Trace | Self::Mean | Self::Diagonal => (0..outputs).map(unit).collect(),
        };
        groups.into_iter().map(OutputDirections::new).collect()
    }
}
