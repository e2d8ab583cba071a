"""NNGP and NTK of infinitely wide convolutional networks: whole tensors, in mpmath or in plain float64 NumPy.

    Sigma[p, p'] = sigma_w^2 B[T] + sigma_b^2,    B[T][p, p'] = 1/k sum_tau T[s p + tau - lo, s p' + tau - lo]
    Theta[p, p'] = own + sigma_w^2 B[D],          own = tau_w^2 B[T] + tau_b^2

with T = <x_p, x'_p'> / C and D = 0 before the first layer, and T = E phi(u) phi(v), D = (E phi'(u) phi'(v)) Theta after
an activation, for (u, v) with the covariance Sigma[p, p'] and the variances of both pixels. A pool averages over both
windows. The head takes the mean over p = p' (flatten) or over all pairs of pixels (global_avg_pool).

Tensors have shape (N, M, H, W, H, W), and (N, M) after the head. A network is a list: `Conv`, `Pool`, `Dense`, the
names of heads, and activations as in `activations`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import mpmath  # type: ignore[import-untyped]
import numpy as np

from . import quadrature
from .activations import parse
from .duals import CLOSED, dual

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .activations import Activation, Array

mp: Any = mpmath.mp

HEADS = ("flatten", "global_avg_pool")


@dataclass(frozen=True)
class Scales:
    """The scales of a layer with weights, all of them numbers. tau_b: the scale at which the biases learn."""

    sigma_w: float = 1.0
    sigma_b: float = 0.0
    trainable: bool = True
    tau_b: float | None = None
    width: int = 1

    def learning(self, inputs: int, parameterization: str) -> tuple[Any, Any]:
        """tau_w^2 and tau_b^2, of a layer with so many inputs: own = tau_w^2 mean(T) + tau_b^2."""
        if not self.trainable:
            return 0, 0
        tau_b = self.sigma_b if self.tau_b is None else self.tau_b
        if parameterization == "standard":
            return inputs, int(self.sigma_b > 0 or tau_b > 0)
        return mp.mpf(self.sigma_w) ** 2, mp.mpf(tau_b) ** 2


@dataclass(frozen=True)
class Conv(Scales):
    """A convolution. Padding lo = floor(total / 2) comes first, total = max((o - 1) s + w - n, 0)."""

    window: tuple[int, int] = (3, 3)
    strides: tuple[int, int] = (1, 1)
    padding: str = "same"


@dataclass(frozen=True)
class Pool:
    """Average pooling without padding."""

    window: tuple[int, int] = (2, 2)
    strides: tuple[int, int] = (2, 2)


@dataclass(frozen=True)
class Dense(Scales):
    """A dense layer."""


Layer = Conv | Pool | Dense | str | tuple[Any, ...]


def outputs(n: int, window: int, stride: int, padding: str) -> int:
    """The number of pixels that n pixels give, along one axis."""
    return (n - window) // stride + 1 if padding == "valid" else -(-n // stride)


def taps(n: int, window: int, stride: int, padding: str) -> list[list[int | None]]:
    """The input pixel of every output pixel and tap, along one axis; None for a zero of the padding."""
    count = outputs(n, window, stride, padding)
    before = 0 if padding == "valid" else max((count - 1) * stride + window - n, 0) // 2
    places = [[o * stride + tap - before for tap in range(window)] for o in range(count)]
    if padding == "circular":
        return [[place % n for place in line] for line in places]
    return [[place if 0 <= place < n else None for place in line] for line in places]


def kernels(
    x: Array,
    z: Array | None,
    network: Sequence[Layer],
    digits: int = 20,
    parameterization: str = "ntk",
    rounded: bool = True,
) -> tuple[Array, Array]:
    """(nngp, ntk), (N, M) each, of images x (N, H, W, C) and z (M, H, W, C; None: x), in mpmath.

    Errors are below 10^-digits sqrt(K_ii K_jj) for a handful of layers: arccos and the jumps of activations halve the
    digits once, and the number of working digits is four times as many.
    """
    with mp.workdps(4 * digits + 20):
        nngp, ntk = _kernels(_exact(x), _exact(x if z is None else z), network, parameterization, mp)
    if not rounded:
        return nngp, ntk
    return nngp.astype(float), ntk.astype(float)


def kernels_numpy(
    x: Array, z: Array | None, network: Sequence[Layer], parameterization: str = "ntk"
) -> tuple[Array, Array]:
    """(nngp, ntk), (N, M) each, in plain float64: near 1e-14 relative for generic images.

    Where |rho| is near 1 (equal pixels) a kinked activation has an error of sqrt(eps) = 1.5e-8 per layer.
    """
    x = np.asarray(x, dtype=float)
    return _kernels(x, x if z is None else np.asarray(z, dtype=float), network, parameterization, np)


def _exact(images: Array) -> Array:
    """Images as arrays of mpf, without rounding."""
    return np.asarray(np.frompyfunc(lambda value: mp.mpf(float(value)), 1, 1)(np.asarray(images)), dtype=object)


def _kernels(x: Array, z: Array, network: Sequence[Layer], parameterization: str, m: Any) -> tuple[Array, Array]:
    own = [list(_variances(images, network, m)) for images in (x, z)]
    start = _products(x[:, None], z[None])
    activation = 0

    def both(_: Array) -> tuple[Any, Any]:
        nonlocal activation
        q1, q2 = own[0][activation], own[1][activation]
        activation += 1
        if q1.ndim == 1:
            return q1[:, None], q2[None]
        return q1[:, None, :, :, None, None], q2[None, :, None, None, :, :]

    return _recursion(start, x.shape[1:], network, parameterization, both, m)


def _variances(images: Array, network: Sequence[Layer], m: Any) -> Iterator[Array]:
    """The variances of all pixels before each activation: (N, H, W), and (N,) after the head."""
    found: list[Array] = []

    def diagonal(sigma: Array) -> tuple[Any, Any]:
        if sigma.ndim == 1:
            found.append(sigma)
            return sigma, sigma
        n, h, w = sigma.shape[:3]
        q = np.diagonal(sigma.reshape(n, h * w, h * w), axis1=1, axis2=2).reshape(n, h, w)
        found.append(q)
        return q[:, :, :, None, None], q[:, None, None, :, :]

    _recursion(_products(images, images), images.shape[1:], network, "ntk", diagonal, m)
    yield from found


def _products(x: Array, z: Array) -> Array:
    """<x_p, z_p'> / C of images whose leading axes broadcast."""
    return np.sum(x[..., :, :, None, None, :] * z[..., None, None, :, :, :], axis=-1) / x.shape[-1]


def _recursion(
    start: Array,
    image: tuple[int, ...],
    network: Sequence[Layer],
    parameterization: str,
    variances: Callable[[Array], tuple[Any, Any]],
    m: Any,
) -> tuple[Array, Array]:
    """(Sigma, Theta) of the last layer. variances: from Sigma to those of both pixels."""
    value, slope = start, 0 * start
    sigma = theta = value
    units, pixels = image[2], 1
    for layer in network:
        if isinstance(layer, Conv | Dense):
            inputs = units * pixels
            if isinstance(layer, Conv):
                inputs = units * layer.window[0] * layer.window[1]
                value, slope = (_windows(tensor, layer) for tensor in (value, slope))
            tau = layer.learning(inputs, parameterization)
            w, b = mp.mpf(layer.sigma_w) ** 2, mp.mpf(layer.sigma_b) ** 2
            w, b, tau_w, tau_b = (float(scale) if m is np else scale for scale in (w, b, *tau))
            sigma, theta = w * value + b, tau_w * value + tau_b + w * slope
            units, pixels = layer.width, 1
        elif isinstance(layer, Pool):
            value, slope = (_pooled(tensor, layer) for tensor in (value, slope))
        elif layer in HEADS:
            pixels = value.shape[-1] * value.shape[-2] if layer == "flatten" else 1
            value, slope = (_headed(tensor, str(layer)) for tensor in (value, slope))
        else:
            value, dot = _dual(layer, *variances(sigma), sigma, m)
            slope = dot * theta
    return sigma, theta


def _dual(activation: Activation, q1: Any, q2: Any, c: Array, m: Any) -> tuple[Array, Array]:
    """T and Tdot of every entry. In NumPy, activations without a closed form are integrated, to about 1e-13."""
    closed = parse(activation)[0] in CLOSED
    if m is np and closed:
        value, dot = dual(activation, q1, q2, c, np)
        return value, dot
    one = (lambda *pair: dual(activation, *pair, mp)) if closed else (lambda *pair: quadrature.dual(activation, *pair))
    values, dots = np.frompyfunc(one, 3, 2)(*np.broadcast_arrays(q1, q2, c))
    dtype = float if m is np else object
    return np.asarray(values, dtype=dtype), np.asarray(dots, dtype=dtype)


def _windows(tensor: Array, layer: Conv) -> Array:
    """B: the mean over all taps, with zeros where either pixel lies outside."""
    sides = tensor.shape[-2:]
    rows, columns = (taps(*side, layer.padding) for side in zip(sides, layer.window, layer.strides, strict=True))
    total: Any = 0
    for a, b in product(range(layer.window[0]), range(layer.window[1])):
        part = tensor
        for axis, places in ((-4, rows), (-3, columns), (-2, rows), (-1, columns)):
            part = _gathered(part, axis, [line[a if axis % 2 == 0 else b] for line in places])
        total = total + part
    return np.asarray(total / (layer.window[0] * layer.window[1]))


def _gathered(tensor: Array, axis: int, places: list[int | None]) -> Array:
    """The entries at these places along an axis; zeros for None."""
    part = np.take(tensor, [place or 0 for place in places], axis=axis)
    inside = np.array([place is not None for place in places]).reshape(-1, *[1] * (-axis - 1))
    return part * inside


def _pooled(tensor: Array, layer: Pool) -> Array:
    """The mean over the windows of both pixels, one axis after the other."""
    for axis in (-4, -3, -2, -1):
        window, stride = layer.window[axis % 2], layer.strides[axis % 2]
        places = taps(tensor.shape[axis], window, stride, "valid")
        parts = [_gathered(tensor, axis, [line[tap] for line in places]) for tap in range(window)]
        tensor = sum(parts[1:], parts[0]) / window
    return tensor


def _headed(tensor: Array, head: str) -> Array:
    h, w = tensor.shape[-2:]
    square = tensor.reshape(*tensor.shape[:-4], h * w, h * w)
    if head == "flatten":
        return np.asarray(np.diagonal(square, axis1=-2, axis2=-1).sum(axis=-1) / (h * w))
    return np.asarray(square.sum(axis=(-2, -1)) / (h * w) ** 2)
