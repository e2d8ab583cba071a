"""Prediction intervals and sets: against refits and their definitions, and by their law on simulated draws."""

import pickle
import re
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import ntkrs
from oracles import conformal as oracle

pytest.importorskip("sklearn", reason="estimators need the extra ntkrs[sklearn]")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from ntkrs.sklearn import NTKClassifier, NTKRegressor, conformal, selection

RNG = np.random.default_rng(0)
X = RNG.standard_normal((29, 3))
Z = RNG.standard_normal((11, 3))
Y = np.sin(2 * X[:, 0]) + 0.3 * RNG.standard_normal(29)
BOTH = np.column_stack([Y, np.cos(X[:, 1]) + 2])
CODES = np.digitize(Y, [-0.4, 0.5])
MIXED = np.resize([0.3, 1.0, 2.5, 3.0, 0.01], 29)
COPIES = np.resize([1.0, 3.0, 2.0], 29)

#: Shares, of which some times 30 are whole numbers; 29/30 is the largest that 29 rows can answer.
COVERAGES = [Fraction(1, 30), Fraction(1, 2), Fraction(7, 10), Fraction(9, 10), Fraction(29, 30)]

#: ε times the condition, which is some 1e3 for a ridge of 0.1, with a wide margin for refits.
ATOL = 1e-11

WEIGHTS = pytest.mark.parametrize("weights", [None, COPIES, MIXED], ids=["equal", "copies", "mixed"])


def refitted(targets, weights=None, *, intercept=True):
    """Refits at the training rows and at Z of a model with one hidden layer and a relative ridge of 0.1."""
    n = len(targets)
    weights = np.ones(n) if weights is None else weights
    kernel = ntkrs.mlp(1, 1, 1, "relu", 2**0.5, 0.5).kernel()
    k = kernel(X[:n])
    r = 0.1 * np.average(k.diagonal(), weights=weights)
    return oracle.refits(k, targets.reshape(n, -1), r, weights, kernel(Z, X[:n]), intercept=intercept)


class TestIntervals:
    """The jackknife+."""

    @pytest.mark.parametrize("coverage", COVERAGES)
    @pytest.mark.parametrize("intercept", [True, False])
    @pytest.mark.parametrize("targets", [Y, BOTH], ids=["one", "two"])
    def test_they_are_order_statistics_of_refits(self, targets, intercept, coverage):
        model = NTKRegressor(1, diag_reg=0.1, fit_intercept=intercept).fit(X, targets)
        own, tested = refitted(targets, intercept=intercept)
        expected = oracle.jackknife_plus(own, tested, targets.reshape(29, -1), coverage)
        found = model.predict_interval(Z, float(coverage))
        assert found.shape == (11, 2, *targets.shape[1:])
        assert np.isfinite(found).all()
        assert_allclose(found.reshape(expected.shape), expected, rtol=0, atol=ATOL)

    @WEIGHTS
    @pytest.mark.parametrize("coverage", [0.31, 0.77, 0.93])
    def test_weights_count_rows(self, coverage, weights):
        model = NTKRegressor(1, diag_reg=0.1).fit(X, BOTH, weights)
        own, tested = refitted(BOTH, weights)
        counts = np.ones(29) if weights is None else weights
        expected = oracle.weighted_jackknife_plus(own, tested, BOTH, counts, coverage)
        # Eigenvectors have entries of √w in a row, so that errors are 1/√0.01 times as large.
        assert_allclose(model.predict_interval(Z, coverage), expected, rtol=0, atol=10 * ATOL)

    def test_whole_weights_are_copies(self):
        rows = np.repeat(np.arange(29), COPIES.astype(int))
        weighted = NTKRegressor((1, 2)).fit(X, Y, COPIES)
        repeated = NTKRegressor((1, 2)).fit(X[rows], Y[rows])
        for coverage in (0.5, 0.9):
            found, expected = weighted.predict_interval(Z, coverage), repeated.predict_interval(Z, coverage)
            assert_allclose(found, expected, rtol=0, atol=1e-9)  # ε times the condition of the chosen ridge

    def test_ranks_are_exact(self):
        coverage = Fraction(14, 25)
        assert float(coverage) * 25 > 14  # by round-off
        own, tested = refitted(Y[:24])
        expected = oracle.jackknife_plus(own, tested, Y[:24, None], coverage)[:, :, 0]
        model = NTKRegressor(1, diag_reg=0.1).fit(X[:24], Y[:24])
        assert_allclose(model.predict_interval(Z, float(coverage)), expected, rtol=0, atol=ATOL)

    def test_rows_of_weight_0_take_no_part(self):
        kept = np.arange(29) < 20
        weighted = NTKRegressor(2).fit(X, Y, kept.astype(float))
        assert_array_equal(weighted.predict_interval(Z), NTKRegressor(2).fit(X[kept], Y[kept]).predict_interval(Z))

    def test_they_are_infinite_where_rows_are_too_few(self):
        found = NTKRegressor(1, diag_reg=0.1).fit(X, Y).predict_interval(Z, 0.967)  # 29/30 is 0.9666…
        assert_array_equal(found, np.tile([-np.inf, np.inf], (11, 1)))

    def test_a_larger_coverage_has_longer_intervals(self):
        model = NTKRegressor().fit(X, BOTH)
        ends = [model.predict_interval(Z, coverage) for coverage in (0.5, 0.7, 0.9, 0.95, 0.99)]
        for shorter, longer in pairwise(ends):
            assert (longer[:, 0] <= shorter[:, 0]).all()
            assert (shorter[:, 1] <= longer[:, 1]).all()

    @pytest.mark.parametrize("exponent", [-1000, -600, 1, 600, 1020])
    def test_targets_of_any_size(self, exponent):
        model, scaled = NTKRegressor(2).fit(X, Y), NTKRegressor(2).fit(X, np.ldexp(Y, exponent))
        assert_array_equal(scaled.predict_interval(Z), np.ldexp(model.predict_interval(Z), exponent))

    def test_blocks_change_nothing_but_round_off(self, monkeypatch):
        model = NTKRegressor(2).fit(X, BOTH)
        whole = model.predict_interval(Z)
        monkeypatch.setattr(conformal, "_BLOCK", 4 * 2 * 29)
        calls = []
        plain = ntkrs.Kernel.__call__
        monkeypatch.setattr(ntkrs.Kernel, "__call__", lambda *args, **kw: calls.append(1) or plain(*args, **kw))
        assert_allclose(model.predict_interval(Z), whole, rtol=0, atol=ATOL)
        assert len(calls) == 3  # of 4, 4 and 3 rows

    def test_they_hold_new_targets(self):
        """Skewed noise that grows with the inputs. Each draw has 30 rows and 40 new targets, at 80 %."""
        rng = np.random.default_rng(1)
        held = []
        for _ in range(150):
            x = rng.uniform(-1, 1, (70, 2))
            y = np.cos(3 * x[:, 0]) + (1 + x[:, 1]) * rng.exponential(size=70)
            ends = NTKRegressor(1, diag_reg=0.1).fit(x[:30], y[:30]).predict_interval(x[30:], 0.8)
            held.append(((ends[:, 0] <= y[30:]) & (y[30:] <= ends[:, 1])).mean())
        # The theorem says 60 %, and stable models have 80 %. The share that one draw holds deviates by some 10 %, of
        # which √(0.8 · 0.2/30) = 7 % come from the training rows and 6 % from the new ones; the mean of 150 by 0.8 %.
        assert np.mean(held) > 0.8 - 4 * 0.008
        assert np.mean(held) < 0.8 + 4 * 0.008 + 1 / 31  # ranks are rounded up by one row at most


class TestSets:
    """Cross-conformal sets of classes."""

    @WEIGHTS
    @pytest.mark.parametrize("coverage", COVERAGES)
    @pytest.mark.parametrize("codes", [CODES, CODES % 2], ids=["three", "two"])
    def test_they_count_the_scores_of_refits(self, codes, coverage, weights):
        model = NTKClassifier(1, diag_reg=0.1).fit(X, np.array(["a", "b", "c"])[codes], weights)
        signs = np.where(codes[:, None] == np.unique(codes), 1.0, -1.0)
        own, tested = refitted(signs, weights)
        counts = np.ones(29) if weights is None else weights
        expected = oracle.cross_conformal(own, tested, codes, [Fraction(w) for w in counts], coverage)
        found = model.predict_set(Z, float(coverage))
        assert found.dtype == bool
        assert_array_equal(found, expected)
        assert coverage < 0.5 or found.any()

    def test_all_classes_where_rows_are_too_few(self):
        assert NTKClassifier(1, diag_reg=0.1).fit(X, CODES).predict_set(Z, 0.967).all()

    def test_a_larger_coverage_has_larger_sets(self):
        model = NTKClassifier().fit(X, CODES)
        sets = [model.predict_set(Z, coverage) for coverage in (0.3, 0.6, 0.8, 0.95)]
        for smaller, larger in pairwise(sets):
            assert (smaller <= larger).all()

    def test_permuting_classes_permutes_columns(self):
        found = NTKClassifier(2).fit(X, CODES).predict_set(Z, 0.8)
        assert_array_equal(NTKClassifier(2).fit(X, 2 - CODES).predict_set(Z, 0.8), found[:, ::-1])

    @pytest.mark.parametrize("classes", [2, 3])
    def test_blocks_change_nothing(self, classes, monkeypatch):
        model = NTKClassifier(2).fit(X, CODES % classes)
        whole = model.predict_set(Z, 0.8)
        monkeypatch.setattr(conformal, "_BLOCK", 1)
        assert_array_equal(model.predict_set(Z, 0.8), whole)

    def test_they_hold_new_classes(self):
        """Three classes that overlap. Each draw has 30 rows and 40 new ones, at 80 %."""
        rng = np.random.default_rng(1)
        held = []
        for _ in range(150):
            codes = rng.integers(0, 3, 70)
            x = rng.standard_normal((70, 2)) + np.column_stack([codes, codes == 1])
            sets = NTKClassifier(1, diag_reg=0.1).fit(x[:30], codes[:30]).predict_set(x[30:], 0.8)
            held.append(sets[np.arange(40), codes[30:]].mean())
        # The same bounds as for intervals.
        assert 0.8 - 4 * 0.008 < np.mean(held) < 0.8 + 4 * 0.008 + 1 / 31


@pytest.mark.parametrize(
    ("estimator", "targets", "method"),
    [(NTKRegressor(), Y, "predict_interval"), (NTKClassifier(), CODES, "predict_set")],
)
class TestBoth:
    """The models without one row, and what is refused."""

    def test_they_are_made_once_and_not_pickled(self, estimator, targets, method, monkeypatch):
        model = clone(estimator).fit(X, targets)
        size = len(pickle.dumps(model))
        found = getattr(model, method)(Z)
        assert len(pickle.dumps(model)) == size
        assert_array_equal(getattr(pickle.loads(pickle.dumps(model)), method)(Z), found)
        monkeypatch.setattr(selection, "decomposed", None)
        assert_array_equal(getattr(model, method)(Z), found)

    def test_a_new_fit_has_new_ones(self, estimator, targets, method):
        model = clone(estimator).fit(X, targets)
        getattr(model, method)(Z)
        found = getattr(model.fit(X[:20], targets[:20]), method)(Z)
        assert_array_equal(found, getattr(clone(estimator).fit(X[:20], targets[:20]), method)(Z))

    def test_parameters_that_change_after_the_fit_change_nothing(self, estimator, targets, method):
        model = clone(estimator).fit(X, targets)
        found = getattr(clone(estimator).fit(X, targets), method)(Z)
        assert_array_equal(getattr(model.set_params(fit_intercept=False, get="nngp"), method)(Z), found)

    @pytest.mark.parametrize("coverage", [0.0, 1.0, -0.5, 90])
    def test_shares(self, estimator, targets, method, coverage):
        message = re.escape(f"coverage is {float(coverage)}, but must lie between 0 and 1")
        with pytest.raises(ValueError, match=message):
            getattr(clone(estimator).fit(X, targets), method)(Z, coverage)

    def test_types(self, estimator, targets, method):
        with pytest.raises(TypeError, match="coverage is '90%'"):
            getattr(clone(estimator).fit(X, targets), method)(Z, "90%")

    def test_inputs(self, estimator, targets, method):
        model = clone(estimator).fit(X, targets)
        with pytest.raises(ValueError, match="2 features"):
            getattr(model, method)(Z[:, :2])
        with pytest.raises(ValueError, match="NaN"):
            getattr(model, method)(np.full((1, 3), np.nan))
        with pytest.raises(NotFittedError):
            getattr(clone(estimator), method)(Z)

    def test_beyond_memory(self, estimator, targets, method, monkeypatch):
        model = clone(estimator).fit(X, targets)
        monkeypatch.setattr(selection.memory, "available", lambda: 1)
        monkeypatch.setattr(selection.memory, "_SMALL", 0)
        with pytest.raises(MemoryError, match=r"leave-one-out of 29 samples needs 33640 bytes.*fit fewer samples"):
            getattr(model, method)(Z)


def test_a_single_row_cannot_be_left_out():
    model = NTKRegressor(1, diag_reg=0.1).fit(X[:1], Y[:1])
    with pytest.raises(ValueError, match="n_samples=1: 2 are needed to leave one out"):
        model.predict_interval(Z)
