"""Time the training dynamics: closed forms against one eigendecomposition, and products without the kernel matrix.

python benches/dynamics.py                 100 times t at N = 2000, relative to SciPy's eigh(driver="evd"), best of 5
python benches/dynamics.py --krylov 20000  10 outputs, from products with the kernel, and the memory used
"""

from __future__ import annotations

import argparse
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import eigh
from scipy.sparse.linalg import LinearOperator

import ntkrs
from ntkrs.demo import peak_megabytes

if TYPE_CHECKING:
    from collections.abc import Callable

KERNEL = ntkrs.mlp(depth=1, width=1, outputs=1, activation="relu", sigma_w=1.4, sigma_b=0.1).kernel()

#: Rows of the kernel that are computed at a time for a product.
ROWS = 500


def seconds(compute: Callable[[], Any]) -> float:
    """The seconds that one call takes."""
    start = perf_counter()
    compute()
    return perf_counter() - start


def closed_form(n: int = 2000, test: int = 500, times: int = 100, repeats: int = 5) -> None:
    """Print the time for all t relative to one eigendecomposition, both measured in turn."""
    x = np.random.default_rng(0).standard_normal((n + test, 50))
    k, k_test, t = KERNEL(x[:n]), KERNEL(x[n:], x[:n]), np.geomspace(1, 1e6, times)
    for outputs in (1, 10):
        y = np.random.default_rng(1).standard_normal((n, outputs))
        ratios, base = [], []
        for _ in range(repeats):
            copy = k.copy()
            base.append(seconds(lambda copy=copy: eigh(copy, driver="evd", overwrite_a=True)))
            ratios.append(
                (
                    seconds(lambda y=y: ntkrs.predict.gradient_descent_mse(k, y)(t)),
                    seconds(lambda y=y: ntkrs.predict.gradient_descent_mse(k, y)(t, k_test_train=k_test)),
                )
            )
        train, both = np.min(ratios, axis=0) / min(base)
        print(
            f"N={n}, {outputs} outputs, {times} times: {train:.2f} x eigh ({min(base):.2f} s); "
            f"with {test} test inputs {both:.2f} x"
        )


def krylov(n: int, outputs: int = 10, test: int = 200) -> None:
    """Print the seconds, memory and products that block Lanczos needs on a kernel that is never formed."""
    rng = np.random.default_rng(0)
    centres, labels = rng.standard_normal((outputs, 8)), rng.integers(0, outputs, n + test)
    x = centres[labels] + 0.7 * rng.standard_normal((n + test, 8))
    y = np.eye(outputs)[labels[:n]] - 1 / outputs
    spent = 0.0

    def product(v: np.ndarray) -> np.ndarray:
        nonlocal spent
        start, result = perf_counter(), np.zeros_like(v)
        for i in range(0, n, ROWS):
            block = KERNEL(x[i : i + ROWS], x[i:n])
            result[i : i + ROWS] += block @ v[i:]
            result[i + ROWS :] += block[:, ROWS:].T @ v[i : i + ROWS]
        spent += perf_counter() - start
        return result

    operator = LinearOperator((n, n), matvec=lambda v: product(v[:, None]), matmat=product, dtype=np.float64)
    before, start = peak_megabytes() or 0.0, perf_counter()
    predict = ntkrs.predict.gradient_descent_mse(operator, y, method="krylov", tolerance=1e-3)
    _, tested = predict(np.geomspace(1, n / 2, 20), k_test_train=KERNEL(x[n:], x[:n]))
    total, after = perf_counter() - start, peak_megabytes() or 0.0
    print(f"N={n}: {total:.1f} s, of it {spent:.1f} s in products; {after - before:.0f} MB more than before, ", end="")
    print(f"where the kernel would take {8e-6 * n * n:.0f} MB")
    print(f"{predict.report}; test accuracy {(tested[-1].argmax(axis=1) == labels[n:]).mean():.3f}")


def main() -> int:
    """Run the requested measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--krylov", type=int, metavar="N", help="products without the kernel matrix, N samples")
    samples = parser.parse_args().krylov
    if samples is None:
        closed_form()
    else:
        krylov(samples)
    return 0


if __name__ == "__main__":
    sys.exit(main())
