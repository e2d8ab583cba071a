//! Mean and variance of the empirical NTK over random initialisations, none of whose kernels is kept.
//!
//! Parallel over seeds; each network runs on one thread. Kernels enter the moments in the order of their seeds
//! (Welford 1962), whatever the order in which they are done, so that no number of threads changes a bit.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use ndarray::{Array5, ArrayViewMut4};

use crate::empirical::{Empirical, Features, Outputs};
use crate::error::{Error, Result};
use crate::gram;
use crate::network::Network;
use crate::panel::Panels;
use crate::pool::{self, Stop, Watch};
use crate::random::Normal;

/// A family of networks and where their kernels are taken.
#[derive(Debug)]
pub struct Ensemble<'a> {
    /// A network of the architecture; its parameters do not matter.
    pub network: &'a Network<f64>,
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
/// [`Error::Shape`] if an array has another length, and those of [`Features::new`] and [`gram::symmetric`].
pub fn moments(
    ensemble: &Ensemble<'_>,
    shape: [usize; 5],
    seeds: &[u64],
    mean: &mut [f64],
    variance: &mut [f64],
    watch: &mut Watch<'_>,
) -> Result<()> {
    let expected = shape.iter().product::<usize>();
    for array in [&*mean, &*variance] {
        if array.len() != expected {
            let (argument, got) = ("out".into(), vec![array.len()]);
            let expected = shape.to_vec();
            return Err(Error::Shape {
                argument,
                got,
                expected,
            });
        }
    }
    mean.fill(0.0);
    variance.fill(0.0);
    let sums = Mutex::new(Sums {
        mean,
        squares: variance,
        count: 0,
        waiting: BTreeMap::new(),
        failure: None,
    });
    let lock = || sums.lock().unwrap_or_else(PoisonError::into_inner);
    if ensemble.network.calls() {
        one_by_one(ensemble, shape, seeds, &mut lock(), watch)?;
        return finish(sums);
    }
    let work = |theta: &mut Vec<f64>, (index, seed): (usize, &u64), stop: &Stop| {
        if lock().failure.is_some() {
            return;
        }
        let watch = &mut |_, _| {
            if stop.requested() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        theta.resize(ensemble.network.parameters(), 0.0);
        Normal::new(*seed).fill(theta);
        let kernel = pool::alone(|| ensemble.kernel(theta, shape, watch));
        match kernel {
            Ok(kernel) => lock().add(index, kernel),
            Err(error) => lock().failure = Some(error),
        }
    };
    let items = seeds.iter().enumerate();
    pool::for_each(items, seeds.len(), watch, Vec::new, work)?;
    finish(sums)
}

/// The kernels of networks whose functions only this thread may call: one after another, each on all threads.
fn one_by_one(
    ensemble: &Ensemble<'_>,
    shape: [usize; 5],
    seeds: &[u64],
    sums: &mut Sums<'_>,
    watch: &mut Watch<'_>,
) -> Result<()> {
    let mut theta = vec![0.0; ensemble.network.parameters()];
    for (index, seed) in seeds.iter().enumerate() {
        Normal::new(*seed).fill(&mut theta);
        let mut part = |_, _| watch(index, seeds.len());
        sums.add(index, ensemble.kernel(&theta, shape, &mut part)?);
    }
    match watch(seeds.len(), seeds.len()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Cancelled),
    }
}

/// From sums of squares to variances.
fn finish(sums: Mutex<Sums<'_>>) -> Result<()> {
    let sums = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = sums.failure {
        return Err(error);
    }
    let degrees = (sums.count.max(2) - 1) as f64;
    sums.squares.iter_mut().for_each(|value| *value /= degrees);
    Ok(())
}

impl Ensemble<'_> {
    fn kernel(
        &self,
        theta: &[f64],
        shape: [usize; 5],
        watch: &mut Watch<'_>,
    ) -> Result<Array5<f64>> {
        let network = self.network.with_parameters(theta)?;
        let rows = Features::new(&network, self.x.duplicate()?, self.outputs, watch)?;
        let cols = match self.z {
            Some(z) => Some(Features::new(
                &network,
                z.duplicate()?,
                self.outputs,
                watch,
            )?),
            None => None,
        };
        let kernel = Empirical::new(
            &network,
            &rows,
            cols.as_ref().unwrap_or(&rows),
            self.outputs,
            false,
        );
        let mut values = Array5::zeros(shape);
        let planes: Vec<ArrayViewMut4<'_, f64>> = values.outer_iter_mut().collect();
        match &cols {
            Some(_) => gram::rectangular(&kernel, planes, watch)?,
            None => gram::symmetric(&kernel, planes, watch)?,
        }
        Ok(values)
    }
}

/// Running moments, and the kernels that came before their turn.
struct Sums<'a> {
    mean: &'a mut [f64],
    squares: &'a mut [f64],
    count: usize,
    waiting: BTreeMap<usize, Array5<f64>>,
    failure: Option<Error>,
}

impl Sums<'_> {
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
        }
    }
}
