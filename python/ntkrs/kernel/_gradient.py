"""Gradients of kernels with respect to the scales of the layers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from ntkrs._checks import arrays, chunks, memory
from ntkrs._runtime.progress import reporter
from ntkrs.kernel._error_bound import ErrorBound, warn_of_truncation
from ntkrs.kernel._gram import array_of, arrays_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ntkrs._core import InfiniteKernel
    from ntkrs._typing import Array, ArrayLike, Progress, Report
    from ntkrs.kernel._gram import Side

#: Two values for each layer: True if τ_w equals σ_w and changes with it, and True if τ_b does so with σ_b.
Tied: TypeAlias = "list[tuple[bool, bool]]"


class KernelGradient(NamedTuple):
    """The derivatives of a kernel K with respect to the σ_w and σ_b of every dense layer.

    :meth:`~ntkrs.kernel.Kernel.gradient` returns them.

    Attributes
    ----------
    sigma_w, sigma_b : (L, N, M) or (L,) ndarray
        ``∂K_ij/∂σ^l``; or their sums over i and j with the given weights.

    Examples
    --------
    >>> from ntkrs import mlp
    >>> kernel = mlp(depth=0, width=1, outputs=1, sigma_w=3.0).kernel()
    >>> kernel.gradient([[1.0]], get="nngp").sigma_w  # Σ = σ_w² x²
    array([[[6.]]])
    """

    sigma_w: Array
    sigma_b: Array


def gradients(
    core: Callable[[Side], InfiniteKernel],
    inputs: tuple[Side, Side | None],
    names: Sequence[str],
    tied: Tied,
    weights: ArrayLike | None,
    progress: Progress,
) -> list[KernelGradient]:
    """Return the derivatives of each kernel in ``names``; with weights, their weighted sums.

    ``core`` returns the core's kernel for given inputs.

    Raises
    ------
    ValueError, TypeError, MemoryError
        As :meth:`ntkrs.kernel.Kernel.gradient`.
    """
    kernel, report = core(inputs[0]), reporter(progress)
    if weights is None:
        results, bound = _full(kernel, inputs, names, tied, report)
    else:
        results, bound = _contracted(kernel, inputs, weights, names, tied, report)
    warn_of_truncation(ErrorBound(*bound), array_of(inputs[0]).dtype)
    return results


def _full(
    core: InfiniteKernel,
    inputs: tuple[Side, Side | None],
    names: Sequence[str],
    tied: Tied,
    report: Report | None,
) -> tuple[list[KernelGradient], tuple[float, float]]:
    """Return the derivatives of each kernel, (L, N, M) each, and bounds on the errors of the kernels.

    Raises
    ------
    MemoryError
        If the derivatives do not fit in memory. Nothing is computed then.
    """
    x, z = arrays_of(inputs)
    shape = (len(tied), len(x), len(x if z is None else z))
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
    bound = core.gradient((*inputs, planes), list(names) if planes else [], tied, report)
    return results, bound


def _contracted(
    core: InfiniteKernel,
    inputs: tuple[Side, Side | None],
    weights: ArrayLike,
    names: Sequence[str],
    tied: Tied,
    report: Report | None,
) -> tuple[list[KernelGradient], tuple[float, float]]:
    """Return the weighted sums of the derivatives of each kernel, (L,) each, and bounds on the errors of the kernels.

    The sums run over all entries of a kernel, in float64.

    Raises
    ------
    ValueError
        If the weights are not a finite (N, M) array.
    TypeError
        If they are not real numbers.
    """
    x, z = arrays_of(inputs)
    shape = (len(x), len(x if z is None else z))
    factors = chunks.converted(arrays.floating(weights, "weights"), np.float64)
    if factors.shape != shape:
        raise ValueError(f"weights has shape {factors.shape}, but {shape} is needed: one for each entry of the kernel")
    try:
        sums, bound = core.contracted_gradient(inputs, factors, list(names), tied, report)
    except ValueError:  # a weight that is not finite makes the sums so: weights are searched only then
        arrays.finite(factors, "weights")
        raise
    return [KernelGradient(*both) for both in sums.reshape(len(names), 2, len(tied))], bound
