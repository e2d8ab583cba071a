"""Gaussian predictions: the mean and covariance of an affine function of a Gaussian process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from ntkrs._checks import arrays, kernels, numbers
from ntkrs._checks.scaling import scaled
from ntkrs.predict.modes import ROUND_OFF, kernel_modes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._checks.protocols import KernelFunction
    from ntkrs._typing import Array, ArrayLike
    from ntkrs.predict.modes import Modes


class Variances(NamedTuple):
    """The effect of round-off on the variances of a :class:`Gaussian`."""

    #: The number of variances that were negative within round-off, and were set to 0.
    clipped: int
    #: The lowest variance before that; 0 if none was negative.
    lowest: float


class Moments(NamedTuple):
    """The fields of :class:`Gaussian`."""

    mean: Array
    covariance: Array | None


class Gaussian(Moments):
    """The mean and covariance of predictions.

    Attributes
    ----------
    mean : (..., M) or (..., M, O) ndarray
        The mean, with axes of time, points and outputs.
    covariance : (..., M, M) ndarray or None
        The covariance between points, the same for every output; None if it was not requested. Different outputs are
        independent.
    report : Variances
        The number of variances that were negative within round-off, and were set to 0.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import mlp, predict
    >>> kernel = mlp(depth=1, width=1, outputs=1, activation="relu").kernel()
    >>> X, y, X_test = np.eye(2), np.array([1.0, -1.0]), np.ones((1, 2))
    >>> prediction = predict.gp_inference(kernel, X, y)(X_test, get="nngp")
    >>> prediction.mean.shape, prediction.covariance.shape
    ((1,), (1, 1))
    >>> bool(prediction.covariance < kernel(X_test, get="nngp"))  # data reduce the prior variance
    True
    """

    report: Variances = Variances(0, 0.0)

    @classmethod
    def reported(cls, mean: Array, covariance: Array | None, report: Variances) -> Gaussian:
        """Return a Gaussian with a report of round-off in its variances."""
        gaussian = cls(mean, covariance)
        gaussian.report = report
        return gaussian


class TrainingKernels:
    """The kernels of the training inputs and their eigenmodes, each computed once, when first needed."""

    def __init__(self, kernel: KernelFunction, x_train: ArrayLike, count: int, diag_reg: float, absolute: bool) -> None:
        self._kernel = kernels.kernel_function(kernel)
        self.x = arrays.finite(arrays.batch(x_train, "x_train"), "x_train").copy()
        if len(self.x) != count:
            raise ValueError(f"x_train has shape {self.x.shape}, but y_train has {count} rows: N must be the same")
        self._regularization = (
            numbers.nonnegative(diag_reg, "diag_reg"),
            numbers.boolean(absolute, "diag_reg_absolute_scale"),
        )
        self.eps = float(np.finfo(self.x.dtype).eps)
        self._values: dict[str, Array] = {}
        self._modes: dict[str, Modes] = {}
        self._priors: dict[tuple[str, str], NDArray[np.float64]] = {}

    def test_inputs(self, x_test: ArrayLike) -> Array:
        """Return the test inputs, checked against the training inputs.

        Raises
        ------
        TypeError, ValueError
            If they are not finite real numbers, or their number of columns is not that of the training inputs.
        """
        x = arrays.finite(arrays.batch(x_test, "x_test"), "x_test")
        if x.shape[1] != self.x.shape[1]:
            raise ValueError(f"x_test has shape {x.shape}, but x_train has shape {self.x.shape}: n_0 must be the same")
        return x

    def train(self, *names: str) -> Array:
        """Return the kernel ``names[-1]`` between the training inputs. All names are computed in one pass."""
        missing = tuple(name for name in dict.fromkeys(names) if name not in self._values)
        if missing:
            found = self._kernel(self.x, get=missing)
            self._values.update((name, _finite(one, name, "x_train")) for name, one in zip(missing, found, strict=True))
        return self._values[names[-1]]

    def test(self, x: Array, first: str, second: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return two kernels between test and training inputs, computed in one pass. Their names may be equal."""
        distinct = tuple(dict.fromkeys((first, second)))
        pairs = zip(distinct, self._kernel(x, self.x, get=distinct), strict=True)
        found = [_finite(values, name, "x_test and x_train").astype(np.float64) for name, values in pairs]
        return found[0], found[-1]

    def between(self, x: Array, name: str) -> NDArray[np.float64]:
        """Return a kernel between the test inputs."""
        return np.asarray(_finite(self._kernel(x, get=name), name, "x_test"), dtype=np.float64)

    def modes(self, name: str) -> Modes:
        """Return the eigenmodes of the regularised kernel."""
        if name not in self._modes:
            values = self.train(name)
            eps = float(np.finfo(values.dtype).eps)
            matrix = values.astype(np.float64, copy=False)
            self._modes[name] = kernel_modes(matrix, eps, *self._regularization, f"the {name} of x_train")
        return self._modes[name]

    def prior(self, name: str, basis: str) -> NDArray[np.float64]:
        """Return ``VᵀΣV``: the kernel ``name`` in the eigenbasis V of the kernel ``basis``."""
        if (name, basis) not in self._priors:
            vectors = self.modes(basis).vectors
            self._priors[name, basis] = vectors.T @ (self.train(name).astype(np.float64, copy=False) @ vectors)
        return self._priors[name, basis]


def _finite(kernel: Array, name: str, inputs: str) -> Array:
    """Return the kernel if it is finite. The kernel of inputs beyond 1e154 overflows.

    Raises
    ------
    ValueError
        If an entry is not finite.
    """
    if not np.isfinite(kernel).all():
        raise ValueError(f"the {name} of {inputs} is not finite. Scale the inputs down.")
    return kernel


def covariance(
    prior: NDArray[np.float64],
    weights: NDArray[np.float64],
    inner: NDArray[np.float64],
    cross: NDArray[np.float64],
    eps: float,
) -> tuple[NDArray[np.float64], Variances]:
    """Return the covariance of ``f(x) − B f(X)`` for f ~ GP(0, Σ), with the training points in a basis V.

    ::

        Σ_tt + W G Wᵀ − W Hᵀ − H Wᵀ,    B = W Vᵀ,  G = VᵀΣ_XX V,  H = Σ_tX V

    Parameters
    ----------
    prior : (M, M) ndarray
        Σ_tt.
    weights : (M, n) ndarray
        W.
    inner : (n, n) or (n,) ndarray
        G, or its diagonal.
    cross : (M, n) ndarray
        H.
    eps : float
        ε of the kernels.

    Raises
    ------
    numpy.linalg.LinAlgError
        If a variance is negative by more than 32 ε times the size of the terms that it is the sum of.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.predict.gaussian import covariance
    >>> one = np.eye(1)
    >>> covariance(one, 0.5 * one, one, one, 2e-16)[0]  # f − f/2 has a quarter of the variance of f
    array([[0.25]])
    """
    mixed = weights @ cross.T
    spread = weights * inner if inner.ndim == 1 else weights @ inner
    result = prior + spread @ weights.T - mixed - mixed.T
    result = (result + result.T) / 2
    variances = result.diagonal()
    trace = float(inner.sum() if inner.ndim == 1 else np.trace(inner))
    # E |Σ_j B_ij f(x_j)|² is at most |W_i|² tr Σ_XX, which gives the size of the terms of the sum.
    terms = (np.sqrt(np.maximum(prior.diagonal(), 0)) + np.linalg.norm(weights, axis=1) * max(trace, 0.0) ** 0.5) ** 2
    beyond = variances < -ROUND_OFF * eps * terms
    if beyond.any():
        i = int(np.argmax(beyond))
        raise np.linalg.LinAlgError(
            f"the variance of point {i} is {variances[i]:.3g}, negative beyond round-off "
            f"({ROUND_OFF * eps * terms[i]:.3g}): the kernels do not belong together"
        )
    negative = variances < 0
    report = Variances(int(negative.sum()), float(variances.min(initial=0.0)))
    np.fill_diagonal(result, np.maximum(variances, 0.0))
    return result, report


def projected(modes: Modes, kernel: NDArray[np.float64], eps: float) -> tuple[NDArray[np.float64], int]:
    """Return P and e with ``kernel V = 2^(e + modes.exponent) P``, scaled so that P does not overflow."""
    matrix, exponent = scaled(kernel)
    return modes.project(matrix, eps), exponent - modes.exponent


def merged(reports: list[Variances]) -> Variances:
    """Merge many reports into one."""
    return Variances(sum(one.clipped for one in reports), min((one.lowest for one in reports), default=0.0))


def as_dtype(values: NDArray[np.float64], dtype: np.dtype[Any]) -> Array:
    """Convert the values to the dtype of the result. Values beyond its range become infinite."""
    with np.errstate(over="ignore"):
        return cast("Array", values.astype(dtype, copy=False))
