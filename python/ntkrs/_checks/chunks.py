"""Work on large arrays in chunks of some milliseconds each, because Ctrl-C takes effect between calls of NumPy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import DTypeLike, NDArray

#: The largest number of entries in a chunk.
_CHUNK = 2**21


def chunks(shape: Sequence[int]) -> Iterator[Any]:
    """Yield the indices of the chunks of an array of this shape, in C order. A small array is a single chunk."""
    size = math.prod(shape)
    if size <= _CHUNK:
        yield (...,)
        return
    length = shape[0]
    rows = max(1, _CHUNK * length // size)
    for start in range(0, length, rows):
        rest = chunks(shape[1:]) if rows == 1 else [(...,)]
        for index in rest:
            yield (slice(start, start + rows), *index)


def assign(target: NDArray[Any], source: NDArray[Any]) -> None:
    """Copy ``source`` to ``target``, of the same shape, in its dtype."""
    for index in chunks(target.shape):
        np.copyto(target[index], source[index], casting="unsafe")


def copied(array: NDArray[Any], dtype: DTypeLike | None = None) -> NDArray[Any]:
    """Return a copy of ``array`` in its own layout, by default with its own dtype."""
    result = np.empty_like(array, dtype, subok=False)
    assign(result, array)
    return result


def converted(array: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """Return ``array`` itself if it has this dtype, and a copy with this dtype otherwise."""
    return array if array.dtype == dtype else copied(array, dtype)


def first(condition: Callable[..., Any], *arrays: NDArray[Any]) -> tuple[int, ...] | None:
    """Return the index of the first entry, in C order, where ``condition`` holds, or None if it holds nowhere."""
    for index in chunks(arrays[0].shape):
        found = condition(*(array[index] for array in arrays))
        if found.any():
            starts = [part.start for part in index[:-1]]
            starts += [0] * (found.ndim - len(starts))
            return tuple(int(i) + start for i, start in zip(np.argwhere(found)[0], starts, strict=True))
    return None


def joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return all entries of arrays of the same dtype, one array after the other, each in C order."""
    result = np.empty(sum(array.size for array in arrays), arrays[0].dtype)
    start = 0
    for array in arrays:
        assign(result[start : start + array.size].reshape(array.shape), array)
        start += array.size
    return result


def subtracted(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Return a − b, where b has the shape of the last axes of a."""
    result = np.empty_like(a)
    others = np.broadcast_to(b, a.shape)
    for index in chunks(a.shape):
        np.subtract(a[index], others[index], out=result[index])
    return result
