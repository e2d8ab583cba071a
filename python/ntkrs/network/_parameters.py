"""The parameters of finite networks: checks of given ones, and random ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ntkrs._architecture import check_scales, parameter_shapes, parameter_views
from ntkrs._checks import arrays, chunks, memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ntkrs._architecture import Architecture
    from ntkrs._layers import Dense
    from ntkrs._typing import Array, ArrayLike

#: The number of parameters that are drawn in one call. Ctrl-C takes effect between calls.
_DRAWS = 2**20


def flattened(
    arch: Architecture, weights: Sequence[ArrayLike], biases: Sequence[ArrayLike | None] | None
) -> tuple[int, Array]:
    """Return n_0 and θ for the weights and biases of all layers, after checking them.

    Raises
    ------
    ValueError, TypeError
        If the parameters do not fit the architecture, or are not finite real numbers.
    """
    weights = arrays.sequence(weights, "weights")
    biases = [None] * len(weights) if biases is None else arrays.sequence(biases, "biases")
    count = len(arch.dense)
    if not len(weights) == len(biases) == count:
        raise ValueError(
            f"{len(weights)} weights and {len(biases)} biases were given, but {arch!r} has {count} dense layers"
        )
    found: list[Array] = []
    inputs = None
    for index, (dense, weight, bias) in enumerate(zip(arch.dense, weights, biases, strict=True)):
        found.extend(layer_arrays(index, dense, inputs, weight, bias))
        inputs = dense.width
    theta = chunks.joined(arrays.same_dtype(*found))
    return found[0].shape[0], cast("Array", theta)


def drawn(arch: Architecture, in_features: int, rng: np.random.Generator, dtype: np.dtype[Any]) -> Array:
    """Return θ of a new network: draws from N(0, 1), or N(0, (sigma_b/tau_b)²) for biases with ``tau_b``.

    Raises
    ------
    ValueError
        If the scales of a layer are unknown.
    TypeError, MemoryError
        As :func:`standard_normal`.
    """
    check_scales(arch, "init, which draws parameters,")
    theta = standard_normal(sum(size for size, _ in parameter_shapes(arch, in_features)), rng, dtype)
    for dense, (_, bias) in zip(arch.dense, parameter_views(arch, in_features, theta), strict=True):
        if bias is not None and dense.tau_b:
            np.multiply(bias, dense.scales[1] / dense.tau_b, out=bias)
    return theta


def standard_normal(count: int, rng: np.random.Generator, dtype: np.dtype[Any]) -> Array:
    """Return ``count`` draws from N(0, 1), the parameters of a network.

    Raises
    ------
    TypeError, MemoryError
        If the dtype is neither float32 nor float64, or the parameters do not fit in memory.
    """
    if dtype not in (np.float64, np.float32):
        raise TypeError(f"dtype is {dtype}, but must be float32 or float64")
    remedy = "Use narrower layers, or float32."
    memory.require(count * dtype.itemsize, f"a network of {count} parameters of dtype {dtype}", remedy)
    theta = np.empty(count, dtype)
    for start in range(0, count, _DRAWS):
        rng.standard_normal(dtype=dtype, out=theta[start : start + _DRAWS])
    return cast("Array", theta)


def layer_arrays(
    index: int, dense: Dense, inputs: int | None, weight: ArrayLike, bias: ArrayLike | None
) -> Iterator[Array]:
    """Yield the weights and biases of one dense layer, after checking them. ``inputs`` is None for the first layer."""
    weights = arrays.floating(weight, f"weights[{index}]")
    expected = ("n_0" if inputs is None else inputs, dense.width)
    if weights.ndim != 2 or weights.shape[1] != dense.width or inputs not in (None, weights.shape[0]):
        raise ValueError(
            f"weights[{index}] has shape {weights.shape}, but {dense!r} needs ({expected[0]}, {expected[1]}): "
            "inputs by outputs"
        )
    if weights.shape[0] == 0:
        raise ValueError(f"weights[{index}] has shape {weights.shape}, but a network has at least 1 input")
    yield arrays.finite(weights, f"weights[{index}]")
    if (bias is not None) != dense.has_bias:
        needs = "biases: pass an array" if dense.has_bias else "no biases (sigma_b is 0): pass None"
        raise ValueError(f"biases[{index}] is {'None' if bias is None else 'given'}, but {dense!r} has {needs}")
    if bias is not None:
        values = arrays.floating(bias, f"biases[{index}]")
        if values.shape != (dense.width,):
            raise ValueError(f"biases[{index}] has shape {values.shape}, but {dense!r} needs ({dense.width},)")
        yield arrays.finite(values, f"biases[{index}]")
