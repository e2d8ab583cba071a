"""The log marginal likelihood and its gradient: against SciPy, differences and refits of Gaussian processes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

import ntkrs
from ntkrs.regression import Evidence, KernelRegression, log_marginal_likelihood

EPS = np.finfo(float).eps


def problem(n=8, outputs=None, seed=0):
    """Rows, of which two are equal, and labels."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 3))
    x[1] = x[0]
    return x, rng.standard_normal(n if outputs is None else (n, outputs)) + 1


def architecture(activation, sigmas, frozen=0):
    """A network with the scales (2, L), whose first layers are not trained."""
    dense = [ntkrs.Dense(1, w, b, trainable=i >= frozen) for i, (w, b) in enumerate(np.transpose(sigmas).tolist())]
    hidden = [part for layer in dense[:-1] for part in (layer, ntkrs.activations.by_name(activation))]
    return ntkrs.Sequential(*hidden, dense[-1])


def slope(function, at, step):
    """The derivative by five points, with errors of step⁴."""
    values = [function(at + i * step) for i in (-2, -1, 1, 2)]
    return np.dot(values, [1, -8, 8, -1]) / (12 * step)


K = architecture("erf", [[1.3, 1.4, 1.2], [0.2, 0.3, 0.1]]).kernel()


@pytest.mark.parametrize("outputs", [None, 1, 3])
@pytest.mark.parametrize("noise", [1e-6, 0.1, 30.0])
class TestValues:
    """Values against SciPy's density."""

    def test_it_is_the_density(self, outputs, noise):
        x, y = problem(outputs=outputs)
        k = K(x)
        density = multivariate_normal(cov=k + noise * np.eye(8))
        expected = sum(density.logpdf(column) for column in y.reshape(8, -1).T)
        atol = 50 * EPS * (1 + np.linalg.norm(k, 2) / noise) * (y**2).sum() / noise
        found = log_marginal_likelihood(k, y, noise)
        assert isinstance(found, float)
        assert found == pytest.approx(expected, rel=1e-13, abs=atol)
        assert log_marginal_likelihood(k, y, noise, eval_gradient=True).value == found
        model = KernelRegression(k, y, intercept=False)
        assert model.log_marginal_likelihood(noise) == pytest.approx(expected, rel=1e-13, abs=atol)

    def test_the_model_subtracts_the_mean_and_has_weights(self, outputs, noise):
        x, y = problem(outputs=outputs)
        k, weights = K(x), np.array([0.5, 1.0, 2.0, 3.0, 1.0, 0.1, 1.0, 7.0])
        centred = (y - np.average(y, axis=0, weights=weights)).reshape(8, -1)
        density = multivariate_normal(cov=k + noise * np.diag(1 / weights))
        expected = sum(density.logpdf(column) for column in centred.T)
        found = KernelRegression(k, y, sample_weight=weights).log_marginal_likelihood(noise)
        assert isinstance(found, float)
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-13 * (y**2).sum() / noise**2)

    def test_the_gradient_is_that_of_differences(self, outputs, noise):
        x, y = problem(outputs=outputs)
        k, noise = K(x), max(noise, 1e-2)  # L of two labels for equal rows loses ε·cond, which differences divide
        found = log_marginal_likelihood(k, y, noise, eval_gradient=True)
        assert isinstance(found, Evidence)
        assert np.array_equal(found.kernel, found.kernel.T)
        assert found.noise == pytest.approx(np.trace(found.kernel), rel=1e-15)
        rng = np.random.default_rng(1)
        direction = rng.standard_normal((8, 8))
        direction += direction.T
        step = 1e-3 * noise / np.linalg.norm(direction, 2)  # C stays positive definite
        difference = slope(lambda s: log_marginal_likelihood(k + s * direction, y, noise), 0.0, step)
        # The truncation is 1e-12 of the fifth derivative, and L has errors of ε cond.
        atol = 1e-9 * np.abs(found.kernel * direction).sum()
        assert np.vdot(found.kernel, direction) == pytest.approx(difference, abs=atol)
        difference = slope(lambda s: log_marginal_likelihood(k, y, s), noise, 1e-3 * noise)
        assert found.noise == pytest.approx(difference, rel=1e-8)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    depth=st.integers(0, 3),
    activation=st.sampled_from(["relu", "erf", "gelu", "sine"]),
    get=st.sampled_from(["nngp", "ntk"]),
    bias=st.booleans(),
    frozen=st.integers(0, 1),
    seed=st.integers(0, 2**16),
)
def test_it_is_the_weights_of_the_gradient_of_a_kernel(depth, activation, get, bias, frozen, seed):
    """∂L/∂σ for every scale of every layer, with layers that are not trained, and at σ_b = 0."""
    rng = np.random.default_rng(seed)
    x, y = problem(outputs=2, seed=seed)
    sigmas = rng.uniform(0.5, 1.5, (2, depth + 1)) * [[1.0], [float(bias)]]
    frozen = min(frozen, depth)

    def evidence(values, **options):
        return log_marginal_likelihood(architecture(activation, values, frozen).kernel()(x, get=get), y, 0.1, **options)

    found = evidence(sigmas, eval_gradient=True)
    gradient = architecture(activation, sigmas, frozen).kernel().gradient(x, get=get, weights=found.kernel)
    for index in np.ndindex(sigmas.shape):

        def shifted(value, index=index):
            values = sigmas.copy()
            values[index] = value
            return evidence(values)

        derivative = gradient[index[0]][index[1]]
        if index[0] == 1 and not bias:
            assert derivative == 0  # kernels are even in σ_b
        else:
            difference = slope(shifted, sigmas[index], 2e-3)
            # 2e-3⁴ times the fifth derivative, which may be some hundred times the first.
            assert derivative == pytest.approx(difference, rel=1e-7, abs=1e-8 * abs(found.value))


class TestLaws:
    """Laws of the evidence."""

    def test_many_noises_are_those_one_by_one(self):
        x, y = problem(outputs=2)
        k, noises = K(x), np.logspace(-6, 3, 10)
        found = KernelRegression(k, y, intercept=False).log_marginal_likelihood(noises)
        singly = [log_marginal_likelihood(k, y, noise) for noise in noises]
        np.testing.assert_allclose(found, singly, rtol=1e-9)

    @pytest.mark.parametrize("exponent", [-500, 500])
    def test_kernels_of_any_scale(self, exponent):
        """K and noise of 2^2e and labels of 2^e: L changes by −N O e log 2, and its gradient by 2^−2e."""
        x, y = problem(outputs=2)
        k = K(x)
        double = np.ldexp(k, 2 * (exponent // 2))
        labels, noise = np.ldexp(y, exponent // 2), np.ldexp(0.1, exponent)
        one = log_marginal_likelihood(k, y, 0.1, eval_gradient=True)
        two = log_marginal_likelihood(double, labels, noise, eval_gradient=True)
        change = 8 * 2 * (exponent // 2) * np.log(2)
        assert two.value == pytest.approx(one.value - change, rel=1e-14)
        assert np.array_equal(np.ldexp(one.kernel, -exponent), two.kernel)
        model = KernelRegression(double, labels, intercept=False)
        assert model.log_marginal_likelihood(noise) == pytest.approx(two.value, rel=1e-13)

    @pytest.mark.parametrize(("kernel", "label"), [(-300, 300), (300, -300), (-900, 500), (900, -500), (-1000, 1000)])
    def test_there_is_no_nan_at_any_scale(self, kernel, label):
        x, y = problem()
        k, labels = np.ldexp(K(x), kernel), np.ldexp(y, label)
        noise = float(np.ldexp(1.0, kernel))
        found = log_marginal_likelihood(k, labels, noise, eval_gradient=True)
        assert not np.isnan(found.value)
        assert not np.isnan(found.kernel).any()
        noises = noise * np.array([1.0, 1e-20, 1e20])
        assert not np.isnan(KernelRegression(k, labels).log_marginal_likelihood(noises)).any()

    @pytest.mark.parametrize("exponent", [-1000, -100, 100, 1000])
    def test_noise_far_above_the_kernel_is_all_there_is(self, exponent):
        x, y = problem()
        k = np.ldexp(K(x), -1000)
        noise = float(np.ldexp(1.0, exponent))
        expected = -4 * np.log(2 * np.pi) - 4 * exponent * np.log(2) - float(np.ldexp((y**2).sum() / 2, -exponent))
        model = KernelRegression(k, y, intercept=False)
        if exponent > -1000:
            assert model.log_marginal_likelihood(noise) == pytest.approx(expected, rel=1e-13)
            assert log_marginal_likelihood(k, y, noise) == pytest.approx(expected, rel=1e-13)
        else:
            assert model.log_marginal_likelihood(noise) == pytest.approx(log_marginal_likelihood(k, y, noise), rel=1e-9)

    def test_a_regular_kernel_needs_no_noise(self):
        k, y = np.diag([1.0, 2.0, 4.0]), np.array([1.0, -1.0, 3.0])
        expected = multivariate_normal(cov=k).logpdf(y)
        assert log_marginal_likelihood(k, y, 0.0) == pytest.approx(expected, rel=1e-15)
        model = KernelRegression(k, y, intercept=False)
        assert model.log_marginal_likelihood(0.0) == pytest.approx(expected, rel=1e-15)

    def test_noise_within_round_off_is_refused_but_not_by_the_model(self):
        """The two equal rows leave an eigenvalue of 0, which only the eigendecomposition knows."""
        x, y = problem()
        with pytest.raises(np.linalg.LinAlgError, match="Pass a larger noise"):
            log_marginal_likelihood(K(x), y, 1e-16)
        assert np.isfinite(KernelRegression(K(x), y).log_marginal_likelihood(1e-16))

    def test_float32_is_computed_in_float64(self):
        x, y = problem()
        single = K(x.astype(np.float32))
        found = log_marginal_likelihood(single, y.astype(np.float32), 0.1, eval_gradient=True)
        expected = log_marginal_likelihood(single.astype(float), y.astype(np.float32).astype(float), 0.1)
        assert single.dtype == np.float32
        assert found.value == expected
        assert found.kernel.dtype == np.float64

    def test_a_large_gradient_is_symmetric(self):
        """The upper triangle is mirrored block by block."""
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal((600, 4)), rng.standard_normal(600)
        k = K(x)
        found = log_marginal_likelihood(k, y, 0.1, eval_gradient=True)
        inverse = np.linalg.inv(k + 0.1 * np.eye(600))
        alpha = inverse @ y
        expected = (np.outer(alpha, alpha) - inverse) / 2
        np.testing.assert_allclose(found.kernel, expected, rtol=0, atol=1e-9 * np.abs(expected).max())
        assert np.array_equal(found.kernel, found.kernel.T)
