"""Cholesky factorization and triangular solves panel by panel, so that Ctrl-C takes effect within milliseconds.

All functions take an array A, with unit stride along rows or columns, whose lower triangle is the matrix, or its factor
L. The strict upper triangle is never read nor written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ntkrs.solvers import in_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

#: The number of columns in a panel: narrower ones make products slower, and wider ones the triangular solves.
_PANEL = 1024

#: The number of columns in a panel of a triangular system with few right-hand sides.
_SOLVED = 512

#: The most columns that are multiplied with at a time, for products of many rows even in large matrices.
_DEPTH = 4096

#: The most multiplications in one call of BLAS.
_MOST = 2.5e9


def factorize(A: NDArray[np.floating]) -> int:
    """Overwrite the lower triangle of A (N, N) by its Cholesky factor L.

    Of a lower trapezoid (N, m), overwrite the first m columns of a matrix by those of L.

    Returns
    -------
    int
        0, or the number of the pivot, from 1, that is not positive or is round-off: at most ``N·ε·A_pp``. The triangle
        is then of no use.

    Notes
    -----
    Left-looking: a panel is updated with all columns before it, then factorized. N³/3 flops, nearly all in products,
    and no array of products.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.solvers.panels import factorize
    >>> A = np.array([[4.0, 7.0], [2.0, 5.0]])
    >>> factorize(A), A.tolist()
    (0, [[2.0, 7.0], [1.0, 2.0]])
    """
    count = A.shape[1]
    least = len(A) * float(np.finfo(A.dtype).eps) * A.diagonal()
    for panel in _panels(count, _PANEL):
        square = A[panel, panel]
        _subtract(A, panel, A[:, : panel.start])
        info = in_place.factorize(square)
        if info:
            return int(panel.start + info)
        small = np.flatnonzero(square.diagonal() ** 2 <= least[panel])
        if len(small):
            return int(panel.start + small[0]) + 1
        for rows in _chunks(panel.stop, len(A), square.size):
            in_place.divide(A[rows, panel], square)
    return 0


def solve_lower(L: NDArray[np.floating], B: NDArray[np.floating]) -> None:
    """Overwrite B (N, c) by ``L⁻¹ B``."""
    for panel in _panels(len(L), _SOLVED):
        in_place.subtract_product(B[panel], L[panel, : panel.start], B[: panel.start].T)
        in_place.divide(B[panel].T, L[panel, panel])


def solve_upper(L: NDArray[np.floating], B: NDArray[np.floating]) -> None:
    """Overwrite B (N, c) by ``L⁻ᵀ B``."""
    for panel in reversed(list(_panels(len(L), _SOLVED))):
        in_place.subtract_product(B[panel], L[panel.stop :, panel].T, B[panel.stop :].T)
        in_place.divide(B[panel].T, L[panel, panel], transposed=False)


def subtract_square(A: NDArray[np.floating], L: NDArray[np.floating]) -> None:
    """Subtract ``L Lᵀ`` from the lower triangle of A (N, N), for L (N, m)."""
    for panel in _panels(len(A), _PANEL):
        _subtract(A, panel, L)


def least_inverse(solve: Callable[[NDArray[np.float64]], NDArray[np.float64]], n: int) -> float:
    """Return an estimate of ``1/‖A⁻¹‖₁`` for a symmetric A, as LAPACK's ``pocon`` does, from some 5 pairs of solutions.

    ``solve`` maps B (n, 1) to ``A⁻¹ B``.

    References
    ----------
    Hager (1984); Higham (1988).
    """

    def inverse(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return solve(x[:, None])[:, 0]

    x, largest = np.full(n, 1.0 / n), 0.0
    for _ in range(5):
        y = inverse(x)
        z = inverse(np.copysign(1.0, y))
        grown, at = float(np.abs(y).sum()), int(np.abs(z).argmax())
        if grown <= largest or abs(z[at]) <= z @ x:
            largest = max(largest, grown)
            break
        largest, x = grown, np.zeros(n)
        x[at] = 1.0
    index = np.arange(n)
    alternating = (1.0 - 2.0 * (index % 2)) * (1.0 + index / max(n - 1, 1))
    largest = max(largest, 2.0 * float(np.abs(inverse(alternating)).sum()) / (3.0 * n))
    return 1.0 / largest


def _subtract(A: NDArray[np.floating], panel: slice, L: NDArray[np.floating]) -> None:
    """Subtract the columns ``panel`` of ``L Lᵀ`` from those of A, on and below the diagonal, for L (N, k)."""
    for start in range(0, L.shape[1], _DEPTH):
        part = L[:, start : start + _DEPTH]
        in_place.subtract_square(A[panel, panel], part[panel])
        for rows in _chunks(panel.stop, len(A), part[panel].size):
            in_place.subtract_product(A[rows, panel], part[rows], part[panel])


def _panels(n: int, width: int) -> Iterator[slice]:
    """Yield the panels of an array with n columns."""
    for start in range(0, n, width):
        yield slice(start, min(start + width, n))


def _chunks(start: int, stop: int, each: int) -> Iterator[slice]:
    """Yield slices of rows, each of which takes ``each`` multiplications."""
    step = max(64, int(_MOST / max(each, 1)))
    for first in range(start, stop, step):
        yield slice(first, min(first + step, stop))
