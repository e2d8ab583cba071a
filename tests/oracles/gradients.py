"""Derivatives of infinite-width kernels with respect to the sigmas: central differences in mpmath.

The recursion is that of `oracles.infinite`, to at least 50 digits. A step of 1e-18 leaves errors of 1e-36 times a third
derivative, and of 1e-32 from its rounding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import infinite
from .infinite import mp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .activations import Activation, Array

STEP = "1e-18"


def gradients(
    x: Array, sigma_w: Sequence[float], sigma_b: Sequence[float], activations: Sequence[Activation]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """((d nngp / d sigma_w, d nngp / d sigma_b), (the same for ntk)), (L, N, N) each, in float64."""
    rows = infinite._exact(x)
    sigmas = [*sigma_w, *sigma_b]
    with mp.workdps(infinite._working_digits(rows, list(sigma_w), list(sigma_b), activations, 50)):
        exact = [mp.mpf(float(sigma)) for sigma in sigmas]
        step = mp.mpf(STEP)
        derivatives = []
        for index in range(len(exact)):
            above, below = (
                _kernels(rows, [*exact[:index], exact[index] + h, *exact[index + 1 :]], activations)
                for h in (step, -step)
            )
            derivatives.append((above - below) / (2 * step))
    both = np.array(derivatives, dtype=float)  # (2 L, N, N, 2)
    layers = len(sigma_w)
    nngp, ntk = np.moveaxis(both, -1, 0)
    return (nngp[:layers], nngp[layers:]), (ntk[:layers], ntk[layers:])


def _kernels(rows: list[list[Any]], sigmas: list[Any], activations: Sequence[Activation]) -> Array:
    """(N, N, 2): NNGP and NTK of each pair."""
    layers = len(sigmas) // 2
    sw, sb = sigmas[:layers], sigmas[layers:]
    q = [infinite._diagonal(row, sw, sb, activations) for row in rows]
    size = len(rows)
    result = np.empty((size, size, 2), dtype=object)
    for i in range(size):
        for j in range(i + 1):
            pair = infinite._recursion(rows[i], rows[j], q[i], q[j], sw, sb, (sw, sb), activations)
            result[i, j] = result[j, i] = pair
    return result
