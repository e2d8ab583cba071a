"""Kernel matrices: each call of a :class:`ntkrs.kernel.Kernel` becomes one call of the core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ntkrs._architecture import check_scales, layer_inputs
from ntkrs._checks import arrays
from ntkrs._core import InfiniteKernel
from ntkrs._runtime.progress import reporter
from ntkrs.kernel._error_bound import ErrorBound, warn_of_truncation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ntkrs._architecture import Architecture
    from ntkrs._typing import Array, ArrayLike, Parameterization, Progress, Wanted


def core_kernel(arch: Architecture, parameterization: Parameterization, in_features: int) -> InfiniteKernel:
    """Return the core's kernel of an architecture. ``in_features`` matters in the standard parameterization only.

    Raises
    ------
    ValueError
        If the scales of a layer are unknown, an activation has no infinite-width kernel, or a layer has a ``tau_b``
        other than 1 in the standard parameterization.
    """
    check_scales(arch, "a kernel at infinite width")
    scales = [
        (*layer.scales, *layer.learning_scales(parameterization, inputs))
        for layer, inputs in zip(arch.dense, layer_inputs(arch, in_features), strict=True)
    ]
    return InfiniteKernel(scales, [activation.spec() for activation in arch.activations])


def gram(
    core: Callable[[Array], InfiniteKernel],
    X: ArrayLike,
    Z: ArrayLike | None,
    outs: Sequence[NDArray[Any] | None],
    wanted: Sequence[Wanted],
    progress: Progress,
    *,
    stacked: bool = False,
) -> list[Array]:
    """Return the ``wanted`` kernels, one (N, M) array for each of ``outs``; if ``stacked``, all in a single array.

    ``core`` returns the core's kernel for given inputs.
    """
    leading = (len(wanted),) if stacked else ()

    def shape(n: int, m: int) -> tuple[int, ...]:
        return (*leading, n, m)

    def planes(result: Array) -> list[Array]:
        return [matrix[:, None, :, None] for matrix in (result if stacked else result[None])]

    with arrays.call(X, Z, outs, shape, planes) as (call, results):
        x, _, written = call
        bound = ErrorBound(*core(x).gram(call, wanted if written else [], reporter(progress)))
    warn_of_truncation(bound, x.dtype)
    return results


def narrowed(values: NDArray[np.float64], dtype: np.dtype[Any]) -> Array:
    """Return float64 values in the dtype of the inputs."""
    with np.errstate(over="ignore"):  # values beyond the range of float32 become infinite, as in the kernel
        return cast("Array", values.astype(dtype, copy=False))
