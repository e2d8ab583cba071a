"""Time moments of the NTK of many small networks against a loop in NumPy: width 64, N = 32, one call for all seeds.

    python benches/ensemble.py [SEEDS]

The loop draws the same numbers, forms X Xᵀ once, needs no Jacobian (two Gram matrices a layer) and keeps no kernel
(Welford). It runs with one BLAS thread, which is faster for products this small. To show the share of draws, our side
is also timed with one input, whose products take almost no time, and NumPy with the draws alone.
"""

import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import ntkrs

SAMPLES, WIDTH = 32, 64
SIGMA_W, SIGMA_B = 2**0.5, 0.1


def draws(d: int, depth: int, seed: int) -> list[tuple[Any, Any]]:
    """Weights and biases of each layer, equal to those of ``arch.init(d, rng=seed)``."""
    sizes = [d, *[WIDTH] * depth, 1]
    theta = np.random.default_rng(seed).standard_normal(sum((n + 1) * m for n, m in pairwise(sizes)))
    layers, start = [], 0
    for n, m in pairwise(sizes):
        weights, start = theta[start : start + n * m].reshape(n, m), start + n * m
        layers.append((weights, theta[start : start + m]))
        start += m
    return layers


def kernel(layers: list[tuple[Any, Any]], x: Any, gram: Any) -> Any:
    """The empirical NTK of a ReLU network with one output; ``gram`` is σ_w²/n_0 X Xᵀ + σ_b²."""
    values, grams, slopes = x, [gram], []
    for weights, bias in layers[:-1]:
        h = values @ weights
        h *= SIGMA_W / weights.shape[0] ** 0.5
        h += SIGMA_B * bias
        slopes.append(h > 0)
        values = np.maximum(h, 0, out=h)
        gram = values @ values.T
        gram *= SIGMA_W**2 / values.shape[1]
        gram += SIGMA_B**2
        grams.append(gram)
    theta = grams.pop()
    delta = None
    for (weights, _), slope in zip(layers[:0:-1], slopes[::-1], strict=True):
        delta = weights.T if delta is None else delta @ weights.T
        delta = delta * slope
        delta *= SIGMA_W / weights.shape[0] ** 0.5
        gram = grams.pop()
        gram *= delta @ delta.T
        theta += gram
    return theta


def loop(x: Any, depth: int, seeds: int) -> tuple[Any, Any]:
    """Mean and variance."""
    gram = SIGMA_W**2 / x.shape[1] * (x @ x.T) + SIGMA_B**2
    mean, squares = np.zeros((len(x), len(x))), np.zeros((len(x), len(x)))
    for seed in range(seeds):
        theta = kernel(draws(x.shape[1], depth, seed), x, gram.copy())
        difference = theta - mean
        mean += difference / (seed + 1)
        theta -= mean
        theta *= difference
        squares += theta
    return mean, squares / (seeds - 1)


def seconds(call: Callable[[], Any]) -> float:
    """The shortest of two calls."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def compare(d: int, depth: int, seeds: int) -> None:
    """Print a line for one size; the two sides take turns."""
    arch = ntkrs.mlp(depth, WIDTH, 1, "relu", SIGMA_W, SIGMA_B)
    x = np.random.default_rng(0).standard_normal((SAMPLES, d))
    part = max(2, seeds // 10)
    times: dict[str, list[float]] = {}
    for _ in range(3):
        with threadpool_limits(1, user_api="blas"):
            times.setdefault("loop", []).append(seconds(lambda: loop(x, depth, part)) / part)
        times.setdefault("draws", []).append(seconds(lambda: [draws(d, depth, s) for s in range(part)]) / part)
        times.setdefault("ours", []).append(seconds(lambda: ntkrs.ensemble_ntk(arch, x, seeds=seeds)) / seeds)
        times.setdefault("law", []).append(
            seconds(lambda: ntkrs.ensemble_ntk(arch, x, seeds=seeds, draws="law")) / seeds
        )
        single = seconds(lambda: ntkrs.ensemble_ntk(arch, x[:1], seeds=seeds))
        times.setdefault("single", []).append(single / seeds)
    best = {name: 1e6 * statistics.median(values) for name, values in times.items()}
    mean, variance = loop(x, depth, part)
    moments = ntkrs.ensemble_ntk(arch, x, seeds=part, outputs=0)
    error = max(abs(moments.mean - mean).max() / mean.max(), abs(moments.variance - variance).max() / variance.max())
    print(f"d={d} depth={depth}: microseconds a network: ", end="")
    print(f"NumPy {best['loop']:.0f} (draws {best['draws']:.0f}), ntkrs {best['ours']:.1f}", end="")
    print(f" (one input {best['single']:.1f}), {best['loop'] / best['ours']:.1f} times; differs by {error:.0e}", end="")
    print(f"; draws by law {best['law']:.1f}, {best['loop'] / best['law']:.1f} times")


def main() -> None:
    """Print the comparison."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(f"{ntkrs.get_num_threads()} threads, {seeds} networks of width {WIDTH}, {SAMPLES} inputs")
    for d in (10, 784):
        for depth in (2, 3):
            compare(d, depth, seeds)


if __name__ == "__main__":
    main()
