"""Regression with Gaussian processes whose covariances are the kernels of infinitely wide networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from ntkrs._checks import kernels, numbers
from ntkrs._checks.scaling import ldexp
from ntkrs.predict.gaussian import Gaussian, TrainingKernels, as_dtype, covariance, projected

if TYPE_CHECKING:
    from ntkrs._typing import Array, ArrayLike

#: What :func:`gp_inference` knows: the NNGP's posterior, the trained ensemble, and the NTK as if it were a prior.
Posterior: TypeAlias = Literal["nngp", "ntk", "ntkgp"]

#: The kernel that is solved with, and the prior covariance, of each.
_KERNELS = {"nngp": ("nngp", "nngp"), "ntk": ("ntk", "nngp"), "ntkgp": ("ntk", "ntk")}


class GpInference:
    """Predictions of :func:`gp_inference`, to be called with test inputs."""

    def __init__(self, kernels: TrainingKernels, y_train: Array) -> None:
        self._kernels = kernels
        self._y = y_train

    def __repr__(self) -> str:
        return f"GpInference(x_train of shape {self._kernels.x.shape}, y_train of shape {self._y.shape})"

    def __call__(self, x_test: ArrayLike | None = None, get: Posterior = "ntk", compute_cov: bool = True) -> Gaussian:
        """Return mean and covariance of predictions.

        Parameters
        ----------
        x_test : (M, n_0) array_like, optional
            Test inputs; by default the training inputs.
        get : "nngp", "ntk" or "ntkgp"
            Bayesian networks; networks trained by gradient flow to the end; or regression with the NTK as prior.
        compute_cov : bool
            Whether to compute the covariance.

        Returns
        -------
        Gaussian
            ``mean`` (M,) or (M, O); ``covariance`` (M, M) or None, the same for each output. It is that of f, without
            the noise of new labels.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit.
        numpy.linalg.LinAlgError
            If a kernel has an eigenvalue, or the result a variance, that is negative beyond round-off.

        Notes
        -----
        The eigendecomposition is made in the first call for each kernel. Then M N (N + M) multiply-adds.
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
        # The posterior is the covariance of f(x) − B (f(X) + noise): one formula for it and for the ensemble.
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
    """Return regression with the kernels of infinitely wide networks.

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
        As ``arch.kernel()``: called as ``kernel(X, Z=None, get=...)``.
    x_train : (N, n_0) array_like
        Training inputs.
    y_train : (N,) or (N, O) array_like
        Targets Y. Means have its trailing shape.
    diag_reg : float
        r: the variance of the labels' noise, or the ridge.
    diag_reg_absolute_scale : bool
        Whether r is ``diag_reg`` itself instead of ``diag_reg`` times the mean of the kernel's diagonal.

    Returns
    -------
    GpInference
        Called as ``predict(x_test=None, get="ntk", compute_cov=True)``, it returns a `Gaussian`.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.

    Notes
    -----
    Kernels and eigendecompositions are computed when first needed, and kept: O(N³) for each kernel.

    References
    ----------
    Lee, Bahri et al. (2018) for "nngp"; Lee, Xiao et al. (2019), section 2.3.1, for "ntk"; He, Lakshminarayanan, Teh
    (2020) for "ntkgp".

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import mlp
    >>> X, y = np.eye(3), np.array([1.0, 0.0, -1.0])
    >>> predict = gp_inference(mlp(1, 1, 1, "relu").kernel(), X, y)
    >>> bool(np.allclose(predict(X, get="nngp").mean, y))  # without noise it interpolates
    True
    """
    y = kernels.targets(y_train)
    return GpInference(TrainingKernels(kernel, x_train, len(y), diag_reg, diag_reg_absolute_scale), y)
