//! Tiles of a layer's weights, each stepped by one worker as soon as its gradient is known.

use std::mem;
use std::ops::Range;

use super::Optimizer;
use crate::engine::panel::{Panels, tiles_mut, transpose};
use crate::engine::scalar::{Line, Scalar};
use crate::engine::tile::{EDGE, Tile, product};
use crate::finite::batch_pass::BatchPass;
use crate::finite::network::Layer;
use crate::isa::{Isa, Vector, Vectorized};

/// Some lines of each of some panels.
type TileLines<'a, T> = Vec<&'a mut [<T as Scalar>::Line]>;

/// A tile of a layer's weights; the first of those of some outputs has their biases.
pub(super) struct WeightTile<'a, T: Scalar> {
    layer: usize,
    /// Panels of input units.
    inputs: Range<usize>,
    /// Those of the tile that the same thread is likely to take next.
    next: Range<usize>,
    /// Panels of output units.
    outputs: Range<usize>,
    /// For each panel of outputs, the lines of the inputs.
    columns: TileLines<'a, T>,
    /// As `columns`; none without momentum.
    velocity: TileLines<'a, T>,
    /// For each panel of inputs, the lines of the outputs. None in the first layer: nothing goes back through it.
    rows: TileLines<'a, T>,
    bias: &'a mut [f64],
    /// As `bias`; none without momentum.
    bias_velocity: &'a mut [f64],
    weight_scale: f64,
    bias_scale: f64,
}

impl<'a, T: Scalar> WeightTile<'a, T> {
    /// How many a layer has.
    pub fn count(layer: &Layer<T>) -> usize {
        layer.inputs().div_ceil(EDGE) * layer.outputs().div_ceil(EDGE)
    }

    /// Those of layer `index`, in the order in which so many threads take them.
    pub fn of_layer(
        index: usize,
        layer: &'a mut Layer<T>,
        velocity: Option<&'a mut (Panels<T>, Vec<f64>)>,
        threads: usize,
    ) -> Vec<Self> {
        let (weight_scale, bias_scale) = layer.learning_scales;
        let most = EDGE / Panels::<T>::LANES;
        let panels = |units: usize| {
            let all = units.div_ceil(Panels::<T>::LANES);
            move |tile: usize| all.min(tile * most)..all.min((tile + 1) * most)
        };
        let (inputs, outputs) = (panels(layer.inputs()), panels(layer.outputs()));
        let mut columns = tiles_mut(&mut layer.columns, most, EDGE);
        let rows = (index > 0).then_some(&mut layer.rows);
        let mut rows = rows.map_or_else(Vec::new, |rows| tiles_mut(rows, most, EDGE));
        let (mut velocity, bias_velocity) = velocity
            .map(|(weights, bias)| (tiles_mut(weights, most, EDGE), &mut **bias))
            .unwrap_or_default();
        let mut biases = layer.bias.chunks_mut(EDGE);
        let mut bias_velocities = bias_velocity.chunks_mut(EDGE);
        let take = |tiles: &mut Vec<Vec<TileLines<'a, T>>>, group: usize, band: usize| {
            let tile = tiles
                .get_mut(group)
                .map(|bands| mem::take(&mut bands[band]));
            tile.unwrap_or_default()
        };
        let mut tiles = Vec::new();
        for j in 0..columns.len() {
            let mut bias = biases.next().unwrap_or_default();
            let mut bias_velocity = bias_velocities.next().unwrap_or_default();
            for i in 0..columns[j].len() {
                tiles.push(Self {
                    layer: index,
                    inputs: inputs(i),
                    next: inputs(i + threads),
                    outputs: outputs(j),
                    columns: take(&mut columns, j, i),
                    velocity: take(&mut velocity, j, i),
                    rows: take(&mut rows, i, j),
                    bias: mem::take(&mut bias),
                    bias_velocity: mem::take(&mut bias_velocity),
                    weight_scale,
                    bias_scale,
                });
            }
        }
        tiles
    }

    /// One step, along the gradient of a run of the batch.
    pub fn step(mut self, batch: &BatchPass<T>, optimizer: Optimizer, gradient: &mut Tile) {
        let rate = optimizer.learning_rate * self.weight_scale;
        // At rate 0 the layer is not trained: its gradient is not formed.
        if rate != 0.0 {
            let (inputs, deltas) = batch.factors(self.layer);
            let rows = inputs.slice(self.inputs.clone());
            let next = inputs.slice(self.next.clone());
            product(
                rows.before(next),
                deltas.slice(self.outputs.clone()),
                gradient,
            );
            batch.isa().run(Descent::<T> {
                gradient,
                factors: (rate, optimizer.momentum),
                weights: &mut self.columns,
                velocity: &mut self.velocity,
            });
            self.repack(batch.isa());
        }
        self.step_bias(batch, optimizer);
    }

    /// Brings the rows of W up to its columns.
    fn repack(&mut self, isa: Isa) {
        let (lanes, columns) = (Panels::<T>::LANES, &self.columns);
        let squares = self.rows.iter_mut().enumerate().flat_map(|(panel, row)| {
            let start = panel * lanes;
            let sources = columns
                .iter()
                .map(move |lines| &lines[start..lines.len().min(start + lanes)]);
            sources.zip(row.chunks_mut(lanes))
        });
        transpose::<T>(squares, isa);
    }

    fn step_bias(&mut self, batch: &BatchPass<T>, optimizer: Optimizer) {
        let lanes = Panels::<T>::LANES;
        let rate = optimizer.learning_rate * self.bias_scale;
        let mut sums = vec![0.0; lanes];
        for (index, bias) in self.bias.chunks_mut(lanes).enumerate() {
            batch.bias_gradient(self.layer, self.outputs.start + index, &mut sums);
            for (lane, (bias, gradient)) in bias.iter_mut().zip(&sums).enumerate() {
                let step = match self.bias_velocity.get_mut(index * lanes + lane) {
                    None => -rate * gradient,
                    Some(velocity) => {
                        *velocity =
                            T::narrow(optimizer.momentum * *velocity - rate * gradient).widen();
                        *velocity
                    }
                };
                *bias = T::narrow(*bias + step).widen();
            }
        }
    }
}

/// One step of a tile of weights.
struct Descent<'a, 'b, T: Scalar> {
    gradient: &'a Tile,
    /// The rate, and the momentum.
    factors: (f64, f64),
    /// For each panel of outputs, the lines of the inputs.
    weights: &'a mut [&'b mut [T::Line]],
    /// As `weights`; none without momentum.
    velocity: &'a mut [&'b mut [T::Line]],
}

impl<T: Scalar> Vectorized for Descent<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (rate, momentum) = self.factors;
        let (descent, momentum) = (V::splat(-rate), V::splat(momentum));
        for (panel, weights) in self.weights.iter_mut().enumerate() {
            let mut velocity = self.velocity.get_mut(panel);
            for (row, weights) in weights.iter_mut().enumerate() {
                let gradients = &self.gradient.row_blocks(row)[panel * T::Line::BLOCKS..];
                for (block, gradient) in gradients[..T::Line::BLOCKS].iter().enumerate() {
                    let weight = T::load::<V>(weights, block);
                    let weight = match &mut velocity {
                        None => V::load(gradient).mul_add(descent, weight),
                        Some(velocity) => {
                            let velocity = &mut velocity[row];
                            let step = momentum * T::load::<V>(velocity, block);
                            T::store(V::load(gradient).mul_add(descent, step), velocity, block);
                            weight + T::load::<V>(velocity, block)
                        }
                    };
                    T::store(weight, weights, block);
                }
            }
        }
    }
}
