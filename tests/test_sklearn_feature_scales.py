"""Factors of the features of NTKRegressor: given ones, and those learned by one step of the average gradient."""

import pickle
import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("sklearn", reason="estimators need the extra ntkrs[sklearn]")

from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import scale

from ntkrs import mlp
from ntkrs.sklearn import NTKGaussianProcessRegressor, NTKRegressor

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 4))
Z = RNG.standard_normal((9, 4))
Y = np.sin(2 * X[:, 0]) + X[:, 1] + 0.3 * RNG.standard_normal(40)
BOTH = np.column_stack([Y, np.cos(X[:, 2])])
FACTORS = np.array([2.0, 0.3, 0.0, 1.1])


def slopes(model, x):
    """The mean square of the derivatives of all outputs by each feature, from central differences."""
    step = 1e-4
    changes = [(model.predict(x + shift) - model.predict(x - shift)) / (2 * step) for shift in step * np.eye(4)]
    return np.array([(change.reshape(len(x), -1) ** 2).sum(axis=1).mean() for change in changes])


class TestGiven:
    """An array multiplies the features, and None leaves them."""

    @pytest.mark.parametrize("targets", [Y, BOTH], ids=["one", "two"])
    def test_it_is_a_fit_of_the_products(self, targets):
        model = NTKRegressor(feature_scales=list(FACTORS)).fit(X, targets)
        same = NTKRegressor().fit(X * FACTORS, targets)
        assert_array_equal(model.feature_scales_, FACTORS)
        assert_array_equal(model.X_fit_, X * FACTORS)
        assert_array_equal(model.loo_prediction_, same.loo_prediction_)
        assert_array_equal(model.predict(Z), same.predict(Z * FACTORS))
        assert_array_equal(model.predict_interval(Z), same.predict_interval(Z * FACTORS))

    def test_rows_of_weight_0(self):
        weights = (np.arange(40) < 30).astype(float)
        model = NTKRegressor(2, feature_scales=FACTORS).fit(X, Y, weights)
        assert_array_equal(model.loo_prediction_[30:], model.predict(X[30:]))

    def test_without_them_they_are_1(self):
        model = NTKRegressor().fit(X, Y)
        assert_array_equal(model.feature_scales_, np.ones(4))
        assert_array_equal(model.X_fit_, X)

    def test_the_array_may_change_later(self):
        factors = FACTORS.copy()
        model = NTKRegressor(2, feature_scales=factors).fit(X, Y)
        before = model.predict(Z)
        factors[:] = 0
        assert_array_equal(model.predict(Z), before)


class TestLearned:
    """One step of the average gradient outer product, damped."""

    @pytest.mark.parametrize("targets", [Y, BOTH], ids=["one", "two"])
    @pytest.mark.parametrize("get", ["ntk", "nngp"])
    def test_they_are_fourth_roots_of_mean_squares_of_derivatives(self, targets, get):
        first = NTKRegressor(activation="erf", get=get).fit(X, targets)
        roots = slopes(first, X) ** 0.25
        model = NTKRegressor(activation="erf", get=get, feature_scales="agop").fit(X, targets)
        # Differences are good to step² times third derivatives, and ε/step.
        assert_allclose(model.feature_scales_, roots / roots.mean(), rtol=1e-6)
        anew = NTKRegressor(activation="erf", get=get, feature_scales=model.feature_scales_).fit(X, targets)
        assert (model.depth_, model.diag_reg_) == (anew.depth_, anew.diag_reg_)
        assert_array_equal(model.predict(Z), anew.predict(Z))
        assert_array_equal(model.loo_error_, anew.loo_error_)

    @pytest.mark.parametrize("exponent", [-600, -1, 600])
    def test_targets_of_any_size(self, exponent):
        model = NTKRegressor(feature_scales="agop").fit(X, Y)
        scaled = NTKRegressor(feature_scales="agop").fit(X, np.ldexp(Y, exponent))
        assert_array_equal(scaled.feature_scales_, model.feature_scales_)
        assert_array_equal(scaled.predict(Z), np.ldexp(model.predict(Z), exponent))

    @pytest.mark.parametrize("exponent", [-500, 500])
    def test_inputs_of_any_size(self, exponent):
        """Without biases the kernel of c x is that of x times c², and the ridge is relative."""
        model = NTKRegressor(sigma_b=0.0, feature_scales="agop").fit(X, Y)
        scaled = NTKRegressor(sigma_b=0.0, feature_scales="agop").fit(np.ldexp(X, exponent), Y)
        assert_allclose(scaled.feature_scales_, model.feature_scales_, rtol=1e-14)
        assert_allclose(scaled.predict(np.ldexp(Z, exponent)), model.predict(Z), rtol=1e-12)

    def test_many_large_rows_of_one_sign(self):
        """The gradient adds up to hundreds of times the inputs, and its square is beyond the range of numbers."""
        x = np.abs(np.random.default_rng(1).standard_normal((400, 4)))
        options = {"sigma_b": 0.0, "diag_reg": 100.0, "fit_intercept": False, "feature_scales": "agop"}
        model, scaled = (NTKRegressor(1, **options).fit(np.ldexp(x, exponent), np.ones(400)) for exponent in (0, 508))
        assert_allclose(scaled.feature_scales_, model.feature_scales_, rtol=1e-14)

    def test_whole_weights_are_copies(self):
        weights = RNG.integers(0, 4, 40)
        rows = np.repeat(np.arange(40), weights)
        weighted = NTKRegressor(feature_scales="agop").fit(X, Y, weights)
        repeated = NTKRegressor(feature_scales="agop").fit(X[rows], Y[rows])
        assert_allclose(weighted.feature_scales_, repeated.feature_scales_, rtol=1e-10)
        assert_allclose(weighted.predict(Z), repeated.predict(Z), rtol=0, atol=1e-9)

    def test_a_constant_model_has_none(self):
        model = NTKRegressor(feature_scales="agop").fit(X, np.full(40, 2.5))
        assert_array_equal(model.feature_scales_, np.ones(4))
        assert_array_equal(NTKRegressor(1, diag_reg=0.1, feature_scales="agop").fit(X[:1], Y[:1]).predict(Z), Y[0])

    def test_a_feature_that_never_changes_is_left_out(self):
        x = np.column_stack([X, np.zeros(40)])
        model = NTKRegressor(activation="erf", feature_scales="agop").fit(x, Y)
        assert model.feature_scales_[4] < 1e-3 * model.feature_scales_[0]

    def test_architectures(self):
        arch = mlp(2, 1, 1, "erf", 1.2, 0.2)
        model = NTKRegressor(architecture=arch, feature_scales="agop").fit(X, Y)
        assert model.kernel_ == arch.kernel()
        assert model.feature_scales_[0] > model.feature_scales_[2]

    def test_noise_columns_count_less(self):
        data, targets = load_diabetes(return_X_y=True)
        noisy = scale(np.column_stack([data, np.random.default_rng(0).standard_normal((len(data), 15))]))
        plain = NTKRegressor().fit(noisy[:300], targets[:300])
        learned = NTKRegressor(feature_scales="agop").fit(noisy[:300], targets[:300])
        assert learned.feature_scales_[[2, 8]].min() > learned.feature_scales_[10:].max()  # body mass, triglycerides
        assert learned.score(noisy[300:], targets[300:]) > plain.score(noisy[300:], targets[300:])


class TestErrors:
    """Each names the parameter, what came, and what is needed."""

    @pytest.mark.parametrize(
        ("factors", "message"),
        [
            ("learn", "feature_scales is 'learn', but must be None, 'agop', or a number per feature"),
            ([1.0, 2.0], "feature_scales has shape (2,), but (4,) is needed to match X: a number for each feature"),
            (2.0, "feature_scales has shape (), but (4,) is needed to match X"),
            ([1.0, -1.0, 1.0, 1.0], "feature_scales is [1.0, -1.0, 1.0, 1.0], but must be >= 0"),
            ([1.0, np.nan, 1.0, 1.0], "feature_scales"),
        ],
    )
    def test_values(self, factors, message):
        with pytest.raises(ValueError, match=re.escape(message)):
            NTKRegressor(feature_scales=factors).fit(X, Y)

    def test_products_beyond_the_range_of_numbers(self):
        with pytest.raises(ValueError, match="X"):
            NTKRegressor(feature_scales=np.full(4, 1e300)).fit(X * 1e300, Y)


def test_they_are_searched_cloned_and_pickled():
    options = {"feature_scales": [None, "agop", FACTORS]}
    best = GridSearchCV(NTKRegressor(), options, cv=3).fit(X, Y).best_estimator_
    assert_array_equal(pickle.loads(pickle.dumps(best)).predict(Z), best.predict(Z))
    assert_array_equal(clone(best).fit(X, Y).predict(Z), best.predict(Z))


class TestEvidence:
    """Factors of NTKGaussianProcessRegressor, which the evidence learns under a log-normal prior."""

    def test_given_ones_make_a_fit_of_the_products(self):
        model = NTKGaussianProcessRegressor(1, feature_scales=FACTORS).fit(X, BOTH)
        same = NTKGaussianProcessRegressor(1).fit(X * FACTORS, BOTH)
        assert_array_equal(model.feature_scales_, FACTORS)
        assert_array_equal(model.X_train_, X * FACTORS)
        assert_array_equal(model.theta_, same.theta_)
        for found, expected in zip(
            model.predict(Z, return_std=True), same.predict(Z * FACTORS, return_std=True), strict=True
        ):
            assert_array_equal(found, expected)
        assert_array_equal(model.sample_y(Z), same.sample_y(Z * FACTORS))
        assert model.log_marginal_likelihood() == same.log_marginal_likelihood_value_

    @pytest.mark.parametrize("posterior", ["nngp", "ntk"])
    @pytest.mark.parametrize("targets", [Y, BOTH], ids=["one", "two"])
    def test_the_gradient_is_that_of_differences(self, targets, posterior):
        model = NTKGaussianProcessRegressor(2, activation="erf", posterior=posterior, feature_scales="learn")
        model.fit(X, targets)
        assert len(model.theta_) == 3 + 4
        at, step = model.theta_ + 0.1, 1e-5
        value, gradient = model.log_marginal_likelihood(at, eval_gradient=True)
        rises = [
            (model.log_marginal_likelihood(at + shift) - model.log_marginal_likelihood(at - shift)) / (2 * step)
            for shift in step * np.eye(7)
        ]
        # Differences are good to step² times third derivatives, and ε|L|/step.
        assert_allclose(gradient, rises, rtol=1e-6, atol=1e-10 * abs(value) / step)

    def test_evidence_times_prior_is_highest_there(self):
        model = NTKGaussianProcessRegressor(1, activation="erf", feature_scales="learn").fit(X, Y)
        logs = model.theta_[3:]
        assert_allclose(np.exp(logs), model.feature_scales_, rtol=1e-15)
        value, gradient = model.log_marginal_likelihood(eval_gradient=True)
        assert value == model.log_marginal_likelihood_value_
        # L-BFGS-B stops when a step changes the objective, of size 30, by less than 2e-9 of it.
        assert_allclose(gradient - np.append(np.zeros(3), logs), 0, atol=0.02)
        plain = NTKGaussianProcessRegressor(1, activation="erf").fit(X, Y)
        assert value - logs @ logs / 2 > plain.log_marginal_likelihood_value_

    def test_features_that_are_noise_lose_weight(self):
        rng = np.random.default_rng(1)
        x = rng.standard_normal((120, 6))
        model = NTKGaussianProcessRegressor(1, feature_scales="learn").fit(x, np.sin(2 * x[:, 3]) + x[:, 1])
        assert set(np.argsort(model.feature_scales_)[-2:]) == {1, 3}
        assert model.feature_scales_[[0, 2, 4, 5]].max() < 0.5 * model.feature_scales_[[1, 3]].min()

    def test_the_depth_is_chosen_with_the_prior(self):
        model = NTKGaussianProcessRegressor((1, 2), feature_scales="learn").fit(X, Y)
        both = [NTKGaussianProcessRegressor(depth, feature_scales="learn").fit(X, Y) for depth in (1, 2)]
        logs = [np.log(one.feature_scales_) for one in both]
        goals = [one.log_marginal_likelihood_value_ - log @ log / 2 for one, log in zip(both, logs, strict=True)]
        assert model.depth_ == (1, 2)[int(np.argmax(goals))]
        assert_array_equal(model.feature_scales_, both[model.depth_ - 1].feature_scales_)

    def test_it_is_cloned_and_pickled(self):
        model = NTKGaussianProcessRegressor(1, feature_scales="learn").fit(X, Y)
        assert_array_equal(pickle.loads(pickle.dumps(model)).predict(Z), model.predict(Z))
        assert clone(model).feature_scales == "learn"

    def test_other_words_are_refused(self):
        with pytest.raises(ValueError, match=r"feature_scales is 'agop', but must be None, 'learn', or a number"):
            NTKGaussianProcessRegressor(feature_scales="agop").fit(X, Y)
        with pytest.raises(ValueError, match=r"feature_scales is 'learn', but must be None, 'agop', or a number"):
            NTKRegressor(feature_scales="learn").fit(X, Y)
        with pytest.raises(ValueError, match=r"feature_scales has shape \(3,\), but \(4,\) is needed"):
            NTKGaussianProcessRegressor(feature_scales=[1.0, 2.0, 3.0]).fit(X, Y)


class TestPlot:
    """Importances as bars."""

    @pytest.mark.parametrize("model", [NTKRegressor(1), NTKGaussianProcessRegressor(1)], ids=["ridge", "process"])
    def test_bars_are_the_factors_from_the_largest_on(self, model):
        pytest.importorskip("matplotlib", reason="plots need the extra ntkrs[plot]")
        fitted = clone(model).set_params(feature_scales=FACTORS).fit(X, Y)
        (ax,) = fitted.plot_importances().axes
        assert [label.get_text() for label in ax.get_yticklabels()] == [f"feature {at}" for at in (0, 3, 1, 2)]
        assert_array_equal([bar.get_width() for bar in ax.patches], FACTORS[[0, 3, 1, 2]])
        assert ax.yaxis_inverted()
        assert fitted.plot_importances(ax=ax) is ax.figure
        fitted.feature_names_in_ = np.array(["a", "b", "c", "d"], dtype=object)
        (named,) = fitted.plot_importances().axes
        assert [label.get_text() for label in named.get_yticklabels()] == ["a", "d", "b", "c"]

    def test_there_are_30_bars_at_most(self):
        pytest.importorskip("matplotlib", reason="plots need the extra ntkrs[plot]")
        wide = RNG.standard_normal((20, 50))
        (ax,) = NTKRegressor(1).fit(wide, wide[:, 0]).plot_importances().axes
        assert len(ax.patches) == 30

    def test_it_needs_a_fit(self):
        with pytest.raises(NotFittedError):
            NTKRegressor().plot_importances()
