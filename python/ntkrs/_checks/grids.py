"""Checks of the numbers that formulas are evaluated at: values that broadcast, and vectors of scales."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ntkrs._checks import arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike


def broadcast(**values: ArrayLike) -> tuple[NDArray[np.float64], ...]:
    """Return finite float64 arrays of one shape, to which the values broadcast by NumPy's rules.

    Raises
    ------
    TypeError, ValueError
        If the shapes do not fit together, or as for :func:`ntkrs._checks.arrays.finite_float64`.
    """
    found = [arrays.finite_float64(value, name) for name, value in values.items()]
    try:
        shape = np.broadcast_shapes(*(array.shape for array in found))
    except ValueError:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in zip(values, found, strict=True))
        raise ValueError(f"the shapes do not broadcast to one shape: {shapes}") from None
    return tuple(np.broadcast_to(array, shape) for array in found)


def scale_vector(values: ArrayLike, name: str, *, positive: bool) -> NDArray[np.float64]:
    """Return a number or a vector as a float64 vector of at least one entry, all >= 0, or all > 0 if ``positive``.

    Raises
    ------
    TypeError, ValueError
        If it is anything else, or as for :func:`ntkrs._checks.arrays.finite_float64`.
    """
    array = np.atleast_1d(arrays.finite_float64(values, name))
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}, but a number or a vector of at least 1 entry is needed")
    bad = array <= 0 if positive else array < 0
    if bad.any():
        domain = "positive" if positive else ">= 0"
        raise ValueError(f"{name} holds {array[bad][0]}, but must be {domain}")
    return array
