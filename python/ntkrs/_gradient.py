"""Gradients of kernels with respect to the scales of the layers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ntkrs._checks import arrays, memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ntkrs._core import InfiniteKernel
    from ntkrs._typing import Array, ArrayLike, Report

#: Whether the learning scales (τ_w, τ_b) of each layer are its σ_w and σ_b.
Follows = list[tuple[bool, bool]]


class KernelGradient(NamedTuple):
    """What :meth:`~ntkrs.kernel.Kernel.gradient` returns: derivatives with respect to each layer's σ_w and σ_b."""

    sigma_w: Array
    sigma_b: Array


def full(
    core: InfiniteKernel,
    batches: tuple[Array, Array | None],
    names: Sequence[str],
    follows: Follows,
    report: Report | None,
) -> tuple[list[KernelGradient], tuple[float, float]]:
    """The derivatives of each kernel, (L, N, M) each, and bounds on the kernels' errors.

    Raises
    ------
    MemoryError
        If they do not fit, before any work.
    """
    x, z = batches
    shape = (len(follows), len(x), len(x if z is None else z))
    count = 2 * len(names)
    memory.require(
        count * math.prod(shape) * x.dtype.itemsize,
        f"the gradient, {count} arrays of shape {shape} and dtype {x.dtype},",
        "Pass weights= if sums over its entries are wanted, or compute it in blocks of rows of X.",
    )
    results = [KernelGradient(arrays.empty(shape, x.dtype), arrays.empty(shape, x.dtype)) for _ in names]
    planes: list[NDArray[Any]] = [
        plane[:, None, :, None] for result in results for array in result for plane in array if plane.size
    ]
    bound = core.gradient((x, z, planes), list(names) if planes else [], follows, report)
    return results, bound


def contracted(
    core: InfiniteKernel,
    batches: tuple[Array, Array | None],
    weights: ArrayLike,
    names: Sequence[str],
    follows: Follows,
    report: Report | None,
) -> tuple[list[KernelGradient], tuple[float, float]]:
    """The sums over all entries of each kernel's derivatives times the weights, (L,) each, in float64, and bounds.

    Raises
    ------
    ValueError
        If the weights are not a finite (N, M) array.
    TypeError
        If they are not real numbers.
    """
    x, z = batches
    shape = (len(x), len(x if z is None else z))
    factors = arrays.finite(arrays.floating(weights, "weights"), "weights").astype(np.float64, copy=False)
    if factors.shape != shape:
        raise ValueError(f"weights has shape {factors.shape}, but {shape} is needed: one for each entry of the kernel")
    sums, bound = core.contracted_gradient(batches, factors, list(names), follows, report)
    return [KernelGradient(*both) for both in sums.reshape(len(names), 2, len(follows))], bound
