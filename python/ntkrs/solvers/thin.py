"""Products with tall, thin matrices in float64, whose bits do not depend on the threads of BLAS.

BLAS splits large products between threads, and each split rounds in its own way. OpenBLAS computes products of at most
2¹⁸ multiplications on one thread, or 9216 with a vector, and so larger ones are cut into tiles of that size here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ntkrs._typing import Array

#: A tile has 64 rows of U, 128 of its columns, and at most 32 columns of the other factor: 2¹⁸ multiplications.
_ROWS, _INNER, _COLUMNS = 64, 128, 32

#: The number of rows that are converted at once: they stay in the cache, and Ctrl-C takes effect between them.
_BAND = 4 * _ROWS


def times(U: Array, W: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``U W``, (N, c), in float64 for U (N, k) of either dtype and W (k, c).

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.solvers.thin import times, transposed_times
    >>> U, W = np.arange(6.0).reshape(3, 2), np.array([[1.0], [2.0]])
    >>> times(U, W).ravel().tolist(), transposed_times(U, times(U, W)).ravel().tolist()
    ([2.0, 8.0, 14.0], [72.0, 96.0])
    """
    k, count = W.shape
    result = np.empty((len(U), count))
    for rows, tiles in _bands(U):
        band = np.zeros((len(tiles), _ROWS, count))
        for inner in _slices(k, _INNER):
            for columns in _slices(count, _COLUMNS):
                band[:, :, columns] += tiles[:, :, inner] @ W[inner, columns]
        result[rows] = band.reshape(len(tiles) * _ROWS, count)[: rows.stop - rows.start]
    return result


def transposed_times(U: Array, R: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``Uᵀ R``, (k, c), in float64 for U (N, k) of either dtype and R (N, c)."""
    k, count = U.shape[1], R.shape[1]
    result = np.zeros((k, count))
    for rows, tiles in _bands(U):
        padded = np.zeros((len(tiles) * _ROWS, count))
        padded[: rows.stop - rows.start] = R[rows]
        right = padded.reshape(len(tiles), _ROWS, count)
        for inner in _slices(k, _INNER):
            turned = tiles[:, :, inner].transpose(0, 2, 1)
            for columns in _slices(count, _COLUMNS):
                result[inner, columns] += (turned @ right[:, :, columns]).sum(axis=0)
    return result


def _bands(U: Array) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield bands of rows and their tiles (tiles, 64, k) in float64. Rows of zeros fill the last tile."""
    n, k = U.shape
    for start in range(0, n, _BAND):
        stop = min(start + _BAND, n)
        count = -(-(stop - start) // _ROWS)
        band = np.ascontiguousarray(U[start:stop], dtype=np.float64)
        if count * _ROWS > stop - start:
            band = np.concatenate([band, np.zeros((count * _ROWS - (stop - start), k))])
        yield slice(start, stop), band.reshape(count, _ROWS, k)


def _slices(size: int, step: int) -> Iterator[slice]:
    """Yield slices of at most ``step``."""
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))
