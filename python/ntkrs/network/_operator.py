"""The empirical NTK as a linear operator: products, columns and the diagonal of a matrix that is never formed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from ntkrs._checks import arrays
from ntkrs._checks.indices import checked_indices
from ntkrs.network._ntk import diag, ntk

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike
    from ntkrs.network._state import NetworkState


class NetworkOperator(LinearOperator):  # type: ignore[misc]  # it ships no types
    """The empirical NTK on X as a symmetric linear operator, whose products are those of ``times``."""

    def __init__(
        self, state: NetworkState, x: Array, selection: str | int, times: Callable[[ArrayLike], Array], size: int
    ) -> None:
        self._state, self._x, self._selection, self._times = state, x, selection, times
        super().__init__(state.dtype, (size, size))

    def columns(self, indices: ArrayLike) -> Array:
        """Return the columns ``Θ[:, indices]``, (n, m), to the last bit those of :meth:`ntkrs.Network.ntk`.

        Parameters
        ----------
        indices : (m,) array_like of int
            Indices from 0 to n − 1, in any order and with repeats: ``i * O + m`` for ``"full"`` and ``"diagonal"``,
            otherwise those of samples.

        Returns
        -------
        (n, m) ndarray

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
        >>> net, X = mlp(depth=1, width=8, outputs=2).init(3, rng=0), np.eye(3)
        >>> columns = net.operator(X, outputs="trace").columns([2, 0])
        >>> np.array_equal(columns, net.ntk(X, outputs="trace")[:, [2, 0]])
        True
        """
        chosen = checked_indices(indices, self.shape[0])
        n, count = len(self._x), len(chosen)
        samples, outputs = np.divmod(chosen, max(1, self.shape[0] // max(1, n)))
        unique, place = np.unique(samples, return_inverse=True)
        block: Any = self._ntk(self._x, self._x[unique])
        if self._selection == "full":
            by_column = block[:, place, :, outputs]
            return np.ascontiguousarray(by_column.transpose(1, 2, 0)).reshape(self.shape[0], count)
        if self._selection == "diagonal":
            result = np.zeros((n, block.shape[2], count), block.dtype)
            result[:, outputs, np.arange(count)] = block[:, place, outputs]
            return result.reshape(self.shape[0], count)
        chosen_columns: Array = block[:, place]
        return chosen_columns

    def diagonal(self) -> Array:
        """Return the diagonal of Θ, (n,), to the last bit that of :meth:`ntkrs.Network.ntk`."""
        selection: Any = self._selection
        found: Any = diag(self._state, self._x, selection)
        own: Array = np.einsum("imm->im", found) if selection == "full" else found
        return own.ravel()

    def product(self, vectors: ArrayLike) -> NDArray[np.float64]:
        """Return ``Θ V`` for V (n,) or (n, r), by tiles of Θ that are summed in float64."""
        values = arrays.finite_float64(vectors, "V")
        core, inputs = self._state.core, (self._x, None)
        if self._selection == "diagonal":
            count = self._state.arch.outputs
            by_output = values.reshape(len(self._x), count, -1)
            parts = [core.multiply(inputs, by_output[:, m], m, None) for m in range(count)]
            return np.stack(parts, axis=1).reshape(values.shape)
        matrix = values.reshape(len(values), *values.shape[1:] or (1,))
        return core.multiply(inputs, matrix, self._selection, None).reshape(values.shape)

    def _ntk(self, x: Array, z: Array | None) -> Array:
        """Return the kernel of the selected outputs between two batches."""
        selection: Any = self._selection
        return ntk(self._state, x, z, outputs=selection, progress=False)

    def _matvec(self, x: Any) -> Any:
        """Return Θ v for a vector v (n,) or (n, 1)."""
        return self._times(x.reshape(-1, 1))[:, 0]

    def _matmat(self, X: Any) -> Any:
        """Return Θ V for a matrix V (n, r)."""
        return self._times(X)

    def _adjoint(self) -> NetworkOperator:
        """Return the operator itself, which is symmetric."""
        return self

    _transpose = _adjoint
