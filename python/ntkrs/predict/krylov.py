"""f_t from products with the kernel alone, by block Lanczos with an error estimate."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np

from ntkrs._checks.scaling import ldexp
from ntkrs._runtime.warning import warn
from ntkrs.errors import ConvergenceWarning
from ntkrs.predict.learning_rates import largest_eigenvalue
from ntkrs.predict.modes import KrylovReport, assemble
from ntkrs.predict.operators import Products
from ntkrs.predict.rules import responses
from ntkrs.solvers.solve import solve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike
    from ntkrs.predict.modes import Modes
    from ntkrs.predict.rules import Rule

#: Directions shorter than this times ε times the norm of the kernel are round-off, and are dropped from the block.
_DEFLATION = 100.0

#: The error is estimated from the change made by the most recent products: this many per earlier product.
_PATIENCE = 0.2

#: The largest tolerance of solutions at the end of training.
_LOOSEST = 0.5


class BlockLanczos:
    """An orthonormal basis Q of ``span(R, KR, K²R, ...)`` and ``T = QᵀKQ``, grown block by block.

    Every block is orthogonalised twice against the whole basis. Directions that vanish are dropped, so linearly
    dependent columns of R and invariant subspaces of K are not special cases.

    Attributes
    ----------
    projected : (m, m) ndarray
        T.
    start : (b, c) ndarray
        ``R = Q_1 start``, with the first block Q_1 of Q.
    dropped : float
        The norm of everything that was dropped as round-off.
    coupling : (w, v) ndarray
        ``KQ = QT + Q_next coupling E_lastᵀ``: the part of K times the last v columns of Q that lies in the next block.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.predict.krylov import BlockLanczos
    >>> from ntkrs.predict.operators import Products
    >>> lanczos = BlockLanczos(Products(np.diag([1.0, 2.0, 4.0])), np.ones((3, 1)), max_iterations=3)
    >>> for _ in range(3):
    ...     lanczos.grow()
    >>> np.linalg.eigvalsh(lanczos.projected).round(12)  # K over 8: the power of two that brings it below 1
    array([0.125, 0.25 , 0.5  ])
    """

    def __init__(self, products: Products, columns: NDArray[np.float64], max_iterations: int) -> None:
        self._products = products
        # np.empty takes memory only for the pages that are written.
        capacity = min(products.size, columns.shape[1] * (max_iterations + 1))
        self._storage = np.empty((products.size, capacity), order="F")
        self.projected = np.zeros((0, 0))
        self._sizes = [0]
        self._largest = 0.0
        block, self.start, _ = _orthonormal(columns, 0.0)
        self.dropped = 0.0
        self._width = self._store(block)
        self.coupling = np.zeros((0, 0))

    @property
    def basis(self) -> NDArray[np.float64]:
        """Q, (n, m)."""
        return self._storage[:, : len(self.projected)]

    @property
    def count(self) -> int:
        """The number of products with K so far."""
        return len(self._sizes) - 1

    @property
    def earlier(self) -> int:
        """The order of T before the most recent products, whose effect gives the error estimate."""
        return self._sizes[int(self.count / (1 + _PATIENCE))]

    @property
    def exhausted(self) -> bool:
        """True once the Krylov space is invariant under K."""
        return self._width == 0

    def grow(self) -> None:
        """Multiply the newest block by K. The order m of T grows by the width of this block."""
        old = len(self.projected)
        new = old + self._width
        image = self._products(self._storage[:, old:new])
        basis = self._storage[:, :new]
        weights = basis.T @ image
        image -= basis @ weights
        image -= basis @ (basis.T @ image)
        self.projected = np.block([[self.projected, weights[:old]], [weights[:old].T, weights[old:]]])
        self.projected[old:, old:] = (weights[old:] + weights[old:].T) / 2
        self._largest = max(self._largest, float(np.linalg.norm(weights, 2)))
        block, coupling, dropped = _orthonormal(image, _DEFLATION * self._products.product_eps * self._largest)
        self.dropped = float(np.hypot(self.dropped, dropped))
        self._width = self._store(block)
        self.coupling = coupling[: self._width]
        self._sizes.append(new)

    def _store(self, block: NDArray[np.float64]) -> int:
        """Append a block to the basis, as far as there is room, and return the number of columns appended."""
        start = len(self.projected)
        width = min(int(block.shape[1]), int(self._storage.shape[1]) - start)
        self._storage[:, start : start + width] = block[:, :width]
        return width


class RitzModes:
    """Modes of the kernel on the Krylov space of a right-hand side, grown until f_t is accurate at all times."""

    def __init__(self, products: Products, tolerance: float, max_iterations: int) -> None:
        self._products = products
        self._tolerance = tolerance
        self._max_iterations = max_iterations
        self._columns: NDArray[np.float64] | None = None
        self._lanczos: BlockLanczos | None = None
        self._latest: Modes | None = None
        self.size = products.size

    def __repr__(self) -> str:
        return f"method='krylov', tolerance={self._tolerance:g}, max_iterations={self._max_iterations}"

    @property
    def modes(self) -> Modes:
        """The modes of the last call."""
        if self._latest is None:
            raise RuntimeError(
                "with method='krylov' the modes depend on the time and on fx_train_0: call it first, with a finite time"
            )
        return self._latest

    def limit(self, columns: NDArray[np.float64]) -> tuple[NDArray[np.float64], int] | None:
        """Return α and e with ``2^−e α = (K + rI)⁻¹ columns`` for an operator and a ridge, by :func:`ntkrs.solve`.

        Return None for an array, or without a ridge, where the kernel may be singular.
        """
        ridge, exponent = self._products.ridge, self._products.exponent
        if self._products.operator is None or not 0 < ridge < np.inf:
            return None
        found = solve(
            self._products.operator,
            columns,
            ridge,
            diag_reg_absolute_scale=True,
            tolerance=min(self._tolerance, _LOOSEST),
            max_iterations=self._max_iterations,
            progress=False,
        )
        return ldexp(found.alpha, exponent), exponent

    def check(self, rule: Rule, t: NDArray[np.float64] | None = None) -> None:
        """Refuse a learning rate that diverges, at the end of training. Ritz modes tell it at other times."""
        if rule.bounded:
            rule.check(largest_eigenvalue(self._products), self._products.exponent, t)

    def modes_for(self, columns: NDArray[np.float64], rule: Rule, t: NDArray[np.float64]) -> Modes:
        """Return Ritz modes that give f_t to the tolerance, unless that takes more than ``max_iterations`` products.

        If the right-hand side is that of the last call, its basis is grown further.
        """
        if self._lanczos is None or self._columns is None or not np.array_equal(columns, self._columns):
            self._columns = columns.copy()
            self._lanczos = BlockLanczos(self._products, columns, self._max_iterations)
        lanczos = self._lanczos
        while True:
            modes = self._ritz(lanczos, len(lanczos.projected))
            error = self._error(lanczos, modes, rule, t)
            if error <= self._tolerance or lanczos.exhausted or lanczos.count >= self._max_iterations:
                break
            for _ in range(min(1 + int(_PATIENCE * lanczos.count), self._max_iterations - lanczos.count)):
                if not lanczos.exhausted:
                    lanczos.grow()
        self._latest = self._told(lanczos, modes, error)
        return self._latest

    def _ritz(self, lanczos: BlockLanczos, size: int) -> Modes:
        """Return the Ritz modes of the leading block of T, of order ``size``."""
        values, rotation = np.linalg.eigh(lanczos.projected[:size, :size])
        products = self._products
        return assemble(values, lanczos.basis[:, :size], rotation, products.exponent, products.eps, "k_train_train")

    def _error(self, lanczos: BlockLanczos, modes: Modes, rule: Rule, t: NDArray[np.float64]) -> float:
        """Return the larger of two estimates of the error relative to R, the largest over the times.

        The first is the part of ``K φ_t(T) R`` outside the space. It bounds the error on the training inputs if it does
        not change sign with t. The second is the change that the most recent products made in φ_t(T)R, in the norm of
        K and relative to φ_t(T)R. It is the error on any inputs in units of the prior standard deviation.
        """
        if not modes.scaled.size:
            return 0.0 if lanczos.exhausted else float("inf")
        coefficients = _coefficients(lanczos, modes, rule, t)
        leaving = np.tensordot(lanczos.coupling, coefficients[-lanczos.coupling.shape[1] :], axes=1)
        squares = (leaving**2).sum(axis=(0, 2)) + lanczos.dropped**2 * (coefficients**2).sum(axis=(0, 2))
        residual = np.sqrt(squares) / np.linalg.norm(lanczos.start)
        if lanczos.exhausted:
            return float(residual.max(initial=0.0))
        change = coefficients.copy()
        if lanczos.earlier:
            before = _coefficients(lanczos, self._ritz(lanczos, lanczos.earlier), rule, t)
            change[: lanczos.earlier] -= before
        length, own = _energy(lanczos.projected, change), _energy(lanczos.projected, coefficients)
        relative = np.sqrt(np.divide(length, own, out=np.zeros_like(length), where=own > 0))
        return float(np.maximum(residual, relative).max(initial=0.0))

    def _told(self, lanczos: BlockLanczos, modes: Modes, error: float) -> Modes:
        """Return the modes with their report, and warn if the tolerance was not reached."""
        if error > self._tolerance:
            warn(
                f"after {lanczos.count} products with the kernel the estimated error is {error:.2g}, not the tolerance "
                f"{self._tolerance:.2g}. Raise max_iterations or tolerance, or pass a smaller t, or diag_reg.",
                ConvergenceWarning,
            )
        report = KrylovReport(
            products=lanczos.count,
            dimension=len(modes.scaled),
            error=error,
            tolerance=self._tolerance,
            zeroed=modes.null,
            cutoff=modes.cutoff,
        )
        return replace(modes, report=report)


def _coefficients(lanczos: BlockLanczos, modes: Modes, rule: Rule, t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return φ_t(T)R in the basis Q, (m, times, c)."""
    rotation = cast("NDArray[np.float64]", modes.rotation)
    components = rotation[: len(lanczos.start)].T @ lanczos.start
    by_time = responses(modes, rule, t)[1].reshape(t.size, len(components)).T
    return np.asarray(np.tensordot(rotation, by_time[:, :, None] * components[:, None, :], axes=1))


def _energy(kernel: NDArray[np.float64], coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``tr(Cᵀ K C)`` for each time."""
    return np.asarray(np.maximum((coefficients * np.tensordot(kernel, coefficients, axes=1)).sum(axis=(0, 2)), 0.0))


def _orthonormal(block: NDArray[np.float64], tiny: float) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return Q and R of ``block = Q R`` without its shortest directions, and the norm of the dropped part.

    Directions are dropped if they are shorter than ``tiny``, or than the round-off of the longest.
    """
    from scipy.linalg import qr

    if not block.size:
        return block[:, :0], np.zeros((0, block.shape[1])), 0.0
    q, r, order = qr(block, mode="economic", pivoting=True, check_finite=False)
    lengths = np.abs(np.diag(r))
    rank = int(np.count_nonzero(lengths > max(tiny, 8 * np.finfo(np.float64).eps * lengths[0])))
    coupling = np.empty((rank, block.shape[1]))
    coupling[:, order] = r[:rank]
    return q[:, :rank], coupling, float(np.linalg.norm(r[rank:]))


def spectral(
    k_train_train: ArrayLike, regularization: tuple[float, bool], tolerance: float, limit: int
) -> tuple[RitzModes, np.dtype[np.floating]]:
    """Return the kernel as ``gradient_descent_mse(method="krylov")`` needs it, and its dtype."""
    products = Products(k_train_train, regularization[0], absolute=regularization[1])
    products.check_symmetric()
    return RitzModes(products, tolerance, limit), products.dtype
