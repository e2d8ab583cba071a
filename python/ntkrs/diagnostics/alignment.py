"""Alignment of a kernel with targets, in one number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ntkrs.diagnostics._matrices import kernel_matrix, label_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike


def kernel_target_alignment(k: ArrayLike, y: ArrayLike) -> float:
    """Return the cosine between a kernel and the ideal kernel YYᵀ of the targets.

    ``⟨K, YYᵀ⟩_F / (‖K‖_F ‖YYᵀ‖_F)``, which is in [0, 1] for a positive semidefinite kernel.

    Parameters
    ----------
    k : (N, N) or (N, N, O, O) array_like
        Kernel matrix.
    y : (N,) or (N, O) array_like
        Targets, ±1 or one-hot.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If the kernel is not square, not symmetric, not finite, or all 0, or if the targets do not fit or are all 0.

    Notes
    -----
    O(N² O) time. YYᵀ is not formed.

    References
    ----------
    Cristianini, Shawe-Taylor, Elisseeff, Kandola (2001).

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.diagnostics import kernel_target_alignment
    >>> y = np.array([1.0, -1.0, 1.0, -1.0])
    >>> round(kernel_target_alignment(np.outer(y, y), y), 12)
    1.0
    >>> round(kernel_target_alignment(np.eye(4), y), 12)  # N^{-1/2}
    0.5
    """
    matrix, _ = kernel_matrix(k)
    return _cosine(matrix, label_columns(y, len(matrix)))


def centred_alignment(k: ArrayLike, y: ArrayLike) -> float:
    """Return the alignment of a kernel with targets after centring both in feature space.

    This is :func:`kernel_target_alignment` of ``HKH`` and ``HY`` with ``H = I − 11ᵀ/N``, so a constant added to either
    does not count.

    Parameters
    ----------
    k : (N, N) array_like
        Kernel matrix.
    y : (N,) or (N, O) array_like
        Labels.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        As in :func:`kernel_target_alignment`, or if the kernel or the targets are constant.

    Notes
    -----
    O(N² O) time and one copy of the kernel.

    References
    ----------
    Cortes, Mohri, Rostamizadeh (2012), definition 4.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.diagnostics import centred_alignment
    >>> y = np.array([1.0, -1.0, 1.0])
    >>> round(centred_alignment(7 + np.outer(y, y), y + 3), 12)
    1.0
    """
    matrix, eps = kernel_matrix(k)
    labels = label_columns(y, len(matrix))
    if labels.size != np.size(y) or np.ndim(k) != 2:
        raise ValueError(f"k has shape {np.shape(k)}, but centring is over samples: (N, N) is needed")
    means = matrix.mean(axis=0)
    centred = matrix - means - means[:, None] + means.mean()
    rounding = 8 * eps * len(matrix)
    if np.abs(centred).max() <= rounding * np.abs(matrix).max():
        raise ValueError("k is constant: after centring nothing is left")
    spread = labels - labels.mean(axis=0)
    if np.abs(spread).max() <= rounding * np.abs(labels).max():
        raise ValueError("y is constant: after centring nothing is left")
    return _cosine(centred, spread)


def _cosine(matrix: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    """Return the cosine between a symmetric matrix K and YYᵀ, computed as ``tr(Yᵀ K Y)/(‖K‖_F ‖YᵀY‖_F)``."""
    length = float(np.linalg.norm(matrix))
    if length == 0:
        raise ValueError("k is all 0: it has no direction")
    return float(np.sum(labels * (matrix @ labels)) / (length * np.linalg.norm(labels.T @ labels)))
