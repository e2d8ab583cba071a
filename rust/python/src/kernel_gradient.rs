//! Derivatives of infinite-width kernels with respect to σ_w and σ_b of every dense layer.

use ntkrs_core::engine::inner_product::inner_products;
use ntkrs_core::engine::pool::{Stages, Watch};
use ntkrs_core::engine::scalar::Scalar;
use ntkrs_core::infinite::gradient::{DifferentiatedInputs, KernelGradient};
use ntkrs_core::infinite::recursion::{Output, Recursion, TiedScales};
use numpy::{Element, PyArray1};
use pyo3::prelude::*;

use crate::arrays::{Matrix, copied, views};
use crate::call::Call;
use crate::errors::Result;
use crate::gram::fill;
use crate::kernel_arguments::{
    Bounds, KernelBatches, KernelGram, KernelInputs, Snapshot, call_cycles, output,
};
use crate::ticker::Progress;

/// The derivatives wanted.
pub struct Derivatives {
    outputs: Vec<Output>,
    tied: Vec<TiedScales>,
}

impl Derivatives {
    /// Returns the derivatives of the kernels `names`, "nngp" or "ntk" of the whole network. `tied` says for each dense
    /// layer whether τ_w equals σ_w and changes with it, and whether τ_b does so with σ_b.
    ///
    /// # Errors
    /// As [`output`].
    pub fn parse(
        recursion: &Recursion,
        names: Vec<String>,
        tied: Vec<(bool, bool)>,
    ) -> Result<Self> {
        let last = recursion.layers() - 1;
        let names = names.into_iter();
        let outputs = names.map(|name| output(recursion, &(name, last)));
        let tied = tied.into_iter();
        let tied = tied.map(|(weights, biases)| TiedScales { weights, biases });
        Ok(Self {
            outputs: outputs.collect::<ntkrs_core::Result<_>>()?,
            tied: tied.collect(),
        })
    }
}

/// Writes the derivatives of each kernel to planes (N, 1, M, 1).
///
/// # Errors
/// If X and Z differ in their number of features or are not finite; if the call is cancelled.
pub fn gradient<T: Scalar + Element>(
    py: Python<'_>,
    recursion: &Recursion,
    (x, z, mut planes): KernelGram<'_, T>,
    wanted: &Derivatives,
    progress: Progress,
) -> Result<Bounds> {
    let mut call = Call::enter(py, progress);
    let snapshot = Snapshot::of((x, z), recursion, &mut call)?;
    let planes = views(&mut planes);
    let shares = gradient_cycles(&snapshot, recursion);
    call.detach(call_cycles(recursion, &shares), |watch| {
        let mut stages = Stages::new(watch, &shares);
        let inputs = stages.next(|watch| snapshot.prepare(recursion, watch))?;
        let (bounds, symmetric) = (inputs.bounds()?, inputs.symmetric());
        let inputs = stages.next(|watch| Differentiated::new(recursion, inputs, watch))?;
        let kernel = inputs.kernel(recursion, wanted)?;
        stages.next(|watch| fill(&kernel, planes, symmetric, watch))?;
        Ok(bounds)
    })
}

/// Returns the sums of the derivatives of each kernel over all its entries, with these weights (N, M).
///
/// # Errors
/// As [`gradient`]; also if `weights` has another shape, or a sum is not finite.
pub fn contracted<'py, T: Scalar + Element>(
    py: Python<'py>,
    recursion: &Recursion,
    inputs: KernelBatches<'_, T>,
    weights: &Matrix<'_, f64>,
    wanted: &Derivatives,
    progress: Progress,
) -> Result<(Bound<'py, PyArray1<f64>>, Bounds)> {
    let mut call = Call::enter(py, progress);
    let snapshot = Snapshot::of(inputs, recursion, &mut call)?;
    let weights = call.read(|watch| copied(weights.as_array(), watch))?;
    let shares = gradient_cycles(&snapshot, recursion);
    let (sums, bounds) = call.detach(call_cycles(recursion, &shares), |watch| {
        let mut stages = Stages::new(watch, &shares);
        let inputs = stages.next(|watch| snapshot.prepare(recursion, watch))?;
        let (bounds, symmetric) = (inputs.bounds()?, inputs.symmetric());
        let inputs = stages.next(|watch| Differentiated::new(recursion, inputs, watch))?;
        let (kernel, weights) = (inputs.kernel(recursion, wanted)?, weights.view());
        let sums = stages.next(|watch| inner_products(&kernel, symmetric, weights, watch))?;
        Ok((sums, bounds))
    })?;
    Ok((PyArray1::from_vec(py, sums), bounds))
}

/// Returns the estimated cycles of the inputs, of their derivatives, and of those of the kernel.
fn gradient_cycles<T: Scalar + Element>(snapshot: &Snapshot<T>, recursion: &Recursion) -> [f64; 3] {
    let [inputs, kernel] = snapshot.cycles(recursion);
    [inputs, 3.0 * inputs, 5.0 * kernel]
}

/// The inputs of a kernel, with the derivatives of the recursion along its diagonal.
struct Differentiated<T: Scalar> {
    rows: DifferentiatedInputs<T>,
    other: Option<DifferentiatedInputs<T>>,
}

impl<T: Scalar> Differentiated<T> {
    fn new(
        recursion: &Recursion,
        inputs: KernelInputs<T>,
        watch: &mut Watch<'_>,
    ) -> ntkrs_core::Result<Self> {
        let other = inputs.other.as_ref().map_or(0, |z| z.len());
        let shares = [inputs.rows.len() as f64, other as f64];
        let mut stages = Stages::new(watch, &shares);
        let mut differentiate =
            |inputs| stages.next(|watch| DifferentiatedInputs::new(recursion, inputs, watch));
        let rows = differentiate(inputs.rows)?;
        let other = inputs.other.map(differentiate).transpose()?;
        Ok(Self { rows, other })
    }

    fn kernel<'a>(
        &'a self,
        recursion: &'a Recursion,
        Derivatives { outputs, tied }: &'a Derivatives,
    ) -> ntkrs_core::Result<KernelGradient<'a, T>> {
        let cols = self.other.as_ref().unwrap_or(&self.rows);
        KernelGradient::new(recursion, &self.rows, cols, outputs, tied)
    }
}
