//! Mean and variance of the empirical NTK over random initialisations, none of whose kernels is kept.
//!
//! Parallel over seeds; each network runs on one thread. Kernels enter the moments in the order of their seeds
//! (Welford 1962), whatever the order in which they are done, so that no number of threads changes a bit.

use std::collections::BTreeMap;
use std::iter;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use ndarray::Array5;

use crate::engine::gram;
use crate::engine::panel::{Panels, transpose};
use crate::engine::pool::{self, Load, Stop, Watch};
use crate::engine::scalar::Line;
use crate::error::{Error, Result};
use crate::finite::empirical::{Empirical, Linearized, Outputs};
use crate::finite::network::Network;
use crate::random::Normal;

/// A family of networks and where their kernels are taken.
#[derive(Debug)]
pub struct Ensemble<'a> {
    /// A network of the architecture's activations and biases; its sizes and parameters do not matter.
    pub network: &'a Network<f64>,
    /// n_0 … n_L.
    pub sizes: &'a [usize],
    /// σ_w/√n_l of each layer.
    pub weight_scales: &'a [f64],
    /// Inputs (N, n_0).
    pub x: &'a Panels<f64>,
    /// Other inputs (M, n_0), if the kernel is between two batches.
    pub z: Option<&'a Panels<f64>>,
    /// Which outputs.
    pub outputs: Outputs,
}

/// Writes the mean and the sample variance of Θ over the networks whose parameters are the standard normal numbers of
/// each seed. `shape` is that of the kernel as [`gram`] writes it, planes first: (planes, N, S, M, S).
///
/// # Errors
/// [`Error::Shape`] if an array has another length, and those of [`Linearized::new`] and [`gram::symmetric`].
pub fn moments(
    ensemble: &Ensemble<'_>,
    shape: [usize; 5],
    seeds: &[u64],
    mean: &mut [f64],
    variance: &mut [f64],
    watch: &mut Watch<'_>,
) -> Result<()> {
    let length = shape.iter().product();
    for array in [&*mean, &*variance] {
        Error::check_shape("out", &[array.len()], &[length])?;
    }
    let depth = ensemble.network.depth();
    Error::check_shape("sizes", &[ensemble.sizes.len()], &[depth + 1])?;
    Error::check_shape("weight_scales", &[ensemble.weight_scales.len()], &[depth])?;
    if ensemble.sizes.contains(&0) {
        let message = format!(
            "sizes is {:?}, but every layer must have units",
            ensemble.sizes
        );
        return Err(Error::Invalid(message));
    }
    mean.fill(0.0);
    variance.fill(0.0);
    let sums = Mutex::new(RunningMoments {
        mean,
        squares: variance,
        count: 0,
        waiting: BTreeMap::new(),
        free: Vec::new(),
        failure: None,
    });
    let isa = ensemble.x.all().isa();
    let lock = || sums.lock().unwrap_or_else(PoisonError::into_inner);
    if ensemble.network.has_callable() {
        one_by_one(ensemble, shape, seeds, &mut lock(), watch)?;
        return finish(sums);
    }
    let work = |worker: &mut Option<NetworkWorker>, (index, seed): (usize, &u64), stop: &Stop| {
        let (failed, mut kernel) = {
            let mut sums = lock();
            (sums.failure.is_some(), sums.buffer(shape))
        };
        if failed {
            return;
        }
        let result = pool::serially(|| {
            let worker = match worker {
                Some(worker) => worker,
                None => worker.insert(NetworkWorker::new(ensemble)?),
            };
            worker.draw(Normal::new(*seed, isa), stop);
            let watch = &mut |_, _| {
                if stop.requested() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            };
            worker.run(ensemble, &mut kernel, watch)
        });
        match result {
            Ok(()) => lock().add(index, kernel),
            Err(error) => lock().failure = Some(error),
        }
    };
    let load = Load::new(seeds.len(), f64::INFINITY);
    pool::for_each(seeds.iter().enumerate(), load, watch, || None, work)?;
    finish(sums)
}

/// The kernels of networks whose functions only this thread may call: one after another, each on all threads.
fn one_by_one(
    ensemble: &Ensemble<'_>,
    shape: [usize; 5],
    seeds: &[u64],
    sums: &mut RunningMoments<'_>,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let mut worker = NetworkWorker::new(ensemble)?;
    let isa = ensemble.x.all().isa();
    for (index, seed) in seeds.iter().enumerate() {
        let mut part = |_, _| watch(index, seeds.len());
        let draws = iter::once((&mut worker, Normal::new(*seed, isa)));
        let draw = |(): &mut (), (worker, normal): (&mut NetworkWorker, Normal), stop: &Stop| {
            worker.draw(normal, stop);
        };
        let load = Load::new(1, f64::INFINITY);
        pool::for_each(draws, load, &mut part, || (), draw)?;
        let mut kernel = sums.buffer(shape);
        worker.run(ensemble, &mut kernel, &mut part)?;
        sums.add(index, kernel);
    }
    match watch(seeds.len(), seeds.len()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Cancelled),
    }
}

/// From sums of squares to variances.
fn finish(sums: Mutex<RunningMoments<'_>>) -> Result<()> {
    let sums = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = sums.failure {
        return Err(error);
    }
    let degrees = (sums.count.max(2) - 1) as f64;
    sums.squares.iter_mut().for_each(|value| *value /= degrees);
    Ok(())
}

/// A network and inputs that a worker keeps from seed to seed.
struct NetworkWorker {
    network: Network<f64>,
    /// Copies of the inputs, once there are any.
    x: Option<Panels<f64>>,
    z: Option<Panels<f64>>,
    /// Rows of weights, as they are drawn.
    drawn: Vec<f64>,
}

impl NetworkWorker {
    fn new(ensemble: &Ensemble<'_>) -> Result<Self> {
        Ok(Self {
            network: ensemble
                .network
                .unwritten(ensemble.sizes, ensemble.weight_scales)?,
            x: None,
            z: None,
            drawn: Vec::new(),
        })
    }

    /// Writes the kernel of the network.
    fn run(
        &mut self,
        ensemble: &Ensemble<'_>,
        kernel: &mut Array5<f64>,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let (network, outputs) = (&self.network, ensemble.outputs);
        let x = own(&mut self.x, ensemble.x)?;
        let rows = Linearized::new(network, x, outputs, watch)?;
        let cols = match ensemble.z {
            Some(z) => Some(Linearized::new(
                network,
                own(&mut self.z, z)?,
                outputs,
                watch,
            )?),
            None => None,
        };
        let tiles = Empirical::new(
            network,
            &rows,
            cols.as_ref().unwrap_or(&rows),
            outputs,
            false,
        );
        let planes = kernel.outer_iter_mut().collect();
        match &cols {
            Some(_) => gram::rectangular(&tiles, planes, watch)?,
            None => gram::symmetric(&tiles, planes, watch)?,
        }
        self.x = Some(rows.into_inputs());
        self.z = cols.map(Linearized::into_inputs);
        Ok(())
    }

    /// Draws all parameters, in the order of θ; those that are left when a stop is requested stay as they are.
    fn draw(&mut self, mut normal: Normal, stop: &Stop) {
        for (index, layer) in self.network.layers.iter_mut().enumerate() {
            let (inputs, outputs) = (layer.inputs(), layer.outputs());
            let mut rows = layer.rows.chunks_mut(1);
            for first in (0..inputs).step_by(LANES) {
                let count = LANES.min(inputs - first);
                self.drawn.resize(count * outputs, 0.0);
                normal.fill(&mut self.drawn);
                for (panel, lines) in layer.columns.chunks_mut(1).enumerate() {
                    // In a network's first pass these may be fresh pages: of wide layers, half a second of them.
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
                // No backward pass comes to the inputs.
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

/// The copy that a worker has, or a first one.
fn own(copy: &mut Option<Panels<f64>>, inputs: &Panels<f64>) -> Result<Panels<f64>> {
    copy.take().map_or_else(|| inputs.duplicate(), Ok)
}

const LANES: usize = Panels::<f64>::LANES;

/// Running moments, and the kernels that came before their turn.
struct RunningMoments<'a> {
    mean: &'a mut [f64],
    squares: &'a mut [f64],
    count: usize,
    waiting: BTreeMap<usize, Array5<f64>>,
    /// Memory of kernels that are done with.
    free: Vec<Array5<f64>>,
    failure: Option<Error>,
}

impl RunningMoments<'_> {
    /// Memory for one more kernel.
    fn buffer(&mut self, shape: [usize; 5]) -> Array5<f64> {
        self.free.pop().unwrap_or_else(|| Array5::zeros(shape))
    }

    fn add(&mut self, index: usize, kernel: Array5<f64>) {
        self.waiting.insert(index, kernel);
        while let Some(kernel) = self.waiting.remove(&self.count) {
            self.count += 1;
            let count = self.count as f64;
            let moments = self.mean.iter_mut().zip(&mut *self.squares);
            for ((mean, square), value) in moments.zip(&kernel) {
                let difference = value - *mean;
                *mean += difference / count;
                *square += difference * (value - *mean);
            }
            self.free.push(kernel);
        }
    }
}
