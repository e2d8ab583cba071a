"""The held-out scores of the demo: the estimators of ``ntkrs.sklearn``, and simple baselines for comparison.

Every choice (ridge, bandwidth, C) is made inside the training part: those of the estimators by exact leave-one-out, all
others by cross-validation. BLAS runs on one thread here, because the matrices are so small that two threads take twice
as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import wraps
from itertools import product
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from ntkrs._runtime.optional import require
from ntkrs.demo.data import Array, Digits, Index, Settings, relu_network

if TYPE_CHECKING:
    from ntkrs._typing import KernelName
    from ntkrs.sklearn import NTKClassifier, NTKRegressor

P = ParamSpec("P")
Estimator = TypeVar("Estimator", "NTKClassifier", "NTKRegressor")
Cost = Callable[[Array, Array], float]

#: The kernels of the estimators, and the names of their scores.
METHODS: dict[KernelName, str] = {"nngp": "NNGP regression", "ntk": "NTK regression"}


@dataclass(frozen=True)
class Score:
    """The held-out score of a method, its standard error or deviation, and the choices made on the training part."""

    method: str
    value: float
    spread: float
    chosen: str


@dataclass(frozen=True)
class Scores:
    """The scores of several methods on the same splits, and the sizes and the number of these splits."""

    scores: tuple[Score, ...]
    n_train: int
    n_test: int
    splits: int


def _one_blas_thread(compute: Callable[P, Scores]) -> Callable[P, Scores]:
    """Make ``compute`` run with a single BLAS thread."""

    @wraps(compute)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Scores:
        with require("threadpoolctl", "scikit-learn").threadpool_limits(1):
            return compute(*args, **kwargs)

    return wrapper


def kernel_ridge(k: Array, y: Array, train: Index, test: Index, ridge: float) -> Array:
    """Return the predictions ``mean + k_* (K + r I)^-1 (y - mean)`` of kernel ridge regression.

    K is the block of the training rows, k_* that of the test rows against them, and ``r = ridge * trace(K) / N``. The
    mean is that of the training targets.

    Parameters
    ----------
    k : (N, N) array
        The kernel on all samples.
    y : (N,) or (N, O) array
        The targets of all samples. Only those of ``train`` are read.
    train, test : integer arrays
        The rows to learn from, and the rows to predict.
    """
    block = k[np.ix_(train, train)]
    block[np.diag_indices_from(block)] += ridge * np.trace(block) / len(block)
    mean = y[train].mean(axis=0)
    alpha = cho_solve(cho_factor(block, lower=True, overwrite_a=True), y[train] - mean)
    return np.asarray(mean + k[np.ix_(test, train)] @ alpha)


def _misclassified(f: Array, y: Array) -> float:
    """Return the share of rows whose largest output is not that of the target."""
    return float(np.mean(f.argmax(axis=1) != y.argmax(axis=1)))


def _squared(f: Array, y: Array) -> float:
    """Return the mean square error."""
    return float(np.mean((f - y) ** 2))


def _folds(train: Index, settings: Settings, seed: int) -> list[tuple[Index, Index]]:
    """Return the rows of ``train`` to learn from and those to validate on, for each fold."""
    k_fold = require("sklearn.model_selection", "scikit-learn").KFold
    split = k_fold(settings.folds, shuffle=True, random_state=seed).split(train)
    return [(train[learn], train[validate]) for learn, validate in split]


def _select(
    grams: Sequence[tuple[str, Array]],
    y: Array,
    folds: Sequence[tuple[Index, Index]],
    ridges: Sequence[float],
    cost: Cost,
) -> tuple[str, Array, float]:
    """Return the (name, Gram, ridge) with the lowest cost over the folds. Of equal ones the first is chosen."""

    def validation_cost(choice: tuple[tuple[str, Array], float]) -> float:
        (_, k), ridge = choice
        return sum(cost(kernel_ridge(k, y, learn, rows, ridge), y[rows]) for learn, rows in folds)

    (name, k), ridge = min(product(grams, ridges), key=validation_cost)
    return name, k, ridge


def _rbf_grams(x: Array, train: Index) -> list[tuple[str, Array]]:
    """Return Gaussian kernels exp(-|x - x'|² / (s m)) for three s. m is the mean squared distance of training rows."""
    norms = np.einsum("ij,ij->i", x, x)
    squared = np.maximum(norms[:, None] + norms - 2 * x @ x.T, 0.0)
    mean = squared[np.ix_(train, train)].mean()
    return [(f"bandwidth {s:g}", np.exp(squared / (-s * mean))) for s in (0.1, 0.3, 1.0)]


def _estimators(kind: type[Estimator], settings: Settings) -> Iterator[tuple[str, Estimator]]:
    """Yield estimators of both kernels, with the names of their scores."""
    for get, name in METHODS.items():
        yield name, kind(architecture=relu_network(settings), get=get, diag_reg=settings.ridges)


@_one_blas_thread
def classification(data: Digits, settings: Settings, seed: int) -> Scores:
    """Return the held-out accuracy of five methods on one split. The spread is the binomial standard error."""
    from ntkrs.sklearn import NTKClassifier

    linear = require("sklearn.linear_model", "scikit-learn")
    search = require("sklearn.model_selection", "scikit-learn").GridSearchCV
    train, test, y = data.train, data.test, data.targets
    logistic = search(linear.LogisticRegression(max_iter=3000), {"C": [1e-1, 1.0, 10.0]}, cv=settings.folds)
    ridge = linear.RidgeClassifierCV(alphas=np.logspace(-3, 4, 15))
    found: list[tuple[str, float, str]] = []
    for name, model in (("linear ridge", ridge), ("logistic regression", logistic)):
        model.fit(data.x[train], data.labels[train])
        chosen = f"alpha {model.alpha_:.2g}" if model is ridge else f"C {model.best_params_['C']:g}"
        found.append((name, float(model.score(data.x[test], data.labels[test])), chosen))
    folds = _folds(train, settings, seed)
    label, k, r = _select(_rbf_grams(data.x, train), y, folds, settings.ridges, _misclassified)
    error = _misclassified(kernel_ridge(k, y, train, test, r), y[test])
    found.append(("RBF kernel ridge", 1 - error, f"{label} ridge {r:g}"))
    for name, fit in _estimators(NTKClassifier, settings):
        fit.fit(data.x[train], data.labels[train])
        found.append((name, float(fit.score(data.x[test], data.labels[test])), f"ridge {fit.diag_reg_:g}"))
    scores = (Score(name, a, float(np.sqrt(a * (1 - a) / len(test))), chosen) for name, a, chosen in found)
    return Scores(tuple(scores), len(train), len(test), 1)


@_one_blas_thread
def regression(settings: Settings, seed: int) -> Scores:
    """Return the held-out R² on diabetes: mean and standard deviation over random splits.

    The splits are the same for every method.
    """
    from ntkrs.sklearn import NTKRegressor

    bunch = require("sklearn.datasets", "scikit-learn").load_diabetes()
    linear = require("sklearn.linear_model", "scikit-learn")
    x = np.ascontiguousarray(bunch.data * np.sqrt(len(bunch.data)))  # columns of unit variance
    y, n_test = bunch.target, round(settings.test_size * len(x))
    found: dict[str, list[float]] = {}
    for i in range(settings.diabetes_splits):
        rows = np.random.default_rng([seed, i]).permutation(len(x))
        test, train = rows[:n_test], rows[n_test:]
        variance = float(np.mean((y[test] - y[test].mean()) ** 2))
        model = linear.RidgeCV(alphas=np.logspace(-3, 4, 15)).fit(x[train], y[train])
        found.setdefault("linear ridge", []).append(1 - _squared(model.predict(x[test]), y[test]) / variance)
        folds = _folds(train, settings, seed)
        _, k, r = _select(_rbf_grams(x, train), y, folds, settings.ridges, _squared)
        error = _squared(kernel_ridge(k, y, train, test, r), y[test])
        found.setdefault("RBF kernel ridge", []).append(1 - error / variance)
        for name, fit in _estimators(NTKRegressor, settings):
            found.setdefault(name, []).append(float(fit.fit(x[train], y[train]).score(x[test], y[test])))
    scores = (Score(name, float(np.mean(v)), float(np.std(v)), "per split") for name, v in found.items())
    return Scores(tuple(scores), len(x) - n_test, n_test, settings.diabetes_splits)
