//! Mean and variance of the empirical NTK over random initialisations, without keeping their kernels.
//!
//! Seeds run in parallel, each network on one thread. Kernels enter the running moments (Welford 1962) in the order of
//! their seeds, whatever the order in which they are computed. So the number of threads does not change a bit.

use std::collections::BTreeMap;
use std::iter;
use std::ops::ControlFlow;
use std::sync::Mutex;

use ndarray::Array5;

use crate::engine::gram;
use crate::engine::panel::{Panels, transpose};
use crate::engine::pool::{self, Load, Stop, Watch};
use crate::engine::scalar::Line;
use crate::error::{Error, Result};
use crate::finite::empirical::{Empirical, Linearized};
use crate::finite::network::Network;
use crate::finite::outputs::Outputs;
use crate::random::Normal;

/// The networks whose kernels are averaged, and the inputs of these kernels.
#[derive(Debug)]
pub struct Ensemble<'a> {
    /// A network with the activations and biases of all of them. Its sizes and parameters do not matter.
    pub network: &'a Network<f64>,
    /// n_0 … n_L.
    pub sizes: &'a [usize],
    /// σ_w/√n_l of each layer.
    pub weight_scales: &'a [f64],
    /// One seed for each network, whose parameters are its standard normal numbers.
    pub seeds: &'a [u64],
    /// Inputs (N, n_0).
    pub x: &'a Panels<f64>,
    /// Other inputs (M, n_0), if the kernel is between two batches.
    pub z: Option<&'a Panels<f64>>,
    /// The choice of outputs.
    pub outputs: Outputs,
    /// The shape of a kernel as [`gram`] writes it, planes first: (planes, N, S, M, S).
    pub shape: [usize; 5],
}

impl Ensemble<'_> {
    /// Checks that all lengths fit together, and that every layer has units.
    fn check(&self, mean: &[f64], variance: &[f64]) -> Result<()> {
        let length = self.shape.iter().product();
        for array in [mean, variance] {
            Error::check_shape("out", &[array.len()], &[length])?;
        }
        let depth = self.network.depth();
        Error::check_shape("sizes", &[self.sizes.len()], &[depth + 1])?;
        Error::check_shape("weight_scales", &[self.weight_scales.len()], &[depth])?;
        if self.sizes.contains(&0) {
            let message = format!("sizes is {:?}, but every layer must have units", self.sizes);
            return Err(Error::Invalid(message));
        }
        Ok(())
    }
}

/// Writes the mean and the sample variance of the empirical NTK over an ensemble.
///
/// # Errors
/// [`Error::Shape`] if an array has another length, [`Error::Invalid`] if a layer has no units; otherwise as
/// [`Linearized::new`] and [`gram::symmetric`].
pub fn moments(
    ensemble: &Ensemble<'_>,
    mean: &mut [f64],
    variance: &mut [f64],
    watch: &mut Watch<'_>,
) -> Result<()> {
    ensemble.check(mean, variance)?;
    let count = ensemble.seeds.len();
    for array in [&mut *mean, &mut *variance] {
        let clear = |values: &mut [f64]| values.fill(0.0);
        pool::for_each_chunk(array, 1.0, &mut pool::fixed(0, count, watch), clear)?;
    }
    let mut moments = RunningMoments {
        mean,
        squares: variance,
        count: 0,
        waiting: BTreeMap::new(),
        free: Vec::new(),
        failure: None,
    };
    if ensemble.network.has_callable() {
        run_one_by_one(ensemble, &mut moments, watch)?;
    } else {
        run_parallel(ensemble, &mut moments, watch)?;
    }
    moments.finish(&mut pool::fixed(count, count, watch))
}

/// Computes the kernels of several networks at a time, each on one thread.
fn run_parallel(
    ensemble: &Ensemble<'_>,
    moments: &mut RunningMoments<'_>,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let moments = Mutex::new(moments);
    let work = |worker: &mut Option<NetworkWorker>, (index, seed): (usize, &u64), stop: &Stop| {
        let (failed, mut kernel) = {
            let mut moments = pool::lock(&moments);
            (moments.failure.is_some(), moments.buffer(ensemble.shape))
        };
        if failed {
            return;
        }
        let result = NetworkWorker::run_seed(worker, ensemble, *seed, &mut kernel, stop);
        match result {
            Ok(()) => pool::lock(&moments).add(index, kernel, stop),
            Err(error) => pool::lock(&moments).failure = Some(error),
        }
    };
    let load = Load::new(ensemble.seeds.len(), f64::INFINITY);
    let seeds = ensemble.seeds.iter().enumerate();
    pool::for_each(seeds, load, watch, || None, work)
}

/// Computes the kernels of networks with user-supplied activations, which only this thread may call: one after another,
/// each on all threads.
fn run_one_by_one(
    ensemble: &Ensemble<'_>,
    moments: &mut RunningMoments<'_>,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let mut worker = NetworkWorker::new(ensemble)?;
    let (seeds, isa) = (ensemble.seeds, ensemble.x.all().isa());
    for (index, seed) in seeds.iter().enumerate() {
        let mut part = |_, _| watch(index, seeds.len());
        let draws = iter::once((&mut worker, Normal::new(*seed, isa)));
        let draw = |(): &mut (), (worker, normal): (&mut NetworkWorker, Normal), stop: &Stop| {
            worker.draw(normal, stop);
        };
        let load = Load::new(1, f64::INFINITY);
        pool::for_each(draws, load, &mut part, || (), draw)?;
        let mut kernel = moments.buffer(ensemble.shape);
        worker.run(ensemble, &mut kernel, &mut part)?;
        moments.add(index, kernel, &Stop::default());
    }
    match watch(seeds.len(), seeds.len()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Cancelled),
    }
}

/// A network and its inputs, reused between seeds.
struct NetworkWorker {
    network: Network<f64>,
    /// A copy of the first inputs, once there is one.
    x: Option<Panels<f64>>,
    /// A copy of the other inputs, once there is one.
    z: Option<Panels<f64>>,
    /// A buffer for rows of weights, in the order in which they are drawn.
    drawn: Vec<f64>,
}

impl NetworkWorker {
    fn new(ensemble: &Ensemble<'_>) -> Result<Self> {
        let network = ensemble.network;
        Ok(Self {
            network: network.unwritten(ensemble.sizes, ensemble.weight_scales)?,
            x: None,
            z: None,
            drawn: Vec::new(),
        })
    }

    /// Draws the network of a seed and computes its kernel, all on this thread. The first call makes the worker.
    fn run_seed(
        worker: &mut Option<Self>,
        ensemble: &Ensemble<'_>,
        seed: u64,
        kernel: &mut Array5<f64>,
        stop: &Stop,
    ) -> Result<()> {
        pool::serially(|| {
            let worker = match worker {
                Some(worker) => worker,
                None => worker.insert(Self::new(ensemble)?),
            };
            worker.draw(Normal::new(seed, ensemble.x.all().isa()), stop);
            let watch = &mut |_, _| {
                if stop.requested() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            };
            worker.run(ensemble, kernel, watch)
        })
    }

    /// Computes the kernel of the network.
    fn run(
        &mut self,
        ensemble: &Ensemble<'_>,
        kernel: &mut Array5<f64>,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let (network, outputs) = (&self.network, ensemble.outputs);
        let x = take_or_copy(&mut self.x, ensemble.x, watch)?;
        let rows = Linearized::new(network, x, outputs, watch)?;
        let cols = match ensemble.z {
            Some(z) => {
                let z = take_or_copy(&mut self.z, z, watch)?;
                Some(Linearized::new(network, z, outputs, watch)?)
            }
            None => None,
        };
        let other = cols.as_ref().unwrap_or(&rows);
        let tiles = Empirical::new(network, &rows, other, outputs, false, watch)?;
        let planes = kernel.outer_iter_mut().collect();
        match &cols {
            Some(_) => gram::rectangular(&tiles, planes, watch)?,
            None => gram::symmetric(&tiles, planes, watch)?,
        }
        self.x = Some(rows.into_inputs());
        self.z = cols.map(Linearized::into_inputs);
        Ok(())
    }

    /// Draws all parameters, in the order of θ. When a stop is requested, the remaining ones are left as they are.
    fn draw(&mut self, mut normal: Normal, stop: &Stop) {
        for (index, layer) in self.network.layers.iter_mut().enumerate() {
            let (inputs, outputs) = (layer.inputs(), layer.outputs());
            let mut rows = layer.rows.chunks_mut(1);
            for first in (0..inputs).step_by(LANES) {
                let count = LANES.min(inputs - first);
                self.drawn.resize(count * outputs, 0.0);
                normal.fill(&mut self.drawn);
                for (panel, lines) in layer.columns.chunks_mut(1).enumerate() {
                    // The first network writes to fresh pages. For wide layers that takes half a second.
                    if stop.requested() {
                        return;
                    }
                    let lines = lines[first..].iter_mut();
                    for (line, row) in lines.zip(self.drawn.chunks(outputs)) {
                        let (whole, rest) = row.as_chunks::<LANES>();
                        match whole.get(panel) {
                            Some(values) => line.lanes_mut().copy_from_slice(values),
                            None => line.lanes_mut()[..rest.len()].copy_from_slice(rest),
                        }
                    }
                }
                // No backward pass reaches the inputs, so the first layer has no rows.
                if let Some(lines) = rows.next().filter(|_| index > 0) {
                    let columns = layer.columns.all();
                    let drawn = columns.panels().map(|panel| &panel[first..first + count]);
                    transpose::<f64>(drawn.zip(lines.chunks_mut(LANES)), columns.isa());
                }
            }
            normal.fill(&mut layer.bias);
        }
    }
}

/// Takes the copy that a worker has, or makes the first one.
fn take_or_copy(
    copy: &mut Option<Panels<f64>>,
    inputs: &Panels<f64>,
    watch: &mut Watch<'_>,
) -> Result<Panels<f64>> {
    copy.take().map_or_else(|| inputs.duplicate(watch), Ok)
}

const LANES: usize = Panels::<f64>::LANES;

/// The number of entries that are added between two looks at whether to stop.
const CHECKED: usize = 1 << 16;

/// Running moments, and the kernels that were computed before their turn.
struct RunningMoments<'a> {
    mean: &'a mut [f64],
    /// Sums of squared deviations from the mean.
    squares: &'a mut [f64],
    /// The number of kernels in the moments: the index of the next one.
    count: usize,
    /// Kernels by their index.
    waiting: BTreeMap<usize, Array5<f64>>,
    /// Memory of kernels that have entered the moments.
    free: Vec<Array5<f64>>,
    /// The error of a seed, which ends the call.
    failure: Option<Error>,
}

impl RunningMoments<'_> {
    /// Returns memory for one more kernel.
    fn buffer(&mut self, shape: [usize; 5]) -> Array5<f64> {
        self.free.pop().unwrap_or_else(|| Array5::zeros(shape))
    }

    /// Adds kernel `index`, and those that waited for it, in the order of their indices. When a stop is requested, the
    /// moments are left as they are.
    fn add(&mut self, index: usize, kernel: Array5<f64>, stop: &Stop) {
        self.waiting.insert(index, kernel);
        while let Some(kernel) = self.waiting.remove(&self.count) {
            self.count += 1;
            let count = self.count as f64;
            let moments = self.mean.iter_mut().zip(&mut *self.squares);
            for (entry, ((mean, square), value)) in moments.zip(&kernel).enumerate() {
                if entry % CHECKED == 0 && stop.requested() {
                    return;
                }
                let difference = value - *mean;
                *mean += difference / count;
                *square += difference * (value - *mean);
            }
            self.free.push(kernel);
        }
    }

    /// Turns the sums of squares into variances.
    fn finish(self, watch: &mut Watch<'_>) -> Result<()> {
        if let Some(error) = self.failure {
            return Err(error);
        }
        let degrees = (self.count.max(2) - 1) as f64;
        let divide = |values: &mut [f64]| values.iter_mut().for_each(|value| *value /= degrees);
        pool::for_each_chunk(self.squares, 1.0, watch, divide)
    }
}
