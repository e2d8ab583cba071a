"""Layers of neural-tangents. Scales of activations become scales of the dense layers beside them."""

from __future__ import annotations

import math
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

import ntkrs

__all__ = ["Dense", "serial"]


class Layer(NamedTuple):
    """A dense layer, or an activation ``after · φ(before · x)``."""

    core: Any
    before: float = 1.0
    after: float = 1.0


class Serial(NamedTuple):
    """The functions of a network: ``init_fn``, ``apply_fn`` and ``kernel_fn``."""

    init_fn: Any
    apply_fn: Any
    kernel_fn: Any


class KernelFn:
    """A kernel whose ``get`` may be positional and is by default ``("nngp", "ntk")``."""

    def __init__(self, layers: list[Layer]) -> None:
        self.layers = layers

    @cached_property
    def kernel(self) -> ntkrs.Kernel:
        """The kernel of :mod:`ntkrs`, built once it is needed: parts of a network may end with an activation."""
        return _architecture(self.layers).kernel()

    def __call__(self, x1: Any, x2: Any = None, get: Any = None) -> Any:
        """Return the kernel, or a named tuple of kernels."""
        return self.kernel(x1, x2, get=get or ("nngp", "ntk"))


def apply_fn(params: ntkrs.Network, inputs: Any, rng: object = None) -> Any:  # noqa: ARG001  for layers that draw
    """Return the outputs of a network."""
    return params(inputs)


def check_ours(f: Any) -> None:
    """Raise TypeError unless f is the ``apply_fn`` of :func:`serial`."""
    if f is not apply_fn:
        raise TypeError(
            f"f is {f!r}, but only the apply_fn of stax.serial is known here. Read other models by ntkrs.convert"
        )


def Dense(out_dim: int, W_std: float = 1.0, b_std: float | None = None, *, parameterization: str = "ntk") -> Layer:  # noqa: N802
    """Return a dense layer.

    Examples
    --------
    >>> from ntkrs.compat.neural_tangents import stax
    >>> stax.serial(stax.Dense(3, 1.5, 0.05)).kernel_fn.kernel.arch
    Sequential(Dense(width=3, sigma_w=1.5, sigma_b=0.05))
    """
    if parameterization != "ntk":
        raise ValueError(f"parameterization is {parameterization!r}: use ntkrs.Sequential(...).kernel('standard')")
    return Layer(ntkrs.Dense(out_dim, W_std, b_std or 0.0))


def serial(*layers: Any) -> Serial:
    """Return the functions of a network of these layers. ``init_fn(seed, (-1, features))`` gives its parameters.

    Examples
    --------
    >>> from ntkrs.compat.neural_tangents import stax
    >>> _, _, kernel_fn = stax.serial(stax.Dense(8), stax.ABRelu(0.5, 2.0), stax.Dense(1))
    >>> kernel_fn.kernel.arch.activations  # 2 · leaky_relu(x, 1/4), with the 2 in the scale of the next layer
    (LeakyRelu(slope=0.25),)
    """
    parts = [one for item in layers for one in (item.kernel_fn.layers if isinstance(item, Serial) else [item])]
    kernel_fn = KernelFn([one for one in parts if one.core is not None])

    def init_fn(rng: Any, input_shape: tuple[int, ...]) -> tuple[tuple[int, int], ntkrs.Network]:
        arch = kernel_fn.kernel.arch
        return (input_shape[0], arch.outputs), arch.init(input_shape[-1], rng)

    return Serial(init_fn, apply_fn, kernel_fn)


def _architecture(layers: list[Layer]) -> ntkrs.Sequential:
    """Return the architecture, in which scales of activations are those of the dense layers before and after them."""
    found: list[Any] = []
    scale = 1.0
    for part, following in zip(layers, [*layers[1:], Layer(None)], strict=True):
        if not isinstance(part.core, ntkrs.Dense):
            found.append(part.core)
            scale = part.after
            continue
        if found and isinstance(found[-1], ntkrs.Dense):
            found.append(ntkrs.Identity())
        (sigma_w, sigma_b), before = part.core.scales, following.before
        # A sign of the scales changes no law: weights and biases are symmetric.
        found.append(ntkrs.Dense(part.core.width, abs(sigma_w * scale * before), abs(sigma_b * before)))
        scale = 1.0
    return ntkrs.Sequential(*found)


def _erf(a: float = 1.0, b: float = 1.0, c: float = 0.0) -> Layer:
    """Return ``a · erf(b x) + c``."""
    if c == 0:
        return Layer(ntkrs.Erf(), before=b, after=a)
    from scipy.special import erf

    slope = 2 * a * b / math.sqrt(math.pi)
    return _numerical(lambda x: a * erf(b * x) + c, df=lambda x: slope * np.exp(-((b * x) ** 2)))


def _ab_relu(a: float, b: float) -> Layer:
    """Return ``a · min(x, 0) + b · max(x, 0)``."""
    if b > 0:
        return Layer(ntkrs.LeakyRelu(a / b), after=b)
    raise ValueError(f"b is {b}, but ABRelu needs b > 0 here: use ntkrs.Activation for other slopes")


def _numerical(fn: Any, deg: int = 0, df: Any = None) -> Layer:
    """Return any function, as a series with a computed error bound. ``deg`` is chosen by the bound."""
    if df is None:
        raise ValueError(f"df is None, but the derivative of fn is needed (deg={deg} is not): pass df=")
    return Layer(ntkrs.Activation(fn, df))


#: The activations of neural-tangents, as layers or as they are.
_ACTIVATIONS: dict[str, Any] = {
    "ABRelu": _ab_relu,
    "ElementwiseNumerical": _numerical,
    "Erf": _erf,
    "Flatten": lambda: None,
    "Gabor": lambda: _numerical(
        lambda x: np.exp(-(x**2)) * np.sin(x), df=lambda x: np.exp(-(x**2)) * (np.cos(x) - 2 * x * np.sin(x))
    ),
    "Gaussian": lambda a=1.0, b=-1.0: Layer(ntkrs.Gaussian(-b), after=a),
    "Gelu": lambda approximate=False: ntkrs.GeluTanh() if approximate else ntkrs.Gelu(),
    "LeakyRelu": lambda alpha: _ab_relu(alpha, 1.0),
    "Polynomial": lambda coef: ntkrs.Polynomial(*coef),
    "RectifiedMonomial": ntkrs.RectifiedPower,
    "Sigmoid_like": lambda: _erf(0.5, 1 / 2.4020563531719796, 0.5),
}

#: Activations that both libraries have.
_SAME = ("Abs", "Cos", "Exp", "Hermite", "Identity", "Monomial", "Rbf", "Relu", "Sign", "Sin")

#: Layers that are not here, and what takes their place.
_ELSEWHERE = {
    "Elementwise": "use ElementwiseNumerical(fn, deg, df), or ntkrs.Activation(fn, derivative): both need no nngp_fn",
    **{
        name: f"this module is for rows of features. For images use ntkrs.{name} in an ntkrs.Sequential"
        for name in ("AvgPool", "Conv", "GlobalAvgPool")
    },
    "ExpNormalized": "it has no activation function, only a kernel; ntkrs.Rbf has a similar one",
}


def _layer(name: str, *args: Any, do_stabilize: bool = False, **options: Any) -> Layer:  # noqa: ARG001
    """Return the layer of an activation. ``do_stabilize`` changes nothing: all kernels here are stable."""
    made = _ACTIVATIONS.get(name) or getattr(ntkrs, name)
    layer = made(*args, **options)
    return layer if isinstance(layer, Layer) else Layer(layer)


def __getattr__(name: str) -> Any:
    if name in _ACTIVATIONS or name in _SAME:
        return partial(_layer, name)
    way = (
        "ntkrs.Sequential has dense layers, convolutions, pools and activations; see 'Coming from another library' in "
        "the documentation"
    )
    raise AttributeError(f"ntkrs.compat.neural_tangents.stax has no {name}: {_ELSEWHERE.get(name, way)}", name=name)
