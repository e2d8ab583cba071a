"""Cholesky factorization and triangular solves panel by panel, so that Ctrl-C takes effect within milliseconds.

All functions take an array A, with unit stride along rows or columns, whose lower triangle is the matrix, or its factor
L. The strict upper triangle is never read nor written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

#: The number of columns in a panel.
_PANEL = 512

#: The number of columns in a block of a panel.
_BLOCK = 64

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
    Left-looking: a panel is updated with all columns before it, then factorized. N³/3 flops, nearly all in products.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.solvers.panels import factorize
    >>> A = np.array([[4.0, 7.0], [2.0, 5.0]])
    >>> factorize(A), A.tolist()
    (0, [[2.0, 7.0], [1.0, 2.0]])
    """
    n, count = A.shape
    least = n * float(np.finfo(A.dtype).eps) * A.diagonal()
    for panel in _panels(count):
        _update(A, panel)
        square = A[panel, panel]
        lower, info = _routine("lapack", "potrf", A)(square, lower=1, clean=1)
        if info:
            return int(panel.start + info)
        small = np.flatnonzero(lower.diagonal() ** 2 <= least[panel])
        if len(small):
            return int(panel.start + small[0]) + 1
        np.copyto(square, lower, where=_lower(len(square)))
        _divide(A, panel)
    return 0


def solve_lower(L: NDArray[np.floating], B: NDArray[np.floating]) -> None:
    """Overwrite B (N, c) by ``L⁻¹ B``."""
    for panel in _panels(len(L)):
        B[panel] -= L[panel, : panel.start] @ B[: panel.start]
        B[panel] = _triangular(L[panel, panel], B[panel], transposed=False)


def solve_upper(L: NDArray[np.floating], B: NDArray[np.floating]) -> None:
    """Overwrite B (N, c) by ``L⁻ᵀ B``."""
    for panel in reversed(list(_panels(len(L)))):
        B[panel] -= L[panel.stop :, panel].T @ B[panel.stop :]
        B[panel] = _triangular(L[panel, panel], B[panel], transposed=True)


def subtract_square(A: NDArray[np.floating], L: NDArray[np.floating]) -> None:
    """Subtract ``L Lᵀ`` from the lower triangle of A (N, N), for L (N, m)."""
    for panel in _panels(len(A)):
        rows = L[panel]
        square = A[panel, panel]
        np.subtract(square, rows @ rows.T, out=square, where=_lower(len(square)))
        for below in _chunks(panel.stop, len(A), rows.size):
            A[below, panel] -= L[below] @ rows.T


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


def _update(A: NDArray[np.floating], panel: slice) -> None:
    """Subtract the product of the columns before a panel from it, in the lower triangle."""
    if not panel.start:
        return
    before = A[panel, : panel.start]
    change = _routine("blas", "syrk", A)(1.0, before.T, trans=1, lower=1)
    np.subtract(A[panel, panel], change, out=A[panel, panel], where=_lower(len(change)))
    for rows in _chunks(panel.stop, len(A), before.size):
        A[rows, panel] -= A[rows, : panel.start] @ before.T


def _divide(A: NDArray[np.floating], panel: slice) -> None:
    """Multiply the rows below a panel by ``L⁻ᵀ``, where L is the triangle of the panel.

    Blocks of it are inverted, because BLAS is three times as fast on products as on triangular solves.
    """
    for start in range(panel.start, panel.stop, _BLOCK):
        block = slice(start, min(start + _BLOCK, panel.stop))
        solved = slice(panel.start, start)
        inverse = _routine("lapack", "trtri", A)(np.tril(A[block, block]), lower=1)[0].T
        for rows in _chunks(panel.stop, len(A), _PANEL * _BLOCK):
            A[rows, block] = (A[rows, block] - A[rows, solved] @ A[block, solved].T) @ inverse


def _routine(library: str, name: str, A: NDArray[np.floating]) -> Any:
    """Return a routine of BLAS or LAPACK for the dtype of A."""
    from scipy.linalg import blas, lapack

    return getattr({"blas": blas, "lapack": lapack}[library], ("s" if A.dtype == np.float32 else "d") + name)


def _triangular(square: NDArray[np.floating], right: NDArray[np.floating], *, transposed: bool) -> Any:
    """Return the solution of a triangular system."""
    from scipy.linalg import solve_triangular

    return solve_triangular(square, right, trans=int(transposed), lower=True, check_finite=False)


def _lower(n: int) -> NDArray[np.bool_]:
    """Return True on and below the diagonal."""
    return np.tri(n, dtype=np.bool_)


def _panels(n: int) -> Iterator[slice]:
    """Yield the panels of an array with n columns."""
    for start in range(0, n, _PANEL):
        yield slice(start, min(start + _PANEL, n))


def _chunks(start: int, stop: int, each: int) -> Iterator[slice]:
    """Yield slices of rows, each of which takes ``each`` multiplications."""
    step = max(64, int(_MOST / max(each, 1)))
    for first in range(start, stop, step):
        yield slice(first, min(first + step, stop))
