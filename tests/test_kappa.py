"""κ: against dense second derivatives, and by its laws."""

import numpy as np
import pytest

from ntkrs import Dense, Network, Relu, Sequential, mlp
from ntkrs.diagnostics import kappa
from oracles import finite


def second_derivative(net, x):
    """D²f, (N·O, P, P), by central differences of the analytic Jacobian."""
    theta = net.parameters
    jacobians = finite.central_differences(lambda t: net.with_parameters(t).jacobian(x), theta)
    return jacobians.reshape(-1, theta.size, theta.size)


def dense_norm(tensor, starts):
    """The largest ⟨u, T(a, a)⟩ of many starts: an eigenvector for fixed u, then the u of that a."""
    best = 0.0
    for u in starts:
        for _ in range(200):
            values, vectors = np.linalg.eigh(np.tensordot(u / np.linalg.norm(u), tensor, 1))
            a = vectors[:, np.argmax(abs(values))]
            u = np.einsum("kpq,p,q->k", tensor, a, a)  # noqa: PLW2901 the iteration
        best = max(best, np.linalg.norm(u))
    return best


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kappa_of_a_small_network(dtype):
    net = mlp(1, 4, 2, "tanh", 1.5, 0.5).init(2, rng=1, dtype=dtype)
    double = net.with_parameters(net.parameters.astype(np.float64))
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3, 2)).astype(np.float32), rng.standard_normal((3, 2))
    jacobian = double.jacobian(x).reshape(6, -1)
    largest = np.linalg.eigvalsh(jacobian @ jacobian.T)[-1]
    norm = dense_norm(second_derivative(double, x), rng.standard_normal((20, 6)))
    expected = np.linalg.norm(double(x) - y) * norm / largest
    found = max(kappa(net, x, y, rng=seed, rtol=1e-6, max_iterations=2000) for seed in range(5))
    # Each run ends at a local maximum: never above the largest, whose digits are known to rtol, and here close below.
    assert 0.9 * expected < found < (1 + 1e-4) * expected


def test_kappa_falls_like_one_over_the_root_of_the_width():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((6, 3)), rng.standard_normal(6)
    widths = np.array([32, 128, 512])
    values = [
        np.mean([kappa(mlp(1, int(width), 1, "tanh", 1.5, 0.2).init(3, rng=seed), x, y) for seed in range(4)])
        for width in widths
    ]
    slope = np.polyfit(np.log(widths), np.log(values), 1)[0]
    assert -0.75 < slope < -0.25  # four seeds know each mean to some 15 %


def test_kappa_is_zero_where_there_is_nothing_to_learn_or_to_bend():
    x = np.eye(3)
    net = mlp(1, 4, 2, "tanh").init(3)
    assert kappa(net, x, net(x)) == 0
    assert kappa(mlp(0, 1, 2).init(3), x, np.ones((3, 2))) == 0


X, NET = np.eye(3), mlp(1, 4, 1, "tanh").init(3)
REFUSED = {
    "net": (lambda: kappa(None, X, X), TypeError, "net is None"),
    "kink": (lambda: kappa(Network(Sequential(Dense(1), Relu(), Dense(1)), [X[:, :1], [[1]]]), X, X[0]), ValueError,
             r"Relu\(\) has no second derivative"),
    "y": (lambda: kappa(NET, X, X), ValueError, r"y has shape \(3, 3\), but .* \(3, 1\)"),
    "y NaN": (lambda: kappa(NET, X, [0, np.nan, 0]), ValueError, "y holds NaN"),
    "rtol": (lambda: kappa(NET, X, X[0], rtol=0), ValueError, "rtol is 0.0"),
    "iterations": (lambda: kappa(NET, X, X[0], max_iterations=1), RuntimeError, "did not settle in 1 iterations"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
