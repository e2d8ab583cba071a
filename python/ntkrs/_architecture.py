"""The architectures that kernels and networks are built from: order and sizes of layers, and the layout of θ."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeAlias, TypeVar, cast

from ntkrs._checks.advice import channels_first, shown
from ntkrs._checks.elsewhere import ARCHITECTURE, Elsewhere, instead_of_layer
from ntkrs._layers import UNKNOWN_SCALES, AvgPool, Conv, Dense, Flatten, GlobalAvgPool, ImageLayer
from ntkrs._runtime import display
from ntkrs.activations import Activation, Elementwise
from ntkrs.errors import UnknownScalesError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ntkrs._typing import Array, Parameterization
    from ntkrs.activations import Spec

#: One layer of an architecture.
Layer: TypeAlias = Dense | Elementwise | ImageLayer

#: A class of architectures.
Made = TypeVar("Made", bound="Architecture")

#: The rows and columns of images.
Grid: TypeAlias = tuple[int, int]


class Architecture(Elsewhere, ABC):
    """The description of a network: its layers in order. The base class of :class:`~ntkrs.layers.Sequential`.

    Attributes
    ----------
    layers : tuple of layers and activations
        The layers. The first is :class:`Dense` or, for images, :class:`Conv`; the last is :class:`Dense`.

    Examples
    --------
    >>> from ntkrs import mlp
    >>> from ntkrs.layers import Architecture
    >>> isinstance(mlp(depth=1, width=8, outputs=1), Architecture)
    True
    """

    _ELSEWHERE = ARCHITECTURE

    layers: tuple[Layer, ...]

    def __init__(self, *layers: Layer) -> None:
        if not layers:
            raise ValueError("a Sequential needs at least one Dense layer")
        for index, layer in enumerate(layers):
            if not isinstance(layer, Dense | Elementwise | ImageLayer):
                raise TypeError(
                    f"layer {index} is {shown(layer)}, but a Dense or an activation is needed, or a Conv, AvgPool, "
                    f"Flatten or GlobalAvgPool for images.{instead_of_layer(layer)}"
                )
        start = _check_image_layers(layers) if any(isinstance(layer, ImageLayer) for layer in layers) else 0
        _check_dense_layers(layers, start)
        object.__setattr__(self, "layers", layers)

    def __call__(self, *_: object) -> NoReturn:
        """Raise TypeError: an architecture has neither parameters nor inputs."""
        raise TypeError(
            "an architecture describes networks and computes nothing. Call its kernel, arch.kernel()(X), or a network "
            "with random parameters, arch.init(X.shape[1])(X)."
        )

    def _repr_html_(self) -> str:
        """Return a table of the layers, which notebooks show."""
        return display.layers(f"{type(self).__name__}, {self.outputs} outputs", self)

    @property
    def dense(self) -> tuple[Dense, ...]:
        """The dense layers, in order."""
        return tuple(layer for layer in self.layers if isinstance(layer, Dense))

    @property
    def activations(self) -> tuple[Elementwise, ...]:
        """The activations, in order."""
        return tuple(layer for layer in self.layers if isinstance(layer, Elementwise))

    @property
    def outputs(self) -> int:
        """O, the number of outputs: the width of the last layer."""
        return self.dense[-1].width

    def with_width(self, width: int) -> Self:
        """Return this architecture with another width for all hidden layers; for convolutions, number of channels.

        Raises
        ------
        TypeError, ValueError
            If the width is not a positive integer.
        """
        return type(self)(*(_with_width(layer, width) for layer in self.layers[:-1]), self.layers[-1])

    @abstractmethod
    def kernel(self, parameterization: Parameterization = "ntk") -> Any:
        """Return the kernel of this architecture at infinite width."""

    @abstractmethod
    def init(self, in_features: int, rng: Any = 0, dtype: Any = "float64") -> Any:
        """Return a network of this architecture with random parameters."""


#: The one class that :func:`sequential` makes. The file of that class is above this one, and adds it.
_SEQUENTIAL: list[type[Architecture]] = []


def made_by_sequential(cls: type[Made]) -> type[Made]:
    """Decorate the class of the architectures that :func:`sequential` makes."""
    _SEQUENTIAL.append(cls)
    return cls


def sequential(*layers: Layer) -> Architecture:
    """Return a :class:`~ntkrs.layers.Sequential` of these layers."""
    return _SEQUENTIAL[0](*layers)


def _with_width(layer: Layer, width: int) -> Layer:
    """Return a layer with another width; a convolution with another number of channels."""
    if isinstance(layer, Conv):
        return replace(layer, channels=width)
    return replace(layer, width=width) if isinstance(layer, Dense) else layer


def _check_dense_layers(layers: tuple[Layer, ...], start: int) -> None:
    """Raise ValueError unless dense layers and activations alternate from ``start`` on, dense ones first and last."""
    for index, layer in enumerate(layers[start:], start):
        dense_expected = (index - start) % 2 == 0
        reason = ""
        if isinstance(layer, ImageLayer):
            reason = f"{layers[start - 1]!r} ends the part of images: Dense and activations follow it."
        elif isinstance(layer, Dense) != dense_expected:
            reason = (
                f"{'a Dense' if dense_expected else 'an activation'} is needed there: dense layers and activations "
                "alternate. Use Identity() between two dense layers without an activation."
            )
        if reason:
            raise ValueError(f"layer {index} is {layer!r}, but {reason}")
    if (len(layers) - start) % 2 == 0:
        raise ValueError(
            f"the last layer is {layers[-1]!r}, but a Dense is needed: it makes the outputs. For a network that "
            "ends with its activation, add Dense(1, trainable=False): the kernels are those of its outputs."
        )


def _check_image_layers(layers: tuple[Layer, ...]) -> int:
    """Return the index of the first layer after Flatten or GlobalAvgPool.

    Before it stand convolutions, each followed by an activation, and pools: ``(Conv activation | AvgPool)+``.

    Raises
    ------
    ValueError
        If they have another order, or a circular convolution follows one that does not pad.
    """
    cropped: Layer | None = None
    for index, layer in enumerate(layers):
        reason = _misplaced(layer, layers[index - 1] if index else None, cropped)
        if reason:
            raise ValueError(f"layer {index} is {layer!r}, but {reason}")
        if isinstance(layer, Flatten | GlobalAvgPool):
            return index + 1
        if isinstance(layer, AvgPool):
            cropped = None
        elif isinstance(layer, Conv) and layer.padding == "valid":
            cropped = layer
    raise ValueError(
        f"there is neither Flatten() nor GlobalAvgPool() after {layers[0]!r}, but one of them is needed: it turns "
        "images into the features of the Dense after it."
    )


def _misplaced(layer: Layer, before: Layer | None, cropped: Layer | None) -> str:
    """Return the reason why a layer may not follow the one before it in the part of images, or an empty string.

    ``cropped`` is the last convolution since the last pool that does not pad, or None.
    """
    if before is None:
        return "" if isinstance(layer, Conv) else "a network with layers of images starts with a Conv."
    if isinstance(before, Conv):
        activation = "an activation is needed there, after a Conv. Use Identity() if there is none."
        return "" if isinstance(layer, Elementwise) else activation
    if isinstance(layer, Elementwise):
        return "an activation follows a Conv or a Dense."
    if isinstance(layer, Dense):
        return "the layer before it makes images. Use Flatten() or GlobalAvgPool() before the first Dense."
    if isinstance(layer, Conv) and layer.padding == "circular" and cropped is not None:
        return (
            f"{cropped!r} stands before it: what is left of an image by padding='valid' is not periodic. Use "
            "padding='same' or 'valid'."
        )
    return ""


def check_architecture(arch: object) -> None:
    """Raise TypeError unless ``arch`` is an architecture."""
    if not isinstance(arch, Architecture):
        raise TypeError(f"arch is {arch!r}, but a Sequential is needed, such as mlp(...)")


def check_scales(arch: Architecture, purpose: str) -> None:
    """Raise ValueError if the scales of a layer are unknown. ``purpose`` names what needs them, for the message."""
    for index, layer in enumerate(arch.layers):
        if isinstance(layer, Dense) and layer.sigma_w is None:
            raise UnknownScalesError(
                f"layer {index} is {layer!r}, whose sigma_w is unknown, but {purpose} needs it. {UNKNOWN_SCALES}"
            )


#: The advice for networks of images where a finite network is needed.
_AT_INFINITE_WIDTH = "Networks with Conv have kernels at infinite width: arch.kernel()."


def check_dense(arch: object, purpose: str, advice: str = _AT_INFINITE_WIDTH) -> None:
    """Raise an error unless ``arch`` is an architecture of dense layers. ``purpose`` names what needs one.

    Raises
    ------
    TypeError
        If it is not an architecture.
    ValueError
        If it has layers of images.
    """
    check_architecture(arch)
    known = cast("Architecture", arch)
    if takes_images(known):
        raise ValueError(
            f"layer 0 is {known.layers[0]!r}, but {purpose} needs a network of Dense layers and activations. {advice}"
        )


def takes_images(arch: Architecture) -> bool:
    """Return True for a network of images (N, H, W, C), False for one of features (N, n_0)."""
    return isinstance(arch.layers[0], Conv)


def grids(arch: Architecture, image: tuple[int, ...]) -> list[Grid]:
    """Return the rows and columns that each layer before the first Dense makes of images of shape (H, W, C).

    Raises
    ------
    ValueError
        If a window does not fit, or a stride that must keep images periodic does not divide their rows or columns.
    """
    found: list[Grid] = []
    for index, layer in enumerate(arch.layers):
        grid = found[-1] if found else (image[0], image[1])
        if isinstance(layer, Dense):
            break
        if isinstance(layer, Conv | AvgPool):
            _check_fit(index, layer, grid, image, periodic=_is_periodic(arch.layers[index:]))
            grid = _grid_after(layer, grid)
        elif isinstance(layer, Flatten | GlobalAvgPool):
            grid = (1, 1)
        found.append(grid)
    return found


def _is_periodic(layers: tuple[Layer, ...]) -> bool:
    """Return True if one of the convolutions before the next pool or head continues images periodically."""
    for layer in layers:
        if isinstance(layer, AvgPool | Flatten | GlobalAvgPool):
            break
        if isinstance(layer, Conv) and layer.padding == "circular":
            return True
    return False


def _check_fit(index: int, layer: Conv | AvgPool, grid: Grid, image: tuple[int, ...], *, periodic: bool) -> None:
    """Raise ValueError if the window of a layer does not fit into a grid, or its strides do not divide a periodic one.

    Images of the size of a window always fit.
    """
    window, strides = sizes(layer)
    padded = isinstance(layer, Conv) and layer.padding != "valid"
    shown_grid = f"the grid there has {grid[0]} rows and {grid[1]} columns"
    if not padded and (window[0] > grid[0] or window[1] > grid[1]):
        way_out = "a smaller window" if isinstance(layer, AvgPool) else "a smaller window or padding='same'"
        raise ValueError(
            f"layer {index} is {layer!r}, but {shown_grid}: its window does not fit. Use larger images, {way_out}."
            + channels_first(*image)
        )
    if periodic and (grid[0] % strides[0] or grid[1] % strides[1]):
        raise ValueError(
            f"layer {index} is {layer!r}, but {shown_grid}: with padding='circular' strides must divide them, or the "
            "result is not periodic."
        )


def _grid_after(layer: Conv | AvgPool, grid: Grid) -> Grid:
    """Return the rows and columns of the output of a layer whose window fits."""
    window, strides = sizes(layer)
    padded = isinstance(layer, Conv) and layer.padding != "valid"
    sides = zip(grid, window, strides, strict=True)
    rows, columns = ((n - 1 if padded else n - side) // step + 1 for n, side, step in sides)
    return rows, columns


def sizes(layer: Conv | AvgPool) -> tuple[Grid, Grid]:
    """Return the window and the strides of a layer, both in rows and columns."""
    return cast("Grid", layer.window), cast("Grid", layer.strides)


def layer_inputs(arch: Architecture, in_features: int) -> list[int]:
    """Return the number of inputs of each dense layer of a network without convolutions."""
    return [in_features, *(dense.width for dense in arch.dense[:-1])]


def image_layer_inputs(arch: Architecture, image: tuple[int, ...]) -> list[int]:
    """Return the number of inputs of a unit of each convolution and dense layer, for images of shape (H, W, C).

    Raises
    ------
    ValueError
        As for :func:`grids`.
    """
    inputs, units = [], image[2]
    for index, layer in enumerate(arch.layers):
        if isinstance(layer, Conv):
            inputs.append(units * math.prod(sizes(layer)[0]))
            units = layer.channels
        elif isinstance(layer, Flatten):
            units *= math.prod(grids(arch, image)[index - 1])
        elif isinstance(layer, Dense):
            inputs.append(units)
            units = layer.width
    return inputs


def layer_scales(
    arch: Architecture, in_features: int, parameterization: Parameterization = "ntk", *, unit_biases: bool = False
) -> list[tuple[float, float, float, float]]:
    """Return four factors for each dense layer: of W and b, and of the derivatives with respect to them.

    The factors of derivatives are those of W and b, or 0 for parameters that are not trained. If ``unit_biases``, the
    factor of the biases is that of b ~ N(0, 1) also in layers with ``tau_b``, instead of that of b'.
    """
    scales = []
    for dense, inputs in zip(arch.dense, layer_inputs(arch, in_features), strict=True):
        root = inputs**0.5
        own = (1.0, 1.0)
        if parameterization == "ntk":
            sigma_w, sigma_b = dense.scales
            own = sigma_w / root, sigma_b if unit_biases else dense.bias_scale
        tau_w, tau_b = dense.learning_scales(parameterization, inputs)
        scales.append((*own, tau_w / root, tau_b))
    return scales


def finite_specs(arch: Architecture) -> list[Spec]:
    """Return the activations of a finite network, as the core takes them.

    Raises
    ------
    ValueError
        If one of them has no derivative.
    """
    for activation in arch.activations:
        if isinstance(activation, Activation) and activation.derivative is None:
            raise ValueError(
                f"{activation!r} has no derivative, which finite networks need: pass Activation(fn, derivative). "
                "Kernels at infinite width, arch.kernel(), do without it."
            )
    return [activation.spec() for activation in arch.activations]


def parameter_shapes(arch: Architecture, in_features: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield the size and shape of W^0, b^0, W^1, ..., in the order in which they stand in θ."""
    for dense, inputs in zip(arch.dense, layer_inputs(arch, in_features), strict=True):
        yield inputs * dense.width, (inputs, dense.width)
        if dense.has_bias:
            yield dense.width, (dense.width,)


def parameter_views(arch: Architecture, in_features: int, theta: Array) -> Iterator[tuple[Array, Array | None]]:
    """Yield the weights and biases of each layer, as views of θ."""
    start = 0
    blocks = []
    for size, shape in parameter_shapes(arch, in_features):
        blocks.append(theta[start : start + size].reshape(shape))
        start += size
    remaining = iter(blocks)
    for dense in arch.dense:
        yield next(remaining), next(remaining) if dense.has_bias else None
