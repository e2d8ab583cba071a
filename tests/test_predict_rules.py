"""Ways of training in closed form: against literal steps, 400 digits, and the parameters of linear models."""

import mpmath
import numpy as np
import pytest

from ntkrs import predict
from ntkrs.predict.rules import Descent, Flow
from oracles import dynamics, finite
from test_predict import CASES, problem

EPS = np.finfo(float).eps
MOMENTA = [0.0, 1e-20, 0.3, 0.9, 0.999]


def linear_model(n=9, m=4, outputs=2, parameters=30):
    """f = J θ: Jacobians on train and test, θ_0, targets, and the full kernels."""
    rng = np.random.default_rng(3)
    j, j_test = (rng.standard_normal((count, outputs, parameters)) / parameters**0.5 for count in (n, m))
    theta_0, y = rng.standard_normal(parameters), rng.standard_normal((n, outputs))
    return j, j_test, theta_0, y, finite.ntk(j, j), finite.ntk(j_test, j)


def rates(momentum, *, steps):
    """Slow, critical and oscillating modes and, for steps, alternating ones up to the bound."""
    critical = (1 - momentum) ** 2 / ((1 + momentum**0.5) ** 2 if steps else 4 * momentum or 1)
    shared = [1e-250, 1e-12, 1e-3, critical * (1 - 1e-9), critical, critical * (1 + 1e-9), 3 * critical, 0.5]
    top = 2 * (1 + momentum)
    all_rates = {*shared, 1.0, 1 + momentum, 1.9, top - critical, top * 0.999} if steps else {*shared, 50.0}
    return np.array(sorted(x for x in all_rates if x <= top or not steps))


def exact_descent(x, momentum, k):
    """Returns 1 − p_k from a matrix power, to 400 digits."""
    x, mu = mpmath.mpf(float(x)), mpmath.mpf(momentum)
    power = mpmath.matrix([[1 + mu - x, -mu], [1, 0]]) ** k
    return float(1 - power[1, 0] * (1 - x) - power[1, 1])


def exact_flow(x, momentum, t):
    """Returns 1 − p_t of the damped oscillator, to 400 digits."""
    x, mu, t = mpmath.mpf(float(x)), mpmath.mpf(momentum), mpmath.mpf(t)
    root = mpmath.sqrt((1 - mu) ** 2 - 4 * mu * x + mpmath.mpf(10) ** -300)
    a, b = (-(1 - mu) + root) / (2 * mu), (-(1 - mu) - root) / (2 * mu)
    return float(1 - mpmath.re((b * mpmath.exp(a * t) - a * mpmath.exp(b * t)) / (b - a)))


@pytest.mark.parametrize("momentum", MOMENTA)
def test_steps_to_400_digits(momentum):
    x, steps = rates(momentum, steps=True), [0, 1, 2, 3, 10, 101, 1000, 10**5]
    decay = Descent(1.0, momentum).decay(x, 0, np.array(steps, float))
    with mpmath.workdps(400):
        exact = np.array([[exact_descent(value, momentum, k) for value in x] for k in steps])
    assert np.array_equal(decay[0], np.zeros(len(x)))
    if momentum == 0:
        assert np.array_equal(decay[1], x)
    # An error ε in x is k ε in the k-th power. At double roots, where p_k has terms k z^k, it is up to k³ ε.
    count = 1 + np.array(steps)[:, None]
    assert (np.abs(decay - exact) <= 4 * EPS * count * np.minimum(count, 2 / (1 - momentum)) ** 2).all()
    # Slow modes have a small relative error, which φ = (1 − p)/λ needs.
    slow = x < (1 - momentum) ** 2 / 5
    np.testing.assert_allclose(decay[1:, slow], exact[1:, slow], rtol=50 * EPS / (1 - momentum))


@pytest.mark.parametrize("momentum", MOMENTA[1:])
def test_flow_with_momentum_to_400_digits(momentum):
    x, times = rates(momentum, steps=False), [1e-6, 0.1, 1.0, 7.0, 300.0, 1e5]
    decay = Flow(1.0, momentum).decay(x, 0, np.array(times))
    with mpmath.workdps(400):
        exact = np.array([[exact_flow(value, momentum, t) for value in x] for t in times])
    # The phase √(x/μ) t has a relative error of ε as long as the amplitude e^{−(1 − μ)t/2μ} has not died away.
    np.testing.assert_allclose(decay, exact, rtol=0, atol=100 * EPS / (1 - momentum))


@pytest.mark.parametrize("rule", [Descent, Flow])
@pytest.mark.parametrize("momentum", MOMENTA)
def test_the_limit_of_slow_modes(rule, momentum):
    t = np.array([1.0, 2.0, 30.0, 1000.0])
    ratio = rule(1.0, momentum).decay(np.array([1e-200]), 0, t)[:, 0] / 1e-200
    np.testing.assert_allclose(rule(1.0, momentum).drift(0, t), ratio, rtol=1e-9)  # ε/(1 − μ)² at small t


@pytest.mark.parametrize(("outputs", "blocks"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.95])
def test_it_is_the_literal_recurrence(outputs, blocks, momentum):
    k, k_test, y, f0, f0_test = problem(outputs=outputs, blocks=blocks)
    eta = 0.97 * predict.max_learning_rate(k, y.size, momentum)
    run = predict.gradient_descent_mse(k, y, eta, optimizer="gd", momentum=momentum)
    for steps in (0, 1, 2, 7, 100):
        expected = dynamics.gradient_descent(k, k_test, y, f0, f0_test, eta, steps, y.size, momentum)
        for result, oracle in zip(run(steps, f0, f0_test, k_test), expected, strict=True):
            np.testing.assert_allclose(result, oracle, rtol=0, atol=1e-12)  # 100 steps of sums of order 10


@pytest.mark.parametrize(("outputs", "blocks"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("momentum", [1e-3, 0.5, 0.95])
def test_flow_with_momentum_is_a_matrix_exponential(outputs, blocks, momentum):
    k, k_test, y, f0, f0_test = problem(outputs=outputs, blocks=blocks)
    run = predict.gradient_descent_mse(k, y, 2.0, momentum=momentum)
    for t in (0.0, 0.5, 20.0):
        expected = dynamics.heavy_ball_flow(k, k_test, y, f0, f0_test, 2.0, t, y.size, momentum)
        for result, oracle in zip(run(t, f0, f0_test, k_test), expected, strict=True):
            np.testing.assert_allclose(result, oracle, rtol=0, atol=1e-11)  # expm of a norm of 1/μ squares ten times


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_the_parameters_of_a_linear_model(momentum):
    """θ_t − θ_0 = Jᵀ α_t, and f = J θ, for steps and for continuous time."""
    j, j_test, theta_0, y, k, k_test = linear_model()
    f0, f0_test = j @ theta_0, j_test @ theta_0
    steps = predict.gradient_descent_mse(k, y, 3.0, optimizer="gd", momentum=momentum)
    flow = predict.gradient_descent_mse(k, y, 3.0, momentum=momentum)
    moved = {}
    for count in (1, 2, 60):
        moved[steps, count] = dynamics.parameter_descent(j, theta_0, y, 3.0, count, y.size, momentum)
    for t in (0.4, 25.0):
        moved[flow, t] = (
            dynamics.parameter_heavy_ball_flow(j, theta_0, y, 3.0, t, y.size, momentum)
            if momentum
            else dynamics.parameter_flow(j, theta_0, y, 3.0, t, y.size)
        )
    for (run, t), theta in moved.items():
        trained, tested = run(t, f0, f0_test, k_test)
        np.testing.assert_allclose(trained, j @ theta, rtol=0, atol=1e-10)  # the ODE solver is good to 1e-12 a step
        np.testing.assert_allclose(tested, j_test @ theta, rtol=0, atol=1e-10)
        change = np.einsum("nop,no->p", j, run.coefficients(t, f0))
        np.testing.assert_allclose(theta_0 + change, theta, rtol=0, atol=1e-10)


def test_momentum_tends_to_none():
    k, k_test, y, f0, f0_test = problem()
    for optimizer, t in (("flow", 3.0), ("gd", 3)):
        plain = predict.gradient_descent_mse(k, y, optimizer=optimizer)(t, f0, f0_test, k_test)
        nearly = predict.gradient_descent_mse(k, y, optimizer=optimizer, momentum=1e-12)(t, f0, f0_test, k_test)
        for one, other in zip(plain, nearly, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-11)


def test_many_small_steps_are_the_flow():
    k, k_test, y, f0, f0_test = problem()
    flow = predict.gradient_descent_mse(k, y, 1.0)(5.0, f0, f0_test, k_test)
    steps = predict.gradient_descent_mse(k, y, 2.0**-30, optimizer="gd")(5 * 2.0**30, f0, f0_test, k_test)
    for one, other in zip(flow, steps, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-8)  # η λ² t/2Z² per mode


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_steps_end_where_the_flow_ends(momentum):
    k, k_test, y, f0, f0_test = problem()
    flow = predict.gradient_descent_mse(k, y)(None, f0, f0_test, k_test)
    for t in (None, 1e300):
        steps = predict.gradient_descent_mse(k, y, optimizer="gd", momentum=momentum)(t, f0, f0_test, k_test)
        for one, other in zip(flow, steps, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


def test_steps_compose():
    """k steps and then l steps equal k + l. With momentum they do not, as the second start is at rest."""
    k, k_test, y, f0, f0_test = problem()
    run = predict.gradient_descent_mse(k, y, 3.0, optimizer="gd")
    for twice, once in zip(run(4, *run(3, f0, f0_test, k_test), k_test), run(7, f0, f0_test, k_test), strict=True):
        np.testing.assert_allclose(twice, once, rtol=0, atol=1e-13)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("optimizer", ["flow", "gd"])
def test_singular_kernels_end_at_the_projection(optimizer, momentum):
    """Kernels of rank one, two and zero leave everything that they cannot see unchanged."""
    y, f0 = np.array([1.0, 2.0, 6.0]), np.array([0.5, 0.0, -1.0])
    for k in (np.ones((3, 3)), np.diag([1.0, 0.0, 2.0]), np.zeros((3, 3))):
        run = predict.gradient_descent_mse(k, y, 0.3, optimizer=optimizer, momentum=momentum, loss_scale="sum")
        projection = f0 + k @ np.linalg.pinv(k) @ (y - f0)
        for t in (None, 10000):
            trained, tested = run(t, f0, f0, k)
            np.testing.assert_allclose(trained, projection, rtol=0, atol=1e-13)
            np.testing.assert_allclose(tested, projection, rtol=0, atol=1e-13)
        np.testing.assert_allclose(k @ run.coefficients(None, f0), projection - f0, rtol=0, atol=1e-13)


def test_the_training_loss_of_steps_never_rises():
    k, _, y, f0, _ = problem()
    eta = 0.999999 * predict.max_learning_rate(k, y.size)
    trained = predict.gradient_descent_mse(k, y, eta, optimizer="gd")(np.arange(300), f0)
    losses = ((trained - y) ** 2).sum(axis=1)
    assert (np.diff(losses) <= 1e-14 * losses[0]).all()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_at_the_bound_the_fastest_mode_oscillates(momentum):
    k = np.diag([4.0, 1.0])
    eta = predict.max_learning_rate(k, 2, momentum)
    run = predict.gradient_descent_mse(k, [1.0, 1.0], eta, optimizer="gd", momentum=momentum)
    late = run(np.array([10**6, 10**6 + 1, 10**6 + 2]))
    np.testing.assert_allclose(late[:, 1], 1.0, atol=1e-12)
    np.testing.assert_allclose(late[0, 0], late[2, 0], rtol=1e-6)
    assert abs(late[1, 0] - 1) > 0.9
    with pytest.raises(ValueError, match="t=None has no limit"):
        run(None)


@pytest.mark.parametrize("optimizer", ["flow", "gd"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_time_scales(optimizer, momentum):
    """Over ten of its time scales a mode's residual shrinks by e^10, up to the oscillation."""
    k = np.diag([0.0, 1e-4, 0.01, 3.0])
    run = predict.gradient_descent_mse(k, np.ones(4), 0.2, optimizer=optimizer, momentum=momentum, loss_scale="sum")
    scales = run.time_scales
    assert scales[0] == np.inf
    if momentum == 0 and optimizer == "flow":
        np.testing.assert_allclose(scales[1:], 1 / (0.2 * np.diag(k)[1:]))
    times = np.round(np.linspace(10, 30, 41)[:, None] * scales[1:])
    for mode in (1, 2, 3):
        left = np.abs(1 - run(times[:, mode - 1])[:, mode])
        slope = np.polyfit(times[:, mode - 1], np.log(np.maximum(left, 1e-300)), 1)[0]
        assert slope * scales[mode] == pytest.approx(-1, rel=0.15)


def test_huge_and_tiny_kernels_with_steps():
    y = np.array([1.0, 2.0, 3.0])
    for size in (1e-150, 1e150, 1e-300, 1e300):
        for optimizer, momentum in (("gd", 0.0), ("gd", 0.9), ("flow", 0.9)):
            run = predict.gradient_descent_mse(
                np.eye(3) * size, y, 1 / size, optimizer=optimizer, momentum=momentum, loss_scale="sum"
            )
            plain = predict.gradient_descent_mse(np.eye(3), y, optimizer=optimizer, momentum=momentum, loss_scale="sum")
            for t in (0, 1, 5, None):
                for one, other in zip(
                    run(t, k_test_train=np.eye(3) * size), plain(t, k_test_train=np.eye(3)), strict=True
                ):
                    np.testing.assert_allclose(one, other, rtol=1e-13)


@pytest.mark.parametrize("optimizer", ["flow", "gd"])
@pytest.mark.parametrize("momentum", [0.0, 1e-300, 0.9, 1 - 2.0**-53])
def test_kernels_and_rates_at_the_ends_of_float64_warn_of_nothing(optimizer, momentum):
    """A kernel of zeros trains nothing. Warnings of NumPy are errors here."""
    times = [0, 1, 1e5, 1e155, 1e280, np.inf]
    for learning_rate in (1e-300, 1e-3, 1e300):
        run = predict.gradient_descent_mse(
            np.zeros((2, 2)), [1.0, 2.0], learning_rate, optimizer=optimizer, momentum=momentum
        )
        assert np.array_equal(run(times, fx_train_0=[3.0, 4.0]), np.tile([3.0, 4.0], (6, 1)))
        assert np.isfinite(run.coefficients(times)).all()
        assert np.isinf(run.time_scales).all()
    slow = predict.gradient_descent_mse(
        np.diag([0.0, 1e-308]), [1.0, 2.0], 1e-3, optimizer=optimizer, momentum=momentum
    )
    assert np.isfinite(slow(times)).all()
    assert (slow.time_scales > 1e15).all()  # 2μ/(1 − μ) at the least
    fast = predict.gradient_descent_mse(np.diag([1e308, 1e308]), [1.0, 2.0], 1e300, momentum=momentum)
    assert np.isfinite(fast(times)).all()
    assert (fast.time_scales >= 0).all()


K, Y = problem()[0], problem()[2]
BOUND = predict.max_learning_rate(K, Y.size)
REFUSED = {
    "optimizer": (
        lambda: predict.gradient_descent_mse(K, Y, optimizer="adam"),
        "optimizer is 'adam', but must be 'flow' or 'gd'",
    ),
    "momentum 1": (lambda: predict.gradient_descent_mse(K, Y, momentum=1), "momentum is 1.0, but must be below 1"),
    "momentum -1": (lambda: predict.gradient_descent_mse(K, Y, momentum=-1), "momentum is -1.0, but must be >= 0"),
    "half a step": (
        lambda: predict.gradient_descent_mse(K, Y, 0.1, optimizer="gd")([1, 2.5]),
        "t holds 2.5, but optimizer='gd' takes whole",
    ),
    "divergence": (
        lambda: predict.gradient_descent_mse(K, Y, 3 * BOUND, optimizer="gd"),
        "learning_rate is 3 times the largest that is stable.*max_learning_rate",
    ),
    "divergence with momentum": (
        lambda: predict.gradient_descent_mse(K, Y, 3 * BOUND, optimizer="gd", momentum=0.5),
        r"learning_rate is 2 times the largest that is stable, 2\(1 \+ momentum\)Z/lambda_max",
    ),
    "method": (lambda: predict.gradient_descent_mse(K, Y, method="cg"), "method is 'cg', but must be 'eigh' or"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
