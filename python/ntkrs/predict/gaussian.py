"""The covariance of an affine function of a Gaussian process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ntkrs._checks.scaling import exponent_of, ldexp, scaled
from ntkrs.errors import IndefiniteKernelError
from ntkrs.predict.prediction import Prediction, Variances
from ntkrs.solvers.round_off import ROUND_OFF

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ntkrs._typing import Array

#: Kernels of larger or smaller exponents are multiplied in float64, where float32 might overflow.
_FLOAT32_EXPONENT = 60

#: The name of :class:`Prediction` in earlier versions.
Gaussian = Prediction


def covariance(
    prior: NDArray[np.float64],
    weights: NDArray[np.float64],
    inner: NDArray[np.floating],
    cross: NDArray[np.float64],
    eps: float,
) -> tuple[NDArray[np.float64], Variances]:
    """Return the covariance of ``f(x) − B f(X)`` for f ~ GP(0, Σ), with the training points in a basis V.

    ::

        Σ_tt + W G Wᵀ − W Hᵀ − H Wᵀ,    B = W Vᵀ,  G = VᵀΣ_XX V,  H = Σ_tX V

    Parameters
    ----------
    prior : (M, M) or (M,) ndarray
        Σ_tt, or its diagonal. The result has the same shape.
    weights : (M, n) ndarray
        W.
    inner : (n, n) ndarray
        G.
    cross : (M, n) ndarray
        H.
    eps : float
        ε of the kernels.

    Raises
    ------
    ntkrs.IndefiniteKernelError
        If a variance is negative by more than 32 ε times the size of the terms that it is the sum of.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.predict.gaussian import covariance
    >>> one = np.eye(1)
    >>> covariance(one, 0.5 * one, one, one, 2e-16)[0]  # f − f/2 has a quarter of the variance of f
    array([[0.25]])
    """
    spread = _product(weights, inner)
    if prior.ndim == 1:
        result = prior + _row_products(spread, weights) - 2 * _row_products(weights, cross)
    else:
        mixed = weights @ cross.T
        result = prior + spread @ weights.T - mixed - mixed.T
    trace = float(np.trace(inner, dtype=np.float64))
    return settled(result, prior, trace, lambda rows: norms(weights[rows]), eps)


def posterior(
    prior: NDArray[np.float64],
    half: NDArray[np.float64],
    trace: float,
    lengths: Callable[[NDArray[np.intp]], NDArray[np.float64]],
    eps: float,
) -> tuple[NDArray[np.float64], Variances]:
    """Return ``K_tt − H Hᵀ``, the posterior covariance, for ``H Hᵀ = k (K + rI)⁻¹ kᵀ``.

    Parameters
    ----------
    prior : (M, M) or (M,) ndarray
        K_tt, or its diagonal. The result has the same shape.
    half : (M, n) ndarray
        H.
    trace : float
        The trace of ``K + rI``.
    lengths : callable
        The function that returns the norms of the rows ``k (K + rI)⁻¹`` of some points.
    eps : float
        ε of the kernels.

    Raises
    ------
    ntkrs.IndefiniteKernelError
        As for :func:`covariance`.
    """
    result = prior - (_row_products(half, half) if prior.ndim == 1 else half @ half.T)
    return settled(result, prior, trace, lengths, eps)


def settled(
    result: NDArray[np.float64],
    prior: NDArray[np.float64],
    trace: float,
    lengths: Callable[[NDArray[np.intp]], NDArray[np.float64]],
    eps: float,
) -> tuple[NDArray[np.float64], Variances]:
    """Return a covariance, or variances, with those that round-off made negative set to 0; refuse others.

    E |Σ_j B_ij f(x_j)|² is at most |B_i|² tr Σ_XX, which gives the size of the terms of the sum. ``lengths`` returns
    |B_i|.
    """
    if result.ndim == 2:
        result = (result + result.T) / 2
    variances = result if result.ndim == 1 else result.diagonal()
    negative = np.flatnonzero(variances < 0)
    if not negative.size:
        return result, Variances()
    own = prior[negative] if prior.ndim == 1 else prior.diagonal()[negative]
    with np.errstate(over="ignore"):
        terms = (np.sqrt(np.maximum(own, 0)) + lengths(negative) * max(trace, 0.0) ** 0.5) ** 2
    beyond = variances[negative] < -ROUND_OFF * eps * terms
    if beyond.any():
        worst = int(np.argmax(beyond))
        raise IndefiniteKernelError(
            f"the variance of point {negative[worst]} is {variances[negative[worst]]:.3g}, negative beyond round-off "
            f"({ROUND_OFF * eps * terms[worst]:.3g}): the kernels do not belong together"
        )
    report = Variances(len(negative), float(variances.min()))
    if result.ndim == 1:
        return np.maximum(result, 0.0), report
    np.fill_diagonal(result, np.maximum(variances, 0.0))
    return result, report


def prediction(
    mean: Array,
    second: tuple[NDArray[np.float64], Variances] | None,
    compute_cov: bool | str,
    x: Array | None,
    dtype: np.dtype[Any],
) -> Prediction:
    """Return a prediction in this dtype.

    ``second`` is the covariance, or for ``compute_cov="diag"`` the variance, with a report; None for neither.
    """
    if second is None:
        return Prediction(as_dtype(mean, dtype), x=x)
    found, report = as_dtype(second[0], dtype), second[1]
    if compute_cov == "diag":
        return Prediction(as_dtype(mean, dtype), None, found, report, x)
    variance = cast("Array", np.diagonal(found, axis1=-2, axis2=-1).copy())
    return Prediction(as_dtype(mean, dtype), found, variance, report, x)


def merged(reports: list[Variances]) -> Variances:
    """Merge many reports into one."""
    return Variances(sum(one.clipped for one in reports), min((one.lowest for one in reports), default=0.0))


def as_dtype(values: Array, dtype: np.dtype[Any]) -> Array:
    """Convert the values to the dtype of the result. Values beyond its range become infinite."""
    with np.errstate(over="ignore"):
        return cast("Array", values.astype(dtype, copy=False))


def norms(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the norms of rows."""
    return np.asarray(np.linalg.norm(rows, axis=1))


def _product(weights: NDArray[np.float64], inner: NDArray[Any]) -> NDArray[np.float64]:
    """Return ``weights @ inner`` in the precision of ``inner``, unless its range is too small."""
    if inner.dtype == np.float64 or abs(exponent_of(inner.diagonal())) > _FLOAT32_EXPONENT:
        return np.asarray(weights @ inner.astype(np.float64, copy=False))
    shrunk, exponent = scaled(weights)
    return ldexp((shrunk.astype(inner.dtype) @ inner).astype(np.float64), exponent)


def _row_products(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the diagonal of ``a bᵀ``."""
    return np.asarray(np.einsum("ij,ij->i", a, b))
