"""Scales of converted architectures: unknown until they are given, and then those that each library starts from."""

import pickle
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import ntkrs
from ntkrs import Dense, Identity, Network, Relu, Sequential, Sigmoid, convert, diagnostics
from package import PUBLIC
from test_convert import ACTIVATIONS, FORMATS, C, V, X, linear, module, sequential, stand_in

EPS = np.finfo(np.float64).eps
UNKNOWN = Sequential(Dense(4, None, None), Relu(), Dense(3, None, 0.0))


@pytest.fixture(autouse=True)
def without_torch(monkeypatch):
    """Hides torch, so that stand-ins are read."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)


def frozen(values):
    """A stand-in for a torch Parameter or a Keras variable that is not trained."""
    found = linear(values, None).weight if np.ndim(values) == 2 else linear(V[0], values).bias
    found.requires_grad = False
    return found


class Variable(np.ndarray):
    """A stand-in for a Keras variable."""

    trainable = True

    @classmethod
    def of(cls, values, *, trainable):
        result = np.asarray(values).view(cls)
        result.trainable = trainable
        return result


class TestUnknownScales:
    """An architecture without known scales refuses what needs them, and does the rest."""

    @pytest.mark.parametrize("read", FORMATS.values(), ids=FORMATS)
    def test_no_reader_invents_scales(self, read):
        arch = read().arch
        assert [(dense.sigma_w, dense.sigma_b) for dense in arch.dense] == [(None, None), (None, 0.0), (None, None)]
        assert "sigma_w=None, sigma_b=None" in repr(arch)
        with pytest.raises(ValueError, match=r"layer 0 is Dense\(width=4, sigma_w=None.*sigma_w is unknown"):
            arch.kernel()

    @pytest.mark.parametrize(
        "use",
        [
            lambda arch: arch.kernel(),
            lambda arch: arch.kernel("standard"),
            ntkrs.Kernel,
            lambda arch: arch.init(6),
            lambda arch: arch.with_width(5).init(6),
            lambda arch: Network.random(arch, 6),
            lambda arch: Network(arch, V[:2], [C[0], None]),
            lambda arch: ntkrs.ensemble_ntk(arch, X, seeds=2),
            lambda arch: diagnostics.width_convergence(arch, X, widths=[4, 8], seeds=2),
        ],
    )
    def test_what_needs_them_is_refused_by_name(self, use):
        with pytest.raises(ValueError, match="sigma_w is unknown") as refused:
            use(UNKNOWN)
        for words in ("PyTorch from sigma_w² = 1/3", "Keras", "Flax", "scikit-learn", "init_scales", "scales='torch'"):
            assert words in str(refused.value)

    def test_only_the_layer_that_needs_them_is_named(self):
        mixed = Sequential(Dense(4), Relu(), Dense(3, None, None))
        with pytest.raises(ValueError, match="layer 2 is"):
            mixed.kernel()
        with pytest.raises(ValueError, match="has unknown scales"):
            _ = mixed.dense[1].scales

    def test_mlp_needs_numbers(self):
        with pytest.raises(TypeError, match="sigma_w is None"):
            ntkrs.mlp(1, 4, 1, sigma_w=None)
        with pytest.raises(ValueError, match="sigma_b is None"):
            ntkrs.mlp(1, 4, 1, sigma_b=None)

    @pytest.mark.parametrize("options", [{"sigma_b": 0.5}, {"sigma_b": None, "tau_b": 1.0}, {"tau_b": 0.0}])
    def test_scales_are_unknown_together(self, options):
        with pytest.raises(ValueError, match="sigma_w is None, but"):
            Dense(4, sigma_w=None, **options)
        with pytest.raises(ValueError, match=r"sigma_b is None, but sigma_w is 1\.0"):
            Dense(4, sigma_b=None)

    def test_they_are_values_like_others(self):
        assert eval(repr(UNKNOWN), PUBLIC) == UNKNOWN  # noqa: S307 its own repr
        assert pickle.loads(pickle.dumps(UNKNOWN)) == UNKNOWN
        assert hash(UNKNOWN) == hash(pickle.loads(pickle.dumps(UNKNOWN)))
        assert Dense(4, None, -0.0) == Dense(4, None)
        assert Sequential(Dense(4, 1.0, 1.0), Relu(), Dense(3)) != UNKNOWN
        assert replace(UNKNOWN.dense[0], sigma_w=2.0, sigma_b=0.5) == Dense(4, 2.0, 0.5)
        assert replace(Dense(4, 2.0, 0.5), sigma_w=None, sigma_b=None) == UNKNOWN.dense[0]
        assert [dense.has_bias for dense in UNKNOWN.dense] == [True, False]

    def test_networks_do_not_depend_on_them(self):
        """Values, NTK, products, linearization, training and pickles are bit for bit those of any known scales."""
        net = convert.from_torch(module())
        y = np.linspace(-1, 1, 10).reshape(5, 2)
        for known in ("torch", "keras", "flax", "sklearn", (1.3, 0.0), (0.7, 0.2), [2, 1]):
            other = convert.from_torch(module(), scales=known)
            for call in (
                lambda net: net(X),
                lambda net: net.jacobian(X),
                lambda net: net.ntk(X),
                lambda net: net.jvp(X, net.parameters),
                lambda net: net.vjp(X, y),
                lambda net: net.linearize()(X, net.parameters + 0.5),
                lambda net: net.train(X, y, 1e-4, 5)[0].parameters,
                lambda net: pickle.loads(pickle.dumps(net))(X),
                lambda net: np.float64(diagnostics.kappa(net, X, y, starts=1)),
            ):
                assert np.array_equal(call(net), call(other))
        assert convert.from_torch(module()).arch == pickle.loads(pickle.dumps(net)).arch


def variances(library, n, m):
    """Return Var(V) and Var(c) of a layer with n inputs and m outputs, from each library's documentation."""
    return {
        "torch": ((1 / n) / 3, (1 / n) / 3),  # U(±1/√n)
        "keras": (6 / (n + m) / 3, 0.0),  # U(±√(6/(n + m))), zeros
        "flax": (1 / n, 0.0),
        "sklearn": (6 / (n + m) / 3, 6 / (n + m) / 3),
    }[library]


class TestScales:
    """The scales of the libraries, and pairs."""

    @pytest.mark.parametrize("library", ["torch", "keras", "flax", "sklearn"])
    def test_kernels_are_those_of_the_library(self, library):
        """Var f of a linear network, Σ ← n Var(V) Σ + Var(c) with Σ = |x|²/n at first, is exact at any width."""
        net = convert.from_keras([V[0], C[0], V[1], V[2], C[2]], "linear", scales=library)
        nngp, widths = (X**2).sum(1) / 6, (6, 4, 3, 2)
        for index, (n, m) in enumerate(pairwise(widths)):
            weight, shift = variances(library, n, m)
            nngp = n * weight * nngp + (0 if index == 1 else shift)
        np.testing.assert_allclose(net.arch.kernel().diag(X, get="nngp"), nngp, rtol=20 * EPS)  # 3 layers
        assert net.arch.activations == (Identity(), Identity())

    def test_torch_is_a_third(self):
        arch = convert.from_torch(module(), scales="torch").arch
        assert [dense.sigma_w**2 for dense in arch.dense] == pytest.approx([1 / 3] * 3, rel=4 * EPS)
        assert [dense.sigma_b**2 for dense in arch.dense] == pytest.approx([1 / 18, 0, 1 / 9], rel=4 * EPS)

    def test_biases_that_start_at_0_are_trained(self):
        arch = convert.from_flax({"Dense_0": {"kernel": V[0], "bias": C[0]}}, "relu", scales="flax").arch
        assert arch == Sequential(Dense(4, 1.0, 0.0, tau_b=1.0))
        net = arch.init(6, rng=1)
        assert not net.biases[0].any()
        np.testing.assert_allclose(arch.kernel()(X), X @ X.T / 6 + 1, rtol=0, atol=1e-14)  # a sum of 6 terms of size 1
        np.testing.assert_allclose(arch.kernel("standard")(X), X @ X.T + 1, rtol=0, atol=1e-14)
        # The finite network in V and c has this kernel, too.
        np.testing.assert_allclose(convert.from_keras([V[0], C[0]], "relu").ntk(X, outputs=0), X @ X.T + 1, atol=1e-14)

    def test_logistic_is_a_third_of_it_in_scikit_learn(self):
        names = ("relu", "logistic", "sigmoid", Sigmoid())
        scales = [convert.init_scales("sklearn", name).of_layer(30, 10) for name in names]
        assert scales[0] == pytest.approx([1.5**0.5, 0.05**0.5], rel=4 * EPS)
        assert scales[1:] == [pytest.approx([0.5**0.5, (1 / 60) ** 0.5], rel=4 * EPS)] * 3
        read = [convert.from_keras([V[0], V[1]], name, scales="sklearn").arch.dense[0] for name in ("relu", Sigmoid())]
        assert read[0].sigma_w == pytest.approx(3**0.5 * read[1].sigma_w, rel=4 * EPS)
        assert convert.init_scales("torch", "logistic") == convert.init_scales("torch")

    @pytest.mark.parametrize("activation", ["relu", "logistic"])
    def test_scikit_learn_starts_from_them(self, activation):
        """The variances of fresh weights and biases, within 6 standard errors √(0.8/count) of uniform numbers."""
        neural = pytest.importorskip("sklearn.neural_network", reason="scikit-learn is absent")
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal((4, 200)), rng.standard_normal((4, 100))
        options = {"hidden_layer_sizes": (300,), "activation": activation, "solver": "sgd", "max_iter": 1}
        model = neural.MLPRegressor(**options, learning_rate_init=1e-12, random_state=0)
        with pytest.warns(match="hasn't converged"):
            model.fit(x, y)
        arch = convert.from_sklearn(model, scales="sklearn").arch
        for dense, weight, bias in zip(arch.dense, model.coefs_, model.intercepts_, strict=True):
            wanted = dense.sigma_w**2 / len(weight)
            assert np.mean(weight**2) == pytest.approx(wanted, rel=6 * (0.8 / weight.size) ** 0.5)
            assert np.mean(bias**2) == pytest.approx(dense.sigma_b**2, rel=6 * (0.8 / bias.size) ** 0.5)

    def test_scikit_learn_without_hidden_layers(self):
        model = stand_in("MLPRegressor", coefs_=[V[0]], intercepts_=[C[0]], activation="logistic")
        dense = convert.from_sklearn(model, scales="sklearn").arch.dense[0]
        assert dense.sigma_w**2 == pytest.approx(2 * 6 / (3 * 10), rel=4 * EPS)

    def test_torch_starts_from_them(self, monkeypatch):
        monkeypatch.undo()
        torch = pytest.importorskip("torch", reason="torch is absent: its scales are those of its documentation")
        layer = torch.nn.Linear(200, 300)
        dense = convert.from_torch(layer, scales="torch").arch.dense[0]
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        assert np.mean(weight**2) == pytest.approx(dense.sigma_w**2 / 200, rel=6 * (0.8 / weight.size) ** 0.5)
        assert np.mean(bias**2) == pytest.approx(dense.sigma_b**2, rel=6 * (0.8 / bias.size) ** 0.5)

    def test_pairs_and_functions(self):
        arch = convert.from_torch(module(), scales=(1.5, 0.1)).arch
        assert arch == Sequential(Dense(4, 1.5, 0.1), Relu(), Dense(3, 1.5), arch.layers[3], Dense(2, 1.5, 0.1))
        assert convert.from_torch(module(), scales=convert.init_scales("torch")).arch == (
            convert.from_torch(module(), scales="torch").arch
        )
        sized = convert.from_torch(module(), scales=(lambda n, m: n / m, 0.5)).arch
        assert [dense.sigma_w for dense in sized.dense] == [6 / 4, 4 / 3, 3 / 2]

    def test_they_pickle(self):
        scales = convert.init_scales("torch")
        assert pickle.loads(pickle.dumps(scales)) == scales
        assert scales.sigma_b.__module__ == type(scales).__module__ == "ntkrs.convert"

    @pytest.mark.parametrize(
        ("scales", "error", "message"),
        [
            ("jax", ValueError, "scales is 'jax', but must be 'torch', 'keras', 'flax' or 'sklearn'"),
            (1.5, TypeError, r"scales is 1.5, but must be 'torch', .* a pair"),
            ((1.0, 0.0, 0.0), TypeError, "a pair"),
            ((0.0, 1.0), ValueError, r"scales\[0\] is 0.0, but must be positive"),
            ((None, 1.0), TypeError, r"scales\[0\] is None, but a number"),
            ((1.0, -1.0), ValueError, r"scales\[1\] is -1.0, but must be >= 0"),
        ],
    )
    def test_others_are_refused(self, scales, error, message):
        with pytest.raises(error, match=message):
            convert.from_torch(module(), scales=scales)
        with pytest.raises(ValueError, match="library is 'jax', but must be"):
            convert.init_scales("jax")
        with pytest.raises(ValueError, match="inputs is 0"):
            convert.init_scales("torch").of_layer(0, 3)


class TestFrozenLayers:
    """Layers that the model does not train."""

    def torch_module(self, weight, bias):
        layer = linear(V[0], C[0])
        layer.weight.requires_grad, layer.bias.requires_grad = weight, bias
        return sequential(layer, stand_in("ReLU"), linear(V[1], None))

    def test_torch_layers(self):
        net, whole = (convert.from_torch(self.torch_module(trained, trained)) for trained in (False, True))
        assert [dense.trainable for dense in net.arch.dense] == [False, True]
        assert [dense.trainable for dense in whole.arch.dense] == [True, True]
        assert np.array_equal(net(X), whole(X))
        # The second layer alone is left: Σ over its weights of x¹ x'¹, for each output.
        hidden = np.maximum(X @ V[0] + C[0], 0)
        np.testing.assert_allclose(net.ntk(X, outputs=0), hidden @ hidden.T, rtol=0, atol=1e-12)
        trained, _ = net.train(X, np.zeros((5, 3)), 0.01, 3)
        assert np.array_equal(trained.weights[0], net.weights[0])
        assert not np.array_equal(trained.weights[1], net.weights[1])
        filled = convert.from_torch(self.torch_module(False, False), scales="torch").arch
        assert [dense.trainable for dense in filled.dense] == [False, True]

    @pytest.mark.parametrize(("weight", "bias"), [(False, True), (True, False)])
    def test_half_a_torch_layer_is_an_error(self, weight, bias):
        names = ("module[0].bias", "module[0].weight")
        first, other = names if weight else names[::-1]
        with pytest.raises(ValueError, match="is frozen") as refused:
            convert.from_torch(self.torch_module(weight, bias))
        assert f"{first} is frozen, but {other} is not" in str(refused.value)

    def test_a_layer_without_biases_is_frozen_by_its_weight(self):
        assert not convert.from_torch(stand_in("Linear", weight=frozen(V[0]), bias=None)).arch.dense[0].trainable

    def test_keras_variables(self):
        kernel, bias = (Variable.of(values, trainable=False) for values in (V[0], C[0]))
        for weights in ([kernel, bias, V[1]], [(kernel, bias), (V[1],)]):
            assert [dense.trainable for dense in convert.from_keras(weights, "relu").arch.dense] == [False, True]
        with pytest.raises(ValueError, match=r"weights\[0\]\[0\] is frozen, but weights\[0\]\[1\] is not"):
            convert.from_keras([(kernel, C[0])], "relu")

    def test_state_dicts_do_not_tell(self):
        """``state_dict()`` detaches all tensors, frozen or not."""
        state = {"0.weight": frozen(V[0]), "0.bias": frozen(C[0])}
        assert convert.from_state_dict(state, ACTIVATIONS[0]).arch.dense[0].trainable


@pytest.mark.parametrize(
    "kind",
    [
        "BatchNorm1d",
        "LazyBatchNorm1d",
        "SyncBatchNorm",
        "LayerNorm",
        "GroupNorm",
        "InstanceNorm1d",
        "RMSNorm",
        "Softmax",
    ],
)
def test_no_other_torch_module_is_read_as_if_it_did_nothing(kind):
    """Even a normalisation with its initial statistics has parameters, which count in the NTK."""
    norm = {"running_mean": 0 * C[0], "running_var": 0 * C[0] + 1, "eps": 0.0, "training": False}
    layer = stand_in(kind, weight=linear(V[0], 0 * C[0] + 1).bias, bias=linear(V[0], 0 * C[0]).bias, **norm)
    with pytest.raises(TypeError, match=rf"module\[1\] is a .*{kind}, which cannot be read"):
        convert.from_torch(sequential(linear(V[0], C[0]), layer, stand_in("ReLU"), linear(V[1], None)))
