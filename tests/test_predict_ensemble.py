"""Means and covariances over infinite ensembles: against matrix exponentials, Monte Carlo, and plain solves."""

from typing import Any, NamedTuple

import numpy as np
import pytest

import ntkrs
from ntkrs import predict
from oracles import dynamics

KERNEL = ntkrs.mlp(depth=2, width=1, outputs=1, activation="relu", sigma_w=1.5, sigma_b=0.3).kernel()
EPS = np.finfo(float).eps


def problem(n=10, m=4, outputs=None, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n + m, 3))
    return x[:n], x[n:], rng.standard_normal((n,) if outputs is None else (n, outputs))


def moments(prediction):
    """Mean and covariance of a prediction."""
    return prediction.mean, prediction.covariance


def oracle_kernels(x, x_test, get):
    k = KERNEL(x, get=get), KERNEL(x_test, x, get=get)
    s = KERNEL(x, get="nngp"), KERNEL(x_test, x, get="nngp"), KERNEL(x_test, get="nngp")
    return (*k, *s)


@pytest.mark.parametrize("outputs", [None, 2])
@pytest.mark.parametrize("get", ["ntk", "nngp"])
def test_it_is_the_matrix_exponential(get, outputs):
    x, x_test, y = problem(outputs=outputs)
    run = predict.gradient_descent_mse_ensemble(KERNEL, x, y, 0.7)
    for t in (0.3, 20.0):
        mean, covariance = moments(run(t, x_test, get=get))
        expected = dynamics.ensemble(*oracle_kernels(x, x_test, get), y, 0.7, t, z=y.size)
        np.testing.assert_allclose(mean, expected[0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(covariance, expected[1], rtol=0, atol=1e-12)
        # On the training inputs the result is the same, whether they are passed or not.
        for given in (x, None):
            mean, covariance = moments(run(t, given, get=get))
            expected = dynamics.ensemble(*oracle_kernels(x, x, get), y, 0.7, t, z=y.size)
            np.testing.assert_allclose(mean, expected[0], rtol=0, atol=1e-12)
            np.testing.assert_allclose(covariance, expected[1], rtol=0, atol=1e-12)


class Features(NamedTuple):
    """Kernels of a linear model."""

    nngp: Any
    ntk: Any


def test_it_is_the_spread_of_2000_linear_models():
    """f = √2 J θ, θ ~ N(0, 1/2): Θ = 2 J Jᵀ and Σ = J Jᵀ differ. Trained by literal steps in θ."""
    rng = np.random.default_rng(0)
    x, x_test = rng.standard_normal((6, 9)), rng.standard_normal((3, 9))
    y = rng.standard_normal(6)
    j, j_test, models = 2**0.5 * x, 2**0.5 * x_test, 2000

    def kernel(a, b=None, get="ntk"):
        gram = a @ (a if b is None else b).T
        both = Features(gram, 2 * gram)
        return getattr(both, get) if isinstance(get, str) else tuple(getattr(both, name) for name in get)

    eta = 0.5 * predict.max_learning_rate(kernel(x), 6, 0.5)
    run = predict.gradient_descent_mse_ensemble(kernel, x, y, eta, optimizer="gd", momentum=0.5)
    outputs = np.empty((models, 3))
    for i in range(models):
        theta = rng.standard_normal(9) / 2**0.5
        outputs[i] = j_test @ dynamics.parameter_descent(j, theta, y, eta, 12, 6, 0.5)
    mean, covariance = moments(run(12, x_test))
    sampled = np.cov(outputs.T)
    # Five standard errors: √(C_ii/n) of a mean, √((C_ii C_jj + C_ij²)/n) of a covariance.
    np.testing.assert_array_less(np.abs(outputs.mean(axis=0) - mean), 5 * np.sqrt(covariance.diagonal() / models))
    variances = np.outer(covariance.diagonal(), covariance.diagonal())
    np.testing.assert_array_less(np.abs(sampled - covariance), 5 * np.sqrt((variances + covariance**2) / models))


def test_before_training_it_is_the_prior():
    x, x_test, y = problem()
    run = predict.gradient_descent_mse_ensemble(KERNEL, x, y)
    for get in ("ntk", "nngp"):
        mean, covariance = moments(run(0, x_test, get=get))
        assert np.array_equal(mean, np.zeros(4))
        assert np.array_equal(covariance, KERNEL(x_test, get="nngp"))


@pytest.mark.parametrize("get", ["ntk", "nngp"])
def test_covariances_are_symmetric_positive_and_shrink_on_the_training_inputs(get):
    x, x_test, y = problem()
    run = predict.gradient_descent_mse_ensemble(KERNEL, x, y)
    times = np.array([[0.0, 1.0, 30.0], [1e3, 1e9, np.inf]])
    for points in (x_test, None):
        mean, covariance = moments(run(times, points, get=get))
        count = len(x if points is None else points)
        assert mean.shape == (2, 3, count)
        assert covariance.shape == (2, 3, count, count)
        assert np.array_equal(covariance, np.swapaxes(covariance, -1, -2))
        scale = np.trace(KERNEL(x, get="nngp"))
        assert np.linalg.eigvalsh(covariance).min() >= -32 * EPS * scale
        assert (np.diagonal(covariance, axis1=-2, axis2=-1) >= 0).all()
    spread = np.trace(covariance, axis1=-2, axis2=-1).ravel()
    assert (np.diff(spread) <= 1e-12 * spread[0]).all()
    np.testing.assert_allclose(mean[1, 2], y, atol=1e-10)
    assert spread[-1] < 1e-10


def test_clipped_variances_are_reported():
    """The posterior variance at the training inputs is 0, and rounding makes some of it negative."""
    x, _, y = problem(60)
    end = predict.gp_inference(KERNEL, x, y)(x, get="nngp")
    assert end.report.clipped > 0
    assert -1e-11 < end.report.lowest < 0
    assert end.covariance.diagonal().min() == 0
    assert predict.gradient_descent_mse_ensemble(KERNEL, x, y)(0.0).report == (0, 0.0)
    trained = predict.gradient_descent_mse_ensemble(KERNEL, x, y)(None)
    assert np.array_equal(trained.mean, y)  # a regular kernel fits the labels exactly
    assert not trained.covariance.any()


def test_kernels_that_do_not_belong_together_are_refused():
    x, x_test, y = problem()

    def kernel(a, b=None, get="ntk"):
        """A prior variance at the test inputs that is too small."""
        names = (get,) if isinstance(get, str) else get
        values = [KERNEL(a, b, get=name) * (1 if len(a) == 10 or b is not None else 1e-3) for name in names]
        return values[0] if isinstance(get, str) else values

    with pytest.raises(np.linalg.LinAlgError, match=r"the variance of point 0 is -.*do not belong together"):
        predict.gp_inference(kernel, x, y)(x_test, get="nngp")


def test_the_kernel_is_computed_once():
    x, x_test, y = problem()
    calls = []

    def kernel(a, b=None, get="ntk"):
        calls.append((len(a), b is not None, get))
        return KERNEL(a, b, get=get)

    run = predict.gradient_descent_mse_ensemble(kernel, x, y)
    run(1.0)
    run([2.0, 3.0], get="nngp")
    assert calls == [(10, False, ("nngp", "ntk"))]
    run(1.0, x_test, compute_cov=False)
    assert calls[1:] == [(4, True, ("ntk", "nngp"))]


@pytest.mark.parametrize("diag_reg", [0.0, 0.2])
def test_gp_inference_is_the_plain_solve(diag_reg):
    x, x_test, y = problem(outputs=2)
    run = predict.gp_inference(KERNEL, x, y, diag_reg, diag_reg_absolute_scale=True)
    theta, theta_t, sigma, sigma_t, sigma_tt = oracle_kernels(x, x_test, "ntk")
    ridge = diag_reg * np.eye(10)
    for get, k, k_t, k_tt in (("nngp", sigma, sigma_t, sigma_tt), ("ntkgp", theta, theta_t, KERNEL(x_test))):
        mean, covariance = moments(run(x_test, get=get))
        np.testing.assert_allclose(mean, k_t @ np.linalg.solve(k + ridge, y), rtol=0, atol=1e-11)
        np.testing.assert_allclose(covariance, k_tt - k_t @ np.linalg.solve(k + ridge, k_t.T), rtol=0, atol=1e-11)
        np.testing.assert_allclose(run(None, get=get).mean, k @ np.linalg.solve(k + ridge, y), rtol=0, atol=1e-11)
    b = np.linalg.solve(theta + ridge, theta_t.T).T
    mean, covariance = moments(run(x_test, get="ntk"))
    np.testing.assert_allclose(mean, b @ y, rtol=0, atol=1e-11)
    expected = sigma_tt + b @ sigma @ b.T - b @ sigma_t.T - sigma_t @ b.T
    np.testing.assert_allclose(covariance, expected, rtol=0, atol=1e-11)


def test_with_a_ridge_the_training_points_are_those_of_the_regularised_kernel():
    """f_t(X) = Y without x_test; K (K + rI)⁻¹ Y at the same points as test inputs."""
    x, _, y = problem()
    run = predict.gradient_descent_mse_ensemble(KERNEL, x, y, diag_reg=0.2, diag_reg_absolute_scale=True)
    theta = KERNEL(x)
    smoothed = theta @ np.linalg.solve(theta + 0.2 * np.eye(10), y)
    assert np.abs(smoothed - y).max() > 1e-2
    np.testing.assert_allclose(run(None).mean, y, rtol=0, atol=1e-12)
    np.testing.assert_allclose(run(None, x).mean, smoothed, rtol=0, atol=1e-12)


def test_gp_inference_is_the_end_of_training():
    x, x_test, y = problem()
    ensemble, posterior = predict.gradient_descent_mse_ensemble(KERNEL, x, y), predict.gp_inference(KERNEL, x, y)
    for get in ("ntk", "nngp"):
        for one, other in zip(
            moments(ensemble(None, x_test, get=get)), moments(posterior(x_test, get=get)), strict=True
        ):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-11)


def test_duplicates_with_conflicting_labels():
    x, x_test, y = problem()
    twice, labels = np.concatenate([x, x[:2]]), np.concatenate([y, y[:2] + 2.0])
    means = np.concatenate([y[:2] + 1.0, y[2:]])
    for get in ("ntk", "nngp", "ntkgp"):
        double = predict.gp_inference(KERNEL, twice, labels)(x_test, get=get)
        single = predict.gp_inference(KERNEL, x, means)(x_test, get=get)
        for one, other in zip(moments(double), moments(single), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-10)


def test_without_data_it_is_the_prior():
    _, x_test, _ = problem()
    for run in (predict.gp_inference, predict.gradient_descent_mse_ensemble):
        mean, covariance = moments(run(KERNEL, np.empty((0, 3)), [])(x_test=x_test, get="nngp"))
        assert np.array_equal(mean, np.zeros(4))
        assert np.array_equal(covariance, KERNEL(x_test, get="nngp"))


def test_float32():
    x, x_test, y = (a.astype(np.float32) for a in problem(60))
    exact = predict.gp_inference(KERNEL, *(a.astype(float) for a in (x, y)), 1e-3)
    single = predict.gp_inference(KERNEL, x, y, 1e-3)
    for get in ("nngp", "ntk", "ntkgp"):
        found = single(x_test, get=get)
        assert found.mean.dtype == found.covariance.dtype == np.float32
        for one, other in zip(moments(found), moments(exact(x_test.astype(float), get=get)), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-3)  # condition 1e3 and more, times ε of float32
    assert (np.diagonal(single(None, get="nngp").covariance) >= 0).all()


def test_rounding_of_float32_kernels_counts_as_zero():
    """A linear kernel of 40 inputs has rank 3. Its rounding to float32 leaves eigenvalues of both signs near 1e-6."""
    x, x_test, y = (a.astype(np.float32) for a in problem(40))
    linear = ntkrs.mlp(depth=0, width=1, outputs=1).kernel()
    slope = np.linalg.lstsq(x.astype(float), y.astype(float))[0]
    expected = x_test.astype(float) @ slope
    # The condition is below 10, and rounding moves an inverse by its product with 40·ε of float32.
    atol = 400 * np.finfo(np.float32).eps
    np.testing.assert_allclose(predict.gp_inference(linear, x, y)(x_test).mean, expected, rtol=0, atol=atol)
    ensemble = predict.gradient_descent_mse_ensemble(linear, x, y)
    np.testing.assert_allclose(ensemble(None, x_test).mean, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("size", [1e-70, 1e70])
def test_inputs_of_all_sizes(size):
    """A network without biases: Σ(c x) = c² Σ(x)."""
    kernel = ntkrs.mlp(2, 1, 1, "relu").kernel()
    x, x_test, y = problem()
    plain = predict.gp_inference(kernel, x, y)(x_test)
    large = predict.gp_inference(kernel, x * size, y)(x_test * size)
    np.testing.assert_allclose(large.mean, plain.mean, rtol=1e-9)
    np.testing.assert_allclose(large.covariance / size / size, plain.covariance, rtol=1e-9, atol=1e-12)


X, X_TEST, Y = problem()
REFUSED = {
    "matrix": (lambda: predict.gp_inference(np.eye(3), X, Y), TypeError, "kernel is a ndarray, but a callable"),
    "rows": (
        lambda: predict.gp_inference(KERNEL, X[:3], Y),
        ValueError,
        r"x_train has shape \(3, 3\), but y_train has",
    ),
    "NaN": (lambda: predict.gp_inference(KERNEL, X * np.nan, Y), ValueError, "x_train holds nan"),
    "1-D": (lambda: predict.gp_inference(KERNEL, X[0], Y), ValueError, r"x_train has shape \(3,\)"),
    "get": (
        lambda: predict.gp_inference(KERNEL, X, Y)(X, get="gp"),
        ValueError,
        "get is 'gp', but must be 'nngp', 'nt",
    ),
    "cov": (lambda: predict.gp_inference(KERNEL, X, Y)(X, "ntk", 1), TypeError, "compute_cov is 1, but True or False"),
    "x_test": (lambda: predict.gp_inference(KERNEL, X, Y)(X[0]), ValueError, r"x_test has shape \(3,\)"),
    "x_test width": (
        lambda: predict.gp_inference(KERNEL, X, Y)(X[:, :2]),
        ValueError,
        r"x_test has shape \(10, 2\), but x_train has shape \(10, 3\)",
    ),
    "x_test NaN": (
        lambda: predict.gp_inference(KERNEL, X, Y)(X * np.nan),
        ValueError,
        r"x_test holds nan at \(0, 0\)",
    ),
    "ensemble x_test": (
        lambda: predict.gradient_descent_mse_ensemble(KERNEL, X, Y)(1.0, X[:, :2]),
        ValueError,
        r"x_test has shape \(10, 2\), but x_train has",
    ),
    "network": (
        lambda: predict.gp_inference(ntkrs.mlp(1, 4, 1).init(3), X, Y),
        TypeError,
        r"kernel is a Network, but .* arch\.kernel\(\)",
    ),
    "reg": (lambda: predict.gp_inference(KERNEL, X, Y, -1.0), ValueError, "diag_reg is -1.0"),
    "ensemble get": (
        lambda: predict.gradient_descent_mse_ensemble(KERNEL, X, Y)(1.0, get="ntkgp"),
        ValueError,
        "get is 'ntkgp', but must be 'ntk' or 'nngp'",
    ),
    "divergence": (
        lambda: predict.gradient_descent_mse_ensemble(KERNEL, X, Y, 1e3, optimizer="gd")(1),
        ValueError,
        "gradient descent diverges",
    ),
}


@pytest.mark.parametrize(("make", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_inputs_whose_kernel_is_beyond_all_numbers_are_refused():
    kernel, x = ntkrs.mlp(2, 1, 1).kernel(), np.eye(3)
    predict_at = predict.gp_inference(kernel, x, np.ones(3))
    with pytest.raises(ValueError, match=r"the nngp of x_test is not finite\. Scale the inputs down"):
        predict_at(1e160 * x, get="nngp", compute_cov=True)
    with pytest.raises(ValueError, match="of x_train is not finite"):
        predict.gp_inference(kernel, 1e200 * x, np.ones(3))(x, get="ntk")
    with pytest.raises(ValueError, match="of x_train is not finite"):
        predict.gradient_descent_mse_ensemble(kernel, 1e200 * x, np.ones(3))(1.0, x)
