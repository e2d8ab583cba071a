//! Training of finite networks: the class `Trainer`.

use ntkrs_core::Error;
use ntkrs_core::engine::scalar::Scalar;
use ntkrs_core::finite::network::Network as CoreNetwork;
use ntkrs_core::finite::train::{Examples, Loss, Optimizer, Trainer as CoreTrainer};
use ntkrs_core::isa::DefaultFloatEnv;
use numpy::Element;
use pyo3::prelude::*;

use crate::arrays::{MatrixMut, Samples, Typed, VectorMut};
use crate::call::Call;
use crate::errors::{Result, other_dtype};
use crate::network::Network;
use crate::ticker::Progress;

/// A network in training on `arrays = (x, y)`, inputs (N, n_0) and targets (N, O), with `rule = (learning rate, momentum)`.
/// If `centred`, the model is f − f_0. A trainer cannot be used again after an exception.
#[pyclass(module = "ntkrs._core")]
pub struct Trainer(Typed<CoreTrainer<f64>, CoreTrainer<f32>>);

#[pymethods]
impl Trainer {
    #[new]
    fn new(
        py: Python<'_>,
        network: &Network,
        arrays: Typed<Samples<'_, f64>, Samples<'_, f32>>,
        loss: &str,
        rule: (f64, f64),
        centred: bool,
    ) -> Result<Self> {
        let rule = Optimizer {
            loss: parse(loss)?,
            learning_rate: rule.0,
            momentum: rule.1,
        };
        Ok(Self(match (&network.0, arrays) {
            (Typed::F64(net), Typed::F64(arrays)) => {
                Typed::F64(build(py, net, arrays, rule, centred)?)
            }
            (Typed::F32(net), Typed::F32(arrays)) => {
                Typed::F32(build(py, net, arrays, rule, centred)?)
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
        match &mut self.0 {
            Typed::F64(trainer) => advance(py, trainer, steps, (done, total), progress),
            Typed::F32(trainer) => advance(py, trainer, steps, (done, total), progress),
        }
    }

    /// Returns the loss, and the distance of the parameters from their initial values.
    fn state(&mut self, py: Python<'_>) -> Result<(f64, f64)> {
        match &mut self.0 {
            Typed::F64(trainer) => state(py, trainer),
            Typed::F32(trainer) => state(py, trainer),
        }
    }

    /// Writes the model's outputs to `out` (N, O).
    fn outputs(
        &mut self,
        py: Python<'_>,
        out: Typed<MatrixMut<'_, f64>, MatrixMut<'_, f32>>,
    ) -> Result<()> {
        match (&mut self.0, out) {
            (Typed::F64(trainer), Typed::F64(out)) => outputs(py, trainer, out),
            (Typed::F32(trainer), Typed::F32(out)) => outputs(py, trainer, out),
            _ => Err(other_dtype()),
        }
    }

    /// Writes θ to `out` (P,).
    fn parameters(&self, out: Typed<VectorMut<'_, f64>, VectorMut<'_, f32>>) -> Result<()> {
        match (&self.0, out) {
            (Typed::F64(trainer), Typed::F64(out)) => parameters(trainer, out),
            (Typed::F32(trainer), Typed::F32(out)) => parameters(trainer, out),
            _ => Err(other_dtype()),
        }
    }
}

fn parse(loss: &str) -> Result<Loss> {
    match loss {
        "mse" => Ok(Loss::MeanSquare),
        "softmax_cross_entropy" => Ok(Loss::SoftmaxCrossEntropy),
        _ => Err(Error::Invalid(format!("loss {loss:?} is not known")).into()),
    }
}

fn build<T: Scalar + Element>(
    py: Python<'_>,
    net: &CoreNetwork<T>,
    (x, y): Samples<'_, T>,
    rule: Optimizer,
    centred: bool,
) -> Result<CoreTrainer<T>> {
    let call = Call::enter(py, None);
    let x = net.pack(x.as_array(), "X")?;
    let y = y.as_array().to_owned();
    call.detach(|ticker| {
        CoreTrainer::new(net, Examples { x, y }, rule, centred, &mut ticker.signals())
    })
}

fn advance<T: Scalar>(
    py: Python<'_>,
    trainer: &mut CoreTrainer<T>,
    steps: usize,
    (done, total): (usize, usize),
    progress: Progress,
) -> Result<()> {
    let call = Call::enter(py, progress);
    call.detach(|ticker| trainer.advance(steps, &mut ticker.progress_of_part(done, total)))
}

fn state<T: Scalar>(py: Python<'_>, trainer: &mut CoreTrainer<T>) -> Result<(f64, f64)> {
    let call = Call::enter(py, None);
    call.detach(|ticker| Ok((trainer.loss(&mut ticker.signals())?, trainer.distance())))
}

fn outputs<T: Scalar + Element>(
    py: Python<'_>,
    trainer: &mut CoreTrainer<T>,
    mut out: MatrixMut<'_, T>,
) -> Result<()> {
    let call = Call::enter(py, None);
    let out = out.as_array_mut();
    call.detach(|ticker| trainer.outputs(out, &mut ticker.signals()))
}

/// Writes θ. The call is not detached, because it only copies.
fn parameters<T: Scalar + Element>(
    trainer: &CoreTrainer<T>,
    mut out: VectorMut<'_, T>,
) -> Result<()> {
    let _floats = DefaultFloatEnv::enter();
    Ok(trainer.parameters(out.as_slice_mut()?)?)
}
