"""Checks of arguments, and dask arrays in the form that graphs need: chunks of whole rows, all of known lengths."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeAlias

import dask.array as da
import numpy as np
from dask.array.utils import meta_from_array

from ntkrs._checks import arrays, numbers
from ntkrs._checks.advice import shown
from ntkrs.empirical.network_kernel import NetworkKernel, no_form
from ntkrs.kernel import Kernel
from ntkrs.network import Network

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike


#: Kernels that tasks compute.
AnyKernel: TypeAlias = Kernel | NetworkKernel


def kernel_and_name(kernel: object, get: Any, outputs: str | int | None) -> tuple[AnyKernel, Any]:
    """Return a kernel, that of a network with its form, and the name "ntk" or "nngp".

    Raises
    ------
    TypeError, ValueError
        If they are anything else.
    """
    if isinstance(kernel, NetworkKernel):
        return kernel, "ntk"
    if isinstance(kernel, Network):
        return NetworkKernel(kernel, get, outputs), "ntk"
    if not isinstance(kernel, Kernel):
        raise TypeError(f"kernel is {shown(kernel)}, but a Kernel is needed, such as arch.kernel(), or a Network")
    no_form(outputs)
    return kernel, numbers.choice(get, "get", ("ntk", "nngp"))


def rows(values: object, name: str) -> da.Array:
    """Return a dask array (N, n_0) in chunks of whole rows.

    Raises
    ------
    TypeError
        If it is not a dask array, or not one of real numbers.
    ValueError
        If it is not two-dimensional, a row lies in several chunks, or chunks have unknown lengths.
    """
    if not isinstance(values, da.Array):
        raise TypeError(
            f"{name} is {shown(values)}, but a dask array is needed: dask.array.from_array({name}, chunks=(2000, -1))"
        )
    if values.ndim != 2:
        raise ValueError(f"{name} has shape {values.shape}, but a two-dimensional (N, n_0) array is needed")
    if any(math.isnan(length) for chunks in values.chunks for length in chunks):
        raise ValueError(f"{name} has chunks of unknown lengths. Call {name}.compute_chunk_sizes() first.")
    if values.numblocks[1] > 1:
        raise ValueError(
            f"{name} has its columns in {values.numblocks[1]} chunks, but a row must lie in one: rechunk {name} to "
            f"(rows, -1), {name}.rechunk({{1: -1}})"
        )
    if values.shape[1] == 0:
        raise ValueError(f"{name} has 0 features, but a kernel is a mean over n_0 >= 1 features")
    arrays.floating(meta_from_array(values), name)
    return values


def kernel_matrix(K: da.Array) -> da.Array:
    """Return a dask array (N, N) of float32 or float64.

    Raises
    ------
    TypeError, ValueError
        If it is not one, or has chunks of unknown lengths.
    """
    if K.ndim != 2 or any(math.isnan(length) for chunks in K.chunks for length in chunks) or len(set(K.shape)) > 1:
        raise ValueError(f"K has shape {K.shape}, but (N, N) is needed")
    if K.dtype not in (np.float32, np.float64):
        raise TypeError(f"K has dtype {K.dtype}, but float32 or float64 is needed: K.astype(float)")
    return K


def pair(X: object, Z: object) -> tuple[da.Array, da.Array | None]:
    """Return X and Z by :func:`rows`, with the same number of features.

    Raises
    ------
    TypeError, ValueError
        As for :func:`rows`, or if the numbers differ.
    """
    x = rows(X, "X")
    if Z is None:
        return x, None
    z = rows(Z, "Z")
    if z.shape[1] != x.shape[1]:
        raise ValueError(
            f"Z has {z.shape[1]} features, but X has {x.shape[1]} (both must be n_0). Did you pass Z transposed?"
        )
    return x, z


def result_dtype(kernel: AnyKernel, *inputs: da.Array | None) -> np.dtype[Any]:
    """Return the dtype of a kernel of these inputs: float32 if all of them are narrower than float64.

    A network computes in its own dtype.
    """
    if isinstance(kernel, NetworkKernel):
        return kernel.dtype
    return np.result_type(*(arrays.floating(meta_from_array(array), "X") for array in inputs if array is not None))


def vectors(values: ArrayLike, count: int, name: str, other: str) -> NDArray[np.float64]:
    """Return (count,) or (count, r) numbers in float64, in the caller's memory. ``other`` is the argument to match.

    Raises
    ------
    TypeError, ValueError
        If they have another shape, or are not finite real numbers.
    """
    array = arrays.finite_float64(values, name)
    if array.ndim not in (1, 2) or len(array) != count:
        raise ValueError(f"{name} has shape {array.shape}, but ({count},) or ({count}, r) is needed to match {other}")
    return array


def chunks_of(x: da.Array, name: str) -> list[str]:
    """Return the rows of each chunk, as messages call them."""
    ends = list(accumulate(x.chunks[0]))
    return [f"rows {start}:{stop} of {name}" for start, stop in zip([0, *ends], ends, strict=False)]
