//! Full-batch gradient descent and heavy ball: `v ← μ v − η ∂L/∂θ`, `θ ← θ + v`.
//!
//! ```text
//! LOOP 3: steps. Sequential.
//! LOOP 2: bands of samples, forward and backward (`batch_pass`), then tiles of weights. Parallel: each has one writer.
//! LOOP 1: products of packed rows.
//! ```

mod weight_tile;

use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use ndarray::{Array2, ArrayViewMut2};

use crate::engine::panel::Panels;
use crate::engine::pool::{self, Load, Stop, Watch};
use crate::engine::scalar::Scalar;
use crate::engine::tile::Tile;
use crate::error::{Error, Result};
use crate::finite::batch_pass::BatchPass;
use crate::finite::layer::Layer;
pub use crate::finite::loss::Loss;
use crate::finite::network::Network;
use weight_tile::WeightTile;

/// The loss, and the rule by which parameters follow its gradient.
#[derive(Clone, Copy, Debug)]
pub struct Optimizer {
    /// The loss that is minimised.
    pub loss: Loss,
    /// η.
    pub learning_rate: f64,
    /// μ. 0 is plain gradient descent.
    pub momentum: f64,
}

/// A batch to train on.
#[derive(Debug)]
pub struct Examples<T: Scalar> {
    /// Inputs (N, n_0).
    pub x: Panels<T>,
    /// Targets (N, O).
    pub y: Array2<T>,
}

/// A network in training. It must not be used after an error.
#[derive(Debug)]
pub struct Trainer<T: Scalar> {
    network: Network<T>,
    /// θ_0.
    origin: Network<T>,
    /// v of each layer. Empty without momentum.
    velocity: Vec<LayerVelocity<T>>,
    batch: BatchPass<T>,
    targets: Array2<T>,
    /// f_0, which is subtracted from the outputs of a centred model.
    offset: Option<Array2<f64>>,
    optimizer: Optimizer,
    steps: usize,
    /// True if the batch has been run with the current parameters.
    evaluated: bool,
    /// The step from which on every gradient was exactly 0, biases of the read-out apart.
    flat_since: Option<usize>,
}

/// The velocity v of one layer.
#[derive(Debug)]
struct LayerVelocity<T: Scalar> {
    /// Packed as the columns of W.
    weights: Panels<T>,
    bias: Vec<f64>,
}

impl<T: Scalar> LayerVelocity<T> {
    /// The velocity 0.
    fn zero(layer: &Layer<T>, watch: &mut Watch<'_>) -> Result<Self> {
        Ok(Self {
            weights: layer.columns.zeros_like(watch)?,
            bias: vec![0.0; layer.bias.len()],
        })
    }
}

/// The interval between two calls of the caller's watch.
const TICK: Duration = Duration::from_millis(50);

impl<T: Scalar> Trainer<T> {
    /// Copies `network`, to train it on `examples`. If `centred`, the model is f − f_0.
    ///
    /// # Errors
    /// [`Error::Features`], [`Error::Shape`] if the batch does not fit the network or the targets, [`Error::NotFinite`],
    /// [`Error::Memory`], [`Error::Cancelled`].
    pub fn new(
        network: &Network<T>,
        examples: Examples<T>,
        optimizer: Optimizer,
        centred: bool,
        watch: &mut Watch<'_>,
    ) -> Result<Self> {
        let Examples { x, y } = examples;
        Error::check_shape("y", y.shape(), &[x.rows(), network.outputs()])?;
        let velocity = if optimizer.momentum == 0.0 {
            Ok(Vec::new())
        } else {
            let zero = |layer: &Layer<T>| LayerVelocity::zero(layer, watch);
            network.layers.iter().map(zero).collect()
        };
        let mut trainer = Self {
            network: network.duplicate(watch)?,
            origin: network.duplicate(watch)?,
            velocity: velocity?,
            batch: BatchPass::new(network, x, watch)?,
            targets: y,
            offset: None,
            optimizer,
            steps: 0,
            evaluated: false,
            flat_since: None,
        };
        if centred {
            trainer.evaluate(watch)?;
            let mut outputs = Array2::zeros(trainer.targets.dim());
            trainer.write_outputs(outputs.view_mut(), |value| value);
            trainer.offset = Some(outputs);
            trainer.evaluated = false;
        }
        Ok(trainer)
    }

    /// Takes `steps` steps.
    ///
    /// # Errors
    /// [`Error::Diverged`], [`Error::Cancelled`], [`Error::Function`].
    pub fn advance(&mut self, steps: usize, watch: &mut Watch<'_>) -> Result<()> {
        if self.network.has_callable() {
            return self.take(steps, watch);
        }
        let cycles = 3.0 * self.network.cycles(self.batch.samples());
        pool::install(steps as f64 * cycles, watch, |watch| {
            self.take(steps, watch)
        })
    }

    /// Takes `steps` steps, wherever the loops of this thread run.
    fn take(&mut self, steps: usize, watch: &mut Watch<'_>) -> Result<()> {
        let mut last = Instant::now();
        for step in 0..steps {
            let mut seldom = |_, _| {
                if last.elapsed() < TICK {
                    return ControlFlow::Continue(());
                }
                last = Instant::now();
                watch(step, steps)
            };
            self.evaluate(&mut seldom)?;
            let slope = self.descend(&mut seldom)?;
            let flat = self.flat_since.unwrap_or(self.steps);
            self.flat_since = (!slope && self.is_trainable()).then_some(flat);
            self.steps += 1;
            self.evaluated = false;
        }
        Ok(())
    }

    /// The loss at the current parameters.
    ///
    /// # Errors
    /// As [`Trainer::advance`].
    pub fn loss(&mut self, watch: &mut Watch<'_>) -> Result<f64> {
        self.evaluate(watch)?;
        Ok(self.batch.losses.iter().sum())
    }

    /// The number of steps after which the gradient was exactly 0 in every step so far, biases of the read-out apart. None
    /// if that of the last step was not, or if no other parameter is trained. At a loss above 0 the network is dead: its
    /// outputs do not depend on the inputs any more.
    pub fn flat_since(&self) -> Option<usize> {
        self.flat_since
    }

    /// Writes the model's outputs at the current parameters to an (N, O) array.
    ///
    /// # Errors
    /// [`Error::Shape`] if the array has another shape; otherwise as [`Trainer::advance`].
    pub fn outputs(&mut self, out: ArrayViewMut2<'_, T>, watch: &mut Watch<'_>) -> Result<()> {
        Error::check_shape("out", out.shape(), self.targets.shape())?;
        self.evaluate(watch)?;
        self.write_outputs(out, T::narrow);
        Ok(())
    }

    /// `‖θ_t − θ_0‖`.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub fn distance(&self, watch: &mut Watch<'_>) -> Result<f64> {
        let layers = self.network.layers.iter().zip(&self.origin.layers);
        let mut square = |(now, then): (&Layer<T>, &Layer<T>)| -> Result<f64> {
            let biases: f64 = now
                .bias
                .iter()
                .zip(&then.bias)
                .map(|(a, b)| (a - b) * (a - b))
                .sum();
            Ok(now.columns.squared_distance(&then.columns, watch)? + biases)
        };
        Ok(layers.map(&mut square).sum::<Result<f64>>()?.sqrt())
    }

    /// Writes θ: W^0 row-major, b^0, W^1, …
    ///
    /// # Errors
    /// [`Error::Shape`] if `out` has another length, [`Error::Cancelled`].
    pub fn parameters(&self, out: &mut [T], watch: &mut Watch<'_>) -> Result<()> {
        self.network.write_parameters(out, watch)
    }

    /// Runs the batch forward and backward, unless this was done since the last step.
    fn evaluate(&mut self, watch: &mut Watch<'_>) -> Result<()> {
        if self.evaluated {
            return Ok(());
        }
        let (loss, targets, offset) = (self.optimizer.loss, &self.targets, &self.offset);
        let samples = self.batch.samples();
        let seed = |sample: usize, f: &mut [f64]| {
            subtract(offset.as_ref(), sample, f);
            loss.seed(samples, f, targets.row(sample).iter().map(|y| y.widen()))
        };
        self.batch.run(&self.network, seed, watch)?;
        if !self.batch.losses.iter().sum::<f64>().is_finite() {
            return Err(Error::Diverged { step: self.steps });
        }
        self.evaluated = true;
        Ok(())
    }

    /// Writes the model's outputs of the last run, each passed through `narrow`.
    fn write_outputs<V>(&self, mut out: ArrayViewMut2<'_, V>, narrow: impl Fn(f64) -> V) {
        let mut row = vec![0.0; self.network.outputs()];
        for (sample, mut target) in out.rows_mut().into_iter().enumerate() {
            self.batch.outputs.copy_row(sample, &mut row);
            subtract(self.offset.as_ref(), sample, &mut row);
            target
                .iter_mut()
                .zip(&row)
                .for_each(|(target, f)| *target = narrow(*f));
        }
    }

    /// True if a step changes parameters whose gradient is not 0, biases of the read-out apart.
    fn is_trainable(&self) -> bool {
        let moves = |scale: f64| self.optimizer.learning_rate * scale != 0.0;
        let mut layers = self.network.layers.iter().enumerate();
        layers.any(|(index, layer)| {
            let biases = layer.has_bias() && !self.batch.is_read_out(index);
            moves(layer.weight_learning_scale) || biases && moves(layer.bias_learning_scale)
        })
    }

    /// Takes one step of all weights and biases. Returns true if a trained parameter has a gradient other than 0, biases of
    /// the read-out apart.
    fn descend(&mut self, watch: &mut Watch<'_>) -> Result<bool> {
        let slope = AtomicBool::new(false);
        let count = self.network.layers.iter().map(WeightTile::count).sum();
        let load = Load::new(count, self.network.cycles(self.batch.samples()));
        let (batch, optimizer) = (&self.batch, self.optimizer);
        let (threads, mut velocity) = (pool::num_threads()?, self.velocity.iter_mut());
        let items = self
            .network
            .layers
            .iter_mut()
            .enumerate()
            .flat_map(move |(index, layer)| {
                WeightTile::of_layer(index, layer, velocity.next(), threads)
            });
        let work = |gradient: &mut Tile, weights: WeightTile<'_, T>, _: &Stop| {
            weights.step(batch, optimizer, gradient, &slope)
        };
        pool::for_each(items, load, watch, Tile::default, work)?;
        Ok(slope.into_inner())
    }
}

/// Subtracts the offset of a sample, if there is one, from its outputs.
fn subtract(offset: Option<&Array2<f64>>, sample: usize, f: &mut [f64]) {
    if let Some(offset) = offset {
        f.iter_mut()
            .zip(offset.row(sample))
            .for_each(|(f, offset)| *f -= offset);
    }
}
