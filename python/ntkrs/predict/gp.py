"""Gaussian process regression with the kernels of infinitely wide networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np

from ntkrs._checks import numbers
from ntkrs.predict.gaussian import covariance, norms, posterior, prediction
from ntkrs.predict.mse import MseDynamics
from ntkrs.predict.prediction import named
from ntkrs.predict.rules import Flow
from ntkrs.predict.sources import Matrices
from ntkrs.predict.training import TrainingKernels, given

if TYPE_CHECKING:
    from ntkrs._checks.protocols import KernelFunction
    from ntkrs._typing import Array, ArrayLike, Inputs
    from ntkrs.predict.prediction import Prediction, Predictions
    from ntkrs.predict.sources import Points

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
    >>> bool(np.allclose(at_training_inputs.covariance, 0))  # targets without noise leave no doubt
    True
    """

    def __init__(self, kernels: TrainingKernels, y_train: Array) -> None:
        self._kernels = kernels
        self._y = y_train

    def __repr__(self) -> str:
        return f"GpInference({self._kernels!r}, y_train of shape {self._y.shape})"

    @overload
    def __call__(
        self,
        x_test: Inputs | None = None,
        get: Posterior | None = None,
        compute_cov: bool | Literal["diag"] = True,
        *,
        k_test_train: Any = None,
        k_test_test: Any = None,
    ) -> Prediction: ...

    @overload
    def __call__(
        self,
        x_test: Inputs | None = None,
        *,
        get: tuple[Posterior, ...],
        compute_cov: bool | Literal["diag"] = True,
        k_test_train: Any = None,
        k_test_test: Any = None,
    ) -> Predictions: ...

    def __call__(
        self,
        x_test: ArrayLike | None = None,
        get: Posterior | tuple[Posterior, ...] | None = None,
        compute_cov: bool | Literal["diag"] = True,
        *,
        k_test_train: Any = None,
        k_test_test: Any = None,
    ) -> Any:
        """Return the mean and covariance of predictions.

        :func:`gp_inference` gives the equations.

        Parameters
        ----------
        x_test : (M, n_0) or (M, H, W, C) array_like, optional
            Test inputs; by default the training inputs, with the same result as ``x_test=x_train``.
        get : "nngp", "ntk" or "ntkgp", or a tuple of them
            "nngp" is the posterior of Bayesian networks, "ntk" the distribution of networks trained by gradient flow
            to the end, and "ntkgp" regression with the NTK as prior covariance. The default is "ntk", or "ntkgp" if
            the kernel is one bare matrix.
        compute_cov : bool or "diag"
            True for the covariance, "diag" for the variances alone, without the M × M matrix, False for neither.
        k_test_train : (M, N) array_like, or a named tuple or mapping of them, optional
            The kernel between test and training points, in the form of ``k_train_train``; by default that of the
            training points.
        k_test_test : (M, M) array_like, or a named tuple or mapping of them, optional
            The kernel between the test points, which the covariance needs. With "diag" it may be its diagonal, (M,).

        Returns
        -------
        Prediction, or a named tuple of them in the order of ``get``
            ``mean``, (M,) or (M, O), ``covariance``, (M, M) or None, and ``variance``, (M,) or None. They are those of
            f, without the noise of new targets, and the same for every output.

        Raises
        ------
        ValueError, TypeError
            If an argument is invalid.
        ntkrs.IndefiniteKernelError
            If a kernel has an eigenvalue, or the result a variance, that is negative beyond round-off.

        Notes
        -----
        The first call for each kernel computes its Cholesky factor, N³/3 operations, and keeps it; for a kernel that
        is singular within round-off also its eigendecomposition. After that, means cost N² multiply-adds per
        output, and the covariance of "nngp" and "ntkgp" M N (N + M)/2, that of "ntk" M N (2N + M).

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
        source = self._kernels.source
        chosen: Any = ("ntkgp" if isinstance(source, Matrices) and source.bare else "ntk") if get is None else get
        names = numbers.choices(chosen, "get", tuple(_KERNELS))
        with_covariance = numbers.covariance(compute_cov)
        needed = tuple(dict.fromkeys(kernel for name in names for kernel in _KERNELS[name]))
        source.train(*reversed(needed))
        points = source.points(needed, x_test, (k_test_train, k_test_test))
        found = [self._prediction(points, name, with_covariance) for name in names]
        return named(names, found) if isinstance(get, tuple) else found[0]

    def _prediction(self, points: Points, name: str, compute_cov: bool | str) -> Prediction:
        """Return one prediction."""
        solved, prior = _KERNELS[name]
        rows, eps = points.cross(solved), max(self._kernels.eps, points.eps)
        system = self._kernels.system(solved)
        end_of_training = MseDynamics(system, Flow(1.0, 0.0), self._y, None, np.dtype(np.float64))
        mean = end_of_training(None, k_test_train=rows)[1]
        dtype = np.result_type(self._kernels.source.dtype, self._y, points.dtype)
        if not compute_cov:
            return prediction(mean, None, compute_cov, points.x, dtype)
        basis = self._kernels.basis(solved)
        between = points.prior(prior, diagonal=compute_cov == "diag")
        if solved == prior:
            half = basis.half(rows, eps)
            second = posterior(between, half, system.trace, lambda i: norms(basis.weights(rows[i], eps)), eps)
        else:
            inner, cross = self._kernels.prior(prior, basis, solved), basis.rotated(points.cross(prior))
            second = covariance(between, basis.weights(rows, eps), inner, cross, eps)
        return prediction(mean, second, compute_cov, points.x, dtype)


@overload
def gp_inference(
    kernel: KernelFunction,
    x_train: ArrayLike,
    y_train: ArrayLike,
    diag_reg: float = 0.0,
    diag_reg_absolute_scale: bool = False,
) -> GpInference: ...


@overload
def gp_inference(
    k_train_train: Any,
    y_train: ArrayLike,
    /,
    *,
    diag_reg: float = 0.0,
    diag_reg_absolute_scale: bool = False,
) -> GpInference: ...


@overload
def gp_inference(
    *,
    k_train_train: Any,
    y_train: ArrayLike,
    diag_reg: float = 0.0,
    diag_reg_absolute_scale: bool = False,
) -> GpInference: ...


def gp_inference(
    kernel: Any = None,
    x_train: ArrayLike = None,
    y_train: ArrayLike = None,
    diag_reg: float = 0.0,
    diag_reg_absolute_scale: bool = False,
    *,
    k_train_train: Any = None,
) -> GpInference:
    """Return the predictions of infinitely wide networks, Bayesian or trained to the end.

    Call it as ``gp_inference(kernel, x_train, y_train, ...)``, or with kernel matrices of any origin as
    ``gp_inference(k_train_train, y_train, *, ...)``.

    With the NNGP Σ, the NTK Θ, training inputs X and test inputs t:

    ======  ==============================  =====================================================
    get     mean                            covariance
    ======  ==============================  =====================================================
    nngp    Σ_tX (Σ + rI)⁻¹ Y               Σ_tt − Σ_tX (Σ + rI)⁻¹ Σ_Xt
    ntkgp   Θ_tX (Θ + rI)⁻¹ Y               Θ_tt − Θ_tX (Θ + rI)⁻¹ Θ_Xt
    ntk     B Y with B = Θ_tX (Θ + rI)⁻¹    Σ_tt + B Σ_XX Bᵀ − (B Σ_Xt + its transpose)
    ======  ==============================  =====================================================

    Inverses are pseudo-inverses: eigenvalues within 32·ε·trace of 0 count as 0 (in float32, 32·ε·√N times the mean of
    the diagonal).

    Parameters
    ----------
    kernel : Kernel
        The kernel ``arch.kernel()``, or any callable with the signature ``kernel(X, Z=None, get=...)``.
    x_train : (N, n_0) or (N, H, W, C) array_like
        Training inputs.
    y_train : (N,) or (N, O) array_like
        Targets Y. Means have its trailing shape.
    diag_reg : float
        r, the variance of the label noise (the ridge), in units of the mean of the kernel's diagonal.
    diag_reg_absolute_scale : bool
        If True, r is ``diag_reg`` itself.
    k_train_train : (N, N) array_like, or a named tuple or mapping of them
        The kernel of the training points, instead of ``kernel`` and ``x_train``. One array is Θ and answers "ntkgp",
        with Θ any kernel. A named tuple or mapping with ``nngp``, ``ntk`` or both, such as
        ``kernel(X, get=("nngp", "ntk"))``, answers whatever its kernels suffice for.

    Returns
    -------
    GpInference
        Call it as ``f(x_test=None, get="ntk", compute_cov=True)``, or with matrices as
        ``f(get=..., k_test_train=..., k_test_test=...)``, to get a :class:`Prediction`.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid.

    Notes
    -----
    At infinite width the outputs are independent, with one covariance for all. Those of an empirical NTK are not: its
    (N, N, O, O) kernel as a matrix of order N·O, ``K.transpose(0, 2, 1, 3).reshape(N * O, N * O)``, with
    ``y.reshape(N * O)``, gives their joint posterior, whose points are the pairs of a row and an output.

    Kernels and their factors are computed when first needed, and kept: N³/3 operations by Cholesky, and O(N³) by an
    eigendecomposition if K + rI is singular within round-off. Each takes O(N²) memory.

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
    >>> theta = kernel(X)  # a matrix, from wherever it comes
    >>> f = predict.gp_inference(theta, y, diag_reg=0.1)
    >>> f(k_test_train=theta[:2], k_test_test=theta[:2, :2]).covariance.shape
    (2, 2)
    """
    source, y = given(kernel, x_train, y_train, k_train_train, "diag_reg")
    return GpInference(TrainingKernels(source, diag_reg, diag_reg_absolute_scale), y)
