"""Time predictions from kernels against SciPy's Cholesky by hand: the end of training, and Gaussian process inference.

    python benches/prediction.py [N] [--repeats 5]

ReLU kernels of random data with 784 features, 10 outputs, 500 test rows, in float64 and float32. Both sides are timed
in turn, best of the repeats. "With kernel" adds the time of the kernels to both. SciPy computes in the dtype of the
kernel. The share of the largest difference in the largest value is printed with each ratio.
"""

from __future__ import annotations

import argparse
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve

import ntkrs
from ntkrs import predict

if TYPE_CHECKING:
    from collections.abc import Callable

FEATURES, OUTPUTS, TEST = 784, 10, 500

Pair = tuple[Any, Any]


def seconds(compute: Callable[[], Any]) -> float:
    """The seconds that one call takes."""
    start = perf_counter()
    compute()
    return perf_counter() - start


def mean_by_hand(kernel: Any, cross: Any, y: Any) -> Any:
    """``k K⁻¹ y``."""
    return cross @ cho_solve(cho_factor(kernel, lower=True), y)


def posterior_by_hand(kernel: Any, cross: Any, prior: Any, y: Any) -> Pair:
    """The mean and covariance of a Gaussian process with this kernel."""
    factor = cho_factor(kernel, lower=True)
    return cross @ cho_solve(factor, y), prior - cross @ cho_solve(factor, cross.T)


def ensemble_by_hand(kernels: Any, cross: Any, prior: Any, y: Any) -> Pair:
    """The mean and covariance of an ensemble trained to the end, from the NNGP and the NTK."""
    weights = cho_solve(cho_factor(kernels.ntk, lower=True), cross.ntk.T).T
    mixed = weights @ cross.nngp.T
    return weights @ y, prior + weights @ kernels.nngp @ weights.T - mixed - mixed.T


def moments(found: Any) -> Pair:
    """The mean and covariance of a prediction."""
    return found.mean, found.covariance


def difference(ours: Any, theirs: Any) -> float:
    """The largest difference, relative to the largest value."""
    pairs = zip(ours, theirs, strict=True) if isinstance(ours, tuple) else [(ours, theirs)]
    return max(float(np.abs(one - other).max() / np.abs(other).max()) for one, other in pairs)


def rows(n: int, dtype: str) -> tuple[Callable[[], Any], list[tuple[str, Callable[[], Any], Callable[[], Any]]]]:
    """The function that computes the kernels, and for each row its name, our call, and SciPy's."""
    rng = np.random.default_rng(0)
    x, z = (rng.standard_normal((count, FEATURES)).astype(dtype) for count in (n, TEST))
    y = rng.standard_normal((n, OUTPUTS)).astype(dtype)
    kernel, both = ntkrs.mlp(depth=2, width=1, outputs=1, activation="relu").kernel(), ("nngp", "ntk")

    def kernels() -> tuple[Any, Any, Any]:
        return kernel(x, get=both), kernel(z, x, get=both), kernel(z, get=both)

    train, cross, prior = kernels()
    named = {"k_test_train": cross, "k_test_test": prior}
    bare = {"k_test_train": cross.ntk, "k_test_test": prior.ntk}
    found = [
        (
            "gradient_descent_mse, t = infinity",
            lambda: predict.gradient_descent_mse(train.ntk, y)(None, k_test_train=cross.ntk)[1],
            lambda: mean_by_hand(train.ntk, cross.ntk, y),
        ),
        (
            "gp_inference of one matrix",
            lambda: moments(predict.gp_inference(train.ntk, y)(**bare)),
            lambda: posterior_by_hand(train.ntk, cross.ntk, prior.ntk, y),
        ),
        (
            'gp_inference, get="ntk"',
            lambda: moments(predict.gp_inference(train, y)(**named)),
            lambda: ensemble_by_hand(train, cross, prior.nngp, y),
        ),
    ]
    return kernels, found


def main() -> int:
    """Print one line for each row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=int, nargs="?", default=4000, metavar="N", help="training rows")
    parser.add_argument("--repeats", type=int, default=5, help="of which the best counts")
    options = parser.parse_args()
    for dtype in ("float64", "float32"):
        kernels, found = rows(options.samples, dtype)
        kernel_time = min(seconds(kernels) for _ in range(options.repeats))
        for name, ours, theirs in found:
            times = np.array([(seconds(ours), seconds(theirs)) for _ in range(options.repeats)]).min(axis=0)
            alone, together = times[0] / times[1], (kernel_time + times[0]) / (kernel_time + times[1])
            print(
                f"{name}, N={options.samples}, {dtype}: {times[0]:.3f} s, by hand {times[1]:.3f} s, {alone:.2f} x; "
                f"with kernel ({kernel_time:.3f} s) {together:.2f} x; difference {difference(ours(), theirs()):.1e}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
