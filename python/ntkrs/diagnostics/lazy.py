"""The second and third claims of the theory: wide networks keep their kernel and follow their linearization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from ntkrs import predict
from ntkrs._architecture import check_dense
from ntkrs._checks import arrays, numbers
from ntkrs._runtime.progress import reporter
from ntkrs.diagnostics.scaling import WidthScaling, fit, networks, sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike, Outputs, Progress
    from ntkrs.layers import Sequential
    from ntkrs.network import Network

#: The default learning rate is this share of the largest stable one for the kernel before training.
_SHARE = 0.5

#: The approximate number of times that a run is recorded.
_RECORDS = 20


class Training(NamedTuple):
    """A regression problem and the settings of its training."""

    x: Array
    y: Array
    learning_rate: float | None
    steps: int
    momentum: float

    def rate(self, net: Network) -> float:
        """Return the given learning rate, or half of the largest stable one for this network's kernel.

        Raises
        ------
        ValueError
            If the kernel is all 0, so that no learning rate trains anything.
        """
        if not net.vjp(self.x, np.random.default_rng(0).standard_normal(self.y.shape)).any():
            raise ValueError("X gives a kernel that is all 0: there is nothing to train")
        if self.learning_rate is not None:
            return self.learning_rate
        kernel = net.ntk(self.x, outputs=0) if net.arch.outputs == 1 else net.ntk(self.x)
        return _SHARE * predict.max_learning_rate(kernel, self.y.size, self.momentum)


@dataclass(frozen=True, eq=False)
class KernelDrift(WidthScaling):
    """The result of :func:`kernel_drift`: ``‖Θ_t − Θ_0‖_F/‖Θ_0‖_F`` of networks trained for the same number of steps.

    Attributes
    ----------
    steps : (R,) ndarray of int
        The steps t at which the drift was recorded.
    paths : (W, S, R) ndarray
        The drift at these steps. ``values`` is the drift at the last one.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import mlp
    >>> from ntkrs.diagnostics import kernel_drift
    >>> found = kernel_drift(mlp(1, 1, 1, "relu"), np.eye(3), [1.0, -1.0, 0.0], widths=(16, 64), seeds=2, steps=4)
    >>> found.steps.tolist(), found.paths.shape, bool((found.paths[..., 0] == 0).all())  # Θ_0 has no drift
    ([0, 1, 2, 3, 4], (2, 2, 5), True)
    """

    steps: NDArray[np.int64]
    paths: NDArray[np.float64]

    LABEL: ClassVar[str] = r"kernel drift $\|\Theta_t-\Theta_0\|_F\,/\,\|\Theta_0\|_F$"


@dataclass(frozen=True, eq=False)
class LinearizationGap(WidthScaling):
    """The result of :func:`linearization_gap`: the distance of trained networks from their linearizations.

    Attributes
    ----------
    steps : (R,) ndarray of int
        The steps t at which the outputs were recorded.
    paths : (W, S, R) ndarray
        The gap at these steps, on the training inputs. ``values`` is the largest gap of each network.
    test : (W, S) ndarray or None
        The gap at the last step, on the test inputs; None without test inputs.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import mlp
    >>> from ntkrs.diagnostics import linearization_gap
    >>> found = linearization_gap(mlp(1, 1, 1, "erf"), np.eye(3), [1.0, -1.0, 0.0], widths=(16, 64), seeds=2, steps=4)
    >>> bool((found.values == found.paths.max(axis=-1)).all()), found.test
    (True, None)
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
    """Measure the change of the kernels of finite networks in training on the square loss.

    The measure is ``‖Θ_t − Θ_0‖_F/‖Θ_0‖_F`` on X, over all outputs. Theory predicts that it falls at least like
    ``n^{−1/2}`` with the width n, and like ``n^{−1}`` where the expansion in 1/n holds.

    Parameters
    ----------
    arch : Sequential
        The network. The widths of its hidden layers are replaced.
    X : (N, n_0) array_like
        Inputs.
    y : (N,) or (N, O) array_like
        Targets.
    widths : sequence of int
        W widths n, the units per hidden layer.
    seeds : int
        S, the number of networks per width.
    learning_rate : float, optional
        η of gradient descent on ``1/(2NO) Σ (f − y)²``. By default half of the largest stable learning rate for each
        network's kernel before training.
    steps : int
        The number of steps.
    momentum : float
        μ of the heavy ball.
    rng : int
        Network j of width n is drawn with the seed ``[rng, n, j]``.
    progress : callable or bool, optional
        As in :meth:`ntkrs.Network.ntk`, with networks weighted by their size.

    Returns
    -------
    KernelDrift
        ``values`` is (W, S), ``paths`` is (W, S, R), and ``plot()`` draws the values.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its domain, the architecture has no hidden layer, or training diverges.

    Notes
    -----
    S trainings of each width, with about 20 kernels of N² O² numbers for each training.

    References
    ----------
    Jacot, Gabriel, Hongler (2018), theorem 2; Lee, Xiao et al. (2019), theorem 2.1; Dyer, Gur-Ari (2020) for 1/n.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import mlp
    >>> from ntkrs.diagnostics import kernel_drift
    >>> found = kernel_drift(mlp(1, 1, 1, "relu"), np.eye(3), [1.0, -1.0, 0.0], widths=(16, 256), seeds=3, steps=20)
    >>> bool(found.values[1].mean() < found.values[0].mean())  # wider networks are lazier
    True
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
    """Measure the distance of trained networks from their linearizations, trained in the same way.

    The measure is ``‖f_t − f_lin,t‖/‖f_0 − y‖``. On X it is the largest over the training; on X_test it is taken at the
    end and divided by ``√(M/N)``. f_lin is :func:`ntkrs.predict.gradient_descent_mse` with the network's kernel before
    training. Theory predicts that the gap falls at least like ``n^{−1/2}`` with the width n.

    Parameters
    ----------
    arch : Sequential
        The network. The widths of its hidden layers are replaced.
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
        ``values`` is (W, S), ``paths`` is (W, S, R), ``test`` is (W, S) or None, and ``plot()`` draws the values.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its domain, the architecture has no hidden layer, or training diverges.

    Notes
    -----
    S trainings of each width, with one eigendecomposition of order N·O for each training.

    References
    ----------
    Lee, Xiao et al. (2019), theorem 2.1; Chizat, Oyallon, Bach (2019).

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import Dense, Relu, Sequential
    >>> from ntkrs.diagnostics import linearization_gap
    >>> arch = Sequential(Dense(1, trainable=False), Relu(), Dense(1))  # linear in its trained parameters
    >>> found = linearization_gap(arch, np.eye(3), [1.0, -1.0, 0.0], widths=(16,), seeds=2, steps=20)
    >>> bool(found.values.max() < 1e-12)
    True
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
    """The gap of one network: on the training inputs at each recorded step, and on the test inputs at the last step."""

    steps: NDArray[np.int64]
    path: NDArray[np.float64]
    test: float


def _gap(net: Network, training: Training, x_test: Array | None) -> _Gap:
    """Train a network, and return its distance from its linearization along the way."""
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
    """Train a network, recording one quantity; return the trained network and the history."""
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
    """Return the arguments of a training as a Training, after checking them."""
    check_dense(arch, "training at finite width")
    x = arrays.finite(arrays.batch(X, "X"), "X").astype(np.float64)
    targets = arrays.targets(y, (len(x), arch.outputs), "y").astype(np.float64)
    count = numbers.count(steps, "steps")
    rate = None if learning_rate is None else numbers.positive(learning_rate, "learning_rate")
    return Training(x, targets, rate, count, numbers.real(momentum, "momentum"))
