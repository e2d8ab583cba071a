"""The method of :func:`ntkrs.solve` and the rank of its preconditioner, from sizes and memory alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ntkrs._checks import memory
from ntkrs.solvers.cholesky import WHOLE

if TYPE_CHECKING:
    from ntkrs.solvers.sources import Source

#: Up to this order a stored matrix is factorized.
FACTORIZED = 12_000

#: The share of the available memory that a factor may take, and that a preconditioner may take.
_FACTOR_SHARE, _PRECONDITIONER_SHARE = 0.7, 0.1

#: The remedy of memory errors.
_REMEDY = "Pass ntkrs.gram(kernel, X, path=...), a float32 K, or kernel.operator(X) with method='pcg'."


def factorizes(source: Source, *, overwrite: bool) -> bool:
    """Return True for a matrix of up to 12 000 rows whose factor fits into memory."""
    return source.shape[0] <= FACTORIZED and factor_fits(source, overwrite=overwrite)


def factor_fits(source: Source, *, overwrite: bool) -> bool:
    """Return True for a matrix whose factor takes at most 0.7 of the available memory, or overwrites it."""
    if not source.stored:
        return False
    return overwrite or memory.lacking(math.ceil(_factor_bytes(source) / _FACTOR_SHARE)) is None


def require_factor(source: Source, *, overwrite: bool) -> None:
    """Check that a Cholesky factor fits into memory.

    Raises
    ------
    MemoryError
        If it does not.
    """
    if not overwrite:
        what = f"the Cholesky factor of K, of shape {source.shape} and dtype {source.dtype},"
        memory.require(_factor_bytes(source), what, _REMEDY)


def require_columns(source: Source, columns: int, rank: int) -> None:
    """Check that the vectors of an iteration with this many columns, and its preconditioner, fit into memory.

    Raises
    ------
    MemoryError
        If they do not.
    """
    n = source.shape[0]
    needed = 10 * 8 * n * columns + 2 * source.dtype.itemsize * n * rank
    what = f"the solution of order {n} for {columns} columns, with a preconditioner of rank {rank},"
    memory.require(needed, what, "Pass fewer columns of y or ridges at a time, or a smaller rank.")


def rank(source: Source, wanted: int | None) -> int:
    """Return the rank of the preconditioner, at most N.

    By default N/32 from 256 to 2048 for stored matrices, N/16 from 512 to 4096 for operators, whose products cost more,
    and at most a tenth of the available memory.
    """
    n = source.shape[0]
    if wanted is not None:
        return min(wanted, n)
    share, least, most = (32, 256, 2048) if source.stored else (16, 512, 4096)
    chosen = min(max(n // share, least), most, n)
    known = memory.available()
    if known is not None and n:
        chosen = min(chosen, max(1, int(_PRECONDITIONER_SHARE * known) // (n * source.dtype.itemsize)))
    return chosen


def iterations(n: int, wanted: int | None) -> int:
    """Return the largest number of iterations, by default n, but from 1000 to 10 000."""
    return min(max(n, 1000), 10_000) if wanted is None else wanted


def _factor_bytes(source: Source) -> int:
    """Return the bytes of a Cholesky factor, which is packed if it is large."""
    n = source.shape[0]
    return (n * n if n <= WHOLE else n * (n + 2) // 2) * int(source.dtype.itemsize)
