"""Gradients of kernels with respect to the scales of the layers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ntkrs._checks import arrays, memory
from ntkrs._runtime.progress import reporter
from ntkrs.kernel._error_bound import ErrorBound, warn_of_truncation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ntkrs._core import InfiniteKernel
    from ntkrs._typing import Array, ArrayLike, Progress, Report

#: For each layer, True for the learning scales τ_w and τ_b that are its σ_w and σ_b.
Tied: TypeAlias = "list[tuple[bool, bool]]"


class KernelGradient(NamedTuple):
    """What :meth:`~ntkrs.kernel.Kernel.gradient` returns: derivatives with respect to each layer's σ_w and σ_b."""

    sigma_w: Array
    sigma_b: Array


def gradients(
    core: Callable[[Array], InfiniteKernel],
    inputs: tuple[Array, Array | None],
    names: Sequence[str],
    tied: Tied,
    weights: ArrayLike | None,
    progress: Progress,
) -> list[KernelGradient]:
    """Return the derivatives of each kernel of ``names``, or with weights their weighted sums.

    Called by :meth:`ntkrs.kernel.Kernel.gradient`: a warning names the line that called that. ``core`` makes the core's
    kernel for the inputs.

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
    warn_of_truncation(ErrorBound(*bound), inputs[0].dtype, stacklevel=4)
    return results


def _full(
    core: InfiniteKernel,
    inputs: tuple[Array, Array | None],
    names: Sequence[str],
    tied: Tied,
    report: Report | None,
) -> tuple[list[KernelGradient], tuple[float, float]]:
    """The derivatives of each kernel, (L, N, M) each, and bounds on the kernels' errors.

    Raises
    ------
    MemoryError
        If they do not fit, before any work.
    """
    x, z = inputs
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
    bound = core.gradient((x, z, planes), list(names) if planes else [], tied, report)
    return results, bound


def _contracted(
    core: InfiniteKernel,
    inputs: tuple[Array, Array | None],
    weights: ArrayLike,
    names: Sequence[str],
    tied: Tied,
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
    x, z = inputs
    shape = (len(x), len(x if z is None else z))
    factors = arrays.finite_float64(weights, "weights")
    if factors.shape != shape:
        raise ValueError(f"weights has shape {factors.shape}, but {shape} is needed: one for each entry of the kernel")
    sums, bound = core.contracted_gradient(inputs, factors, list(names), tied, report)
    return [KernelGradient(*both) for both in sums.reshape(len(names), 2, len(tied))], bound
