"""Kernel matrices and targets as users pass them to the diagnostics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ntkrs._checks import arrays, kernels, memory
from ntkrs._checks.scaling import scaled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike


def kernel_matrix(k: ArrayLike, name: str = "k") -> tuple[NDArray[np.float64], float]:
    """Return a kernel as a symmetric matrix, divided by a power of two, and the ε of its dtype.

    The matrix is (N, N), or (N·O, N·O) for a kernel (N, N, O, O).

    Raises
    ------
    TypeError, ValueError
        If the kernel does not consist of finite real numbers, or is not square, not symmetric, or empty.
    MemoryError
        If its copy does not fit in memory.
    """
    kernel = arrays.finite(arrays.floating(k, name), name)
    kernels.check_square(kernel, name)
    if kernel.size == 0:
        raise ValueError(f"{name} is empty, but a kernel of at least 1 sample is needed")
    eps = float(np.finfo(kernel.dtype).eps)
    with memory.required(8 * kernel.size, f"a copy of {name}", "Use fewer samples."):
        matrix, exponent = scaled(kernels.flatten(kernel).astype(np.float64, copy=False))
        return kernels.symmetric(matrix, exponent, eps, name), eps


def label_columns(y: ArrayLike, size: int, name: str = "y") -> NDArray[np.float64]:
    """Return targets as columns for a kernel of order ``size``, divided by a power of two.

    Raises
    ------
    TypeError, ValueError
        If the targets do not consist of finite real numbers, do not fit the kernel, or are all 0.
    """
    labels: Array = arrays.finite(arrays.floating(y, name), name)
    if labels.ndim not in (1, 2) or size not in (len(labels), labels.size):
        raise ValueError(f"{name} has shape {labels.shape}, but (N,) or (N, O) is needed, k being of order {size}")
    values = scaled(labels.astype(np.float64))[0]
    if not values.any():
        raise ValueError(f"{name} is all 0: it has no direction")
    return values.reshape(size, -1)
