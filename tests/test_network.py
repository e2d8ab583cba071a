"""Finite networks: against NumPy, central differences, and each other."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ntkrs
from ntkrs import Dense, Network, Relu, Sequential, Tanh, mlp
from ntkrs.network import _forward, _parameters
from oracles import activations, finite
from oracles.tables import MODERATE, SERIES, is_smooth
from package import built

EPS = np.finfo(np.float64).eps
#: Activations whose networks stay of order 1, and the analytic ones among them.
ACTIVATIONS = MODERATE | SERIES
SMOOTH = [name for name, activation in ACTIVATIONS.items() if is_smooth(activation)]


def oracle_arguments(net):
    """The arguments of the NumPy oracles for a network."""
    sigma_w = [dense.sigma_w for dense in net.arch.dense]
    sigma_b = [dense.sigma_b for dense in net.arch.dense]
    weights = [np.asarray(weight, dtype=np.float64) for weight in net.weights]
    biases = [None if bias is None else np.asarray(bias, dtype=np.float64) for bias in net.biases]
    specs = [activation.spec() for activation in net.arch.activations]
    activations = [(name, *parameters) for name, parameters in specs]
    return weights, biases, sigma_w, sigma_b, activations


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 70),
    widths=st.lists(st.integers(1, 70), min_size=0, max_size=3),
    features=st.integers(1, 70),
    outputs=st.integers(1, 5),
    name=st.sampled_from(sorted(ACTIVATIONS)),
    sigma_b=st.sampled_from([0.0, 0.4]),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_network_agrees_with_numpy(n, widths, features, outputs, name, sigma_b, dtype, seed):
    hidden = [part for width in widths for part in (Dense(width, 1.3, sigma_b), built(ACTIVATIONS[name]))]
    net = Sequential(*hidden, Dense(outputs, 0.9, sigma_b)).init(features, rng=seed, dtype=dtype)
    x = np.random.default_rng(seed).standard_normal((n, features)).astype(dtype)
    arguments = oracle_arguments(net)
    # Sums of at most 70 terms, through at most 4 layers forward and back, each with values of order 1. The larger
    # constant for float32 allows for pre-activations near 0 that fall on the other side of a kink.
    tolerance = 1e-11 if dtype == np.float64 else 1e-3
    expected = finite.forward(x.astype(np.float64), *arguments)
    np.testing.assert_allclose(net(x), expected, rtol=0, atol=tolerance * max(1, np.abs(expected).max(initial=0)))
    if dtype == np.float64 or name in SMOOTH:
        jacobian = finite.jacobian(x.astype(np.float64), *arguments)
        scale = max(1.0, np.abs(jacobian).max(initial=0.0))
        np.testing.assert_allclose(net.jacobian(x), jacobian, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("name", SMOOTH)
def test_jacobian_is_that_of_central_differences(name):
    net = mlp(2, 6, 2, built(ACTIVATIONS[name]), 1.3, 0.4).init(4, rng=3)
    x = np.random.default_rng(3).standard_normal((5, 4))
    differences = finite.central_differences(lambda theta: net.with_parameters(theta)(x), net.parameters)
    # h = 6e-6: a truncation of h² = 4e-11 and a rounding of ε/h = 4e-11, times derivatives of order 1.
    np.testing.assert_allclose(net.jacobian(x), differences, atol=1e-8)


def test_the_kernel_of_misprinted_formulas_is_another_one():
    """On a 3-6-5-2 tanh network with biases, the three usual misprints change every digit."""
    net = Sequential(Dense(6, 1.1, 0.3), Tanh(), Dense(5, 0.9, 0.2), Tanh(), Dense(2, 1.2, 0.1)).init(3, rng=5)
    x = np.random.default_rng(5).standard_normal((4, 3))
    jacobian = finite.jacobian(x, *oracle_arguments(net))
    np.testing.assert_allclose(net.ntk(x), finite.ntk(jacobian, jacobian), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("depth", "outputs", "sigma_b"), [(0, 3, 0.5), (1, 1, 0.0), (2, 4, 0.3), (3, 1, 0.3)])
class TestEmpiricalNtk:
    """Every form of the kernel is a contraction of the same Jacobian."""

    def batches(self, depth, outputs, sigma_b, dtype):
        net = mlp(depth, 33, outputs, "relu", 1.4, sigma_b).init(5, rng=depth, dtype=dtype)
        rng = np.random.default_rng(depth)
        return net, rng.standard_normal((61, 5)).astype(dtype), rng.standard_normal((23, 5)).astype(dtype)

    def test_it_is_the_jacobian_contracted(self, depth, outputs, sigma_b, dtype):
        net, x, z = self.batches(depth, outputs, sigma_b, dtype)
        j, jz = net.jacobian(x).astype(np.float64), net.jacobian(z).astype(np.float64)
        for kernel, full in ((net.ntk(x), finite.ntk(j, j)), (net.ntk(x, z), finite.ntk(j, jz))):
            # A sum over P ≤ 2500 terms in the Jacobian's own dtype, against one over layers.
            tolerance = 200 * np.finfo(dtype).eps * np.abs(full).max()
            np.testing.assert_allclose(kernel, full, rtol=0, atol=tolerance)
        full = finite.ntk(j, jz)
        forms = {
            "trace": np.trace(full, axis1=2, axis2=3),
            "mean": np.trace(full, axis1=2, axis2=3) / outputs,
            "diagonal": np.einsum("ijmm->ijm", full),
            "sum": full.sum((2, 3)) / outputs,
            outputs - 1: full[:, :, -1, -1],
        }
        for form, expected in forms.items():
            np.testing.assert_allclose(net.ntk(x, z, outputs=form), expected, rtol=0, atol=outputs * tolerance)

    def test_layers_sum_to_the_whole(self, depth, outputs, sigma_b, dtype):
        net, x, z = self.batches(depth, outputs, sigma_b, dtype)
        weights, biases, _, sigma_bs, _ = oracle_arguments(net)
        j, jz = net.jacobian(x).astype(np.float64), net.jacobian(z).astype(np.float64)
        parts = finite.ntk_per_layer(j, jz, finite.layer_slices(weights, biases, sigma_bs))
        tolerance = 200 * np.finfo(dtype).eps * np.abs(parts).max()
        np.testing.assert_allclose(net.ntk(x, z, per_layer=True), parts, rtol=0, atol=tolerance)
        for form in ("trace", "diagonal", "sum", 0):
            layers = net.ntk(x, z, outputs=form, per_layer=True)
            whole = net.ntk(x, z, outputs=form)
            np.testing.assert_allclose(layers.sum(0), whole, rtol=0, atol=outputs * tolerance)

    def test_entries_depend_on_their_rows_alone(self, depth, outputs, sigma_b, dtype):
        net, x, z = self.batches(depth, outputs, sigma_b, dtype)
        for form in ("full", "trace", "diagonal", "sum", 0):
            whole = net.ntk(x, outputs=form)
            swapped = whole.transpose(1, 0, 3, 2) if form == "full" else whole.swapaxes(0, 1)
            assert np.array_equal(whole, swapped)
            assert np.array_equal(whole, net.ntk(x, x, outputs=form))
            order = np.random.default_rng(0).permutation(len(x))
            assert np.array_equal(net.ntk(x[order], outputs=form), whole[order][:, order])
            assert np.array_equal(net.ntk(x[3:5], z, outputs=form), net.ntk(x, z, outputs=form)[3:5])
            for count in (1, 2, 3, 8):
                with ntkrs.threads(count):
                    assert np.array_equal(net.ntk(x, outputs=form), whole)


def test_kernels_of_wide_networks_approach_the_infinite_one():
    """The error falls like n^{-1/2} (Jacot et al. 2018)."""
    x = np.random.default_rng(0).standard_normal((12, 8))
    exact = mlp(2, 1, 1, "relu", 2**0.5, 0.1).kernel()(x)
    widths = np.array([64, 256, 1024])
    spread = [
        np.sqrt(np.mean([
            np.mean((mlp(2, int(width), 1, "relu", 2**0.5, 0.1).init(8, rng=seed).ntk(x, outputs=0) - exact) ** 2)
            for seed in range(24)
        ]))
        for width in widths
    ]  # fmt: skip
    slope = np.polyfit(np.log(widths), np.log(spread), 1)[0]
    # Each spread is known to about 1/√(2·24) = 15 %, and so the slope over a factor of 16 to about 0.07.
    assert -0.7 < slope < -0.3


class TestParameters:
    """The flat vector, its layout, and the arrays that networks are built from."""

    def test_layout(self):
        arch = Sequential(Dense(4, 1.0, 0.5), Relu(), Dense(2))
        net = arch.init(3, rng=1)
        w0, b0, w1 = net.parameters[:12].reshape(3, 4), net.parameters[12:16], net.parameters[16:].reshape(4, 2)
        assert np.array_equal(net.weights[0], w0)
        assert np.array_equal(net.weights[1], w1)
        assert np.array_equal(net.biases[0], b0)
        assert net.biases[1] is None
        same = Network(arch, [w0, w1], [b0, None])
        assert np.array_equal(same.parameters, net.parameters)
        assert np.array_equal(same(np.eye(3)), net(np.eye(3)))

    def test_they_are_standard_normal_and_reproducible(self):
        arch = mlp(1, 200, 10, sigma_b=1.0)
        theta = arch.init(300, rng=4).parameters
        assert np.array_equal(theta, arch.init(300, rng=np.random.default_rng(4)).parameters)
        assert not np.array_equal(theta, arch.init(300, rng=5).parameters)
        # 62,210 draws: a mean or variance is off by more than 5 standard errors for about one seed in a million.
        assert abs(theta.mean()) < 5 / theta.size**0.5
        assert abs(theta.var() - 1) < 5 * (2 / theta.size) ** 0.5

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_they_are_one_draw(self, dtype, monkeypatch):
        monkeypatch.setattr(_parameters, "_DRAWS", 1000)
        theta = mlp(1, 200, 10).init(300, rng=4, dtype=dtype).parameters
        assert np.array_equal(theta, np.random.default_rng(4).standard_normal(theta.size, dtype))

    def test_they_cannot_be_changed(self):
        net = mlp(1, 4, 1).init(2)
        with pytest.raises(ValueError, match="read-only"):
            net.parameters[0] = 0
        with pytest.raises(ValueError, match="read-only"):
            net.weights[0][0, 0] = 0

    def test_a_copy_is_made(self):
        theta = mlp(1, 4, 1).init(2).parameters.copy()
        net = mlp(1, 4, 1).init(2).with_parameters(theta)
        before = net(np.eye(2))
        theta[:] = 0
        assert np.array_equal(net(np.eye(2)), before)

    def test_float32_parameters_make_a_float32_network(self):
        net = mlp(1, 4, 1).init(2, dtype="float32")
        assert net.dtype == net(np.eye(2)).dtype == net.ntk(np.eye(2)).dtype == np.float32
        assert mlp(1, 4, 1).init(2).with_parameters(net.parameters).dtype == np.float32


class TestStandardParameterization:
    """x V + c is the same function with other derivatives."""

    arch = Sequential(Dense(6, 1.3, 0.4), Tanh(), Dense(5, 0.7), Relu(), Dense(2, 1.1, 0.2))

    def pair(self):
        net = self.arch.init(3, rng=4)
        pairs = list(zip(self.arch.dense, net.weights, net.biases, strict=True))
        v = [dense.sigma_w / len(weight) ** 0.5 * weight for dense, weight, _ in pairs]
        c = [None if bias is None else dense.sigma_b * bias for dense, _, bias in pairs]
        return net, Network.from_standard(self.arch, v, c), v, c

    def test_it_is_the_same_function(self):
        net, standard, _, _ = self.pair()
        x = np.random.default_rng(0).standard_normal((20, 3))
        np.testing.assert_allclose(standard(x), net(x), rtol=0, atol=50 * EPS)  # 6 products a sum, 3 layers

    def test_parameters_are_v_and_c(self):
        _, standard, v, c = self.pair()
        blocks = [block.ravel() for pair in zip(v, c, strict=True) for block in pair if block is not None]
        assert np.array_equal(standard.parameters, np.concatenate(blocks))
        assert standard.parameterization == "standard"
        assert self.arch.init(3).parameterization == "ntk"
        assert "parameterization='standard'" in repr(standard)

    def test_derivatives_are_in_v_and_c(self):
        _, standard, v, c = self.pair()
        x = np.random.default_rng(0).standard_normal((20, 3))
        sigma_w = [len(weight) ** 0.5 for weight in v]
        sigma_b = [0.0 if bias is None else 1.0 for bias in c]
        arguments = (x, v, c, sigma_w, sigma_b, ["tanh", "relu"])
        jacobian = finite.jacobian(*arguments)
        np.testing.assert_allclose(standard.jacobian(x), jacobian, rtol=0, atol=100 * EPS * abs(jacobian).max())
        kernel = finite.ntk(jacobian, jacobian)
        np.testing.assert_allclose(standard.ntk(x), kernel, rtol=0, atol=200 * EPS * abs(kernel).max())
        np.testing.assert_allclose(
            standard.vjp(x, np.ones((20, 2))), jacobian.sum((0, 1)), rtol=0, atol=2000 * EPS * abs(jacobian).max()
        )

    def test_other_parameters_and_pickles_stay_in_it(self):
        _, standard, _, _ = self.pair()
        x = np.random.default_rng(0).standard_normal((20, 3))
        for same in (standard.with_parameters(standard.parameters), pickle.loads(pickle.dumps(standard))):
            assert same.parameterization == "standard"
            assert np.array_equal(same(x), standard(x))
        trained, _ = standard.train(x, x[:, :2], 0.01, 3)
        assert trained.parameterization == "standard"
        step = -0.01 * standard.vjp(x, (standard(x) - x[:, :2]) / 40)
        once, _ = standard.train(x, x[:, :2], 0.01, 1)
        np.testing.assert_allclose(once.parameters, standard.parameters + step, rtol=0, atol=20 * EPS)

    def test_what_does_not_fit_is_refused(self):
        with pytest.raises(ValueError, match=r"weights\[0\] has shape \(3, 4\)"):
            Network.from_standard(self.arch, [np.ones((3, 4))] * 3, [None] * 3)
        with pytest.raises(TypeError, match="arch is None"):
            Network.from_standard(None, [])


ARCH = Sequential(Dense(4, 1.0, 0.5), Relu(), Dense(2))
W0, B0, W1 = np.ones((3, 4)), np.ones(4), np.ones((4, 2))

REFUSED = {
    "too few": (lambda: Network(ARCH, [W0], [B0]), ValueError, "1 weights and 1 biases.*2 dense layers"),
    "shape": (
        lambda: Network(ARCH, [W0.T, W1], [B0, None]),
        ValueError,
        r"weights\[0\] has shape \(4, 3\).*\(n_0, 4\)",
    ),
    "chain": (lambda: Network(ARCH, [W0, W0], [B0, None]), ValueError, r"weights\[1\] has shape \(3, 4\).*\(4, 2\)"),
    "1-D": (lambda: Network(ARCH, [W0[0], W1], [B0, None]), ValueError, r"weights\[0\] has shape \(4,\)"),
    "no inputs": (lambda: Network(ARCH, [W0[:0], W1], [B0, None]), ValueError, "at least 1 input"),
    "bias missing": (lambda: Network(ARCH, [W0, W1]), ValueError, r"biases\[0\] is None.*pass an array"),
    "bias extra": (lambda: Network(ARCH, [W0, W1], [B0, B0[:2]]), ValueError, r"biases\[1\] is given.*sigma_b is 0"),
    "bias shape": (lambda: Network(ARCH, [W0, W1], [B0[:3], None]), ValueError, r"biases\[0\] has shape \(3,\)"),
    "NaN": (lambda: Network(ARCH, [W0 * np.nan, W1], [B0, None]), ValueError, r"weights\[0\] holds nan at \(0, 0\)"),
    "bias inf": (lambda: Network(ARCH, [W0, W1], [B0 * np.inf, None]), ValueError, r"biases\[0\] holds inf at \(0,\)"),
    "text": (lambda: Network(ARCH, [W0.astype(str), W1], [B0, None]), TypeError, r"weights\[0\] holds text"),
    "theta shape": (lambda: ARCH.init(3).with_parameters([1.0]), ValueError, r"theta has shape \(1,\).*\(24,\)"),
    "theta NaN": (
        lambda: ARCH.init(3).with_parameters([0.0] * 5 + [np.nan] * 19),
        ValueError,
        r"theta holds nan at \(5,\)",
    ),
    "no arch": (lambda: Network(None, [W0, W1], [B0, None]), TypeError, "arch is None, but a Sequential"),
    "no weights": (lambda: Network(ARCH, None), TypeError, "weights is None, but a sequence of arrays"),
    "biases 5": (lambda: Network(ARCH, [W0, W1], 5), TypeError, "biases is 5, but a sequence of arrays"),
    "too many": (lambda: ARCH.init(10**13), MemoryError, r"40000000000012 parameters .* needs \d+ bytes .*narrower"),
    "per_layer": (lambda: ARCH.init(3).ntk(np.eye(3), per_layer="no"), TypeError, "per_layer is 'no', but True or"),
    "in_features 0": (lambda: ARCH.init(0), ValueError, "in_features is 0"),
    "in_features text": (lambda: ARCH.init("3"), TypeError, "in_features is '3'"),
    "dtype": (lambda: ARCH.init(3, dtype=int), TypeError, "dtype is int64, but must be float32 or float64"),
    "no dtype": (lambda: ARCH.init(3, dtype="foo"), TypeError, "dtype is 'foo', but must be float32 or float64"),
    "dtype None": (lambda: ARCH.init(3, dtype=None), TypeError, "dtype is None, but must be float32 or float64"),
    "rng": (lambda: ARCH.init(3, rng=-1), ValueError, "rng is -1, but a seed >= 0 or a numpy.random.Generator"),
    "rng float": (lambda: ARCH.init(3, rng=1.5), TypeError, r"rng is 1\.5, but a seed >= 0"),
    "outputs": (lambda: ARCH.init(3).ntk(np.eye(3), outputs="all"), ValueError, "outputs is 'all'.*'full'"),
    "output 2": (lambda: ARCH.init(3).ntk(np.eye(3), outputs=2), ValueError, "outputs is 2.*outputs 0 to 1"),
    "output -1": (lambda: ARCH.init(3).ntk(np.eye(3), outputs=-1), ValueError, "outputs is -1"),
    "output None": (lambda: ARCH.init(3).ntk(np.eye(3), outputs=None), TypeError, "outputs is None"),
}


@pytest.mark.parametrize(("make", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_samples_go_forward_in_chunks(dtype, monkeypatch):
    net = mlp(2, 9, 2, "tanh", 1.4, 0.1).init(3, dtype=dtype)
    x = np.random.default_rng(0).standard_normal((100, 3)).astype(dtype)
    whole = net(x)
    monkeypatch.setattr(_forward, "_FORWARD_ROWS", 7)
    assert np.array_equal(net(x), whole)
    assert np.array_equal(net(x[:, ::-1][::-2]), whole_of(net, x[:, ::-1][::-2]))
    assert net(x[:0]).shape == (0, 2)
    x[50, 1] = np.nan
    with pytest.raises(ValueError, match=r"X holds nan at \(50, 1\)"):
        net(x)
    with pytest.raises(ValueError, match="X has 2 features, but the network has 3"):
        net(x[:40, :2])


def whole_of(net, x):
    return np.concatenate([net(row) for row in x[:, None]])


def test_the_inputs_of_all_chunks_are_those_at_entry(monkeypatch):
    """The core gets a chunk only after another thread has changed the inputs."""
    net = mlp(1, 9, 2).init(3)
    x = np.random.default_rng(0).standard_normal((100, 3))
    expected = net(x)
    core = net._state.core

    class Changing:
        def forward(self, arrays):
            x[:] = 0.0
            core.forward(arrays)

    monkeypatch.setattr(_forward, "_FORWARD_ROWS", 7)
    monkeypatch.setattr(net._state, "core", Changing())
    assert np.array_equal(net(x), expected)


def test_values_beyond_the_dtype_of_the_network_are_refused():
    net = mlp(1, 4, 1).init(2, dtype=np.float32)
    for call in (net, net.jacobian, net.ntk, lambda z: net.ntk(np.eye(2), z)):
        with pytest.raises(ValueError, match=r"[XZ] holds 1e\+300 at \(1, 0\), which exceeds float32"):
            call([[1.0, 2.0], [1e300, 0.0]])
    with pytest.raises(ValueError, match="X holds -inf at"):  # infinite from the start: refused as everywhere
        net([[1.0, -np.inf]])


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "abs"])
def test_single_precision_jacobians_of_kinked_networks(name):
    """Agrees with float64 on the same parameters, except for samples with a pre-activation too near a kink."""
    net = mlp(2, 20, 3, name, 1.3, 0.4).init(6, rng=1, dtype=np.float32)
    x = np.random.default_rng(1).standard_normal((200, 6)).astype(np.float32).astype(np.float64)
    weights, biases, sigma_w, sigma_b, hidden = oracle_arguments(net)
    h, near = x, np.zeros(len(x), dtype=bool)
    for layer in range(2):
        h = sigma_w[layer] / h.shape[1] ** 0.5 * h @ weights[layer] + sigma_b[layer] * biases[layer]
        near |= np.abs(h).min(1) < 1e-4
        h = activations.phi(hidden[layer])(h)
    assert near.mean() < 0.1
    jacobian = finite.jacobian(x[~near], weights, biases, sigma_w, sigma_b, hidden)
    # Sums of 20 terms, through 3 layers forward and back.
    tolerance = 200 * np.finfo(np.float32).eps * np.abs(jacobian).max()
    np.testing.assert_allclose(net.jacobian(x[~near]), jacobian, rtol=0, atol=tolerance)


def test_slope_of_relu_at_zero_is_zero():
    """The convention of torch and JAX, also for |x|."""
    for name, slope in (("relu", 0.0), ("abs", 0.0), ("leaky_relu", 0.01)):
        net = Network(mlp(1, 1, 1, name), [np.zeros((1, 1)), np.ones((1, 1))])
        assert net.jacobian([[3.0]])[0, 0, 0] == 3.0 * slope
