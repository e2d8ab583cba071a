"""Kernel ridge regression with the depth and the ridge chosen by exact leave-one-out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import validate_data

from ntkrs._architecture import Architecture, check_dense
from ntkrs.sklearn import conformal, feature_scales
from ntkrs.sklearn.ridge import NTKRidge

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal, Self

    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike, KernelName
    from ntkrs.layers import Sequential
    from ntkrs.sklearn.architectures import Activations, Scales

    Vector = NDArray[np.float64]


class NTKRegressor(RegressorMixin, feature_scales.Importances, NTKRidge):  # type: ignore[misc]  # scikit-learn ships no types
    """Regression with the NTK of an infinitely wide network: its depth and ridge are chosen by exact leave-one-out.

    ::

        f(x) = m + k(x, X) (K + r W⁻¹)⁻¹ (y − m)

    with the weighted mean m of the targets, weights W, and the ridge r.

    Parameters
    ----------
    depth : int or sequence of int, default=(1, 2, 3)
        The number of hidden layers, or several to choose from.
    activation : str, activation, or list of them, default="relu"
        The activation of all hidden layers, or one for each: an object, or its name as in :func:`ntkrs.mlp`.
    sigma_w, sigma_b : float or list of float, default=2**0.5 and 0.5
        Scales of weights and biases: a number for all dense layers, or ``depth + 1`` numbers for a single depth.
    get : {"ntk", "nngp"}, default="ntk"
        The kernel.
    frozen : int, default=0
        The number of dense layers, from the first, that are not trained. It has no effect on the NNGP.
    diag_reg : "auto", float, or sequence of float, default="auto"
        The ridge in units of the (weighted) mean of the kernel's diagonal, or several to choose from. "auto" stands for
        ``np.logspace(-8, 2, 21)``.
    fit_intercept : bool, default=True
        If True, the model is fitted to the targets minus their mean.
    feature_scales : None, "agop", or (n_0,) array_like, default=None
        Factors >= 0 of the features. With "agop" they are learned by a first fit without factors: the factor of feature
        k is ``A_kk^¼`` over the mean of all these, where A is the average gradient outer product of the first model
        (:func:`ntkrs.regression.agop`). Then depth and ridge are chosen again. This helps if many features are noise,
        and takes twice the time.
    architecture : Sequential, default=None
        An architecture, instead of ``depth``, ``activation``, ``sigma_w``, ``sigma_b`` and ``frozen``.
    input_shape : (int, int, int), default=None
        Height, width and channels H, W, C of the images that the rows of X are, if ``architecture`` starts with a
        :class:`~ntkrs.layers.Conv`. X has shape (N, H·W·C) all the same.

    Attributes
    ----------
    depth_ : int
        The chosen number of hidden layers.
    diag_reg_ : float
        The chosen ridge.
    loo_error_ : (D, R) ndarray
        The weighted mean squared error of leave-one-out, for every depth and ridge.
    loo_prediction_ : (N,) or (N, O) ndarray
        The prediction of every training row by the model that has not seen it. Absent if there is one row only.
    solution_ : Solution
        Beyond memory only: the accuracy that :func:`ntkrs.solve` reached, instead of ``loo_error_`` and
        ``loo_prediction_``.
    dual_coef_ : (N,) or (N, O) ndarray
        Coefficients of the rows of ``X_fit_``.
    intercept_ : float or (O,) ndarray
        The weighted mean of the targets, or 0.
    X_fit_ : (N, n_0) ndarray
        The training inputs of positive weight, times ``feature_scales_``.
    feature_scales_ : (n_0,) ndarray
        The factors of the features, 1 without ``feature_scales``. :meth:`plot_importances` draws them.
    kernel_ : ntkrs.kernel.Kernel
        The kernel of the chosen depth.
    n_features_in_ : int
        The number of features n_0.
    feature_names_in_ : (n_0,) ndarray
        The names of the features, if X had names that are strings.

    See Also
    --------
    NTKGaussianProcessRegressor : Learns the scales and the noise, and predicts with a standard deviation.
    NTKKernel : The kernel alone, for the estimators of scikit-learn.
    ntkrs.regression.KernelRegression : Leave-one-out for any kernel matrix.

    Notes
    -----
    One eigendecomposition for each depth, O(N³) time and 5 N² numbers. Where 9 N² fit easily, one pass gives the
    kernels of all depths. Among models whose errors agree to 1e-12, the one with the larger ridge is chosen, and then
    the one with the smaller depth. The prediction of a row does not depend on other rows, to the last bit. Inputs are
    taken as they come: scale them first, as in the example.

    Where the eigendecomposition does not fit in memory, a single depth and ridge are fitted by :func:`ntkrs.solve`, in
    half of N² numbers or less. No row is left out then, so there are neither ``loo_*`` nor intervals.

    With ``feature_scales="agop"`` errors of leave-one-out are too low, because the factors have seen the rows that are
    left out: compare such models by other rows.

    References
    ----------
    Jacot, Gabriel, Hongler (2018) for the NTK; Wahba (1990) and Cawley, Talbot (2004) for leave-one-out; Radhakrishnan,
    Beaglehole, Pandit, Belkin (2024) for the average gradient outer product.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from ntkrs.sklearn import NTKRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), NTKRegressor()).fit(X[:300], y[:300])
    >>> model.score(X[300:], y[300:]) > 0.5
    True
    >>> fitted = model[-1]
    >>> bool(((fitted.loo_prediction_ - y[:300]) ** 2).mean() == fitted.loo_error_.min())  # 300 refits in one
    True
    """

    loo_prediction_: Vector
    feature_scales_: Vector

    def __init__(
        self,
        depth: int | Sequence[int] = (1, 2, 3),
        *,
        activation: Activations = "relu",
        sigma_w: Scales = 2**0.5,
        sigma_b: Scales = 0.5,
        get: KernelName = "ntk",
        frozen: int = 0,
        diag_reg: float | Sequence[float] | Literal["auto"] = "auto",
        fit_intercept: bool = True,
        feature_scales: Literal["agop"] | ArrayLike | None = None,
        architecture: Sequential | None = None,
        input_shape: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__(
            depth,
            activation=activation,
            sigma_w=sigma_w,
            sigma_b=sigma_b,
            get=get,
            frozen=frozen,
            diag_reg=diag_reg,
            fit_intercept=fit_intercept,
            architecture=architecture,
            input_shape=input_shape,
        )
        self.feature_scales = feature_scales

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Choose the depth and the ridge, and fit the model.

        Parameters
        ----------
        X : (N, n_0) array_like
            Training inputs.
        y : (N,) or (N, O) array_like
            Targets.
        sample_weight : (N,) array_like, optional
            Weights. A whole number is worth as many copies of the row, and 0 drops it.

        Returns
        -------
        NTKRegressor
            This estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter or an input is invalid.
        ntkrs.IndefiniteKernelError
            If an eigenvalue of the kernel is negative beyond round-off.
        ntkrs.SingularKernelError
            Beyond memory, if the kernel plus its ridge is singular.
        MemoryError
            If a choice of models does not fit in memory. A single one is solved by iteration there.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs.sklearn import NTKRegressor
        >>> X = np.linspace(-1, 1, 20).reshape(-1, 1)
        >>> model = NTKRegressor().fit(X, X[:, 0] ** 2)
        >>> bool(abs(model.predict([[0.5]])[0] - 0.25) < 0.01)
        True
        """
        x, targets = validate_data(self, X, y, dtype=np.float64, copy=True, multi_output=True, y_numeric=True)
        weights = self._weights(sample_weight, x)
        kept = weights > 0
        targets = np.asarray(targets, dtype=np.float64)
        fixed = feature_scales.fixed(self.feature_scales, x.shape[1], "agop")
        data = x[kept], targets[kept], weights[kept]
        if fixed is None:
            self._check_differentiable()
            self._choose(*data)
            fixed = feature_scales.learned(self._training, self.dual_coef_)
        self.feature_scales_, x = fixed, feature_scales.applied(x, fixed)
        left_out = self._left_out(x, kept, self._choose(x[kept], *data[1:]))
        if left_out is not None:
            self.loo_prediction_ = left_out
        return self

    def _check_differentiable(self) -> None:
        """Raise ValueError if the network has no derivatives with respect to features."""
        if isinstance(self.architecture, Architecture):
            check_dense(self.architecture, "feature_scales='agop'", "Pass feature_scales=None, or factors.")

    def predict(self, X: ArrayLike) -> Vector:
        """Return predictions.

        Parameters
        ----------
        X : (M, n_0) array_like
            Inputs.

        Returns
        -------
        (M,) or (M, O) ndarray
        """
        return self._values(self._inputs(X))

    def _inputs(self, X: ArrayLike) -> Vector:
        """Return new inputs times the factors of the features, after they are checked."""
        return feature_scales.applied(super()._inputs(X), self.feature_scales_)

    def predict_interval(self, X: ArrayLike, coverage: float = 0.9) -> Vector:
        """Return intervals that hold new targets with a given probability, by the jackknife+.

        ::

            [ −q(R_i − f_{−i}(x)),  q(f_{−i}(x) + R_i) ],    R_i = |y_i − f_{−i}(x_i)|

        with the models f_{−i} without row i, all exact. q is the ``⌈coverage (N + 1)⌉``-th smallest of the N values,
        and infinite if there is none.

        Parameters
        ----------
        X : (M, n_0) array_like
            Inputs.
        coverage : float, default=0.9
            The share of new targets that the intervals should hold, in (0, 1).

        Returns
        -------
        (M, 2) or (M, 2, O) ndarray
            Lower and upper ends. Each output has an interval of its own. Ends are infinite if ``coverage`` is above
            N/(N + 1): no finite interval is certain enough with N rows.

        Raises
        ------
        TypeError, ValueError
            If ``coverage`` is not between 0 and 1, X is invalid, or a single row was fitted.
        MemoryError
            If the eigendecomposition does not fit in memory.

        Notes
        -----
        For rows drawn independently from any distribution, intervals hold a new target with a probability of at least
        ``2 coverage − 1``, and in practice of about ``coverage``, with no assumption on the noise or on the model. The
        theorem is about a depth and an absolute ridge that are fixed beforehand. Here the depth and the ridge may be
        chosen by all rows, and the ridge is relative to the kernel of all rows, so residuals may be a little too small,
        and more so with ``feature_scales="agop"``. The probability is a mean over inputs: it does not hold for each
        input separately.

        With ``sample_weight``, a row of weight 3 counts as three copies of which one is left out, and q is the least
        value at or below which weights add up to ``coverage (Σw + 1)``. The theorem is about equal weights of 1.

        The first call makes one eigendecomposition, in O(N³) time, and keeps N² numbers for the next calls, which are
        not pickled. Each row of X takes O(N² + N O) more. Predictions are made for blocks of rows.

        References
        ----------
        Barber, Candès, Ramdas, Tibshirani (2021), Predictive inference with the jackknife+; the same (2023), Conformal
        prediction beyond exchangeability, for weights.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs.sklearn import NTKRegressor
        >>> rng = np.random.default_rng(0)
        >>> X = rng.uniform(-1, 1, (200, 1))
        >>> y = X[:, 0] ** 2 + 0.1 * rng.standard_normal(200)
        >>> ends = NTKRegressor().fit(X[:100], y[:100]).predict_interval(X[100:])
        >>> held = (ends[:, 0] <= y[100:]) & (y[100:] <= ends[:, 1])
        >>> bool(0.8 < held.mean() < 1.0)
        True
        """
        inputs, share = self._inputs(X), conformal.checked_coverage(coverage)
        return conformal.intervals(self._left_out_models(), inputs, share)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
