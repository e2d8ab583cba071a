"""Values of hidden layers, the empirical NNGP kernel, diagonals, gradients of losses and Jacobians in the inputs."""

import numpy as np
import pytest

import ntkrs
from ntkrs import Activation, Dense, Erf, Network, Relu, Sequential, Tanh, mlp
from oracles.activations import phi, phi_dot

#: Networks with biases, layers that are not trained, learning scales of biases, functions, and no hidden layer.
NETWORKS = {
    "biases": Sequential(Dense(130, 1.4, 0.3), Tanh(), Dense(9, 0.9), Relu(), Dense(33, 1.1, 0.2), Erf(), Dense(3)),
    "frozen": Sequential(Dense(7, 1.3, 0.4, trainable=False), Erf(), Dense(6, 0.9), Relu(), Dense(2, 1.1, 0.3)),
    "scales": Sequential(
        Dense(7, 1.3, 0.4, tau_b=0.9), Erf(), Dense(6, 0.9, 0.0, tau_b=0.3), Tanh(), Dense(2, 1.1, 0.3)
    ),
    "functions": Sequential(
        Dense(70, 1.3, 0.4), Activation(np.tanh, lambda x: 1 / np.cosh(x) ** 2), Dense(20), Relu(), Dense(2, 1.1, 0.3)
    ),
    "wide": mlp(depth=1, width=5, outputs=100, activation="tanh"),
    "linear": Sequential(Dense(3, 1.2, 0.4)),
}
DTYPES = (np.float64, np.float32)
EVERY = pytest.mark.parametrize("name", NETWORKS)


def setup(name, dtype=np.float64, samples=150):
    net, rng = NETWORKS[name].init(5, rng=2, dtype=dtype), np.random.default_rng(3)
    return net, rng.standard_normal((samples, 5)).astype(dtype), rng


def forward(net, x):
    """The inputs x^l and the pre-activations h^{l+1} of every layer in float64, by plain NumPy."""
    inputs, hidden = [np.asarray(x, float)], []
    for index, (dense, weight, bias) in enumerate(zip(net.arch.dense, net.weights, net.biases, strict=True)):
        h = dense.sigma_w / np.sqrt(len(weight)) * inputs[-1] @ weight.astype(float)
        if bias is not None:
            h = h + (dense.tau_b or dense.sigma_b) * bias
        hidden.append(h)
        if index < len(net.arch.activations):
            inputs.append(phi(oracle_name(net, index))(h))
    return inputs, hidden


def oracle_name(net, index):
    activation = net.arch.activations[index]
    return "tanh" if isinstance(activation, Activation) else activation.name


def tolerance(net, terms=200):
    """Sums of at most 130 terms, through at most four layers."""
    return terms * np.finfo(net.dtype).eps


@pytest.mark.parametrize("dtype", DTYPES)
@EVERY
class TestLayers:
    def test_are_those_of_numpy(self, name, dtype):
        net, x, _ = setup(name, dtype)
        inputs, hidden = forward(net, x)
        layers = net.layers(x)
        assert len(layers) == len(net.arch.activations)
        for index, (pre, post) in enumerate(layers):
            assert pre.dtype == post.dtype == dtype
            np.testing.assert_allclose(pre, hidden[index], rtol=0, atol=tolerance(net))
            np.testing.assert_allclose(post, inputs[index + 1], rtol=0, atol=tolerance(net))

    def test_activations_are_the_very_numbers_of_the_network(self, name, dtype):
        """A network that begins at a hidden layer, given its activations, has the same outputs, bit for bit."""
        net, x, _ = setup(name, dtype)
        layers = net.layers(x)
        if layers:
            head = Sequential(net.arch.dense[-1])
            biases = [net.biases[-1]] if net.arch.dense[-1].has_bias else None
            assert np.array_equal(Network(head, [net.weights[-1]], biases)(layers[-1][1]), net(x))


@pytest.mark.parametrize("dtype", DTYPES)
@EVERY
def test_nngp_is_a_product_of_activations(name, dtype):
    net, x, rng = setup(name, dtype)
    z = rng.standard_normal((9, 5)).astype(dtype)
    last = net.arch.dense[-1]
    ours, theirs = forward(net, x)[0][-1], forward(net, z)[0][-1]
    for other, features in ((None, ours), (z, theirs)):
        expected = last.sigma_w**2 / ours.shape[1] * ours @ features.T + last.sigma_b**2
        found = net.nngp(x, other)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance(net) * abs(expected).max())


def test_nngp_does_not_depend_on_the_last_layer():
    net, x, _ = setup("biases")
    theta = net.parameters.copy()
    theta[-99:] = 7.0
    assert np.array_equal(net.with_parameters(theta).nngp(x), net.nngp(x))


def test_nngp_of_standard_parameters():
    net, x, _ = setup("biases")
    scales = [
        (dense.sigma_w / len(w) ** 0.5, dense.sigma_b) for dense, w in zip(net.arch.dense, net.weights, strict=True)
    ]
    weights = [scale * w for (scale, _), w in zip(scales, net.weights, strict=True)]
    biases = [None if b is None else scale * b for (_, scale), b in zip(scales, net.biases, strict=True)]
    standard = Network.from_standard(net.arch, weights, biases)
    np.testing.assert_allclose(standard.nngp(x), net.nngp(x), rtol=1e-12)
    unknown = Sequential(Dense(4, sigma_w=None), Relu(), Dense(1, sigma_w=None, sigma_b=None))
    with pytest.raises(ValueError, match="has unknown scales"):
        Network.from_standard(unknown, [np.ones((5, 4)), np.ones((4, 1))], [None, np.ones(1)]).nngp(x)


@pytest.mark.parametrize("name", ["relu", "erf"])
def test_nngp_converges_like_one_over_the_root_of_the_width(name):
    arch, x = mlp(2, 1, 1, name, 1.4, 0.3), np.random.default_rng(0).standard_normal((6, 4))
    exact, widths = arch.kernel()(x, get="nngp"), (32, 128, 512)
    errors = [
        np.mean([np.linalg.norm(arch.with_width(n).init(4, rng=seed).nngp(x) - exact) for seed in range(20)])
        for n in widths
    ]
    slope = np.polyfit(np.log(widths), np.log(errors), 1)[0]
    assert abs(slope + 0.5) < 0.1  # 20 networks of each width: a standard error of about 0.04


@pytest.mark.parametrize("dtype", DTYPES)
@EVERY
def test_diagonals_are_those_of_the_kernel(name, dtype):
    net, x, _ = setup(name, dtype, samples=97)
    jacobian = net.jacobian(x).astype(float)
    np.testing.assert_allclose(net.diag(x), (jacobian**2).sum((1, 2)), rtol=tolerance(net))
    x = np.concatenate([x, 2 * x, -x])  # several blocks
    for outputs in ("trace", "mean", "sum", "diagonal", 1):
        kernel = net.ntk(x, outputs=outputs)
        assert np.array_equal(net.diag(x, outputs=outputs), np.moveaxis(np.diagonal(kernel), -1, 0))
    few = x[:7]
    assert np.array_equal(net.diag(few, "full"), net.ntk(few)[np.arange(7), np.arange(7)])


@pytest.mark.parametrize("dtype", DTYPES)
@EVERY
class TestLossGradient:
    def test_of_the_square_loss(self, name, dtype):
        net, x, rng = setup(name, dtype)
        y = rng.standard_normal(net(x).shape)
        residuals = (net(x) - y.astype(dtype)).astype(float) / y.size
        expected = np.einsum("imp,im->p", net.jacobian(x).astype(float), residuals)
        found = net.loss_gradient(x, y)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance(net) * abs(expected).max())

    def test_of_the_cross_entropy(self, name, dtype):
        net, x, rng = setup(name, dtype)
        labels = rng.integers(0, net.arch.outputs, len(x))
        f = net(x).astype(float)
        shares = np.exp(f) / np.exp(f).sum(1, keepdims=True)
        weights = (shares - np.eye(net.arch.outputs)[labels]) / len(x)
        expected = np.einsum("imp,im->p", net.jacobian(x).astype(float), weights)
        found = net.loss_gradient(x, labels, "softmax_cross_entropy")
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance(net) * abs(expected).max())

    def test_is_a_step_of_training(self, name, dtype):
        net, x, rng = setup(name, dtype)
        y = rng.standard_normal(net(x).shape)
        trained, _ = net.train(x, y, learning_rate=0.25, steps=1)
        expected = net.parameters.astype(float) - 0.25 * net.loss_gradient(x, y)
        np.testing.assert_allclose(trained.parameters, expected, rtol=0, atol=20 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@EVERY
class TestInputJacobian:
    def test_is_the_product_of_its_layers(self, name, dtype):
        net, x, _ = setup(name, dtype)
        _, hidden = forward(net, x)
        expected = None
        for index, (dense, weight) in enumerate(zip(net.arch.dense, net.weights, strict=True)):
            factor = dense.sigma_w / np.sqrt(len(weight)) * weight.T.astype(float)
            expected = factor[None] if expected is None else factor @ expected
            if index < len(hidden) - 1:
                expected = phi_dot(oracle_name(net, index))(hidden[index])[:, :, None] * expected
        found = net.input_jacobian(x)
        assert found.shape == (len(x), net.arch.outputs, 5)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), rtol=0, atol=tolerance(net))


def test_input_jacobian_is_a_limit_of_differences():
    net, x, rng = setup("scales")
    direction, h = rng.standard_normal(5), 1e-6
    difference = (net(x + h * direction) - net(x - h * direction)) / (2 * h)
    np.testing.assert_allclose(net.input_jacobian(x) @ direction, difference, rtol=0, atol=1e-8)  # h² and ε/h


def test_many_rows_and_threads_change_nothing():
    net, x, _ = setup("frozen", samples=4100)
    with ntkrs.threads(1):
        one = net.layers(x), net.diag(x), net.input_jacobian(x), net.nngp(x[:200])
    with ntkrs.threads(3):
        other = net.layers(x), net.diag(x), net.input_jacobian(x), net.nngp(x[:200])
    assert np.array_equal(net.layers(x[4000:])[1][1], one[0][1][1][4000:])
    assert np.array_equal(net.input_jacobian(x[4000:]), one[2][4000:])
    for first, second in zip(one[0], other[0], strict=True):
        assert np.array_equal(first, second)
    assert all(np.array_equal(first, second) for first, second in zip(one[1:], other[1:], strict=True))


def test_no_rows():
    net, x, _ = setup("biases")
    none = x[:0]
    assert [pre.shape for pre, _ in net.layers(none)] == [(0, 130), (0, 9), (0, 33)]
    assert net.input_jacobian(none).shape == (0, 3, 5)
    assert net.nngp(none, x).shape == (0, 150)
    assert net.diag(none).shape == (0,)
    with pytest.raises(ValueError, match="X has no samples, but a loss is a mean over at least 1"):
        net.loss_gradient(none, np.zeros((0, 3)))


def test_bad_input_is_refused():
    net, x, _ = setup("biases")
    for method in (net.layers, net.input_jacobian, net.nngp, net.diag):
        with pytest.raises(ValueError, match="X has 4 features, but the network has 5"):
            method(x[:, :4])
        with pytest.raises(ValueError, match=r"X holds (nan|NaN) at"):
            method(np.where(np.arange(5) == 2, np.nan, x))
        with pytest.raises(ValueError, match=r"X has shape \(5,\), but a two-dimensional"):
            method(x[0])
        with pytest.raises(TypeError, match="X holds complex numbers"):
            method(x + 1j)
    with pytest.raises(ValueError, match=r"outputs is 3, but this network has outputs 0 to 2"):
        net.diag(x, outputs=3)
    with pytest.raises(ValueError, match=r"loss is 'l1', but must be 'mse' or 'softmax_cross_entropy'"):
        net.loss_gradient(x, np.zeros((150, 3)), loss="l1")
    with pytest.raises(ValueError, match=r"y has shape \(150,\), but \(150, 3\) is needed"):
        net.loss_gradient(x, np.zeros(150))
    large = mlp(1, 3, 1, "relu").init(2, dtype=np.float32)
    for method in (large.layers, large.nngp):
        with pytest.raises(ValueError, match="exceeds the largest float32"):
            method([[3e38, 3e38]])
