//! Jacobians with respect to the inputs:
//!
//! ```text
//! ∂f_m(x)/∂x = weight scale · W^0 δ^1_m
//! ```

use ndarray::Array2;

use crate::engine::panel::Panels;
use crate::engine::pool::{self, AllFinite, Load, Stages, Stop, Watch};
use crate::engine::scalar::Scalar;
use crate::engine::tile::{EDGE, Tile, product};
use crate::error::{Error, Result};
use crate::finite::backward::backward;
use crate::finite::forward::forward;
use crate::finite::layer::{Layer, unit_chunks};
use crate::finite::network::Network;
use crate::finite::output_directions::OutputDirections;

/// Writes `∂f_m(x_i)/∂x` of all samples and outputs to `out`, (N, O, n_0) in C order.
///
/// A forward pass and O backward passes: 2·N·(1 + O)·P flops.
///
/// # Errors
/// [`Error::Shape`] if `out` has another length, [`Error::TooLarge`]; otherwise as [`forward`] and [`backward`].
pub fn input_jacobian<T: Scalar>(
    network: &Network<T>,
    x: Panels<T>,
    out: &mut [T],
    watch: &mut Watch<'_>,
) -> Result<()> {
    let (samples, outputs, features) = (x.rows(), network.outputs(), network.inputs());
    Error::check_shape("out", &[out.len()], &[samples * outputs * features])?;
    let cycles = network.cycles(samples);
    let products = out.len() as f64 * network.layers[0].outputs() as f64;
    let shares = [cycles, outputs as f64 * cycles, products];
    let mut stages = Stages::new(watch, &shares);
    let pass = stages.next(|watch| forward(network, x, watch))?;
    let directions = [OutputDirections::new(Array2::eye(outputs))];
    let deltas = stages.next(|watch| backward(network, &pass, &directions, watch))?;
    let writer = InputWriter {
        layer: &network.layers[0],
        deltas: deltas[0].first(),
        finite: AllFinite::new(),
    };
    let rows = out.chunks_mut(EDGE * features).enumerate();
    let load = Load::new(rows.len(), products);
    let work = |tile: &mut Tile, (chunk, rows): (usize, &mut [T]), stop: &Stop| {
        writer.write(chunk * EDGE, rows, tile, stop);
    };
    stages.next(|watch| pool::for_each(rows, load, watch, Tile::default, work))?;
    writer.finite.check(|| Error::TooLarge {
        what: "an entry of the Jacobian",
        dtype: T::NAME,
    })
}

/// The first layer, and δ at its outputs: `None` if it is the only one, whose δ are the unit vectors.
struct InputWriter<'a, T: Scalar> {
    layer: &'a Layer<T>,
    deltas: Option<&'a Panels<T>>,
    finite: AllFinite,
}

impl<T: Scalar> InputWriter<'_, T> {
    /// Writes the rows from `first = sample · O + output` on, at most [`EDGE`] of them.
    fn write(&self, first: usize, rows: &mut [T], tile: &mut Tile, stop: &Stop) {
        let features = self.layer.inputs();
        let mut finite = true;
        let mut store = |target: &mut T, value: f64| {
            *target = T::narrow(self.layer.weight_scale * value);
            finite &= target.widen().is_finite();
        };
        match self.deltas {
            None => {
                for (r, row) in rows.chunks_mut(features).enumerate() {
                    let output = (first + r) % self.layer.outputs();
                    for (unit, target) in row.iter_mut().enumerate() {
                        store(target, self.layer.columns.value(output, unit).widen());
                    }
                }
            }
            Some(deltas) => {
                let deltas = deltas.of_rows(&(first..first + rows.len() / features));
                for (units, weights) in unit_chunks(&self.layer.rows) {
                    if stop.requested() {
                        return;
                    }
                    product(weights, deltas, tile);
                    for (row, unit) in units.enumerate() {
                        let targets = rows.iter_mut().skip(unit).step_by(features);
                        let values = targets.zip(tile.row(row));
                        values.for_each(|(target, value)| store(target, *value));
                    }
                }
            }
        }
        self.finite.record(finite);
    }
}
