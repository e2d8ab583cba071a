"""Held-out scores of the demo: kernel regression beside plain baselines.

Every choice (ridge, bandwidth, C) is made by cross-validation inside the training part. BLAS runs on one
thread here: the matrices are so small that two threads take twice as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import wraps
from itertools import product
from typing import ParamSpec

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from ntkrs._runtime.optional import require
from ntkrs.demo.experiments import Array, Digits, Gram, Index, Settings, gram

P = ParamSpec("P")
Cost = Callable[[Array, Array], float]


@dataclass(frozen=True)
class Score:
    """A method's held-out score, its standard error or deviation, and what the training part chose."""

    method: str
    value: float
    spread: float
    chosen: str


@dataclass(frozen=True)
class Scores:
    """Scores of several methods on the same splits."""

    scores: tuple[Score, ...]
    n_train: int
    n_test: int
    splits: int


def _one_blas_thread(compute: Callable[P, Scores]) -> Callable[P, Scores]:
    @wraps(compute)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> Scores:
        with require("threadpoolctl", "scikit-learn").threadpool_limits(1):
            return compute(*args, **kwargs)

    return wrapper


def kernel_ridge(k: Array, y: Array, train: Index, test: Index, ridge: float) -> Array:
    """Predictions ``mean + k_* (K + r I)^-1 (y - mean)``, ``r = ridge * trace(K) / N``, K the training block.

    Parameters
    ----------
    k : (N, N) array
        Kernel on all samples.
    y : (N,) or (N, O) array
        Targets of all samples; only those of ``train`` are read.
    train, test : integer arrays
        Rows to learn from and rows to predict.
    """
    block = k[np.ix_(train, train)]
    block[np.diag_indices_from(block)] += ridge * np.trace(block) / len(block)
    mean = y[train].mean(axis=0)
    alpha = cho_solve(cho_factor(block, lower=True, overwrite_a=True), y[train] - mean)
    return np.asarray(mean + k[np.ix_(test, train)] @ alpha)


def _misclassified(f: Array, y: Array) -> float:
    return float(np.mean(f.argmax(axis=1) != y.argmax(axis=1)))


def _squared(f: Array, y: Array) -> float:
    return float(np.mean((f - y) ** 2))


def _folds(train: Index, settings: Settings, seed: int) -> list[tuple[Index, Index]]:
    """Rows to learn from and to validate on, all of ``train``, for each fold."""
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
    """Return the (name, Gram, ridge) of least cost over the folds; among equals, the first ridge listed."""

    def validation_cost(choice: tuple[tuple[str, Array], float]) -> float:
        (_, k), ridge = choice
        return sum(cost(kernel_ridge(k, y, learn, rows, ridge), y[rows]) for learn, rows in folds)

    (name, k), ridge = min(product(grams, ridges), key=validation_cost)
    return name, k, ridge


def _rbf_grams(x: Array, train: Index) -> list[tuple[str, Array]]:
    """Gaussian kernels exp(-|x - x'|² / (s m)), m the mean squared distance of training rows, for three s."""
    norms = np.einsum("ij,ij->i", x, x)
    squared = np.maximum(norms[:, None] + norms - 2 * x @ x.T, 0.0)
    mean = squared[np.ix_(train, train)].mean()
    return [(f"bandwidth {s:g}", np.exp(squared / (-s * mean))) for s in (0.1, 0.3, 1.0)]


def _families(x: Array, k: Gram, train: Index) -> Iterator[tuple[str, list[tuple[str, Array]]]]:
    yield "RBF kernel ridge", _rbf_grams(x, train)
    yield "NNGP regression", [("", k.nngp)]
    yield "NTK regression", [("", k.ntk)]


@_one_blas_thread
def classification(data: Digits, k: Gram, settings: Settings, seed: int) -> Scores:
    """Held-out accuracy of five methods on one split; spread is the binomial standard error."""
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
    for name, grams in _families(data.x, k, train):
        label, chosen_gram, r = _select(grams, y, folds, settings.ridges, _misclassified)
        error = _misclassified(kernel_ridge(chosen_gram, y, train, test, r), y[test])
        found.append((name, 1 - error, f"{label} ridge {r:g}".strip()))
    scores = (Score(name, a, float(np.sqrt(a * (1 - a) / len(test))), chosen) for name, a, chosen in found)
    return Scores(tuple(scores), len(train), len(test), 1)


@_one_blas_thread
def regression(settings: Settings, seed: int) -> Scores:
    """Held-out R² on diabetes: mean and standard deviation over random splits, the same for every method."""
    bunch = require("sklearn.datasets", "scikit-learn").load_diabetes()
    linear = require("sklearn.linear_model", "scikit-learn")
    x = np.ascontiguousarray(bunch.data * np.sqrt(len(bunch.data)))  # columns of unit variance
    y, k = bunch.target, gram(x, settings)
    n_test = round(settings.test_size * len(x))
    found: dict[str, list[float]] = {}
    for i in range(settings.diabetes_splits):
        rows = np.random.default_rng([seed, i]).permutation(len(x))
        test, train = rows[:n_test], rows[n_test:]
        variance = float(np.mean((y[test] - y[test].mean()) ** 2))
        model = linear.RidgeCV(alphas=np.logspace(-3, 4, 15)).fit(x[train], y[train])
        found.setdefault("linear ridge", []).append(1 - _squared(model.predict(x[test]), y[test]) / variance)
        folds = _folds(train, settings, seed)
        for name, grams in _families(x, k, train):
            _, chosen, r = _select(grams, y, folds, settings.ridges, _squared)
            error = _squared(kernel_ridge(chosen, y, train, test, r), y[test])
            found.setdefault(name, []).append(1 - error / variance)
    scores = (Score(name, float(np.mean(v)), float(np.std(v)), "per split") for name, v in found.items())
    return Scores(tuple(scores), len(x) - n_test, n_test, settings.diabetes_splits)
