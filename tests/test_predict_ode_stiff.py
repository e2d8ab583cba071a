"""Training on any loss where it is hard for solvers: stiff kernels, momentum, and kernels and times of all sizes."""

import re

import mpmath
import numpy as np
import pytest
from scipy.special import softmax

from ntkrs import ConvergenceWarning, predict
from ntkrs.predict import solving
from oracles import dynamics

SOLVERS = ["auto", "LSODA", "BDF", "Radau", "RK45", "DOP853"]
TOLERANCE = 1e-8  # the default, relative to f_0 − Y, which is near 1 in these tests


def stiff_problem(largest, n=8, outputs=2):
    """A kernel with eigenvalues from 1 to ``largest``, and targets."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((n, n)))[0]
    k = (basis * np.geomspace(1.0, largest, n)) @ basis.T
    return (k + k.T) / 2, rng.standard_normal((n, outputs))


def mean_square(f, y):
    """The gradient of the square loss, whose closed form the package does not know."""
    return (f - y) / y.size


def small_problem():
    rng = np.random.default_rng(1)
    features = rng.standard_normal((4, 6))
    return features @ features.T / 6, np.eye(2)[[0, 1, 1, 0]]


@pytest.mark.parametrize("largest", [1e4, 1e6, 1e8])
@pytest.mark.parametrize("momentum", [0.5, 0.9, 1 - 1e-6])
def test_the_square_loss_of_stiff_kernels_is_exact(largest, momentum):
    k, y = stiff_problem(largest)
    t = [0.5, 3.0, 40.0]
    closed = predict.gradient_descent_mse(k, y, momentum=momentum)(t)
    # Coefficients α hold f to ε times the condition of K.
    atol = 100 * np.finfo(float).eps * largest
    np.testing.assert_allclose(predict.gradient_descent("mse", k, y, 1.0, momentum)(t), closed, rtol=0, atol=atol)


@pytest.mark.parametrize(
    ("largest", "solver"), [(1e2, "auto"), (1e4, "auto"), (1e2, "LSODA"), (1e4, "LSODA"), (1e2, "RK45"), (1e2, "Radau")]
)
def test_the_tolerance_is_kept_with_momentum(largest, solver):
    """Errors of α were relative to slow modes, and added up over oscillations: 5e-5 at 1e4, 0.3 at 1e8."""
    k, y = stiff_problem(largest)
    run = predict.gradient_descent(mean_square, k, y, 1.0, 0.9, solver=solver)
    closed = predict.gradient_descent_mse(k, y, momentum=0.9)
    for t in (0.5, 3.0, 40.0):
        np.testing.assert_allclose(run(t), closed(t), rtol=0, atol=10 * TOLERANCE)


@pytest.mark.parametrize("solver", ["auto", "LSODA"])
@pytest.mark.parametrize("largest", [1.0, 1e4])
def test_cross_entropy_with_momentum_is_an_independent_ode(largest, solver):
    k = stiff_problem(largest)[0]
    y = softmax(np.random.default_rng(2).standard_normal((8, 3)), axis=1)
    run = predict.gradient_descent("softmax_cross_entropy", k, y, 0.7, 0.8, solver=solver)
    for t in (0.3, 20.0):
        exact = dynamics.heavy_ball_any_loss(
            k, lambda f: (softmax(f, axis=1) - y) / len(y), np.zeros(y.shape), 0.7, t, 0.8
        )
        np.testing.assert_allclose(run(t), exact, rtol=0, atol=20 * TOLERANCE * max(1, np.abs(exact).max()))


@pytest.mark.parametrize("momentum", [None, 0.9, 1 - 1e-12])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("loss", ["mse", "softmax_cross_entropy"])
@pytest.mark.parametrize(
    ("size", "t"), [(1e200, 1.0), (1e-200, 1.0), (1.0, 1e300), (1.0, 1e-12), (1e200, 1e-200), (1e-200, 1e12)]
)
def test_every_size_gives_an_answer_or_an_error(monkeypatch, loss, solver, momentum, size, t):
    """In bounded time, and without warnings, which are errors in these tests."""
    monkeypatch.setattr(solving, "EVALUATIONS", 20_000)
    k, y = small_problem()
    run = predict.gradient_descent(loss, k * size, y, 1.0, momentum, solver=solver)
    refused = None
    try:
        f = run(t, k_test_train=k[:2] * size)
    except ValueError as error:
        refused = str(error)
    if refused:
        assert re.fullmatch("t holds .* learning_rate 1 .*", refused) or "with learning_rate 1." in refused
        assert size * t > 1e10 or (momentum and t > 1e10)
        return
    assert np.isfinite(f[0]).all()
    assert np.isfinite(f[1]).all()
    if loss != "softmax_cross_entropy":
        closed = predict.gradient_descent_mse(k * size, y, momentum=momentum or 0.0)(t, k_test_train=k[:2] * size)
        for one, other in zip(f, closed, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("solver", ["auto", "LSODA", "Radau"])
@pytest.mark.parametrize(("size", "t"), [(1e200, 1.0), (1e100, 1e50), (1.0, 1e280)])
def test_the_limit_is_reached(solver, size, t):
    k, y = small_problem()
    for loss in ("mse", mean_square) if solver != "Radau" else ("mse",):
        f, tested = predict.gradient_descent(loss, k * size, y, solver=solver)(t, k_test_train=k[:2] * size)
        np.testing.assert_allclose(f, y, rtol=0, atol=1e-7)
        np.testing.assert_allclose(tested, y[:2], rtol=0, atol=1e-7)
    if solver == "Radau":  # which gives up near limits, and knows them only for a loss of the package
        return
    duplicates = predict.gradient_descent(mean_square, np.ones((4, 4)) * size, y, solver=solver)(t)
    np.testing.assert_allclose(duplicates, 0.5, rtol=0, atol=1e-7)  # null modes do not drift


@pytest.mark.parametrize("solver", ["auto", "BDF", "Radau"])
@pytest.mark.parametrize("t", [1e15, 1e280])
def test_cross_entropy_of_probabilities_has_a_limit(solver, t):
    """Rounding of the gradient does not move the sum of a sample's outputs, which nothing holds."""
    k = small_problem()[0]
    y = softmax(np.random.default_rng(3).standard_normal((4, 3)), axis=1)
    limit = np.log(y) - np.log(y).mean(axis=1, keepdims=True)
    f = predict.gradient_descent("softmax_cross_entropy", k, y, solver=solver)(t)
    np.testing.assert_allclose(f, limit, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("solver", "t"), [("BDF", 1e15), ("Radau", 1e15)] + [(s, t) for s in ("auto", "RK45") for t in (1e3, 1e15, 1e200)]
)
def test_cross_entropy_grows_like_a_logarithm(solver, t):
    """For one sample with classes 0 and 1, z = f_1 − f_0 satisfies ż = 2/(1 + e^z), or z + e^z = 2t + 1."""
    f = predict.gradient_descent("softmax_cross_entropy", np.eye(1), np.array([[0.0, 1.0]]), solver=solver)(t)
    exact = mpmath.findroot(lambda z: mpmath.log(2 * mpmath.mpf(t) + 1 - z) - z, mpmath.log(2 * t))
    assert f[0, 1] - f[0, 0] == pytest.approx(float(exact), rel=1e-6)


@pytest.mark.parametrize("momentum", [None, 0.7, 1 - 1e-9])
def test_the_square_loss_continues_from_any_state(momentum):
    k, y = small_problem()
    run = predict.gradient_descent("mse", k, y, 0.8, momentum)
    halfway = run.state(3.5, 0.2)
    for t in (3.5, 4.0, 30.0):
        np.testing.assert_allclose(run(t, start=halfway), run(t, 0.2), rtol=0, atol=1e-13)
    velocity = (run.state(3.5 + 1e-6, 0.2).coefficients - run.state(3.5 - 1e-6, 0.2).coefficients) / 2e-6
    np.testing.assert_allclose(halfway.velocity, velocity if momentum else 0, rtol=0, atol=1e-8)  # ε/1e-6


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("momentum", [None, 0.9])
def test_an_interrupt_ends_the_solver(solver, momentum):
    """Solvers written in C pass on what the loss raises, as they do a KeyboardInterrupt of the user."""
    k, y = small_problem()
    calls = []

    def interrupted(f, targets):
        calls.append(1)
        if len(calls) == 25:
            raise KeyboardInterrupt
        return mean_square(f, targets)

    with pytest.raises(KeyboardInterrupt):
        predict.gradient_descent(interrupted, k, y, 1.0, momentum, solver=solver)(1e4)
    assert len(calls) == 25


def test_tolerances_below_rounding_are_told():
    k, y = stiff_problem(1e2)
    run = predict.gradient_descent(mean_square, k, y, 1.0, 0.9, relative_tolerance=1e-14, absolute_tolerance=1e-14)
    with pytest.warns(ConvergenceWarning, match="rounding errors add up to about"):
        run(40.0)
