//! Training of finite networks.

use ntkrs_core::engine::scalar::Scalar;
use ntkrs_core::finite::network;
use ntkrs_core::finite::train::{self, Loss, Optimizer};
use ntkrs_core::isa::DefaultFloatEnv;
use ntkrs_core::{Error, Result};
use numpy::{Element, PyReadwriteArray1, PyReadwriteArray2};
use pyo3::prelude::*;

use crate::arrays::{Pair, Typed};
use crate::errors;
use crate::finite::{Network, other_dtype};
use crate::ticker::Ticker;

/// A network in training. After an exception it is of no more use.
#[pyclass(module = "ntkrs._core")]
pub struct Trainer(Typed<train::Trainer<f64>, train::Trainer<f32>>);

#[pymethods]
impl Trainer {
    /// For `arrays = (x, y)`, inputs (N, n_0) and targets (N, O), and `rule = (learning rate, momentum)`.
    #[new]
    fn new(
        py: Python<'_>,
        network: &Network,
        arrays: Typed<Pair<'_, f64>, Pair<'_, f32>>,
        loss: &str,
        rule: (f64, f64),
        centred: bool,
    ) -> PyResult<Self> {
        let rule = Optimizer {
            loss: parse(loss).map_err(errors::to_python)?,
            learning_rate: rule.0,
            momentum: rule.1,
        };
        let trainer = match (&network.0, arrays) {
            (Typed::F64(net), Typed::F64(arrays)) => {
                Typed::F64(build(py, net, &arrays, rule, centred)?)
            }
            (Typed::F32(net), Typed::F32(arrays)) => {
                Typed::F32(build(py, net, &arrays, rule, centred)?)
            }
            _ => return Err(other_dtype()),
        };
        Ok(Self(trainer))
    }

    /// Takes `steps` steps, which are those after `done` of `total`.
    fn advance(
        &mut self,
        py: Python<'_>,
        steps: usize,
        done: usize,
        total: usize,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let mut ticker = Ticker::new(progress);
        match &mut self.0 {
            Typed::F64(trainer) => {
                run(py, trainer, &mut ticker, (done, total), |trainer, watch| {
                    trainer.advance(steps, watch)
                })
            }
            Typed::F32(trainer) => {
                run(py, trainer, &mut ticker, (done, total), |trainer, watch| {
                    trainer.advance(steps, watch)
                })
            }
        }
    }

    /// The loss, and the distance of the parameters from where they started.
    fn state(&mut self, py: Python<'_>) -> PyResult<(f64, f64)> {
        let mut ticker = Ticker::new(None);
        match &mut self.0 {
            Typed::F64(trainer) => run(py, trainer, &mut ticker, (0, 1), |trainer, watch| {
                Ok((trainer.loss(watch)?, trainer.distance()))
            }),
            Typed::F32(trainer) => run(py, trainer, &mut ticker, (0, 1), |trainer, watch| {
                Ok((trainer.loss(watch)?, trainer.distance()))
            }),
        }
    }

    /// Writes the model's outputs to `out`, (N, O).
    fn outputs(
        &mut self,
        py: Python<'_>,
        out: Typed<PyReadwriteArray2<'_, f64>, PyReadwriteArray2<'_, f32>>,
    ) -> PyResult<()> {
        match (&mut self.0, out) {
            (Typed::F64(trainer), Typed::F64(out)) => write_outputs(py, trainer, out),
            (Typed::F32(trainer), Typed::F32(out)) => write_outputs(py, trainer, out),
            _ => Err(other_dtype()),
        }
    }

    /// Writes θ to `out`, (P,).
    fn parameters(
        &self,
        out: Typed<PyReadwriteArray1<'_, f64>, PyReadwriteArray1<'_, f32>>,
    ) -> PyResult<()> {
        let _floats = DefaultFloatEnv::enter();
        match (&self.0, out) {
            (Typed::F64(trainer), Typed::F64(mut out)) => trainer.parameters(out.as_slice_mut()?),
            (Typed::F32(trainer), Typed::F32(mut out)) => trainer.parameters(out.as_slice_mut()?),
            _ => return Err(other_dtype()),
        }
        .map_err(errors::to_python)
    }
}

fn parse(loss: &str) -> Result<Loss> {
    match loss {
        "mse" => Ok(Loss::MeanSquare),
        "softmax_cross_entropy" => Ok(Loss::SoftmaxCrossEntropy),
        _ => Err(Error::Invalid(format!("loss {loss:?} is not known"))),
    }
}

fn build<T: Scalar + Element>(
    py: Python<'_>,
    net: &network::Network<T>,
    (x, y): &Pair<'_, T>,
    rule: Optimizer,
    centred: bool,
) -> PyResult<train::Trainer<T>> {
    let _floats = DefaultFloatEnv::enter();
    let x = net.pack(x.as_array(), "X").map_err(errors::to_python)?;
    let y = y.as_array().to_owned();
    let mut ticker = Ticker::new(None);
    let result = py.detach(|| {
        let mut watch = |done, total| ticker.report(done, total);
        train::Trainer::new(net, x, y, rule, centred, &mut watch)
    });
    result.map_err(|error| ticker.exception(error))
}

/// Runs a part of the training, whose progress is that after the first of two numbers out of the second.
fn run<T: Scalar, R: Send>(
    py: Python<'_>,
    trainer: &mut train::Trainer<T>,
    ticker: &mut Ticker,
    (before, of): (usize, usize),
    part: impl FnOnce(&mut train::Trainer<T>, &mut ntkrs_core::engine::pool::Watch<'_>) -> Result<R>
    + Send,
) -> PyResult<R> {
    let _floats = DefaultFloatEnv::enter();
    let result = py.detach(|| part(trainer, &mut |done, _| ticker.report(before + done, of)));
    result.map_err(|error| ticker.exception(error))
}

fn write_outputs<T: Scalar + Element>(
    py: Python<'_>,
    trainer: &mut train::Trainer<T>,
    mut out: PyReadwriteArray2<'_, T>,
) -> PyResult<()> {
    let out = out.as_array_mut();
    let mut ticker = Ticker::new(None);
    run(py, trainer, &mut ticker, (0, 1), |trainer, watch| {
        trainer.outputs(out, watch)
    })
}
