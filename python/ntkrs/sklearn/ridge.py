"""The parameters that both ridge estimators share, the choice of a model by leave-one-out, and predictions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from ntkrs._checks import numbers
from ntkrs._checks.advice import shown
from ntkrs.layers import Sequential
from ntkrs.regression import Dual
from ntkrs.sklearn import conformal, iterated, selection
from ntkrs.sklearn.architectures import architecture as built
from ntkrs.sklearn.architectures import sample_shape

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike, KernelName
    from ntkrs.kernel import Kernel
    from ntkrs.sklearn.architectures import Activations, Scales
    from ntkrs.solvers.solution import Solution

    Vector = NDArray[np.float64]


#: Attributes that leave-one-out gives.
_LEFT_OUT = ("loo_error_", "loo_prediction_", "loo_decision_")


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
    solution_: Solution

    _sample_shape: tuple[int, ...]
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
        input_shape: tuple[int, int, int] | None = None,
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
        self.input_shape = input_shape

    def _architectures(self) -> list[Sequential]:
        """Return the architectures to choose from."""
        if self.architecture is None:
            options = self.activation, self.sigma_w, self.sigma_b, self.frozen
            return [built(depth, *options) for depth in selection.depths(self.depth)]
        if not isinstance(self.architecture, Sequential):
            raise TypeError(f"architecture is {shown(self.architecture)}, but a Sequential is needed, such as mlp(...)")
        return [self.architecture]

    def _choose(self, X: Vector, y: Vector, weights: Vector) -> Vector | None:
        """Choose a model for rows of positive weight, and return its leave-one-out predictions.

        It is None for a single row, and for a single model whose eigendecomposition does not fit in memory.
        """
        architectures, candidates = self._architectures(), selection.ridges(self.diag_reg)
        get = cast("KernelName", numbers.choice(self.get, "get", ("ntk", "nngp")))
        intercept = numbers.boolean(self.fit_intercept, "fit_intercept")
        self._sample_shape = sample_shape(architectures[0], self.input_shape, X.shape[1])
        inputs = self._reshaped(X)
        for name in (*_LEFT_OUT, "solution_"):  # of an earlier fit
            self.__dict__.pop(name, None)
        if len(architectures) * len(candidates) == 1 and not selection.decomposes(len(X)):
            kernel, ridge = architectures[0].kernel(), float(candidates[0])
            prepared = kernel.prepare(inputs, progress=False)
            fit = iterated.regression(kernel, prepared, y, weights, ridge, get, intercept=intercept)
            self.solution_ = fit.solution
            choice = selection.Choice(0, ridge, math.nan, np.array([math.nan]), None, fit.dual)
        else:
            choice, self.loo_error_ = selection.choose(
                architectures, inputs, y, weights, candidates, get, intercept=intercept
            )
            kernel = architectures[choice.place].kernel()
            prepared = kernel.prepare(inputs, progress=False)
        self.depth_, self.diag_reg_ = len(architectures[choice.place].activations), choice.ridge
        self.kernel_, self.X_fit_ = kernel, _rows(cast("Vector", prepared.array))
        self.dual_coef_, self.intercept_ = self._parts(choice.dual)
        self._training = conformal.Training(kernel, get, prepared, y, weights, choice.ridge, intercept)
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

    if not TYPE_CHECKING:  # a type checker would take every name for an attribute

        def __getattr__(self, name: str) -> Any:
            """Say why a model beyond memory has no results of leave-one-out."""
            if name in _LEFT_OUT and "solution_" in vars(self):
                raise AttributeError(
                    f"{name} needs an eigendecomposition, which does not fit in memory for {len(self.X_fit_)} samples: "
                    "ntkrs.solve fitted them, and left no row out. Measure errors by rows that were not fitted.",
                    name=name,
                    obj=self,
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

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
        dual = Dual(self.dual_coef_, np.asarray(self.intercept_))
        return iterated.values(self.kernel_, self._reshaped(X), self._training.X, self.get, dual)

    def _reshaped(self, X: Vector) -> Vector:
        """Return rows as the kernel takes them: as images, if the network has a Conv."""
        return X.reshape(len(X), *self._sample_shape)

    def _inputs(self, X: ArrayLike) -> Vector:
        """Return new inputs as the kernel takes them, after they are checked."""
        check_is_fitted(self)
        return cast("Vector", validate_data(self, X, dtype=np.float64, reset=False))

    def _weights(self, sample_weight: ArrayLike | None, X: Vector) -> Vector:
        """Return the weights of rows, not all of them 0."""
        weights = cast("Vector", _check_sample_weight(sample_weight, X, dtype=np.float64))
        if weights.min() < 0:
            at = int(weights.argmin())
            raise ValueError(f"sample_weight holds {weights[at]} at {at}, but weights are >= 0.")
        if not weights.any():
            raise ValueError("sample_weight holds zeros only, but at least one row with a positive weight is needed.")
        return weights


def _rows(X: Vector) -> Vector:
    """Return inputs as rows: the array itself where they are rows, so that pickles hold it once."""
    return X if X.ndim == 2 else X.reshape(len(X), -1)
