"""Kernel ridge classification with calibrated probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d, validate_data

from ntkrs.sklearn import conformal, iterated, temperature
from ntkrs.sklearn.ridge import NTKRidge

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike

    Vector = NDArray[np.float64]


class NTKClassifier(ClassifierMixin, NTKRidge):  # type: ignore[misc]  # scikit-learn ships no types
    """Classification with the NTK of an infinitely wide network: depth and ridge are chosen by exact leave-one-out.

    This is kernel ridge regression on targets of ±1: one column for each class, or a single one for two classes.
    Probabilities are calibrated on leave-one-out decisions.

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
        If True, the model is fitted to the targets ±1 minus their mean.
    architecture : Sequential, default=None
        An architecture, instead of ``depth``, ``activation``, ``sigma_w``, ``sigma_b`` and ``frozen``.
    input_shape : (int, int, int), default=None
        Height, width and channels H, W, C of the images that the rows of X are, if ``architecture`` starts with a
        :class:`~ntkrs.layers.Conv`. X has shape (N, H·W·C) all the same.

    Attributes
    ----------
    classes_ : (C,) ndarray
        The classes.
    depth_ : int
        The chosen number of hidden layers.
    diag_reg_ : float
        The chosen ridge.
    loo_error_ : (D, R) ndarray
        The weighted mean squared error of leave-one-out of the targets ±1, for every depth and ridge.
    loo_decision_ : (N,) or (N, C) ndarray
        The decisions about every training row by the model that has not seen it.
    solution_ : Solution
        Beyond memory only: the accuracy that :func:`ntkrs.solve` reached, instead of ``loo_error_`` and
        ``loo_decision_``.
    temperature_ : float
        T in ``predict_proba``.
    dual_coef_ : (N,) or (N, C) ndarray
        Coefficients of the rows of ``X_fit_``.
    intercept_ : float or (C,) ndarray
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
    NTKRegressor : The same for regression.
    NTKKernel : The kernel alone, for SVC or GaussianProcessClassifier.

    Notes
    -----
    One eigendecomposition for each depth, O(N³) time and 5 N² numbers, or 9 N² where these fit easily. Depth and ridge
    have the least squared error of leave-one-out. Its accuracy has many ties, and would choose models that predict
    worse. Inputs are taken as they come: scale them first.

    Where the eigendecomposition does not fit in memory, a single depth and ridge are fitted by :func:`ntkrs.solve`, in
    half of N² numbers or less. No row is left out then, so there are neither ``loo_*`` nor sets of classes. The
    temperature is fitted on a tenth of the rows, with the decisions of a model of the others.

    References
    ----------
    Arora et al. (2020) for the NTK on small data sets; Platt (1999) and Guo et al. (2017) for probabilities.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from ntkrs.sklearn import NTKClassifier
    >>> X, y = load_wine(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), NTKClassifier()).fit(X[::2], y[::2])
    >>> model.score(X[1::2], y[1::2]) > 0.95
    True
    >>> model.predict_proba(X[1:2]).round(1)
    array([[1., 0., 0.]])
    """

    classes_: NDArray[Any]
    loo_decision_: Vector
    temperature_: float

    _codes: NDArray[np.intp]

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Choose the depth and the ridge, and fit the model and its temperature.

        Parameters
        ----------
        X : (N, n_0) array_like
            Training inputs.
        y : (N,) array_like
            Classes: numbers, strings or bools.
        sample_weight : (N,) array_like, optional
            Weights. A whole number is worth as many copies of the row, and 0 drops it.

        Returns
        -------
        NTKClassifier
            This estimator.

        Raises
        ------
        ValueError, TypeError
            If a parameter or an input is invalid, or there is a single class.
        ntkrs.IndefiniteKernelError
            If an eigenvalue of the kernel is negative beyond round-off.
        ntkrs.SingularKernelError
            Beyond memory, if the kernel plus its ridge is singular.
        MemoryError
            If a choice of models does not fit in memory. A single one is solved by iteration there.

        Examples
        --------
        >>> import numpy as np
        >>> from ntkrs.sklearn import NTKClassifier
        >>> X = np.linspace(-1, 1, 20).reshape(-1, 1)
        >>> NTKClassifier().fit(X, np.where(X[:, 0] > 0, "right", "left")).predict([[-0.5], [0.5]])
        array(['left', 'right'], dtype='<U5')
        """
        x, labels = validate_data(self, X, y, dtype=np.float64, copy=True)
        check_classification_targets(labels)
        weights = self._weights(sample_weight, x)
        kept = weights > 0
        self.classes_, codes = np.unique(column_or_1d(labels, warn=True)[kept], return_inverse=True)
        count = len(self.classes_)
        if count < 2:
            only = self.classes_.tolist()[0]
            raise ValueError(f"y has 1 class ({only!r}), but a classifier needs at least 2 classes.")
        targets = np.where(codes[:, None] == np.arange(count), 1.0, -1.0)
        left_out = self._choose(x[kept], targets[:, 1] if count == 2 else targets, weights[kept])
        self._codes = codes
        if left_out is None:  # beyond memory: two classes are of two rows
            decisions, rows = self._held_out()
            self.temperature_ = temperature.fitted(decisions, codes[rows], weights[kept][rows])
            return self
        self.temperature_ = temperature.fitted(left_out, codes, weights[kept])
        self.loo_decision_ = cast("Vector", self._left_out(x, kept, left_out))
        return self

    def _held_out(self) -> tuple[Vector, NDArray[np.bool_]]:
        """Return decisions about a tenth of the rows by a model of the others, and True for these rows."""
        training = self._training
        kernel, inputs = training.kernel, cast("Vector", training.X.array)
        rows = iterated.held_out(len(inputs))
        others = kernel.prepare(inputs[~rows], progress=False)
        model = kernel, others, training.y[~rows], training.weights[~rows], training.ridge, training.get
        dual = iterated.regression(*model, intercept=training.intercept).dual
        return iterated.values(kernel, inputs[rows], others, training.get, dual), rows

    def decision_function(self, X: ArrayLike) -> Vector:
        """Return the regression on ±1.

        Parameters
        ----------
        X : (M, n_0) array_like
            Inputs.

        Returns
        -------
        (M,) or (M, C) ndarray
            Positive values are for the class ``classes_[1]`` if there are two classes.
        """
        return self._values(self._inputs(X))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the class of the largest decision.

        Parameters
        ----------
        X : (M, n_0) array_like
            Inputs.

        Returns
        -------
        (M,) ndarray
        """
        decisions = self.decision_function(X)
        codes = decisions.argmax(axis=1) if decisions.ndim == 2 else (decisions > 0).astype(np.intp)
        return cast("NDArray[Any]", self.classes_[codes])

    def predict_proba(self, X: ArrayLike) -> Vector:
        """Return the probabilities of the classes, ``softmax(f/T)`` of the decisions f, or ``sigmoid(f/T)``.

        T is ``temperature_``, at which the decisions of leave-one-out have the least log loss.

        Parameters
        ----------
        X : (M, n_0) array_like
            Inputs.

        Returns
        -------
        (M, C) ndarray
            The columns are in the order of ``classes_``.
        """
        from scipy.special import expit, softmax

        scaled = self.decision_function(X) / self.temperature_
        if scaled.ndim == 1:
            return np.column_stack([expit(-scaled), expit(scaled)])
        return cast("Vector", softmax(scaled, axis=1))

    def predict_set(self, X: ArrayLike, coverage: float = 0.9) -> NDArray[np.bool_]:
        """Return sets of classes that hold the class of a new row with a given probability, by cross-conformal scores.

        ::

            class c is in the set of x   ⟺   #{i: s_i < s_{−i}(x, c)} < coverage (N + 1)
            s_{−i}(x, c) = max_{k ≠ c} f_{−i}(x)_k − f_{−i}(x)_c,    s_i = s_{−i}(x_i, y_i)

        with the decisions f_{−i} of the model without row i, all exact. For two classes f is (−f, f). The score s is
        the negative margin of a class. A class is left out if its margin at x is below those of most training rows.

        Parameters
        ----------
        X : (M, n_0) array_like
            Inputs.
        coverage : float, default=0.9
            The share of new rows whose class the sets should hold, in (0, 1).

        Returns
        -------
        (M, C) ndarray of bool
            True for the classes in the set, in the order of ``classes_``. If a set has several classes, the model
            cannot tell them apart at this row. A set is empty if all margins at this row are below those of most
            training rows. All classes are in the set if ``coverage`` is above N/(N + 1): no smaller set is certain
            enough with N rows.

        Raises
        ------
        TypeError, ValueError
            If ``coverage`` is not between 0 and 1, or X is invalid.
        MemoryError
            If the eigendecomposition does not fit in memory.

        Notes
        -----
        For rows drawn independently from any distribution, sets hold the class of a new row with a probability of at
        least ``2 coverage − 1``, and in practice of about ``coverage``. The theorem is about a depth and an absolute
        ridge that are fixed beforehand. Here they may be chosen by all rows, and the ridge is relative to the kernel of
        all rows, so the sets may be a little too small. The probability is a mean over inputs and classes.

        With ``sample_weight``, a row of weight 3 counts as three copies of which one is left out, and N is the sum of
        the weights. The theorem is about equal weights of 1.

        The first call makes one eigendecomposition, in O(N³) time, and keeps N² numbers for the next calls, which are
        not pickled. Each row of X takes O(N² + N C) more. Decisions are made for blocks of rows.

        References
        ----------
        Vovk (2015), Cross-conformal predictors; Barber, Candès, Ramdas, Tibshirani (2021) for the theorem, and Romano,
        Sesia, Candès (2020), Classification with valid and adaptive coverage, for classes.

        Examples
        --------
        >>> from sklearn.datasets import load_wine
        >>> from sklearn.preprocessing import scale
        >>> from ntkrs.sklearn import NTKClassifier
        >>> X, y = load_wine(return_X_y=True)
        >>> X = scale(X)
        >>> sets = NTKClassifier().fit(X[::2], y[::2]).predict_set(X[1::2], coverage=0.95)
        >>> sets.shape
        (89, 3)
        >>> bool(sets[range(89), y[1::2]].mean() > 0.9)
        True
        """
        inputs, share = self._inputs(X), conformal.checked_coverage(coverage)
        return conformal.sets(self._left_out_models(), inputs, self._codes, share)
