"""Prediction intervals and prediction sets from leave-one-out predictions at new inputs.

All counts of rows are sums of weights, so that a row of weight 3 counts as three copies. The new row counts as 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ntkrs._checks import numbers
from ntkrs._checks.scaling import ldexp, scaled
from ntkrs.sklearn import selection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ntkrs._typing import KernelName
    from ntkrs.kernel import Kernel, PreparedInputs
    from ntkrs.regression import KernelRegression

    Vector = NDArray[np.float64]

#: Predictions without one row that are held at once: some 32 MiB, and a few arrays of the size.
_BLOCK = 1 << 22


class Training(NamedTuple):
    """The data of a fitted model, and the kernel that fitted it.

    Attributes
    ----------
    kernel : Kernel
        The chosen kernel.
    get : "ntk" or "nngp"
        Its name.
    X : PreparedInputs
        Inputs (N, n_0) or (N, H, W, C), prepared for the kernel.
    y, weights : ndarray
        Targets (N,) or (N, O), and positive weights (N,).
    ridge : float
        The chosen ridge, relative to the mean of the kernel's diagonal.
    intercept : bool
        True if the model is fitted to the targets minus their mean.
    """

    kernel: Kernel
    get: KernelName
    X: PreparedInputs
    y: Vector
    weights: Vector
    ridge: float
    intercept: bool


class Refits:
    """The N models that are fitted without one row each, in one eigendecomposition.

    Parameters
    ----------
    training : Training
        The data. Predictions are over a power of two, ``2^exponent``, near the largest target.
    """

    model: KernelRegression
    y: Vector
    exponent: int

    def __init__(self, training: Training) -> None:
        if len(training.y) < 2:
            raise ValueError(
                f"n_samples={len(training.y)}: 2 are needed to leave one out. Fit more rows of positive weight."
            )
        self.training = training
        self.y, self.exponent = scaled(training.y)
        self.model = selection.decomposed(
            training.kernel, training.X, self.y, training.weights, training.get, intercept=training.intercept
        )

    def at_training_rows(self) -> Vector:
        """Return the prediction of each row by the model without it, (N,) or (N, O)."""
        return self.model.loo(self.training.ridge)

    def blocks(self, X: Vector) -> Iterator[tuple[slice, Vector]]:
        """Yield slices of the rows of X, and the predictions there by each model, (rows, N) or (rows, N, O)."""
        training = self.training
        step = max(1, _BLOCK // self.y.size)
        for first in range(0, len(X), step):
            rows = slice(first, first + step)
            inputs = X[rows].reshape(-1, *training.X.shape[1:])
            k_test_train = training.kernel(inputs, training.X, get=training.get, progress=False)
            with selection.blas_threads(len(training.X)):
                found = self.model.loo_predict(training.ridge, k_test_train)
            yield rows, found


def checked_coverage(coverage: float) -> float:
    """Return the coverage as a float.

    Raises
    ------
    TypeError, ValueError
        If it is not a number between 0 and 1.
    """
    share = numbers.real(coverage, "coverage")
    if not 0 < share < 1:
        raise ValueError(f"coverage is {share}, but must lie between 0 and 1, as 0.9")
    return share


def intervals(refits: Refits, X: Vector, coverage: float) -> Vector:
    """Return the intervals of the jackknife+, (M, 2) or (M, 2, O): their lower and upper ends."""
    weights = refits.training.weights
    needed = _needed(weights, coverage)
    residuals = np.abs(refits.y - refits.at_training_rows())
    result = np.empty((len(X), 2, *residuals.shape[1:]))
    for rows, predictions in refits.blocks(X):
        result[rows, 0] = -_quantile(residuals - predictions, weights, needed)
        result[rows, 1] = _quantile(residuals + predictions, weights, needed)
    return ldexp(result, refits.exponent)


def sets(refits: Refits, X: Vector, codes: NDArray[np.intp], coverage: float) -> NDArray[np.bool_]:
    """Return the classes of cross-conformal prediction sets, (M, C), from the classes ``codes`` of the rows, (N,)."""
    weights, signs = refits.training.weights, refits.y
    needed = _needed(weights, coverage)
    own = _strangeness(_columns(refits.at_training_rows(), signs.ndim))[np.arange(len(codes)), codes]
    result = np.empty((len(X), signs.shape[1] if signs.ndim == 2 else 2), dtype=bool)
    for rows, predictions in refits.blocks(X):
        stranger = own[:, None] < _strangeness(_columns(predictions, signs.ndim))
        result[rows] = np.tensordot(stranger, weights, axes=(1, 0)) < needed
    return result


def _needed(weights: Vector, coverage: float) -> float:
    """Return ``coverage (Σw + 1)``, lowered by its round-off: a count that is equal to it reaches it."""
    return float(coverage * (weights.sum() + 1) * (1 - 4 * np.finfo(float).eps))


def _quantile(values: Vector, weights: Vector, needed: float) -> Vector:
    """Return the least value, along axis 1, at or below which the weights add up to ``needed``; ∞ if there is none."""
    if needed > weights.sum():
        return np.full((len(values), *values.shape[2:]), np.inf)
    if (weights == 1).all():
        rank = int(np.ceil(needed)) - 1
        return np.asarray(np.partition(values, rank, axis=1)[:, rank])
    order = values.argsort(axis=1)
    sums = weights[order].cumsum(axis=1)
    # The last sum is that of all weights, up to the round-off of another order.
    at = np.minimum((sums < needed).sum(axis=1, keepdims=True), len(weights) - 1)
    return np.asarray(np.take_along_axis(values, np.take_along_axis(order, at, axis=1), axis=1)[:, 0])


def _columns(decisions: Vector, dimensions: int) -> Vector:
    """Return decisions with a last axis of classes, which those for two classes lack: their targets have one axis."""
    return decisions if dimensions == 2 else np.stack([-decisions, decisions], axis=-1)


def _strangeness(columns: Vector) -> Vector:
    """Return how far the largest decision for another class exceeds that for each class, (..., C)."""
    top = np.partition(columns, -2, axis=-1)[..., -2:]
    return np.asarray(np.where(columns == top[..., 1:], top[..., :1], top[..., 1:]) - columns)
