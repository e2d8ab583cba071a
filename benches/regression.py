"""Time leave-one-out and evidence against one eigendecomposition, and the memory of the evidence's gradient.

    python benches/regression.py [--samples N] [--outputs O] [--repeats R]

Each line: the best seconds of several turns, relative to SciPy's eigh(driver="evd") in the same turns. The last line is
the peak of the memory that the gradient allocates, in units of N² numbers.
"""

from __future__ import annotations

import argparse
import sys
import tracemalloc
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import eigh

import ntkrs
from ntkrs.regression import KernelRegression, log_marginal_likelihood

if TYPE_CHECKING:
    from collections.abc import Callable

KERNEL = ntkrs.mlp(depth=2, width=1, outputs=1, activation="relu", sigma_w=2**0.5, sigma_b=0.5).kernel()
RIDGES = np.logspace(-8, 2, 21)
TIMES = np.geomspace(1, 1e6, 50)
TEST = 200


def seconds(compute: Callable[[], Any]) -> float:
    """The seconds that one call takes."""
    start = perf_counter()
    compute()
    return perf_counter() - start


def tasks(k: np.ndarray, k_test: np.ndarray, y: np.ndarray) -> dict[str, Callable[[], Any]]:
    """The calls that are timed, by the name that is printed."""
    model = KernelRegression(k, y)
    return {
        "eigh": lambda: eigh(k, driver="evd"),
        "KernelRegression": lambda: KernelRegression(k, y),
        "loo of 21 ridges": lambda: model.loo(RIDGES),
        "loo_flow at 50 times": lambda: model.loo_flow(TIMES),
        f"loo_predict at {TEST} test rows": lambda: model.loo_predict(1e-3, k_test),
        "evidence of 21 noises": lambda: model.log_marginal_likelihood(RIDGES),
        "evidence by Cholesky": lambda: log_marginal_likelihood(k, y, 0.1),
        "evidence and gradient": lambda: log_marginal_likelihood(k, y, 0.1, eval_gradient=True),
    }


def memory(k: np.ndarray, y: np.ndarray) -> float:
    """The peak of what the evidence with its gradient allocates, in units of N² numbers."""
    tracemalloc.start()
    log_marginal_likelihood(k, y, 0.1, eval_gradient=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / k.nbytes


def main() -> int:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--outputs", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    x = np.random.default_rng(0).standard_normal((options.samples + TEST, 20))
    k = KERNEL(x[TEST:])
    y = np.random.default_rng(1).standard_normal((options.samples, options.outputs))
    timed = tasks(k, KERNEL(x[:TEST], x[TEST:]), y)
    best = dict.fromkeys(timed, np.inf)
    for _ in range(options.repeats):
        for name, compute in timed.items():
            best[name] = min(best[name], seconds(compute))
    print(f"N={options.samples}, {options.outputs} outputs")
    for name, least in best.items():
        print(f"{name:32s} {1e3 * least:9.1f} ms  {least / best['eigh']:6.3f} x eigh")
    print(f"evidence and gradient allocate {memory(k, y):.2f} N^2 numbers beside the kernel")
    return 0


if __name__ == "__main__":
    sys.exit(main())
