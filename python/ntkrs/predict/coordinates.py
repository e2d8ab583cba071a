"""The coordinates in which an ODE solver follows training: coefficients of the kernel, or of its features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ntkrs.predict.losses import LossFunction
    from ntkrs.predict.modes import Modes
    from ntkrs.predict.operators import Products


class Coordinates(Protocol):
    """Coordinates q of training with ``f = f_0 + A q`` and ``K̂ = 2^−e K``, where α̂ is ``2^e α``."""

    def start(self, alpha: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the flat q of a flat α̂. The map is linear."""

    def coefficients(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the shortest flat α̂ with these coordinates. The map is linear."""

    def moved(self, alpha: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the flat α̂ that has the coordinates q, and differs from this one as little as possible."""

    def force(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the derivative of q in gradient flow with learning rate ``2^−e``."""

    def jacobian(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the derivative of the force."""

    def bound(self, largest: float) -> float:
        """Return a bound of ``|A δ|/|δ|``, where ``largest`` is the largest eigenvalue of K̂."""

    def conserved(self, q: NDArray[np.float64], start: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return states q, (T, n), without the drift of what an invariance of the loss conserves from the start."""

    def to_optimum(self, q: NDArray[np.float64], cutoff: float) -> tuple[NDArray[np.float64], float] | None:
        """Return the Newton step to the optimum and the slowest rate of the approach to it, None if there is none.

        There is none if the Jacobian has eigenvalues below the cutoff, apart from those of an invariance of the loss.
        """


class Coefficients:
    """q = α̂: the force is ``−∇L(f_0 + K̂α̂)``. Needs only products with K."""

    def __init__(self, products: Products, loss: LossFunction, initial: NDArray[np.float64], columns: int) -> None:
        self._products = products
        self._loss = loss
        self._initial = initial
        self._columns = columns
        self._kernel: NDArray[np.float64] | None = None

    def start(self, alpha: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return α̂."""
        return alpha

    def coefficients(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return α̂."""
        return q

    def moved(self, alpha: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:  # noqa: ARG002
        """Return α̂."""
        return q

    def force(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``−∇L(f_0 + K̂q)``."""
        f = self._initial.ravel() + self._products(q.reshape(self._products.size, self._columns)).ravel()
        return -self._loss.gradient(f.reshape(len(self._initial), -1)).ravel()

    def jacobian(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``−∂²L/∂f² K̂``, for a loss with a known Hessian."""
        n, size = len(self._initial), self._initial.size
        outputs = size // max(n, 1)
        if self._kernel is None:
            kernel = self._products(np.eye(self._products.size))
            self._kernel = np.asarray(np.kron(kernel, np.eye(outputs)) if self._columns > 1 else kernel)
        f = self._initial.ravel() + self._kernel @ q
        blocks = _hessian(self._loss)(f.reshape(n, outputs))
        return np.asarray(-np.matmul(blocks, self._kernel.reshape(n, outputs, size)).reshape(size, size))

    def bound(self, largest: float) -> float:
        """Return λ_max."""
        return largest

    def conserved(self, q: NDArray[np.float64], start: NDArray[np.float64]) -> NDArray[np.float64]:  # noqa: ARG002
        """Return q."""
        return q

    def to_optimum(self, q: NDArray[np.float64], cutoff: float) -> tuple[NDArray[np.float64], float] | None:  # noqa: ARG002
        """Return None: null modes keep moving."""
        return None


class Features:
    """The parameters q of the linear model ``f = f_0 + Φq`` with ``ΦΦᵀ = K̂``, Φ from the modes that are not null.

    Null modes, which training does not see, have no coordinates, and so cannot drift. All other modes have coordinates
    of their own, so a relative error of each is a relative error of f.
    """

    def __init__(self, modes: Modes, loss: LossFunction, initial: NDArray[np.float64], columns: int) -> None:
        self._roots = np.sqrt(modes.positive)[:, None]
        self._vectors = modes.basis[:, modes.null :]
        self._features = self._vectors * self._roots.T
        self._loss = loss
        self._initial = initial
        self._columns = columns

    def start(self, alpha: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``Φᵀα̂``."""
        return np.asarray(self._features.T @ alpha.reshape(-1, self._columns)).ravel()

    def coefficients(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``V q/√λ̂``."""
        return np.asarray(self._vectors @ (q.reshape(-1, self._columns) / self._roots)).ravel()

    def moved(self, alpha: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return α̂ with its null modes unchanged."""
        return alpha + self.coefficients(q - self.start(alpha))

    def force(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``−Φᵀ∇L(f_0 + Φq)``."""
        gradient = self._loss.gradient(self._outputs(q))
        return -np.asarray(self._features.T @ gradient.reshape(-1, self._columns)).ravel()

    def jacobian(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``−Φᵀ ∂²L/∂f² Φ``, for a loss with a known Hessian."""
        n, outputs = len(self._initial), self._initial.size // max(len(self._initial), 1)
        hessian = _hessian(self._loss)(self._outputs(q))
        if self._columns == 1:  # rows i·O + m of Φ
            blocks = self._features.reshape(n, outputs, -1)
            return -np.asarray(self._features.T @ np.matmul(hessian, blocks).reshape(n * outputs, -1))
        rank = self._features.shape[1]
        result = np.empty((rank, outputs, rank, outputs))
        for m in range(outputs):
            for p in range(outputs):
                result[:, m, :, p] = -self._features.T @ (hessian[:, m, p, None] * self._features)
        return result.reshape(rank * outputs, rank * outputs)

    def bound(self, largest: float) -> float:
        """Return ``√λ_max``."""
        return float(largest**0.5)

    def conserved(self, q: NDArray[np.float64], start: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return q with the mean over outputs that it has at the start, if the loss is invariant to it."""
        if not self._loss.invariant or self._columns == 1:
            return q
        drift = (q - start).reshape(len(q), -1, self._columns).mean(axis=-1, keepdims=True)
        return np.asarray((q.reshape(len(q), -1, self._columns) - drift).reshape(q.shape))

    def to_optimum(self, q: NDArray[np.float64], cutoff: float) -> tuple[NDArray[np.float64], float] | None:
        """Return the Newton step and the slowest rate of a convex loss, from the eigenvalues of its Hessian."""
        if self._loss.hessian is None:
            return None
        from scipy.linalg import eigh

        values, vectors = eigh(-self.jacobian(q), driver="evd")
        curved = values > cutoff
        invariant = len(self._roots) if self._loss.invariant and self._columns > 1 else 0
        if not curved.any() or np.count_nonzero(~curved) > invariant:
            return None
        values, vectors = values[curved], vectors[:, curved]
        return vectors @ ((vectors.T @ self.force(q)) / values), float(values.min())

    def _outputs(self, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``f_0 + Φq``, (N, O)."""
        f = self._initial.ravel() + np.asarray(self._features @ q.reshape(-1, self._columns)).ravel()
        return f.reshape(len(self._initial), -1)


def _hessian(loss: LossFunction) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return the Hessian of a loss that has one."""
    return cast("Callable[[NDArray[np.float64]], NDArray[np.float64]]", loss.hessian)
