//! The gradient of a batch, formed from the factors that a [`BatchPass`] keeps: products over samples, tile by tile.

use crate::engine::panel::{PanelSlice, Panels};
use crate::engine::pool::{self, Load, Stop, Watch};
use crate::engine::scalar::Scalar;
use crate::engine::tile::{EDGE, Tile, product};
use crate::error::Result;
use crate::finite::batch_pass::BatchPass;
use crate::finite::network::Network;
use crate::isa::{Vector, Vectorized};

/// Writes `∂/∂θ Σ_samples ⟨u, f⟩` for the `u = δ^L` of the batch's last run: W^0 row-major, b^0, W^1, …
///
/// # Errors
/// [`crate::Error::Cancelled`].
pub(crate) fn write_gradient<T: Scalar>(
    batch: &BatchPass<T>,
    network: &Network<T>,
    out: &mut [T],
    watch: &mut Watch<'_>,
) -> Result<()> {
    let mut rest = out;
    let mut blocks = Vec::new();
    for (index, layer) in network.layers.iter().enumerate() {
        let (block, after) = rest.split_at_mut(layer.parameters());
        // The biases follow the weights as one more row.
        let chunks = block.chunks_mut(EDGE * layer.outputs()).enumerate();
        blocks.extend(chunks.map(|(chunk, rows)| GradientRows {
            layer: index,
            first: chunk * EDGE,
            rows,
        }));
        rest = after;
    }
    let load = Load::new(blocks.len(), network.cycles(batch.samples()));
    let work = |tile: &mut Tile, block: GradientRows<'_, T>, stop: &Stop| {
        block.write(batch, network, tile, stop);
    };
    pool::for_each(blocks.into_iter(), load, watch, Tile::default, work)
}

/// At most [`EDGE`] consecutive rows of the gradient of one layer. The row after those of the weights is that of the
/// biases.
struct GradientRows<'a, T> {
    layer: usize,
    /// The index of the first row.
    first: usize,
    rows: &'a mut [T],
}

impl<T: Scalar> GradientRows<'_, T> {
    fn write(self, batch: &BatchPass<T>, network: &Network<T>, tile: &mut Tile, stop: &Stop) {
        let layer = &network.layers[self.layer];
        let (inputs, deltas) = batch.factors(self.layer);
        let units = self.first..layer.inputs().min(self.first + EDGE);
        let (weights, bias) = self.rows.split_at_mut(units.len() * layer.outputs());
        if !layer.trains_weights() {
            weights.fill(T::default());
        } else if !weights.is_empty() {
            let sides = (inputs.of_rows(&units), deltas);
            write_weights(sides, layer.weight_scale, weights, tile, stop);
        }
        if layer.trains_bias() {
            write_bias(deltas, layer.bias_learning_scale, bias);
        } else {
            bias.fill(T::default());
        }
    }
}

/// Writes `scale · Σ_samples x_i δ_j` for some input units i and all output units j.
fn write_weights<T: Scalar>(
    (inputs, deltas): (PanelSlice<'_, T>, &Panels<T>),
    scale: f64,
    rows: &mut [T],
    tile: &mut Tile,
    stop: &Stop,
) {
    let outputs = deltas.rows();
    for start in (0..outputs).step_by(EDGE) {
        if stop.requested() {
            return;
        }
        let units = start..outputs.min(start + EDGE);
        product(inputs, deltas.of_rows(&units), tile);
        for (row, values) in rows.chunks_mut(outputs).enumerate() {
            values[units.clone()]
                .iter_mut()
                .zip(tile.row(row))
                .for_each(|(value, sum)| *value = T::narrow(scale * sum));
        }
    }
}

/// Writes `scale · Σ_samples δ_j` for the first output units j, as many as `row` has values.
fn write_bias<T: Scalar>(deltas: &Panels<T>, scale: f64, row: &mut [T]) {
    let mut sums = vec![0.0; Panels::<T>::LANES];
    for (panel, values) in row.chunks_mut(Panels::<T>::LANES).enumerate() {
        sum_samples(deltas, panel, &mut sums);
        values
            .iter_mut()
            .zip(&sums)
            .for_each(|(value, sum)| *value = T::narrow(scale * sum));
    }
}

/// Writes `Σ_samples δ_j` for the units j of one panel.
pub(crate) fn sum_samples<T: Scalar>(deltas: &Panels<T>, panel: usize, sums: &mut [f64]) {
    let deltas = deltas.slice(panel..panel + 1);
    deltas.isa().run(LineSums::<T> {
        lines: deltas.panel(0),
        sums,
    });
}

/// Sums each lane over lines.
struct LineSums<'a, T: Scalar> {
    lines: &'a [T::Line],
    sums: &'a mut [f64],
}

impl<T: Scalar> Vectorized for LineSums<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        for (block, target) in self.sums.as_chunks_mut().0.iter_mut().enumerate() {
            // Four sums side by side, since each addition waits for the one before it.
            let mut sums = [V::splat(0.0); 4];
            for lines in self.lines.chunks(sums.len()) {
                for (sum, line) in sums.iter_mut().zip(lines) {
                    *sum = *sum + T::load::<V>(line, block);
                }
            }
            ((sums[0] + sums[1]) + (sums[2] + sums[3])).store(target);
        }
    }
}
