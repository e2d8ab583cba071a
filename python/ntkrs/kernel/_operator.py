"""Kernels as linear operators: products with a kernel matrix that is never formed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scipy.sparse.linalg import LinearOperator

from ntkrs._checks import arrays
from ntkrs._checks.indices import checked_indices
from ntkrs.kernel._gram import array_of, gram, narrowed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike, Report, Wanted
    from ntkrs.kernel._gram import Core, Side


class KernelOperator(LinearOperator):  # type: ignore[misc]  # it ships no types
    """``K(X, Z)`` as a SciPy linear operator. It keeps both arrays, and what the core prepares of them."""

    def __init__(self, core: Core, inputs: tuple[Side, Side | None], wanted: Wanted, report: Report | None) -> None:
        self._core, self._inputs, self._wanted, self._report = core, inputs, wanted, report
        rows = array_of(inputs[0])
        super().__init__(rows.dtype, (len(rows), len(self._columns)))

    @property
    def _columns(self) -> Array:
        """The inputs of the columns."""
        x, z = self._inputs
        return array_of(x if z is None else z)

    def columns(self, indices: ArrayLike) -> Array:
        """Return the columns ``K[:, indices]``, (N, m), to the last bit those of ``kernel(X, Z)``.

        Parameters
        ----------
        indices : (m,) array_like of int
            Indices from 0 to M − 1, in any order and with repeats.

        Returns
        -------
        (N, m) ndarray

        Raises
        ------
        TypeError, ValueError, IndexError
            If the indices are not integers, have more than one axis, or are out of range.
        MemoryError
            If the columns do not fit in memory.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp
        >>> kernel, X = mlp(depth=2, width=1, outputs=1).kernel(), np.eye(5)
        >>> np.array_equal(kernel.operator(X).columns([3, 0]), kernel(X)[:, [3, 0]])
        True
        """
        chosen = self._columns[checked_indices(indices, self.shape[1])]
        return gram(self._core, (self._inputs[0], chosen), [None], [self._wanted], progress=False)[0]

    def diagonal(self) -> Array:
        """Return the diagonal of ``K(X, X)``, (N,), to the last bit that of ``kernel(X)``.

        Raises
        ------
        ValueError
            If the operator is one between X and other inputs Z.
        """
        x, z = self._inputs
        if z is not None:
            raise ValueError("diagonal() is that of K(X, X), but this operator has inputs Z: call kernel.operator(X)")
        return narrowed(self._core.diag(x, self._wanted), self.dtype)

    def product(self, vectors: ArrayLike) -> NDArray[np.float64]:
        """Return ``K V`` in float64, without the rounding to the dtype of the inputs, for V (M,) or (M, r)."""
        values = arrays.finite_float64(vectors, "V")
        matrix = values.reshape(len(values), *values.shape[1:] or (1,))
        result = self._core.multiply(self._inputs, matrix, self._wanted, self._report)
        return result.reshape(self.shape[0], *values.shape[1:])

    def _matvec(self, x: ArrayLike) -> Array:
        """Return K v for a vector v (M,)."""
        return narrowed(self.product(x), self.dtype)

    def _matmat(self, X: ArrayLike) -> Array:
        """Return K V for a matrix V (M, r)."""
        return narrowed(self.product(X), self.dtype)

    def _adjoint(self) -> KernelOperator:
        """Return ``K(Z, X)``, the transpose."""
        x, z = self._inputs
        return self if z is None else KernelOperator(self._core, (z, x), self._wanted, self._report)

    _transpose = _adjoint
