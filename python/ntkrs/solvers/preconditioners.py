"""Preconditioners of low rank for ``K + rI``, one for all ridges r."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from ntkrs.solvers.rpcholesky import rpcholesky
from ntkrs.solvers.thin import times, transposed_times

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ntkrs._typing import Array, Report
    from ntkrs.solvers.sources import Source

#: The number of rows in a block. Ctrl-C takes effect between blocks.
_ROWS = 2048

#: Eigenvalues below this many units of round-off times the rank are dropped.
_ROUND_OFF = 1e3


class Preconditioner(Protocol):
    """An approximation P of ``K + rI``.

    Attributes
    ----------
    rank : int
        The number of eigenvectors that it holds.
    """

    @property
    def rank(self) -> int:
        """The number of eigenvectors."""

    def apply(self, residuals: NDArray[np.float64], ridges: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``P⁻¹ R`` for R (N, c), where column j belongs to the ridge ``ridges[j]``."""


class Plain:
    """No preconditioner: P = I."""

    rank = 0

    def apply(self, residuals: NDArray[np.float64], ridges: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a copy of R."""
        del ridges
        return residuals.copy()


class Given:
    """A preconditioner of the user's: an operator that approximates ``(K + rI)⁻¹``, for all ridges the same."""

    rank = 0

    def __init__(self, operator: Any) -> None:
        self._operator = operator

    def apply(self, residuals: NDArray[np.float64], ridges: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the operator's product with R, which must be finite."""
        del ridges
        result = np.asarray(self._operator.matmat(residuals)).astype(np.float64)
        if not np.isfinite(result).all():
            raise ValueError("preconditioner returned NaN or an infinity for a finite vector")
        return result


@dataclass(frozen=True, eq=False)
class LowRank:
    """Eigenvectors of an approximation ``K ≈ UΛUᵀ``, and δ for everything orthogonal to them.

    ::

        P⁻¹R = (R − UUᵀR)/(δ + r) + U(Λ + r)⁻¹UᵀR

    Attributes
    ----------
    vectors : (N, k) ndarray
        U, in the dtype of K.
    values : (k,) ndarray of float64
        Λ, positive and ascending. δ is the smallest.
    """

    vectors: Array
    values: NDArray[np.float64]

    @property
    def rank(self) -> int:
        """The number of eigenvectors."""
        return len(self.values)

    def apply(self, residuals: NDArray[np.float64], ridges: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``P⁻¹ R`` for R (N, c). 4·N·k·c flops, in float64."""
        if not self.rank:
            return residuals.copy()
        rest = 1.0 / (self.values[0] + ridges)
        weights = 1.0 / (self.values[:, None] + ridges) - rest
        weights *= transposed_times(self.vectors, residuals)
        result: NDArray[np.float64] = residuals * rest
        result += times(self.vectors, weights)
        return result


def low_rank(
    source: Source, method: str, rank: int, rng: np.random.Generator, report: Report | None
) -> tuple[LowRank, int]:
    """Return the preconditioner of a kernel, and the number of products with it that this took.

    Parameters
    ----------
    source : Source
        The kernel.
    method : "rpcholesky" or "nystrom"
        From columns, or from products with random vectors.
    rank : int
        The largest rank.
    rng : numpy.random.Generator
        Draws pivots or vectors.
    report : callable or None
        Called now and then.
    """
    if method == "rpcholesky":
        return _eigenvectors(rpcholesky(source, rank, rng, report).factor, 0.0), 0
    return _sketch(source, rank, rng, report), 1


def _sketch(source: Source, rank: int, rng: np.random.Generator, report: Report | None) -> LowRank:
    """Return a preconditioner from the products with Gaussian vectors Ω: ``K ≈ KΩ (ΩᵀKΩ)⁻¹ (KΩ)ᵀ``.

    A shift ν keeps the core positive definite, and is subtracted from the eigenvalues (Frangella, Tropp, Udell 2023).
    """
    from scipy.linalg import eigh

    if report is not None:
        report(0, rank)
    omega = np.linalg.qr(rng.standard_normal((source.shape[0], rank)))[0]
    image = source.product(omega)
    shift = float(np.finfo(source.dtype).eps * np.linalg.norm(image) * source.shape[0] ** 0.5)
    image += shift * omega
    core = omega.T @ image
    # The inverse root of the core, without the directions that are round-off.
    values, vectors = eigh((core + core.T) / 2, check_finite=False)
    kept = values > 0.5 * shift
    root = vectors[:, kept] / np.sqrt(values[kept])
    return _eigenvectors((image @ root).astype(source.dtype), shift)


def _eigenvectors(factor: Array, shift: float) -> LowRank:
    """Return U and Λ − shift of ``F Fᵀ = UΛUᵀ``, without eigenvalues at the level of round-off."""
    from scipy.linalg import eigh

    gram = np.zeros((factor.shape[1],) * 2)
    for rows in _blocks(len(factor)):
        block = factor[rows].astype(np.float64)
        gram += block.T @ block
    if not gram.size:
        return LowRank(factor, np.empty(0))
    values, rotation = eigh(gram, check_finite=False)
    kept = values > max(_ROUND_OFF * len(values) * np.finfo(np.float64).eps * values[-1], 2 * shift)
    values, rotation = values[kept], rotation[:, kept]
    vectors = np.empty((len(factor), len(values)), factor.dtype)
    for rows in _blocks(len(factor)):
        vectors[rows] = (factor[rows].astype(np.float64) @ rotation) / np.sqrt(values)
    return LowRank(cast("Array", vectors), values - shift)


def _blocks(n: int) -> Iterator[slice]:
    """Yield the blocks of rows."""
    for start in range(0, n, _ROWS):
        yield slice(start, start + _ROWS)
