"""The functions that run in tasks, on one thread each: blocks of a kernel, and their products with vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._runtime.threads import limited
from ntkrs.layers import Dense, Sequential

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ntkrs._typing import Array, KernelName
    from ntkrs.kernel import Kernel

    Rows = NDArray[np.float64]

#: The kernel ``⟨x, z⟩/n_0``, whose bits do not depend on threads, as those of BLAS may.
_LINEAR = Sequential(Dense(1)).kernel()


def block(x: Array, z: Array | None, *, kernel: Kernel, get: KernelName, where: str) -> Array:
    """Return a block of the kernel. ``where`` names its rows and columns, for messages.

    Raises
    ------
    ValueError
        As for the kernel. The message begins with the rows that the block belongs to.
    """
    try:
        with limited(1):
            return kernel(x, z, get=get, progress=False)
    except ValueError as error:
        raise ValueError(f"in the block of {where}: {error}") from error


def diagonal(x: Array, *, kernel: Kernel, get: KernelName) -> Array:
    """Return the diagonal of a block between rows and themselves."""
    with limited(1):
        return kernel.diag(x, get)


def times(matrix: Array, vectors: Rows) -> Rows:
    """Return ``matrix @ vectors`` in float64, with sums in an order that depends on nothing but the length."""
    count = len(vectors)
    if not (count and len(matrix)):
        return np.zeros((len(matrix), vectors.shape[1]))
    with limited(1):
        means = _LINEAR(matrix.astype(np.float64, copy=False), vectors.T, get="nngp", progress=False)
    return np.multiply(means, count, dtype=np.float64)


def two_products(
    x: Array, z: Array | None, ours: Rows, theirs: Rows | None, **options: Any
) -> tuple[Rows, Rows | None]:
    """Return ``K(x, z) theirs`` and ``K(x, z)ᵀ ours``. Without z, ``K(x, x) ours`` alone."""
    entries = block(x, z, **options)
    if theirs is None:
        return times(entries, ours), None
    return times(entries, theirs), times(entries.T, ours)


def product(x: Array, z: Array, vectors: Rows, **options: Any) -> Rows:
    """Return ``K(x, z) vectors``."""
    return times(block(x, z, **options), vectors)


def total(parts: Sequence[Any], *, picks: Sequence[int | None], flat: bool) -> Rows:
    """Return the sum of the parts in order: of products, or of the ``picks`` among pairs of them.

    ``flat`` turns a single column into a vector.
    """
    chosen = [part if pick is None else part[pick] for part, pick in zip(parts, picks, strict=True)]
    result: Rows = chosen[0].copy()
    for part in chosen[1:]:
        result += part
    return result[:, 0] if flat else result
