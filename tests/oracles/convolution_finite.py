"""Finite convolutional networks with random parameters, and their empirical kernels: geometry as explicit matrices.

A convolution is ``h = sigma_w / sqrt(k C) sum_tau S_tau x W_tau + sigma_b b``, with a matrix S_tau of zeros and ones
for every tap, from all pixels of the input to those of the output. A network is a list as in `convolution`.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from .activations import phi, phi_dot
from .convolution import Conv, Dense, Pool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .activations import Array
    from .convolution import Layer


def kernels(x: Array, network: Sequence[Layer], rng: np.random.Generator) -> tuple[Array, Array]:
    """(nngp, ntk), (N, N) each, of one network with random parameters and images x (N, H, W, C).

    nngp is sigma_w^2 / n <a, a'> + sigma_b^2 of the inputs a of the last layer, and ntk that of its first output.
    Layers have their own widths.
    """
    steps: list[Any] = []
    a, grid = x.reshape(len(x), -1, x.shape[-1]), x.shape[1:3]
    nngp = ntk = np.zeros((len(x), len(x)))
    for layer in network:
        if isinstance(layer, Conv | Dense):
            maps, grid = _taps(layer, grid) if isinstance(layer, Conv) else (np.ones((1, 1, 1)), grid)
            patches = np.einsum("kop,npc->nokc", maps, a).reshape(len(x), maps.shape[1], -1)
            root = patches.shape[-1] ** 0.5
            nngp = layer.sigma_w**2 * np.einsum("noc,moc->nm", patches, patches) / root**2 + layer.sigma_b**2
            weights = rng.standard_normal((patches.shape[-1], layer.width))
            steps.append((layer, maps, patches, weights))
            a = layer.sigma_w / root * patches @ weights + layer.sigma_b * rng.standard_normal(layer.width)
        elif isinstance(layer, Pool):
            matrix, grid = _mean(layer, grid)
            steps.append(matrix)
            a = np.einsum("op,npc->noc", matrix, a)
        elif layer == "flatten":
            steps.append(a.shape[1:])
            a = a.reshape(len(x), 1, -1)
        elif layer == "global_avg_pool":
            matrix = np.full((1, a.shape[1]), 1 / a.shape[1])
            steps.append(matrix)
            a = np.einsum("op,npc->noc", matrix, a)
        else:
            steps.append(phi_dot(layer)(a))
            a = phi(layer)(a)
    ntk = _backward(steps, len(x))
    return nngp, ntk


def _backward(steps: list[Any], count: int) -> Array:
    """The sum over all layers of the products of the gradients of the first output."""
    delta, ntk = np.ones((count, 1, 1)), np.zeros((count, count))
    for at, step in enumerate(reversed(steps)):
        if isinstance(step, tuple) and isinstance(step[0], Conv | Dense):
            layer, maps, patches, weights = step
            weights = weights[:, :1] if at == 0 else weights
            root = patches.shape[-1] ** 0.5
            if layer.trainable:
                gradient = np.einsum("nop,noq->npq", patches, delta).reshape(count, -1)
                bias = delta.sum(axis=1)
                tau_b = layer.sigma_b if layer.tau_b is None else layer.tau_b
                ntk += (layer.sigma_w / root) ** 2 * gradient @ gradient.T + tau_b**2 * bias @ bias.T
            back = layer.sigma_w / root * delta @ weights.T
            delta = np.einsum("kop,nokc->npc", maps, back.reshape(count, maps.shape[1], maps.shape[0], -1))
        elif isinstance(step, tuple):
            delta = delta.reshape(count, *step)
        elif step.ndim == 2:
            delta = np.einsum("op,noc->npc", step, delta)
        else:
            delta = delta * step
    return ntk


def _taps(layer: Conv, grid: tuple[int, ...]) -> tuple[Array, tuple[int, int]]:
    """S_tau (k, outputs, inputs), and the rows and columns of the output."""
    (h, w), (a, b), (s, t) = grid, layer.window, layer.strides
    valid = layer.padding == "valid"
    rows, columns = ((h - a) // s + 1, (w - b) // t + 1) if valid else ((h - 1) // s + 1, (w - 1) // t + 1)
    top = 0 if valid else max((rows - 1) * s + a - h, 0) // 2
    left = 0 if valid else max((columns - 1) * t + b - w, 0) // 2
    maps = np.zeros((a * b, rows * columns, h * w))
    for i, j, u, v in product(range(rows), range(columns), range(a), range(b)):
        y, x = i * s + u - top, j * t + v - left
        if layer.padding == "circular":
            y, x = y % h, x % w
        if 0 <= y < h and 0 <= x < w:
            maps[u * b + v, i * columns + j, y * w + x] = 1
    return maps, (rows, columns)


def _mean(layer: Pool, grid: tuple[int, ...]) -> tuple[Array, tuple[int, int]]:
    """The matrix of an average pool, and the rows and columns of its output."""
    maps, grid = _taps(Conv(window=layer.window, strides=layer.strides, padding="valid"), grid)
    return maps.mean(axis=0), grid
