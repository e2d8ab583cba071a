"""jvp, vjp, the kernel as an operator, and the linearization: against the Jacobian, and by their laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ntkrs
from ntkrs import Dense, Erf, LeakyRelu, Sequential, Tanh, mlp
from ntkrs.network import _vector_products

MIXED = Sequential(Dense(130, 1.4, 0.3), Tanh(), Dense(3, 0.9), LeakyRelu(0.1), Dense(33, 1.1, 0.2), Erf(), Dense(3))


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(0, 140),
    widths=st.lists(st.integers(1, 120), min_size=0, max_size=3),
    features=st.integers(1, 40),
    outputs=st.integers(1, 4),
    name=st.sampled_from(["relu", "tanh", "erf"]),
    sigma_b=st.sampled_from([0.0, 0.4]),
    count=st.sampled_from([None, 0, 1, 3]),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 2**32 - 1),
)
def test_they_are_products_with_the_jacobian(n, widths, features, outputs, name, sigma_b, count, dtype, seed):
    layers = [layer for width in widths for layer in (Dense(width, 1.3, sigma_b), *mlp(1, 1, 1, name).activations)]
    net = Sequential(*layers, Dense(outputs, 0.9, sigma_b)).init(features, rng=seed, dtype=dtype)
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, features)).astype(dtype)
    several = () if count is None else (count,)
    v = rng.standard_normal((*several, net.parameters.size)).astype(dtype)
    u = rng.standard_normal((*several, n, outputs)).astype(dtype)
    jacobian = net.jacobian(x).astype(np.float64)
    forward, back = net.jvp(x, v), net.vjp(x, u)
    assert forward.dtype == back.dtype == dtype
    # Each is a sum whose terms are added in another order elsewhere; magnitudes bound the cancellation.
    terms = 200 * np.finfo(dtype).eps
    expected = np.einsum("imp,...p->...im", jacobian, v)
    scale = np.einsum("imp,...p->...im", abs(jacobian), abs(v)).max(initial=0.0)
    np.testing.assert_allclose(forward, expected, rtol=0, atol=terms * scale)
    expected = np.einsum("imp,...im->...p", jacobian, u)
    scale = np.einsum("imp,...im->...p", abs(jacobian), abs(u)).max(initial=0.0)
    np.testing.assert_allclose(back, expected, rtol=0, atol=terms * scale)


def test_they_are_adjoint():
    net = MIXED.init(5, rng=1)
    rng = np.random.default_rng(0)
    x, v = rng.standard_normal((90, 5)), rng.standard_normal((2, net.parameters.size))
    u = rng.standard_normal((2, 90, 3))
    left, right = np.einsum("kim,kim->k", u, net.jvp(x, v)), np.einsum("kp,kp->k", net.vjp(x, u), v)
    np.testing.assert_allclose(left, right, rtol=1e-12)  # sums of about a thousand terms, partly cancelling


def test_jvp_is_the_central_difference():
    net = MIXED.init(5, rng=1)
    rng = np.random.default_rng(0)
    x, v = rng.standard_normal((20, 5)), rng.standard_normal(net.parameters.size) / 10
    h = 1e-5
    up, down = (net.with_parameters(net.parameters + sign * h * v)(x) for sign in (1, -1))
    np.testing.assert_allclose(net.jvp(x, v), (up - down) / (2 * h), atol=1e-8)  # h² and ε/h, times order 1


def test_no_thread_count_changes_a_bit():
    net = MIXED.init(5, rng=1)
    rng = np.random.default_rng(0)
    x, v, u = rng.standard_normal((300, 5)), rng.standard_normal(net.parameters.size), rng.standard_normal((300, 3))
    results = []
    for count in (1, 2, 3, 8):
        with ntkrs.threads(count):
            results.append((net.jvp(x, v).tobytes(), net.vjp(x, u).tobytes()))
    assert len(set(results)) == 1


@pytest.mark.parametrize("outputs", ["full", "trace", "mean", "diagonal", "sum", 1])
@pytest.mark.parametrize("by_blocks", [False, True])
class TestOperator:
    """Agrees with the kernel itself, by vector products and by blocks of rows."""

    def matrix(self, kernel, outputs):
        n = len(kernel)
        if outputs == "full":
            return kernel.transpose(0, 2, 1, 3).reshape(3 * n, 3 * n)
        if outputs == "diagonal":
            return np.einsum("ijm,mk->imjk", kernel, np.eye(3)).reshape(3 * n, 3 * n)
        return kernel

    def test_it_is_the_kernel(self, outputs, by_blocks, monkeypatch):
        monkeypatch.setattr(_vector_products._Products, "_by_blocks", lambda *_: by_blocks)
        monkeypatch.setattr(_vector_products, "_BLOCK", 1000)
        net = MIXED.init(5, rng=1)
        x = np.random.default_rng(0).standard_normal((40, 5))
        operator, matrix = net.operator(x, outputs), self.matrix(net.ntk(x, outputs=outputs), outputs)
        assert operator.shape == matrix.shape
        assert operator.dtype == np.float64
        v = np.random.default_rng(1).standard_normal((len(matrix), 4))
        # Sums over about a thousand terms of either sign.
        tolerance = 1e-13 * (abs(matrix) @ abs(v)).max()
        for operand in (v, v[:, 0], v[:, :1], v[:, :0]):
            np.testing.assert_allclose(operator @ operand, matrix @ operand, rtol=0, atol=tolerance)
            np.testing.assert_allclose(operator.T @ operand, matrix @ operand, rtol=0, atol=tolerance)

    def test_its_columns_and_diagonal_are_those_of_the_kernel(self, outputs, by_blocks, monkeypatch):
        monkeypatch.setattr(_vector_products._Products, "_by_blocks", lambda *_: by_blocks)
        net = MIXED.init(5, rng=1)
        x = np.random.default_rng(0).standard_normal((20, 5))
        operator, matrix = net.operator(x, outputs), self.matrix(net.ntk(x, outputs=outputs), outputs)
        assert np.array_equal(operator.diagonal(), matrix.diagonal())
        for some in ([4], [19, 0, 7, 8, 19], [], np.arange(len(matrix))):
            assert np.array_equal(operator.columns(some), matrix[:, np.array(some, int)])
        v = np.random.default_rng(1).standard_normal(len(matrix))
        np.testing.assert_allclose(operator.product(v), operator @ v, rtol=0, atol=1e-13 * (abs(matrix) @ abs(v)).max())

    def test_its_largest_eigenvalue(self, outputs, by_blocks, monkeypatch):
        monkeypatch.setattr(_vector_products._Products, "_by_blocks", lambda *_: by_blocks)
        linalg = pytest.importorskip("scipy.sparse.linalg")
        net = MIXED.init(5, rng=1)
        x = np.random.default_rng(0).standard_normal((30, 5))
        expected = np.linalg.eigvalsh(self.matrix(net.ntk(x, outputs=outputs), outputs))[-1]
        found = linalg.eigsh(net.operator(x, outputs), k=1, return_eigenvectors=False)[0]
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_an_operator_keeps_its_inputs():
    net = MIXED.init(5, rng=1)
    x = np.random.default_rng(0).standard_normal((10, 5))
    operator, v = net.operator(x), np.ones(30)
    before = operator @ v
    x[:] = 0
    assert np.array_equal(operator @ v, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_linearization(dtype):
    """The linearization is exact at θ_0, affine in θ, and off by the square of the step."""
    net = MIXED.init(5, rng=1, dtype=dtype)
    rng = np.random.default_rng(0)
    x, step = rng.standard_normal((20, 5)), rng.standard_normal((2, net.parameters.size)).astype(dtype)
    f_lin, theta = net.linearize(), net.parameters
    assert np.array_equal(f_lin(x, theta), net(x))
    assert f_lin(x, theta + step).dtype == dtype
    tolerance = 1000 * np.finfo(dtype).eps
    both = f_lin(x, theta + step)
    np.testing.assert_allclose(both[1], f_lin(x, theta + step[1]), rtol=0, atol=tolerance)
    np.testing.assert_allclose(f_lin(x, theta + step.sum(0)) - both[0], both[1] - net(x), rtol=0, atol=tolerance)
    if dtype == np.float64:
        sizes = np.array([1e-2, 1e-3])
        errors = [abs(net.with_parameters(theta + h * step[0])(x) - f_lin(x, theta + h * step[0])).max() for h in sizes]
        assert 1.8 < np.log10(errors[0] / errors[1]) < 2.2


X = np.eye(5)
NET = MIXED.init(5, rng=1, dtype=np.float32)
P = NET.parameters.size
REFUSED = {
    "v short": (lambda: NET.jvp(X, np.ones(P - 1)), ValueError, rf"v has shape \({P - 1},\), but \(P,\) = \({P},\)"),
    "v 3-D": (lambda: NET.jvp(X, np.ones((1, 1, P))), ValueError, r"v has shape \(1, 1, "),
    "v NaN": (lambda: NET.jvp(X, np.full(P, np.nan)), ValueError, r"v holds nan at \(0,\)"),
    "v text": (lambda: NET.jvp(X, ["a"] * P), TypeError, "v holds text"),
    "v 1e300": (lambda: NET.jvp(X, np.full(P, 1e300)), ValueError, "v holds 1e.300 at .* exceeds float32"),
    "u shape": (lambda: NET.vjp(X, np.ones((3, 5))), ValueError, r"u has shape \(3, 5\), but \(N, O\) = \(5, 3\)"),
    "u too large": (
        lambda: mlp(0, 1, 3).init(5, dtype=np.float32).vjp(1e20 * X, np.full((5, 3), 1e20)),
        ValueError,
        r"exceeds the largest float32\. Scale X down, or use a float64 network\.$",
    ),
    "u inf": (lambda: NET.vjp(X, np.full((5, 3), np.inf)), ValueError, r"u holds inf at \(0, 0\)"),
    "X": (lambda: NET.vjp(X[:, :2], np.ones((5, 3))), ValueError, "X has 2 features"),
    "X NaN": (lambda: NET.jvp(X * np.nan, np.ones(P)), ValueError, "X holds nan"),
    "too large": (lambda: NET.jvp(X, np.full(P, 3e38)), ValueError, "exceeds the largest float32"),
    "too large back": (
        lambda: (
            mlp(1, 4, 1).init(1, dtype=np.float32).with_parameters(np.full(8, 1e30, np.float32)).vjp([[1e20]], [[1]])
        ),
        ValueError,
        "exceeds the largest float32",
    ),
    "outputs too large": (  # near 1e40, though all derivatives are near 1e20
        lambda: mlp(1, 4, 1).init(1, dtype=np.float32).with_parameters(np.full(8, 1e20, np.float32)).vjp([[1]], [[1]]),
        ValueError,
        "an activation of the network exceeds the largest float32",
    ),
    "outputs": (lambda: NET.operator(X, "all"), ValueError, "outputs is 'all'"),
    "operator NaN": (lambda: NET.operator(X * np.nan), ValueError, "X holds nan"),
    "operator length": (lambda: NET.operator(X) @ np.ones(3), ValueError, "dimension mismatch"),
    "operand NaN": (lambda: NET.operator(X) @ np.full(15, np.nan), ValueError, r"v holds nan at \(0, 0\)"),
    "theta": (lambda: NET.linearize()(X, np.ones(3)), ValueError, r"theta has shape \(3,\)"),
    "memory": (
        lambda: NET.vjp(np.broadcast_to(np.float32(0), (10**9, 5)), np.broadcast_to(np.float32(0), (1, 3))),
        ValueError,
        "u has shape",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("outputs", ["full", "trace", "mean", "diagonal", "sum", 1])
def test_an_operator_of_no_samples_is_empty(outputs):
    operator = NET.operator(X[:0], outputs)
    assert operator.shape == (0, 0)
    assert (operator @ np.zeros(0)).shape == (0,)
    assert (operator @ np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("frozen", [True, False])
def test_the_second_order_leaves_a_cubic_remainder(frozen, dtype):
    """Halving the distance from θ_0 divides the error by 8, that of the linearization by 4."""
    arch = Sequential(Dense(9, 1.4, 0.3), Tanh(), Dense(7, 0.9, 0.1, trainable=not frozen), Erf(), Dense(2, tau_b=0.5))
    net, rng = arch.init(5, rng=1, dtype=dtype), np.random.default_rng(0)
    x, direction = rng.standard_normal((11, 5)).astype(dtype), rng.standard_normal((2, net.parameters.size))
    direction *= net.jacobian(x).any((0, 1))  # parameters that are not trained do not move
    errors = []
    for step in (0.1, 0.05) if dtype == np.float64 else (0.4, 0.2):
        theta = (net.parameters + step * direction).astype(dtype)
        exact = np.stack([net.with_parameters(one)(x) for one in theta])
        errors.append([np.linalg.norm(net.linearize(order)(x, theta) - exact) for order in (1, 2)])
    ratios = np.divide(*errors)
    assert abs(np.log2(ratios) - [2, 3]).max() < 0.3  # the next order, at these distances
    assert np.array_equal(net.linearize(2)(x, theta[0]), net.linearize(2)(x, theta)[0])
    assert net.linearize(2)(x, theta).dtype == dtype


def test_the_second_order_of_a_bilinear_network_is_exact():
    net, rng = Sequential(Dense(6), ntkrs.Identity(), Dense(2)).init(4, rng=0), np.random.default_rng(1)
    x, theta = rng.standard_normal((5, 4)), rng.standard_normal(net.parameters.size)
    np.testing.assert_allclose(net.linearize(2)(x, theta), net.with_parameters(theta)(x), atol=1e-13)


def test_orders_that_are_not_there_are_refused():
    net = MIXED.init(5, rng=1)
    for order, error in ((0, ValueError), (3, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match=r"order is .*, but"):
            net.linearize(order)
    ours = mlp(1, 4, 1, ntkrs.Activation(np.sin, np.cos)).init(2)
    assert ours.linearize()([[1.0, 2.0]], ours.parameters).shape == (1, 1)
    with pytest.raises(ValueError, match=r"Activation\(.* has no second derivative, which order=2 needs"):
        ours.linearize(2)
