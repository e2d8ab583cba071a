"""Mean and covariance of the outputs of infinitely wide networks during training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._checks import kernels, memory, numbers
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
        return f"Ensemble(x_train of shape {self._kernels.x.shape}, y_train of shape {self._y.shape}, {self._rule})"

    def __call__(
        self,
        t: ArrayLike | None = None,
        x_test: ArrayLike | None = None,
        get: KernelName = "ntk",
        compute_cov: bool = True,
    ) -> Gaussian:
        """Return the mean and covariance of the outputs after training for a time t.

        :func:`gradient_descent_mse_ensemble` gives the equations.

        Parameters
        ----------
        t : float or array_like, optional
            Time, or number of steps with ``optimizer="gd"``; None or infinity means the end of training. The axes of an
            array become the leading axes of the results.
        x_test : (M, n_0) array_like, optional
            Test inputs; by default the training inputs, for which K + rI replaces K if ``diag_reg`` is set.
        get : "ntk" or "nngp"
            "ntk" trains all parameters, "nngp" only those of the last layer.
        compute_cov : bool
            If True, compute the covariance.

        Returns
        -------
        Gaussian
            ``mean``, (..., M) or (..., M, O), and ``covariance``, (..., M, M) or None. The covariance is the same for
            every output.

        Raises
        ------
        ValueError, TypeError
            If an argument is invalid, or gradient descent diverges with this learning rate.
        numpy.linalg.LinAlgError
            If a kernel has an eigenvalue, or the result a variance, that is negative beyond round-off.
        MemoryError
            If the covariances at all times do not fit in memory.

        Notes
        -----
        The first call for each ``get`` computes an eigendecomposition, O(N³), and keeps it. After that, each time costs
        M N (N + M) multiply-adds for the covariance, and N (M + N) per output for the mean.

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
        needed = 16 * times.size * len(x) ** 2  # each as a list of matrices, and as one array
        what = f"the covariance of {len(x)} points at {times.size} times t"
        memory.require(needed, what, "Pass fewer times t per call, fewer points, or compute_cov=False.")
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
        """Return Σ_tt; the factors ``left`` and ``weight`` of ``B_t = left diag(weight_t) Vᵀ``; and Σ_tX V.

        ``test`` holds the test inputs, Θ_tX and Σ_tX, or is None for the training inputs.
        """
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
    """Return the mean and covariance of f_t over infinitely wide networks trained on the square loss.

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
    x_train : (N, n_0) array_like
        Training inputs.
    y_train : (N,) or (N, O) array_like
        Targets Y. Means have its trailing shape.
    learning_rate, optimizer, momentum, loss_scale, diag_reg, diag_reg_absolute_scale
        As in :func:`gradient_descent_mse`. With ``diag_reg``, training uses K + rI; Σ is not regularised. For
        ``x_test=None`` the rows k are those of K + rI, so the mean converges to Y. For ``x_test=x_train`` they are
        those of K, as at any other inputs.

    Returns
    -------
    Ensemble
        Call it as ``f(t=None, x_test=None, get="ntk", compute_cov=True)`` to get a :class:`Gaussian`.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid.

    Notes
    -----
    Kernels and eigendecompositions are computed when first needed, and kept: O(N³) time and O(N²) memory.

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
    >>> bool(np.allclose(end.mean, y)) and bool(np.allclose(end.covariance, 0))  # all networks fit the labels
    True
    """
    y = kernels.targets(y_train)
    rule = training_rule(learning_rate, y.size, optimizer, momentum, loss_scale)
    return Ensemble(TrainingKernels(kernel, x_train, len(y), diag_reg, diag_reg_absolute_scale), rule, y)
