"""Linear systems with kernels on a cluster: the client runs conjugate gradients, and the workers compute products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import dask
import dask.array as da
import numpy as np
from scipy.sparse.linalg import LinearOperator

from ntkrs._checks.indices import checked_indices
from ntkrs.dask import graphs, inputs
from ntkrs.solvers.solve import solve as solve_here

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike, KernelName
    from ntkrs.kernel import Kernel
    from ntkrs.network import Network
    from ntkrs.solvers.solution import Solution

    Rows = NDArray[np.float64]

#: Products with a matrix and with its transpose may differ by this many units of round-off, times √N.
_ROUND_OFF = 1e3


def solve(
    kernel: Kernel | Network | da.Array,
    X: Any,
    y: ArrayLike | None = None,
    diag_reg: ArrayLike = 0.0,
    *,
    get: KernelName = "ntk",
    outputs: str | int | None = None,
    **options: Any,
) -> Solution:
    """Solve ``(K + rI) α = y`` by preconditioned conjugate gradients, with products on any scheduler.

    ::

        s = ntkrs.dask.solve(kernel, X, y, diag_reg)           K is computed in each iteration, and never held
        s = ntkrs.dask.solve(K, y, diag_reg=diag_reg)          K is a persisted dask array, such as gram(kernel, X)

    Parameters
    ----------
    kernel : Kernel, Network, or (N, N) dask array
        The kernel, a network, whose empirical NTK is taken, or the matrix K itself, which is read once an iteration:
        persist it.
    X : (N, n_0) dask array
        Training inputs, in chunks of whole rows. If the first argument is K, there is none: y stands in its place.
    y : (N,) or (N, O) array_like
        Right-hand sides. All are solved at once.
    diag_reg : float or (R,) array_like
        The ridge, relative to the mean of the diagonal of K. Several are solved at once.
    get : "ntk" or "nngp"
        The kernel at infinite width.
    outputs : "mean", "trace", "sum" or int, optional
        For networks: the form of the empirical NTK, by default "mean".
    **options
        As for :func:`ntkrs.solve`, such as ``tolerance``, ``rank``, ``checkpoint`` and ``progress``.

    Returns
    -------
    Solution
        As from :func:`ntkrs.solve`.

    Raises
    ------
    TypeError, ValueError, numpy.linalg.LinAlgError
        As for :func:`gram` and :func:`ntkrs.solve`. ValueError if K is far from symmetric, or ``method="cholesky"``.

    Warns
    -----
    ntkrs.ConvergenceWarning
        If the iteration ends before the tolerance is reached.

    Notes
    -----
    X is persisted. The client holds N·(rank + 6·R·O) numbers, and in each iteration N·R·O numbers go to the workers and
    come back. Bits depend on the chunks alone, so that a checkpoint continues on another cluster, and a worker that
    dies changes nothing.

    Examples
    --------
    >>> import dask.array as da, numpy as np, ntkrs, ntkrs.dask
    >>> X = np.random.default_rng(0).standard_normal((60, 4))
    >>> kernel, y = ntkrs.mlp(depth=2, width=1, outputs=1).kernel(), np.sin(X[:, 0])
    >>> s = ntkrs.dask.solve(kernel, da.from_array(X, chunks=(20, -1)), y, diag_reg=1e-3)
    >>> bool(np.allclose(s.alpha, ntkrs.solve(kernel(X), y, diag_reg=1e-3).alpha, rtol=1e-3)), s.method
    (True, 'pcg')
    """
    if isinstance(kernel, da.Array):
        if X is not None and y is not None:
            raise TypeError("with a dask array K in place of kernel and X, pass solve(K, y, diag_reg=...)")
        return solve_here(GramOperator(kernel), y if X is None else X, diag_reg, **options)
    checked, name = inputs.kernel_and_name(kernel, get, outputs)
    rows = inputs.rows(X, "X")
    if y is None:
        raise TypeError("y is missing: pass solve(kernel, X, y), or solve(K, y) for a dask array K")
    return solve_here(KernelOperator(checked, rows.persist(), name), y, diag_reg, **options)


class KernelOperator(LinearOperator):  # type: ignore[misc]  # it ships no types
    """``K(X, X)`` for a dask array X, as an operator whose products a scheduler computes."""

    def __init__(self, kernel: inputs.AnyKernel, X: da.Array, get: KernelName) -> None:
        self._kernel, self._rows, self._get = kernel, X, get
        super().__init__(inputs.result_dtype(kernel, X), (X.shape[0], X.shape[0]))

    def product(self, vectors: ArrayLike) -> Rows:
        """Return ``K V`` in float64."""
        found: Rows = _computed(graphs.product(cast("Any", self._kernel), self._rows, vectors, None, self._get))
        return found

    def columns(self, indices: ArrayLike) -> Array:
        """Return the columns ``K[:, indices]``."""
        unique, place = np.unique(checked_indices(indices, self.shape[0]), return_inverse=True)
        rows = _computed(self._rows[unique])
        found: Array = _computed(graphs.columns(self._kernel, self._rows, rows, self._get))
        return found[:, place]

    def diagonal(self) -> Array:
        """Return the diagonal."""
        found: Array = _computed(graphs.diagonal(self._kernel, self._rows, self._get))
        return found

    _matvec = _matmat = product

    def _adjoint(self) -> KernelOperator:
        """Return the operator itself."""
        return self


class GramOperator(LinearOperator):  # type: ignore[misc]  # it ships no types
    """A dask array K (N, N) as an operator whose products a scheduler computes.

    Raises
    ------
    TypeError, ValueError
        If K is not square, or not float32 or float64, or far from symmetric.
    """

    def __init__(self, K: da.Array) -> None:
        self._matrix = inputs.kernel_matrix(K)
        super().__init__(K.dtype, K.shape)
        self._check_symmetric()

    def product(self, vectors: ArrayLike) -> Rows:
        """Return ``K V`` in float64."""
        values = inputs.vectors(vectors, self.shape[0], "V", "K")
        found: Rows = _computed(graphs.product_with(self._matrix, values if values.ndim == 2 else values[:, None]))
        return found.reshape(values.shape)

    def columns(self, indices: ArrayLike) -> Array:
        """Return the columns ``K[:, indices]``."""
        unique, place = np.unique(checked_indices(indices, self.shape[0]), return_inverse=True)
        found: Array = _computed(self._matrix[:, unique])
        return found[:, place]

    def diagonal(self) -> Array:
        """Return the diagonal."""
        found: Array = _computed(da.diagonal(self._matrix))
        return found

    _matvec = _matmat = product

    def _adjoint(self) -> GramOperator:
        """Return the operator itself."""
        return self

    def _check_symmetric(self) -> None:
        """Compare a product with K with one with its transpose."""
        n = self.shape[0]
        probe = np.random.default_rng(0).standard_normal((n, 1))
        image, mirrored = dask.compute(
            *(graphs.product_with(matrix, probe) for matrix in (self._matrix, self._matrix.T))
        )
        allowed = _ROUND_OFF * float(np.finfo(self.dtype).eps) * n**0.5
        if not np.abs(image - mirrored).max(initial=0.0) <= allowed * np.abs(image).max(initial=0.0):
            raise ValueError(
                "K holds NaN or an infinity, or differs from its transpose, but a kernel on the training inputs is "
                "finite and symmetric. Did you pass a test-train kernel?"
            )


def _computed(array: da.Array) -> Any:
    """Return the value of a dask array, by the default scheduler."""
    return np.asarray(array.compute())
