"""Cholesky factors in LAPACK's rectangular full packed format, in half of the memory of a square matrix.

The format (transr = N, uplo = L) holds the lower triangle of a matrix of order N in a C-ordered array A of shape
(m, N + e), with m = ⌈N/2⌉, and e = 1 for even N, else 0. Two views of it are all that a factorization needs:

- the first m columns of the lower triangle, a trapezoid (N, m): the transpose of A without its first e columns;
- the lower triangle of the last N − m rows and columns: A without its first 1 − e rows, below the trapezoid's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._checks.scaling import exponent_of, ldexp, scaled
from ntkrs.solvers import in_place, panels
from ntkrs.solvers.cholesky import check_distinct, check_pivots
from ntkrs.solvers.round_off import cutoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

#: The number of rows that are packed at once. Ctrl-C takes effect between them.
_ROWS = 256


@dataclass(frozen=True, eq=False)
class PackedFactor:
    """The Cholesky factor L of ``K + rI = 2^exponent L Lᵀ``.

    Attributes
    ----------
    entries : (m, N + e) ndarray
        L in the packed format, in the dtype of K.
    exponent : int
        An exponent, which brings the largest entry near 1.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.solvers.packed import packed_factor
    >>> K = np.array([[2.0, 1.0], [1.0, 2.0]])
    >>> L = packed_factor(lambda start, stop: K[start:stop], np.diag(K), K.dtype, 0.0)
    >>> L.solve(np.array([[3.0], [0.0]])).round(12).tolist()
    [[2.0], [-1.0]]
    """

    entries: NDArray[Any]
    exponent: int

    @property
    def order(self) -> int:
        """N."""
        return _order(self.entries)

    def solve(self, columns: NDArray[np.float64], exponent: int = 0) -> NDArray[np.float64]:
        """Return ``2^exponent (K + rI)⁻¹ columns``, (n, c), by two triangular solves in the dtype of K."""
        shrunk, own = scaled(columns)
        return ldexp(self.solved(shrunk), own + exponent - self.exponent)

    def solved(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``(L Lᵀ)⁻¹ columns`` for columns near 1."""
        first, last = views(self.entries, self.order)
        m = first.shape[1]
        right = columns.astype(self.entries.dtype)
        top, bottom = right[:m], right[m:]
        panels.solve_lower(first[:m], top)
        in_place.subtract_product(bottom, first[m:], top.T)
        panels.solve_lower(last, bottom)
        panels.solve_upper(last, bottom)
        in_place.subtract_product(top, first[m:].T, bottom.T)
        panels.solve_upper(first[:m], top)
        return right.astype(np.float64, copy=False)


def packed_factor(
    rows: Callable[[int, int], NDArray[Any]], diagonal: NDArray[np.floating], dtype: np.dtype[Any], r: float
) -> PackedFactor:
    """Return the Cholesky factor of ``K + rI``, if it can be told from a singular matrix.

    Parameters
    ----------
    rows : callable
        Returns the rows of K from a start to a stop, (stop − start, N).
    diagonal : (N,) ndarray
        The diagonal of K.
    dtype : dtype
        float32 or float64.
    r : float
        The ridge.

    Raises
    ------
    numpy.linalg.LinAlgError
        As for :func:`ntkrs.solvers.cholesky.factor`.

    Notes
    -----
    n³/3 operations, and n²/2 numbers of memory.
    """
    n = len(diagonal)
    exponent = exponent_of(np.abs(diagonal), r)
    ridge = float(np.ldexp(r, -exponent))
    entries = np.empty(((n + 1) // 2, n + (n % 2 == 0)), dtype)
    _pack(entries, rows, exponent)
    first, last = views(entries, n)
    for part in (first, last):
        part[np.diag_indices(part.shape[1])] += ridge
    m = first.shape[1]
    failed = panels.factorize(first)
    if not failed:
        panels.subtract_square(last, first[m:])
        failed = panels.factorize(last)
        failed += m * bool(failed)
    check_pivots(failed, n, r)
    found = PackedFactor(entries, exponent)
    trace = float(ldexp(diagonal.astype(np.float64), -exponent).sum()) + n * ridge
    least = panels.least_inverse(found.solved, n)
    check_distinct(least, cutoff(trace, n, float(np.finfo(dtype).eps)), exponent, r)
    return found


def views(entries: NDArray[Any], n: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the trapezoid (n, m) of the first m columns, and the square of the last n − m, both lower triangles."""
    m, even = len(entries), int(n % 2 == 0)
    return entries[:, even:].T, entries[1 - even :, : n - m]


def _order(entries: NDArray[Any]) -> int:
    """Return the order n of the matrix in a packed array, (m, n + e)."""
    rows, columns = entries.shape
    return int(columns - (columns != 2 * rows - 1))


def _pack(entries: NDArray[Any], rows: Callable[[int, int], NDArray[Any]], exponent: int) -> None:
    """Write the lower triangle of ``K / 2^exponent``, whose rows are those of the upper triangle."""
    n = _order(entries)
    first, last = views(entries, n)
    m = first.shape[1]
    for start in range(0, n, _ROWS):
        stop = min(start + _ROWS, n)
        with np.errstate(under="ignore"):
            band = np.ldexp(rows(start, stop), -exponent)
        if start < m:  # the rows of A are contiguous pieces of rows of K
            count = min(stop, m) - start
            _copy_lower(first.T[start : start + count, start:].T, band[:count, start:].T)
        if stop > m:
            below = slice(max(start, m) - m, stop - m)
            part = band[max(start, m) - start :, m:stop]
            _copy_lower(last[below, : stop - m], part, below.start)


def _copy_lower(target: NDArray[Any], source: NDArray[Any], above: int = 0) -> None:
    """Copy the entries (i, j) with j ≤ i + ``above``."""
    np.copyto(target, source, where=np.tri(target.shape[0], target.shape[1], above, dtype=np.bool_))
