//! Products of a network's Jacobian with vectors.

use ndarray::Axis;
use ntkrs_core::Error;
use ntkrs_core::engine::pool::{Stages, Watch};
use ntkrs_core::engine::scalar::Scalar;
use ntkrs_core::finite::loss::Loss;
use ntkrs_core::finite::network::Network as CoreNetwork;
use ntkrs_core::finite::vector_products;
use numpy::Element;
use pyo3::prelude::*;

use crate::arrays::{Jvp, LossGradient, Vjp, copied};
use crate::call::{Call, watched};
use crate::errors::Result;

/// Writes J v of K vectors (K, P) to `out` (K, N, O).
///
/// # Errors
/// If an array has another shape or is not finite, or a value exceeds its dtype; if the call is cancelled.
pub fn jvp<T: Scalar + Element>(
    py: Python<'_>,
    net: &CoreNetwork<T>,
    (x, v, mut out): Jvp<'_, T>,
) -> Result<()> {
    let mut call = Call::enter(py, None);
    let x = call.read(|watch| net.pack(x.as_array(), "X", watch))?;
    // A copy in C order, since other threads may write to the array during the call.
    let v = call.read(|watch| copied(v.as_array(), watch))?;
    let out = out.as_array_mut();
    let (passes, packed) = (1.0 + 2.0 * v.nrows() as f64, v.len() as f64);
    let shares = [packed, passes * x.rows() as f64 * net.parameters() as f64];
    call.detach(watched(net.has_callable(), shares.iter().sum()), |watch| {
        let mut stages = Stages::new(watch, &shares);
        let pack = |watch: &mut Watch<'_>| {
            let rows = v.as_slice().unwrap_or_default().chunks(net.parameters());
            let tangents = rows.map(|v| net.with_parameters(v, watch));
            tangents.collect::<ntkrs_core::Result<Vec<_>>>()
        };
        let tangents = stages.next(pack)?;
        stages.next(|watch| vector_products::jvp(net, &tangents, &x, out, watch))
    })
}

/// Writes Jᵀ u of K vectors (K, N, O) to `out` (K, P).
///
/// # Errors
/// As [`jvp`].
pub fn vjp<T: Scalar + Element>(
    py: Python<'_>,
    net: &CoreNetwork<T>,
    (x, u, mut out): Vjp<'_, T>,
) -> Result<()> {
    let mut call = Call::enter(py, None);
    let x = call.read(|watch| net.pack(x.as_array(), "X", watch))?;
    // A copy, since other threads may write to the array during the call.
    let u = call.read(|watch| copied(u.as_array(), watch))?;
    let out = out.as_array_mut();
    let each = x.rows() as f64 * net.parameters() as f64;
    let cycles = watched(net.has_callable(), u.len_of(Axis(0)) as f64 * each);
    call.detach(cycles, |watch| {
        vector_products::vjp(net, x, u.view(), out, watch)
    })
}

/// Writes the gradient of a loss with respect to θ to `out`, (P,), for `arrays = (x, y, out)`.
///
/// # Errors
/// As [`jvp`].
pub fn loss_gradient<T: Scalar + Element>(
    py: Python<'_>,
    net: &CoreNetwork<T>,
    (x, y, mut out): LossGradient<'_, T>,
    loss: Loss,
) -> Result<()> {
    let mut call = Call::enter(py, None);
    let x = call.read(|watch| net.pack(x.as_array(), "X", watch))?;
    let y = call.read(|watch| copied(y.as_array(), watch))?;
    let out = out.as_slice_mut()?;
    let cycles = 3.0 * x.rows() as f64 * net.parameters() as f64;
    call.detach(watched(net.has_callable(), cycles), |watch| {
        vector_products::loss_gradient(net, x, (loss, y.view()), out, watch)
    })
}

/// Returns the loss of this name.
///
/// # Errors
/// [`Error::Invalid`] if the name is not known.
pub fn loss(name: &str) -> Result<Loss> {
    match name {
        "mse" => Ok(Loss::MeanSquare),
        "softmax_cross_entropy" => Ok(Loss::SoftmaxCrossEntropy),
        _ => Err(Error::Invalid(format!("loss {name:?} is not known")).into()),
    }
}
