"""The functions that run in tasks, on one thread each: blocks of a kernel, and their products with vectors.

Products are those of ``solvers.thin``, whose bits do not depend on the threads of BLAS. A chunk of inputs meets many
others, in tasks of their own. So each process keeps it prepared, as long as the chunk itself exists.
"""

from __future__ import annotations

import weakref
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._runtime.threads import limited
from ntkrs.kernel import Kernel
from ntkrs.solvers.thin import times, transposed_times

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from ntkrs._typing import Array, KernelName
    from ntkrs.dask.inputs import AnyKernel
    from ntkrs.kernel import PreparedInputs

    Rows = NDArray[np.float64]

#: Prepared chunks, by their place in memory and their kernel, each with a reference to its chunk.
_PREPARED: dict[tuple[int, Kernel], tuple[weakref.ref[NDArray[Any]], PreparedInputs]] = {}


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
        if not isinstance(kernel, Kernel) or (z is not None and z.dtype != x.dtype):
            return kernel(x, z, get=get, progress=False)
        shared = _shared(kernel)
        sides: tuple[Any, Any] = x, z
        with suppress(ValueError):  # the kernel then says which of the two it refuses
            sides = prepared(shared, x), None if z is None else prepared(shared, z)
        return shared(*sides, get=get, progress=False)


@lru_cache(8)
def _shared(kernel: Kernel) -> Kernel:
    """Return the first kernel of this process that equals this one: each task may bring a copy."""
    return kernel


def prepared(kernel: Kernel, x: Array) -> PreparedInputs:
    """Return a chunk as the kernel has prepared it, now or for an earlier task."""
    key = id(x), kernel
    chunk, found = _PREPARED.get(key, (None, None))
    # Compared, because a chunk may be a view of an array that has been written to since.
    if chunk is not None and chunk() is x and found is not None and np.array_equal(found.array, x):
        return found
    found = kernel.prepare(x, progress=False)
    _PREPARED[key] = weakref.ref(x, lambda _: _PREPARED.pop(key, None)), found
    return found


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
