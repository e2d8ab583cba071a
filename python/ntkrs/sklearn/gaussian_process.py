"""Gaussian process regression with the scales and the noise learned by the evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ntkrs._checks import arrays, memory, numbers
from ntkrs.errors import SingularKernelError
from ntkrs.predict import gp_inference
from ntkrs.predict.modes import square_root
from ntkrs.sklearn import iterated
from ntkrs.sklearn.evidence import MATRICES, learned
from ntkrs.sklearn.feature_scales import Importances
from ntkrs.sklearn.process import NTKProcess
from ntkrs.sklearn.selection import blas_threads

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal, Self

    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike
    from ntkrs.sklearn.architectures import Activations, Scales
    from ntkrs.sklearn.kernel import Bounds

    Vector = NDArray[np.float64]

#: Advice for when the kernel does not fit in memory.
_REMEDY = (
    "Pass one depth, and 'fixed' as all bounds: ntkrs.solve then finds the mean. Or use fewer samples, or features of "
    "sklearn.kernel_approximation.Nystroem(ntkrs.sklearn.NTKKernel()) with BayesianRidge."
)


class NTKGaussianProcessRegressor(RegressorMixin, Importances, NTKProcess):  # type: ignore[misc]  # it ships no types
    """Gaussian process regression with an infinitely wide network whose scales and noise are learned.

    L-BFGS-B increases the evidence of the training targets, with its exact gradient::

        L = −½ yᵀ C⁻¹ y − ½ log det C − N/2 log 2π,    C = K + noise · I

    Parameters
    ----------
    depth : int or sequence of int, default=2
        The number of hidden layers, or several. The one of the highest evidence is chosen.
    activation : str, activation, or list of them, default="relu"
        The activation of all hidden layers, or one for each: an object, or its name as in :func:`ntkrs.mlp`.
    sigma_w, sigma_b : float or list of float, default=2**0.5 and 0.5
        Scales of weights and biases from which learning starts: a number for all dense layers, or ``depth + 1``
        numbers. Where ``sigma_b`` is 0, it stays 0.
    noise : float, default=0.1
        The variance of the noise from which learning starts. If it is 0, it stays 0.
    posterior : {"nngp", "ntk", "ntkgp"}, default="nngp"
        The prediction, as in :func:`ntkrs.predict.gp_inference`: the posterior of a Bayesian neural network, networks
        trained to the end, or the posterior with the NTK as prior covariance. The evidence is that of the NNGP for the
        first, and of the NTK for the others.
    sigma_w_bounds, sigma_b_bounds : pair of float or "fixed", default=(1e-2, 1e2) and (1e-3, 1e2)
        Least and largest scale, or "fixed" for a scale that is not learned.
    noise_bounds : pair of float or "fixed", default=(1e-6, 1e2)
        The same for the noise.
    normalize_y : bool, default=True
        If True, the mean of the targets is subtracted and they are divided by their standard deviation before the fit.
        Predictions are in the units of the targets either way.
    feature_scales : None, "learn", or (n_0,) array_like, default=None
        Factors of the features. "learn" learns one for each, starting from 1, by the evidence times a log-normal prior:
        their logarithms have mean 0 and deviation 1. This helps if many features are noise.

    Attributes
    ----------
    depth_ : int
        The chosen number of hidden layers.
    sigma_w_, sigma_b_ : float or tuple of float
        The learned scales.
    noise_ : float
        The learned variance of the noise, in units of the targets after ``normalize_y``.
    theta_ : (n,) ndarray
        Logarithms of everything that is learned: those of ``NTKKernel.theta``, the noise, and ``feature_scales_``.
    feature_scales_ : (n_0,) ndarray
        The factors of the features. :meth:`plot_importances` draws them.
    log_marginal_likelihood_value_ : float
        The evidence of the targets after ``normalize_y``.
    solution_ : Solution
        Beyond memory only: the accuracy that :func:`ntkrs.solve` reached, instead of the evidence.
    kernel_ : ntkrs.kernel.Kernel
        The kernel with the learned scales.
    X_train_ : (N, n_0) ndarray
        The training inputs, times ``feature_scales_``.
    y_train_ : (N,) or (N, O) ndarray
        The targets after ``normalize_y``.
    n_features_in_ : int
        The number of features n_0.
    feature_names_in_ : (n_0,) ndarray
        The names of the features, if X had names that are strings.

    See Also
    --------
    NTKRegressor : Chooses by leave-one-out, and learns no scales: faster, without a standard deviation.
    sklearn.gaussian_process.GaussianProcessRegressor : With NTKKernel for sums and products of kernels.

    Notes
    -----
    A step takes one kernel, its gradient and a Cholesky factorization: O(N³) time, and O(N²) memory for any number of
    scales. Where the factorization fails, the evidence counts as −∞. Inputs are taken as they come: scale them first.

    Where 3 N² numbers do not fit in memory, nothing can be learned. With one depth, and "fixed" for all bounds,
    :func:`ntkrs.solve` still finds the mean of the posterior, but neither the evidence nor deviations nor samples.

    References
    ----------
    Rasmussen, Williams (2006), section 5.4.1; Lee, Bahri et al. (2018) and He, Lakshminarayanan, Teh (2020) for the
    posteriors.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs.sklearn import NTKGaussianProcessRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = np.linspace(-3, 3, 60).reshape(-1, 1)
    >>> y = np.sin(2 * X[:, 0]) + 0.2 * rng.standard_normal(60)
    >>> model = NTKGaussianProcessRegressor(activation="erf").fit(X, y)
    >>> mean, deviation = model.predict([[0.5], [9.0]], return_std=True)
    >>> bool(abs(mean[0] - np.sin(1)) < 0.2), bool(deviation[1] > 3 * deviation[0])  # far from data it knows less
    (True, True)
    >>> bool(0.1 < model.noise_**0.5 * y.std() < 0.3)  # the noise is found
    True
    """

    log_marginal_likelihood_value_: float

    def __init__(
        self,
        depth: int | Sequence[int] = 2,
        *,
        activation: Activations = "relu",
        sigma_w: Scales = 2**0.5,
        sigma_b: Scales = 0.5,
        noise: float = 0.1,
        posterior: Literal["nngp", "ntk", "ntkgp"] = "nngp",
        sigma_w_bounds: Bounds = (1e-2, 1e2),
        sigma_b_bounds: Bounds = (1e-3, 1e2),
        noise_bounds: Bounds = (1e-6, 1e2),
        normalize_y: bool = True,
        feature_scales: Literal["learn"] | ArrayLike | None = None,
    ) -> None:
        self.depth = depth
        self.activation = activation
        self.sigma_w = sigma_w
        self.sigma_b = sigma_b
        self.noise = noise
        self.posterior = posterior
        self.sigma_w_bounds = sigma_w_bounds
        self.sigma_b_bounds = sigma_b_bounds
        self.noise_bounds = noise_bounds
        self.normalize_y = normalize_y
        self.feature_scales = feature_scales

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn the scales and the noise.

        Parameters
        ----------
        X : (N, n_0) array_like
            Training inputs.
        y : (N,) or (N, O) array_like
            Targets. The evidence is summed over outputs.

        Returns
        -------
        NTKGaussianProcessRegressor
            This estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter or an input is invalid.
        ntkrs.SingularKernelError
            If the kernel plus the noise is not positive definite at the start.
        MemoryError
            If the kernel does not fit in memory, and something is to be learned.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs.sklearn import NTKGaussianProcessRegressor
        >>> X = np.linspace(-1, 1, 20).reshape(-1, 1)
        >>> start = NTKGaussianProcessRegressor(sigma_w_bounds="fixed", sigma_b_bounds="fixed", noise_bounds="fixed")
        >>> learned = NTKGaussianProcessRegressor().fit(X, X[:, 0] ** 2)
        >>> before = start.fit(X, X[:, 0] ** 2).log_marginal_likelihood_value_
        >>> learned.log_marginal_likelihood_value_ > before
        True
        """
        starts = self._starts()
        x, targets = validate_data(self, X, y, dtype=np.float64, copy=True, multi_output=True, y_numeric=True)
        starts = self._with_factors(starts, x.shape[1])
        self.y_train_, self._unscaled = self._normalized(np.asarray(targets, dtype=np.float64)), x
        for name in ("log_marginal_likelihood_value_", "solution_", "_fitted"):  # of an earlier fit
            self.__dict__.pop(name, None)
        size, learns = MATRICES * 8 * len(x) ** 2, len(starts) > 1 or bool(starts[0].theta.size)
        if not learns and memory.lacking(size) is not None:
            self._keep(starts[0])
            self._inference, get = None, starts[0].kernel.get
            self._fitted = self.kernel_.prepare(self.X_train_, progress=False)
            self.X_train_ = cast("Vector", self._fitted.array)
            self.solution_ = iterated.process(self.kernel_, self._fitted, self.y_train_, self.noise_, get)
            return self
        with memory.required(size, f"Gaussian process regression of {len(x)} samples", _REMEDY), blas_threads(len(x)):
            found = [learned(start, x, self.y_train_) for start in starts]
        best, self.log_marginal_likelihood_value_, _ = max(found, key=lambda one: one[2])
        if not np.isfinite(self.log_marginal_likelihood_value_):
            raise SingularKernelError(
                f"noise is {self.noise} with noise_bounds {self.noise_bounds}, but the kernel plus this noise is not "
                "positive definite beyond round-off. Pass a larger noise, within noise_bounds."
            )
        self._keep(best)
        self._inference = gp_inference(
            self.kernel_, self.X_train_, self.y_train_, diag_reg=self.noise_, diag_reg_absolute_scale=True
        )
        return self

    def predict(self, X: ArrayLike, return_std: bool = False, return_cov: bool = False) -> Any:
        """Return the mean of the posterior, and its standard deviation or covariance if asked for.

        Parameters
        ----------
        X : (M, n_0) array_like
            Inputs.
        return_std, return_cov : bool, default=False
            One of them may be True. Deviations are those of f, without the noise of new targets.

        Returns
        -------
        mean : (M,) or (M, O) ndarray
            The mean, in the units of the targets.
        deviation : (M,) or (M, O) ndarray
            Only if ``return_std``.
        covariance : (M, M) or (M, M, O) ndarray
            Only if ``return_cov``.

        Raises
        ------
        ValueError
            If both are True, or X is invalid.
        MemoryError
            If one is True for a model beyond memory.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs.sklearn import NTKGaussianProcessRegressor
        >>> X = np.linspace(-1, 1, 20).reshape(-1, 1)
        >>> model = NTKGaussianProcessRegressor().fit(X, X[:, 0] ** 2)
        >>> mean, covariance = model.predict([[0.0], [0.5]], return_cov=True)
        >>> mean.shape, covariance.shape
        ((2,), (2, 2))
        """
        x = self._inputs(X)
        if return_std and return_cov:
            raise ValueError("return_std and return_cov are both True, but one is returned: pass one of them.")
        found = self._posterior(x, "diag" if return_std else bool(return_cov))
        mean = found.mean * self._unit + self._offset
        if return_std:
            return mean, np.multiply.outer(found.std, self._unit)
        return (mean, np.multiply.outer(cast("Vector", found.covariance), self._unit**2)) if return_cov else mean

    def sample_y(self, X: ArrayLike, n_samples: int = 1, random_state: Any = 0) -> Vector:
        """Return functions drawn from the posterior.

        Parameters
        ----------
        X : (M, n_0) array_like
            Inputs.
        n_samples : int, default=1
            The number of functions.
        random_state : int, RandomState or None, default=0
            The seed.

        Returns
        -------
        (M, n_samples) or (M, O, n_samples) ndarray

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs.sklearn import NTKGaussianProcessRegressor
        >>> X = np.linspace(-1, 1, 20).reshape(-1, 1)
        >>> NTKGaussianProcessRegressor().fit(X, X[:, 0] ** 2).sample_y(X, n_samples=3).shape
        (20, 3)
        """
        count, rng = numbers.count(n_samples, "n_samples"), check_random_state(random_state)
        x = self._inputs(X)
        found = self._posterior(x, compute_cov=True)
        outputs = self.y_train_.shape[1:]
        draws = square_root(cast("Vector", found.covariance)) @ rng.standard_normal(
            (len(x), int(np.prod(outputs)) * count)
        )
        samples = found.mean[..., None] + draws.reshape(len(x), *outputs, count)
        return cast("Vector", samples * self._unit[..., None] + self._offset[..., None])

    def log_marginal_likelihood(self, theta: ArrayLike | None = None, eval_gradient: bool = False) -> Any:
        """Return the evidence of the chosen depth at other scales and another noise.

        Parameters
        ----------
        theta : (n,) array_like, optional
            Logarithms, as in ``theta_``, which is the default.
        eval_gradient : bool, default=False
            If True, return the gradient with respect to theta too. The prior of the factors of features is in neither.

        Returns
        -------
        value : float
            The evidence of the targets after ``normalize_y``.
        gradient : (n,) ndarray
            Only if ``eval_gradient``.

        Raises
        ------
        ValueError
            If theta has another length.
        ntkrs.SingularKernelError
            If the kernel plus the noise is not positive definite beyond round-off.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs.sklearn import NTKGaussianProcessRegressor
        >>> X = np.linspace(-1, 1, 20).reshape(-1, 1)
        >>> model = NTKGaussianProcessRegressor().fit(X, np.cos(5 * X[:, 0]))
        >>> model.log_marginal_likelihood() > model.log_marginal_likelihood(model.theta_ + 0.1)
        True
        """
        check_is_fitted(self)
        values = self.theta_ if theta is None else arrays.finite_float64(theta, "theta")
        if values.shape != self.theta_.shape:
            raise ValueError(f"theta has shape {values.shape}, but {self.theta_.shape} is needed, as theta_ has")
        x, y, size = self._unscaled, self.y_train_, MATRICES * 8 * len(self.y_train_) ** 2
        with memory.required(size, f"the evidence of {len(x)} samples", "Fit fewer samples."), blas_threads(len(x)):
            value, gradient = self._prior.moved(values).evidence(x, y)
        return (value, gradient) if eval_gradient else value

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
