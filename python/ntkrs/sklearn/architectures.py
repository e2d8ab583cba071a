"""Architectures from the parameters that all estimators share: depth, activation, scales, and frozen layers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ntkrs._architecture import check_dense, takes_images
from ntkrs._checks import numbers
from ntkrs._checks.advice import shown
from ntkrs.activations import by_name
from ntkrs.layers import Dense, Sequential, mlp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ntkrs._architecture import Layer
    from ntkrs.activations import Elementwise

    #: One scale for all dense layers, or one for each.
    Scales: TypeAlias = float | Sequence[float]
    #: The activation of all hidden layers, or one for each: objects or names.
    Activations: TypeAlias = str | Elementwise | Sequence[str | Elementwise]


def architecture(depth: int, activation: Activations, sigma_w: Scales, sigma_b: Scales, frozen: int = 0) -> Sequential:
    """Return the architecture with these hidden layers, all of width 1.

    Parameters
    ----------
    depth : int
        The number of hidden layers.
    activation : str, activation, or sequence of them
        One for all hidden layers, or one for each.
    sigma_w, sigma_b : float or sequence of float
        The scales: a number for all dense layers, or ``depth + 1`` of them.
    frozen : int
        The number of dense layers, from the first, that are not trained.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of its domain, or its length does not match the depth.
    """
    hidden = numbers.integer(depth, "depth")
    mlp(hidden, 1, 1)  # refuses negative and enormous depths
    weights = [numbers.positive(value, "sigma_w") for value in per_layer(sigma_w, "sigma_w", hidden)]
    biases = [numbers.nonnegative(value, "sigma_b") for value in per_layer(sigma_b, "sigma_b", hidden)]
    untrained = _frozen(frozen, hidden)
    dense = [Dense(1, w, b, trainable=at >= untrained) for at, (w, b) in enumerate(zip(weights, biases, strict=True))]
    layers: list[Layer] = [dense[0]]
    for between, layer in zip(_activations(activation, hidden), dense[1:], strict=True):
        layers += [between, layer]
    return Sequential(*layers)


def per_layer(value: Any, name: str, depth: int) -> list[Any]:
    """Return one scale for each dense layer.

    Raises
    ------
    ValueError
        If there are several, but not ``depth + 1``.
    """
    if not is_list(value):
        return [value] * (depth + 1)
    scales = list(value)
    if len(scales) != depth + 1:
        raise ValueError(
            f"{name} has {len(scales)} entries, but depth {depth} has {depth + 1} dense layers: give {depth + 1}, or "
            "one number."
        )
    return scales


def is_list(value: Any) -> bool:
    """Return True for a list, tuple, or array with an axis."""
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _activations(value: Any, depth: int) -> list[Elementwise]:
    """Return one activation for each hidden layer."""
    given = list(value) if isinstance(value, list | tuple) else [value] * depth
    if len(given) != depth:
        raise ValueError(
            f"activation has {len(given)} entries, but depth {depth} has {depth} hidden layers: give {depth}, or one "
            "activation."
        )
    return [by_name(one) if isinstance(one, str) else one for one in given]


def _frozen(value: Any, depth: int) -> int:
    """Return the number of dense layers that are not trained."""
    frozen = numbers.integer(value, "frozen")
    if not 0 <= frozen <= depth:
        raise ValueError(
            f"frozen is {frozen}, but depth {depth} has {depth + 1} dense layers, of which at most {depth} may be "
            "frozen."
        )
    return frozen


def sample_shape(arch: Sequential, input_shape: Any, features: int) -> tuple[int, ...]:
    """Return the shape in which the kernel of ``arch`` takes a row of ``features`` numbers: (n_0,), or (H, W, C).

    Raises
    ------
    TypeError, ValueError
        If the network takes images, and ``input_shape`` is not the height, width and channels of a row.
    """
    if not takes_images(arch):
        return (features,)
    first = f"architecture starts with {arch.layers[0]!r}, which takes images"
    if input_shape is None:
        raise ValueError(f"input_shape is None, but {first}: pass input_shape=(H, W, C) of the {features} features.")
    if not is_list(input_shape) or len(input_shape) != 3:
        raise ValueError(f"input_shape is {shown(input_shape)}, but {first}: height, width and channels are needed.")
    shape = tuple(numbers.count(side, "input_shape") for side in input_shape)
    if math.prod(shape) != features:
        raise ValueError(
            f"input_shape is {shown(shape)}, of {math.prod(shape)} numbers, but X has {features} features: "
            "height * width * channels must be their number."
        )
    return shape


def described(arch: Any) -> dict[str, Any]:
    """Return the parameters of :func:`architecture` that give an architecture with the kernels of ``arch``.

    Equal entries are given as one.

    Raises
    ------
    TypeError
        If ``arch`` is not a Sequential.
    ValueError
        If scales are unknown, a layer has ``tau_b``, one that is not trained follows one that is, or there is a Conv.
    """
    if not isinstance(arch, Sequential):
        raise TypeError(f"arch is {shown(arch)}, but a Sequential is needed, such as mlp(...)")
    check_dense(
        arch,
        "NTKKernel.from_architecture",
        "Use NTKRegressor or NTKClassifier(architecture=arch, input_shape=(H, W, C)), or kernel='precomputed' and the "
        "matrix arch.kernel()(X).",
    )
    for layer in arch.dense:
        if layer.tau_b is not None:
            raise ValueError(f"arch has {layer!r}, but biases must learn at the scale sigma_b: tau_b must be None.")
    trained = [layer.trainable for layer in arch.dense]
    frozen = trained.index(True) if any(trained) else len(trained)
    if not all(trained[frozen:]) or frozen == len(trained):
        raise ValueError(
            f"arch has trainable={trained} in its dense layers, but the layers that are not trained must be the first "
            "ones, and the last must be trained."
        )
    sigma_w, sigma_b = zip(*(layer.scales for layer in arch.dense), strict=True)
    activations = arch.activations
    return {
        "depth": len(activations),
        "activation": _joined(activations) if activations else "relu",
        "sigma_w": _joined(sigma_w),
        "sigma_b": _joined(sigma_b),
        "frozen": frozen,
    }


def _joined(values: tuple[Any, ...]) -> Any:
    """Return the common value, or all of them if they differ."""
    return values[0] if all(value == values[0] for value in values) else values
