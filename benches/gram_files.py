"""Time stored kernel matrices: files against memory, resuming, and products against BLAS.

    python benches/gram_files.py [N] [--folder DIR] [--repeats 10]

The ReLU NTK of 3 hidden layers on random data with 784 features, in float32. Ratios are of one run, best of the
repeats: processor time for products, and time by the clock too where a disk takes part. Errors relative to the largest
value stand beside the products, since a rival may be faster by a worse result.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import numpy as np

import ntkrs

if TYPE_CHECKING:
    from collections.abc import Callable

FEATURES = 784

#: The number of rows that are converted to float64 at a time, by hand.
ROWS = 1000


def best(repeats: int, compute: Callable[[], Any], clock: Callable[[], float] = perf_counter) -> float:
    """The least seconds of a call."""
    times = []
    for _ in range(repeats):
        start = clock()
        compute()
        times.append(clock() - start)
    return min(times)


def by_hand(matrix: Any, vectors: Any) -> Any:
    """The product in float64, from bands of rows converted to float64."""
    bands = [matrix[start : start + ROWS].astype(np.float64) @ vectors for start in range(0, len(matrix), ROWS)]
    return np.concatenate(bands)


def writing(kernel: Any, x: Any, folder: Path, repeats: int) -> None:
    """Print the time of a file against that of a matrix in memory, and of a resumed call."""
    path = folder / "K.npy"
    sides = {
        "kernel(X)": lambda: kernel(x),
        "gram in memory": lambda: ntkrs.gram(kernel, x),
        "gram to a file": lambda: ntkrs.gram(kernel, x, path, overwrite=True),
    }
    for clock, unit in ((process_time, "processor"), (perf_counter, "clock")):
        first = 0.0
        for name, side in sides.items():
            seconds = best(repeats, side, clock)
            first = first or seconds
            print(f"{name}: {seconds:.2f} s ({unit}), {first / seconds:.2f} x the speed of kernel(X)")
    half, seen = len(x) // 4, []

    def stop(done: int, _: int) -> None:
        seen.append(done)
        if done > half:
            raise KeyboardInterrupt

    path.unlink()
    try:
        ntkrs.gram(kernel, x, path, progress=stop, band_bytes=2**24)
    except KeyboardInterrupt:
        resumed = best(1, lambda: ntkrs.gram(kernel, x, path))
        print(f"resumed after {100 * 2 * seen[-1] // len(x)} %: {resumed:.2f} s")


def products(kernel: Any, x: Any, folder: Path, repeats: int) -> None:
    """Print the time of products against those by hand."""
    gram, matrix = ntkrs.gram(kernel, x), kernel(x)
    file, operator = ntkrs.open_gram(folder / "K.npy"), kernel.operator(x)
    n, rng = len(x), np.random.default_rng(1)
    for count in (1, 10, 40):
        vectors = rng.standard_normal((n, count))
        single = vectors.astype(np.float32)
        exact = by_hand(matrix, vectors)

        def error(found: Any, exact: Any = exact) -> float:
            return float(np.abs(found - exact).max() / np.abs(exact).max())

        sides = {
            "gram": lambda vectors=vectors: gram.product(vectors),
            "file": lambda vectors=vectors: file.product(vectors),
            "float64 bands": lambda vectors=vectors: by_hand(matrix, vectors),
            "float32 BLAS": lambda single=single: matrix @ single,
            "operator": lambda vectors=vectors: operator.product(vectors),
        }
        times = {name: best(repeats, side, process_time) for name, side in sides.items()}
        print(f"r = {count}: gram {times['gram']:.3f} s, {2e-9 * n * n * count / times['gram']:.1f} GFLOP/s")
        for name in list(sides)[1:]:
            ratio, off = times[name] / times["gram"], error(sides[name]())
            print(f"    {name}: {times[name]:.3f} s, {ratio:.2f} x gram, off by {off:.1e}")


def main() -> int:
    """Print one line for each row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=int, nargs="?", default=10_000, metavar="N", help="rows of X")
    parser.add_argument("--folder", help="where to write the file; a temporary folder by default")
    # Threads of BLAS spin on after a call, which counts as processor time of the next ones.
    parser.add_argument("--repeats", type=int, default=10, help="of which the best counts")
    options = parser.parse_args()
    x = np.random.default_rng(0).standard_normal((options.samples, FEATURES)).astype(np.float32)
    kernel = ntkrs.mlp(depth=3, width=1, outputs=1, activation="relu", sigma_w=2**0.5).kernel()
    print(f"N = {options.samples}, {ntkrs.get_num_threads()} threads")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        writing(kernel, x, Path(folder), options.repeats)
        products(kernel, x, Path(folder), options.repeats)
    return 0


if __name__ == "__main__":
    sys.exit(main())
