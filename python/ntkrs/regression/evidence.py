"""The log marginal likelihood of a Gaussian process, and its gradient with respect to the kernel and the noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, overload

import numpy as np

from ntkrs._checks import kernels, memory, numbers
from ntkrs._checks import regression as checks
from ntkrs._checks.scaling import ldexp, scaled
from ntkrs.errors import SingularKernelError
from ntkrs.regression.resolvents import LEAST
from ntkrs.solvers import cholesky

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike
    from ntkrs.regression.resolvents import Labels, Resolvents
    from ntkrs.solvers.cholesky import Factor

    Vector = NDArray[np.float64]

#: Rows of the inverse that are mirrored at a time.
_ROWS = 256


class Evidence(NamedTuple):
    """The log marginal likelihood L and its gradient.

    Attributes
    ----------
    value : float
        L, summed over outputs.
    kernel : (N, N) ndarray
        ∂L/∂K, symmetric: the ``weights`` of ``kernel.gradient``.
    noise : float
        ∂L/∂noise, the trace of ``kernel``.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> kernel = ntkrs.mlp(depth=2, width=1, outputs=1, sigma_b=0.1).kernel()
    >>> X, y = np.eye(3), np.array([1.0, 0.0, -1.0])
    >>> evidence = ntkrs.regression.log_marginal_likelihood(kernel(X, get="nngp"), y, 0.01, eval_gradient=True)
    >>> gradient = kernel.gradient(X, get="nngp", weights=evidence.kernel)
    >>> gradient.sigma_w.shape  # ∂L/∂σ_w of every layer
    (3,)
    """

    value: float
    kernel: Vector
    noise: float


@overload
def log_marginal_likelihood(
    k_train_train: ArrayLike, y_train: ArrayLike, noise: float, *, eval_gradient: Literal[False] = False
) -> float: ...


@overload
def log_marginal_likelihood(
    k_train_train: ArrayLike, y_train: ArrayLike, noise: float, *, eval_gradient: Literal[True]
) -> Evidence: ...


@overload
def log_marginal_likelihood(
    k_train_train: ArrayLike, y_train: ArrayLike, noise: float, *, eval_gradient: bool
) -> float | Evidence: ...


def log_marginal_likelihood(
    k_train_train: ArrayLike, y_train: ArrayLike, noise: float, *, eval_gradient: bool = False
) -> float | Evidence:
    """Return the log marginal likelihood of a Gaussian process, the evidence of its kernel.

    ::

        L = −½ yᵀ C⁻¹ y − ½ log det C − N/2 log 2π,    C = K + noise · I
        ∂L/∂K = ½ (Σ_o α_o α_oᵀ − O C⁻¹),    α_o = C⁻¹ y_o

    summed over outputs o.

    Parameters
    ----------
    k_train_train : (N, N) array_like
        Kernel K of the training inputs, the prior covariance. The computation is in float64, also for float32.
    y_train : (N,) or (N, O) array_like
        Labels. No mean is subtracted.
    noise : float
        The variance of the noise, in units of the targets squared and not relative to K.
    eval_gradient : bool
        If True, the gradient is returned too.

    Returns
    -------
    float or Evidence
        L, or ``Evidence(value, kernel, noise)`` with ``eval_gradient``. The derivative with respect to a scale σ of the
        network is that of ``kernel.gradient(X, weights=evidence.kernel)``.

    Raises
    ------
    TypeError
        If an argument does not hold real numbers, or K is an operator.
    ValueError
        If K is empty, not square or not symmetric, a shape does not match, or a value is not finite.
    ntkrs.SingularKernelError
        If C is not positive definite, or is within round-off of a singular matrix.
    MemoryError
        If C does not fit in memory.

    Notes
    -----
    One Cholesky factorization: N³/3 operations, N³ with the gradient. C is overwritten by its factor, and that by the
    gradient: N² numbers beside K. :meth:`KernelRegression.log_marginal_likelihood` gives L for many noises.

    References
    ----------
    Rasmussen, Williams (2006), equations 2.30 and 5.9.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.regression import log_marginal_likelihood
    >>> K, y = np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([1.0, -1.0])  # y is an eigenvector, of eigenvalue 1
    >>> found = log_marginal_likelihood(K, y, 0.5, eval_gradient=True)
    >>> bool(np.isclose(found.value, -1 / 1.5 - np.log(1.5 * 3.5) / 2 - np.log(2 * np.pi)))
    True
    >>> bool(np.isclose(found.noise, np.trace(found.kernel)))
    True
    """
    kernel, y = checks.kernel_and_labels(k_train_train, y_train)
    variance, gradient = numbers.nonnegative(noise, "noise"), numbers.boolean(eval_gradient, "eval_gradient")
    remedy = "Use fewer samples."
    with memory.required(16 * kernel.size, f"the evidence of {len(y)} samples", remedy):
        matrix, exponent = scaled(kernel.astype(np.float64, copy=False), variance)
        matrix = kernels.symmetric(matrix, exponent, float(np.finfo(kernel.dtype).eps))
        matrix[np.diag_indices_from(matrix)] += ldexp(variance, -exponent)
        labels, scale = scaled(y.reshape(len(y), -1))
        factor = _factor(matrix, variance)
        value, alpha = _value(factor, labels, exponent, scale)
        if not gradient:
            return value
        weights = _gradient(factor, alpha, exponent, scale)
    return Evidence(value, weights, float(np.trace(weights)))


def of_modes(resolvents: Resolvents, labels: Labels, noises: Vector) -> Vector:
    """Return the log marginal likelihood for each noise, (R,).

    Raises
    ------
    ntkrs.SingularKernelError
        If an eigenvalue and a noise are both 0.
    """
    modes, outputs = resolvents.modes, labels.centred.shape[1]
    # Each sum of an eigenvalue and a noise is over the power of two of the larger one.
    exponents = np.where(noises > 0, np.maximum(np.frexp(noises)[1], modes.exponent), modes.exponent)
    values = ldexp(modes.scaled[:, None], modes.exponent - exponents) + ldexp(noises, -exponents)
    if (values < LEAST).any():
        raise SingularKernelError(
            f"noise is {noises.min()}, too little beside k_train_train, of which {modes.null} eigenvalues are 0: the "
            "evidence is infinite. Pass a larger noise."
        )
    components = (labels.components[:, :outputs] ** 2).sum(axis=1)
    squares = ldexp(components @ (1 / values), 2 * labels.exponent - exponents)
    count = len(modes.scaled)
    log_det = np.log(values).sum(axis=0) + count * exponents * np.log(2) - np.log(resolvents.weights).sum()
    return np.asarray(-squares / 2 - outputs / 2 * (log_det + count * np.log(2 * np.pi)))


def _factor(matrix: Vector, noise: float) -> Factor:
    """Return the Cholesky factor of a symmetric matrix, which is overwritten.

    Raises
    ------
    ntkrs.SingularKernelError
        If the matrix is not positive definite beyond round-off.
    """
    try:
        return cholesky.factor(matrix, overwrite=True)
    except np.linalg.LinAlgError:
        raise SingularKernelError(
            f"noise is {noise}, but k_train_train plus so much noise is not positive definite beyond round-off, so "
            "that its evidence is not known. Pass a larger noise; KernelRegression takes any, once K is a kernel."
        ) from None


def _value(factor: Factor, labels: Vector, exponent: int, scale: int) -> tuple[float, Vector]:
    """Return L, and α over ``2^(scale − exponent)``, for a factor of ``C/2^exponent`` and targets over ``2^scale``."""
    half, alpha = factor.half_solve(labels), factor.solve(labels)
    count, outputs = labels.shape
    squares = float(ldexp((half**2).sum(), 2 * scale - exponent))
    log_det = factor.log_determinant + count * exponent * np.log(2)
    return float(-squares / 2 - outputs / 2 * (log_det + count * np.log(2 * np.pi))), alpha


def _gradient(factor: Factor, alpha: Vector, exponent: int, scale: int) -> Vector:
    """Return ``½ (Σ α αᵀ − O C⁻¹)``, which overwrites the factor. The arguments are those of :func:`_value`."""
    from scipy.linalg import blas

    # Both terms over the power of two of the larger one, so that neither overflows.
    shift = 2 * scale - exponent
    terms = float(ldexp(0.5, min(shift, 0))), float(ldexp(-0.5 * alpha.shape[1], -max(shift, 0)))
    result = blas.dsyrk(terms[0], alpha, beta=terms[1], c=factor.inverse(), overwrite_c=1).T
    with np.errstate(over="ignore"):
        np.ldexp(result, max(shift, 0) - exponent, out=result)
    for first in range(0, len(result), _ROWS):
        rows = slice(first, first + _ROWS)
        result[:first, rows] = result[rows, :first].T
        block = result[rows, rows]
        block[:] = np.tril(block) + np.tril(block, -1).T
    return np.asarray(result)
