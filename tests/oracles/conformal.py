"""The jackknife+ and cross-conformal sets by N refits and sorted lists, as their papers define them.

Kernels are (N, N), or (M, N) from test to training inputs. y is (N, O). The ridge r is absolute. Weights count copies:
a row of weight above 1 loses 1, and a lighter one is left out whole.
"""

from __future__ import annotations

from math import ceil, inf
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fractions import Fraction

    from .activations import Array


def predictions(k: Array, y: Array, r: float, weights: Array, k_rows: Array, *, intercept: bool) -> Array:
    """The predictions of kernel ridge regression at rows of kernels, (M, O)."""
    kept = weights > 0
    w, targets = weights[kept], y[kept]
    mean = (w[:, None] * targets).sum(axis=0) / w.sum() if intercept else np.zeros(y.shape[1])
    alpha = np.linalg.solve(k[np.ix_(kept, kept)] + r * np.diag(1 / w), targets - mean)
    return mean + k_rows[:, kept] @ alpha


def refits(k: Array, y: Array, r: float, weights: Array, k_test: Array, *, intercept: bool) -> tuple[Array, Array]:
    """The predictions without each row at that row, (N, O), and at test rows, (M, N, O)."""
    own, tested = [], []
    for i in range(len(y)):
        left = weights.astype(float)
        left[i] = max(left[i] - 1, 0.0)
        both = predictions(k, y, r, left, np.vstack([k[i : i + 1], k_test]), intercept=intercept)
        own.append(both[0])
        tested.append(both[1:])
    return np.array(own), np.stack(tested, axis=1)


def order_statistic(values: list[float], rank: int) -> float:
    """The ``rank``-th smallest value, from 1 on: plus infinity after the last."""
    return sorted(values)[rank - 1] if rank <= len(values) else inf


def weighted_statistic(values: list[float], weights: Array, needed: float) -> float:
    """The least value at or below which the weights add up to ``needed``."""
    reached = 0.0
    for value, weight in sorted(zip(values, weights, strict=True)):
        reached += weight
        if reached >= needed:
            return value
    return inf


def jackknife_plus(own: Array, tested: Array, y: Array, coverage: Fraction) -> Array:
    """The intervals, (M, 2, O), of Barber et al. (2021), equation 1.4, for weights of 1."""
    rank = ceil(coverage * (len(y) + 1))
    result = np.empty((len(tested), 2, y.shape[1]))
    for m, o in np.ndindex(len(tested), y.shape[1]):
        residuals = [abs(y[i, o] - own[i, o]) for i in range(len(y))]
        lower = [tested[m, i, o] - residual for i, residual in enumerate(residuals)]
        upper = [tested[m, i, o] + residual for i, residual in enumerate(residuals)]
        # The lower end is the floor((1 - coverage)(N + 1))-th smallest, counted here from the largest.
        result[m, 0, o] = -order_statistic([-value for value in lower], rank)
        result[m, 1, o] = order_statistic(upper, rank)
    return result


def weighted_jackknife_plus(own: Array, tested: Array, y: Array, weights: Array, coverage: float) -> Array:
    """The same with a count of weights in the place of ranks."""
    needed = coverage * (weights.sum() + 1)
    result = np.empty((len(tested), 2, y.shape[1]))
    for m, o in np.ndindex(len(tested), y.shape[1]):
        residuals = np.abs(y[:, o] - own[:, o])
        result[m, 0, o] = -weighted_statistic(list(residuals - tested[m, :, o]), weights, needed)
        result[m, 1, o] = weighted_statistic(list(residuals + tested[m, :, o]), weights, needed)
    return result


def cross_conformal(own: Array, tested: Array, codes: Array, weights: Array, coverage: Fraction) -> Array:
    """The sets (M, C) of the negative margin: the classes that are stranger than few of the training rows."""
    classes = tested.shape[2]

    def score(decision: Array, c: int) -> float:
        return max(decision[k] for k in range(classes) if k != c) - decision[c]

    result = np.empty((len(tested), classes), dtype=bool)
    for m, c in np.ndindex(len(tested), classes):
        below = sum(weight for i, weight in enumerate(weights) if score(own[i], codes[i]) < score(tested[m, i], c))
        result[m, c] = below < coverage * (sum(weights) + 1)
    return result
