//! Training of finite networks: the class `Trainer`.

use ntkrs_core::engine::pool::fixed;
use ntkrs_core::engine::scalar::Scalar;
use ntkrs_core::finite::network::Network as CoreNetwork;
use ntkrs_core::finite::train::{Examples, Optimizer, Trainer as CoreTrainer};
use numpy::Element;
use pyo3::prelude::*;

use crate::arrays::{MatrixMut, Samples, Typed, VectorMut, copied, in_dtype};
use crate::call::Call;
use crate::errors::{Result, other_dtype};
use crate::network::Network;
use crate::ticker::Progress;
use crate::vector_products;

/// A network in training on `arrays = (x, y)`, inputs (N, n_0) and targets (N, O), with `rule = (learning rate, momentum)`.
/// If `centred`, the model is f − f_0. Progress counts `total` steps. A trainer cannot be used again after an exception.
#[pyclass(module = "ntkrs._core")]
pub struct Trainer(Typed<CoreTrainer<f64>, CoreTrainer<f32>>);

#[pymethods]
impl Trainer {
    #[new]
    #[expect(
        clippy::too_many_arguments,
        reason = "a binding takes what Python passes, one by one"
    )]
    fn new(
        py: Python<'_>,
        network: &Network,
        arrays: Typed<Samples<'_, f64>, Samples<'_, f32>>,
        loss: &str,
        rule: (f64, f64),
        centred: bool,
        total: usize,
        progress: Progress,
    ) -> Result<Self> {
        let call = Call::part(py, progress, 0, total);
        let rule = Optimizer {
            loss: vector_products::loss(loss)?,
            learning_rate: rule.0,
            momentum: rule.1,
        };
        Ok(Self(match (&network.0, arrays) {
            (Typed::F64(net), Typed::F64(arrays)) => {
                Typed::F64(build(call, net, arrays, rule, centred)?)
            }
            (Typed::F32(net), Typed::F32(arrays)) => {
                Typed::F32(build(call, net, arrays, rule, centred)?)
            }
            _ => return Err(other_dtype()),
        }))
    }

    /// Takes `steps` steps. Progress counts all `total` steps, `done` of which were taken before.
    fn advance(
        &mut self,
        py: Python<'_>,
        steps: usize,
        done: usize,
        total: usize,
        progress: Progress,
    ) -> Result<()> {
        in_dtype!(&mut self.0, |trainer| {
            advance(py, trainer, steps, (done, total), progress)
        })
    }

    /// Returns the loss, and the distance of the parameters from their initial values, after `done` of `total` steps.
    fn state(
        &mut self,
        py: Python<'_>,
        done: usize,
        total: usize,
        progress: Progress,
    ) -> Result<(f64, f64)> {
        let call = Call::part(py, progress, done, total);
        in_dtype!(&mut self.0, |trainer| state(call, trainer))
    }

    /// Returns the number of steps after which the gradient was exactly 0 in every step so far, biases of the read-out
    /// apart. None if the last one was not, or if no other parameter is trained.
    fn flat_since(&self) -> Option<usize> {
        in_dtype!(&self.0, |trainer| trainer.flat_since())
    }

    /// Writes the model's outputs to `out` (N, O).
    fn outputs(
        &mut self,
        py: Python<'_>,
        out: Typed<MatrixMut<'_, f64>, MatrixMut<'_, f32>>,
    ) -> Result<()> {
        in_dtype!((&mut self.0, out), |trainer, out| outputs(py, trainer, out))
    }

    /// Writes θ to `out` (P,).
    fn parameters(
        &self,
        py: Python<'_>,
        out: Typed<VectorMut<'_, f64>, VectorMut<'_, f32>>,
    ) -> Result<()> {
        in_dtype!((&self.0, out), |trainer, out| parameters(py, trainer, out))
    }
}

fn build<T: Scalar + Element>(
    mut call: Call<'_>,
    net: &CoreNetwork<T>,
    (x, y): Samples<'_, T>,
    rule: Optimizer,
    centred: bool,
) -> Result<CoreTrainer<T>> {
    let x = call.read(|watch| net.pack(x.as_array(), "X", watch))?;
    let y = call.read(|watch| copied(y.as_array(), watch))?;
    call.detach(0.0, |watch| {
        let watch = &mut fixed(0, 1, watch);
        CoreTrainer::new(net, Examples { x, y }, rule, centred, watch)
    })
}

fn advance<T: Scalar>(
    py: Python<'_>,
    trainer: &mut CoreTrainer<T>,
    steps: usize,
    (done, total): (usize, usize),
    progress: Progress,
) -> Result<()> {
    let call = Call::part(py, progress, done, total);
    call.detach(0.0, |watch| trainer.advance(steps, watch))
}

fn state<T: Scalar>(call: Call<'_>, trainer: &mut CoreTrainer<T>) -> Result<(f64, f64)> {
    call.detach(0.0, |watch| {
        let watch = &mut fixed(0, 1, watch);
        Ok((trainer.loss(watch)?, trainer.distance(watch)?))
    })
}

fn outputs<T: Scalar + Element>(
    py: Python<'_>,
    trainer: &mut CoreTrainer<T>,
    mut out: MatrixMut<'_, T>,
) -> Result<()> {
    let call = Call::enter(py, None);
    let out = out.as_array_mut();
    call.detach(0.0, |watch| trainer.outputs(out, watch))
}

fn parameters<T: Scalar + Element>(
    py: Python<'_>,
    trainer: &CoreTrainer<T>,
    mut out: VectorMut<'_, T>,
) -> Result<()> {
    let call = Call::enter(py, None);
    let out = out.as_slice_mut()?;
    call.detach(0.0, |watch| trainer.parameters(out, watch))
}
