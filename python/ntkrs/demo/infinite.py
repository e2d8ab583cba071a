"""Experiments with infinitely wide networks: kernels of digits, training in closed form, and the kernel on a circle.

The functions take data and a :class:`~ntkrs.demo.Settings`, and return small frozen dataclasses. ``scores`` computes
held-out scores, ``figures`` draws the results, and ``report`` writes them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

import ntkrs
from ntkrs import diagnostics
from ntkrs.demo.data import Array, half_mean_square, relu_network

if TYPE_CHECKING:
    from ntkrs.demo.data import Digits, Settings


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
    kernel = relu_network(settings).kernel()
    start = perf_counter()
    both = kernel(x, get=("nngp", "ntk"))
    seconds = perf_counter() - start
    nngp, ntk = (np.asarray(one, dtype=np.float64) for one in both)
    return Gram(nngp, ntk, seconds, (both.nngp.nbytes + both.ntk.nbytes) / 1e6, peak_megabytes())


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
    >>> flow.train_loss_inf < 1e-20  # the training targets are reached
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
        train_loss=half_mean_square(f_train - y),
        test_loss=half_mean_square(f_test - y_test),
        accuracy=np.mean(f_test.argmax(axis=-1) == data.labels[data.test], axis=-1),
        train_loss_inf=float(half_mean_square(limit_train - y)),
        test_loss_inf=float(half_mean_square(limit_test - y_test)),
        accuracy_inf=float(np.mean(limit_test.argmax(axis=-1) == data.labels[data.test])),
    )


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
    kernel = relu_network(settings).kernel()
    x, z = (np.column_stack([np.cos(a), np.sin(a)]) for a in (train, angles))
    predict = ntkrs.predict.gradient_descent_mse(kernel(x), y, learning_rate=1.0)
    times = (0.3, 1.0, 3.0, np.inf)
    curves = [predict(t if np.isfinite(t) else None, 0.0, 0.0, kernel(z, x))[1] for t in times]
    return Circle(angles, train, y, times, np.stack(curves))


def spectrum(k: Gram, data: Digits) -> dict[str, diagnostics.Spectrum]:
    """Return the eigenvalues of both kernels, and the energy of the centred targets in their eigenvectors.

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
