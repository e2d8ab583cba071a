"""Mean and covariance of the outputs of infinitely wide networks during training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from ntkrs._checks import memory, numbers
from ntkrs._checks.scaling import ldexp
from ntkrs.predict.bases import EigenBasis, SampleBasis
from ntkrs.predict.gaussian import covariance, merged, prediction
from ntkrs.predict.mse import MseDynamics, training_rule
from ntkrs.predict.prediction import Variances, named
from ntkrs.predict.rules import responses
from ntkrs.predict.sources import TrainingPoints
from ntkrs.predict.training import TrainingKernels, given

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._checks.protocols import KernelFunction
    from ntkrs._typing import Array, ArrayLike, Inputs, KernelName, LossScale, Optimizer
    from ntkrs.predict.prediction import Prediction, Predictions
    from ntkrs.predict.rules import Rule
    from ntkrs.predict.sources import Points
    from ntkrs.solvers.cholesky import Factor


class Ensemble:
    """Predictions of :func:`gradient_descent_mse_ensemble`. Call it with times and test inputs.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import mlp, predict
    >>> kernel = mlp(depth=1, width=1, outputs=1, activation="relu").kernel()
    >>> ensemble = predict.gradient_descent_mse_ensemble(kernel, np.eye(2), np.array([1.0, -1.0]))
    >>> ensemble(t=[0.0, 1.0], x_test=np.ones((3, 2))).covariance.shape  # 2 times, 3 test inputs
    (2, 3, 3)
    """

    def __init__(self, kernels: TrainingKernels, rule: Rule, y_train: Array) -> None:
        self._kernels = kernels
        self._rule = rule
        self._y = y_train

    def __repr__(self) -> str:
        return f"Ensemble({self._kernels!r}, y_train of shape {self._y.shape}, {self._rule})"

    @overload
    def __call__(
        self,
        t: Inputs | None = None,
        x_test: Inputs | None = None,
        get: KernelName = "ntk",
        compute_cov: bool | Literal["diag"] = True,
        *,
        k_test_train: Any = None,
        k_test_test: Any = None,
    ) -> Prediction: ...

    @overload
    def __call__(
        self,
        t: Inputs | None = None,
        x_test: Inputs | None = None,
        *,
        get: tuple[KernelName, ...],
        compute_cov: bool | Literal["diag"] = True,
        k_test_train: Any = None,
        k_test_test: Any = None,
    ) -> Predictions: ...

    def __call__(
        self,
        t: ArrayLike | None = None,
        x_test: ArrayLike | None = None,
        get: KernelName | tuple[KernelName, ...] = "ntk",
        compute_cov: bool | Literal["diag"] = True,
        *,
        k_test_train: Any = None,
        k_test_test: Any = None,
    ) -> Any:
        """Return the mean and covariance of the outputs after training for a time t.

        :func:`gradient_descent_mse_ensemble` gives the equations.

        Parameters
        ----------
        t : float or array_like, optional
            Time, or number of steps with ``optimizer="gd"``; None or infinity means the end of training. The axes of an
            array become the leading axes of the results.
        x_test : (M, n_0) or (M, H, W, C) array_like, optional
            Test inputs; by default the training inputs, for which K + rI replaces K if ``diag_reg`` is set.
        get : "ntk" or "nngp", or a tuple of them
            "ntk" trains all parameters, "nngp" only those of the last layer.
        compute_cov : bool or "diag"
            True for the covariance, "diag" for the variances alone, without M × M matrices, False for neither.
        k_test_train, k_test_test : named tuple or mapping of (M, N) and (M, M) array_like, optional
            Kernels of the test points, in the form of ``k_train_train``, as in :func:`gp_inference`.

        Returns
        -------
        Prediction, or a named tuple of them in the order of ``get``
            ``mean``, (..., M) or (..., M, O), ``covariance``, (..., M, M) or None, and ``variance``, (..., M) or None.
            The covariance is the same for every output.

        Raises
        ------
        ValueError, TypeError
            If an argument is invalid.
        ntkrs.DivergenceError
            If gradient descent diverges with this learning rate.
        ntkrs.IndefiniteKernelError
            If a kernel has an eigenvalue, or the result a variance, that is negative beyond round-off.
        MemoryError
            If the covariances at all times do not fit in memory.

        Notes
        -----
        The end of training of a regular kernel takes its Cholesky factor, N³/3 operations; anything else an
        eigendecomposition, O(N³). Both are kept. After that, each time costs M N (N + M) multiply-adds for the
        covariance, and N (M + N) per output for the mean.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp, predict
        >>> X, y = np.eye(3), np.array([1.0, 0.0, -1.0])
        >>> kernel = mlp(depth=1, width=1, outputs=1, activation="relu").kernel()
        >>> ensemble = predict.gradient_descent_mse_ensemble(kernel, X, y)
        >>> start = ensemble(t=0.0)  # before training the outputs are a Gaussian process with covariance Σ
        >>> bool(np.allclose(start.mean, 0)) and bool(np.allclose(start.covariance, kernel(X, get="nngp")))
        True
        """
        times = self._rule.times(t)
        names = numbers.choices(get, "get", ("ntk", "nngp"))
        with_covariance = numbers.covariance(compute_cov)
        source = self._kernels.source
        needed = tuple(dict.fromkeys((*names, "nngp")))
        source.train(*reversed(needed))
        points = source.points(needed, x_test, (k_test_train, k_test_test))
        found = [self._prediction(points, name, times, with_covariance) for name in names]
        return named(names, found) if isinstance(get, tuple) else found[0]

    def _prediction(self, points: Points, name: str, times: NDArray[np.float64], compute_cov: bool | str) -> Prediction:
        """Return one prediction."""
        system, trained = self._kernels.system(name), isinstance(points, TrainingPoints)
        dynamics = MseDynamics(system, self._rule, self._y, None, np.dtype(np.float64))
        mean = dynamics(times) if trained else dynamics(times, k_test_train=points.cross(name))[1]
        dtype = np.result_type(self._kernels.source.dtype, self._y, points.dtype)
        if not compute_cov:
            return prediction(mean, None, compute_cov, points.x, dtype)
        diagonal = compute_cov == "diag"
        shape = (points.count,) if diagonal else (points.count, points.count)
        needed = 16 * times.size * math.prod(shape)  # each as a list of matrices, and as one array
        what = f"the covariance of {points.count} points at {times.size} times t"
        memory.require(needed, what, "Pass fewer times t per call, fewer points, or compute_cov=False.")
        prior = points.prior("nngp", diagonal=diagonal)
        if np.isinf(times).all() and system.factor is not None:
            found = [self._at_end(points, name, prior, system.factor)] * times.size
        else:
            found = self._by_modes(points, name, prior, times)
        matrices = np.array([matrix for matrix, _ in found]).reshape(*times.shape, *shape)
        report = merged([report for _, report in found])
        return prediction(mean, (matrices, report), compute_cov, points.x, dtype)

    def _at_end(
        self, points: Points, name: str, prior: NDArray[np.float64], factor: Factor
    ) -> tuple[NDArray[np.float64], Variances]:
        """Return the covariance at the end of training, by the Cholesky factor of K + rI."""
        if isinstance(points, TrainingPoints):  # B = I: every network fits the targets
            return np.zeros_like(prior), Variances()
        eps = max(self._kernels.eps, points.eps)
        weights = SampleBasis(factor).weights(points.cross(name), eps)
        return covariance(prior, weights, self._kernels.source.train("nngp"), points.cross("nngp"), eps)

    def _by_modes(
        self, points: Points, name: str, prior: NDArray[np.float64], times: NDArray[np.float64]
    ) -> list[tuple[NDArray[np.float64], Variances]]:
        """Return the covariance at each time, by ``B_t = left diag(weight_t) Vᵀ`` with the eigenvectors V."""
        basis, eps = EigenBasis(self._kernels.system(name).modes), max(self._kernels.eps, points.eps)
        decay, response = responses(basis.modes, self._rule, times)
        if isinstance(points, TrainingPoints):
            left, exponent, response = basis.modes.vectors, 0, decay
        else:
            left, exponent = basis.projected(points.cross(name), eps)
            exponent -= basis.modes.exponent
        weights = ldexp(response, exponent).reshape(times.size, basis.modes.scaled.size)
        cross, inner = basis.rotated(points.cross("nngp")), self._kernels.prior("nngp", basis, name)
        return [covariance(prior, left * weight, inner, cross, eps) for weight in weights]


@overload
def gradient_descent_mse_ensemble(
    kernel: KernelFunction,
    x_train: ArrayLike,
    y_train: ArrayLike,
    learning_rate: float = 1.0,
    *,
    optimizer: Optimizer = "flow",
    momentum: float = 0.0,
    loss_scale: LossScale = "mean",
    diag_reg: float = 0.0,
    diag_reg_absolute_scale: bool = False,
) -> Ensemble: ...


@overload
def gradient_descent_mse_ensemble(
    k_train_train: Any,
    y_train: ArrayLike,
    /,
    *,
    learning_rate: float = 1.0,
    optimizer: Optimizer = "flow",
    momentum: float = 0.0,
    loss_scale: LossScale = "mean",
    diag_reg: float = 0.0,
    diag_reg_absolute_scale: bool = False,
) -> Ensemble: ...


@overload
def gradient_descent_mse_ensemble(
    *,
    k_train_train: Any,
    y_train: ArrayLike,
    learning_rate: float = 1.0,
    optimizer: Optimizer = "flow",
    momentum: float = 0.0,
    loss_scale: LossScale = "mean",
    diag_reg: float = 0.0,
    diag_reg_absolute_scale: bool = False,
) -> Ensemble: ...


def gradient_descent_mse_ensemble(
    kernel: Any = None,
    x_train: ArrayLike = None,
    y_train: ArrayLike = None,
    learning_rate: float = 1.0,
    *,
    optimizer: Optimizer = "flow",
    momentum: float = 0.0,
    loss_scale: LossScale = "mean",
    diag_reg: float = 0.0,
    diag_reg_absolute_scale: bool = False,
    k_train_train: Any = None,
) -> Ensemble:
    """Return the mean and covariance of f_t over infinitely wide networks trained on the square loss.

    Call it as ``gradient_descent_mse_ensemble(kernel, x_train, y_train, ...)``, or with kernel matrices of any origin
    as ``gradient_descent_mse_ensemble(k_train_train, y_train, *, ...)``.

    ::

        f_t(x) = f_0(x) − B_t(x) (f_0(X) − Y),    B_t = k φ_t(K),    f_0 ~ GP(0, Σ)
        mean   = B_t Y
        cov    = Σ_tt + B_t Σ_XX B_tᵀ − (B_t Σ_Xt + its transpose)

    with the NNGP Σ, the NTK Θ, and φ_t as in :func:`gradient_descent_mse`. K is Θ, or Σ for ``get="nngp"``: networks
    of which only the last layer is trained. The rows k are K between test and training inputs.

    Parameters
    ----------
    kernel : Kernel
        The kernel ``arch.kernel()``, or any callable with the signature ``kernel(X, Z=None, get=...)``.
    x_train : (N, n_0) or (N, H, W, C) array_like
        Training inputs.
    y_train : (N,) or (N, O) array_like
        Targets Y. Means have its trailing shape.
    learning_rate, optimizer, momentum, loss_scale, diag_reg, diag_reg_absolute_scale
        As in :func:`gradient_descent_mse`. With ``diag_reg``, training uses K + rI; Σ is not regularised. For
        ``x_test=None`` the rows k are those of K + rI, so the mean converges to Y. For ``x_test=x_train`` they are
        those of K, as at any other inputs.
    k_train_train : named tuple or mapping of (N, N) array_like, or (N, N) array_like
        Σ and Θ of the training points, named ``nngp`` and ``ntk``, instead of ``kernel`` and ``x_train``, such as
        ``kernel(X, get=("nngp", "ntk"))``. One array is Θ, which gives means alone, with ``compute_cov=False``.

    Returns
    -------
    Ensemble
        Call it as ``f(t=None, x_test=None, get="ntk", compute_cov=True)`` to get a :class:`Prediction`. With matrices,
        pass ``k_test_train`` and ``k_test_test`` instead of ``x_test``.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid.

    Notes
    -----
    Kernels, Cholesky factors and eigendecompositions are computed when first needed, and kept: O(N³) time and O(N²)
    memory.

    References
    ----------
    Lee, Xiao et al. (2019), section 2.3.1.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import mlp, predict
    >>> X, y = np.eye(3), np.array([1.0, 0.0, -1.0])
    >>> kernel = mlp(depth=1, width=1, outputs=1, activation="relu").kernel()
    >>> end = predict.gradient_descent_mse_ensemble(kernel, X, y)(t=None)
    >>> bool(np.allclose(end.mean, y)) and bool(np.allclose(end.covariance, 0))  # all networks fit the targets
    True
    """
    source, y = given(kernel, x_train, y_train, k_train_train, "learning_rate")
    rule = training_rule(learning_rate, y.size, optimizer, momentum, loss_scale)
    return Ensemble(TrainingKernels(source, diag_reg, diag_reg_absolute_scale), rule, y)
