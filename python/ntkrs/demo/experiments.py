"""The experiments of ``ntkrs demo``, with infinite and finite networks on real data.

The functions take data and a :class:`Settings`, and return small frozen dataclasses. ``scores`` computes held-out
scores, ``figures`` draws the results, and ``report`` writes them. The data are two sets that come with scikit-learn:
digits (1797 × 64) and diabetes (442 × 10).
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
    """The sizes of the experiments. The defaults are those of ``ntkrs demo``.

    Attributes
    ----------
    samples : int
        The number of digits.
    depth, sigma_w, sigma_b : int, float, float
        The hidden layers and the scales of all networks.
    test_size : float
        The share of the data that is held out.
    folds : int
        Folds of the cross-validation inside the training part.
    ridges : tuple of float
        The ridges to choose from, relative to the mean of the kernel's diagonal.
    diabetes_splits : int
        Random splits of the diabetes data.
    widths, width_seeds, width_samples : tuple of int, int, int
        For :func:`width_scaling`: the widths, the networks per width, and the number of digits.
    times : int
        The number of training times in :func:`dynamics`.
    trained_widths, trained_samples, trained_steps : tuple of int, int, int
        For :func:`finite_training`: the widths, the number of digits, and the steps of gradient descent.
    lazy_widths, lazy_seeds, lazy_samples, lazy_steps : tuple of int, int, int, int
        For :func:`lazy_training`: the widths, the networks per width, the number of digits, and the steps.
    kappa_seeds : int
        The networks per width whose κ is computed in :func:`lazy_training`.

    Examples
    --------
    >>> from ntkrs import demo
    >>> demo.Settings(samples=300).folds
    5
    """

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
    """Images of digits with their labels, and a split into a training and a test part.

    Attributes
    ----------
    x : (N, 64) ndarray
        The pixels. Their mean and their one scale are those of the training part.
    labels : (N,) ndarray of int
        The digits, 0 to 9.
    targets : (N, 10) ndarray
        One-hot labels minus 1/10.
    train, test : ndarray of int
        The rows of the two parts.

    Examples
    --------
    >>> from ntkrs import demo
    >>> digits = demo.load_digits(demo.Settings(samples=150), seed=0)
    >>> digits.x.shape, digits.targets.shape, len(digits.train), len(digits.test)
    ((150, 64), (150, 10), 100, 50)
    """

    x: Array
    labels: Index
    targets: Array
    train: Index
    test: Index


@dataclass(frozen=True)
class Gram:
    """The NNGP and the NTK of all inputs at infinite width, with the cost of computing them.

    Attributes
    ----------
    nngp, ntk : (N, N) ndarray
        The kernels.
    seconds : float
        The wall time of both.
    megabytes : float
        The size of both, in MB (1e6 bytes).
    peak_megabytes : float or None
        The peak memory of the process so far, as :func:`peak_megabytes` returns it.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import demo
    >>> demo.gram(np.eye(3), demo.Settings()).megabytes  # two matrices of nine float64
    0.000144
    """

    nngp: Array
    ntk: Array
    seconds: float
    megabytes: float
    peak_megabytes: float | None


@dataclass(frozen=True)
class Dynamics:
    """Losses and test accuracy during gradient flow.

    Attributes
    ----------
    times : (T,) ndarray
        Training times.
    train_loss, test_loss : (T,) ndarray
        Half the mean square error at these times.
    accuracy : (T,) ndarray
        The share of correct digits in the test part at these times.
    train_loss_inf, test_loss_inf, accuracy_inf : float
        Their limits at t = ∞.

    Examples
    --------
    >>> from ntkrs import demo
    >>> settings = demo.Settings(samples=150, times=5)
    >>> digits = demo.load_digits(settings, seed=0)
    >>> flow = demo.dynamics(demo.gram(digits.x, settings).ntk, digits, settings)
    >>> flow.times.shape, flow.accuracy.shape
    ((5,), (5,))
    """

    times: Array
    train_loss: Array
    test_loss: Array
    accuracy: Array
    train_loss_inf: float
    test_loss_inf: float
    accuracy_inf: float


@dataclass(frozen=True)
class Circle:
    """Predictions f_t of an infinitely wide network on the unit circle, at several training times.

    Attributes
    ----------
    angles : (A,) ndarray
        The angles of the inputs, in radians.
    train_angles, train_targets : (N,) ndarray
        The training points.
    times : tuple of float
        The training times. The last one is infinity.
    curves : (T, A) ndarray
        f_t, one row for each time.

    Examples
    --------
    >>> from ntkrs import demo
    >>> result = demo.circle(demo.Settings(), points=73)
    >>> result.times, result.curves.shape
    ((0.3, 1.0, 3.0, inf), (4, 73))
    """

    angles: Array
    train_angles: Array
    train_targets: Array
    times: tuple[float, ...]
    curves: Array


@dataclass(frozen=True)
class FiniteTraining:
    """Losses of finite networks during gradient descent, and of two closed forms for comparison.

    The losses are half mean square errors. The first row is that of the training part, the second that of the test
    part.

    Attributes
    ----------
    steps : (S,) ndarray of int
        The numbers of steps after which the losses are taken.
    trained : dict of int to (2, S) ndarray
        The losses of the trained networks, by width.
    linear : (2, S) ndarray
        The losses of the linearization of the widest network at its start, in closed form.
    infinite : (2, S) ndarray
        The losses of the infinitely wide network, in closed form.
    samples : int
        The number of training samples.

    Examples
    --------
    >>> from ntkrs import demo
    >>> settings = demo.Settings(samples=150, trained_widths=(8, 32), trained_samples=20, trained_steps=4)
    >>> result = demo.finite_training(demo.load_digits(settings, seed=0), settings, seed=0)
    >>> result.steps.tolist(), list(result.trained), result.linear.shape
    ([1, 2, 3, 4], [8, 32], (2, 4))
    """

    steps: Index
    trained: dict[int, Array]
    linear: Array
    infinite: Array
    samples: int


@dataclass(frozen=True, eq=False)
class Kappa(diagnostics.WidthScaling):
    """κ of erf networks before training, against width: a :class:`ntkrs.diagnostics.WidthScaling`.

    Examples
    --------
    >>> from ntkrs import demo
    >>> print(demo.Kappa.LABEL)  # TeX
    $\\kappa$
    """

    LABEL: ClassVar[str] = r"$\kappa$"


@dataclass(frozen=True)
class Lazy:
    """Three measures of how lazily networks train, against their width.

    Attributes
    ----------
    drift : ntkrs.diagnostics.KernelDrift
        The change of the empirical NTK during training.
    gap : ntkrs.diagnostics.LinearizationGap
        The distance of the outputs from those of the linearization.
    kappa : Kappa
        κ, which predicts both before training.

    Examples
    --------
    >>> from ntkrs import demo
    >>> settings = demo.Settings(samples=150, lazy_widths=(8, 16), lazy_seeds=2, lazy_samples=8, lazy_steps=5)
    >>> lazy = demo.lazy_training(demo.load_digits(settings, seed=0), settings, seed=0)
    >>> lazy.drift.values.shape  # (widths, seeds)
    (2, 2)
    """

    drift: diagnostics.KernelDrift
    gap: diagnostics.LinearizationGap
    kappa: Kappa


def _network(settings: Settings, width: int = 1, outputs: int = 1) -> ntkrs.Sequential:
    """Return the ReLU architecture of all experiments."""
    return ntkrs.mlp(
        depth=settings.depth,
        width=width,
        outputs=outputs,
        activation="relu",
        sigma_w=settings.sigma_w,
        sigma_b=settings.sigma_b,
    )


def load_digits(settings: Settings, seed: int) -> Digits:
    """Load the digits that come with scikit-learn, with a stratified split into a training and a test part.

    Parameters
    ----------
    settings : Settings
        ``samples`` and ``test_size``.
    seed : int
        The seed of the choice of samples and of the split.

    Returns
    -------
    Digits

    Raises
    ------
    ImportError
        If scikit-learn is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import demo
    >>> digits = demo.load_digits(demo.Settings(samples=150), seed=0)
    >>> bool(np.allclose(digits.x[digits.train].mean(axis=0), 0))
    True
    """
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
    """Compute the NNGP and the NTK of inputs (N, d) at infinite width in one pass, and measure the time.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import demo
    >>> both = demo.gram(np.eye(3), demo.Settings())
    >>> both.nngp.shape, both.ntk.shape
    ((3, 3), (3, 3))
    """
    kernel = _network(settings).kernel()
    start = perf_counter()
    both = kernel(x, get=("nngp", "ntk"))
    seconds = perf_counter() - start
    return Gram(both.nngp, both.ntk, seconds, (both.nngp.nbytes + both.ntk.nbytes) / 1e6, peak_megabytes())


def peak_megabytes() -> float | None:
    """Return the largest resident memory of this process so far, in MB (1e6 bytes).

    It is None where the system does not tell, as on Windows.

    Examples
    --------
    >>> from ntkrs import demo
    >>> peak = demo.peak_megabytes()
    >>> peak is None or peak > 1
    True
    """
    try:
        import resource  # absent on Windows
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def width_scaling(
    x: Array, settings: Settings, seed: int, advance: Callable[[float], None] | None = None
) -> diagnostics.WidthConvergence:
    """Measure the error of the empirical NTK of random ReLU networks against their width.

    Parameters
    ----------
    x : (N, d) ndarray
        Inputs.
    settings : Settings
        ``widths`` and ``width_seeds``, and the architecture.
    seed : int
        The seed of the networks.
    advance : callable, optional
        Called with the share of the work that is done, from 0 to 1.

    Returns
    -------
    ntkrs.diagnostics.WidthConvergence

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import demo
    >>> settings = demo.Settings(widths=(16, 64, 256), width_seeds=4)
    >>> demo.width_scaling(np.eye(3), settings, seed=0).values.shape  # (widths, seeds)
    (3, 4)
    """
    report = False if advance is None else lambda done, total: advance(done / total)
    return diagnostics.width_convergence(
        _network(settings), x, settings.widths, settings.width_seeds, seed, progress=report
    )


def dynamics(k: Array, data: Digits, settings: Settings) -> Dynamics:
    """Follow gradient flow of an infinitely wide network on the square loss, in closed form.

    ``f_t(x) = k(x, X) K^-1 (I - exp(-K t / Z)) Y`` with f_0 = 0 and Z = 10 N. The learning rate is 1, so t stands for
    learning rate times time. It runs from a tenth of the time of the fastest mode to ten times that of the slowest.

    Parameters
    ----------
    k : (N, N) ndarray
        The NTK of all digits.
    data : Digits
        The digits.
    settings : Settings
        ``times``, the number of times.

    Returns
    -------
    Dynamics

    Examples
    --------
    >>> from ntkrs import demo
    >>> settings = demo.Settings(samples=150, times=5)
    >>> digits = demo.load_digits(settings, seed=0)
    >>> flow = demo.dynamics(demo.gram(digits.x, settings).ntk, digits, settings)
    >>> flow.train_loss_inf < 1e-20  # the training labels are reached
    True
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
    """Return half the mean square of residuals (..., N, O)."""
    return np.asarray((r**2).mean(axis=(-2, -1)) / 2)


def circle(settings: Settings, points: int = 241) -> Circle:
    """Predict functions on the unit circle from five training points, during training and at its end.

    Parameters
    ----------
    settings : Settings
        The architecture.
    points : int
        The number of angles at which the functions are computed.

    Returns
    -------
    Circle

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import demo
    >>> result = demo.circle(demo.Settings(), points=73)  # every 5 degrees
    >>> bool(np.allclose(result.curves[:, 0], result.curves[:, -1]))  # -180 and 180 degrees are one point
    True
    """
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
    """Return the eigenvalues of both kernels, and the energy of the centred labels in their eigenvectors.

    Examples
    --------
    >>> from ntkrs import demo
    >>> settings = demo.Settings(samples=150)
    >>> digits = demo.load_digits(settings, seed=0)
    >>> found = demo.spectrum(demo.gram(digits.x, settings), digits)
    >>> list(found), round(float(found["NTK"].label_energy.sum()), 6)
    (['NNGP', 'NTK'], 1.0)
    """
    y = data.targets - data.targets.mean(axis=0)
    return {name: diagnostics.spectrum(matrix, y) for name, matrix in (("NNGP", k.nngp), ("NTK", k.ntk))}


def finite_training(data: Digits, settings: Settings, seed: int) -> FiniteTraining:
    """Train all parameters of finite networks by gradient descent, and compare with two closed forms.

    All start from f_0 = 0, because the targets of each network are shifted by its initial outputs. The learning rate is
    the same for all: a quarter of the largest that is stable at infinite width.

    Parameters
    ----------
    data : Digits
        The digits.
    settings : Settings
        ``trained_widths``, ``trained_samples`` and ``trained_steps``, and the architecture.
    seed : int
        The seed of the networks.

    Returns
    -------
    FiniteTraining

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import demo
    >>> settings = demo.Settings(samples=150, trained_widths=(8, 256), trained_samples=20, trained_steps=20)
    >>> result = demo.finite_training(demo.load_digits(settings, seed=0), settings, seed=0)
    >>> narrow, wide = (np.abs(losses - result.infinite).max() for losses in result.trained.values())
    >>> bool(wide < narrow)  # wider networks are closer to infinite width
    True
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
    """Measure how lazily networks learn to tell even from odd digits, against their width.

    Parameters
    ----------
    data : Digits
        The digits.
    settings : Settings
        ``lazy_widths``, ``lazy_seeds``, ``lazy_samples``, ``lazy_steps`` and ``kappa_seeds``, and the architecture.
    seed : int
        The seed of the networks.

    Returns
    -------
    Lazy

    Notes
    -----
    κ is that of networks with the activation erf, since ReLU has no second derivative.

    Examples
    --------
    >>> from ntkrs import demo
    >>> settings = demo.Settings(samples=150, lazy_widths=(8, 32), lazy_seeds=2, lazy_samples=8, lazy_steps=5)
    >>> lazy = demo.lazy_training(demo.load_digits(settings, seed=0), settings, seed=0)
    >>> narrow, wide = lazy.drift.values.mean(axis=1)
    >>> bool(wide < narrow)  # the kernel of wider networks changes less
    True
    """
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
