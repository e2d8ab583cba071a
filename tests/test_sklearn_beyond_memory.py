"""Estimators of more samples than a factorization has room for: ``ntkrs.solve`` fits them, or they are refused."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("sklearn", reason="estimators need the extra ntkrs[sklearn]")

from sklearn.base import clone

from ntkrs import Relu
from ntkrs.layers import Conv, Dense, Flatten, Sequential
from ntkrs.sklearn import (
    NTKClassifier,
    NTKGaussianProcessRegressor,
    NTKRegressor,
    gaussian_process,
    iterated,
    selection,
)
from ntkrs.sklearn.temperature import fitted

N = 150
RNG = np.random.default_rng(3)
X = RNG.standard_normal((N, 4))
Z = RNG.standard_normal((9, 4))
Y = 5 + np.sin(2 * X[:, 0]) + X[:, 1] + 0.3 * RNG.standard_normal(N)
BOTH = np.column_stack([Y, 1e3 * np.cos(X[:, 2])])
BINARY = np.where(Y > 5, "high", "low")
THREE = np.digitize(Y, [4.5, 5.5])
UNEQUAL = RNG.uniform(0.2, 3.0, N)
FIXED = {"sigma_w_bounds": "fixed", "sigma_b_bounds": "fixed", "noise_bounds": "fixed"}
SINGLE = {"depth": 2, "diag_reg": 1e-3}

#: ``ntkrs.solve`` ends at a residual of 1e-6. With a ridge of 1e-3 and λ_max of some 150 times the mean diagonal, a
#: coefficient is off by the condition number of 2e5 at worst, but predictions by the product with K again: some 1e-6.
CLOSE = 1e-5

#: Bytes in which 5 N² numbers do not fit: the kernel and its factor fit in the first, and only vectors in the second.
STORED, OPERATOR = 16 * N**2, 2 * N**2


@pytest.fixture(params=[STORED, OPERATOR], ids=["stored", "operator"])
def little_memory(request, monkeypatch):
    """Leave memory for half of the kernel, or for none of it."""
    monkeypatch.setattr(selection.memory, "available", lambda: request.param)
    monkeypatch.setattr(selection.memory, "_SMALL", 0)
    return request.param


@pytest.mark.usefixtures("little_memory")
class TestRidge:
    """One depth and one number as ridge."""

    @pytest.mark.parametrize("options", [{}, {"fit_intercept": False}, {"get": "nngp", "activation": "erf"}])
    @pytest.mark.parametrize("weights", [None, np.full(N, 2.5), UNEQUAL], ids=["plain", "equal", "unequal"])
    @pytest.mark.parametrize("targets", [Y, BOTH], ids=["one", "two"])
    def test_predictions_are_those_in_memory(self, options, weights, targets, monkeypatch):
        model = NTKRegressor(**SINGLE, **options).fit(X, targets, weights)
        monkeypatch.undo()
        dense = NTKRegressor(**SINGLE, **options).fit(X, targets, weights)
        assert model.solution_.converged
        assert not hasattr(dense, "solution_")
        assert_array_equal(model.X_fit_, dense.X_fit_)
        assert_allclose(model.intercept_, dense.intercept_, rtol=1e-13)  # the mean of N numbers
        spread = np.ptp(targets, axis=0)
        assert (np.abs(model.predict(Z) - dense.predict(Z)) <= CLOSE * spread).all()

    def test_the_kernel_is_stored_where_it_fits(self, little_memory, monkeypatch):
        made = []
        whole = iterated.gram
        monkeypatch.setattr(selection, "choose", None)
        monkeypatch.setattr(iterated, "gram", lambda *args, **kw: made.append(1) or whole(*args, **kw))
        model = NTKRegressor(**SINGLE).fit(X, Y)
        assert len(made) == (little_memory == STORED)
        assert model.solution_.method == ("cholesky" if little_memory == STORED else "pcg")

    def test_rows_of_weight_0_take_no_part(self):
        weights = (np.arange(N) < N - 20).astype(float)
        model = NTKRegressor(**SINGLE).fit(X, Y, weights)
        assert_allclose(model.predict(Z), NTKRegressor(**SINGLE).fit(X[:-20], Y[:-20]).predict(Z), rtol=1e-12)

    def test_feature_scales_are_learned(self, monkeypatch):
        model = NTKRegressor(**SINGLE, feature_scales="agop").fit(X, Y)
        monkeypatch.undo()
        dense = NTKRegressor(**SINGLE, feature_scales="agop").fit(X, Y)
        assert_allclose(model.feature_scales_, dense.feature_scales_, rtol=CLOSE)

    def test_images_are_stored_where_they_fit(self, little_memory, monkeypatch):
        arch = Sequential(Conv(1, (2, 2)), Relu(), Flatten(), Dense(1))
        options = {"architecture": arch, "input_shape": (2, 2, 1), "diag_reg": 0.1}
        model = NTKRegressor(**options).fit(X, Y)
        assert model.solution_.method == ("cholesky" if little_memory == STORED else "pcg")
        monkeypatch.undo()
        assert_allclose(model.predict(Z), NTKRegressor(**options).fit(X, Y).predict(Z), rtol=CLOSE)

    def test_it_is_pickled(self):
        model = NTKRegressor(**SINGLE).fit(X, Y)
        assert_array_equal(pickle.loads(pickle.dumps(model)).predict(Z), model.predict(Z))


@pytest.mark.usefixtures("little_memory")
class TestClassifier:
    """The same for classes, with a temperature from a tenth of the rows."""

    @pytest.mark.parametrize("labels", [BINARY, THREE], ids=["two", "three"])
    @pytest.mark.parametrize("weights", [None, UNEQUAL], ids=["plain", "weighted"])
    def test_decisions_are_those_in_memory(self, labels, weights, monkeypatch):
        model = NTKClassifier(**SINGLE).fit(X, labels, weights)
        monkeypatch.undo()
        dense = NTKClassifier(**SINGLE).fit(X, labels, weights)
        assert_allclose(model.decision_function(Z), dense.decision_function(Z), atol=2 * CLOSE)  # labels are ±1
        assert_array_equal(model.predict(Z), dense.predict(Z))

    @pytest.mark.parametrize("labels", [BINARY, THREE], ids=["two", "three"])
    def test_the_temperature_is_that_of_rows_held_out(self, labels, monkeypatch):
        model = NTKClassifier(**SINGLE).fit(X, labels)
        monkeypatch.undo()
        rows = iterated.held_out(N)
        assert rows.sum() == N // 10
        decisions = NTKClassifier(**SINGLE).fit(X[~rows], labels[~rows]).decision_function(X[rows])
        codes = np.unique(labels, return_inverse=True)[1]
        assert_allclose(model.temperature_, fitted(decisions, codes[rows], np.ones(rows.sum())), rtol=1e-4)
        assert_allclose(model.predict_proba(Z).sum(axis=1), 1, rtol=1e-14)

    def test_two_rows_hold_one_out(self):
        assert iterated.held_out(2).sum() == 1


@pytest.mark.usefixtures("little_memory")
class TestGaussianProcess:
    """The mean of a process with nothing to learn."""

    @pytest.mark.parametrize("posterior", ["nngp", "ntk", "ntkgp"])
    @pytest.mark.parametrize("targets", [Y, BOTH], ids=["one", "two"])
    def test_means_are_those_in_memory(self, posterior, targets, monkeypatch):
        model = NTKGaussianProcessRegressor(1, posterior=posterior, **FIXED).fit(X, targets)
        monkeypatch.undo()
        dense = NTKGaussianProcessRegressor(1, posterior=posterior, **FIXED).fit(X, targets)
        assert model.solution_.converged
        assert_array_equal(model.theta_, dense.theta_)
        assert (np.abs(model.predict(Z) - dense.predict(Z)) <= CLOSE * np.ptp(targets, axis=0)).all()

    def test_factors_of_features_are_applied(self, monkeypatch):
        factors = [1.0, 0.5, 0.0, 2.0]
        model = NTKGaussianProcessRegressor(1, feature_scales=factors, **FIXED).fit(X, Y)
        monkeypatch.undo()
        dense = NTKGaussianProcessRegressor(1, **FIXED).fit(X * factors, Y)
        assert_allclose(model.predict(Z), dense.predict(Z * factors), rtol=CLOSE)

    @pytest.mark.parametrize(
        "options", [{}, {**FIXED, "depth": (1, 2)}, {**FIXED, "feature_scales": "learn"}, {"sigma_w_bounds": "fixed"}]
    )
    def test_learning_is_refused_before_work(self, options, monkeypatch):
        monkeypatch.setattr(gaussian_process, "learned", None)
        with pytest.raises(
            MemoryError, match=r"150 samples needs .*Pass one depth, and 'fixed' as all bounds.*Nystroem"
        ):
            NTKGaussianProcessRegressor(**options).fit(X, Y)

    def test_all_but_the_mean_is_refused(self, monkeypatch):
        model = NTKGaussianProcessRegressor(1, **FIXED)
        with monkeypatch.context() as patch:
            patch.setattr(selection.memory, "available", lambda: None)
            assert model.fit(X, Y).log_marginal_likelihood_value_ < 0
        model.fit(X, Y)
        for work in (
            lambda: model.predict(Z, return_std=True),
            lambda: model.predict(Z, return_cov=True),
            lambda: model.sample_y(Z),
        ):
            with pytest.raises(MemoryError, match=r"kernel of 150 samples.* only means are known"):
                work()
        with pytest.raises(MemoryError, match="the evidence of 150 samples needs"):
            model.log_marginal_likelihood()
        assert not hasattr(model, "log_marginal_likelihood_value_")  # that of the first fit is gone


@pytest.mark.usefixtures("little_memory")
class TestRefusals:
    """A choice, and everything that needs the models without one row."""

    @pytest.mark.parametrize("options", [{}, {"depth": (1, 2), "diag_reg": 0.1}, {"depth": 1, "diag_reg": [0.1, 1.0]}])
    @pytest.mark.parametrize("estimator", [NTKRegressor, NTKClassifier])
    def test_a_choice_is_refused_before_work(self, estimator, options, monkeypatch):
        monkeypatch.setattr(selection, "_kernels", None)
        with pytest.raises(MemoryError, match=r"150 samples needs .*Pass one depth and a number as diag_reg.*Nystroem"):
            estimator(**options).fit(X, BINARY if estimator is NTKClassifier else Y)

    def test_intervals_and_sets(self):
        with pytest.raises(MemoryError, match=r"leave-one-out of 150 samples needs .*fit fewer samples"):
            NTKRegressor(**SINGLE).fit(X, Y).predict_interval(Z)
        with pytest.raises(MemoryError, match=r"leave-one-out of 150 samples needs .*fit fewer samples"):
            NTKClassifier(**SINGLE).fit(X, BINARY).predict_set(Z)

    @pytest.mark.parametrize(
        ("estimator", "name"),
        [
            (NTKRegressor, "loo_error_"),
            (NTKRegressor, "loo_prediction_"),
            (NTKClassifier, "loo_error_"),
            (NTKClassifier, "loo_decision_"),
        ],
    )
    def test_results_of_leave_one_out_are_absent(self, estimator, name, monkeypatch):
        labels = BINARY if estimator is NTKClassifier else Y
        model = estimator(**SINGLE)
        with monkeypatch.context() as patch:
            patch.setattr(selection.memory, "available", lambda: None)
            assert hasattr(model.fit(X, labels), name)
        model.fit(X, labels)  # anew, and those of the first fit are gone
        assert not hasattr(model, name)
        with pytest.raises(AttributeError, match=rf"{name} needs an eigendecomposition.* 150 samples: ntkrs.solve"):
            getattr(model, name)
        with pytest.raises(AttributeError, match="no attribute 'loo_else_'"):
            _ = model.loo_else_
        assert not hasattr(clone(model), name)

    def test_a_singular_kernel_without_a_ridge(self):
        rows = np.tile(X[:20], (8, 1))[:N]
        with pytest.raises(np.linalg.LinAlgError, match="Raise diag_reg"):
            NTKRegressor(2, diag_reg=0.0).fit(rows, Y)
