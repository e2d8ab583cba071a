"""The only place where users' arrays are converted or refused."""

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ntkrs import _memory
from ntkrs._typing import Array, ArrayLike


def floating(values: ArrayLike, name: str) -> Array:
    """``values`` as an aligned float32 or float64 array in native byte order, of any strides.

    float32 and float64 keep their dtype, float16 becomes float32, bool and integers become float64.

    Raises
    ------
    TypeError
        If ``values`` are not real numbers that these dtypes hold.
    """
    module = type(values).__module__
    if module.startswith("scipy.sparse"):
        raise TypeError(f"{name} is a sparse {type(values).__name__}, but must be dense. Pass {name}.toarray().")
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise TypeError(f"{name} has masked entries, but every entry must be known. Pass {name}.filled(value).")
    try:
        array = np.asarray(values)
    except (TypeError, RuntimeError) as error:
        raise TypeError(f"{name} cannot be read as a NumPy array: {error}") from error
    except ValueError as error:
        raise ValueError(f"{name} cannot be read as a NumPy array: {error}") from error
    if array.dtype.kind in "biu":
        return array.astype(np.float64)
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise TypeError(
            f"{name} has dtype {array.dtype}, but real numbers of at most 64 bits are needed. "
            f"Convert it first, for example with numpy.asarray({name}, dtype=numpy.float64)."
        )
    dtype = np.float64 if array.dtype.itemsize == 8 else np.float32
    return cast("Array", np.require(array, dtype=np.dtype(dtype), requirements=["ALIGNED"]))


def batch(values: ArrayLike, name: str) -> Array:
    """``values`` as a (N, n_0) floating array: see :func:`floating`.

    Raises
    ------
    TypeError, ValueError
        If they are not real numbers, or not two-dimensional.
    """
    array = floating(values, name)
    if array.ndim != 2:
        hint = f" Use {name}.reshape(1, -1) for one sample, {name}.reshape(-1, 1) for one feature."
        raise ValueError(
            f"{name} has shape {array.shape}, but a two-dimensional (N, n_0) array is needed."
            + (hint if array.ndim == 1 else "")
        )
    return array


def finite(array: Array, name: str) -> Array:
    """``array``, if all of it is finite.

    Raises
    ------
    ValueError
        With the first index that holds NaN or an infinity.
    """
    if not np.isfinite(array).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{name} holds {array[index]} at {index}, but every entry must be finite.")
    return array


def same_dtype(*arrays: Array) -> tuple[Array, ...]:
    """The arrays in the widest of their dtypes."""
    dtype = np.result_type(*arrays)
    return tuple(cast("Array", array.astype(dtype, copy=False)) for array in arrays)


def output(
    out: NDArray[Any] | None, shape: tuple[int, ...], dtype: np.dtype[Any], inputs: Sequence[Array], what: str
) -> Array:
    """The array to write ``what`` to: ``out`` if it is fit for it, else a new one.

    Raises
    ------
    TypeError, ValueError
        If ``out`` is no array, has another shape or dtype, cannot be written, or shares memory with an input.
    MemoryError
        If a new array does not fit into memory, before anything is allocated.
    """
    if out is None:
        _memory.require(math.prod(shape) * dtype.itemsize, f"{what} of shape {shape} and dtype {dtype}")
        return cast("Array", np.empty(shape, dtype))
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
    if 0 in out.strides and out.size > 1:
        raise ValueError("out has entries that share memory. Pass an array made by numpy.empty.")
    if any(np.shares_memory(out, array) for array in inputs):
        raise ValueError("out shares memory with an input, which it would overwrite. Pass another array.")
    return cast("Array", out)
