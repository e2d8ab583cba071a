"""Checks of the arguments of :func:`ntkrs.solve`: a kernel in any form, right-hand sides, ridges, options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._checks import arrays, chunks, kernels, numbers, regression
from ntkrs._checks.advice import shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike

#: The number of rows in a block. Ctrl-C takes effect between blocks.
_ROWS = 256

#: Products with a matrix and with its transpose may differ by this many units of round-off times √N.
_ROUND_OFF = 1e3


def kernel_matrix(K: ArrayLike) -> Array:
    """Return K as a finite symmetric array (N, N) of float32 or float64.

    Raises
    ------
    TypeError
        If it does not hold real numbers.
    ValueError
        If it is not (N, N), holds NaN or an infinity, or is far from symmetric.
    """
    matrix = kernels.kernel_entries(K, "K")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"K has shape {matrix.shape}, but (N, N) is needed")
    if matrix.size and not _symmetric(matrix):
        raise ValueError(
            "K differs from its transpose, but a kernel on the training inputs is symmetric. Did you pass a test-train "
            "kernel?"
        )
    return matrix


def kernel_operator(K: Any) -> Any:
    """Return K if it is a square operator of float32 or float64.

    Raises
    ------
    TypeError, ValueError
        If it is not.
    """
    shape, dtype = tuple(K.shape), np.dtype(K.dtype)
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(f"K is an operator of shape {shape}, but a square one is needed")
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"K is an operator of dtype {dtype}, but float32 or float64 is needed")
    return K


def right_hand_sides(y: ArrayLike, size: int) -> NDArray[np.float64]:
    """Return y, (N,) or (N, O), as a finite float64 array.

    Raises
    ------
    TypeError, ValueError
        If it has another shape, is not finite, or does not hold real numbers.
    """
    values = arrays.finite(arrays.floating(y, "y"), "y")
    if values.ndim not in (1, 2):
        raise ValueError(f"y has shape {values.shape}, but (N,) or (N, O) is needed")
    if len(values) != size:
        raise ValueError(f"y has shape {values.shape}, but K has shape {(size, size)}: N must be the same")
    if values.shape[1:] == (0,):
        raise ValueError(f"y has shape {values.shape}, but at least 1 column is needed")
    return np.asarray(chunks.converted(values, np.float64))


def ridges(diag_reg: ArrayLike) -> NDArray[np.float64]:
    """Return one or several ridges >= 0, as an array () or (R,).

    Raises
    ------
    TypeError, ValueError
        If they are negative, not finite, not numbers, or none.
    """
    values = regression.levels(diag_reg, "diag_reg")
    if not values.size:
        raise ValueError("diag_reg has shape (0,), but at least 1 ridge is needed")
    return values


def tolerance(value: object) -> float:
    """Return a relative residual in (0, 1).

    Raises
    ------
    TypeError, ValueError
        If it is anything else.
    """
    number = numbers.positive(value, "tolerance")
    if number >= 1:
        raise ValueError(f"tolerance is {number}, but must be below 1, the relative residual of alpha = 0")
    return number


def preconditioner(value: Any, size: int) -> Any:
    """Return the name of a preconditioner, None, or an operator of the order of K.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    if value is None or (isinstance(value, str) and value in ("rpcholesky", "nystrom")):
        return value
    if not kernels.is_operator(value):
        raise ValueError(
            f"preconditioner is {shown(value)}, but must be 'rpcholesky', 'nystrom', None, or a LinearOperator that "
            "approximates (K + diag_reg I)^-1"
        )
    if tuple(value.shape) != (size, size):
        raise ValueError(f"preconditioner has shape {tuple(value.shape)}, but K has shape {(size, size)}")
    return value


def _symmetric(matrix: Array) -> bool:
    """Return True if products with the matrix and with its transpose agree up to round-off, for a random vector."""
    n = len(matrix)
    probe = np.random.default_rng(0).standard_normal((n, 2))
    scale = float(max(matrix.max(), -matrix.min()))
    if scale == 0:
        return True
    image, mirrored, length = np.zeros((n, 2)), np.zeros((n, 2)), np.zeros(n)
    for start in range(0, n, _ROWS):
        rows = slice(start, start + _ROWS)
        block = np.divide(matrix[rows], scale, dtype=np.float64)
        image[rows] = block @ probe
        mirrored += block.T @ probe[rows]
        length[rows] = np.einsum("ij,ij->i", block, block)
    allowed = _ROUND_OFF * float(np.finfo(matrix.dtype).eps) * max(1.0, float(np.sqrt(length.max())))
    return bool(np.abs(image - mirrored).max() <= allowed * np.sqrt(np.log(n + 2)))
