"""Bounds on the error of a kernel that comes from truncated series."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ntkrs._runtime.warning import warn
from ntkrs.errors import TruncationWarning


class ErrorBound(NamedTuple):
    """Bounds on the errors of Σ (``nngp``) and Θ (``ntk``), in units of √(K_ii K_jj).

    :meth:`Kernel.error_bound` returns them.

    Examples
    --------
    >>> from ntkrs import mlp
    >>> bound = mlp(depth=1, width=1, outputs=1, activation="erf").kernel().error_bound([[1.0]])
    >>> max(bound)  # erf has a closed form
    0.0
    """

    nngp: float
    ntk: float


#: The largest bound that causes no warning, in units of √(K_ii K_jj); for float32 kernels it is their ε instead.
_TOLERANCE = 1e-10


def warn_of_truncation(bound: ErrorBound, dtype: np.dtype[Any]) -> None:
    """Warn if entries may be off by more than the tolerance and the ε of ``dtype``."""
    if max(bound) > max(_TOLERANCE, np.finfo(dtype).eps):
        warn(
            f"the kernel's series are too short for these inputs: entries may be off by {bound.nngp:.1e} (nngp) and "
            f"{bound.ntk:.1e} (ntk) of √(K_ii K_jj). A kink of an activation away from 0, or waves far from "
            "0, make series too long.",
            TruncationWarning,
        )
