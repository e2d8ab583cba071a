"""The size of eigenvalues that round-off alone explains."""

from __future__ import annotations

import numpy as np

#: Eigenvalues within this times ε·trace of 0 are round-off.
ROUND_OFF = 32.0


def cutoff(trace: float, size: int, eps: float) -> float:
    """Return the magnitude up to which eigenvalues of a kernel count as 0.

    ``32·ε·trace`` in float64, and ``32·ε·√N`` times the mean of the diagonal in float32.

    Parameters
    ----------
    trace : float
        The sum of the magnitudes of the eigenvalues, which is the trace of a kernel.
    size : int
        The order N of the kernel.
    eps : float
        ε of the kernel's dtype.

    Notes
    -----
    Independent errors of ε in the entries move eigenvalues by some ε·√N times the mean of the diagonal. In float64 the
    bound is larger by √N, which no kernel in use comes near. In float32 it would discard modes that carry information.

    Examples
    --------
    >>> from ntkrs.solvers.round_off import cutoff
    >>> cutoff(trace=1.0, size=1, eps=2.0**-52) == 32 * 2.0**-52
    True
    """
    bound = ROUND_OFF * eps * trace
    return bound if eps <= np.finfo(np.float64).eps else bound / max(size, 1) ** 0.5
