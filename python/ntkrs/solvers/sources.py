"""Kernels that :func:`ntkrs.solve` takes, in one form: float64 products, columns and the diagonal, at one scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ntkrs import _core
from ntkrs._checks import kernels, solving
from ntkrs._checks.protocols import StoredKernel
from ntkrs._checks.scaling import exponent_of, ldexp

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike


class Source:
    """A kernel K over ``2^exponent``, which brings its largest entry near 1.

    Attributes
    ----------
    kernel : object
        K as the user passed it, as an array (N, N) or an operator.
    matrix : (N, N) ndarray or None
        K, if it is an array.
    stored : bool
        True if its entries need not be computed: for an array, and for a Gram matrix in memory or in a file.
    exponent : int
        The power of two.
    shape, dtype
        Those of K.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.solvers.sources import Source
    >>> source = Source(np.array([[2.0, 1.0], [1.0, 2.0]]))
    >>> np.ldexp(source.product(np.array([[1.0], [-1.0]])), source.exponent).ravel().tolist()
    [1.0, -1.0]
    """

    def __init__(self, K: ArrayLike) -> None:
        self.kernel: Any = K
        self.matrix: Array | None = None
        if kernels.is_operator(K):
            solving.kernel_operator(K)
        else:
            self.kernel = self.matrix = solving.kernel_matrix(K)
        self.shape: tuple[int, ...] = tuple(self.kernel.shape)
        self.dtype: np.dtype[Any] = np.dtype(self.kernel.dtype)
        self.stored = self.matrix is not None or isinstance(K, StoredKernel)
        self.exponent = 0
        self.has_columns = self.matrix is not None or all(hasattr(K, name) for name in ("columns", "diagonal"))
        if self.shape[0]:
            self.exponent = exponent_of(self._own_diagonal() if self.has_columns else self._image())

    @property
    def is_writeable(self) -> bool:
        """True for an array that may be overwritten."""
        return self.matrix is not None and self.matrix.flags.writeable

    def product(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``K V / 2^exponent``, (N, r), with sums in float64 for V (N, r).

        Raises
        ------
        ValueError
            If it is not finite.
        """
        first = self.exponent // 2
        result = self._product(ldexp(vectors, -first) if first else vectors)
        if not np.isfinite(result).all():
            raise ValueError("K, an operator, returned NaN or an infinity for a finite vector")
        return ldexp(result, first - self.exponent) if self.exponent else result

    def columns(self, indices: NDArray[np.integer]) -> Array:
        """Return the columns ``K[:, indices] / 2^exponent`` in the dtype of K."""
        columns = self.matrix[:, indices] if self.matrix is not None else self.kernel.columns(indices)
        with np.errstate(under="ignore"):
            return cast("Array", np.ldexp(columns, -self.exponent))

    def rows(self, start: int, stop: int) -> Array:
        """Return rows of a stored K, (stop − start, N)."""
        return self.matrix[start:stop] if self.matrix is not None else self.kernel.rows(start, stop)

    def diagonal(self) -> NDArray[np.float64]:
        """Return the diagonal of ``K / 2^exponent``."""
        return ldexp(self._own_diagonal(), -self.exponent)

    def mean_of_diagonal(self) -> float:
        """Return the mean of the diagonal of ``K / 2^exponent``, which relative ridges count in.

        Raises
        ------
        ValueError
            If K is an operator that does not tell its diagonal.
        """
        if not self.has_columns:
            raise ValueError(
                "diag_reg is relative to the mean of the diagonal, which this operator does not tell. Pass it times "
                "that mean, with diag_reg_absolute_scale=True."
            )
        return float(self.diagonal().mean()) if self.shape[0] else 0.0

    def _own_diagonal(self) -> NDArray[np.float64]:
        """Return the diagonal of K in float64."""
        diagonal = np.asarray(self.kernel.diagonal(), dtype=np.float64)
        if not np.isfinite(diagonal).all():
            raise ValueError("the diagonal of K holds NaN or an infinity, but every entry must be finite")
        return diagonal

    def _image(self) -> NDArray[np.float64]:
        """Return the product with a random vector of length 1, times √N."""
        probe = np.random.default_rng(0).standard_normal((self.shape[0], 1))
        return np.asarray(self.product(probe / np.linalg.norm(probe)) * self.shape[0] ** 0.5)

    def _product(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``K V`` in float64."""
        if self.matrix is not None:
            return _core.stored_product(self.matrix, np.ascontiguousarray(vectors), None)
        product = getattr(self.kernel, "product", None) or self.kernel.matmat
        result: NDArray[np.float64] = np.asarray(product(vectors)).astype(np.float64, copy=False)
        return result
