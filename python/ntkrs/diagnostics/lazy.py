"""The second and third claim: wide networks keep their kernel in training, and follow their linearization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from ntkrs import predict
from ntkrs._checks import arrays, numbers
from ntkrs._runtime.progress import reporter
from ntkrs.diagnostics.scaling import WidthScaling, fit, networks, sizes
from ntkrs.layers import check_architecture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike, Outputs, Progress
    from ntkrs.layers import Sequential
    from ntkrs.network import Network

#: The default learning rate is this share of the largest that is stable for the kernel at the start.
_SHARE = 0.5

#: How often a run is looked at.
_RECORDS = 20


class Training(NamedTuple):
    """A problem, and how it is trained on."""

    x: Array
    y: Array
    learning_rate: float | None
    steps: int
    momentum: float

    def rate(self, net: Network) -> float:
        """The learning rate that was given, or half the largest that is stable for this network's kernel.

        Raises
        ------
        ValueError
            If that kernel is 0: no rate trains anything.
        """
        if not net.vjp(self.x, np.random.default_rng(0).standard_normal(self.y.shape)).any():
            raise ValueError("X gives a kernel that is all 0: there is nothing to train")
        if self.learning_rate is not None:
            return self.learning_rate
        kernel = net.ntk(self.x, outputs=0) if net.arch.outputs == 1 else net.ntk(self.x)
        return _SHARE * predict.max_learning_rate(kernel, self.y.size, self.momentum)


@dataclass(frozen=True, eq=False)
class KernelDrift(WidthScaling):
    """``‖Θ_t − Θ_0‖_F/‖Θ_0‖_F`` of networks trained for the same number of steps: see :func:`kernel_drift`.

    Attributes
    ----------
    steps : (R,) ndarray of int
        When the drift was looked at.
    paths : (W, S, R) ndarray
        The drift then; ``values`` is that at the end.
    """

    steps: NDArray[np.int64]
    paths: NDArray[np.float64]

    LABEL: ClassVar[str] = r"kernel drift $\|\Theta_t-\Theta_0\|_F\,/\,\|\Theta_0\|_F$"


@dataclass(frozen=True, eq=False)
class LinearizationGap(WidthScaling):
    """How far trained networks are from their linearizations: see :func:`linearization_gap`.

    Attributes
    ----------
    steps : (R,) ndarray of int
        When the outputs were looked at.
    paths : (W, S, R) ndarray
        The gap then, on the training inputs; ``values`` is the largest of each network.
    test : (W, S) ndarray or None
        The gap at the end on the test inputs.
    """

    steps: NDArray[np.int64]
    paths: NDArray[np.float64]
    test: NDArray[np.float64] | None

    LABEL: ClassVar[str] = r"gap $\max_t\,\|f_t-f_{\mathrm{lin},t}\|\,/\,\|f_0-y\|$"


def kernel_drift(
    arch: Sequential,
    X: ArrayLike,
    y: ArrayLike,
    widths: Sequence[int] = (64, 128, 256, 512),
    seeds: int = 5,
    learning_rate: float | None = None,
    steps: int = 100,
    momentum: float = 0.0,
    rng: int = 0,
    *,
    progress: Progress = None,
) -> KernelDrift:
    """Measure how much the kernels of finite networks change in training on the square loss.

    ``‖Θ_t − Θ_0‖_F/‖Θ_0‖_F`` on X, all outputs. Theory: it falls at least like ``n^{−1/2}`` with the width n, and like
    ``n^{−1}`` where the expansion in 1/n holds.

    Parameters
    ----------
    arch : Sequential
        The network; the widths of its hidden layers are replaced.
    X : (N, n_0) array_like
        Inputs.
    y : (N,) or (N, O) array_like
        Targets.
    widths : sequence of int
        Units per hidden layer.
    seeds : int
        Networks per width.
    learning_rate : float, optional
        η of gradient descent on ``1/(2NO) Σ (f − y)²``; by default half the largest that is stable for each network's
        kernel before training.
    steps : int
        How many steps to take.
    momentum : float
        μ of the heavy ball.
    rng : int
        Network j of width n is drawn from ``[rng, n, j]``.
    progress : callable or bool, optional
        As for :meth:`ntkrs.Network.ntk`; counts networks by their size.

    Returns
    -------
    KernelDrift
        With ``.plot()``; ``values`` (W, S), ``paths`` (W, S, R).

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its domain, the architecture has no hidden layer, or training diverges.

    Notes
    -----
    S trainings of each width, and about 20 kernels of N² O² numbers for each.

    References
    ----------
    Jacot, Gabriel, Hongler (2018), theorem 2; Lee, Xiao et al. (2019), theorem 2.1; Dyer, Gur-Ari (2020) for 1/n.
    """
    counts, number = sizes(widths, seeds)
    training = _training(arch, X, y, learning_rate, steps, momentum)

    def drift(net: Network) -> Any:
        return _trained(net, training, training.rate(net), "kernel_drift")[1]

    runs = networks(arch, training.x.shape[1], counts, number, numbers.integer(rng, "rng"), drift, reporter(progress))
    paths = np.array([[run.kernel_drift for run in row] for row in runs])
    values = np.ascontiguousarray(paths[..., -1])
    return KernelDrift(counts, values, fit(counts, values), len(training.x), runs[0][0].step, paths)


def linearization_gap(
    arch: Sequential,
    X: ArrayLike,
    y: ArrayLike,
    X_test: ArrayLike | None = None,
    widths: Sequence[int] = (64, 128, 256, 512),
    seeds: int = 5,
    learning_rate: float | None = None,
    steps: int = 100,
    momentum: float = 0.0,
    rng: int = 0,
    *,
    progress: Progress = None,
) -> LinearizationGap:
    """Measure how far trained networks are from their linearizations, trained alike.

    ``‖f_t − f_lin,t‖/‖f_0 − y‖``, on X at its largest over the training, on X_test at its end over ``√(M/N)``. f_lin is
    :func:`ntkrs.predict.gradient_descent_mse` with the network's kernel before training. Theory: it falls at least like
    ``n^{−1/2}`` with the width n.

    Parameters
    ----------
    arch : Sequential
        The network; the widths of its hidden layers are replaced.
    X : (N, n_0) array_like
        Inputs.
    y : (N,) or (N, O) array_like
        Targets.
    X_test : (M, n_0) array_like, optional
        Test inputs.
    widths, seeds, learning_rate, steps, momentum, rng, progress
        As in :func:`kernel_drift`.

    Returns
    -------
    LinearizationGap
        With ``.plot()``; ``values`` (W, S), ``paths`` (W, S, R), ``test`` (W, S) or None.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its domain, the architecture has no hidden layer, or training diverges.

    Notes
    -----
    S trainings of each width, and one eigendecomposition of order N·O for each.

    References
    ----------
    Lee, Xiao et al. (2019), theorem 2.1; Chizat, Oyallon, Bach (2019).
    """
    counts, number = sizes(widths, seeds)
    training = _training(arch, X, y, learning_rate, steps, momentum)
    x_test = None if X_test is None else arrays.finite(arrays.batch(X_test, "X_test"), "X_test").astype(np.float64)
    if x_test is not None and (len(x_test) == 0 or x_test.shape[1] != training.x.shape[1]):
        raise ValueError(
            f"X_test has shape {x_test.shape}, but X has shape {training.x.shape}: the same n_0, and at least one row"
        )

    def gap(net: Network) -> Any:
        return _gap(net, training, x_test)

    runs = networks(arch, training.x.shape[1], counts, number, numbers.integer(rng, "rng"), gap, reporter(progress))
    paths = np.array([[run.path for run in row] for row in runs])
    test = None if x_test is None else np.array([[run.test for run in row] for row in runs])
    values = paths.max(axis=-1)
    return LinearizationGap(counts, values, fit(counts, values), len(training.x), runs[0][0].steps, paths, test)


class _Gap(NamedTuple):
    steps: NDArray[np.int64]
    path: NDArray[np.float64]
    test: float


def _gap(net: Network, training: Training, x_test: Array | None) -> _Gap:
    """The distance of a network from its linearization along its training."""
    rate = training.rate(net)
    trained, history = _trained(net, training, rate, "outputs")
    x, y = training.x, training.y
    start = net(x)
    outputs: Outputs = 0 if net.arch.outputs == 1 else "full"
    linear = predict.gradient_descent_mse(
        net.ntk(x, outputs=outputs), y, rate, optimizer="gd", momentum=training.momentum
    )
    unit = float(np.linalg.norm(start - y))
    if unit == 0:
        raise ValueError("y is what the network returns before training: there is nothing to learn")
    apart = history.outputs - linear(history.step, start)
    path = np.linalg.norm(apart.reshape(len(history.step), -1), axis=1) / unit
    if x_test is None:
        return _Gap(history.step, path, 0.0)
    k_test = net.ntk(x_test, x, outputs=outputs)
    expected = linear(int(history.step[-1]), start, net(x_test), k_test)[1]
    test = float(np.linalg.norm(trained(x_test) - expected)) * (len(x) / len(x_test)) ** 0.5
    return _Gap(history.step, path, test / unit)


def _trained(net: Network, training: Training, rate: float, record: Any) -> tuple[Network, Any]:
    every = max(training.steps // _RECORDS, 1)
    return net.train(
        training.x,
        training.y,
        rate,
        training.steps,
        momentum=training.momentum,
        record_every=every,
        record=(record,),
        progress=False,
    )


def _training(
    arch: Sequential, X: ArrayLike, y: ArrayLike, learning_rate: float | None, steps: int, momentum: float
) -> Training:
    """What the claims are measured on, checked."""
    check_architecture(arch)
    x = arrays.finite(arrays.batch(X, "X"), "X").astype(np.float64)
    targets = arrays.targets(y, (len(x), arch.outputs), "y").astype(np.float64)
    count = numbers.count(steps, "steps")
    rate = None if learning_rate is None else numbers.positive(learning_rate, "learning_rate")
    return Training(x, targets, rate, count, numbers.real(momentum, "momentum"))
