"""Kernel matrices: each call of a :class:`ntkrs.kernel.Kernel` becomes one call of the core."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

import numpy as np

from ntkrs._architecture import check_scales, image_layer_inputs, layer_inputs, takes_images
from ntkrs._checks import arrays
from ntkrs._checks.advice import channels_first, looks_channels_first
from ntkrs._core import ConvolutionalKernel, InfiniteKernel, PreparedInputs
from ntkrs._layers import AvgPool, Conv, Dense, Flatten
from ntkrs._runtime.progress import reporter
from ntkrs._runtime.warning import warn
from ntkrs.activations import Elementwise
from ntkrs.errors import ChannelOrderWarning
from ntkrs.kernel._error_bound import ErrorBound, warn_of_truncation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ntkrs._architecture import Architecture
    from ntkrs._typing import Array, Parameterization, Progress, Report, Wanted

#: Inputs, or what the core keeps of them.
Side: TypeAlias = "Array | PreparedInputs"


class Core(Protocol):
    """The core's kernel of dense networks, or of convolutional ones. Both have these methods.

    Inputs are of type :data:`Side` for dense networks, and arrays for convolutional ones.
    """

    def gram(self, arrays: Any, wanted: Sequence[Wanted], progress: Report | None) -> tuple[float, float]:
        """Write each kernel to a plane of ``arrays = (x, z, planes)``. Return the bounds of :meth:`error_bound`."""

    def error_bound(self, inputs: Any) -> tuple[float, float]:
        """Return bounds on the errors of Σ and Θ for all pairs of ``inputs = (x, z)``, round-off excluded."""

    def diag(self, x: Any, wanted: Wanted) -> NDArray[np.float64]:
        """Return the diagonal of one kernel, (N,)."""

    def multiply(
        self, inputs: Any, vectors: NDArray[np.float64], wanted: Wanted, progress: Report | None
    ) -> NDArray[np.float64]:
        """Return K V (N, r) for ``inputs = (x, z)`` and vectors V (M, r), without storing K."""


def core_kernel(arch: Architecture, parameterization: Parameterization, sample: tuple[int, ...] | None = None) -> Core:
    """Return the core's kernel of an architecture.

    Parameters
    ----------
    arch : Architecture
        The architecture.
    parameterization : "ntk" or "standard"
        The parameters that are trained.
    sample : (n_0,) or (H, W, C), optional
        The shape of one input, which matters in the standard parameterization only.

    Raises
    ------
    ValueError
        If the scales of a layer are unknown, an activation has no infinite-width kernel, or a layer has a ``tau_b``
        other than 1 in the standard parameterization.
    """
    check_scales(arch, "a kernel at infinite width")
    layers = [layer for layer in arch.layers if isinstance(layer, Conv | Dense)]
    inputs = [1] * len(layers)
    if sample is not None:
        inputs = image_layer_inputs(arch, sample) if takes_images(arch) else layer_inputs(arch, sample[0])
    scales = [
        (*layer.scales, *layer.learning_scales(parameterization, count))
        for layer, count in zip(layers, inputs, strict=True)
    ]
    if takes_images(arch):
        return _convolutional(arch, scales)
    return InfiniteKernel(scales, [activation.spec() for activation in arch.activations])


def _convolutional(arch: Architecture, scales: list[tuple[float, float, float, float]]) -> ConvolutionalKernel:
    """Return the core's kernel of a network with Conv, given the scales of every layer that has weights."""
    remaining, dense = iter(scales), scales[-len(arch.dense) :]
    layers: list[Any] = []
    for layer, after in pairwise(arch.layers):
        if isinstance(layer, Conv) and isinstance(after, Elementwise):
            layers.append((layer.window, layer.strides, layer.padding, next(remaining), after.spec()))
        elif isinstance(layer, AvgPool):
            layers.append((layer.window, layer.strides))
    head = "flatten" if any(isinstance(layer, Flatten) for layer in arch.layers) else "global_avg_pool"
    activations = [activation.spec() for activation in arch.activations[len(scales) - len(dense) :]]
    return ConvolutionalKernel(layers, head, (dense, activations))


def warn_of_channels_first(shape: tuple[int, ...]) -> None:
    """Warn of inputs (N, H, W, C) that are probably (N, C, H, W): square images of one channel or three."""
    _, *image = shape
    if looks_channels_first(*image):
        warn(
            f"X has shape {shape}, which are images (N, H, W, C) of {image[0]} rows and {image[2]} channels."
            + channels_first(*image),
            ChannelOrderWarning,
        )


def array_of(side: Side) -> Array:
    """Return the array of inputs."""
    return side.array if isinstance(side, PreparedInputs) else side


def arrays_of(inputs: tuple[Side, Side | None]) -> tuple[Array, Array | None]:
    """Return the arrays of X and Z."""
    x, z = inputs
    return array_of(x), None if z is None else array_of(z)


def gram(
    core: Core,
    inputs: tuple[Side, Side | None],
    outs: Sequence[NDArray[Any] | None],
    wanted: Sequence[Wanted],
    progress: Progress,
    *,
    stacked: bool = False,
) -> list[Array]:
    """Return the ``wanted`` kernels, one (N, M) array for each of ``outs``; if ``stacked``, all in a single array."""
    leading = (len(wanted),) if stacked else ()

    def shape(n: int, m: int) -> tuple[int, ...]:
        return (*leading, n, m)

    def planes(result: Array) -> list[Array]:
        return [matrix[:, None, :, None] for matrix in (result if stacked else result[None])]

    with arrays.call(arrays_of(inputs), outs, shape, planes) as ((x, z, written), results):
        pairs = zip(inputs, (x, z), strict=True)
        sides = [side if isinstance(side, PreparedInputs) else array for side, array in pairs]
        bound = ErrorBound(*core.gram((*sides, written), wanted if written else [], reporter(progress)))
    warn_of_truncation(bound, x.dtype)
    return results


def narrowed(values: NDArray[np.float64], dtype: np.dtype[Any]) -> Array:
    """Return float64 values in the dtype of the inputs."""
    with np.errstate(over="ignore"):  # values beyond the range of float32 become infinite, as in the kernel
        return cast("Array", values.astype(dtype, copy=False))
