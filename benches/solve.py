"""Time ntkrs.solve against scikit-learn's KernelRidge and SciPy's Cholesky on the same kernel matrix.

    python benches/solve.py [--samples N] [--targets O] [--repeats R] [--data DIR] [--dtype float32]

Each line: the best CPU seconds and the best seconds of several turns, SciPy's in float64 over both, and the solution's
distance from SciPy's. With ``--dtype float32``, all of that in float32 alone. ``--data`` is a folder with MNIST's
training images and labels as IDX files, gzipped or not; without it the inputs are random and lie near a plane of 20
dimensions. The ridge is 1e-4 of the mean diagonal.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import sys
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve

import ntkrs
from ntkrs.solvers.solution import Solution

if TYPE_CHECKING:
    from collections.abc import Callable

KERNEL = ntkrs.mlp(depth=3, width=1, outputs=1, activation="relu", sigma_w=2**0.5).kernel()
RIDGE = 1e-4


def inputs(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """The inputs and one-hot targets, with their mean subtracted."""
    rng = np.random.default_rng(0)
    if options.data is None:
        low = rng.standard_normal((options.samples, 20))
        x = low @ rng.standard_normal((20, 784)) + 0.3 * rng.standard_normal((options.samples, 784))
        labels = np.argmax(low @ rng.standard_normal((20, options.targets)), axis=1)
    else:
        x = idx(options.data, "train-images*")[: options.samples].reshape(-1, 784) / 255
        labels = idx(options.data, "train-labels*")[: options.samples] % options.targets
    return x, np.eye(options.targets)[labels] - 1 / options.targets


def idx(folder: str, pattern: str) -> np.ndarray:
    """The array of an IDX file."""
    path = next(iter(sorted(Path(folder).glob(pattern))))
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    shape = np.frombuffer(data, ">i4", data[3], 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def scipy_solution(k: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The solution of SciPy, which factorizes a copy."""
    a = k.copy()
    a[np.diag_indices_from(a)] += RIDGE * k.diagonal().mean()
    return cho_solve(cho_factor(a, lower=True, overwrite_a=True, check_finite=False), y.astype(k.dtype))


def sklearn_solution(k: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The solution of scikit-learn's KernelRidge."""
    from sklearn.kernel_ridge import KernelRidge

    return KernelRidge(alpha=RIDGE * k.diagonal().mean(), kernel="precomputed").fit(k, y).dual_coef_


def solving(k: Any, y: np.ndarray, **options: Any) -> Callable[[], Any]:
    """A call of ntkrs.solve."""
    return lambda: ntkrs.solve(k, y, RIDGE, progress=False, **options)


def tasks(x: np.ndarray, y: np.ndarray) -> dict[str, Callable[[], Any]]:
    """The calls in float64 that are timed, by the name that is printed."""
    k = KERNEL(x)
    found: dict[str, Callable[[], Any]] = {
        "SciPy, float64": lambda: scipy_solution(k, y),
        "solve, float64": solving(k, y),
        "pcg, float64 to 1e-6": solving(k, y, method="pcg"),
    }
    if importlib.util.find_spec("sklearn") is not None:
        found["KernelRidge, float64"] = lambda: sklearn_solution(k, y)
    return found


def single_tasks(x: np.ndarray, y: np.ndarray) -> dict[str, Callable[[], Any]]:
    """The calls in float32 that are timed, by the name that is printed."""
    k = KERNEL(x)
    return {
        "SciPy, float32": lambda: scipy_solution(k, y),
        "solve, float32 to 1e-6": solving(k, y),
        "pcg, float32 to 1e-6": solving(k, y, method="pcg"),
        "pcg, float32 to 1e-4": solving(k, y, method="pcg", tolerance=1e-4),
        "pcg, float32 to 1e-2": solving(k, y, method="pcg", tolerance=1e-2),
        "pcg, operator to 1e-2": solving(KERNEL.operator(x, progress=False), y, tolerance=1e-2),
    }


def main() -> int:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--targets", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--data")
    parser.add_argument("--dtype", choices=["float32"])
    options = parser.parse_args()
    x, y = inputs(options)
    timed, results = single_tasks(x.astype(np.float32), y), {}
    if options.dtype is None:
        timed = tasks(x, y) | timed
    first = next(iter(timed))
    best = dict.fromkeys(timed, (np.inf, np.inf))
    for _ in range(options.repeats):
        for name, compute in timed.items():
            start, used = perf_counter(), process_time()
            results[name] = compute()
            took = perf_counter() - start, process_time() - used
            best[name] = min(best[name][0], took[0]), min(best[name][1], took[1])
    exact = results[first]
    print(f"N={len(x)}, {y.shape[1]} targets, {ntkrs.get_num_threads()} threads")
    for name, (wall, cpu) in best.items():
        found = results[name]
        alpha = found.alpha if isinstance(found, Solution) else found
        off = np.linalg.norm(alpha - exact) / np.linalg.norm(exact)
        told = f"{found.iterations} iterations, rank {found.rank}" if alpha is not found else ""
        rival = best[first]
        ratios = f"{rival[1] / cpu:5.2f} x {rival[0] / wall:5.2f} x"
        print(f"{name:24s} {cpu:7.2f} s CPU {wall:7.2f} s {ratios}  alpha off by {off:.0e}  {told}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
