"""NTKGaussianProcessRegressor: learned scales and noise, the evidence and its gradient, and the posterior."""

import pickle
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import multivariate_normal

import ntkrs
from ntkrs import Erf, Relu, Tanh, mlp
from ntkrs.predict import gp_inference

pytest.importorskip("sklearn", reason="estimators need the extra ntkrs[sklearn]")

from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import WhiteKernel
from sklearn.utils.estimator_checks import parametrize_with_checks

from ntkrs.sklearn import NTKGaussianProcessRegressor, NTKKernel, gaussian_process
from ntkrs.sklearn.evidence import Prior

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 3))
Z = RNG.standard_normal((7, 3))
Y = 2 + 3 * np.sin(2 * X[:, 0]) + X[:, 1] + 0.3 * RNG.standard_normal(30)
BOTH = np.column_stack([Y, np.cos(X[:, 2])])
FIXED = {"sigma_w_bounds": "fixed", "sigma_b_bounds": "fixed", "noise_bounds": "fixed"}


@parametrize_with_checks([NTKGaussianProcessRegressor()])
def test_it_is_an_estimator_of_scikit_learn(estimator, check):
    check(estimator)


class TestPosterior:
    """Predictions are those of ``gp_inference``."""

    @pytest.mark.parametrize("posterior", ["nngp", "ntk", "ntkgp"])
    def test_bits_are_those_of_inference(self, posterior):
        model = NTKGaussianProcessRegressor(posterior=posterior, normalize_y=False).fit(X, Y)
        inference = gp_inference(model.kernel_, X, Y, model.noise_, diag_reg_absolute_scale=True)
        expected = inference(Z, get=posterior)
        mean, covariance = model.predict(Z, return_cov=True)
        assert_array_equal(mean, expected.mean)
        assert_array_equal(covariance, expected.covariance)
        variances = inference(Z, get=posterior, compute_cov="diag")
        assert_array_equal(model.predict(Z, return_std=True)[1], variances.std)
        assert_array_equal(model.predict(Z), expected.mean)

    def test_units_are_those_of_the_targets(self):
        model = NTKGaussianProcessRegressor(**FIXED).fit(X, BOTH)
        plain = NTKGaussianProcessRegressor(**FIXED, normalize_y=False).fit(X, (BOTH - BOTH.mean(0)) / BOTH.std(0))
        mean, covariance = plain.predict(Z, return_cov=True)
        assert_array_equal(model.predict(Z), mean * BOTH.std(0) + BOTH.mean(0))
        assert_array_equal(model.predict(Z, return_cov=True)[1], covariance[:, :, :1] * BOTH.std(0) ** 2)
        assert model.predict(Z, return_std=True)[1].shape == (7, 2)

    @pytest.mark.parametrize("exponent", [-600, 600])
    def test_targets_of_any_size(self, exponent):
        model = NTKGaussianProcessRegressor(1).fit(X, Y)
        scaled = NTKGaussianProcessRegressor(1).fit(X, np.ldexp(Y, exponent))
        assert_array_equal(scaled.theta_, model.theta_)
        assert_array_equal(scaled.predict(Z), np.ldexp(model.predict(Z), exponent))
        deviations = [one.predict(Z, return_std=True)[1] for one in (scaled, model)]
        assert_array_equal(deviations[0], np.ldexp(deviations[1], exponent))

    def test_samples_have_the_mean_and_covariance(self):
        model = NTKGaussianProcessRegressor().fit(X, Y)
        mean, covariance = model.predict(Z, return_cov=True)
        draws = model.sample_y(Z, n_samples=4000)
        deviations = np.sqrt(covariance.diagonal())
        assert draws.shape == (7, 4000)
        assert (np.abs(draws.mean(axis=1) - mean) < 5 * deviations / 4000**0.5).all()
        assert_allclose(np.cov(draws), covariance, rtol=0, atol=5 * (2 / 4000) ** 0.5 * deviations.max() ** 2)
        assert_array_equal(draws, model.sample_y(Z, n_samples=4000))
        assert NTKGaussianProcessRegressor(**FIXED).fit(X, BOTH).sample_y(Z, n_samples=5).shape == (7, 2, 5)


class TestEvidence:
    """Its value, its gradient, and its maximum."""

    @pytest.mark.parametrize("targets", [Y, BOTH], ids=["one", "two"])
    def test_it_is_the_density_of_the_targets(self, targets):
        model = NTKGaussianProcessRegressor(1, activation="erf", noise=0.2, **FIXED, normalize_y=False).fit(X, targets)
        C = mlp(1, 1, 1, "erf", 2**0.5, 0.5).kernel()(X, get="nngp") + 0.2 * np.eye(30)  # noqa: N806
        expected = multivariate_normal(cov=C).logpdf(targets.T).sum()
        assert_allclose(model.log_marginal_likelihood_value_, expected, rtol=1e-12)  # ε times the condition
        assert model.theta_.shape == (0,)

    @given(
        depth=st.integers(0, 3),
        activation=st.sampled_from([Relu(), Erf(), Tanh()]),
        listed=st.booleans(),
        biases=st.booleans(),
        get=st.sampled_from(["nngp", "ntk"]),
    )
    @settings(deadline=None, max_examples=15)
    def test_the_gradient_is_that_of_differences(self, depth, activation, listed, biases, get):
        sigma_b = 0.5 if biases else 0.0
        scales = [np.linspace(0.8, 1.4, depth + 1).tolist(), [sigma_b] * (depth + 1)] if listed else [1.2, sigma_b]
        prior = Prior(
            NTKKernel(depth, activation, *scales, get=get),
            0.2,
            np.array([[0.1, 0.3]]),
            np.ones(3),
            learns_factors=False,
        )

        def value(prior):
            """The evidence alone."""
            return ntkrs.regression.log_marginal_likelihood(prior.kernel(X[:12]), Y[:12], prior.noise)

        theta, step = prior.theta, 1e-4
        _, gradient = prior.evidence(X[:12], Y[:12])
        assert gradient.shape == theta.shape == ((1 + biases) * (depth + 1 if listed else 1) + 1,)
        for at, unit in enumerate(np.eye(len(theta))):
            moved = [value(prior.moved(theta + h * step * unit)) for h in (-2, -1, 1, 2)]
            near, far = (moved[2] - moved[1]) / (2 * step), (moved[3] - moved[0]) / (4 * step)
            # Differences of values of some hundreds, with errors of ε times the condition, over the step.
            assert_allclose(gradient[at], (4 * near - far) / 3, rtol=1e-7, atol=1e-6)

    def test_it_is_evaluated_at_any_theta(self):
        model = NTKGaussianProcessRegressor(1, activation="erf").fit(X, Y)
        value, gradient = model.log_marginal_likelihood(model.theta_, eval_gradient=True)
        assert value == model.log_marginal_likelihood()
        assert_allclose(value, model.log_marginal_likelihood_value_, rtol=1e-13)  # log(exp(θ)) rounds
        assert gradient.shape == model.theta_.shape == (3,)
        assert model.log_marginal_likelihood(model.theta_ + 0.1) < value

    @pytest.mark.filterwarnings("ignore:The optimal value found for dimension")  # scales at a bound
    @pytest.mark.parametrize("listed", [False, True])
    @pytest.mark.parametrize("activation", ["relu", "erf"])
    def test_it_is_not_below_the_optimum_of_scikit_learn(self, listed, activation):
        scales = ([2**0.5] * 3, [0.5] * 3) if listed else (2**0.5, 0.5)
        options = {"activation": activation, "sigma_w": scales[0], "sigma_b": scales[1]}
        ours = NTKGaussianProcessRegressor(2, **options, noise=0.1).fit(X, Y)
        prior = NTKKernel(2, **options, get="nngp") + WhiteKernel(0.1, noise_level_bounds=(1e-6, 1e2))
        theirs = GaussianProcessRegressor(prior, alpha=0.0)
        theirs.fit(X, (Y - Y.mean()) / Y.std())
        assert ours.log_marginal_likelihood_value_ > theirs.log_marginal_likelihood_value_ - 0.01

    def test_the_depth_of_the_highest_evidence_is_chosen(self):
        model = NTKGaussianProcessRegressor((0, 1, 3)).fit(X, Y)
        each = {depth: NTKGaussianProcessRegressor(depth).fit(X, Y) for depth in (0, 1, 3)}
        values = {depth: one.log_marginal_likelihood_value_ for depth, one in each.items()}
        assert model.depth_ == max(values, key=values.get)
        assert model.log_marginal_likelihood_value_ == max(values.values())
        assert_array_equal(model.predict(Z), each[model.depth_].predict(Z))

    def test_bounds_hold(self):
        model = NTKGaussianProcessRegressor(1, sigma_w_bounds=(1.3, 1.5), noise_bounds=(0.4, 0.5)).fit(X, Y)
        assert 1.3 <= model.sigma_w_ <= 1.5
        assert 0.4 <= model.noise_ <= 0.5
        fixed = NTKGaussianProcessRegressor(1, sigma_b=0.0, sigma_w_bounds="fixed").fit(X, Y)
        assert (fixed.sigma_w_, fixed.sigma_b_) == (2**0.5, 0.0)
        assert fixed.theta_.shape == (1,)

    def test_learned_values_are_those_of_the_kernel(self):
        model = NTKGaussianProcessRegressor(1, sigma_w=[1.0, 2.0], activation="erf").fit(X, Y)
        assert model.kernel_ == NTKKernel(1, "erf", model.sigma_w_, model.sigma_b_).architecture.kernel()
        assert_allclose(model.theta_, np.log([model.sigma_b_, *model.sigma_w_, model.noise_]), rtol=1e-14)

    def test_points_without_evidence_are_passed_over(self):
        twice = np.vstack([X, X])  # K is singular, so that small noises have no evidence
        model = NTKGaussianProcessRegressor(1, noise_bounds=(1e-20, 1e2)).fit(twice, np.concatenate([Y, Y]))
        assert np.isfinite(model.log_marginal_likelihood_value_)
        start = NTKGaussianProcessRegressor(1, **FIXED).fit(twice, np.concatenate([Y, Y]))
        assert model.log_marginal_likelihood_value_ > start.log_marginal_likelihood_value_


class TestErrors:
    """Each names the parameter, what came, and what is needed."""

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"posterior": "gp"}, "posterior is 'gp', but must be 'nngp', 'ntk' or 'ntkgp'"),
            ({"noise": -1.0}, "noise is -1.0, but must be >= 0"),
            ({"noise_bounds": (1.0, 0.1)}, "noise_bounds is (1.0, 0.1), but 'fixed', or two positive numbers"),
            ({"noise_bounds": "free"}, "noise_bounds is 'free', but 'fixed', or two positive numbers"),
            ({"sigma_w_bounds": (0.0, 1.0)}, "sigma_w_bounds is (0.0, 1.0), but 'fixed', or two positive numbers"),
            ({"sigma_b_bounds": (1.0,)}, "sigma_b_bounds is (1.0,), but 'fixed', or two positive numbers"),
            ({"sigma_w": [1.0]}, "sigma_w has 1 entries, but depth 2 has 3 dense layers: give 3, or one number."),
            ({"depth": ()}, "depth is (), but at least one number of hidden layers is needed"),
        ],
    )
    def test_parameters(self, options, message):
        with pytest.raises(ValueError, match=re.escape(message)):
            NTKGaussianProcessRegressor(**options).fit(X, Y)

    def test_without_any_evidence_the_noise_is_named(self):
        with pytest.raises(np.linalg.LinAlgError, match=r"noise is 0\.0 with noise_bounds .* Pass a larger noise"):
            NTKGaussianProcessRegressor(1, noise=0.0).fit(np.vstack([X, X]), np.concatenate([Y, Y]))

    def test_predictions_give_one_of_both(self):
        with pytest.raises(ValueError, match="return_std and return_cov are both True"):
            NTKGaussianProcessRegressor(**FIXED).fit(X, Y).predict(Z, return_std=True, return_cov=True)

    def test_theta_has_its_length(self):
        with pytest.raises(ValueError, match=r"theta has shape \(1,\), but \(3,\) is needed"):
            NTKGaussianProcessRegressor().fit(X, Y).log_marginal_likelihood([0.0])

    def test_beyond_memory_the_way_is_told_before_work(self, monkeypatch):
        monkeypatch.setattr(gaussian_process.memory, "available", lambda: 1)
        monkeypatch.setattr(gaussian_process.memory, "_SMALL", 0)
        monkeypatch.setattr(gaussian_process, "learned", None)
        with pytest.raises(MemoryError, match=r"30 samples needs 21600 bytes.*Nystroem"):
            NTKGaussianProcessRegressor().fit(X, Y)


def test_it_is_cloned_and_pickled():
    model = NTKGaussianProcessRegressor(1).fit(X, Y)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(Z), model.predict(Z))
    assert_array_equal(clone(model).fit(X, Y).predict(Z), model.predict(Z))
    assert isinstance(model.kernel_, ntkrs.Kernel)
