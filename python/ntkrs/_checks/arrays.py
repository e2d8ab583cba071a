"""The only place where users' arrays are converted or rejected."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ntkrs._checks import chunks, memory
from ntkrs._checks.advice import not_an_array, not_rows, overflowed, shown
from ntkrs._typing import Array, ArrayLike

#: The size of a cache line in bytes.
_LINE = 64

#: Results of at least this many bytes begin at a cache line, because the core writes them past the caches.
_LARGE = 1 << 25

#: The value of ``dtype.isbuiltin`` for types that a package adds to NumPy.
_ADDED = 2


def floating(values: ArrayLike, name: str) -> Array:
    """Return ``values`` as an aligned float32 or float64 array in native byte order, with any strides.

    float32 and float64 keep their dtype, float16 becomes float32, bool and integers become float64. Short numbers that
    other packages add to NumPy, such as JAX's bfloat16, become float32, which holds each of them exactly.

    Raises
    ------
    TypeError
        If ``values`` are sparse, have masked entries, or are not real numbers of at most 64 bits.
    ValueError
        If NumPy cannot read them as an array, for example because rows differ in length.
    """
    module = type(values).__module__
    if module.startswith("scipy.sparse"):
        raise TypeError(f"{name} is a sparse {type(values).__name__}, but must be dense. Pass {name}.toarray().")
    if _masked(values):
        raise TypeError(f"{name} has masked entries, but every entry must be known. Pass {name}.filled(value).")
    try:
        array = np.asarray(values)
    except (TypeError, RuntimeError) as error:
        hint = f". Pass {name}.float()." if "BFloat16" in str(error) else ""
        raise TypeError(f"{name} cannot be read as a NumPy array: {error}{hint}") from error
    except ValueError as error:
        hint = " Rows must have the same length: pad or drop." if "inhomogeneous" in str(error) else ""
        raise ValueError(f"{name} cannot be read as a NumPy array: {error}{hint}") from error
    if array.dtype.kind in "biu":
        return cast("Array", chunks.copied(array, np.float64))
    is_short = array.dtype.isbuiltin == _ADDED and np.can_cast(array.dtype, np.float32)
    if array.dtype.itemsize > 8 or not (array.dtype.kind == "f" or is_short):
        raise TypeError(not_an_array(values, array, name))
    dtype = np.dtype(np.float64 if array.dtype.itemsize == 8 else np.float32)
    usable = array.dtype == dtype and array.flags.aligned
    return cast("Array", array if usable else chunks.copied(array, dtype))


def _masked(values: object) -> bool:
    """Return True if an entry is masked. Arrays within lists are searched too, because NumPy would unmask them."""
    if isinstance(values, list | tuple):
        return any(map(_masked, values))
    return isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values)


def batch(values: ArrayLike, name: str) -> Array:
    """Return ``values`` as an array (N, n_0), converted by :func:`floating`.

    Raises
    ------
    TypeError, ValueError
        If they are not two-dimensional, or as for :func:`floating`.
    """
    array = floating(values, name)
    if array.ndim != 2:
        raise ValueError(not_rows(array.shape, name))
    return array


def no_pair_of_rows(X: ArrayLike, Z: ArrayLike | None) -> None:
    """Check that X and Z are not two rows, for which scikit-learn calls kernels that are plain functions to it.

    Raises
    ------
    ValueError
        If both are vectors. The message names the ways to pass a kernel to scikit-learn.
    """
    if getattr(X, "ndim", 0) == 1 and getattr(Z, "ndim", 0) == 1:
        shapes = f"X has shape {np.shape(X)} and Z has shape {np.shape(Z)}"  # type: ignore[arg-type]  # both are vectors
        raise ValueError(
            f"{shapes}, but two-dimensional (N, n_0) arrays are needed. If scikit-learn calls this kernel, pass it "
            "ntkrs.sklearn.NTKKernel.from_architecture(kernel.arch) instead, or kernel='precomputed' and the matrix "
            "kernel(X). Use X.reshape(1, -1) for one sample, X.reshape(-1, 1) for one feature."
        )


def finite(array: Array, name: str, axes: str = "") -> Array:
    """Return ``array`` if all its entries are finite.

    Raises
    ------
    ValueError
        If an entry is NaN or infinite. The message gives the index of the first one, and the names of its ``axes``.
    """
    index = chunks.first(lambda part: ~np.isfinite(part), array)
    if index is not None:
        where = f"{index}, its {axes}" if axes else str(index)
        hint = overflowed(name) if np.isinf(array[index]) else ""
        raise ValueError(f"{name} holds {array[index]} at {where}, but every entry must be finite.{hint}")
    return array


def finite_float64(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Return ``values`` as a finite float64 array.

    Raises
    ------
    TypeError, ValueError
        As for :func:`floating` and :func:`finite`.
    """
    return chunks.converted(finite(floating(values, name), name), np.float64)


def targets(values: ArrayLike, shape: tuple[int, ...], name: str) -> Array:
    """Return ``values`` as finite targets of this shape, (N, O). If O is 1, they may also have shape (N,).

    Raises
    ------
    TypeError, ValueError
        If they have another shape, or as for :func:`floating` and :func:`finite`.
    """
    array = finite(floating(values, name), name)
    if array.shape != shape and not (shape[1] == 1 and array.shape == shape[:1]):
        raise ValueError(
            f"{name} has shape {array.shape}, but {shape} is needed: a row for each of X, a column for each output"
        )
    return array.reshape(shape)


def converted(array: Array, dtype: np.dtype[Any], name: str) -> Array:
    """Return ``array`` in another dtype.

    Raises
    ------
    ValueError
        If a finite entry exceeds the range of that dtype.
    """
    with np.errstate(over="ignore"):  # an overflow is reported below, with its index
        result = chunks.converted(array, dtype)
    index = None
    if result is not array:
        index = chunks.first(lambda now, before: np.isinf(now) & np.isfinite(before), result, array)
    if index is not None:
        raise ValueError(
            f"{name} holds {array[index]} at {index}, which exceeds {dtype}, the dtype of the network. "
            f"Scale {name} down, or use a float64 network."
        )
    return cast("Array", result)


def copied(array: Array) -> Array:
    """Return a copy of ``array``. Ctrl-C takes effect while it is made."""
    return cast("Array", chunks.copied(array))


def pair(X: ArrayLike, Z: ArrayLike | None, dtype: np.dtype[Any] | None = None) -> tuple[Array, Array | None]:
    """Return X and Z as arrays of the same dtype: ``dtype``, or by default the wider of their own.

    If Z is None, it stays None.

    Raises
    ------
    TypeError, ValueError
        As for :func:`batch`, or if a finite entry exceeds the range of ``dtype``.
    """
    if dtype is not None:
        x = converted(batch(X, "X"), dtype, "X")
        return x, None if Z is None else converted(batch(Z, "Z"), dtype, "Z")
    x = batch(X, "X")
    if Z is None:
        return x, None
    x, z = same_dtype(x, batch(Z, "Z"))
    return x, z


def kernel_pair(X: ArrayLike, Z: ArrayLike | None) -> tuple[Array, Array | None]:
    """Return X and Z as :func:`pair` does, if a kernel accepts their shapes.

    Raises
    ------
    TypeError, ValueError
        If the batches have no features or not the same number; otherwise as :func:`pair`.
    """
    x, z = pair(X, Z)
    if x.shape[1] == 0:
        raise ValueError("X has 0 features, but a kernel is a mean over n_0 >= 1 features")
    if z is not None and z.shape[1] != x.shape[1]:
        raise ValueError(
            f"Z has {z.shape[1]} features, but X has {x.shape[1]} (both must be n_0). Did you pass Z transposed?"
        )
    return x, z


def sequence(values: Any, name: str) -> list[Any]:
    """Return ``values`` as a list.

    Raises
    ------
    TypeError
        If they cannot be iterated over.
    """
    try:
        return list(values)
    except TypeError:
        raise TypeError(f"{name} is {shown(values)}, but a sequence of arrays is needed") from None


def same_dtype(*arrays: Array) -> tuple[Array, ...]:
    """Return the arrays in the widest of their dtypes."""
    dtype = np.result_type(*arrays)
    return tuple(cast("Array", chunks.converted(array, dtype)) for array in arrays)


def output(
    out: NDArray[Any] | None, shape: tuple[int, ...], dtype: np.dtype[Any], inputs: Sequence[Array], what: str
) -> Array:
    """Return the array to write ``what`` to: ``out`` after it is checked, or a new array if ``out`` is None.

    Raises
    ------
    TypeError, ValueError
        If ``out`` is not an array, has another shape or dtype, is read-only or misaligned, or shares memory with an
        input or within itself.
    MemoryError
        If a new array does not fit into memory. This is checked before anything is allocated.
    """
    if out is None:
        memory.require(math.prod(shape) * dtype.itemsize, f"{what} of shape {shape} and dtype {dtype}")
        return empty(shape, dtype)
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out is a {type(out).__name__}, but a numpy.ndarray is needed")
    if out.shape != shape:
        raise ValueError(f"out has shape {out.shape}, but {what} has shape {shape}")
    if out.dtype != dtype or not out.dtype.isnative:
        raise ValueError(f"out has dtype {out.dtype}, but {what} has dtype {dtype}")
    if not out.flags.writeable:
        raise ValueError("out is read-only, but must be writeable")
    if not out.flags.aligned:
        raise ValueError("out is misaligned in memory. Pass an array made by numpy.empty.")
    if out.size and _overlaps_itself(out):
        raise ValueError("out has entries that share memory. Pass an array made by numpy.empty.")
    if any(np.shares_memory(out, array) for array in inputs):
        raise ValueError("out shares memory with an input, which it would overwrite. Pass another array.")
    return cast("Array", out)


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an uninitialized array. A large one begins at a cache line, as the core writes whole lines fastest."""
    count = math.prod(shape) * dtype.itemsize
    if count < _LARGE:
        return cast("Array", np.empty(shape, dtype))
    line = np.empty(count + _LINE, np.uint8)
    start = -_address(line) % _LINE
    return cast("Array", line[start : start + count].view(dtype).reshape(shape))


def _overlaps_itself(array: NDArray[Any]) -> bool:
    """Return True if entries may share memory.

    They may if the stride of an axis is smaller than the bytes spanned by the axes of smaller strides.
    """
    axes = sorted(
        (abs(stride), length) for stride, length in zip(array.strides, array.shape, strict=True) if length > 1
    )
    span = array.itemsize
    for stride, length in axes:
        if stride < span:
            return True
        span += stride * (length - 1)
    return False


@contextmanager
def call(
    inputs: tuple[Array, Array | None],
    outs: Sequence[NDArray[Any] | None],
    shape: Callable[[int, int], tuple[int, ...]],
    planes: Callable[[Array], Sequence[NDArray[Any]]],
) -> Iterator[tuple[tuple[Array, Array | None, Sequence[NDArray[Any]]], list[Array]]]:
    """Check or allocate the arrays for the results of a kernel.

    Each call of a kernel enters this context once. It yields (x, z, planes) for the core to read and write, and the
    results, which are complete after the ``with`` block.

    Parameters
    ----------
    inputs : (ndarray, ndarray or None)
        X and Z, checked.
    outs : sequence of ndarray or None
        The arrays to write to, one for each result. None stands for a new array.
    shape : callable
        Returns the shape of a result, given N and M.
    planes : callable
        Returns the views of a result that the core writes, each of shape (N, S, M, S).

    Raises
    ------
    TypeError, ValueError, MemoryError
        As for :func:`output`, or if two of ``outs`` share memory.
    """
    x, z = inputs
    given = [array for array in inputs if array is not None]
    sizes = shape(len(x), len(x if z is None else z))
    results = [output(out, sizes, x.dtype, given, "the kernel") for out in outs]
    if len(results) > 1 and np.shares_memory(results[0], results[1]):
        raise ValueError("the arrays of out share memory, but each result needs its own")
    parts = [plane for result in results for plane in planes(result) if plane.size]
    with without_overlap(x, z, parts) as separate:
        yield separate, results


@contextmanager
def without_overlap(
    x: Array, z: Array | None, planes: Sequence[NDArray[Any]]
) -> Iterator[tuple[Array, Array | None, Sequence[NDArray[Any]]]]:
    """Yield inputs and planes for the core to read and fill. No plane overlaps an input or another plane.

    If some of the given planes may overlap each other, temporary arrays take their place, and are copied to them at
    the end. An input that may overlap a plane is copied.

    Raises
    ------
    MemoryError
        If the temporary arrays do not fit into memory.
    """
    interleaved = _interleaved(planes)
    if interleaved:
        memory.require(sum(plane.nbytes for plane in planes), "an out with interleaved parts, filled beside it,")
    beside = [np.empty(plane.shape, plane.dtype) for plane in planes] if interleaved else planes

    def copied(array: Array) -> Array:
        return cast("Array", chunks.copied(array)) if any(_may_overlap(array, plane) for plane in beside) else array

    yield copied(x), None if z is None else copied(z), beside
    if interleaved:
        for plane, values in zip(planes, beside, strict=True):
            chunks.assign(plane, values)


def _interleaved(planes: Sequence[NDArray[Any]]) -> bool:
    """Return True if two of the planes may overlap. If there are more than two, all have the same shape and strides.

    Planes can only overlap if their addresses differ by a multiple of their common step. Among such planes it is enough
    to compare neighbours. Comparing all pairs would be slow: with a thousand outputs there are a thousand planes.
    """
    step = math.gcd(*(stride for plane in planes for stride in plane.strides)) or 1
    ordered = sorted(planes, key=lambda plane: (_address(plane) % step, _address(plane)))
    return any(_may_overlap(a, b) for a, b in pairwise(ordered))


def _may_overlap(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Return True if the binding's borrow checker would refuse these two arrays.

    It does if their bounds overlap, and their addresses differ by a multiple of their common step.
    """
    if not np.may_share_memory(a, b):
        return False
    step = math.gcd(*a.strides, *b.strides) or 1
    return (_address(a) - _address(b)) % step == 0


def _address(array: NDArray[Any]) -> int:
    """Return the address of the first entry."""
    return cast("int", array.__array_interface__["data"][0])
