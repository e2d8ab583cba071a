"""Experiments with finite networks: convergence with the width, training, and lazy training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

import ntkrs
from ntkrs import diagnostics
from ntkrs.demo.data import Array, half_mean_square, relu_network
from ntkrs.diagnostics import scaling

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ntkrs.demo.data import Digits, Index, Settings


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
    moved : dict of int to (S,) ndarray
        The change of the parameters of the trained networks, ``‖θ_t − θ_0‖ / ‖θ_0‖``, by width.
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
    moved: dict[int, Array]
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
        relu_network(settings), x, settings.widths, settings.width_seeds, seed, progress=report
    )


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
    kernel = relu_network(settings).kernel()
    k = kernel(x)
    rate = ntkrs.predict.max_learning_rate(k, y.size) / 4
    steps = np.unique(np.geomspace(1, settings.trained_steps, 19).round().astype(np.intp))

    def closed_form(k_train: NDArray[Any], k_test: NDArray[Any]) -> Array:
        predict = ntkrs.predict.gradient_descent_mse(k_train, y, rate, optimizer="gd")
        f, f_test = predict(steps, k_test_train=k_test)
        return np.stack([half_mean_square(f - y), half_mean_square(f_test - y_test)])

    trained, moved = {}, {}
    for width in settings.trained_widths:
        net = start = relu_network(settings, width, outputs=10).init(x.shape[1], rng=[seed, width], dtype=np.float32)
        losses, distances, taken = np.empty((2, len(steps))), np.empty(len(steps)), 0
        for i, step in enumerate(steps.tolist()):
            net, _ = net.train(x, y + start(x), rate, step - taken, progress=False)
            taken = step
            losses[0, i] = half_mean_square(net(x) - start(x) - y)
            losses[1, i] = half_mean_square(net(x_test) - start(x_test) - y_test)
            distances[i] = np.linalg.norm(net.parameters - start.parameters)
        trained[width], moved[width] = losses, distances / np.linalg.norm(start.parameters)
    linear = closed_form(start.ntk(x), start.ntk(x_test, x))
    return FiniteTraining(steps, trained, linear, closed_form(k, kernel(x_test, x)), moved, len(x))


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
    arch = relu_network(settings)
    widths, seeds, steps = settings.lazy_widths, settings.lazy_seeds, settings.lazy_steps
    drift = diagnostics.kernel_drift(arch, x, y, widths, seeds, steps=steps, rng=seed, progress=False)
    gap = diagnostics.linearization_gap(arch, x, y, None, widths, seeds, steps=steps, rng=seed, progress=False)
    counts = np.asarray(widths, dtype=np.intp)
    smooth = ntkrs.mlp(settings.depth, 1, 1, "erf", settings.sigma_w, settings.sigma_b)

    def kappa(net: ntkrs.Network) -> float:
        return diagnostics.kappa(net, x, y)

    values = np.array(scaling.networks(smooth, x.shape[1], counts, settings.kappa_seeds, seed, kappa, None))
    return Lazy(drift, gap, Kappa(counts, values, scaling.fit(counts, values), len(x)))
