"""Calibrated probabilities: the temperature of a softmax that fits decisions made out of sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]

#: The least and the largest temperature. Decisions are of the size of the labels ±1.
LEAST, MOST = 1e-3, 1e3


def fitted(decisions: Vector, codes: NDArray[np.intp], weights: Vector) -> float:
    """Return the temperature T of the least weighted log loss of ``softmax(decisions/T)``.

    The label of a row gives its class the probability 1 − ε, and the others ε together, with ``ε = 1/(Σw + 2)``.

    Parameters
    ----------
    decisions : (N,) or (N, C) ndarray
        Decisions made without each row, with one column if there are two classes.
    codes : (N,) integer array
        The classes of the rows.
    weights : (N,) ndarray
        Their weights.

    Notes
    -----
    The loss is convex in 1/T, so the root of its derivative is found to the last digits. Without the smoothing of
    labels, T would be 0 where no decision is wrong.

    References
    ----------
    Platt (1999) for the smoothing; Guo et al. (2017) for the temperature.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.sklearn.temperature import fitted
    >>> codes, right = np.arange(1000) % 2, np.arange(1000) >= 200
    >>> T = fitted(np.where(right == (codes == 1), 1.0, -1.0), codes, np.ones(1000))
    >>> round(float(1 / (1 + np.exp(-1 / T))), 2)  # four of five decisions are right
    0.8
    """
    from scipy.optimize import brentq
    from scipy.special import softmax

    columns = decisions if decisions.ndim == 2 else np.column_stack([np.zeros(len(decisions)), decisions])
    count = columns.shape[1]
    rest = 1 / (weights.sum() + 2)
    targets = np.full(columns.shape, rest / (count - 1))
    targets[np.arange(len(codes)), codes] = 1 - rest

    def slope(log_inverse: float) -> float:
        """Return the derivative of the loss with respect to 1/T."""
        gaps = softmax(np.exp(log_inverse) * columns, axis=1) - targets
        return float(weights @ (gaps * columns).sum(axis=1))

    low, high = -np.log(MOST), -np.log(LEAST)
    if slope(low) >= 0:
        return MOST
    if slope(high) <= 0:
        return LEAST
    return float(np.exp(-brentq(slope, low, high, xtol=1e-14, rtol=1e-14)))
