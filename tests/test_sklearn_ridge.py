"""NTKRegressor and NTKClassifier: the laws of scikit-learn, of leave-one-out, and of the chosen model."""

import pickle
import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

import ntkrs
from ntkrs import Dense, Erf, Relu, Sequential, mlp

pytest.importorskip("sklearn", reason="estimators need the extra ntkrs[sklearn]")

from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, LeaveOneOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from ntkrs.sklearn import NTKClassifier, NTKRegressor, selection, temperature

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 4))
SPHERE = X / np.linalg.norm(X, axis=1, keepdims=True)
Z = RNG.standard_normal((9, 4))
Y = np.sin(2 * X[:, 0]) + X[:, 1] + 0.3 * RNG.standard_normal(40)
BOTH = np.column_stack([Y, np.cos(X[:, 2])])
LABELS = np.where(Y > 0.8, "high", np.where(Y < -0.3, "low", "middle"))
BINARY = np.where(Y > 0, "yes", "no")


@parametrize_with_checks([NTKRegressor(), NTKClassifier(), NTKRegressor(feature_scales="agop")])
def test_it_is_an_estimator_of_scikit_learn(estimator, check):
    check(estimator)


class TestRegression:
    """The chosen model and its predictions."""

    def test_predictions_are_those_of_the_equation(self):
        model = NTKRegressor(2, activation="erf", sigma_b=0.3, diag_reg=0.01, get="nngp").fit(X, BOTH)
        kernel = mlp(2, 1, 1, "erf", 2**0.5, 0.3).kernel()
        K = kernel(X, get="nngp")  # noqa: N806
        C = K + 0.01 * np.trace(K) / 40 * np.eye(40)  # noqa: N806
        mean = BOTH.mean(axis=0)
        expected = mean + kernel(Z, X, get="nngp") @ np.linalg.solve(C, BOTH - mean)
        assert_allclose(model.predict(Z), expected, rtol=0, atol=1e-12)  # ε times the condition, about 1e3
        assert_array_equal(model.intercept_, mean)
        assert (model.depth_, model.diag_reg_, model.kernel_) == (2, 0.01, kernel)

    def test_the_least_error_is_chosen(self):
        model = NTKRegressor((3, 1, 2), diag_reg=(1e-4, 1e-2, 1.0)).fit(X, Y)
        assert model.loo_error_.shape == (3, 3)
        for row, depth in enumerate((3, 1, 2)):
            for column, ridge in enumerate((1e-4, 1e-2, 1.0)):
                one = NTKRegressor(depth, diag_reg=ridge).fit(X, Y)
                error = np.mean((one.loo_prediction_ - Y) ** 2)
                assert_allclose(model.loo_error_[row, column], error, rtol=1e-12)
        at = np.unravel_index(model.loo_error_.argmin(), (3, 3))
        assert (model.depth_, model.diag_reg_) == ((3, 1, 2)[at[0]], (1e-4, 1e-2, 1.0)[at[1]])
        one = NTKRegressor(model.depth_, diag_reg=model.diag_reg_).fit(X, Y)
        assert_array_equal(model.predict(Z), one.predict(Z))

    def test_auto_is_what_the_docstring_says(self):
        assert_array_equal(NTKRegressor().fit(X, Y).loo_error_.shape, (3, 21))
        explicit = NTKRegressor(diag_reg=np.logspace(-8, 2, 21)).fit(X, Y)
        assert_array_equal(explicit.loo_error_, NTKRegressor().fit(X, Y).loo_error_)

    def test_of_equal_errors_the_larger_ridge_and_the_smaller_depth_win(self):
        model = NTKRegressor((3, 1, 2)).fit(X, np.full(40, 2.5))
        assert (model.depth_, model.diag_reg_) == (1, 100.0)
        assert_array_equal(model.predict(Z), np.full(9, 2.5))

    @pytest.mark.parametrize("targets", [Y, BOTH], ids=["one", "two"])
    @pytest.mark.parametrize("intercept", [True, False])
    def test_left_out_predictions_are_those_of_refits(self, targets, intercept):
        # On a sphere the diagonal is constant, so that a relative ridge is an absolute one.
        model = NTKRegressor(fit_intercept=intercept).fit(SPHERE, targets)
        one = NTKRegressor(model.depth_, diag_reg=model.diag_reg_, fit_intercept=intercept)
        refits = cross_val_predict(one, SPHERE, targets, cv=LeaveOneOut())
        assert_allclose(model.loo_prediction_, refits, rtol=0, atol=1e-10)  # ε times the condition, below 1e5

    def test_twice_the_targets_are_twice_the_predictions(self):
        model, double = NTKRegressor().fit(X, Y), NTKRegressor().fit(X, 2 * Y)
        assert_array_equal(double.predict(Z), 2 * model.predict(Z))
        assert_array_equal(double.loo_prediction_, 2 * model.loo_prediction_)
        assert_array_equal(double.loo_error_, 4 * model.loo_error_)

    @pytest.mark.parametrize("exponent", [-600, 600])
    def test_targets_of_any_size(self, exponent):
        model, scaled = NTKRegressor().fit(X, Y), NTKRegressor().fit(X, np.ldexp(Y, exponent))
        assert_array_equal(scaled.predict(Z), np.ldexp(model.predict(Z), exponent))

    def test_a_prediction_does_not_depend_on_other_rows(self):
        model = NTKRegressor().fit(X, Y)
        assert_array_equal(model.predict(Z), [model.predict(row[None])[0] for row in Z])
        assert_array_equal(model.predict(Z[::-1]), model.predict(Z)[::-1])

    def test_whole_weights_are_copies(self):
        weights = RNG.integers(0, 4, 40)
        copies = np.repeat(np.arange(40), weights)
        weighted, repeated = NTKRegressor().fit(X, Y, weights), NTKRegressor().fit(X[copies], Y[copies])
        assert (weighted.depth_, weighted.diag_reg_) == (repeated.depth_, repeated.diag_reg_)
        # ε over the ridge, 1e-8 at least; the errors of small ridges are larger than the targets.
        assert_allclose(weighted.loo_error_, repeated.loo_error_, rtol=1e-7)
        assert_allclose(weighted.predict(Z), repeated.predict(Z), rtol=0, atol=1e-10)
        assert_allclose(weighted.loo_prediction_[copies], repeated.loo_prediction_, rtol=0, atol=1e-10)

    def test_rows_of_weight_0_are_predicted_by_the_others(self):
        kept = np.arange(40) < 30
        model = NTKRegressor().fit(X, Y, kept.astype(float))
        assert_array_equal(model.X_fit_, X[kept])
        assert_array_equal(model.loo_prediction_[~kept], model.predict(X[~kept]))
        assert_array_equal(model.predict(Z), NTKRegressor().fit(X[kept], Y[kept]).predict(Z))

    def test_an_architecture_stands_for_depth_and_scales(self):
        arch = Sequential(Dense(1, 1.5, 0.1, trainable=False), Erf(), Dense(1, 1.0, 0.2), Relu(), Dense(1, 0.5, 0.0))
        options = {"activation": ["erf", "relu"], "sigma_w": [1.5, 1.0, 0.5], "sigma_b": [0.1, 0.2, 0.0], "frozen": 1}
        model, same = NTKRegressor(architecture=arch).fit(X, Y), NTKRegressor(2, **options).fit(X, Y)
        assert model.depth_ == 2
        assert model.kernel_ == arch.kernel()
        assert_array_equal(model.predict(Z), same.predict(Z))

    def test_a_single_sample_is_learned_by_a_fixed_model(self):
        model = NTKRegressor(1, diag_reg=0.0).fit(X[:1], Y[:1])
        assert_array_equal(model.predict(Z), np.full(9, Y[0]))
        assert not hasattr(model, "loo_prediction_")
        assert np.isnan(model.loo_error_).all()

    def test_training_inputs_may_change_later(self):
        x = X.copy()
        model = NTKRegressor(1, diag_reg=0.1).fit(x, Y)
        before = model.predict(Z)
        x[:] = 0
        assert_array_equal(model.predict(Z), before)

    def test_it_predicts_diabetes(self):
        data, targets = load_diabetes(return_X_y=True)
        model = make_pipeline(StandardScaler(), NTKRegressor()).fit(data[:300], targets[:300])
        assert model.score(data[300:], targets[300:]) > 0.5  # linear regression has 0.51
        held_out = np.mean((model.predict(data[300:]) - targets[300:]) ** 2)
        assert 0.7 < model[-1].loo_error_.min() / held_out < 1.3  # 142 squares have a mean within some 10 %


class TestMemory:
    """Large data."""

    def test_kernels_are_made_one_after_the_other_where_they_are_large(self, monkeypatch):
        together = NTKRegressor().fit(X, Y)
        calls = []
        whole = ntkrs.Kernel.__call__
        monkeypatch.setattr(ntkrs.Kernel, "__call__", lambda *args, **kw: calls.append(1) or whole(*args, **kw))
        monkeypatch.setattr(selection.memory, "available", lambda: 4 * 8 * 4 * 40**2 - 1)
        separate = NTKRegressor().fit(X, Y)
        assert len(calls) == 3
        assert_array_equal(separate.predict(Z), together.predict(Z))
        assert_array_equal(separate.loo_error_, together.loo_error_)

    def test_beyond_memory_the_way_is_told_before_work(self, monkeypatch):
        monkeypatch.setattr(selection.memory, "available", lambda: 1)
        monkeypatch.setattr(selection.memory, "_SMALL", 0)
        monkeypatch.setattr(selection, "_kernels", None)
        with pytest.raises(MemoryError, match=r"40 samples needs 64000 bytes.*Nystroem.*LinearSVC"):
            NTKRegressor().fit(X, Y)


class TestClassification:
    """Decisions, classes and probabilities."""

    @pytest.mark.parametrize("labels", [LABELS, BINARY], ids=["three", "two"])
    def test_it_is_regression_on_signs(self, labels):
        model = NTKClassifier().fit(X, labels)
        signs = np.where(labels[:, None] == np.unique(labels), 1.0, -1.0)
        regression = NTKRegressor().fit(X, signs[:, 1] if signs.shape[1] == 2 else signs)
        decisions = model.decision_function(Z)
        assert_array_equal(decisions, regression.predict(Z))
        assert_array_equal(model.loo_decision_, regression.loo_prediction_)
        codes = decisions.argmax(axis=1) if decisions.ndim == 2 else (decisions > 0).astype(int)
        assert_array_equal(model.predict(Z), np.unique(labels)[codes])
        assert_array_equal(model.predict_proba(Z).argmax(axis=1), codes)

    @pytest.mark.parametrize("labels", [LABELS, BINARY], ids=["three", "two"])
    def test_the_temperature_has_the_least_log_loss(self, labels):
        model = NTKClassifier().fit(X, labels)
        columns = model.loo_decision_
        columns = columns if columns.ndim == 2 else np.column_stack([np.zeros(40), columns])
        rest = 1 / 42
        targets = np.where(labels[:, None] == model.classes_, 1 - rest, rest / (columns.shape[1] - 1))
        found = minimize_scalar(
            lambda log_t: -(targets * log_softmax(columns / np.exp(log_t), axis=1)).sum(), bounds=(-5, 5)
        )
        assert_allclose(np.log(model.temperature_), found.x, rtol=0, atol=1e-4)  # of a search in a flat minimum

    def test_a_temperature_has_bounds(self):
        codes = np.arange(40) % 2
        assert temperature.fitted(np.where(codes == 1, -1.0, 1.0), codes, np.ones(40)) == temperature.MOST
        assert temperature.fitted(np.where(codes == 1, 1.0, -1.0) * 1e-6, codes, np.ones(40)) == temperature.LEAST

    def test_probabilities_are_calibrated(self):
        data, labels = load_breast_cancer(return_X_y=True)
        model = make_pipeline(StandardScaler(), NTKClassifier()).fit(data[::3], labels[::3])
        assert model.score(data[1::3], labels[1::3]) > 0.95
        probabilities = model.predict_proba(data[1::3])
        assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-15)
        assert log_loss(labels[1::3], probabilities) < 0.12

    def test_permuting_classes_permutes_columns(self):
        names = {"high": "b", "low": "c", "middle": "a"}
        model = NTKClassifier().fit(X, LABELS)
        renamed = NTKClassifier().fit(X, np.array([names[label] for label in LABELS]))
        assert list(model.classes_) == ["high", "low", "middle"]
        assert_allclose(renamed.decision_function(Z)[:, [1, 2, 0]], model.decision_function(Z), rtol=0, atol=1e-13)
        assert_array_equal([names[label] for label in model.predict(Z)], renamed.predict(Z))

    @pytest.mark.parametrize("classes", [np.array([False, True]), np.array([7, 3]), np.array(["b", "a"], dtype=object)])
    def test_labels_of_any_kind(self, classes):
        labels = classes[(Y > 0).astype(int)]
        model = NTKClassifier().fit(X, labels)
        assert_array_equal(model.classes_, np.unique(classes))
        assert np.mean(model.predict(X) == labels) > 0.9

    def test_whole_weights_are_copies(self):
        weights = RNG.integers(0, 4, 40)
        copies = np.repeat(np.arange(40), weights)
        weighted, repeated = NTKClassifier().fit(X, LABELS, weights), NTKClassifier().fit(X[copies], LABELS[copies])
        assert_allclose(weighted.predict_proba(Z), repeated.predict_proba(Z), rtol=0, atol=1e-10)

    def test_a_class_of_weight_0_is_no_class(self):
        model = NTKClassifier().fit(X, LABELS, LABELS != "low")
        assert list(model.classes_) == ["high", "middle"]
        assert model.loo_decision_.shape == (40,)


class TestErrors:
    """Each names the parameter, what came, and what is needed."""

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"diag_reg": -1.0}, "diag_reg is -1.0, but must be >= 0"),
            ({"diag_reg": "best"}, "diag_reg is 'best', but must be 'auto', a number >= 0, or several"),
            ({"diag_reg": (0.1, -1.0)}, "diag_reg is (0.1, -1.0), but must be >= 0"),
            ({"diag_reg": ()}, "diag_reg is (), but must be 'auto', a number >= 0, or several"),
            ({"depth": ()}, "depth is (), but at least one number of hidden layers is needed"),
            ({"depth": -1}, "depth is -1"),
            ({"frozen": 2}, "frozen is 2, but depth 1 has 2 dense layers, of which at most 1 may be frozen."),
            ({"sigma_w": [1.0, 2.0, 3.0]}, "sigma_w has 3 entries, but depth 1 has 2 dense layers: give 2, or one"),
            ({"sigma_w": 0.0}, "sigma_w is 0.0, but must be positive"),
            ({"get": "both"}, "get is 'both', but must be 'ntk' or 'nngp'"),
        ],
    )
    @pytest.mark.parametrize("estimator", [NTKRegressor, NTKClassifier])
    def test_parameters(self, estimator, options, message):
        with pytest.raises(ValueError, match=re.escape(message)):
            estimator(**options).fit(X, BINARY if estimator is NTKClassifier else Y)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"depth": 1.5}, "depth is 1.5, but an integer is needed"),
            ({"fit_intercept": "yes"}, "fit_intercept is 'yes', but True or False is needed"),
            ({"architecture": mlp(1, 1, 1).kernel()}, "but a Sequential is needed"),
        ],
    )
    def test_types(self, options, message):
        with pytest.raises(TypeError, match=re.escape(message)):
            NTKRegressor(**options).fit(X, Y)

    def test_one_sample_cannot_be_left_out(self):
        with pytest.raises(ValueError, match="n_samples=1: 2 are needed to leave one out; pass one depth and a number"):
            NTKRegressor().fit(X[:1], Y[:1])

    def test_one_class_is_not_enough(self):
        with pytest.raises(ValueError, match=r"y has 1 class \('a'\), but a classifier needs at least 2 classes"):
            NTKClassifier().fit(X, np.full(40, "a"))

    def test_weights(self):
        with pytest.raises(ValueError, match=r"sample_weight holds -1\.0 at 1"):
            NTKRegressor().fit(X[:2], Y[:2], [1.0, -1.0])
        with pytest.raises(ValueError, match="zero"):  # recent versions of scikit-learn say it themselves
            NTKRegressor().fit(X, Y, np.zeros(40))


def test_estimators_are_searched_cloned_and_pickled():
    search = GridSearchCV(NTKRegressor(), {"sigma_b": [0.1, 0.5], "activation": ["relu", Erf()]}, cv=3).fit(X, Y)
    best = search.best_estimator_
    assert_array_equal(pickle.loads(pickle.dumps(best)).predict(Z), best.predict(Z))
    assert_array_equal(clone(best).fit(X, Y).predict(Z), best.predict(Z))
