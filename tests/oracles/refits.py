"""Leave-one-out by refitting, in 50 digits: kernel ridge regression and gradient flow on the weighted square loss.

Kernels are (N, N), or (M, N) from test to training inputs. y is (N, O). A model is its spectral filter, a function of
the eigenvalues of S K S with S = diag(w)^1/2: 1/(x + r) for ridge regression, (1 - exp(-tau x))/x for gradient flow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import mpmath
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from .activations import Array

    Filter = Callable[[mpmath.mpf], mpmath.mpf]

#: Eigenvalues below this times the largest entry are 0 in exact arithmetic.
NULL = mpmath.mpf(10) ** -35


def ridge(r: float) -> Filter:
    """1 / (x + r), for r > 0."""
    return lambda x: 1 / (x + mpmath.mpf(r))


def flow(tau: float) -> Filter:
    """(1 - exp(-tau x)) / x; tau at x = 0."""
    return lambda x: -mpmath.expm1(-tau * x) / x if x else mpmath.mpf(tau)


def end(x: mpmath.mpf) -> mpmath.mpf:
    """1 / x, and 0 at x = 0: the pseudo-inverse."""
    return 1 / x if x else mpmath.mpf(0)


def fit(k: Array, y: Array, weights: Array, spectral: Filter, *, intercept: bool) -> tuple[list, list[list]]:
    """The intercepts, one for each output, and the coefficients of every row; those of rows of weight 0 are 0."""
    rows = [i for i, weight in enumerate(weights) if weight]
    w = [mpmath.mpf(float(weights[i])) for i in rows]
    outputs = range(y.shape[1])
    means = [
        sum(weight * mpmath.mpf(float(y[i, o])) for weight, i in zip(w, rows, strict=True)) / sum(w)
        if intercept
        else mpmath.mpf(0)
        for o in outputs
    ]
    size = len(rows)
    scaled = mpmath.matrix(size, size)
    for a in range(size):
        for b in range(size):
            scaled[a, b] = mpmath.sqrt(w[a] * w[b]) * mpmath.mpf(float(k[rows[a], rows[b]]))
    largest = max(abs(entry) for entry in scaled) or mpmath.mpf(1)
    values, vectors = mpmath.eigsy(scaled)
    filtered = [spectral(x if abs(x) > NULL * largest else mpmath.mpf(0)) for x in values]
    coefficients = [[mpmath.mpf(0)] * y.shape[1] for _ in weights]
    for o in outputs:
        target = [mpmath.sqrt(w[a]) * (mpmath.mpf(float(y[rows[a], o])) - means[o]) for a in range(size)]
        modes = [filtered[j] * sum(vectors[a, j] * target[a] for a in range(size)) for j in range(size)]
        for a in range(size):
            coefficients[rows[a]][o] = mpmath.sqrt(w[a]) * sum(vectors[a, j] * modes[j] for j in range(size))
    return means, coefficients


def predict(k_rows: Array, model: tuple[list, list[list]]) -> Array:
    """The predictions for rows of kernels, (M, O)."""
    means, coefficients = model
    return np.array(
        [
            [
                float(mean + sum(mpmath.mpf(float(entry)) * c[o] for entry, c in zip(row, coefficients, strict=True)))
                for o, mean in enumerate(means)
            ]
            for row in k_rows
        ]
    )


def without(weights: Array, i: int) -> Array:
    """The weights with row i left out: whole if its weight is at most 1, otherwise one copy of it."""
    left = np.array(weights, dtype=float)
    left[i] -= min(left[i], 1.0)
    return left


def trained(k: Array, y: Array, k_rows: Array, spectral: Filter, weights: Array, *, intercept: bool) -> Array:
    """The predictions at rows of kernels by the model of all samples, (M, O)."""
    with mpmath.workdps(50):
        return predict(k_rows, fit(k, y, weights, spectral, intercept=intercept))


def all_refits(
    k: Array, y: Array, k_rows: Array, spectral: Filter, weights: Array | None = None, *, intercept: bool = True
) -> Array:
    """The predictions at every row of kernels by every model without one sample, (M, N, O)."""
    weights = np.ones(len(y)) if weights is None else weights
    with mpmath.workdps(50):
        models = [fit(k, y, without(weights, i), spectral, intercept=intercept) for i in range(len(y))]
        return np.stack([predict(k_rows, model) for model in models], axis=1)


def leave_one_out(
    k: Array, y: Array, spectral: Filter, weights: Array | None = None, *, intercept: bool = True
) -> Array:
    """The prediction at every sample by the model without it, (N, O)."""
    weights = np.ones(len(y)) if weights is None else weights
    with mpmath.workdps(50):
        return np.concatenate(
            [
                predict(k[i : i + 1], fit(k, y, without(weights, i), spectral, intercept=intercept))
                for i in range(len(y))
            ]
        )
