"""The functions that run in tasks, on one thread each: blocks of a kernel, and their products with vectors.

Products are those of ``solvers.thin``, whose bits do not depend on the threads of BLAS.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ntkrs._runtime.threads import limited
from ntkrs.solvers.thin import times, transposed_times

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from ntkrs._typing import Array, KernelName
    from ntkrs.dask.inputs import AnyKernel

    Rows = NDArray[np.float64]


@contextmanager
def _task(where: str) -> Iterator[None]:
    """Use one thread, and begin messages with the rows that the task belongs to.

    Raises
    ------
    ValueError
        For a ValueError within.
    """
    try:
        with limited(1):
            yield
    except ValueError as error:
        raise ValueError(f"in the block of {where}: {error}") from error


def block(x: Array, z: Array | None, *, kernel: AnyKernel, get: KernelName, where: str) -> Array:
    """Return a block of the kernel. ``where`` names its rows and columns, for messages."""
    with _task(where):
        return kernel(x, z, get=get, progress=False)


def diagonal(x: Array, *, kernel: AnyKernel, get: KernelName, where: str) -> Array:
    """Return the diagonal of a block between rows and themselves."""
    with _task(where):
        return kernel.diag(x, get)


def own_product(x: Array, vectors: Rows, **options: Any) -> tuple[Rows]:
    """Return ``K(x, x) vectors``, the first product of a block on the diagonal."""
    return (times(block(x, None, **options), vectors),)


def two_products(x: Array, z: Array, ours: Rows, theirs: Rows, **options: Any) -> tuple[Rows, Rows]:
    """Return ``K(x, z) theirs`` and ``K(x, z)ᵀ ours``."""
    entries = block(x, z, **options)
    return times(entries, theirs), transposed_times(entries, ours)


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
