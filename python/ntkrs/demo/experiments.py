"""The experiments of ``ntkrs demo``: real data, infinite and finite networks, no network access.

Every function takes data and a `Settings`, computes, and returns a small frozen dataclass. Drawing is the
job of ``figures``, writing of ``report``; held-out scores are in ``scores``. The data are the two sets
that scikit-learn carries: digits (1797 x 64) and diabetes (442 x 10).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

import ntkrs
from ntkrs import diagnostics
from ntkrs._runtime.optional import require
from ntkrs.diagnostics import scaling

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
    trained_widths: tuple[int, ...] = (64, 256, 1024)
    trained_samples: int = 200
    trained_steps: int = 256
    lazy_widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    lazy_seeds: int = 5
    lazy_samples: int = 40
    lazy_steps: int = 60
    kappa_seeds: int = 2


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
class FiniteTraining:
    """Training and test losses during gradient descent, (2, steps) each.

    ``trained`` are finite networks, by width; ``linear`` is the linearization of the widest of them at its start, and
    ``infinite`` the infinitely wide network, both in closed form.
    """

    steps: Index
    trained: dict[int, Array]
    linear: Array
    infinite: Array
    samples: int


@dataclass(frozen=True, eq=False)
class Kappa(diagnostics.WidthScaling):
    """κ of erf networks before training, against width."""

    LABEL: ClassVar[str] = r"$\kappa$"


@dataclass(frozen=True)
class Lazy:
    """How far training takes networks from their kernel and from their linearization, and κ, against width."""

    drift: diagnostics.KernelDrift
    gap: diagnostics.LinearizationGap
    kappa: Kappa


def _network(settings: Settings, width: int = 1, outputs: int = 1) -> ntkrs.Sequential:
    return ntkrs.mlp(
        depth=settings.depth,
        width=width,
        outputs=outputs,
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
) -> diagnostics.WidthConvergence:
    """Error of finite-width kernels for random ReLU networks of growing width, on inputs (N, d).

    ``advance`` is told the share of the work that is done, from 0 to 1.
    """
    report = False if advance is None else lambda done, total: advance(done / total)
    return diagnostics.width_convergence(
        _network(settings), x, settings.widths, settings.width_seeds, seed, progress=report
    )


def dynamics(k: Array, data: Digits, settings: Settings) -> Dynamics:
    """Gradient flow on the square loss of an infinitely wide network from f_0 = 0, in closed form.

    ``f_t(x) = k(x, X) K^-1 (I - exp(-K t / Z)) Y`` with Z = 10 N; the learning rate is 1, so t stands for
    (learning rate) x time, from a tenth of the fastest mode's time to ten times the slowest mode's.
    """
    k_train, k_test = k[np.ix_(data.train, data.train)], k[np.ix_(data.test, data.train)]
    y, y_test = data.targets[data.train], data.targets[data.test]
    predict = ntkrs.predict.gradient_descent_mse(k_train, y, learning_rate=1.0)
    scales = predict.time_scales[predict.modes.null :]
    times = np.geomspace(0.1 * scales.min(), 10 * scales.max(), settings.times)
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


def spectrum(k: Gram, data: Digits) -> dict[str, diagnostics.Spectrum]:
    """Eigenvalues of both kernels, and the energy of the labels in their eigenvectors, their mean removed."""
    y = data.targets - data.targets.mean(axis=0)
    return {name: diagnostics.spectrum(matrix, y) for name, matrix in (("NNGP", k.nngp), ("NTK", k.ntk))}


def finite_training(data: Digits, settings: Settings, seed: int) -> FiniteTraining:
    """Gradient descent of finite networks on all their parameters, and closed forms beside it.

    All start from f_0 = 0: each network's targets are shifted by its own initial outputs. The learning rate, the same
    for all, is a quarter of the largest that is stable at infinite width.
    """
    train, test = data.train[: settings.trained_samples], data.test
    x, y, x_test, y_test = data.x[train], data.targets[train], data.x[test], data.targets[test]
    kernel = _network(settings).kernel()
    k = kernel(x)
    rate = ntkrs.predict.max_learning_rate(k, y.size) / 4
    steps = np.unique(np.geomspace(1, settings.trained_steps, 19).round().astype(np.intp))

    def closed_form(k_train: NDArray[Any], k_test: NDArray[Any]) -> Array:
        predict = ntkrs.predict.gradient_descent_mse(k_train, y, rate, optimizer="gd")
        f, f_test = predict(steps, k_test_train=k_test)
        return np.stack([_half_mean_square(f - y), _half_mean_square(f_test - y_test)])

    trained = {}
    for width in settings.trained_widths:
        net = start = _network(settings, width, outputs=10).init(x.shape[1], rng=[seed, width], dtype=np.float32)
        losses, taken = np.empty((2, len(steps))), 0
        for i, step in enumerate(steps.tolist()):
            net, _ = net.train(x, y + start(x), rate, step - taken, progress=False)
            taken = step
            losses[0, i] = _half_mean_square(net(x) - start(x) - y)
            losses[1, i] = _half_mean_square(net(x_test) - start(x_test) - y_test)
        trained[width] = losses
    linear = closed_form(start.ntk(x), start.ntk(x_test, x))
    return FiniteTraining(steps, trained, linear, closed_form(k, kernel(x_test, x)), len(x))


def lazy_training(data: Digits, settings: Settings, seed: int) -> Lazy:
    """Drift of the kernel, distance from the linearization, and κ, for networks that learn even from odd digits."""
    rows = data.train[: settings.lazy_samples]
    x, y = data.x[rows], 1.0 - 2.0 * (data.labels[rows] % 2)
    arch = _network(settings)
    widths, seeds, steps = settings.lazy_widths, settings.lazy_seeds, settings.lazy_steps
    drift = diagnostics.kernel_drift(arch, x, y, widths, seeds, steps=steps, rng=seed, progress=False)
    gap = diagnostics.linearization_gap(arch, x, y, None, widths, seeds, steps=steps, rng=seed, progress=False)
    counts = np.asarray(widths, dtype=np.intp)
    smooth = ntkrs.mlp(settings.depth, 1, 1, "erf", settings.sigma_w, settings.sigma_b)

    def kappa(net: ntkrs.Network) -> float:
        return diagnostics.kappa(net, x, y)

    values = np.array(scaling.networks(smooth, x.shape[1], counts, settings.kappa_seeds, seed, kappa, None))
    return Lazy(drift, gap, Kappa(counts, values, scaling.fit(counts, values), len(x)))
