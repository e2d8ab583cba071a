"""The choice of a depth and a ridge by exact leave-one-out, from one eigendecomposition for each depth."""

from __future__ import annotations

import math
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from ntkrs._checks import arrays, memory, numbers
from ntkrs._checks.advice import shown
from ntkrs._checks.scaling import ldexp, scaled
from ntkrs.regression import Dual, KernelRegression

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from ntkrs._typing import KernelName
    from ntkrs.kernel import Kernel, PreparedInputs
    from ntkrs.layers import Sequential

    Vector = NDArray[np.float64]

#: Ridges to choose from if ``diag_reg`` is "auto".
RIDGES = np.logspace(-8, 2, 21)

#: Errors that differ by no more than this share are equal.
_TIE = 1e-12

#: Matrices of at most this order are decomposed faster by one thread of LAPACK than by several.
_ONE_THREAD = 500

#: Matrices of the order of the kernel that are needed at once: K, its copy, U, and the work space of LAPACK.
_MATRICES = 5

#: The part of the available memory that the kernels of all depths may take together.
_SHARE = 4


#: Advice for when a choice, or leave-one-out of a chosen model, does not fit in memory.
_CHOICE = (
    "Pass one depth and a number as diag_reg, which ntkrs.solve then fits, without leave-one-out. Or fit fewer, "
    "or features of sklearn.kernel_approximation.Nystroem(ntkrs.sklearn.NTKKernel()) with LinearSVC or Ridge."
)
_REFITS = (
    "Intervals and sets need the models without one row, and these the eigendecomposition: fit fewer samples for them. "
    "Predictions need neither."
)


class Choice(NamedTuple):
    """A model, chosen by leave-one-out or the only one.

    Attributes
    ----------
    place : int
        The place of the architecture among those to choose from.
    ridge : float
        The ridge, relative to the mean of the kernel's diagonal.
    error : float
        The mean squared error of leave-one-out, NaN for a single sample.
    errors : (R,) ndarray
        The errors of this architecture at all ridges. Errors are in units of a power of two.
    left_out : (N,) or (N, O) ndarray or None
        The prediction of each row by the model without it; None for a single sample.
    dual : Dual
        The coefficients and the intercept.
    """

    place: int
    ridge: float
    error: float
    errors: Vector
    left_out: Vector | None
    dual: Dual


def ridges(diag_reg: Any) -> Vector:
    """Return the ridges to choose from.

    Raises
    ------
    TypeError, ValueError
        If ``diag_reg`` is not "auto", a number >= 0, or a sequence of them.
    """
    if isinstance(diag_reg, str):
        if diag_reg != "auto":
            raise ValueError(f"diag_reg is {diag_reg!r}, but must be 'auto', a number >= 0, or several")
        return RIDGES
    if np.ndim(diag_reg) == 0:
        return np.array([numbers.nonnegative(diag_reg, "diag_reg")])
    values = arrays.finite_float64(diag_reg, "diag_reg")
    if values.ndim != 1 or not values.size:
        raise ValueError(f"diag_reg is {shown(diag_reg)}, but must be 'auto', a number >= 0, or several")
    if values.min() < 0:
        raise ValueError(f"diag_reg is {shown(diag_reg)}, but must be >= 0")
    return values


def depths(depth: Any) -> list[int]:
    """Return the depths to choose from.

    Raises
    ------
    TypeError, ValueError
        If ``depth`` is not an integer or several.
    """
    if not isinstance(depth, list | tuple | range | np.ndarray):
        return [numbers.integer(depth, "depth")]
    found = [numbers.integer(one, "depth") for one in depth]
    if not found:
        raise ValueError(f"depth is {shown(depth)}, but at least one number of hidden layers is needed")
    return found


def choose(
    architectures: Sequence[Sequential],
    X: Vector,
    y: Vector,
    weights: Vector,
    candidates: Vector,
    get: KernelName,
    *,
    intercept: bool,
) -> tuple[Choice, Vector]:
    """Return the model of the least leave-one-out error, and the errors of all, (depths, ridges).

    Of equal ones it is the model of the larger ridge, and then of the smaller depth.

    Parameters
    ----------
    architectures : sequence of Sequential
        The architectures. All are the beginnings of the deepest one.
    X : (N, n_0) or (N, H, W, C) ndarray
        Inputs.
    y : (N,) or (N, O) ndarray
        Labels.
    weights : (N,) ndarray
        Positive weights.
    candidates : (R,) ndarray
        Ridges, relative to the mean of the kernel's diagonal.
    get : "ntk" or "nngp"
        The kernel.
    intercept : bool
        True to fit the targets minus their mean.

    Raises
    ------
    ValueError
        If a choice is to be made from a single sample.
    MemoryError
        If the work does not fit in memory. Nothing is computed then.
    """
    several = len(architectures) * len(candidates) > 1
    if several and len(y) < 2:
        raise ValueError(f"n_samples={len(y)}: 2 are needed to leave one out; pass one depth and a number as diag_reg.")
    y, exponent = scaled(y)  # squares of targets neither overflow nor vanish
    with memory.required(_bytes(len(X)), f"kernel ridge regression of {len(X)} samples", _CHOICE):
        grams = _kernels(architectures, X, get)
        with blas_threads(len(X)):
            models = (KernelRegression(K, y, intercept=intercept, sample_weight=weights) for K in grams)
            found = [_best(place, model, y, weights, candidates) for place, model in enumerate(models)]
    least = min(one.error for one in found)
    tied = [one for one in found if one.error <= least * (1 + _TIE)] or found
    best = max(tied, key=lambda one: (one.ridge, -len(architectures[one.place].layers)))
    dual = Dual(*(ldexp(part, exponent) for part in best.dual))
    left_out = None if best.left_out is None else ldexp(best.left_out, exponent)
    errors = ldexp(np.array([one.errors for one in found]), 2 * exponent)
    return best._replace(dual=dual, left_out=left_out), errors


def decomposed(
    kernel: Kernel, X: PreparedInputs, y: Vector, weights: Vector, get: KernelName, *, intercept: bool
) -> KernelRegression:
    """Return the regression of a chosen kernel once more: :func:`choose` keeps no (N, N) matrix.

    Raises
    ------
    MemoryError
        If the work does not fit in memory. Nothing is computed then.
    """
    with memory.required(_bytes(len(X)), f"leave-one-out of {len(X)} samples", _REFITS):
        gram = kernel(X, get=get, progress=False)
        with blas_threads(len(X)):
            return KernelRegression(gram, y, intercept=intercept, sample_weight=weights)


def decomposes(count: int) -> bool:
    """Return True if the eigendecomposition of the kernel of ``count`` samples fits in memory."""
    return memory.lacking(_bytes(count)) is None


def _bytes(count: int) -> int:
    """Return the bytes that the eigendecomposition of ``count`` samples needs."""
    return _MATRICES * 8 * count**2


def _kernels(architectures: Sequence[Sequential], X: Vector, get: KernelName) -> Iterator[Vector]:
    """Yield the kernel of each architecture: all from one pass if that fits easily, and else one after the other."""
    deepest = max(architectures, key=lambda arch: len(arch.layers))
    available = memory.available()
    bytes_needed = 8 * len(deepest.dense) * len(X) ** 2
    together = available is None or bytes_needed * _SHARE <= available
    if len(architectures) > 1 and together:
        stack = deepest.kernel().depths(X, get=get, progress=False)
        for arch in architectures:
            yield cast("Vector", stack[len(arch.dense) - 1])
    else:
        for arch in architectures:
            yield cast("Vector", arch.kernel()(X, get=get, progress=False))


def _best(place: int, model: KernelRegression, y: Vector, weights: Vector, candidates: Vector) -> Choice:
    """Return the best model of one architecture."""
    if len(y) < 2:
        ridge = float(candidates[0])
        return Choice(place, ridge, math.nan, np.array([math.nan]), None, model.coefficients(ridge))
    left_out = model.loo(candidates)
    squares = np.square(left_out - y)
    squares = squares if squares.ndim == 2 else squares.mean(axis=2)
    errors = np.average(squares, axis=1, weights=weights)
    tied = np.flatnonzero(errors <= errors.min() * (1 + _TIE))
    at = int(tied[candidates[tied].argmax()])
    ridge = float(candidates[at])
    return Choice(place, ridge, float(errors[at]), errors, left_out[at].copy(), model.coefficients(ridge))


@contextmanager
def blas_threads(order: int) -> Iterator[None]:
    """Run BLAS and LAPACK on one thread within a ``with`` block if the matrices of this order are small."""
    controller = _controller() if order <= _ONE_THREAD else None
    if controller is None:
        yield
    else:
        with controller.limit(limits=1, user_api="blas"):
            yield


@cache
def _controller() -> Any:
    """Return the controller of the BLAS libraries, or None without threadpoolctl. It takes 1 ms to find them."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    import scipy.linalg  # noqa: F401  the BLAS of SciPy must be there to be found

    return ThreadpoolController()
