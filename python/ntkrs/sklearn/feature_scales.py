"""Factors of the features: given ones, or those of the average gradient outer product of a fitted model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._checks import arrays
from ntkrs._checks.advice import shown
from ntkrs._checks.scaling import exponent_of, ldexp, scaled
from ntkrs.regression import agop

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs.sklearn.conformal import Training

    Vector = NDArray[np.float64]


def fixed(feature_scales: Any, count: int) -> Vector | None:
    """Return the factors of ``count`` features, or None if they are to be learned.

    Raises
    ------
    TypeError, ValueError
        If ``feature_scales`` is not None, "agop", or ``count`` finite numbers >= 0.
    """
    if feature_scales is None:
        return np.ones(count)
    if isinstance(feature_scales, str):
        if feature_scales != "agop":
            raise ValueError(f"feature_scales is {feature_scales!r}, but must be None, 'agop', or a number per feature")
        return None
    factors = arrays.finite_float64(feature_scales, "feature_scales")
    if factors.shape != (count,):
        raise ValueError(
            f"feature_scales has shape {factors.shape}, but ({count},) is needed to match X: a number for each feature"
        )
    if factors.min() < 0:
        raise ValueError(f"feature_scales is {shown(feature_scales)}, but must be >= 0")
    return factors.copy()


def applied(X: Vector, factors: Vector) -> Vector:
    """Return inputs times the factors of their features. The kernel refuses products that are infinite."""
    with np.errstate(over="ignore"):
        return X * factors


def learned(training: Training, coefficients: Vector) -> Vector:
    """Return ``A_kk^¼`` of a model's average gradient outer product A, over their mean; 1 if the model is constant.

    A fourth root lies half-way between no factors and the root mean square of the derivatives, ``A_kk^½``.
    """
    columns, _ = scaled(coefficients)
    columns = ldexp(columns, -max(exponent_of(training.X), 0))  # squares of gradients neither overflow nor vanish
    outer = agop(training.kernel, training.X, columns, training.get, sample_weight=training.weights)
    squares = outer.diagonal()
    if not squares.max() > 0:
        return np.ones(len(squares))
    roots = squares**0.25
    return np.asarray(roots / roots.mean())
