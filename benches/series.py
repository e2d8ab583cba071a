"""Compare series kernels with a tensor Gauss–Hermite quadrature in NumPy: tanh, 784 features, 3 hidden layers.

    python benches/series.py [N]

The rival computes T and Ṫ of each pair with 25 × 25 nodes. All pairs would take minutes, so it is timed on a part of
them and scaled up. Both are compared with a dense trapezoidal rule. Then all series activations are timed, and ReLU,
whose kernel is a closed form.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ntkrs import mlp

Array = NDArray[np.float64]
Rule = tuple[Array, Array]

SIGMA_W, LAYERS, FEATURES = 1.5, 3, 784


def phi_dot(x: Array) -> Array:
    """Return φ'."""
    return np.asarray(1 / np.cosh(x) ** 2)


def gauss(n: int) -> tuple[Array, Array]:
    """Return the nodes and weights of the Gauss–Hermite rule."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    return nodes, weights / np.sqrt(2 * np.pi)


def dense(step: float) -> tuple[Array, Array]:
    """Return the trapezoidal rule. Its error is e^(-2π d/step), where d is the distance of the nearest pole."""
    nodes = np.arange(-9, 9 + step, step)
    return nodes, step * np.exp(-nodes * nodes / 2) / np.sqrt(2 * np.pi)


def dual(q1: Array, q2: Array, c: Array, rule: Rule) -> tuple[Array, Array]:
    """Return T and Ṫ of many pairs from a tensor rule."""
    nodes, weights = rule
    rho = np.clip(c / np.sqrt(q1 * q2), -1, 1)
    across = np.sqrt(1 - rho * rho)
    value, dot = np.zeros_like(c), np.zeros_like(c)
    for z, weight in zip(nodes, weights, strict=True):
        u = np.sqrt(q1) * z
        v = np.sqrt(q2)[..., None] * (rho[..., None] * z + across[..., None] * nodes)
        value += weight * np.tanh(u) * (np.tanh(v) @ weights)
        dot += weight * phi_dot(u) * (phi_dot(v) @ weights)
    return value, dot


def quadrature(x: Array, z: Array, rule: Rule) -> Array:
    """Return the NTK between the rows of x and z."""
    w = SIGMA_W**2
    q1, q2 = w * np.mean(x * x, axis=1)[:, None], w * np.mean(z * z, axis=1)[None, :]
    nngp = ntk = w * (x @ z.T) / FEATURES
    for _ in range(LAYERS):
        value, dot = dual(np.broadcast_to(q1, nngp.shape), np.broadcast_to(q2, nngp.shape), nngp, rule)
        q1, q2 = (w * dual(q, q, q, rule)[0] for q in (q1, q2))
        nngp = w * value
        ntk = nngp + w * dot * ntk
    return ntk


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that a call took, and its result."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def main() -> None:
    """Print the comparison."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    x = np.random.default_rng(0).standard_normal((count, FEATURES))
    kernel = mlp(LAYERS, 1, 1, "tanh", SIGMA_W).kernel()
    kernel(x)
    ours, entries = min((seconds(lambda: kernel(x)) for _ in range(5)), key=lambda run: run[0])
    part = min(100, count)
    rival, theirs = seconds(lambda: quadrature(x[:part], x, gauss(25)))
    rival *= count / part / 2  # by symmetry, half of the pairs are enough
    exact = quadrature(x[:8], x[:100], dense(0.05))
    scale = np.sqrt(np.outer(np.diag(entries)[:8], np.diag(entries)[:100]))
    print(f"N = {count}: ntkrs {ours:.3f} s, 25 x 25 nodes {rival:.1f} s, {rival / ours:.0f} times")
    print(f"largest error: ntkrs {np.abs((entries[:8, :100] - exact) / scale).max():.1e}, ", end="")
    print(f"25 x 25 nodes {np.abs((theirs[:8, :100] - exact) / scale).max():.1e}")
    compare(x)


def compare(x: Array) -> None:
    """Print the times of all series activations."""
    out = np.zeros((len(x), len(x)))
    for name in ("relu", "tanh", "sigmoid", "silu", "softplus", "softsign", "mish", "gelu_tanh", "elu", "selu"):
        kernel = mlp(LAYERS, 1, 1, name, SIGMA_W).kernel()
        times = [seconds(lambda kernel=kernel: kernel(x, out=out))[0] for _ in range(5)]  # type: ignore[misc]
        rows = min(seconds(lambda kernel=kernel: kernel.error_bound(x))[0] for _ in range(3))  # type: ignore[misc]
        print(f"{name:>10}: {min(times):.3f} s, of which rows {rows:.3f} s")


if __name__ == "__main__":
    main()
