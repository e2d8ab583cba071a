"""Time gradients of kernels against central differences, which take two kernels per scale, and measure the errors.

    python benches/gradient.py [--samples N] [--features D] [--inputs]

Each line: seconds of the kernel, of all its derivatives contracted with weights, of central differences (4 kernels a
layer), and their ratio. Then the largest error of both against 50 digits, in units of √(K_ii K_jj), on a few rows that
cost digits. Needs the test extra.

With ``--inputs`` the gradients are those with respect to the inputs. Each line: seconds of ``kernel(X, Z)``, and the
time of ``input_gradient(X, Z)`` in kernels, for a vector of weights and for weights of pairs; then both for X alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import ntkrs
from oracles import gradients

if TYPE_CHECKING:
    from collections.abc import Callable

ACTIVATIONS = ("relu", "erf", "gelu")
DEPTHS = (3, 10)
SIGMA_W, SIGMA_B = 1.4, 0.1

#: The step of differences: the cube root of ε balances truncation and round-off.
STEP = 6e-6


def kernel_of(sigmas: Any, activation: str) -> Any:
    """The kernel with these scales, (2, L): σ_w and σ_b of each layer."""
    dense = [ntkrs.Dense(1, *map(float, pair)) for pair in np.transpose(sigmas)]
    hidden = [part for layer in dense[:-1] for part in (layer, ntkrs.activations.by_name(activation))]
    return ntkrs.Sequential(*hidden, dense[-1]).kernel()


def differences(sigmas: Any, activation: str, x: Any, weights: Any = None) -> Any:
    """All derivatives of the NTK by central differences, (2, L, N, N), or their weighted sums, (2, L)."""
    result = []
    for index in np.ndindex(sigmas.shape):
        step = np.zeros(sigmas.shape)
        step[index] = STEP
        above, below = (kernel_of(sigmas + h, activation)(x) for h in (step, -step))
        difference = (above - below) / (2 * STEP)
        result.append(difference if weights is None else np.vdot(weights, difference))
    return np.reshape(result, (*sigmas.shape, *np.shape(result)[1:]))


def median(call: Callable[[], Any], repeats: int = 5) -> float:
    """The median seconds of several calls, after one that is not counted."""
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def hard_rows() -> Any:
    """Equal, nearly equal, parallel, opposite and zero rows among others."""
    x = np.random.default_rng(0).standard_normal((8, 5))
    x[1] = x[0]
    x[2] = 3 * x[0]
    x[3] = x[0] * (1 + 1e-12 * x[3])
    x[4] = x[0] * (1 + 1e-5 * x[4])
    x[5] = -x[0]
    x[6] = 0.0
    return x


def errors(sigmas: Any, activation: str) -> tuple[float, float]:
    """Largest errors of gradients and of differences, in units of √(K_ii K_jj)."""
    x, kernel = hard_rows(), kernel_of(sigmas, activation)
    _, exact = gradients.gradients(x, *sigmas, [activation] * (sigmas.shape[1] - 1))
    root = np.sqrt(kernel.diag(x))
    found = (np.stack(kernel.gradient(x)), differences(sigmas, activation, x))
    gradient, difference = (float(np.max(np.abs(one - exact) / np.outer(root, root))) for one in found)
    return gradient, difference


def inputs(x: Any) -> None:
    """Print a line for each network: gradients with respect to the inputs."""
    rng = np.random.default_rng(1)
    z, vector = rng.standard_normal(x.shape), rng.standard_normal(len(x))
    pairs = rng.standard_normal((len(x), len(x)))
    print("activation depth bias   kernel(X, Z)  vector  pairs     kernel(X)  vector  pairs")
    for activation in (*ACTIVATIONS, "tanh"):
        for depth, bias in ((1, 0.0), (1, SIGMA_B), (3, 0.0), (3, SIGMA_B), (10, SIGMA_B)):
            sigmas = np.array([[SIGMA_W] * (depth + 1), [bias] * (depth + 1)])
            kernel, line = kernel_of(sigmas, activation), f"{activation:10} {depth:5}  {bias:.1f}"
            for other in (z, None):
                once = median(lambda kernel=kernel, other=other: kernel(x, other))
                line += f"     {once:.3f} s"
                for weights in (vector, pairs):
                    both = kernel, other, weights
                    seconds = median(lambda both=both: both[0].input_gradient(x, both[1], weights=both[2]))
                    line += f"    {seconds / once:4.1f}"
            print(line, flush=True)


def main() -> int:
    """Print a line for each network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--features", type=int, default=100)
    parser.add_argument("--inputs", action="store_true")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    x = rng.standard_normal((arguments.samples, arguments.features))
    weights = rng.standard_normal((len(x), len(x)))
    print(f"N = {len(x)}, {x.shape[1]} features, {ntkrs.get_num_threads()} threads")
    if arguments.inputs:
        inputs(x)
        return 0
    print("activation depth  kernel   gradient (kernels)  differences (ratio)  error     of differences")
    for activation in ACTIVATIONS:
        for depth in DEPTHS:
            sigmas = np.array([[SIGMA_W] * (depth + 1), [SIGMA_B] * (depth + 1)])
            kernel = kernel_of(sigmas, activation)
            once = median(lambda kernel=kernel: kernel(x))
            gradient = median(lambda kernel=kernel: kernel.gradient(x, weights=weights))
            other = median(lambda s=sigmas, a=activation: differences(s, a, x, weights), repeats=1)
            error, rough = errors(sigmas, activation)
            print(
                f"{activation:10} {depth:5}  {once:.3f} s  {gradient:.3f} s ({gradient / once:4.1f})     "
                f"{other:.3f} s ({other / gradient:4.1f})       {error:.1e}   {rough:.1e}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
