//! Per-sample Jacobians:
//!
//! ```text
//! ∂f_m/∂W^l_ij = weight scale · x^l_i δ^{l+1}_mj,    ∂f_m/∂b^l_j = bias scale · δ^{l+1}_mj
//! ```

use ndarray::Array2;

use crate::engine::panel::Panels;
use crate::engine::pool::{self, Load, Stages, Stop, Watch};
use crate::engine::scalar::Scalar;
use crate::error::{Error, Result};
use crate::finite::backward::{Deltas, backward};
use crate::finite::forward::{ForwardPass, forward};
use crate::finite::network::Network;
use crate::finite::output_directions::OutputDirections;

/// Writes `∂f_m(x_i)/∂θ` of all samples and outputs to `out`, (N, O, P) in C order; θ is W^0 row-major, b^0, W^1, …
///
/// Derivatives in parameters that are not trained are 0. N·O·P multiplications, after a forward and a backward pass.
///
/// # Errors
/// [`Error::Shape`] if `out` has another length; otherwise as [`forward`] and [`backward`].
pub fn jacobian<T: Scalar>(
    network: &Network<T>,
    x: Panels<T>,
    out: &mut [T],
    watch: &mut Watch<'_>,
) -> Result<()> {
    let (samples, outputs, parameters) = (x.rows(), network.outputs(), network.parameters());
    Error::check_shape("out", &[out.len()], &[samples * outputs * parameters])?;
    let cycles = network.cycles(samples);
    let shares = [cycles, outputs as f64 * cycles, out.len() as f64];
    let mut stages = Stages::new(watch, &shares);
    let pass = stages.next(|watch| forward(network, x, watch))?;
    let directions = [OutputDirections::new(Array2::eye(outputs))];
    let deltas = stages.next(|watch| backward(network, &pass, &directions, watch))?;
    let writer = Writer {
        network,
        pass: &pass,
        deltas: &deltas[0],
        directions: &directions[0],
    };
    let load = Load::new(samples * outputs, out.len() as f64);
    let rows = out.chunks_mut(parameters).enumerate();
    let work = |scratch: &mut Scratch, (r, row): (usize, &mut [T]), stop: &Stop| {
        writer.write(r, row, scratch, stop);
    };
    stages.next(|watch| pool::for_each(rows, load, watch, Scratch::default, work))
}

/// A forward and a backward pass along all outputs, from which rows of the Jacobian are written.
struct Writer<'a, T: Scalar> {
    network: &'a Network<T>,
    pass: &'a ForwardPass<T>,
    deltas: &'a Deltas<T>,
    directions: &'a OutputDirections,
}

/// Per-worker scratch space, reused between rows: x and δ of one layer.
#[derive(Default)]
struct Scratch {
    x: Vec<f64>,
    delta: Vec<f64>,
}

impl<T: Scalar> Writer<'_, T> {
    /// Writes row `r = sample · O + output`, the gradient of one output of one sample.
    fn write(&self, r: usize, mut row: &mut [T], scratch: &mut Scratch, stop: &Stop) {
        let outputs = self.network.outputs();
        let Scratch { x, delta } = scratch;
        for (index, layer) in self.network.layers.iter().enumerate() {
            x.resize(layer.inputs(), 0.0);
            self.pass.inputs[index].copy_row(r / outputs, x);
            delta.resize(layer.outputs(), 0.0);
            match self.deltas.get(index) {
                Some(deltas) => deltas.copy_row(r, delta),
                None => self.directions.copy(r % outputs, delta),
            }
            let (block, rest) = row.split_at_mut(layer.parameters());
            row = rest;
            let (weights, bias) = block.split_at_mut(layer.inputs() * layer.outputs());
            if layer.trains_weights() {
                for (weights, x) in weights.chunks_exact_mut(layer.outputs()).zip(&*x) {
                    if stop.requested() {
                        return;
                    }
                    write_multiple(layer.weight_learning_scale * x, delta, weights);
                }
            } else {
                weights.fill(T::default());
            }
            if layer.trains_bias() {
                write_multiple(layer.bias_learning_scale, delta, bias);
            } else {
                bias.fill(T::default());
            }
        }
    }
}

/// `target = factor · values`.
fn write_multiple<T: Scalar>(factor: f64, values: &[f64], target: &mut [T]) {
    for (target, value) in target.iter_mut().zip(values) {
        *target = T::narrow(factor * value);
    }
}
