"""Means and covariances over infinitely wide networks during training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._checks import kernels, numbers
from ntkrs._checks.scaling import ldexp
from ntkrs.predict.gaussian import Gaussian, TrainingKernels, as_dtype, covariance, merged, projected
from ntkrs.predict.mse import Eigenbasis, MseDynamics, training_rule
from ntkrs.predict.rules import responses

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import Array, ArrayLike, KernelName, LossScale, Optimizer
    from ntkrs.predict.modes import Modes
    from ntkrs.predict.rules import Rule


class Ensemble:
    """Predictions of :func:`gradient_descent_mse_ensemble`, to be called with times and test inputs."""

    def __init__(self, kernels: TrainingKernels, rule: Rule, y_train: Array) -> None:
        self._kernels = kernels
        self._rule = rule
        self._y = y_train

    def __repr__(self) -> str:
        return f"Ensemble(x_train of shape {self._kernels.x.shape}, y_train of shape {self._y.shape}, {self._rule})"

    def __call__(
        self,
        t: ArrayLike | None = None,
        x_test: ArrayLike | None = None,
        get: KernelName = "ntk",
        compute_cov: bool = True,
    ) -> Gaussian:
        """Return mean and covariance of the outputs after training for a time t.

        Parameters
        ----------
        t : float or array_like, optional
            Time, or number of steps; None or infinity: the end of training. An array's axes lead those of the results.
        x_test : (M, n_0) array_like, optional
            Test inputs; by default the training inputs, with K + rI in place of K if there is a ``diag_reg``.
        get : "ntk" or "nngp"
            Whether all parameters are trained, or those of the last layer only.
        compute_cov : bool
            Whether to compute the covariance.

        Returns
        -------
        Gaussian
            ``mean`` (..., M) or (..., M, O); ``covariance`` (..., M, M) or None, the same for each output.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit.
        numpy.linalg.LinAlgError
            If a kernel has an eigenvalue, or the result a variance, that is negative beyond round-off.

        Notes
        -----
        The eigendecomposition is made in the first call for each ``get``. Then per time, M N (N + M) multiply-adds for
        the covariance, and N (M + N) per output for the mean.
        """
        times = self._rule.times(t)
        basis = numbers.choice(get, "get", ("ntk", "nngp"))
        with_covariance = numbers.boolean(compute_cov, "compute_cov")
        self._kernels.train("nngp", basis)
        modes = self._kernels.modes(basis)
        dynamics = MseDynamics(Eigenbasis(modes), self._rule, self._y, None, np.dtype(np.float64))
        if x_test is None:
            x, test = self._kernels.x, None
            mean = dynamics(times)
        else:
            x = self._kernels.test_inputs(x_test)
            test = self._kernels.test(x, basis, "nngp")
            mean = dynamics(times, k_test_train=test[0])[1]
        dtype = np.result_type(self._kernels.x, self._y, x)
        if not with_covariance:
            return Gaussian(as_dtype(mean, dtype), None)
        prior, left, weights, cross = self._affine(modes, times, None if test is None else (x, *test))
        inner = self._kernels.prior("nngp", basis)
        found = [covariance(prior, left * weight, inner, cross, self._kernels.eps) for weight in weights]
        matrices = np.array([matrix for matrix, _ in found]).reshape(*times.shape, len(x), len(x))
        report = merged([report for _, report in found])
        return Gaussian.reported(as_dtype(mean, dtype), as_dtype(matrices, dtype), report)

    def _affine(
        self,
        modes: Modes,
        times: NDArray[np.float64],
        test: tuple[Array, NDArray[np.float64], NDArray[np.float64]] | None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Σ_tt; ``B = left diag(weight) Vᵀ`` as left and a weight per time; Σ_tX V. ``test``: inputs, Θ_tX, Σ_tX."""
        decay, response = responses(modes, self._rule, times)
        rows = (times.size, modes.scaled.size)
        if test is None:
            prior = self._kernels.train("nngp").astype(np.float64)
            return prior, modes.vectors, decay.reshape(rows), prior @ modes.vectors
        x, kernel, prior_test = test
        left, exponent = projected(modes, kernel, self._kernels.eps)
        prior = self._kernels.between(x, "nngp")
        return prior, left, ldexp(response, exponent).reshape(rows), prior_test @ modes.vectors


def gradient_descent_mse_ensemble(
    kernel: Any,
    x_train: ArrayLike,
    y_train: ArrayLike,
    learning_rate: float = 1.0,
    *,
    optimizer: Optimizer = "flow",
    momentum: float = 0.0,
    loss_scale: LossScale = "mean",
    diag_reg: float = 0.0,
    diag_reg_absolute_scale: bool = False,
) -> Ensemble:
    """Return mean and covariance of f_t over infinitely wide networks trained on the square loss.

    ::

        f_t(x) = f_0(x) − B_t(x) (f_0(X) − Y),    B_t = k φ_t(K),    f_0 ~ GP(0, Σ)
        mean   = B_t Y
        cov    = Σ_tt + B_t Σ_XX B_tᵀ − (B_t Σ_Xt + its transpose)

    with K = Θ, or K = Σ for ``get="nngp"``: networks of which only the last layer is trained.

    Parameters
    ----------
    kernel : Kernel
        As ``arch.kernel()``: called as ``kernel(X, Z=None, get=...)``.
    x_train : (N, n_0) array_like
        Training inputs.
    y_train : (N,) or (N, O) array_like
        Targets Y. Means have its trailing shape.
    learning_rate, optimizer, momentum, loss_scale, diag_reg, diag_reg_absolute_scale
        As in :func:`gradient_descent_mse`: with ``diag_reg`` K + rI is trained with, and Σ is left alone. For
        ``x_test=None`` the rows k are those of K + rI, the outputs that are trained, and the mean reaches Y; for
        ``x_test=x_train`` they are those of K, as at any other inputs.

    Returns
    -------
    Ensemble
        Called as ``predict(t=None, x_test=None, get="ntk", compute_cov=True)``, it returns a `Gaussian`.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.

    Notes
    -----
    Kernels and eigendecompositions are computed when first needed, and kept.

    References
    ----------
    Lee, Xiao et al. (2019), section 2.3.1.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import mlp
    >>> X, y = np.eye(3), np.array([1.0, 0.0, -1.0])
    >>> predict = gradient_descent_mse_ensemble(mlp(1, 1, 1, "relu").kernel(), X, y)
    >>> end = predict(None)  # trained to the end, all networks agree on the training inputs
    >>> bool(np.allclose(end.mean, y)) and bool(np.allclose(end.covariance, 0, atol=1e-14))
    True
    """
    y = kernels.targets(y_train)
    rule = training_rule(learning_rate, y.size, optimizer, momentum, loss_scale)
    return Ensemble(TrainingKernels(kernel, x_train, len(y), diag_reg, diag_reg_absolute_scale), rule, y)
