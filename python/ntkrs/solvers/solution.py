"""The solution of a linear system with a kernel matrix, and its accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Solution:
    """The solution α of ``(K + rI) α = y``, as :func:`ntkrs.solve` returns it.

    With a path of R ridges, ``alpha`` has a leading axis R, and ``residual``, ``error`` and ``converged`` have shape
    (R,).

    Attributes
    ----------
    alpha : ndarray of float64
        α, of the shape of y, or (R, N) or (R, N, O).
    residual : float or (R,) ndarray
        ``|y − (K + rI)α| / |y|`` of the worst column, from float64 products made at the end.
    error : float or (R,) ndarray
        An estimate of ``‖α − α*‖_A / ‖α*‖_A`` with ``A = K + rI``, of the worst column. A prediction f is off by about
        ``error · ‖α*‖_A · √Θ(x, x)`` at most. The estimate is not a bound: expect 0.5 to 50 times the true error, and
        possibly less while it is above 0.3. With Cholesky it is the size of the last refinement.
    converged : bool or (R,) ndarray
        True if ``residual`` is at most the tolerance.
    method : "cholesky" or "pcg"
        The method that gave the solution.
    iterations : int
        The number of iterations, those before a checkpoint included.
    products : int
        The number of products with K, each with all right-hand sides, those before a checkpoint included.
    rank : int
        The rank of the preconditioner; 0 without one, and N for a Cholesky factor that is refined.

    Examples
    --------
    >>> import numpy as np, ntkrs
    >>> K, y = np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([3.0, 0.0])
    >>> s = ntkrs.solve(K, y)
    >>> s.alpha.round(12).tolist(), s.method, s.converged
    ([2.0, -1.0], 'cholesky', True)
    """

    alpha: NDArray[np.float64]
    residual: float | NDArray[np.float64]
    error: float | NDArray[np.float64]
    converged: bool | NDArray[np.bool_]
    method: str
    iterations: int
    products: int
    rank: int

    def __repr__(self) -> str:
        return (
            f"Solution(alpha of shape {self.alpha.shape}, residual={self.residual:.3g}, error={self.error:.3g}, "
            f"converged={self.converged}, method={self.method!r}, iterations={self.iterations}, "
            f"products={self.products}, rank={self.rank})"
            if isinstance(self.residual, float)
            else f"Solution(alpha of shape {self.alpha.shape}, residual={self.residual}, error={self.error}, "
            f"converged={self.converged}, method={self.method!r}, iterations={self.iterations}, "
            f"products={self.products}, rank={self.rank})"
        )
