//! Derivatives of kernels of infinitely wide networks.

use ndarray::ArrayView2;
use ntkrs_core::Result;
use ntkrs_core::engine::inner_product::inner_products;
use ntkrs_core::engine::scalar::Scalar;
use ntkrs_core::infinite::gradient::{DifferentiatedInputs, KernelGradient};
use ntkrs_core::infinite::recursion::{Output, TiedScales};
use numpy::Element;
use pyo3::prelude::*;

use crate::arrays::{self, Batches, views};
use crate::gram::fill;
use crate::infinite::{Bounds, InfiniteKernel, bound};
use crate::ticker::Ticker;

/// What is to be differentiated: kernels of the whole network, and whether the learning scales of each layer follow its
/// σ_w and σ_b.
pub struct Wanted {
    outputs: Vec<Output>,
    follows: Vec<TiedScales>,
}

impl Wanted {
    pub fn new(
        kernel: &InfiniteKernel,
        names: Vec<String>,
        follows: Vec<(bool, bool)>,
    ) -> Result<Self> {
        let last = follows.len() - 1;
        let outputs = names.into_iter().map(|name| kernel.output(&(name, last)));
        let follows = follows.into_iter();
        Ok(Self {
            outputs: outputs.collect::<Result<_>>()?,
            follows: follows
                .map(|(weights, biases)| TiedScales { weights, biases })
                .collect(),
        })
    }
}

impl InfiniteKernel {
    /// Calls `then` with the kernel of derivatives, detached. Returns the bounds of [`InfiniteKernel::error_bound`] too.
    fn differentiated<T: Scalar + Element, R: Send>(
        &self,
        py: Python<'_>,
        batches: Batches<'_, T>,
        wanted: &Wanted,
        ticker: &mut Ticker,
        then: impl FnOnce(&KernelGradient<'_, T>, bool, &mut Ticker) -> Result<R> + Send,
    ) -> PyResult<(R, Bounds)> {
        let (rows, other) = self.pack(py, batches)?;
        let bound = bound(&rows, &other);
        let result = py.detach(|| {
            let rows = DifferentiatedInputs::new(&self.recursion, rows)?;
            let other = other
                .map(|other| DifferentiatedInputs::new(&self.recursion, other))
                .transpose()?;
            let cols = other.as_ref().unwrap_or(&rows);
            let Wanted { outputs, follows } = wanted;
            let kernel = KernelGradient::new(&self.recursion, &rows, cols, outputs, follows)?;
            then(&kernel, other.is_none(), ticker).map(|result| (result, bound))
        });
        result.map_err(|error| ticker.exception(error))
    }

    pub fn fill_gradient<T: Scalar + Element>(
        &self,
        py: Python<'_>,
        (x, z, mut planes): arrays::Gram<'_, T>,
        wanted: &Wanted,
        mut ticker: Ticker,
    ) -> PyResult<Bounds> {
        let planes = views(&mut planes);
        let filled = self.differentiated(
            py,
            (x, z),
            wanted,
            &mut ticker,
            |kernel, symmetric, ticker| fill(kernel, planes, symmetric, ticker),
        );
        filled.map(|((), bound)| bound)
    }

    pub fn contract_gradient<T: Scalar + Element>(
        &self,
        py: Python<'_>,
        batches: Batches<'_, T>,
        weights: ArrayView2<'_, f64>,
        wanted: &Wanted,
        mut ticker: Ticker,
    ) -> PyResult<(Vec<f64>, Bounds)> {
        let weights = weights.to_owned();
        self.differentiated(
            py,
            batches,
            wanted,
            &mut ticker,
            |kernel, symmetric, ticker| {
                let mut watch = |done, total| ticker.report(done, total);
                inner_products(kernel, symmetric, weights.view(), &mut watch)
            },
        )
    }
}
