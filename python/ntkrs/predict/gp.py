"""Gaussian process regression with the kernels of infinitely wide networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from ntkrs._checks import kernels, numbers
from ntkrs._checks.scaling import ldexp
from ntkrs.predict.gaussian import Gaussian, TrainingKernels, as_dtype, covariance, projected

if TYPE_CHECKING:
    from ntkrs._typing import Array, ArrayLike

#: A prediction of :func:`gp_inference`: the NNGP's posterior, the trained ensemble, or the posterior of an NTK prior.
Posterior: TypeAlias = Literal["nngp", "ntk", "ntkgp"]

#: For each of these predictions, the kernel of the linear system and the kernel that is the prior covariance.
_KERNELS = {"nngp": ("nngp", "nngp"), "ntk": ("ntk", "nngp"), "ntkgp": ("ntk", "ntk")}


class GpInference:
    """Predictions of :func:`gp_inference`. Call it with test inputs.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import mlp, predict
    >>> kernel = mlp(depth=1, width=1, outputs=1, activation="relu").kernel()
    >>> posterior = predict.gp_inference(kernel, np.eye(2), np.array([1.0, -1.0]))
    >>> at_training_inputs = posterior(np.eye(2), get="nngp")
    >>> bool(np.allclose(at_training_inputs.covariance, 0))  # labels without noise leave no doubt
    True
    """

    def __init__(self, kernels: TrainingKernels, y_train: Array) -> None:
        self._kernels = kernels
        self._y = y_train

    def __repr__(self) -> str:
        return f"GpInference(x_train of shape {self._kernels.x.shape}, y_train of shape {self._y.shape})"

    def __call__(self, x_test: ArrayLike | None = None, get: Posterior = "ntk", compute_cov: bool = True) -> Gaussian:
        """Return the mean and covariance of predictions.

        :func:`gp_inference` gives the equations.

        Parameters
        ----------
        x_test : (M, n_0) array_like, optional
            Test inputs; by default the training inputs.
        get : "nngp", "ntk" or "ntkgp"
            "nngp" is the posterior of Bayesian networks, "ntk" the distribution of networks trained by gradient flow
            to the end, and "ntkgp" regression with the NTK as prior covariance.
        compute_cov : bool
            If True, compute the covariance.

        Returns
        -------
        Gaussian
            ``mean``, (M,) or (M, O), and ``covariance``, (M, M) or None. The covariance is that of f, without the noise
            of new labels, and the same for every output.

        Raises
        ------
        ValueError, TypeError
            If an argument is invalid.
        numpy.linalg.LinAlgError
            If a kernel has an eigenvalue, or the result a variance, that is negative beyond round-off.

        Notes
        -----
        The first call for each kernel computes an eigendecomposition, O(N³), and keeps it. After that, a call costs
        M N (N + M) multiply-adds.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs import mlp, predict
        >>> X, y, X_test = np.eye(3), np.array([1.0, 0.0, -1.0]), np.ones((1, 3))
        >>> kernel = mlp(depth=1, width=1, outputs=1, activation="relu").kernel()
        >>> prediction = predict.gp_inference(kernel, X, y)(X_test, get="ntkgp")
        >>> k = kernel(X_test, X)
        >>> bool(np.allclose(prediction.covariance, kernel(X_test) - k @ np.linalg.solve(kernel(X), k.T)))
        True
        """
        solved, prior = _KERNELS[numbers.choice(get, "get", tuple(_KERNELS))]
        with_covariance = numbers.boolean(compute_cov, "compute_cov")
        kernels = self._kernels
        kernels.train(prior, solved)
        modes = kernels.modes(solved)
        if x_test is None:
            x = kernels.x
            k_solved, k_prior = (kernels.train(name).astype(np.float64) for name in (solved, prior))
        else:
            x = kernels.test_inputs(x_test)
            k_solved, k_prior = kernels.test(x, solved, prior)
        left, exponent = projected(modes, k_solved, kernels.eps)
        inverse = np.divide(1.0, modes.scaled, out=np.zeros_like(modes.scaled), where=modes.scaled > 0)
        weights = ldexp(left * inverse, exponent)
        y = self._y.astype(np.float64)
        mean = (weights @ modes.components(y if y.ndim == 2 else y[:, None])).reshape(len(x), *y.shape[1:])
        dtype = np.result_type(kernels.x, self._y, x)
        if not with_covariance:
            return Gaussian(as_dtype(mean, dtype), None)
        # The posterior covariance is that of f(x) − B (f(X) + noise), so it shares one formula with the ensemble.
        inner = modes.values if solved == prior else kernels.prior(prior, solved)
        between = kernels.train(prior).astype(np.float64) if x_test is None else kernels.between(x, prior)
        matrix, report = covariance(between, weights, inner, k_prior @ modes.vectors, kernels.eps)
        return Gaussian.reported(as_dtype(mean, dtype), as_dtype(matrix, dtype), report)


def gp_inference(
    kernel: Any,
    x_train: ArrayLike,
    y_train: ArrayLike,
    diag_reg: float = 0.0,
    diag_reg_absolute_scale: bool = False,
) -> GpInference:
    """Return the predictions of infinitely wide networks, Bayesian or trained to the end.

    With the NNGP Σ, the NTK Θ, training inputs X and test inputs t:

    ======  ==============================  =====================================================
    get     mean                            covariance
    ======  ==============================  =====================================================
    nngp    Σ_tX (Σ + rI)⁻¹ Y               Σ_tt − Σ_tX (Σ + rI)⁻¹ Σ_Xt
    ntkgp   Θ_tX (Θ + rI)⁻¹ Y               Θ_tt − Θ_tX (Θ + rI)⁻¹ Θ_Xt
    ntk     B Y with B = Θ_tX (Θ + rI)⁻¹    Σ_tt + B Σ_XX Bᵀ − (B Σ_Xt + its transpose)
    ======  ==============================  =====================================================

    Inverses are pseudo-inverses: eigenvalues within 32·ε·trace of 0 count as 0.

    Parameters
    ----------
    kernel : Kernel
        The kernel ``arch.kernel()``, or any callable with the signature ``kernel(X, Z=None, get=...)``.
    x_train : (N, n_0) array_like
        Training inputs.
    y_train : (N,) or (N, O) array_like
        Targets Y. Means have its trailing shape.
    diag_reg : float
        r, the variance of the label noise (the ridge), in units of the mean of the kernel's diagonal.
    diag_reg_absolute_scale : bool
        If True, r is ``diag_reg`` itself.

    Returns
    -------
    GpInference
        Call it as ``f(x_test=None, get="ntk", compute_cov=True)`` to get a :class:`Gaussian`.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid.

    Notes
    -----
    Kernels and eigendecompositions are computed when first needed, and kept: O(N³) time and O(N²) memory per kernel.

    References
    ----------
    Lee, Bahri et al. (2018) for "nngp"; Lee, Xiao et al. (2019), section 2.3.1, for "ntk"; He, Lakshminarayanan, Teh
    (2020) for "ntkgp".

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import mlp, predict
    >>> X, y = np.eye(3), np.array([1.0, 0.0, -1.0])
    >>> kernel = mlp(depth=1, width=1, outputs=1, activation="relu").kernel()
    >>> bool(np.allclose(predict.gp_inference(kernel, X, y)(X).mean, y))  # without noise it interpolates
    True
    """
    y = kernels.targets(y_train)
    return GpInference(TrainingKernels(kernel, x_train, len(y), diag_reg, diag_reg_absolute_scale), y)
