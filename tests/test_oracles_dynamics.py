"""The oracles of training dynamics, against each other and against closed forms. No ntkrs here.

Tolerances are a count of roundings times EPS, or the truncation error of the method compared with.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import linalg, special

from oracles import dynamics, finite, infinite

EPS = 2.0**-52

SHAPES = [(5, 1, 12), (4, 2, 15), (6, 1, 3)]  # N, O, P; the last one is rank deficient


@pytest.fixture(params=SHAPES, ids=str)
def linear_model(request):
    """A model f = J theta: J on train (N, O, P) and test (3, O, P), theta_0, y (N, O), and its kernels."""
    n, o, p = request.param
    rng = np.random.default_rng(6)
    j, j_test = rng.standard_normal((n, o, p)), rng.standard_normal((3, o, p))
    j[1] = j[0]  # a duplicate, with another label
    theta_0, y = rng.standard_normal(p), rng.standard_normal((n, o))
    return j, j_test, theta_0, y, finite.ntk(j, j), finite.ntk(j_test, j)


def test_matrix_exponential_is_gradient_flow_of_the_parameters(linear_model):
    j, j_test, theta_0, y, k, k_test = linear_model
    for t in 0.0, 0.3, 20.0:
        f = dynamics.gradient_flow(k, k_test, y, j @ theta_0, j_test @ theta_0, 0.2, t, z=y.size)
        theta = dynamics.parameter_flow(j, theta_0, y, 0.2, t, z=y.size)
        # the ODE solver is good to 1e-12 a step, over about 100 steps of values of order 10
        assert_allclose(f[0], j @ theta, rtol=0, atol=1e-9)
        assert_allclose(f[1], j_test @ theta, rtol=0, atol=1e-9)


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_descent_of_the_function_is_descent_of_the_parameters(linear_model, momentum):
    j, j_test, theta_0, y, k, k_test = linear_model
    f0, g0 = j @ theta_0, j_test @ theta_0
    for steps in 0, 1, 2, 50:
        f = dynamics.gradient_descent(k, k_test, y, f0, g0, 0.1, steps, y.size, momentum)
        theta = dynamics.parameter_descent(j, theta_0, y, 0.1, steps, y.size, momentum)
        # `steps` stable steps, each with a sum of P <= 15 products of order 10
        assert_allclose(f[0], j @ theta, rtol=0, atol=(steps + 1) * 15 * 10 * EPS)
        assert_allclose(f[1], j_test @ theta, rtol=0, atol=(steps + 1) * 15 * 10 * EPS)


def test_heavy_ball_flow_of_the_function_is_that_of_the_parameters(linear_model):
    j, j_test, theta_0, y, k, k_test = linear_model
    for t in 0.0, 0.3, 20.0:
        f = dynamics.heavy_ball_flow(k, k_test, y, j @ theta_0, j_test @ theta_0, 0.2, t, y.size, 0.7)
        theta = dynamics.parameter_heavy_ball_flow(j, theta_0, y, 0.2, t, y.size, 0.7)
        assert_allclose(f[0], j @ theta, rtol=0, atol=1e-9)  # the ODE solver, as above
        assert_allclose(f[1], j_test @ theta, rtol=0, atol=1e-9)


def phi_flow(lam, t):
    return np.where(lam > 1e-10, -np.expm1(-lam * t) / np.where(lam > 1e-10, lam, 1.0), t)


def phi_heavy_ball(lam, steps, momentum):
    """(1 - r_k / r_0) / lambda with r_k = (1 + mu - lambda) r_{k-1} - mu r_{k-2}, r_1 = (1 - lambda) r_0."""
    before, now = np.ones_like(lam), 1 - lam
    for _ in range(steps - 1):
        before, now = now, (1 + momentum - lam) * now - momentum * before
    return (1 - now) / lam


def test_spectral_formulas(linear_model):
    """f_t(x) = f_0(x) - k U phi_t(lambda) U^T r_0, with rates eta / Z absorbed in t and lambda."""
    j, j_test, theta_0, y, k, k_test = linear_model
    f0, g0 = j @ theta_0, j_test @ theta_0
    lam, u = np.linalg.eigh(dynamics.as_matrix(k))
    r0 = u.T @ (f0 - y).ravel()

    def test_prediction(phi):
        return g0.ravel() - dynamics.as_matrix(k_test) @ u @ (phi * r0)

    flow = dynamics.gradient_flow(k, k_test, y, f0, g0, 0.5, 3.0, z=2.0)[1]
    # eigh is good to N eps |lambda|max; phi of a zero eigenvalue multiplies a k u of the size of eps
    assert_allclose(flow.ravel(), test_prediction(phi_flow(lam, 0.75)), rtol=0, atol=1e-11)
    rate, mu = 0.5 / lam[-1], 0.6
    descent = dynamics.gradient_descent(k, k_test, y, f0, g0, rate, 30, momentum=mu)[1]
    phi = rate * phi_heavy_ball(rate * np.maximum(lam, 1e-14), 30, mu)  # 0 / 0 avoided; k u is of order eps there
    assert_allclose(descent.ravel(), test_prediction(phi), rtol=0, atol=1e-10)


def test_conflicting_labels_of_duplicates_end_at_their_mean():
    k = np.array([[2.0, 2.0, 0.5], [2.0, 2.0, 0.5], [0.5, 0.5, 1.0]])
    y = np.array([1.0, 3.0, -1.0])
    f, g = dynamics.gradient_flow(k, k[:1], y, np.zeros(3), np.zeros(1), 1.0, 100.0)
    # e^{-0.8 * 100} of the slowest mode is left; expm squares about 9 times
    assert_allclose([*f, *g], [2.0, 2.0, -1.0, 2.0], rtol=0, atol=1e-12)


def test_flow_of_other_losses(linear_model):
    j, j_test, theta_0, y, k, k_test = linear_model
    f0, g0 = j @ theta_0, j_test @ theta_0
    square = dynamics.flow_any_loss(k, k_test, lambda f: (f - y) / y.size, f0, g0, 0.2, 2.0)
    exact = dynamics.gradient_flow(k, k_test, y, f0, g0, 0.2, 2.0, z=y.size)
    for f, expected in zip(square, exact, strict=True):
        assert_allclose(f, expected, rtol=0, atol=1e-9)  # the ODE solver, as above

    labels = special.softmax(y, axis=1)

    def cross_entropy(f):
        return (special.softmax(f, axis=1) - labels) / len(f)

    f, g = dynamics.flow_any_loss(k, k_test, cross_entropy, f0, g0, 0.2, 2.0)
    flat, step = j.reshape(-1, theta_0.size), 2.0 / 4000
    theta = theta_0.copy()
    for _ in range(4000):  # the midpoint rule on the parameters: its error is (rate step)^2, rate < 1
        half = theta - 0.1 * step * (flat.T @ cross_entropy(j @ theta).ravel())
        theta = theta - 0.2 * step * (flat.T @ cross_entropy(j @ half).ravel())
    assert_allclose(f, j @ theta, rtol=0, atol=1e-6)
    assert_allclose(g, j_test @ theta, rtol=0, atol=1e-6)


def test_ensemble():
    x = np.random.default_rng(8).standard_normal((6, 3))
    nngp, ntk = infinite.kernels_numpy(x, None, 1.3, 0.2, ["erf", "erf"])
    train, test = slice(0, 4), slice(4, 6)
    s_dd, s_td, s_tt = nngp[train, train], nngp[test, train], nngp[test, test]
    y = np.array([0.5, -1.0, 0.3, 2.0])
    mean, covariance = dynamics.ensemble(ntk[train, train], ntk[test, train], s_dd, s_td, s_tt, y, 0.7, 2.0)
    k, k_test = ntk[train, train], ntk[test, train]
    b = k_test @ np.linalg.solve(k, np.eye(4) - linalg.expm(-1.4 * k))
    # two linear solves of condition number below 100
    assert_allclose(mean, b @ y, rtol=0, atol=1e-12)
    assert_allclose(covariance, s_tt + b @ s_dd @ b.T - b @ s_td.T - s_td @ b.T, rtol=0, atol=1e-12)

    # only the read-out is trained
    mean, covariance = dynamics.ensemble(s_dd, s_td, s_dd, s_td, s_tt, y, 0.7, 2.0)
    inverse = np.linalg.inv(s_dd)
    assert_allclose(mean, s_td @ inverse @ (np.eye(4) - linalg.expm(-1.4 * s_dd)) @ y, rtol=0, atol=1e-12)
    decay = np.eye(4) - linalg.expm(-2.8 * s_dd)
    assert_allclose(covariance, s_tt - s_td @ inverse @ decay @ s_td.T, rtol=0, atol=1e-12)
