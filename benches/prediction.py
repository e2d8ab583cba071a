"""Time predictions from kernels against Cholesky by hand: the end of training, and Gaussian process inference.

    python benches/prediction.py [N] [--repeats 5] [--json FILE]
    python benches/prediction.py 8000 --end-to-end

ReLU kernels of random data with 784 features, 10 outputs, 500 test rows, in float64 and float32. Both sides are timed
in turn, best of the repeats. "With kernel" adds the time of the kernels to both. The rivals are SciPy, and JAX where it
is installed, compiled: the way of neural-tangents. Both compute in the dtype of the kernel. The share of the largest
difference in the largest value is printed with each ratio.

``--end-to-end`` times kernel, fit and prediction together, in float64, against scikit-learn's KernelRidge with an RBF
kernel, which solves as large a system.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve

import ntkrs
from ntkrs import predict
from ntkrs._runtime.versions import versions
from ntkrs.bench.measure import cpu

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


def jax_rivals(kernels: Any, cross: Any, prior: Any, y: Any) -> list[Callable[[], Any] | None]:
    """The same three by JAX, or None for each without it. Arrays are its own, and calls wait for the results."""
    if importlib.util.find_spec("jax") is None:
        return [None] * 3
    import jax
    from jax import numpy as jnp
    from jax.scipy import linalg

    jax.config.update("jax_enable_x64", True)

    def mean(kernel: Any, cross: Any, y: Any) -> Any:
        return cross @ linalg.cho_solve(linalg.cho_factor(kernel, lower=True), y)

    def posterior(kernel: Any, cross: Any, prior: Any, y: Any) -> Any:
        factor = linalg.cho_factor(kernel, lower=True)
        return cross @ linalg.cho_solve(factor, y), prior - cross @ linalg.cho_solve(factor, cross.T)

    def ensemble(nngp: Any, ntk: Any, cross: Any, cross_nngp: Any, prior: Any, y: Any) -> Any:
        weights = linalg.cho_solve(linalg.cho_factor(ntk, lower=True), cross.T).T
        mixed = weights @ cross_nngp.T
        return weights @ y, prior + weights @ nngp @ weights.T - mixed - mixed.T

    def timed(compute: Any, *arrays: Any) -> Callable[[], Any]:
        compiled, given = jax.jit(compute), [jnp.asarray(one) for one in arrays]
        jax.block_until_ready(compiled(*given))
        return lambda: jax.tree.map(np.asarray, jax.block_until_ready(compiled(*given)))

    return [
        timed(mean, kernels.ntk, cross.ntk, y),
        timed(posterior, kernels.ntk, cross.ntk, prior.ntk, y),
        timed(ensemble, kernels.nngp, kernels.ntk, cross.ntk, cross.nngp, prior.nngp, y),
    ]


def difference(ours: Any, theirs: Any) -> float:
    """The largest difference, relative to the largest value."""
    pairs = zip(ours, theirs, strict=True) if isinstance(ours, tuple) else [(ours, theirs)]
    return max(float(np.abs(one - other).max() / np.abs(other).max()) for one, other in pairs)


def rows(n: int, dtype: str) -> tuple[Callable[[], Any], list[tuple[str, dict[str, Callable[[], Any]]]]]:
    """The function that computes the kernels, and for each row its name, and the calls: ours, SciPy's, JAX's."""
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
    others = jax_rivals(train, cross, prior, y)
    named_rows = []
    for (name, ours, theirs), other in zip(found, others, strict=True):
        calls = {"ntkrs": ours, "scipy": theirs} | ({} if other is None else {"jax": other})
        named_rows.append((name, calls))
    return kernels, named_rows


def best(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """The best seconds of each call, all of them in turn."""
    times = [[seconds(call) for call in calls.values()] for _ in range(repeats)]
    return dict(zip(calls, np.min(times, axis=0).tolist(), strict=True))


def predictions(n: int, dtype: str, repeats: int) -> list[dict[str, Any]]:
    """Print one line for each prediction, and return its figures."""
    kernels, found = rows(n, dtype)
    kernel_time, results = min(seconds(kernels) for _ in range(repeats)), []
    for name, calls in found:
        times = best(calls, repeats)
        ours = calls["ntkrs"]()
        row = {"work": f"{name}, N={n}", "dtype": dtype, "kernel_seconds": kernel_time, "seconds": times}
        row["difference"] = {rival: difference(ours, calls[rival]()) for rival in times if rival != "ntkrs"}
        print(f"{row['work']}, {dtype}: {times['ntkrs']:.3f} s")
        for rival, off in row["difference"].items():
            alone = times["ntkrs"] / times[rival]
            together = (kernel_time + times["ntkrs"]) / (kernel_time + times[rival])
            print(
                f"    {rival} by hand {times[rival]:.3f} s, {alone:.2f} x; with kernel ({kernel_time:.3f} s) "
                f"{together:.2f} x; difference {off:.1e}"
            )
        results.append(row)
    return results


def end_to_end(n: int, repeats: int) -> list[dict[str, Any]]:
    """Print the seconds from inputs to predictions, and return them."""
    from sklearn.kernel_ridge import KernelRidge

    rng, ridge = np.random.default_rng(0), 1e-3
    x, z = (rng.standard_normal((count, FEATURES)) for count in (n, TEST))
    y = rng.standard_normal((n, OUTPUTS))
    kernel = ntkrs.mlp(depth=3, width=1, outputs=1, activation="relu").kernel()

    def trained() -> Any:
        return predict.gradient_descent_mse(kernel(x), y, diag_reg=ridge)(None, k_test_train=kernel(z, x))[1]

    calls = {
        "gradient_descent_mse": trained,
        "solve": lambda: kernel.operator(z, x) @ ntkrs.solve(kernel(x), y, ridge, overwrite_k=True).alpha,
        "KernelRidge(kernel='rbf')": lambda: KernelRidge(alpha=ridge, kernel="rbf").fit(x, y).predict(z),
    }
    times = best(calls, repeats)
    for name, took in times.items():
        print(f"inputs to predictions, N={n}, float64, {name}: {took:.2f} s")
    return [{"work": f"inputs to predictions, N={n}", "dtype": "float64", "seconds": times}]


def main() -> int:
    """Print one line for each row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samples", type=int, nargs="?", default=4000, metavar="N", help="training rows")
    parser.add_argument("--repeats", type=int, default=5, help="of which the best counts")
    parser.add_argument("--end-to-end", action="store_true", help="time from inputs to predictions instead")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    options = parser.parse_args()
    if options.end_to_end:
        found = end_to_end(options.samples, options.repeats)
    else:
        found = [
            row for dtype in ("float64", "float32") for row in predictions(options.samples, dtype, options.repeats)
        ]
    if options.json is not None:
        head = {"versions": versions(), "cpu": cpu(), "repeats": options.repeats}
        options.json.write_text(json.dumps({**head, "rows": found}, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
