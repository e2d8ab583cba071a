"""φ'' of every activation, and D²f of networks: against mpmath, by hand, by differences, and by their laws."""

import numpy as np
import pytest

import ntkrs
from ntkrs import Dense, Erf, Gelu, Network, Relu, Sequential, Tanh, _core, mlp
from ntkrs.network.second_derivative import SecondDerivative
from oracles import curvatures, finite
from oracles.activations import TABLE
from oracles.tables import EVERY
from package import built

EPS = np.finfo(np.float64).eps

#: Every activation, and more parameters of some.
ACTIVATIONS = [
    # The narrow RBF has 500 ε at x = 30: the rounding of its argument, 67, times 2γ.
    *(built(activation) for name, activation in EVERY.items() if name != "narrow rbf"),
    ntkrs.RectifiedPower(4), *(ntkrs.Hermite(degree) for degree in (0, 1, 3, 4)),
    ntkrs.LeakyRelu(-0.3), ntkrs.Elu(), ntkrs.Polynomial(0.1, 1, 0.5, -0.2), ntkrs.Polynomial(2.0),
    ntkrs.Sin(1.3, 0.7, 0.4), ntkrs.Cos(1.3, -0.7, 0.4), ntkrs.Rbf(0.3), ntkrs.Exp(0.8, -1.1), ntkrs.Gaussian(0.4),
]  # fmt: skip


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
class TestActivations:
    """φ, φ' and φ'' as finite networks evaluate them."""

    def test_they_are_those_of_mpmath(self, activation):
        x = np.concatenate([np.linspace(-6, 6, 41) + 1e-3, [-30.0, 30.0, 1e-9, -1e-9]])
        for order, values in enumerate(_core.derivatives(activation.spec(), x)):
            expected = np.array([curvatures.derivative(*activation.spec(), order, value) for value in x])
            # A few roundings of terms up to |x|^(degree), which cancel.
            scale = np.maximum(abs(expected), np.maximum(1, abs(x)) ** max(0, getattr(activation, "degree", 0) - order))
            np.testing.assert_array_less(abs(values - expected), 30 * EPS * scale + 1e-300)


def flattens(activation):
    """Return True if φ' has a limit on both sides, by the oracle."""
    name, parameters = activation.spec()
    parameters = [int(value) if value.is_integer() else value for value in parameters]  # degrees are integers
    with np.errstate(all="ignore"):
        left, right = (TABLE[name].phi_dot(sign * np.array([1e5, 1e10, 1e20]), *parameters) for sign in (-1, 1))
        return bool(np.ptp(left) <= 1e-9 and np.ptp(right) <= 1e-9)


@pytest.mark.parametrize("activation", [phi for phi in ACTIVATIONS if flattens(phi)], ids=repr)
def test_far_out_those_that_flatten_are_flat(activation):
    x = np.array([-1.7e308, -1e200, -1e5, 1e5, 1e200, 1.7e308])
    _, slopes, bends = _core.derivatives(activation.spec(), x)
    assert np.isfinite(slopes).all()
    # Nothing flattens more slowly than x/(1 + |x|), of which φ'' is below 2/|x|³: at 1e200, this is 0.
    assert (abs(bends) <= 2 / abs(x) / abs(x) / abs(x)).all()


def test_tails_decide_which_flatten():
    names = {activation.name for activation in ACTIVATIONS if flattens(activation)}
    assert {"relu", "leaky_relu", "tanh", "gelu", "softplus", "gaussian", "elu"} <= names
    assert names.isdisjoint({"exp", "sin", "cos", "rbf"})


def test_at_kinks_they_are_those_of_one_side():
    for activation, bend in ((Relu(), 0), (ntkrs.Abs(), 0), (ntkrs.Elu(2.0), 2), (ntkrs.RectifiedPower(2), 0)):
        assert _core.derivatives(activation.spec(), np.zeros(1))[2][0] == bend


def dense(second, size, outputs):
    """All of D²f, (N·O, P, P), from its products with unit vectors."""
    tangents = [second.tangent(unit) for unit in np.eye(size)]
    tensor = np.array([[second.outputs(a, b) for b in tangents] for a in tangents])
    assert tensor.shape[:2] == (size, size)
    assert tensor.shape[3] == outputs
    return np.moveaxis(tensor.reshape(size, size, -1), -1, 0)


@pytest.mark.parametrize("activation", [Tanh(), Gelu(), Relu(), ntkrs.LeakyRelu(0.2), ntkrs.Elu(0.5), Erf()], ids=repr)
def test_one_hidden_layer_is_that_by_hand(activation):
    net = Sequential(Dense(4, 1.3, 0.4), activation, Dense(2, 0.9, 0.2)).init(3, rng=1)
    x = np.random.default_rng(0).standard_normal((5, 3))
    scales = (1.3 / 3**0.5, 0.4, 0.9 / 2, 0.2)
    by_hand = curvatures.one_hidden_layer(x, net.weights, net.biases, scales, *activation.spec())
    ours = dense(SecondDerivative(net, x), net.parameters.size, 2).reshape(by_hand.shape)
    np.testing.assert_allclose(ours, by_hand, rtol=0, atol=50 * EPS * abs(by_hand).max())


NETWORKS = {
    "smooth": Sequential(Dense(4, 1.3, 0.4), Tanh(), Dense(3, 1.1), Gelu(), Dense(2, 0.9, 0.2)),
    "kinked": Sequential(Dense(4, 1.3, 0.4), Relu(), Dense(3, 1.1), ntkrs.Abs(), Dense(2, 0.9, 0.2)),
    "mixed": Sequential(Dense(4, 1.3, 0.4), ntkrs.Selu(), Dense(3, 1.1), ntkrs.Mish(), Dense(3), Erf(), Dense(1)),
    "frozen": Sequential(Dense(4, 1.3, 0.4), Tanh(), Dense(3, 1.1, 0.1, trainable=False), Gelu(), Dense(2, 0.9)),
    "scaled": Sequential(Dense(4, 1.3, 0.4, tau_b=0.9), Tanh(), Dense(2, 0.9, 0.3, tau_b=0.0)),
    "linear": Sequential(Dense(4, 1.3, 0.4), ntkrs.Identity(), Dense(2)),
}


@pytest.mark.parametrize("name", [*NETWORKS, "standard"])
class TestNetworks:
    """Covers several layers, trained and not."""

    def setting(self, name):
        rng = np.random.default_rng(4)
        if name == "standard":
            arch = Sequential(Dense(4, 1.0, 1.0), Tanh(), Dense(2))
            net = Network.from_standard(arch, [rng.standard_normal((3, 4)), rng.standard_normal((4, 2))],
                                        [rng.standard_normal(4), None])  # fmt: skip
        else:
            net = NETWORKS[name].init(3, rng=2)
        return net, rng.standard_normal((5, 3)), rng

    def test_it_is_the_difference_of_jacobians(self, name):
        net, x, _ = self.setting(name)
        size = net.parameters.size
        differences = finite.central_differences(lambda theta: net.with_parameters(theta).jacobian(x), net.parameters)
        moving = net.jacobian(x).reshape(-1, size).any(0)  # parameters that are not trained have no derivative
        ours = dense(SecondDerivative(net, x), size, net.arch.outputs)
        expected = differences.reshape(-1, size, size) * moving * moving[:, None]
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-8 * max(1, abs(expected).max()))  # h² and ε/h

    def test_it_is_bilinear_and_symmetric_and_has_an_adjoint(self, name):
        net, x, rng = self.setting(name)
        second = SecondDerivative(net, x)
        a, b, c = (rng.standard_normal(net.parameters.size) for _ in range(3))
        u = rng.standard_normal((5, net.arch.outputs))
        ta, tb, tc, tsum = (second.tangent(vector) for vector in (a, b, c, 2 * b - c))
        ab = second.outputs(ta, tb)
        scale = max(1, abs(ab).max())
        np.testing.assert_allclose(ab, second.outputs(tb, ta), rtol=0, atol=200 * EPS * scale)
        np.testing.assert_allclose(
            second.outputs(ta, tsum), 2 * ab - second.outputs(ta, tc), rtol=0, atol=1e3 * EPS * scale
        )
        assert np.vdot(u, ab) == pytest.approx(second.gradient(ta, u) @ b, rel=1e-12, abs=1e-13 * scale)


@pytest.mark.parametrize("hidden", [1, 2, 3])
@pytest.mark.parametrize("activation", [Relu(), ntkrs.LeakyRelu(0.3), ntkrs.Abs(), ntkrs.Identity()], ids=repr)
def test_eulers_law_of_homogeneous_functions(activation, hidden):
    """Without biases f is homogeneous of degree L in θ: D²f(θ, θ) = L (L − 1) f, and D²f(θ, ·)ᵀu = (L − 1) Jᵀu."""
    net = mlp(hidden, 6, 2, activation, 1.4).init(3, rng=1)
    x, u = np.random.default_rng(0).standard_normal((2, 7, 3))
    second, degree = SecondDerivative(net, x), hidden + 1
    theta = second.tangent(net.parameters)
    f, u = net(x), u[:, :2]
    np.testing.assert_allclose(second.outputs(theta, theta), degree * (degree - 1) * f, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(second.gradient(theta, u), hidden * net.vjp(x, u), rtol=1e-11, atol=1e-13)


def test_what_does_not_fit_is_refused(limit_memory):
    limit_memory(10**5)
    with pytest.raises(MemoryError, match=r"the second derivative on 1000 samples needs .* Take fewer rows of X"):
        SecondDerivative(mlp(1, 20, 1, "tanh").init(3), np.ones((1000, 3)))
