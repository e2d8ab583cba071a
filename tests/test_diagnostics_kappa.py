"""κ: against dense second derivatives, and by its laws."""

import numpy as np
import pytest

import ntkrs
from ntkrs import Dense, Network, Relu, Sequential, mlp
from ntkrs.diagnostics import kappa
from oracles import finite


def second_derivative(net, x):
    """D²f, (N·O, P, P), from central differences of the analytic Jacobian."""
    theta = net.parameters
    jacobians = finite.central_differences(lambda t: net.with_parameters(t).jacobian(x), theta)
    return jacobians.reshape(-1, theta.size, theta.size)


def dense_norm(tensor, starts):
    """The largest ⟨u, T(a, a)⟩ over many starts: an eigenvector a for fixed u, then the best u for that a."""
    best = 0.0
    for u in starts:
        for _ in range(200):
            values, vectors = np.linalg.eigh(np.tensordot(u / np.linalg.norm(u), tensor, 1))
            a = vectors[:, np.argmax(abs(values))]
            u = np.einsum("kpq,p,q->k", tensor, a, a)  # noqa: PLW2901 the iteration
        best = max(best, np.linalg.norm(u))
    return best


def brute_force(net, x, y):
    """κ by dense second derivatives, from 40 starts."""
    outputs = net(x)
    jacobian = net.jacobian(x).reshape(outputs.size, -1)
    starts = np.random.default_rng(9).standard_normal((40, outputs.size))
    norm = dense_norm(second_derivative(net, x), starts)
    return np.linalg.norm(outputs - y) * norm / np.linalg.eigvalsh(jacobian @ jacobian.T)[-1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kappa_of_a_small_network(dtype):
    net = mlp(1, 4, 2, "tanh", 1.5, 0.5).init(2, rng=1, dtype=dtype)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3, 2)).astype(np.float32), rng.standard_normal((3, 2))
    expected = brute_force(net.with_parameters(net.parameters.astype(np.float64)), x, y)
    # Both are local maxima of the same function, so they differ only by the tolerance of a power iteration.
    assert kappa(net, x, y, rtol=1e-6, max_iterations=2000) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("width", "activation", "outputs"), [(3, "tanh", 1), (4, "gelu", 2), (3, "sin", 1)])
@pytest.mark.parametrize("seed", [0, 5, 6])
def test_kappa_is_that_of_the_best_start(seed, width, activation, outputs):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((3, 2)), rng.standard_normal((3, outputs))
    net = mlp(1, width, outputs, activation, 1.3, 0.2).init(2, rng=4)
    # A power iteration that changes by 1e-3 is a few times that from its limit.
    assert kappa(net, x, y, rng=seed) == pytest.approx(brute_force(net, x, y), rel=1e-2)


def test_one_start_may_end_far_below():
    x = np.random.default_rng(6).standard_normal((3, 2))  # a quarter of the starts end at two thirds
    net = mlp(1, 3, 1, "tanh", 1.3, 0.2).init(2, rng=4)
    single = [kappa(net, x, np.ones(3), rng=seed, starts=1) for seed in range(12)]
    assert min(single) < 0.8 * max(single)
    assert kappa(net, x, np.ones(3)) == pytest.approx(max(single), rel=1e-2)


def test_kappa_falls_like_one_over_the_root_of_the_width():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((6, 3)), rng.standard_normal(6)
    widths = np.array([32, 128, 512])
    values = [
        np.mean([kappa(mlp(1, int(width), 1, "tanh", 1.5, 0.2).init(3, rng=seed), x, y) for seed in range(4)])
        for width in widths
    ]
    slope = np.polyfit(np.log(widths), np.log(values), 1)[0]
    assert -0.75 < slope < -0.25  # four seeds give each mean to about 15 %


def test_kappa_is_zero_where_there_is_nothing_to_learn_or_to_bend():
    x = np.eye(3)
    net = mlp(1, 4, 2, "tanh").init(3)
    assert kappa(net, x, net(x)) == 0
    assert kappa(mlp(0, 1, 2).init(3), x, np.ones((3, 2))) == 0


@pytest.mark.parametrize("name", ["relu", "abs", "leaky_relu", "elu", "selu"])
@pytest.mark.parametrize("seed", [0, 1])
def test_kinks_are_bent_between_layers(name, seed):
    """φ'' is 0 almost everywhere, but D²f is not: it contains the mixed terms, which differences see too."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((3, 2)), rng.standard_normal((3, 2))
    net = mlp(2, 3, 2, name, 1.3, 0.2).init(2, rng=4)
    # A lower bound: 40 starts of another kind may find a slightly higher one.
    assert 0.97 < kappa(net, x, y, starts=16) / brute_force(net, x, y) < 1.001


def test_kappa_of_a_relu_unit_is_known():
    """f = v max(w x, 0) at w = v = x = 1: D²f = [[0, 1], [1, 0]], Df = (1, 1), so κ = |1 − y| · 1/2."""
    net = Network(Sequential(Dense(1), Relu(), Dense(1)), [[[1.0]], [[1.0]]])
    assert kappa(net, [[1.0]], [3.0]) == pytest.approx(1.0, rel=1e-12)


def test_kappa_of_layers_that_are_trained_alone():
    """With the read-out or the first layer frozen, a ReLU network is linear in the trained parameters."""
    x, y = np.random.default_rng(0).standard_normal((2, 6, 3))
    for first, last in ((True, False), (False, True)):
        arch = Sequential(Dense(8, trainable=first), Relu(), Dense(3, trainable=last))
        assert kappa(arch.init(3, rng=1), x, y) == 0.0
    assert kappa(Sequential(Dense(8), Relu(), Dense(3)).init(3, rng=1), x, y) > 0.1


def test_a_step_activation_bends_nothing():
    assert kappa(mlp(2, 5, 1, "sign").init(3, rng=0), np.eye(3), np.ones(3)) == 0.0


X, NET = np.eye(3), mlp(1, 4, 1, "tanh").init(3)
FUNCTION = ntkrs.Activation(np.sin, np.cos)
STEEP = ntkrs.Exp(1e-100, 1e130)  # from φ' = 1e30 and φ'' = 1e160 at 0
HUGE = Network(Sequential(Dense(1, 1.0, 1.0), STEEP, Dense(1)), [np.ones((3, 1)), [[1.0]]], [[0.0], None])
REFUSED = {
    "net": (lambda: kappa(None, X, X), TypeError, "net is None"),
    "y": (lambda: kappa(NET, X, X), ValueError, r"y has shape \(3, 3\), but \(3, 1\)"),
    "y NaN": (lambda: kappa(NET, X, [0, np.nan, 0]), ValueError, r"y holds nan at \(1,\)"),
    "y complex": (lambda: kappa(NET, X, X[0] + 0j), TypeError, "y holds complex numbers"),
    "y masked": (lambda: kappa(NET, X, np.ma.masked_equal(X[0], 1)), TypeError, "y has masked entries"),
    "y strings": (lambda: kappa(NET, X, ["a", "b", "c"]), TypeError, "y holds text"),
    "function": (lambda: kappa(mlp(1, 4, 1, FUNCTION).init(3), X, X[0]), ValueError, "has no second derivative"),
    "too large": (lambda: kappa(HUGE, 0 * X, X[0]), ValueError, "X gives a second derivative beyond the largest"),
    "no slope": (lambda: kappa(NET, 0 * X, X[0]), ValueError, "X gives a kernel that is all 0.* kappa is 0/0"),
    "starts": (lambda: kappa(NET, X, X[0], starts=0), ValueError, "starts is 0, but at least 1"),
    "no iterations": (lambda: kappa(NET, X, X[0], max_iterations=0), ValueError, "max_iterations is 0, but at least"),
    "rtol": (lambda: kappa(NET, X, X[0], rtol=0), ValueError, "rtol is 0.0"),
    "iterations": (lambda: kappa(NET, X, X[0], max_iterations=1), ntkrs.ConvergenceError, "did not settle in 1 it"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
