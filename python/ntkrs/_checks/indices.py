"""The only place where users' indices of rows and columns are converted or rejected."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from ntkrs._checks.advice import shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike


def checked_indices(values: ArrayLike, size: int, name: str = "indices") -> NDArray[np.int64]:
    """Return indices from 0 to ``size - 1`` as an array (m,), in any order and with repeats.

    Raises
    ------
    TypeError
        If they are not integers.
    ValueError
        If they have more than one axis.
    IndexError
        If one of them is out of range.
    """
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name} is {shown(values)}, but a one-dimensional sequence of indices is needed")
    if not array.size:
        return np.empty(0, np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {array.dtype}, but integers are needed. Pass numpy.flatnonzero of a mask.")
    for extreme in (int(array.min()), int(array.max())):
        if not 0 <= extreme < size:
            raise IndexError(f"{name} holds {extreme}, but must be from 0 to {size - 1}")
    return cast("NDArray[np.int64]", array.astype(np.int64))
