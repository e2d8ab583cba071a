"""Training on any loss in function space: against the closed form, an independent ODE, and parameters."""

import numpy as np
import pytest
from scipy.sparse.linalg import aslinearoperator
from scipy.special import softmax

from ntkrs import predict
from oracles import dynamics
from test_predict import CASES, problem

OUTPUTS = {name: CASES[name] for name in ("outputs", "blocks")}


def cross_entropy_problem(*, blocks=False):
    k, k_test, y, f0, f0_test = problem(outputs=3, blocks=blocks)
    return k, k_test, softmax(2 * y, axis=1), f0, f0_test


@pytest.mark.parametrize("solver", ["auto", "LSODA", "BDF", "Radau", "RK45", "DOP853"])
@pytest.mark.parametrize("momentum", [None, 0.6])
def test_square_loss_is_the_closed_form(solver, momentum):
    k, k_test, y, f0, f0_test = problem(outputs=2)
    times = np.array([[0.0, 0.5], [3.0, 40.0]])
    run = predict.gradient_descent("mse", k, y, 0.7, momentum, solver=solver)
    closed = predict.gradient_descent_mse(k, y, 0.7, momentum=momentum or 0.0)
    for one, other in zip(run(times, f0, f0_test, k_test), closed(times, f0, f0_test, k_test), strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)  # tolerances of 1e-8 a step


@pytest.mark.parametrize(("outputs", "blocks"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("momentum", [None, 0.6])
def test_steps_are_steps(outputs, blocks, momentum):
    k, k_test, y, f0, f0_test = problem(outputs=outputs, blocks=blocks)
    run = predict.gradient_descent("mse", k, y, 0.7, momentum, optimizer="gd")
    for steps in (0, 1, 25):
        expected = dynamics.gradient_descent(k, k_test, y, f0, f0_test, 0.7, steps, y.size, momentum or 0.0)
        for one, other in zip(run(steps, f0, f0_test, k_test), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-13)


@pytest.mark.parametrize("solver", ["auto", "BDF", "Radau", "DOP853"])
@pytest.mark.parametrize("blocks", [False, True])
def test_cross_entropy_is_an_independent_ode(blocks, solver):
    k, k_test, y, f0, f0_test = cross_entropy_problem(blocks=blocks)
    run = predict.gradient_descent("softmax_cross_entropy", k, y, 0.5, solver=solver)
    for t in (0.0, 2.0, 60.0):
        expected = dynamics.flow_any_loss(k, k_test, lambda f: (softmax(f, axis=1) - y) / len(f), f0, f0_test, 0.5, t)
        for one, other in zip(run(t, f0, f0_test, k_test), expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=2e-6)  # tolerances of 1e-8 a step


@pytest.mark.parametrize("shape", [None, 3])
def test_a_callable_gradient(shape):
    k, k_test, y, f0, f0_test = problem(outputs=shape)

    def huber(f, targets):
        assert f.shape == targets.shape == y.shape
        return np.clip(f - targets, -0.5, 0.5)

    run = predict.gradient_descent(huber, k, y, 0.3)
    expected = dynamics.flow_any_loss(k, k_test, lambda f: np.clip(f - y, -0.5, 0.5), f0, f0_test, 0.3, 9.0)
    for one, other in zip(run(9.0, f0, f0_test, k_test), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)  # the kinks cost the solver a digit


@pytest.mark.parametrize("optimizer", ["flow", "gd"])
@pytest.mark.parametrize("momentum", [None, 0.8])
def test_it_can_be_resumed(optimizer, momentum):
    k, k_test, y, f0, f0_test = cross_entropy_problem()
    run = predict.gradient_descent("softmax_cross_entropy", k, y, 0.5, momentum, optimizer=optimizer)
    half = run.state(20, f0)
    assert half.time == 20
    for one, other in zip(
        run([20, 45], 0.0, f0_test, k_test, start=half), run([20, 45], f0, f0_test, k_test), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12 if optimizer == "gd" else 1e-6)
    again = run.state(45, start=half)
    np.testing.assert_allclose(again.coefficients, run.state(45, f0).coefficients, rtol=0, atol=1e-5)


def test_time_zero_is_exact():
    k, k_test, y, f0, f0_test = cross_entropy_problem()
    for optimizer in ("flow", "gd"):
        run = predict.gradient_descent("softmax_cross_entropy", k, y, optimizer=optimizer)
        trained, tested = run([0, 3], f0, f0_test, k_test)
        assert np.array_equal(trained[0], f0)
        assert np.array_equal(tested[0], f0_test)
        assert np.array_equal(run(0, f0), f0)


def test_the_loss_never_rises_and_stiff_problems_end():
    """Eigenvalues span 8 decades, and t is long for the fast ones: an explicit solver would take 10⁸ steps."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((20, 20)))[0]
    k = (basis * np.geomspace(1e-4, 1e4, 20)) @ basis.T
    k = (k + k.T) / 2
    y = np.eye(2)[rng.integers(0, 2, 20)]
    f = predict.gradient_descent("softmax_cross_entropy", k, y)(np.geomspace(1e-3, 1e5, 30))
    log_p = f - np.log(np.exp(f).sum(axis=-1, keepdims=True))
    losses = -(y * log_p).sum(axis=(-1, -2))
    assert (np.diff(losses) <= 1e-9 * losses[0]).all()
    assert losses[-1] < 0.3 * losses[0]


def test_duplicates_and_zero_kernels():
    y = np.array([1.0, 3.0, 5.0])
    run = predict.gradient_descent("mse", np.ones((3, 3)), y)
    np.testing.assert_allclose(run(1e4), [3.0, 3.0, 3.0], rtol=1e-7)
    assert np.array_equal(predict.gradient_descent("mse", np.zeros((3, 3)), y)(1e4), np.zeros(3))
    _, tested = predict.gradient_descent("mse", np.empty((0, 0)), [])(1.0, 0.0, 2.0, np.empty((3, 0)))
    assert np.array_equal(tested, [2.0, 2.0, 2.0])


@pytest.mark.parametrize("size", [1e-150, 1e150])
@pytest.mark.parametrize("momentum", [None, 0.6])
def test_kernels_of_all_sizes(size, momentum):
    k, k_test, y, f0, f0_test = cross_entropy_problem()
    plain = predict.gradient_descent("softmax_cross_entropy", k, y, 1.0, momentum)(9.0, f0, f0_test, k_test)
    run = predict.gradient_descent("softmax_cross_entropy", k * size, y, 1 / size, momentum)
    for one, other in zip(run(9.0, f0, f0_test, k_test * size), plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


def test_no_times_and_tiny_rates():
    k, k_test, y, f0, f0_test = cross_entropy_problem()
    run = predict.gradient_descent("softmax_cross_entropy", k, y)
    assert [part.shape for part in run([], f0, f0_test, k_test)] == [(0, 12, 3), (0, 5, 3)]
    assert run([5.0, 1.0, 5.0], f0)[2] == pytest.approx(run(5.0, f0))
    slow = predict.gradient_descent("softmax_cross_entropy", k, y, 1e-300)
    np.testing.assert_allclose(slow(1.0, f0), f0, rtol=1e-15)
    np.testing.assert_allclose(slow(9e300, f0), run(9.0, f0), rtol=0, atol=1e-6)


def test_operators_and_float32():
    k, k_test, y, f0, f0_test = cross_entropy_problem()
    plain = predict.gradient_descent("softmax_cross_entropy", k, y)(9.0, f0, f0_test, k_test)
    run = predict.gradient_descent("softmax_cross_entropy", aslinearoperator(k), y)
    for one, other in zip(run(9.0, f0, f0_test, aslinearoperator(k_test)), plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)
    single = predict.gradient_descent("softmax_cross_entropy", np.float32(k), np.float32(y))(9.0, f0)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, plain[0], rtol=0, atol=1e-4)


K, K_TEST, Y, F0, F0_TEST = cross_entropy_problem()


def of(loss="softmax_cross_entropy", y=Y, **options):
    return predict.gradient_descent(loss, K, y, **options)


REFUSED = {
    "loss": (lambda: of("hinge"), ValueError, "loss is 'hinge', but must be 'mse' or 'softmax_cross_entropy'"),
    "labels": (lambda: of(y=np.arange(12)), ValueError, r"y_train has shape \(12,\).*numpy.eye\(O\)\[labels\]"),
    "probabilities": (lambda: of(y=2 * Y), ValueError, "row 0 of y_train sums to "),
    "solver": (lambda: of(solver="Euler"), ValueError, "solver is 'Euler', but must be 'auto', "),
    "optimizer": (lambda: of(optimizer="sgd"), ValueError, "optimizer is 'sgd'"),
    "tolerance": (lambda: of(relative_tolerance=0), ValueError, "relative_tolerance is 0.0, but must be positive"),
    "momentum": (lambda: of(momentum=1.0), ValueError, "momentum is 1.0, but must be below 1"),
    "None": (lambda: of()(None), ValueError, "t is None, but the end of training on any loss has no formula"),
    "inf": (lambda: of()([1.0, np.inf]), ValueError, "t holds inf"),
    "backwards": (lambda: of()(1.0, start=of().state(2.0)), ValueError, "t holds 1.0, but start is at 2.0"),
    "two times": (lambda: of().state([1.0, 2.0]), ValueError, r"t has shape \(2,\), but a state belongs to one time"),
    "half a step": (lambda: of(optimizer="gd")(1.5), ValueError, "t holds 1.5, but optimizer='gd' takes whole"),
    "f0 test": (lambda: of()(1.0, F0, F0_TEST), ValueError, "fx_test_0 is given without k_test_train"),
    "gradient shape": (lambda: of(lambda f, _: f[:3])(1.0), ValueError, r"loss returned shape \(3, 3\), but dL/df"),
    "gradient NaN": (lambda: of(lambda f, _: f * np.nan)(1.0), ValueError, "loss returned NaN"),
    "divergence": (
        lambda: of("mse", learning_rate=1e6, optimizer="gd")(1000),
        ValueError,
        r"training diverged at step \d+ with learning_rate 1e\+06",
    ),
    "overflow": (lambda: of(learning_rate=1e300)(1e300), ValueError, "exceeds float64"),
    "no output": (lambda: of(y=Y[:, :0]), ValueError, r"y_train has shape \(12, 0\), but at least 1 output"),
    "asymmetric": (lambda: predict.gradient_descent("mse", np.triu(K), Y), ValueError, "differs from its transpose"),
}


@pytest.mark.parametrize(("make", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_solver_that_gives_up_is_an_error():
    """f' = f² blows up at t = 1."""
    run = predict.gradient_descent(lambda f, _: -(f**2), np.eye(1), [0.0], solver="LSODA")
    with (
        pytest.raises((RuntimeError, ValueError), match=r"gave up after t|NaN or an infinity"),
        np.errstate(all="ignore"),
    ):
        run(2.0, 1.0)
