"""Pivoted partial Cholesky factors of kernels, whose pivots are drawn in proportion to what is left of the diagonal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ntkrs._checks.protocols import KernelColumns
    from ntkrs._typing import Array, Report

#: The least number of proposals in a round, and the share of the rank that is proposed in one.
_FEWEST, _SHARE = 32, 8

#: The number of rounds in a row without a new pivot after which the kernel counts as exhausted.
_PATIENCE = 4

#: The number of rows in a block. Ctrl-C takes effect between blocks.
_ROWS = 2048


@dataclass(frozen=True, eq=False)
class PartialCholesky:
    """A factor F of low rank, ``K ≈ F Fᵀ``, with ``K − F Fᵀ`` positive semidefinite and 0 in rows of pivots.

    Attributes
    ----------
    factor : (N, k) ndarray
        F, in the dtype of K. Up to round-off, ``F[pivots]`` is the lower triangular L with
        ``K[pivots][:, pivots] = L Lᵀ``, and ``F = K[:, pivots] L⁻ᵀ``.
    pivots : (k,) ndarray of int
        The pivots, in the order in which they were chosen.
    residual : (N,) ndarray of float64
        The diagonal of ``K − F Fᵀ``. Divided by the trace of K, its sum is the relative error of F in the trace norm.
    """

    factor: Array
    pivots: NDArray[np.int64]
    residual: NDArray[np.float64]


def rpcholesky(K: KernelColumns, rank: int, rng: np.random.Generator, report: Report | None = None) -> PartialCholesky:
    """Return a partial Cholesky factor of K by accelerated, randomly pivoted Cholesky.

    Parameters
    ----------
    K : operator with methods ``columns`` and ``diagonal``
        A positive semidefinite matrix (N, N).
    rank : int
        The largest number of pivots k, at most N.
    rng : numpy.random.Generator
        Draws the pivots.
    report : callable, optional
        Called as ``report(pivots, rank)`` after each round.

    Returns
    -------
    PartialCholesky
        Fewer than ``rank`` columns if the trace of ``K − F Fᵀ`` falls to round-off, ``N·ε·tr K``.

    Notes
    -----
    A pivot is drawn in proportion to the diagonal of ``K − F Fᵀ``. Drawn one by one, each would cost a pass over F.
    Here a round proposes ``max(32, k/8)`` of them from the diagonal before the round, and accepts each with
    probability (diagonal now)/(diagonal before the round): then their distribution is the same. 9 or 10 rounds
    suffice at any rank. Some 5/4·k columns of K and N·k² flops, in float64.

    References
    ----------
    Chen, Epperly, Tropp, Webber (2024); Epperly, Tropp, Webber (2024), "Embrace rejection".

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import mlp
    >>> from ntkrs.solvers.rpcholesky import rpcholesky
    >>> kernel, X = mlp(depth=2, width=1, outputs=1).kernel(), np.random.default_rng(0).standard_normal((50, 3))
    >>> found = rpcholesky(kernel.operator(X), 50, np.random.default_rng(0))
    >>> bool(np.allclose(found.factor @ found.factor.T, kernel(X)))
    True
    """
    n = int(K.shape[0])
    diagonal = np.asarray(K.diagonal(), dtype=np.float64)
    factor = np.empty((n, rank), K.dtype, order="F")
    pivots = np.empty(rank, np.int64)
    left = np.maximum(diagonal, 0.0)
    least = n * float(np.finfo(K.dtype).eps) * float(left.sum())
    count = idle = 0
    while count < rank and idle < _PATIENCE and left.sum() > least:
        proposals = _proposals(left, max(_FEWEST, rank // _SHARE), rng)
        unique, place = np.unique(proposals, return_inverse=True)
        columns = K.columns(unique)
        known = factor[unique, :count].astype(np.float64)
        schur = columns[unique].astype(np.float64) - known @ known.T
        accepted, lower = _accepted(schur, left[unique], place, rank - count, rng)
        found = slice(count, count + len(accepted))
        pivots[found] = unique[accepted]
        _extend((factor, columns), (known[accepted], accepted), (lower, count), left)
        left[pivots[found]] = 0.0
        idle = 0 if len(accepted) else idle + 1
        count += len(accepted)
        if report is not None:
            report(count, rank)
    return PartialCholesky(factor[:, :count], pivots[:count], left)


def _proposals(left: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return ``count`` indices, drawn with repeats in proportion to the diagonal that is left."""
    sums = np.cumsum(left)
    drawn = np.searchsorted(sums, rng.random(count) * sums[-1], side="right")
    last = int(np.flatnonzero(left)[-1])
    indices: NDArray[np.int64] = np.minimum(drawn, last)  # a product rounded up to the last sum exceeds all
    return indices


def _accepted(
    schur: NDArray[np.float64],
    left: NDArray[np.float64],
    place: NDArray[np.intp],
    most: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the accepted proposals, and the Cholesky factor of their block of ``K − F Fᵀ``.

    ``schur`` (b, b) is the block of all proposals, ``left`` (b,) its diagonal before the round. ``place`` gives the
    proposals in the order in which they were drawn. ``schur`` is overwritten.
    """
    accepted: list[int] = []
    lower: list[NDArray[np.float64]] = []
    fresh = np.ones(len(left), dtype=bool)
    for index, chance in zip(place.tolist(), rng.random(len(place)).tolist(), strict=True):
        pivot = float(schur[index, index])
        if len(accepted) == most or not fresh[index] or not pivot > max(chance * left[index], 0.0):
            continue
        column = schur[:, index] / np.sqrt(pivot)
        schur -= column[:, None] * column
        fresh[index] = False
        accepted.append(index)
        lower.append(column)
    chosen = np.array(accepted, np.int64)
    return chosen, np.array([column[chosen] for column in lower]).reshape(len(chosen), len(chosen)).T


def _extend(
    arrays: tuple[Array, Array],
    pivots: tuple[NDArray[np.float64], NDArray[np.int64]],
    triangle: tuple[NDArray[np.float64], int],
    left: NDArray[np.float64],
) -> None:
    """Append the columns ``(K_T − F F_Tᵀ) L⁻ᵀ`` of new pivots T to F, and subtract their squares from the diagonal.

    ``arrays`` are F and the columns of the proposals, ``pivots`` are F_T and T among the proposals, and ``triangle`` is
    L with the number of columns that F has.
    """
    from scipy.linalg import solve_triangular

    (factor, columns), (known, accepted), (lower, count) = arrays, pivots, triangle
    if not len(accepted):
        return
    for rows in _blocks(len(factor)):
        new: Any = columns[rows, accepted].astype(np.float64)
        new -= factor[rows, :count].astype(np.float64) @ known.T
        new = solve_triangular(lower, new.T, lower=True, check_finite=False).T
        factor[rows, count : count + len(accepted)] = new
        left[rows] -= np.einsum("ij,ij->i", new, new)
    np.maximum(left, 0.0, out=left)


def _blocks(n: int) -> Iterator[slice]:
    """Yield the blocks of rows."""
    for start in range(0, n, _ROWS):
        yield slice(start, start + _ROWS)
