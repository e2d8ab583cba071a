"""Bounds on what truncated series leave out of a kernel."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np


class ErrorBound(NamedTuple):
    """What :meth:`Kernel.error_bound` returns, in units of √(K_ii K_jj)."""

    nngp: float
    ntk: float


#: Errors above this, in units of √(K_ii K_jj), are warned of.
_TOLERANCE = 1e-10


def warn_of_truncation(bound: ErrorBound, dtype: np.dtype[Any], stacklevel: int) -> None:
    """Warn of entries that may be off by more than round-off; ``stacklevel`` is that of the caller's caller's line."""
    if max(bound) > max(_TOLERANCE, np.finfo(dtype).eps):
        warnings.warn(
            f"the kernel's series are too short for these inputs: entries may be off by {bound.nngp:.1e} (nngp) and "
            f"{bound.ntk:.1e} (ntk) of √(K_ii K_jj). Kinks away from 0, and inputs or sigma_w that are very large, "
            "make series too long.",
            RuntimeWarning,
            stacklevel=stacklevel,
        )
