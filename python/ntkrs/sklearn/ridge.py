"""Kernel ridge regression with the depth and the ridge chosen by exact leave-one-out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ntkrs._checks import numbers
from ntkrs._checks.advice import shown
from ntkrs.layers import Sequential
from ntkrs.sklearn import conformal, selection
from ntkrs.sklearn.architectures import architecture as built

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal, Self

    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike, KernelName
    from ntkrs.kernel import Kernel
    from ntkrs.regression import Dual
    from ntkrs.sklearn.architectures import Activations, Scales

    Vector = NDArray[np.float64]


class NTKRidge(BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """The parameters, the choice of a model, and the decisions of both estimators."""

    #: Attributes of fitted estimators.
    depth_: int
    diag_reg_: float
    loo_error_: Vector
    kernel_: Kernel
    X_fit_: Vector
    dual_coef_: Vector
    intercept_: Vector | float
    n_features_in_: int

    _training: conformal.Training
    _refits: conformal.Refits | None

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
        architecture: Sequential | None = None,
    ) -> None:
        self.depth = depth
        self.activation = activation
        self.sigma_w = sigma_w
        self.sigma_b = sigma_b
        self.get = get
        self.frozen = frozen
        self.diag_reg = diag_reg
        self.fit_intercept = fit_intercept
        self.architecture = architecture

    def _architectures(self) -> list[Sequential]:
        """Return the architectures to choose from."""
        if self.architecture is None:
            options = self.activation, self.sigma_w, self.sigma_b, self.frozen
            return [built(depth, *options) for depth in selection.depths(self.depth)]
        if not isinstance(self.architecture, Sequential):
            raise TypeError(f"architecture is {shown(self.architecture)}, but a Sequential is needed, such as mlp(...)")
        return [self.architecture]

    def _choose(self, X: Vector, y: Vector, weights: Vector) -> Vector | None:
        """Choose a model for rows of positive weight, and return its leave-one-out predictions."""
        architectures, candidates = self._architectures(), selection.ridges(self.diag_reg)
        get = cast("KernelName", numbers.choice(self.get, "get", ("ntk", "nngp")))
        intercept = numbers.boolean(self.fit_intercept, "fit_intercept")
        choice, self.loo_error_ = selection.choose(architectures, X, y, weights, candidates, get, intercept=intercept)
        chosen = architectures[choice.place]
        self.depth_, self.diag_reg_ = len(chosen.activations), choice.ridge
        self.kernel_, self.X_fit_ = chosen.kernel(), X
        self.dual_coef_, self.intercept_ = self._parts(choice.dual)
        self._training = conformal.Training(self.kernel_, get, X, y, weights, choice.ridge, intercept)
        self._refits = None  # of an earlier fit
        return choice.left_out

    def _left_out_models(self) -> conformal.Refits:
        """Return the models without one row each, which the first call makes and keeps."""
        refits = self._refits
        if refits is None:
            refits = self._refits = conformal.Refits(self._training)
        return refits

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for pickles and copies: without the (N, N) matrix of :meth:`_left_out_models`."""
        state = cast("dict[str, Any]", super().__getstate__())
        return {**state, "_refits": None} if "_refits" in state else state

    @staticmethod
    def _parts(dual: Dual) -> tuple[Vector, Vector | float]:
        """Return coefficients and the intercept, a number if there is one output."""
        return dual.coefficients, dual.intercept if dual.intercept.ndim else float(dual.intercept)

    def _left_out(self, X: Vector, kept: NDArray[np.bool_], left_out: Vector | None) -> Vector | None:
        """Return leave-one-out predictions of all rows: rows of weight 0 are left out of every model."""
        if left_out is None or kept.all():
            return left_out
        result = np.empty((len(kept), *left_out.shape[1:]))
        result[kept] = left_out
        result[~kept] = self._values(X[~kept])
        return result

    def _values(self, X: Vector) -> Vector:
        """Return ``k(X, X_fit_) @ dual_coef_ + intercept_``."""
        operator = self.kernel_.operator(X, self.X_fit_, get=self.get, progress=False)
        return cast("Vector", operator @ self.dual_coef_ + self.intercept_)

    def _predicted(self, X: ArrayLike) -> Vector:
        """Return the values at new inputs, after they are checked."""
        check_is_fitted(self)
        return self._values(validate_data(self, X, dtype=np.float64, reset=False))

    def _weights(self, sample_weight: ArrayLike | None, X: Vector) -> Vector:
        """Return the weights of rows, not all of them 0."""
        weights = cast("Vector", _check_sample_weight(sample_weight, X, dtype=np.float64))
        if weights.min() < 0:
            at = int(weights.argmin())
            raise ValueError(f"sample_weight holds {weights[at]} at {at}, but weights are >= 0.")
        if not weights.any():
            raise ValueError("sample_weight holds zeros only, but at least one row with a positive weight is needed.")
        return weights


class NTKRegressor(RegressorMixin, NTKRidge):  # type: ignore[misc]  # scikit-learn ships no types
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
    architecture : Sequential, default=None
        An architecture, instead of ``depth``, ``activation``, ``sigma_w``, ``sigma_b`` and ``frozen``.

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
    dual_coef_ : (N,) or (N, O) ndarray
        Coefficients of the rows of ``X_fit_``.
    intercept_ : float or (O,) ndarray
        The weighted mean of the targets, or 0.
    X_fit_ : (N, n_0) ndarray
        The training inputs of positive weight.
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
    One eigendecomposition for each depth, O(N³) time and O(N²) memory. Of models whose errors differ by no more than
    1e-12 of them, the one with the larger ridge and then the smaller depth is chosen. The prediction of a row does not
    depend on other rows, to the last bit. Inputs are taken as they come: scale them first, as in the example.

    References
    ----------
    Jacot, Gabriel, Hongler (2018) for the NTK; Wahba (1990) and Cawley, Talbot (2004) for leave-one-out.

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
        MemoryError
            If the kernel does not fit in memory.

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
        left_out = self._left_out(x, kept, self._choose(x[kept], targets[kept], weights[kept]))
        if left_out is not None:
            self.loo_prediction_ = left_out
        elif hasattr(self, "loo_prediction_"):  # of an earlier fit
            del self.loo_prediction_
        return self

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
        return self._predicted(X)

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
            N/(N + 1): that cannot be known from N rows.

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
        chosen by all rows, and the ridge is relative to the kernel of all rows, so residuals may be a little too small.
        The probability is a mean over inputs: it does not hold for each input separately.

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
        check_is_fitted(self)
        share = conformal.checked_coverage(coverage)
        inputs = validate_data(self, X, dtype=np.float64, reset=False)
        return conformal.intervals(self._left_out_models(), inputs, share)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
