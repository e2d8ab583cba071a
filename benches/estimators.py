"""Time the estimators of ntkrs.sklearn against those of scikit-learn, in one run.

    python benches/estimators.py [--samples N] [--repeats R] [--data DIR] [--only grid,evidence,forest] [--cpu]

- grid: depths 1..5 × 20 ridges with exact leave-one-out, against a grid search of KernelRidge in 5 folds, and against
  the five eigendecompositions alone.
- evidence: one evaluation of the evidence with its gradient, against GaussianProcessRegressor with an NTKKernel.
- forest: NTKClassifier() against RandomForestClassifier(200), both on one thread, fit and predict, on data sets in the
  format of Fernández-Delgado et al. (2014) with at most 500 rows. DIR holds one folder for each; without it the part is
  left out.

Seconds are the best of several turns. Ratios above 1 mean that ntkrs is faster. With --cpu everything runs on one
thread, and its processor time is taken: for machines that have other work.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import eigh
from sklearn.ensemble import RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_limits

import ntkrs
from ntkrs.sklearn import NTKClassifier, NTKGaussianProcessRegressor, NTKKernel, NTKRegressor

if TYPE_CHECKING:
    from collections.abc import Callable

DEPTHS = (1, 2, 3, 4, 5)
RIDGES = np.logspace(-6, 1, 20)
LARGEST = 500
CLOCK = [perf_counter]


def best(computations: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """The least seconds of each computation, which take turns."""
    least = dict.fromkeys(computations, np.inf)
    for _ in range(repeats):
        for name, compute in computations.items():
            start = CLOCK[0]()
            compute()
            least[name] = min(least[name], CLOCK[0]() - start)
    return least


def samples(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs with 20 features, and noisy targets."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((count, 20))
    return x, np.sin(x[:, 0]) + x[:, 1] * x[:, 2] + 0.3 * rng.standard_normal(count)


def grid(count: int, repeats: int) -> None:
    """Choose a depth and a ridge."""
    x, y = samples(count)
    kernels = ntkrs.mlp(5, 1, 1, "relu", 2**0.5, 0.5).kernel().depths(x)[1:]
    ours = best(
        {
            "fit": lambda: NTKRegressor(DEPTHS, diag_reg=RIDGES).fit(x, y),
            "eigh": lambda: [eigh(k, driver="evd") for k in kernels],
        },
        repeats,
    )
    choices = {"kernel": [NTKKernel(depth) for depth in DEPTHS], "alpha": RIDGES}
    search = best({"grid": lambda: GridSearchCV(KernelRidge(), choices, cv=5).fit(x, y)}, 1)["grid"]
    print(f"depths 1..5 x 20 ridges, exact leave-one-out, N={count}: {ours['fit']:.2f} s")
    print(f"  GridSearchCV(KernelRidge(NTKKernel)), 5 folds: {search:.2f} s, {search / ours['fit']:.1f}x")
    print(f"  five eigh: {ours['eigh']:.2f} s; the fit takes {ours['fit'] / ours['eigh']:.2f} times as long")


def evidence(count: int, depth: int, repeats: int, *, shared: bool) -> None:
    """Evaluate the evidence with its gradient."""
    x, y = samples(count)
    y = (y - y.mean()) / y.std()
    scales: Any = (2**0.5, 0.5) if shared else ([2**0.5] * (depth + 1), [0.5] * (depth + 1))
    ours = NTKGaussianProcessRegressor(depth, sigma_w=scales[0], sigma_b=scales[1]).fit(x[:50], y[:50])
    prior = NTKKernel(depth, "relu", *scales, get="nngp") + WhiteKernel(0.1)
    theirs = GaussianProcessRegressor(prior, optimizer=None).fit(x[:50], y[:50])
    for model in (ours, theirs):
        model.X_train_, model.y_train_ = x, y
    found = best(
        {
            "ours": lambda: ours.log_marginal_likelihood(ours.theta_, eval_gradient=True),
            "theirs": lambda: theirs.log_marginal_likelihood(prior.theta, eval_gradient=True),
        },
        repeats,
    )
    print(f"evidence with gradient, {len(prior.theta) - 1} scales, N={count}: {found['ours']:.3f} s")
    print(f"  GaussianProcessRegressor: {found['theirs']:.3f} s, {found['theirs'] / found['ours']:.1f}x")


def seconds(path: Path, repeats: int) -> tuple[float, float] | None:
    """The seconds of both classifiers on one data set; None if it is too large, or a half of it has one class."""
    table = np.loadtxt(path, skiprows=1)[:, 1:]
    order = np.random.default_rng(0).permutation(len(table))
    half = len(order) // 2
    x, y = table[order, :-1], table[order, -1].astype(int)
    if len(y) > LARGEST or len(np.unique(y[:half])) < 2:
        return None

    def classified(model: Any) -> Any:
        """Fit one half and predict the other."""
        return model.fit(x[:half], y[:half]).predict(x[half:])

    models = {
        "ours": lambda: classified(NTKClassifier()),
        "forest": lambda: classified(RandomForestClassifier(200, random_state=0)),
    }
    found = best(models, repeats)
    return found["ours"], found["forest"]


def forest(folder: Path, repeats: int) -> None:
    """Classify all small data sets."""
    found = [seconds(path, repeats) for path in sorted(folder.glob("*/*_R.dat"))]
    times = np.array([one for one in found if one is not None])
    ratios = times[:, 1] / times[:, 0]
    ours, theirs = times.sum(axis=0)
    print(f"NTKClassifier(), {len(times)} data sets of at most {LARGEST} rows, one half for the other: {ours:.2f} s")
    print(f"  RandomForestClassifier(200): {theirs:.2f} s, {theirs / ours:.1f}x; of single sets {min(ratios):.1f}x to")
    print(f"  {max(ratios):.1f}x, median {np.median(ratios):.1f}x")


def main() -> int:
    """Run the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--only", default="grid,evidence,forest")
    options = parser.parse_args()
    parts = options.only.split(",")
    warnings.simplefilter("ignore")
    if options.cpu:
        CLOCK[0] = process_time
        ntkrs.set_num_threads(1)
        threadpool_limits(1)
    print(f"{ntkrs.get_num_threads()} threads, {CLOCK[0].__name__}")
    if "grid" in parts:
        grid(options.samples, options.repeats)
    if "evidence" in parts:
        evidence(options.samples, 2, options.repeats, shared=True)
        evidence(options.samples, 3, options.repeats, shared=False)
    if "forest" in parts:
        if options.data is None:
            print("the forest is left out: it needs --data DIR")
        else:
            with ntkrs.threads(1), threadpool_limits(1):
                forest(options.data, options.repeats)
    return 0


if __name__ == "__main__":
    sys.exit(main())
