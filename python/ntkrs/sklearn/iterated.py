"""Models of more samples than a dense factorization has room for, by :func:`ntkrs.solve`.

The kernel is stored in half of the memory if it fits, and otherwise computed again for every product.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.sparse.linalg import LinearOperator

from ntkrs._checks import memory
from ntkrs._checks.scaling import ldexp, scaled
from ntkrs.regression import Dual
from ntkrs.solvers.solve import solve
from ntkrs.storage import gram

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._checks.protocols import KernelProducts
    from ntkrs._typing import ArrayLike, KernelName
    from ntkrs.kernel import Kernel, PreparedInputs
    from ntkrs.solvers.solution import Solution

    Vector = NDArray[np.float64]

#: The share of the available memory that a stored kernel may take; vectors and the preconditioner need the rest.
_SHARE = 0.7

#: One row is held out of this number.
_HELD_OUT = 10


class Fit(NamedTuple):
    """A model that was fitted by iteration.

    Attributes
    ----------
    dual : Dual
        The coefficients and the intercept.
    solution : Solution
        The solution of the system, with its residual and its estimated error.
    """

    dual: Dual
    solution: Solution


class Weighted(LinearOperator):  # type: ignore[misc]  # it ships no types
    """``S K S`` for a kernel K and the square roots S of weights."""

    def __init__(self, kernel: KernelProducts, roots: Vector) -> None:
        self._kernel, self._roots = kernel, roots
        super().__init__(np.dtype(np.float64), kernel.shape)

    def columns(self, indices: ArrayLike) -> Vector:
        """Return the columns ``(S K S)[:, indices]``, (N, m)."""
        columns = self._roots[:, None] * self._kernel.columns(indices)
        columns *= self._roots[np.asarray(indices)]
        return columns

    def diagonal(self) -> Vector:
        """Return the diagonal, (N,)."""
        return np.asarray(self._roots**2 * self._kernel.diagonal())

    def product(self, vectors: ArrayLike) -> Vector:
        """Return ``S K S V`` for V (N, r)."""
        roots = self._roots[:, None]
        return np.asarray(roots * self._kernel.product(roots * np.asarray(vectors)))

    def _matmat(self, X: ArrayLike) -> Vector:
        return self.product(X)


def matrix_of(kernel: Kernel, X: PreparedInputs, get: KernelName) -> Any:
    """Return the kernel matrix of rows or images: stored in half of the memory if that fits, else as an operator."""
    stored = 4 * len(X) * (len(X) + 2)  # half of float64
    if memory.lacking(math.ceil(stored / _SHARE)) is None:
        return gram(kernel, X.array, get=get, progress=False)
    return kernel.operator(X, get=get, progress=False)


def regression(
    kernel: Kernel, X: PreparedInputs, y: Vector, weights: Vector, ridge: float, get: KernelName, *, intercept: bool
) -> Fit:
    """Return the kernel ridge regression ``α = S (S K S + r)⁻¹ S (y − m)`` with S the roots of the weights.

    Parameters
    ----------
    kernel : Kernel
        The kernel of an infinitely wide network.
    X : PreparedInputs
        Inputs (N, n_0) or (N, H, W, C), prepared for the kernel.
    y : (N,) or (N, O) ndarray
        Labels.
    weights : (N,) ndarray
        Positive weights.
    ridge : float
        The ridge, relative to the weighted mean of the kernel's diagonal.
    get : "ntk" or "nngp"
        The kernel.
    intercept : bool
        True to fit the targets minus their weighted mean m.

    Raises
    ------
    ntkrs.SingularKernelError
        If the kernel with its ridge is not positive definite beyond round-off.
    MemoryError
        If the vectors of the iteration do not fit in memory either.

    Warns
    -----
    ntkrs.ConvergenceWarning
        If the iteration ends before :func:`ntkrs.solve` reaches its tolerance.
    """
    values, exponent = scaled(y)
    centre = np.average(values, axis=0, weights=weights) if intercept else np.zeros(values.shape[1:])
    centred, matrix = values - centre, matrix_of(kernel, X, get)
    if (weights == weights[0]).all():
        found = solve(matrix, centred, ridge / weights[0], progress=False)
        alpha = found.alpha
    else:
        roots = np.sqrt(weights)
        across = roots.reshape(-1, *(1,) * (y.ndim - 1))
        absolute = ridge * float(np.average(matrix.diagonal(), weights=weights))
        found = solve(Weighted(matrix, roots), across * centred, absolute, diag_reg_absolute_scale=True, progress=False)
        alpha = across * found.alpha
    return Fit(Dual(ldexp(alpha, exponent), ldexp(centre, exponent)), found)


def process(kernel: Kernel, X: PreparedInputs, y: Vector, noise: float, get: KernelName) -> Solution:
    """Return the solution of ``(K + noise · I) α = y``, with which the mean of a Gaussian process is ``k(x, X) α``."""
    return solve(matrix_of(kernel, X, get), y, noise, diag_reg_absolute_scale=True, progress=False)


def held_out(count: int) -> NDArray[np.bool_]:
    """Return True for a tenth of ``count`` rows, at least one of them, always the same."""
    chosen = np.zeros(count, dtype=bool)
    chosen[np.random.default_rng(0).permutation(count)[: max(1, count // _HELD_OUT)]] = True
    return chosen


def values(kernel: Kernel, X: Vector, fitted: PreparedInputs, get: KernelName, dual: Dual) -> Vector:
    """Return ``k(X, fitted) @ coefficients + intercept``, without the array ``k(X, fitted)``."""
    operator = kernel.operator(X, fitted, get=get, progress=False)
    return np.asarray(operator @ dual.coefficients + dual.intercept)
