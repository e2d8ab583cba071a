"""Modes of training to 12 digits, for all momenta, eigenvalues and times: against mpmath."""

import mpmath
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ntkrs import predict
from ntkrs.predict.modes import assemble
from ntkrs.predict.rules import Descent, Flow, responses
from oracles import dynamics

EPS = np.finfo(float).eps
ROUNDING = 16 * EPS  # of x, and of the few operations that turn it into roots
NEAR_1 = st.floats(-15.9, 0).map(lambda e: 1 - 10.0**e)
MOMENTA = st.one_of(st.just(0.0), NEAR_1, st.floats(-300, -0.01).map(lambda e: 10.0**e))
SIZES = st.floats(-200, 12).map(lambda e: 10.0**e)
TIMES = st.floats(-12, 12).map(lambda e: 10.0**e)
STEPS = st.one_of(st.integers(1, 40), st.floats(0, 12).map(lambda e: int(10.0**e)))


def modes(values, exponent=0):
    """A diagonal kernel with these eigenvalues times ``2^exponent``, of which none counts as round-off."""
    return assemble(np.array(values), np.eye(len(values)), None, exponent, 1e-300, "k")


def assert_digits(value, exact, slope):
    """12 digits, up to a relative error of x, which changes d_t by ``slope`` times this error."""
    assert np.isfinite(value)
    error = abs(mpmath.mpf(float(value)) - exact)
    assert error <= mpmath.mpf(1e-12) * abs(exact) + ROUNDING * abs(slope) + mpmath.mpf(2) ** -1040


def slope_of(mode, x, momentum, t, exact):
    """x ∂d/∂x. Where d_t is proportional to x it is d_t, and where modes oscillate it is as large as the phase."""
    step = mpmath.mpf(2) ** -200
    with mpmath.workdps(1000):
        return (mode(mpmath.mpf(x) * (1 + step), momentum, t) - exact) / step


@settings(max_examples=150, deadline=None)
@given(momentum=MOMENTA, x=SIZES, t=TIMES, critical=st.one_of(st.none(), st.floats(-1e-6, 1e-6)))
@example(momentum=0.9, x=1.0, t=1e-8, critical=None)  # f_t − f_0 = O(t²) as a difference of O(t)
@example(momentum=1 - 1e-12, x=1e12, t=1e-12, critical=None)
@example(momentum=0.5, x=1.0, t=0.3, critical=0.0)  # both roots coincide
def test_flow(momentum, x, t, critical):
    if critical is not None and momentum > 1e-100:
        x = (1 - momentum) ** 2 / 4 / momentum * (1 + critical)
    exact = dynamics.flow_mode(x, momentum, t)
    if not mpmath.isfinite(exact):
        return
    decay, response = responses(modes([x]), Flow(1.0, momentum), np.array([0.0, t, np.inf]))
    assert decay[0] == 0
    assert decay[2] == 1
    slope = slope_of(dynamics.flow_mode, x, momentum, t, exact)
    assert_digits(decay[1, 0], exact, slope)
    assert_digits(response[1, 0], exact / mpmath.mpf(x), slope / mpmath.mpf(x))


@settings(max_examples=100, deadline=None)
@given(
    momentum=st.one_of(st.just(0.0), NEAR_1), x=SIZES, k=STEPS, critical=st.one_of(st.none(), st.floats(-1e-6, 1e-6))
)
@example(momentum=1 - 1e-12, x=1e-30, k=2, critical=None)
@example(momentum=1 - 1e-12, x=0.3, k=3, critical=None)
@example(momentum=0.5, x=1.0, k=3, critical=0.0)
def test_steps(momentum, x, k, critical):
    if critical is not None:
        x = (1 - momentum) ** 2 / (1 + momentum**0.5) ** 2 * (1 + critical)
    x = min(x, 1.99 * (1 + momentum))
    exact = dynamics.descent_mode(x, momentum, k)
    decay, response = responses(modes([x]), Descent(1.0, momentum), np.array([0.0, k, np.inf]))
    assert decay[0] == 0
    assert decay[2] == 1
    slope = slope_of(dynamics.descent_mode, x, momentum, k, exact)
    assert_digits(decay[1, 0], exact, slope)
    assert_digits(response[1, 0], exact / mpmath.mpf(x), slope / mpmath.mpf(x))


@settings(max_examples=150, deadline=None)
@given(momentum=MOMENTA, t=TIMES, k=STEPS)
@example(momentum=1 - 1e-12, t=1e-12, k=2)  # a third was lost
def test_null_modes(momentum, t, k):
    exact = dynamics.flow_null_mode(momentum, t)
    assert_digits(Flow(1.0, momentum).drift(0, np.array(t)), exact, 0)
    assert_digits(Descent(1.0, momentum).drift(0, np.array(float(k))), dynamics.descent_null_mode(momentum, k), 0)


@pytest.mark.parametrize("rule", [Flow, Descent])
@pytest.mark.parametrize("momentum", [0.0, 0.9, 1 - 1e-12])
@pytest.mark.parametrize("exponent", [-1000, -600, 600])
def test_tiny_and_huge_kernels(rule, momentum, exponent):
    """Only ηλ counts, and d_t does not lose digits where it or ηλ underflows."""
    t = np.array([0.0, 1.0, 7.0, 1e300, np.inf])
    decay = responses(modes([0.5, 1.0], exponent), rule(2.0**-exponent, momentum), t)[0]
    assert np.array_equal(decay, responses(modes([0.5, 1.0]), rule(1.0, momentum), t)[0])
    if exponent < 0:
        slow = rule(2.0 ** (-exponent // 4), momentum)  # training is linear in time
        response = responses(modes([0.5, 1.0], exponent), slow, t[1:3])[1]
        drift = slow.drift(exponent, t[1:3])
        np.testing.assert_allclose(response, np.stack([drift, drift], axis=1), rtol=1e-14)


@pytest.mark.parametrize("optimizer", ["flow", "gd"])
@pytest.mark.parametrize("method", ["eigh", "krylov"])
def test_momentum_near_1_in_predictions(optimizer, method):
    """Two steps move f by three times the first step, and short times by ηλt²/2μ; null modes likewise."""
    k = np.diag([0.0, 1e-3, 0.5])
    y, mu = np.array([1.0, -2.0, 3.0]), 1 - 1e-12
    run = predict.gradient_descent_mse(k, y, 1e-3, optimizer=optimizer, momentum=mu, loss_scale="sum", method=method)
    t = 2 if optimizer == "gd" else 1e-8
    x = 1e-3 * np.diag(k)
    response = 1e-3 * (3 - x) if optimizer == "gd" else np.full(3, 0.5e-19)
    trained, tested = run(t, k_test_train=np.eye(3))
    rounding = 10 * EPS * np.abs(response * y).max()
    np.testing.assert_allclose(trained, response * y * np.diag(k), rtol=1e-11, atol=rounding)
    if method == "eigh":
        np.testing.assert_allclose(tested, response * y, rtol=1e-11, atol=0)
    assert np.array_equal(run(0, k_test_train=np.eye(3))[1], np.zeros(3))
