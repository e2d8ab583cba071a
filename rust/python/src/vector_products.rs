//! Products of a network's Jacobian with vectors.

use ntkrs_core::engine::scalar::Scalar;
use ntkrs_core::finite::network::Network as CoreNetwork;
use ntkrs_core::finite::vector_products;
use numpy::Element;
use pyo3::prelude::*;

use crate::arrays::{Jvp, Vjp};
use crate::call::Call;
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
    let call = Call::enter(py, None);
    let x = net.pack(x.as_array(), "X")?;
    let v = v.as_array();
    let tangents = v.outer_iter().map(|v| net.with_parameters(&v.to_vec()));
    let tangents = tangents.collect::<ntkrs_core::Result<Vec<_>>>()?;
    let out = out.as_array_mut();
    call.detach(|ticker| vector_products::jvp(net, &tangents, &x, out, &mut ticker.signals()))
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
    let call = Call::enter(py, None);
    let x = net.pack(x.as_array(), "X")?;
    // A copy, since other threads may write to the array during the call.
    let (u, out) = (u.as_array().to_owned(), out.as_array_mut());
    call.detach(|ticker| vector_products::vjp(net, x, u.view(), out, &mut ticker.signals()))
}
