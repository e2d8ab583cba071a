"""Derivatives of infinite-width kernels with respect to their first input: central differences in mpmath.

The recursion is that of `oracles.infinite`. A step of 1e-40 leaves errors of 1e-80 times a third derivative, which
between rows that are 1e-15 apart is 1e30, and of 1e-50 from its rounding. At a cusp the differences from both sides
cancel, up to 1e-40.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import infinite
from .finite import scales
from .infinite import mp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .activations import Activation, Array
    from .finite import Scale

STEP = "1e-40"


def derivatives(
    x: Array, z: Array, sigma_w: Scale, sigma_b: Scale, activations: Sequence[Activation]
) -> tuple[Array, Array]:
    """(d1 nngp, d1 ntk), (N, M, d) each, in float64: entry (i, j, k) is the derivative of K(x_i, z_j) in x_ik."""
    rows, columns = infinite._exact(x), infinite._exact(z)
    sw, sb = (scales(sigma, len(activations) + 1) for sigma in (sigma_w, sigma_b))
    with mp.workdps(infinite._working_digits(rows + columns, sw, sb, activations, 90)):
        step = mp.mpf(STEP)
        q = [infinite._diagonal(column, sw, sb, activations) for column in columns]
        differences = []
        for row in rows:
            for k in range(len(row)):
                sides = []
                for h in (step, -step):
                    moved = [*row[:k], row[k] + h, *row[k + 1 :]]
                    own = infinite._diagonal(moved, sw, sb, activations)
                    pairs = zip(columns, q, strict=True)
                    sides.append(
                        [infinite._recursion(moved, c, own, q2, sw, sb, (sw, sb), activations) for c, q2 in pairs]
                    )
                above, below = np.array(sides, dtype=object)  # (M, 2)
                differences.append((above - below) / (2 * step))
    shape = (len(rows), len(rows[0]), len(columns), 2)
    nngp, ntk = np.moveaxis(np.array(differences, dtype=float).reshape(shape), -1, 0)
    return nngp.swapaxes(1, 2), ntk.swapaxes(1, 2)


def of_the_diagonal(x: Array, sigma_w: Scale, sigma_b: Scale, activations: Sequence[Activation]) -> tuple[Array, Array]:
    """(d nngp, d ntk), (N, d) each: the derivatives of K(x_i, x_i) in x_i, both arguments together."""
    rows = infinite._exact(x)
    sw, sb = (scales(sigma, len(activations) + 1) for sigma in (sigma_w, sigma_b))
    with mp.workdps(infinite._working_digits(rows, sw, sb, activations, 90)):
        step = mp.mpf(STEP)
        differences = []
        for row in rows:
            for k in range(len(row)):
                sides = []
                for h in (step, -step):
                    moved = [*row[:k], row[k] + h, *row[k + 1 :]]
                    own = infinite._diagonal(moved, sw, sb, activations)
                    sides.append(infinite._recursion(moved, moved, own, own, sw, sb, (sw, sb), activations))
                differences.append([(above - below) / (2 * step) for above, below in zip(*sides, strict=True)])
    both = np.array(differences, dtype=float).reshape(*np.shape(x), 2)
    return both[..., 0], both[..., 1]
