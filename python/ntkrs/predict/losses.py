"""Losses of training in function space: their gradients, and their Hessians where a formula is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ntkrs._checks import numbers

if TYPE_CHECKING:
    from ntkrs._typing import Array

#: The name of a loss, or a callable (f, y) -> ∂L/∂f that returns an array of f's shape.
Loss: TypeAlias = Literal["mse", "softmax_cross_entropy"] | Callable[[Any, Any], Any]

_Gradient: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class LossFunction:
    """A loss and its derivatives.

    Attributes
    ----------
    gradient : callable
        f ↦ ∂L/∂f, (N, O).
    hessian : callable or None
        f ↦ ∂²L/∂f², one block per sample, (N, O, O); None if not known.
    targets : (N, O) ndarray
        Y.
    curvature : float
        A bound of the Hessian's eigenvalues; for a loss without a known Hessian that of a mean of squares.
    square : bool
        True for the square loss, whose gradient is ``curvature · (f − Y)``.
    invariant : bool
        True if adding a number to all outputs of a sample changes nothing.
    """

    gradient: _Gradient
    hessian: _Gradient | None
    targets: NDArray[np.float64]
    curvature: float
    square: bool = False
    invariant: bool = False


def loss_function(loss: Loss, y_train: Array) -> LossFunction:
    """Return the loss for these targets, as functions of (N, O) outputs even where the targets are (N,).

    Raises
    ------
    ValueError, TypeError
        If ``loss`` is neither a known name nor callable, or the targets do not suit it.
    """
    y = y_train.astype(np.float64)
    if callable(loss):
        return LossFunction(_checked(loss, y), None, y.reshape(len(y), -1) if y.size else y, 1 / max(y.size, 1))
    name = numbers.choice(loss, "loss", ("mse", "softmax_cross_entropy"))
    return _square(y) if name == "mse" else _cross_entropy(y)


def _square(y: NDArray[np.float64]) -> LossFunction:
    """Return ``1/(2NO) Σ (f − y)²``."""
    outputs = y.shape[1] if y.ndim == 2 else 1
    targets, size = y.reshape(len(y), outputs), max(y.size, 1)
    curvature = np.broadcast_to(np.eye(outputs) / size, (len(y), outputs, outputs))
    return LossFunction(lambda f: (f - targets) / size, lambda _: curvature, targets, 1 / size, square=True)


def _cross_entropy(y: NDArray[np.float64]) -> LossFunction:
    """Return ``−1/N Σ y log softmax(f)``, for targets that are probabilities."""
    if y.ndim != 2:
        raise ValueError(
            f"y_train has shape {y.shape}, but softmax_cross_entropy needs (N, O) probabilities. "
            "Pass numpy.eye(O)[labels] for integer labels."
        )
    sums = y.sum(axis=1)
    bad = (y < 0).any(axis=1) | (np.abs(sums - 1) > 1e-6 * max(10, y.shape[1]))
    if bad.any():
        i = int(np.argmax(bad))
        raise ValueError(f"row {i} of y_train sums to {sums[i]}, but probabilities are >= 0 and sum to 1 in each row")
    count = max(len(y), 1)

    eye = np.eye(y.shape[1])
    distinct = 1 - eye
    others = y @ distinct

    def gradient(f: NDArray[np.float64]) -> NDArray[np.float64]:
        p = _softmax(f)
        # 1 − p as a sum of the others keeps its digits where p is close to 1.
        return np.asarray((others * p - y * (p @ distinct)) / count)

    def hessian(f: NDArray[np.float64]) -> NDArray[np.float64]:
        p = _softmax(f)
        diagonal = (p * (p @ distinct))[:, :, None] * eye
        return np.asarray((diagonal - p[:, :, None] * p[:, None, :] * distinct) / count)

    return LossFunction(gradient, hessian, y, 0.5 / count, invariant=True)


def _softmax(f: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``e^f / Σ e^f`` over the last axis."""
    powers = np.exp(f - f.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _checked(loss: Callable[[Any, Any], Any], y: NDArray[np.float64]) -> _Gradient:
    """Return a user-supplied gradient that is called with arrays of y's shape, and whose result is checked."""

    def gradient(f: NDArray[np.float64]) -> NDArray[np.float64]:
        value = np.asarray(loss(f.reshape(y.shape), y), dtype=np.float64)
        if value.shape != y.shape:
            raise ValueError(f"loss returned shape {value.shape}, but dL/df must have the shape {y.shape} of f")
        if not np.isfinite(value).all():
            raise ValueError("loss returned NaN or an infinity. Does training diverge? Lower the learning rate.")
        return value.reshape(f.shape)

    return gradient
