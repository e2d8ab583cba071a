"""The change that training makes in the outputs: from the modes of the kernel, or at its end from one solution."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ntkrs.predict.rules import responses

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs.predict.modes import Modes
    from ntkrs.predict.rules import Rule


class Spectral(Protocol):
    """A training kernel: a matrix with its factor and eigenmodes, or an operator with its Ritz modes."""

    size: int

    @property
    def modes(self) -> Modes:
        """The modes of the matrix, or of the last call."""

    def modes_for(self, columns: NDArray[np.float64], rule: Rule, t: NDArray[np.float64]) -> Modes:
        """Return modes in which ``d_t(K) columns`` is exact, or accurate to a tolerance."""

    def limit(self, columns: NDArray[np.float64]) -> tuple[NDArray[np.float64], int] | None:
        """Return α and e with ``2^−e α = K⁻¹ columns``, or None if only modes give it."""

    def check(self, rule: Rule, t: NDArray[np.float64] | None = None) -> None:
        """Refuse a learning rate that diverges, if it is known to."""


class ByModes:
    """The changes that training makes for columns R, for any times t side by side, (..., times · columns).

    Attributes
    ----------
    exponent : int
        φ_t is multiplied by ``2^exponent``, so that it does not overflow.
    """

    def __init__(self, modes: Modes, rule: Rule, times: NDArray[np.float64], columns: NDArray[np.float64]) -> None:
        self._modes = modes
        self._components = modes.components(columns)
        self._decay, self._response = responses(modes, rule, times, columns.shape[1])
        self.exponent = modes.exponent

    @property
    def trained(self) -> NDArray[np.float64]:
        """``d_t(K) R``."""
        return self._modes.combine(_stacked(self._decay, self._components))

    def tested(self, kernel: Any, eps: float) -> NDArray[np.float64]:
        """Return ``2^exponent k φ_t(K) R``."""
        weights = _stacked(self._response, self._components)
        if self._modes.null or weights.shape[1] >= kernel.shape[0]:
            return self._modes.project(kernel, eps) @ weights
        # Fewer right-hand sides than rows: the same, with a smaller product first.
        return np.asarray(kernel @ self._modes.combine(weights))

    @property
    def coefficients(self) -> NDArray[np.float64]:
        """``2^exponent φ_t(K) R``."""
        return self._modes.combine(_stacked(self._response, self._components))


class AtEnd:
    """The end of training of a regular kernel, ``φ_∞(K) = K⁻¹``, for a number of equal times."""

    def __init__(self, solution: NDArray[np.float64], exponent: int, count: int) -> None:
        self._solution = solution
        self._count = count
        self.exponent = exponent

    def tested(self, kernel: Any, eps: float) -> NDArray[np.float64]:  # noqa: ARG002
        """Return ``2^exponent k K⁻¹ R``."""
        return np.tile(np.asarray(kernel @ self._solution), (1, self._count))

    @property
    def coefficients(self) -> NDArray[np.float64]:
        """``2^exponent K⁻¹ R``."""
        return np.tile(self._solution, (1, self._count))


def evolution(
    kernel: Spectral, rule: Rule, times: NDArray[np.float64], columns: NDArray[np.float64]
) -> ByModes | AtEnd:
    """Return the changes that training with this kernel makes for these columns."""
    if np.isinf(times).all() and times.size:
        limit = kernel.limit(columns)
        if limit is not None:
            kernel.check(rule, times)
            return AtEnd(*limit, times.size)
    return ByModes(kernel.modes_for(columns, rule, times), rule, times, columns)


def _stacked(response: NDArray[np.float64], components: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``diag(response) components`` for all times side by side, (m, times · columns), ready for one product."""
    size, count = components.shape
    leading = math.prod(response.shape[:-1])
    by_time = response.reshape(leading, 1, size) * np.ascontiguousarray(components.T)  # modes are contiguous in both
    return by_time.reshape(leading * count, size).T
