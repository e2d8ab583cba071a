"""Finite networks with layers that are not trained, or whose biases learn at a scale of their own."""

import pickle

import numpy as np
import pytest

import ntkrs
from ntkrs import Dense, Erf, Network, Relu, Sequential, Tanh, mlp
from ntkrs.network import _vector_products
from oracles import finite

EPS = np.finfo(np.float64).eps

#: Frozen first, middle or last layers; biases with another scale, with σ_b = 0, and not trained.
ARCHITECTURES = {
    "first": Sequential(Dense(7, 1.3, 0.4, trainable=False), Erf(), Dense(6, 0.9, 0.2), Relu(), Dense(2, 1.1, 0.3)),
    "middle": Sequential(Dense(7, 1.3, 0.4), Erf(), Dense(6, 0.9, 0.2, trainable=False), Relu(), Dense(2, 1.1)),
    "last": Sequential(Dense(7, 1.3, 0.4), Erf(), Dense(6, 0.9), Relu(), Dense(2, 1.1, 0.3, trainable=False)),
    "read-out": Sequential(
        Dense(7, 1.3, 0.4, trainable=False), Erf(), Dense(6, 0.9, 0.2, trainable=False), Erf(), Dense(2, 1.1, 0.3)
    ),
    "scales": Sequential(
        Dense(7, 1.3, 0.4, tau_b=0.9), Erf(), Dense(6, 0.9, 0.0, tau_b=0.3), Relu(), Dense(2, 1.1, 0.3, tau_b=0.1)
    ),
    "fixed biases": Sequential(Dense(7, 1.3, 0.4, tau_b=0.0), Erf(), Dense(2, 1.1, 0.3)),
    "both": Sequential(Dense(7, 1.3, 0.4, trainable=False, tau_b=0.9), Erf(), Dense(2, 1.1, 0.3, tau_b=2.0)),
    "nothing": Sequential(Dense(7, 1.3, 0.4, trainable=False), Erf(), Dense(2, 1.1, 0.3, trainable=False)),
}
EVERY = pytest.mark.parametrize("name", ARCHITECTURES)


def bias_scales(arch):
    return [dense.tau_b or dense.sigma_b for dense in arch.dense]


def trained(net):
    """True for each parameter that is trained, (P,)."""
    blocks = []
    for dense, weight, bias in zip(net.arch.dense, net.weights, net.biases, strict=True):
        blocks.append(np.full(weight.size, dense.trainable))
        if bias is not None:
            blocks.append(np.full(bias.size, dense.trainable and dense.tau_b != 0))
    return np.concatenate(blocks)


def expected_jacobian(net, x):
    """The Jacobian of the fully trained network in b', with 0 for parameters that are not trained."""
    biases = [None if bias is None else np.asarray(bias) for bias in net.biases]
    sigma_w = [dense.sigma_w for dense in net.arch.dense]
    names = [activation.name for activation in net.arch.activations]
    jacobian = finite.jacobian(x, list(net.weights), biases, sigma_w, bias_scales(net.arch), names)
    return jacobian * trained(net)


def setup(name, dtype=np.float64):
    net, rng = ARCHITECTURES[name].init(4, rng=2, dtype=dtype), np.random.default_rng(3)
    return net, rng.standard_normal((21, 4)), rng.standard_normal((9, 4)), rng


@EVERY
class TestDerivatives:
    """All forms agree with the Jacobian of NumPy, and with each other."""

    def test_the_jacobian(self, name):
        net, x, _, _ = setup(name)
        expected = expected_jacobian(net, x)
        # Sums of at most 7 terms, 3 layers forward and back.
        np.testing.assert_allclose(net.jacobian(x), expected, rtol=0, atol=100 * EPS * abs(expected).max(initial=1))
        assert np.array_equal(net.jacobian(x)[:, :, ~trained(net)], np.zeros((21, 2, (~trained(net)).sum())))

    def test_it_is_that_of_central_differences(self, name):
        net, x, _, _ = setup(name)
        differences = finite.central_differences(lambda theta: net.with_parameters(theta)(x), net.parameters)
        np.testing.assert_allclose(net.jacobian(x), differences * trained(net), atol=1e-8)  # h² and ε/h

    def test_products_with_it(self, name):
        net, x, _, rng = setup(name)
        v, u = rng.standard_normal((3, net.parameters.size)), rng.standard_normal((3, 21, 2))
        jacobian = net.jacobian(x)
        forward, back = net.jvp(x, v), net.vjp(x, u)
        np.testing.assert_allclose(forward, np.einsum("imp,kp->kim", jacobian, v), rtol=0, atol=1e-12)
        np.testing.assert_allclose(back, np.einsum("imp,kim->kp", jacobian, u), rtol=0, atol=1e-12)
        assert not back[:, ~trained(net)].any()
        np.testing.assert_allclose(np.einsum("kim,kim->k", u, forward), np.einsum("kp,kp->k", back, v), rtol=1e-11,
                                   atol=1e-12)  # fmt: skip
        still = v * ~trained(net)
        assert not net.jvp(x, still).any()
        assert np.array_equal(net.linearize()(x, net.parameters + still), np.broadcast_to(net(x), (3, 21, 2)))

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_the_kernel_is_the_jacobian_contracted(self, name, dtype):
        net, x, z, _ = setup(name, dtype)
        j, jz = (net.jacobian(batch).astype(np.float64) for batch in (x, z))
        for kernel, full in ((net.ntk(x), finite.ntk(j, j)), (net.ntk(x, z), finite.ntk(j, jz))):
            tolerance = 200 * np.finfo(dtype).eps * abs(full).max(initial=0)
            np.testing.assert_allclose(kernel, full, rtol=0, atol=tolerance)
        forms = {"trace": np.einsum("ijmm->ij", full), "mean": np.einsum("ijmm->ij", full) / 2, 1: full[:, :, 1, 1],
                 "diagonal": np.einsum("ijmm->ijm", full), "sum": full.sum((2, 3)) / 2}  # fmt: skip
        for form, expected in forms.items():
            np.testing.assert_allclose(net.ntk(x, z, outputs=form), expected, rtol=0, atol=2 * tolerance)

    def test_parts_of_layers(self, name):
        net, x, z, _ = setup(name)
        parts = net.ntk(x, z, per_layer=True)
        for part, dense in zip(parts, net.arch.dense, strict=True):
            assert part.any() == dense.trainable
        np.testing.assert_allclose(parts.sum(0), net.ntk(x, z), rtol=0, atol=1e-12)

    @pytest.mark.parametrize("outputs", ["full", "trace", "diagonal", "sum", 1])
    @pytest.mark.parametrize("by_blocks", [False, True])
    def test_the_operator(self, name, outputs, by_blocks, monkeypatch):
        monkeypatch.setattr(_vector_products._Products, "_by_blocks", lambda *_: by_blocks)
        net, x, _, rng = setup(name)
        operator, kernel = net.operator(x, outputs), net.ntk(x, outputs=outputs)
        if outputs == "full":
            kernel = kernel.transpose(0, 2, 1, 3).reshape(operator.shape)
        if outputs == "diagonal":
            kernel = np.einsum("ijm,mk->imjk", kernel, np.eye(2)).reshape(operator.shape)
        v = rng.standard_normal((len(kernel), 2))
        np.testing.assert_allclose(operator @ v, kernel @ v, rtol=0, atol=1e-11)

    @pytest.mark.parametrize("momentum", [0.0, 0.7])
    def test_training(self, name, momentum):
        net, x, _, rng = setup(name)
        y = rng.standard_normal((21, 2))

        def model(theta):
            now = net.with_parameters(theta)
            return now(x), expected_jacobian(now, x)

        thetas, losses = finite.train(net.parameters, model, y, 0.3, 5, momentum)
        after, history = net.train(x, y, 0.3, 5, momentum, record_every=1)
        np.testing.assert_allclose(after.parameters, thetas[-1], rtol=0, atol=1e-12)
        np.testing.assert_allclose(history.loss, losses, rtol=1e-12)
        assert np.array_equal(after.parameters[~trained(net)], net.parameters[~trained(net)])
        distances = [np.linalg.norm(theta - thetas[0]) for theta in thetas]
        np.testing.assert_allclose(history.parameter_distance, distances, rtol=1e-9, atol=1e-15)

    def test_scaled_and_centred_training_is_gradient_descent_on_the_scaled_model(self, name):
        net, x, _, rng = setup(name)
        y, alpha = rng.standard_normal((21, 2)), 3.0
        after, _ = net.train(x, y, 0.2, 1, alpha=alpha, centred=True)
        step = 0.2 / alpha**2 * alpha * net.vjp(x, -y / y.size)
        np.testing.assert_allclose(after.parameters, net.parameters - step, rtol=0, atol=1e-13)

    def test_others_of_its_kind_stay_so(self, name):
        net, x, _, _ = setup(name)
        for same in (net.with_parameters(net.parameters), pickle.loads(pickle.dumps(net))):
            assert np.array_equal(same.jacobian(x), net.jacobian(x))

    def test_no_thread_count_changes_a_bit(self, name):
        net, x, _, rng = setup(name)
        u, results = rng.standard_normal((21, 2)), set()
        for count in (1, 3):
            with ntkrs.threads(count):
                results.add((net.ntk(x).tobytes(), net.vjp(x, u).tobytes(), net.train(x, u, 0.1, 3)[1].loss.tobytes()))
        assert len(results) == 1


@EVERY
def test_wide_networks_approach_the_infinite_kernel(name):
    """The mean over networks agrees within its own standard error."""
    x, arch = np.random.default_rng(0).standard_normal((5, 4)), ARCHITECTURES[name].with_width(2048)
    exact = arch.kernel()(x)
    kernels = np.array([arch.init(4, rng=seed).ntk(x, outputs="mean") for seed in range(12)])
    error = kernels.std(0, ddof=1) / 12**0.5
    # Five standard errors, and a bias of order 1/n.
    assert np.all(abs(kernels.mean(0) - exact) <= 5 * error + 4 * exact.max() / 2048)


def test_layers_drop_their_part_of_the_infinite_kernel_alone():
    """Freezing the read-out removes its term from Θ, and nothing else."""
    x = np.random.default_rng(0).standard_normal((5, 4))
    whole, frozen = (
        Sequential(Dense(2048, 1.4, 0.2), Relu(), Dense(1, 1.0, trainable=trainable)).init(4, rng=1)
        for trainable in (True, False)
    )
    parts = whole.ntk(x, outputs=0, per_layer=True)
    assert np.array_equal(frozen.ntk(x, outputs=0), parts[0])


@EVERY
def test_ensembles_are_of_the_networks_that_are_drawn(name):
    arch, (_, x, z, _) = ARCHITECTURES[name], setup(name)
    moments = ntkrs.ensemble_ntk(arch, x, z, seeds=5)
    kernels = np.array([arch.init(4, rng=seed).ntk(x, z) for seed in range(5)])
    # The same networks, with biases of N(0, 1) times sigma_b instead of b' times tau_b.
    np.testing.assert_allclose(moments.mean, kernels.mean(0), rtol=0, atol=1e-13 * abs(kernels).max(initial=1))
    np.testing.assert_allclose(
        moments.variance, kernels.var(0, ddof=1), rtol=0, atol=1e-12 * kernels.max(initial=1) ** 2
    )


def test_the_same_function_whatever_is_trained():
    x = np.random.default_rng(0).standard_normal((20, 4))
    plain = mlp(2, 30, 2, "tanh", 1.3, 0.4)
    frozen = Sequential(
        Dense(30, 1.3, 0.4, trainable=False), Tanh(), Dense(30, 1.3, 0.4, tau_b=0.1), Tanh(),
        Dense(2, 1.3, 0.4, tau_b=0.0),
    )  # fmt: skip
    # The same draws; converting a bias to b' and back rounds it.
    np.testing.assert_allclose(frozen.init(4, rng=5)(x), plain.init(4, rng=5)(x), rtol=0, atol=50 * EPS)


def test_biases_that_learn_are_drawn_in_units_of_their_scale():
    arch = Sequential(Dense(10_000, 1.0, 0.4, tau_b=0.1), Relu(), Dense(5, 1.0, 0.0, tau_b=0.3))
    net = arch.init(2, rng=0)
    assert abs(net.biases[0].std() - 4) < 5 * 4 / 20_000**0.5
    assert not net.biases[1].any()
    weights, biases = [np.ones((2, 3)), np.ones((3, 1))], [np.array([1.0, 2.0, 3.0]), None]
    given = Network(Sequential(Dense(3, 1.0, 0.4, tau_b=0.1), ntkrs.Identity(), Dense(1)), weights, biases)
    assert given([[0.0, 0.0]])[0, 0] == pytest.approx(0.1 * 6 / 3**0.5)


def test_a_frozen_network_has_a_kernel_of_zeros_and_stays():
    net, x, _, _ = setup("nothing")
    assert not net.ntk(x).any()
    trained_net, history = net.train(x, np.ones((21, 2)), 1.0, 3)
    assert np.array_equal(trained_net.parameters, net.parameters)
    assert np.array_equal(history.parameter_distance, [0.0, 0.0])
    assert np.ptp(history.loss) == 0
    with pytest.raises(ValueError, match="X gives a kernel that is all 0"):
        net.train(x, np.ones((21, 2)), 1.0, 3, record="kernel_drift")


class TestStandardParameterization:
    """In x V + c the scales have no meaning, but layers can be left out of training."""

    def test_layers_can_be_frozen(self):
        rng = np.random.default_rng(0)
        v, c = [rng.standard_normal((4, 6)), rng.standard_normal((6, 2))], [rng.standard_normal(6), None]
        arch = Sequential(Dense(6, 1.0, 1.0, trainable=False), Tanh(), Dense(2))
        net, x = Network.from_standard(arch, v, c), rng.standard_normal((9, 4))
        full = finite.jacobian(x, v, c, [2.0, 6**0.5], [1.0, 0.0], "tanh")
        expected = full * trained(net)
        np.testing.assert_allclose(net.jacobian(x), expected, rtol=0, atol=1e-14)
        np.testing.assert_allclose(net.ntk(x), finite.ntk(expected, expected), rtol=0, atol=1e-13)

    def test_biases_learn_at_the_scale_1(self):
        arch = Sequential(Dense(6, 1.0, 1.0, tau_b=0.3), Tanh(), Dense(2))
        with pytest.raises(ValueError, match=r"tau_b=0\.3\) has tau_b, but in standard parameters .* the scale 1"):
            Network.from_standard(arch, [np.ones((4, 6)), np.ones((6, 2))], [np.ones(6), None])


def test_biases_are_asked_for_where_there_are_some():
    weights = [np.ones((2, 3)), np.ones((3, 1))]
    for dense, needs in ((Dense(3, tau_b=0.3), "biases: pass an array"), (Dense(3, tau_b=0.0), r"no biases")):
        given = None if dense.tau_b else np.ones(3)
        with pytest.raises(ValueError, match=needs):
            Network(Sequential(dense, Relu(), Dense(1)), weights, [given, None])
