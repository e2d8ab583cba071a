"""A kernel matrix, or the entries of pairs of rows, with its derivatives, as NumPy arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ntkrs._typing import Array, KernelName
    from ntkrs.kernel import Kernel

#: The number of pairs of rows whose derivatives are computed at once, with all pairs between them.
_PAIRS = 32


@dataclass(frozen=True)
class Evaluation:
    """A kernel with the choice of what is returned.

    Attributes
    ----------
    kernel : Kernel
        The kernel, with the scales of one moment.
    get : "ntk" or "nngp"
        Its name.
    diagonal : bool
        True for the entries K(x_i, z_i) alone.
    """

    kernel: Kernel
    get: KernelName
    diagonal: bool

    def values(self, x: Array, z: Array | None) -> Array:
        """Return K(x_i, z_j), (N, M), or K(x_i, z_i), (N,). Without z, it is x."""
        if not self.diagonal:
            return self.kernel(x, z, get=self.get, progress=False)
        if z is None:
            return self.kernel.diag(x, self.get)
        found = np.empty(len(x), x.dtype)
        for part in _parts(len(x)):
            found[part] = np.diagonal(self.kernel(x[part], z[part], get=self.get, progress=False))
        return cast("Array", found)

    def scale_gradients(self, x: Array, z: Array | None, weights: Array) -> tuple[Array, Array]:
        """Return ``Σ W_ij ∂K_ij/∂σ`` for σ_w and σ_b of all dense layers, (L,) each."""
        total = np.zeros((2, len(self.kernel.arch.dense)))
        for rows, others, factors in self._blocks(x, z, weights):
            total += self.kernel.gradient(rows, others, get=self.get, weights=factors, progress=False)
        return total[0], total[1]

    def input_gradient(self, x: Array, z: Array | None, weights: Array) -> Array:
        """Return ``Σ_j W_ij ∂₁K(x_i, z_j)``, (N, n_0)."""
        blocks = self._blocks(x, z, weights)
        found = [
            self.kernel.input_gradient(rows, others, get=self.get, weights=factors, progress=False)
            for rows, others, factors in blocks
        ]
        return cast("Array", np.concatenate(found))

    def _blocks(
        self, x: Array, z: Array | None, weights: Array
    ) -> Iterator[tuple[Array, Array | None, NDArray[np.float64]]]:
        """Yield rows of x and z with the weights of all their pairs: the whole, or parts of the diagonal."""
        factors = weights.astype(np.float64)
        if not self.diagonal:
            yield x, z, factors
            return
        for part in _parts(len(x)):
            yield x[part], None if z is None else z[part], np.diag(factors[part])


def _parts(rows: int) -> Iterator[slice]:
    """Yield slices of a few rows each, and an empty one if there are none."""
    for start in range(0, max(rows, 1), _PAIRS):
        yield slice(start, min(start + _PAIRS, rows))
