"""Compare convolutional kernels with whole tensors in NumPy, and with neural-tangents where it is installed.

    python benches/convolution.py [SIDE]

ReLU networks with three 3 × 3 layers, σ_w = √2, σ_b = 0.1, and GlobalAvgPool or Flatten, on SIDE × SIDE × 3 images (by
default 16). Times are those of one entry of a rectangular kernel, with its share of the variances of all images. The
processor time of one thread is compared with that for float32 images, and with that of NumPy, which computes one entry,
as each takes (H·W)² numbers. The wall time of all threads is compared with that of one, and with neural-tangents, which
computes in float32, its default.
"""

import importlib.util
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ntkrs import Conv, Dense, Flatten, GlobalAvgPool, Relu, Sequential, threads

Array = NDArray[np.float64]

SIGMA_W, SIGMA_B, LAYERS = 2**0.5, 0.1, 3


def box(tensor: Array) -> Array:
    """Return the mean over the taps of a 3 × 3 window that both pixels of (H, W, H, W) move by, padded with zeros."""
    h, w = tensor.shape[:2]
    padded = np.pad(tensor, 1)
    taps = [(a, b) for a in range(3) for b in range(3)]
    return np.asarray(sum(padded[a : a + h, b : b + w, a : a + h, b : b + w] for a, b in taps) / 9)


def relu(q1: Array, q2: Array, c: Array) -> tuple[Array, Array]:
    """Return T and Ṫ of ReLU."""
    s = np.sqrt(q1[:, :, None, None] * q2)
    angle = np.arccos(np.clip(c / s, -1, 1))
    return (s * np.sin(angle) + (np.pi - angle) * c) / (2 * np.pi), (np.pi - angle) / (2 * np.pi)


def tensors(x: Array, z: Array) -> tuple[Array, Array]:
    """Return the NTK of two images for both heads, from tensors of all pairs of pixels."""
    own, values, slopes = [x, z], [], 0.0
    products = [np.tensordot(a, b, axes=(2, 2)) / x.shape[2] for a, b in ((x, x), (z, z), (x, z))]
    for _ in range(LAYERS):
        sigmas = [SIGMA_W**2 * box(one) + SIGMA_B**2 for one in products]
        theta = sigmas[2] + SIGMA_W**2 * box(np.broadcast_to(slopes, sigmas[2].shape))
        own = [np.einsum("abab->ab", one) for one in sigmas[:2]]
        pairs = ((own[0], own[0]), (own[1], own[1]), (own[0], own[1]))
        values = [relu(*pair, one) for pair, one in zip(pairs, sigmas, strict=True)]
        products, slopes = [value for value, _ in values], values[2][1] * theta
    both = products[2] + slopes
    return both.mean(), np.einsum("abab->ab", both).mean()


def best(compute: Callable[[], Any], repeats: int = 3, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the least time in seconds."""
    times = []
    for _ in range(repeats):
        start = clock()
        compute()
        times.append(clock() - start)
    return min(times)


def neural_tangents(x: Array, z: Array, head: str) -> float | None:
    """Return the seconds of neural-tangents for an entry, or None without it."""
    if importlib.util.find_spec("neural_tangents") is None:
        return None
    from neural_tangents import stax

    layers = [
        part for _ in range(LAYERS) for part in (stax.Conv(1, (3, 3), (1, 1), "SAME", SIGMA_W, SIGMA_B), stax.Relu())
    ]
    kernel = stax.serial(*layers, getattr(stax, head)(), stax.Dense(1))[2]
    single = x.astype(np.float32), z.astype(np.float32)
    return best(lambda: np.asarray(kernel(*single, "ntk"))) / (len(x) * len(z))


def main() -> None:
    """Measure and print."""
    side = int(sys.argv[1]) if len(sys.argv) > 1 else 16
    x, z = np.random.default_rng(0).standard_normal((2, 64, side, side, 3))
    exact = tensors(x[0], z[0])
    numpy_seconds = best(lambda: tensors(x[0], z[0]), 3, time.process_time)
    layers = [part for _ in range(LAYERS) for part in (Conv(1, 3, sigma_w=SIGMA_W, sigma_b=SIGMA_B), Relu())]
    for head, value in zip((GlobalAvgPool(), Flatten()), exact, strict=True):
        kernel = Sequential(*layers, head, Dense(1)).kernel()
        count = 64 if isinstance(head, Flatten) else 8
        rows, entries = x[:count], count * 64

        narrow = rows.astype(np.float32), z.astype(np.float32)

        def compute(kernel: Any = kernel, images: Any = (rows, z)) -> None:
            kernel(*images)

        def compute_single(compute: Any = compute, images: Any = narrow) -> None:
            compute(images=images)

        wall = best(compute) / entries
        with threads(1):
            alone, ours = best(compute) / entries, best(compute, 3, time.process_time) / entries
            single = best(compute_single, 3, time.process_time) / entries
        difference = abs(kernel(x[:1], z[:1])[0, 0] / value - 1)
        rival = neural_tangents(x[:4], z[:4], type(head).__name__)
        beside = "neural-tangents is not installed" if rival is None else f"neural-tangents {rival / wall:.0f} x"
        print(
            f"{head!r:16} {side} x {side}: {1e3 * ours:.4f} ms an entry on one thread, "
            f"in float32 {1e3 * single:.4f} ms, {ours / single:.2f} x; "
            f"NumPy {1e3 * numpy_seconds:.2f} ms, {numpy_seconds / ours:.0f} x, relative difference {difference:.0e}; "
            f"all threads {alone / wall:.2f} x; {beside}"
        )


if __name__ == "__main__":
    main()
