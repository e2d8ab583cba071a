//! Tiles of a layer's weights. Each is updated by one worker as soon as its gradient is known.

use std::mem;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{LayerVelocity, Optimizer};
use crate::engine::panel::{Panels, tiles_mut, transpose};
use crate::engine::scalar::{Line, Scalar};
use crate::engine::tile::{EDGE, Tile, product};
use crate::finite::batch_gradient::sum_samples;
use crate::finite::batch_pass::BatchPass;
use crate::finite::layer::Layer;
use crate::isa::{Isa, Vector, Vectorized};

/// The lines of a tile of a packed matrix: for each of its panels, a range of the lines.
type TileLines<'a, T> = Vec<&'a mut [<T as Scalar>::Line]>;

/// A tile of a layer's weights. The first of the tiles with the same outputs also holds their biases.
pub(super) struct WeightTile<'a, T: Scalar> {
    layer: usize,
    /// The panels of its input units.
    inputs: Range<usize>,
    /// The panels of input units of the tile that the same thread is likely to take next.
    next: Range<usize>,
    /// The panels of its output units.
    outputs: Range<usize>,
    /// For each panel of outputs, the lines of the inputs.
    columns: TileLines<'a, T>,
    /// The velocity of `columns`. Empty without momentum.
    velocity: TileLines<'a, T>,
    /// For each panel of inputs, the lines of the outputs. Empty in the first layer, which no backward pass goes through.
    rows: TileLines<'a, T>,
    bias: &'a mut [f64],
    /// The velocity of `bias`. Empty without momentum.
    bias_velocity: &'a mut [f64],
    weight_learning_scale: f64,
    bias_learning_scale: f64,
}

impl<'a, T: Scalar> WeightTile<'a, T> {
    /// The number of tiles of a layer.
    pub(super) fn count(layer: &Layer<T>) -> usize {
        layer.inputs().div_ceil(EDGE) * layer.outputs().div_ceil(EDGE)
    }

    /// Cuts layer `index` into tiles, in the order in which `threads` threads take them.
    pub(super) fn of_layer(
        index: usize,
        layer: &'a mut Layer<T>,
        velocity: Option<&'a mut LayerVelocity<T>>,
        threads: usize,
    ) -> Vec<Self> {
        let (inputs, outputs) = (layer.inputs(), layer.outputs());
        let (weight_learning_scale, bias_learning_scale) =
            (layer.weight_learning_scale, layer.bias_learning_scale);
        let velocity = velocity.map(|velocity| (&mut velocity.weights, &mut velocity.bias[..]));
        let (velocity, bias_velocity) = velocity.unzip();
        let mut columns = cut(Some(&mut layer.columns));
        let mut rows = cut((index > 0).then_some(&mut layer.rows));
        let mut velocity = cut(velocity);
        let mut biases = layer.bias.chunks_mut(EDGE);
        let mut bias_velocities = bias_velocity.unwrap_or_default().chunks_mut(EDGE);
        let mut tiles = Vec::new();
        for j in 0..columns.len() {
            let mut bias = biases.next().unwrap_or_default();
            let mut bias_velocity = bias_velocities.next().unwrap_or_default();
            for i in 0..columns[j].len() {
                tiles.push(Self {
                    layer: index,
                    inputs: panels::<T>(inputs, i),
                    next: panels::<T>(inputs, i + threads),
                    outputs: panels::<T>(outputs, j),
                    columns: take(&mut columns, j, i),
                    velocity: take(&mut velocity, j, i),
                    rows: take(&mut rows, i, j),
                    bias: mem::take(&mut bias),
                    bias_velocity: mem::take(&mut bias_velocity),
                    weight_learning_scale,
                    bias_learning_scale,
                });
            }
        }
        tiles
    }

    /// Takes one step along the gradient of the batch. Sets `slope` if a trained parameter has a gradient other than 0,
    /// biases of the read-out apart.
    pub(super) fn step(
        mut self,
        batch: &BatchPass<T>,
        optimizer: Optimizer,
        gradient: &mut Tile,
        slope: &AtomicBool,
    ) {
        let rate = optimizer.learning_rate * self.weight_learning_scale;
        // At rate 0 the weights are not trained, so their gradient is not formed.
        if rate != 0.0 {
            let (inputs, deltas) = batch.factors(self.layer);
            let rows = inputs.slice(self.inputs.clone());
            let next = inputs.slice(self.next.clone());
            product(
                rows.before(next),
                deltas.slice(self.outputs.clone()),
                gradient,
            );
            note(slope, || {
                (0..gradient.shape()[0]).flat_map(|row| gradient.row(row))
            });
            batch.isa().run(Descent::<T> {
                gradient,
                rate,
                momentum: optimizer.momentum,
                weights: &mut self.columns,
                velocity: &mut self.velocity,
            });
            self.repack(batch.isa());
        }
        self.step_bias(batch, optimizer, slope);
    }

    /// Copies the columns of W to its rows.
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

    /// Takes one step of the biases.
    fn step_bias(&mut self, batch: &BatchPass<T>, optimizer: Optimizer, slope: &AtomicBool) {
        let lanes = Panels::<T>::LANES;
        let rate = optimizer.learning_rate * self.bias_learning_scale;
        let (_, deltas) = batch.factors(self.layer);
        let mut sums = vec![0.0; lanes];
        for (index, bias) in self.bias.chunks_mut(lanes).enumerate() {
            sum_samples(deltas, self.outputs.start + index, &mut sums);
            if rate != 0.0 && !batch.is_read_out(self.layer) {
                note(slope, || &sums);
            }
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

/// Sets `slope` if one of the gradients is not 0. The first of them usually is not, and nothing is read once it is set.
fn note<'g, G: IntoIterator<Item = &'g f64>>(slope: &AtomicBool, gradients: impl Fn() -> G) {
    if !slope.load(Ordering::Relaxed) && gradients().into_iter().any(|gradient| *gradient != 0.0) {
        slope.store(true, Ordering::Relaxed);
    }
}

/// The panels of tile `tile` of a side of `units` units. Empty past the last tile.
fn panels<T: Scalar>(units: usize, tile: usize) -> Range<usize> {
    let (most, all) = (
        EDGE / Panels::<T>::LANES,
        units.div_ceil(Panels::<T>::LANES),
    );
    all.min(tile * most)..all.min((tile + 1) * most)
}

/// Cuts a packed matrix into a grid of tiles. The grid is empty without a matrix.
fn cut<T: Scalar>(matrix: Option<&mut Panels<T>>) -> Vec<Vec<TileLines<'_, T>>> {
    matrix.map_or_else(Vec::new, |matrix| {
        tiles_mut(matrix, EDGE / Panels::<T>::LANES, EDGE)
    })
}

/// Takes a tile out of a grid. Nothing is taken out of an empty grid.
fn take<L>(tiles: &mut [Vec<Vec<L>>], group: usize, band: usize) -> Vec<L> {
    let bands = tiles.get_mut(group);
    bands.map_or_else(Vec::new, |bands| mem::take(&mut bands[band]))
}

/// One step of a tile of weights: `v ← μ v − rate · gradient`, `w ← w + v`.
struct Descent<'a, 'b, T: Scalar> {
    gradient: &'a Tile,
    rate: f64,
    momentum: f64,
    /// For each panel of outputs, the lines of the inputs.
    weights: &'a mut [&'b mut [T::Line]],
    /// The velocity of `weights`. Empty without momentum.
    velocity: &'a mut [&'b mut [T::Line]],
}

impl<T: Scalar> Vectorized for Descent<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector>(self) {
        let (descent, momentum) = (V::splat(-self.rate), V::splat(self.momentum));
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
