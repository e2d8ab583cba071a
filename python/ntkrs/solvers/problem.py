"""The systems that :func:`ntkrs.solve` solves, in columns, and solutions in the same columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._checks.scaling import ldexp
from ntkrs.errors import SingularKernelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import Report
    from ntkrs.solvers.sources import Source


@dataclass(frozen=True)
class Options:
    """The checked options of :func:`ntkrs.solve`, of the same names."""

    tolerance: float
    preconditioner: Any
    rank: int
    max_iterations: int
    rng: np.random.Generator
    overwrite: bool
    checkpoint: str | None
    seconds: float
    report: Report | None


@dataclass(frozen=True, eq=False)
class Problem:
    """The systems ``(K + rI) α = y`` over powers of two: K and r over one, each column of y over its own.

    Attributes
    ----------
    source : Source
        K over ``2^source.exponent``.
    targets : (N, O) ndarray
        The right-hand sides y over ``2^exponents``.
    exponents : (O,) ndarray of int
        The exponents of the columns of y.
    ridges : (R,) ndarray
        The ridges over ``2^source.exponent``.
    diag_reg : (R,) ndarray
        The ridges as the user passed them, for messages.
    """

    source: Source
    targets: NDArray[np.float64]
    exponents: NDArray[np.int64]
    ridges: NDArray[np.float64]
    diag_reg: NDArray[np.float64]

    @property
    def columns(self) -> NDArray[np.float64]:
        """The right-hand sides of all ridges, (N, R·O)."""
        return np.tile(self.targets, (1, len(self.ridges)))

    @property
    def column_ridges(self) -> NDArray[np.float64]:
        """The ridges of these columns, (R·O,)."""
        return np.repeat(self.ridges, self.targets.shape[1])

    def unscaled(self, alpha: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the coefficients (N, R·O) of the systems as the user passed them, (R, N, O)."""
        n, outputs = self.targets.shape
        by_ridge = np.moveaxis(alpha.reshape(n, len(self.ridges), outputs), 1, 0)
        return np.ascontiguousarray(ldexp(by_ridge, self.exponents - self.source.exponent))

    def raise_it(self, what: str, ridge: int | None = None) -> SingularKernelError:
        """Return the error of a matrix that is not positive definite, which names diag_reg."""
        now = self.diag_reg.min() if ridge is None else self.diag_reg[ridge]
        return SingularKernelError(f"K + diag_reg·I {what}. Raise diag_reg (now {now:.3g})")


@dataclass(frozen=True, eq=False)
class Found:
    """Solutions (N, C) of the columns of a problem, with relative residuals and errors by column."""

    alpha: NDArray[np.float64]
    residual: NDArray[np.float64]
    error: NDArray[np.float64]
    method: str
    iterations: int
    products: int
    rank: int


def relative(norms: NDArray[np.float64], lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return norms over lengths, and 0 where the length is 0."""
    return np.divide(norms, lengths, out=np.zeros_like(norms), where=lengths > 0)
