"""The experiments of ``ntkrs demo``: real data, infinite and finite networks, no network access.

Every function takes data and a `Settings`, computes, and returns a small frozen dataclass. Drawing is the
job of ``plot``, writing of ``_report``; held-out scores are in ``_demo_scores``. The data are the two sets
that scikit-learn carries: digits (1797 x 64) and diabetes (442 x 10).
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import ntkrs

if TYPE_CHECKING:
    from collections.abc import Callable

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class Settings:
    """Sizes of the experiments; the defaults are those of ``ntkrs demo``."""

    samples: int = 1797
    depth: int = 3
    sigma_w: float = 2.0**0.5
    sigma_b: float = 0.1
    test_size: float = 1 / 3
    folds: int = 5
    ridges: tuple[float, ...] = (10.0, 1.0, 1e-1, 1e-2, 1e-3, 1e-4)
    diabetes_splits: int = 10
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)
    width_seeds: int = 20
    width_samples: int = 24
    times: int = 60


@dataclass(frozen=True)
class Digits:
    """Digits: pixels centred and scaled by the training part, labels, one-hot targets minus 1/10."""

    x: Array
    labels: Index
    targets: Array
    train: Index
    test: Index


@dataclass(frozen=True)
class Gram:
    """NNGP and NTK Gram matrices, the wall time of both, their size, and the peak memory of the process."""

    nngp: Array
    ntk: Array
    seconds: float
    megabytes: float
    peak_megabytes: float | None


@dataclass(frozen=True)
class WidthScaling:
    """Relative Frobenius errors (widths, seeds) of empirical kernels; line of log error on log width."""

    widths: Index
    errors: Array
    slope: float
    slope_stderr: float
    intercept: float
    samples: int


@dataclass(frozen=True)
class Dynamics:
    """Losses and test accuracy along gradient flow; the ``_inf`` fields are their limits at t = infinity."""

    times: Array
    train_loss: Array
    test_loss: Array
    accuracy: Array
    train_loss_inf: float
    test_loss_inf: float
    accuracy_inf: float


@dataclass(frozen=True)
class Circle:
    """f_t on the unit circle, one row of ``curves`` per time; the last time is infinity."""

    angles: Array
    train_angles: Array
    train_targets: Array
    times: tuple[float, ...]
    curves: Array


@dataclass(frozen=True)
class Spectrum:
    """Per kernel: eigenvalues (descending, over the trace), cumulative label energy, effective rank."""

    eigenvalues: dict[str, Array]
    label_energy: dict[str, Array]
    effective_rank: dict[str, float]


def require(module: str, package: str) -> Any:
    """Import an optional module, or say in one line how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"the demo needs {package} ({error}): pip install 'ntkrs[demo]'") from error


def _network(settings: Settings, width: int = 1) -> ntkrs.Sequential:
    return ntkrs.mlp(
        depth=settings.depth,
        width=width,
        outputs=1,
        activation="relu",
        sigma_w=settings.sigma_w,
        sigma_b=settings.sigma_b,
    )


def load_digits(settings: Settings, seed: int) -> Digits:
    """Digits with a stratified split; the pixel mean and the one scale come from the training part."""
    bunch = require("sklearn.datasets", "scikit-learn").load_digits()
    split = require("sklearn.model_selection", "scikit-learn").train_test_split
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(bunch.data))[: settings.samples]
    labels = bunch.target[rows].astype(np.intp)
    train, test = split(np.arange(len(rows)), test_size=settings.test_size, stratify=labels, random_state=seed)
    x = bunch.data[rows] - bunch.data[rows[train]].mean(axis=0)
    x /= np.sqrt((x[train] ** 2).mean())
    return Digits(x, labels, np.eye(10)[labels] - 0.1, train, test)


def gram(x: Array, settings: Settings) -> Gram:
    """Both infinite-width Gram matrices of ``x`` in one pass, timed."""
    kernel = _network(settings).kernel()
    start = perf_counter()
    both = kernel(x, get=("nngp", "ntk"))
    seconds = perf_counter() - start
    return Gram(both.nngp, both.ntk, seconds, (both.nngp.nbytes + both.ntk.nbytes) / 1e6, peak_megabytes())


def peak_megabytes() -> float | None:
    """Largest resident memory of this process so far in MB; None where the system does not say (Windows)."""
    try:
        import resource  # absent on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def width_scaling(
    x: Array, settings: Settings, seed: int, advance: Callable[[float], None] | None = None
) -> WidthScaling:
    """Error of finite-width kernels, ``|K_n - K|_F / |K|_F``, for random ReLU networks of growing width n.

    The slope is that of the least-squares line of log error on log n through all networks; its standard error
    comes from the spread between seeds. Theory: -1/2.

    Parameters
    ----------
    x : (N, d) array
        Inputs.
    advance : callable, optional
        Told the share of the work that is done, from 0 to 1.
    """
    limit = _network(settings).kernel()(x)
    errors = np.empty((len(settings.widths), settings.width_seeds))
    work = np.cumsum(np.square(settings.widths, dtype=float))
    for i, width in enumerate(settings.widths):
        arch = _network(settings, width)
        for j in range(settings.width_seeds):
            net = arch.init(in_features=x.shape[1], rng=np.random.default_rng([seed, width, j]))
            errors[i, j] = np.linalg.norm(net.ntk(x, outputs=0) - limit) / np.linalg.norm(limit)
            if advance is not None:
                before = work[i - 1] if i else 0.0
                advance(float(before + (work[i] - before) * (j + 1) / settings.width_seeds) / work[-1])
    slope, stderr, intercept = _fit_slope(np.asarray(settings.widths), errors)
    return WidthScaling(np.asarray(settings.widths), errors, slope, stderr, intercept, samples=len(x))


def _fit_slope(widths: Index, errors: Array) -> tuple[float, float, float]:
    """Least-squares line of log error on log width: slope, its standard error, and intercept.

    Column j of ``errors`` is an independent experiment with a slope of its own, so the standard error is that of
    their mean, and no model of the noise is needed.
    """
    slopes, intercepts = np.polyfit(np.log(widths), np.log(errors), 1)
    stderr = slopes.std(ddof=1) / np.sqrt(len(slopes))
    return float(slopes.mean()), float(stderr), float(intercepts.mean())


def dynamics(k: Array, data: Digits, settings: Settings) -> Dynamics:
    """Gradient flow on the square loss of an infinitely wide network from f_0 = 0, in closed form.

    ``f_t(x) = k(x, X) K^-1 (I - exp(-K t / Z)) Y`` with Z = 10 N; the learning rate is 1, so t stands for
    (learning rate) x time, from a tenth of the fastest mode's time to ten times the slowest mode's.
    """
    k_train, k_test = k[np.ix_(data.train, data.train)], k[np.ix_(data.test, data.train)]
    y, y_test = data.targets[data.train], data.targets[data.test]
    eigenvalues = np.linalg.eigvalsh(k_train)
    times = np.geomspace(0.1 * y.size / eigenvalues[-1], 10 * y.size / eigenvalues[0], settings.times)
    predict = ntkrs.predict.gradient_descent_mse(k_train, y, learning_rate=1.0)
    f_train, f_test = predict(times, 0.0, 0.0, k_test)
    limit_train, limit_test = predict(None, 0.0, 0.0, k_test)
    return Dynamics(
        times=times,
        train_loss=_half_mean_square(f_train - y),
        test_loss=_half_mean_square(f_test - y_test),
        accuracy=np.mean(f_test.argmax(axis=-1) == data.labels[data.test], axis=-1),
        train_loss_inf=float(_half_mean_square(limit_train - y)),
        test_loss_inf=float(_half_mean_square(limit_test - y_test)),
        accuracy_inf=float(np.mean(limit_test.argmax(axis=-1) == data.labels[data.test])),
    )


def _half_mean_square(r: Array) -> Array:
    return np.asarray((r**2).mean(axis=(-2, -1)) / 2)


def circle(settings: Settings, points: int = 241) -> Circle:
    """f_t on the unit circle for five training points, during training and at its end."""
    train = np.radians([-140.0, -70.0, -10.0, 60.0, 125.0])
    y = np.array([-0.6, 0.9, -0.3, 0.8, -0.9])
    angles = np.linspace(-np.pi, np.pi, points)
    kernel = _network(settings).kernel()
    x, z = (np.column_stack([np.cos(a), np.sin(a)]) for a in (train, angles))
    predict = ntkrs.predict.gradient_descent_mse(kernel(x), y, learning_rate=1.0)
    times = (0.3, 1.0, 3.0, np.inf)
    curves = [predict(t if np.isfinite(t) else None, 0.0, 0.0, kernel(z, x))[1] for t in times]
    return Circle(angles, train, y, times, np.stack(curves))


def spectrum(k: Gram, data: Digits) -> Spectrum:
    """Eigenvalues of both kernels, and how much of the label energy lies in the leading eigenvectors.

    Label energy of eigenvector i is ``|u_i^T Y|² / |Y|²``, the mean of Y over samples removed. The effective
    rank is ``exp(-sum p log p)`` with ``p = lambda / trace`` (Roy & Vetterli 2007).
    """
    y = data.targets - data.targets.mean(axis=0)
    values: dict[str, Array] = {}
    energy: dict[str, Array] = {}
    rank: dict[str, float] = {}
    for name, matrix in (("NNGP", k.nngp), ("NTK", k.ntk)):
        eigenvalues, vectors = np.linalg.eigh(matrix)
        p = np.maximum(eigenvalues[::-1], 0.0) / np.trace(matrix)
        values[name] = p
        energy[name] = np.cumsum(((vectors.T @ y) ** 2).sum(axis=1)[::-1]) / (y**2).sum()
        rank[name] = float(np.exp(-np.sum(p[p > 0] * np.log(p[p > 0]))))
    return Spectrum(values, energy, rank)
