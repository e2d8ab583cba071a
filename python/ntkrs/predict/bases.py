"""Rows of kernels times the inverse of the training kernel, by its Cholesky factor or its eigenmodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from ntkrs._checks.scaling import ldexp, scaled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs.predict.modes import Modes
    from ntkrs.solvers.cholesky import Factor


class Basis(Protocol):
    """A basis V of the training points, in which ``(K + rI)⁻¹`` is known. Inverses are pseudo-inverses."""

    def weights(self, rows: NDArray[np.float64], eps: float) -> NDArray[np.float64]:
        """Return W with ``rows (K + rI)⁻¹ = W Vᵀ``, (M, n)."""

    def half(self, rows: NDArray[np.float64], eps: float) -> NDArray[np.float64]:
        """Return H with ``rows (K + rI)⁻¹ rowsᵀ = H Hᵀ``, (M, n)."""

    def rotated(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``rows V``."""


class SampleBasis:
    """The training points themselves, with the Cholesky factor of a regular kernel."""

    def __init__(self, factor: Factor) -> None:
        self._factor = factor

    def weights(self, rows: NDArray[np.float64], eps: float) -> NDArray[np.float64]:  # noqa: ARG002
        """Return ``rows (K + rI)⁻¹``, by two triangular solves."""
        return self._factor.solve(rows.T).T

    def half(self, rows: NDArray[np.float64], eps: float) -> NDArray[np.float64]:  # noqa: ARG002
        """Return ``rows L⁻ᵀ``, by one triangular solve."""
        return self._factor.half_solve(rows.T).T

    def rotated(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the rows."""
        return rows


class EigenBasis:
    """The eigenvectors of any kernel."""

    def __init__(self, modes: Modes) -> None:
        self.modes = modes

    def projected(self, rows: NDArray[np.float64], eps: float) -> tuple[NDArray[np.float64], int]:
        """Return P and e with ``rows V = 2^e P``, scaled so that P does not overflow."""
        matrix, exponent = scaled(rows)
        return self.modes.project(matrix, eps), exponent

    def weights(self, rows: NDArray[np.float64], eps: float) -> NDArray[np.float64]:
        """Return ``rows V Λ⁺``."""
        left, exponent = self.projected(rows, eps)
        return ldexp(left * self._inverse(), exponent - self.modes.exponent)

    def half(self, rows: NDArray[np.float64], eps: float) -> NDArray[np.float64]:
        """Return ``rows V √Λ⁺``."""
        left, exponent = self.projected(rows, eps)
        half, odd = divmod(self.modes.exponent, 2)
        return ldexp(left * np.sqrt(self._inverse() / 2.0**odd), exponent - half)

    def rotated(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``rows V``."""
        return rows @ self.modes.vectors

    def _inverse(self) -> NDArray[np.float64]:
        """Return 1/λ, or 0 for null modes, over the power of two of the modes."""
        values = self.modes.scaled
        return np.divide(1.0, values, out=np.zeros_like(values), where=values > 0)
