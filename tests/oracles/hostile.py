"""Inputs that cost kernels their digits."""

import numpy as np


def hostile_rows(shape, scale=30.0):
    """Return 13 rows or more, in every relative position that costs digits somewhere. ``scale`` is that of row 9."""
    x = np.random.default_rng(0).standard_normal(shape)
    x[1] = x[0]
    x[2] = 3 * x[0]
    for row, distance in zip(range(3, 8), (1e-15, 1e-12, 1e-9, 1e-5, 1e-2), strict=True):
        x[row] = x[0] * (1 + distance * x[row])
    x[8] = 0.0
    x[9] *= scale
    x[10] -= x[0] * (x[10] @ x[0]) / (x[0] @ x[0])
    x[11] = -2 * x[0]
    x[12] = -x[0] * (1 + 1e-9 * x[12])
    x[13:] = 2 * x[0] * (1 + 1e-13 * x[13:])
    return x
