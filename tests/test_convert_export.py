"""Networks as models and weights of other libraries: exact round trips, the same functions, and refusals by name."""

import sys

import numpy as np
import pytest

import ntkrs
from ntkrs import Activation, Dense, Sequential, activations, convert, mlp

RNG = np.random.default_rng(0)
X = RNG.standard_normal((5, 6))
V = [RNG.standard_normal(shape) for shape in ((6, 4), (4, 3), (3, 2))]
C = [RNG.standard_normal(4), None, RNG.standard_normal(2)]

#: Networks in the NTK parameterization, with scales and biases of every kind.
NTK = {
    "biases": mlp(2, 8, 3, "relu", 1.5, 0.1).init(6),
    "none": mlp(1, 8, 3, "tanh", 0.7).init(6),
    "linear": mlp(0, 8, 3, sigma_b=1.0).init(6),
    "learning scales": Sequential(
        Dense(4, 2.0, 0.5, tau_b=3.0), ntkrs.Silu(), Dense(4, 1.0, 0.0, tau_b=1.0), ntkrs.Silu(), Dense(2)
    ).init(6),
    "float32": mlp(1, 8, 3, "gelu", 1.5, 0.1).init(6, dtype=np.float32),
}


def frozen(net, *indices):
    """Return a converted network some of whose layers are not trained."""
    layers = list(net.arch.layers)
    for index in indices:
        old = net.arch.dense[index]
        layers[2 * index] = Dense(old.width, old.sigma_w, old.sigma_b, trainable=False)
    return ntkrs.Network.from_standard(Sequential(*layers), net.weights, net.biases)


def is_the_same(one, other):
    return (
        one.arch == other.arch
        and one.parameterization == other.parameterization
        and one.parameters.dtype == other.parameters.dtype
        and one.parameters.tobytes() == other.parameters.tobytes()
    )


def standard(dtype="f8", activation="relu", biases=C):
    """Return a converted network, and what was read."""
    pairs = [(v.astype(dtype), None if c is None else c.astype(dtype)) for v, c in zip(V, biases, strict=True)]
    return convert.from_keras(pairs, activation), pairs


class TestArrays:
    """State dicts and Keras weights need no library."""

    @pytest.mark.parametrize("dtype", ["f4", "f8"])
    @pytest.mark.parametrize("layers", [None, ["a", "b.c", "out"]])
    def test_state_dicts_come_back_exactly(self, dtype, layers):
        net, _ = standard(dtype)
        state = convert.to_state_dict(net, layers)
        assert list(state) == [
            f"{name}.{kind}"
            for name, kinds in zip(layers or "024", (["weight", "bias"], ["weight"], ["weight", "bias"]), strict=True)
            for kind in kinds
        ]
        assert all(array.flags.c_contiguous and array.flags.writeable for array in state.values())
        assert is_the_same(convert.from_state_dict(state, "relu", layers), net)

    def test_state_dicts_go_through_files(self, tmp_path):
        numpy = pytest.importorskip("safetensors.numpy", reason="safetensors is absent: no file is written here")
        net, _ = standard()
        numpy.save_file(convert.to_state_dict(net), tmp_path / "m.safetensors")
        assert is_the_same(convert.from_safetensors(tmp_path / "m.safetensors", "relu"), net)

    @pytest.mark.parametrize("dtype", ["f4", "f8"])
    def test_keras_weights_come_back_exactly(self, dtype):
        net, pairs = standard(dtype)
        weights = convert.to_keras_weights(net)
        flat = [array for pair in pairs for array in pair if array is not None]
        assert [array.tobytes() for array in weights] == [array.tobytes() for array in flat]
        assert is_the_same(convert.from_keras(weights, "relu"), net)

    @pytest.mark.parametrize("name", NTK)
    def test_other_parameters_are_rounded_once(self, name):
        net = NTK[name]
        weights = iter(convert.to_keras_weights(net))
        for index, dense in enumerate(net.arch.dense):
            n = net.weights[index].shape[0]
            exact = net.weights[index].astype(float) * (dense.sigma_w / n**0.5)
            # One rounding to the dtype, beside those of σ_w/√n and of the product in float64.
            eps = float(np.finfo(net.dtype).eps)
            np.testing.assert_allclose(next(weights), exact, rtol=eps / 2 + 4 * np.finfo(float).eps)
            if dense.has_bias:
                np.testing.assert_allclose(
                    next(weights), net.biases[index].astype(float) * (dense.tau_b or dense.sigma_b), rtol=2 * eps
                )
        assert next(weights, None) is None
        activation = net.arch.activations[0] if net.arch.activations else "relu"
        found = convert.from_state_dict(convert.to_state_dict(net), activation)
        # Layers of 8 units, each sum of which is off by 10 ε at most, of outputs of order 1.
        np.testing.assert_allclose(found(X), net(X), rtol=0, atol=60 * np.finfo(net.dtype).eps)
        assert found.dtype == net.dtype

    def test_copies_are_given(self):
        net, _ = standard()
        before = net.parameters.copy()
        for array in (*convert.to_keras_weights(net), *convert.to_state_dict(net).values()):
            array[...] = 0
        assert np.array_equal(net.parameters, before)

    def test_any_activation_has_weights(self):
        net = mlp(1, 4, 2, Activation(np.tanh, lambda x: 1 / np.cosh(x) ** 2)).init(6)
        assert len(convert.to_keras_weights(net)) == 2


@pytest.fixture
def torch():
    """Return the real torch, or skip the test if it is absent."""
    return pytest.importorskip("torch", reason="torch is absent: to_torch is not tested here")


class TestTorch:
    """Real torch modules."""

    ACTIVATIONS = (
        *(cls() for cls in (activations.Identity, activations.Relu, activations.Tanh, activations.Sigmoid)),
        *(cls() for cls in (activations.Silu, activations.Selu, activations.Softsign, activations.Mish)),
        *(cls() for cls in (activations.Gelu, activations.GeluTanh, activations.Softplus)),
        activations.LeakyRelu(1 / 3), activations.Elu(0.7),
    )  # fmt: skip

    @pytest.mark.parametrize("dtype", ["f4", "f8"])
    @pytest.mark.parametrize("activation", ACTIVATIONS, ids=repr)
    def test_networks_come_back_exactly(self, torch, activation, dtype):
        net, _ = standard(dtype, activation)
        module = convert.to_torch(net)
        found = convert.from_torch(module)
        assert is_the_same(found, net)
        inputs = X.astype(dtype)
        values = module(torch.from_numpy(inputs)).detach().numpy()
        # Three layers of at most 6 inputs, whose sums are off by some ε of outputs of order 10.
        np.testing.assert_allclose(values, net(inputs), rtol=0, atol=400 * np.finfo(dtype).eps)

    def test_modules_come_back_exactly(self, torch):
        nn = torch.nn
        module = nn.Sequential(
            nn.Linear(6, 5), nn.Softplus(), nn.Linear(5, 4, bias=False), nn.ELU(0.5), nn.Linear(4, 2)
        )
        module[2].requires_grad_(False)
        again = convert.to_torch(convert.from_torch(module))
        old, new = module.state_dict(), again.state_dict()
        assert list(old) == list(new)
        assert all(torch.equal(old[name], new[name]) for name in old)
        trained = [[parameter.requires_grad for parameter in model.parameters()] for model in (module, again)]
        assert trained[0] == trained[1] == [True, True, False, True, True]

    @pytest.mark.parametrize("name", NTK)
    def test_the_function_is_the_same(self, torch, name):
        net = NTK[name]
        values = convert.to_torch(net)(torch.from_numpy(X.astype(net.dtype))).detach().numpy()
        assert values.dtype == net.dtype
        np.testing.assert_allclose(values, net(X), rtol=0, atol=60 * np.finfo(net.dtype).eps)

    def test_what_is_not_trained_has_no_gradient(self, torch):
        net, _ = standard()
        module = convert.to_torch(frozen(net, 1))
        assert [p.requires_grad for p in module.parameters()] == [True, True, False, True, True]
        assert is_the_same(convert.from_torch(module), frozen(net, 1))
        fixed = Sequential(Dense(3, 1.0, 0.5, tau_b=0.0)).init(6)
        assert [p.requires_grad for p in convert.to_torch(fixed).parameters()] == [True, False]
        assert torch.is_grad_enabled()

    def test_it_can_be_trained_and_owns_its_parameters(self, torch):
        net, _ = standard()
        before = net.parameters.copy()
        module = convert.to_torch(net)
        loss = module(torch.from_numpy(X)).square().sum()
        loss.backward()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.sub_(0.1 * parameter.grad)
        assert module(torch.from_numpy(X)).square().sum() != loss
        assert np.array_equal(net.parameters, before)

    def test_no_random_number_is_drawn(self, torch):
        state = torch.random.get_rng_state()
        convert.to_torch(NTK["biases"])
        assert torch.equal(torch.random.get_rng_state(), state)

    def test_softplus_is_exact_between_the_thresholds(self, torch):
        net, _ = standard(activation="softplus")
        x = 30 * X
        values = convert.to_torch(net)(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(values, net(x), rtol=0, atol=1e-12)

    @pytest.mark.parametrize(
        "activation",
        [activations.Erf(), activations.Sin(), Activation(np.tanh, lambda x: 1 / np.cosh(x) ** 2)],
        ids=repr,
    )
    def test_activations_that_torch_lacks(self, torch, activation):
        assert torch is not None
        weights = [np.ones((2, 2)), np.ones((2, 2)), np.ones((2, 1))]
        net = ntkrs.Network(Sequential(Dense(2), ntkrs.Relu(), Dense(2), activation, Dense(1)), weights)
        with pytest.raises(ValueError, match=r"layer 3 is \w+\(.*for which torch.nn has no module.*to_state_dict"):
            convert.to_torch(net)

    def test_without_torch(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "torch", None)
        with pytest.raises(ImportError, match=r"this needs PyTorch .*pip install 'ntkrs\[torch\]'"):
            convert.to_torch(NTK["biases"])


@pytest.fixture
def neural():
    """Return scikit-learn's multilayer perceptrons, or skip the test if they are absent."""
    return pytest.importorskip("sklearn.neural_network", reason="scikit-learn is absent: to_sklearn is not tested here")


class TestScikitLearn:
    """Real estimators."""

    @pytest.mark.parametrize("dtype", ["f4", "f8"])
    @pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "sigmoid"])
    def test_networks_come_back_exactly(self, neural, activation, dtype):
        net, _ = standard(dtype, activation, [c if c is not None else np.ones(3) for c in C])
        model = convert.to_sklearn(net)
        assert type(model) is neural.MLPRegressor
        assert is_the_same(convert.from_sklearn(model), net)
        inputs = X.astype(dtype)
        np.testing.assert_allclose(model.predict(inputs), net(inputs), rtol=0, atol=400 * np.finfo(dtype).eps)

    @pytest.mark.filterwarnings("ignore:Stochastic Optimizer")  # three steps do not converge
    @pytest.mark.parametrize("classes", [None, 2, 3])
    def test_estimators_come_back_exactly(self, neural, classes):
        options = {"hidden_layer_sizes": (5, 4), "max_iter": 3, "random_state": 0, "activation": "tanh"}
        x = RNG.standard_normal((60, 6))
        if classes is None:
            model = neural.MLPRegressor(**options).fit(x, x[:, 0])
            again = convert.to_sklearn(convert.from_sklearn(model))
        else:
            labels = np.array(["a", "b", "c"])[np.arange(60) % classes]
            model = neural.MLPClassifier(**options).fit(x, labels)
            again = convert.to_sklearn(convert.from_sklearn(model), classes=model.classes_)
            np.testing.assert_array_equal(again.predict_proba(x), model.predict_proba(x))
        assert [a.tobytes() for a in (*again.coefs_, *again.intercepts_)] == [
            a.tobytes() for a in (*model.coefs_, *model.intercepts_)
        ]
        np.testing.assert_array_equal(again.predict(x), model.predict(x))
        assert again.score(x, model.predict(x)) == 1

    def test_one_output_is_a_vector(self, neural):
        model = convert.to_sklearn(mlp(1, 4, 1).init(6))
        assert isinstance(model, neural.MLPRegressor)
        assert model.predict(X).shape == (5,)

    @pytest.mark.parametrize("classes", [None, [0, 1, 2]])
    def test_partial_fit_goes_on(self, neural, classes):
        model = convert.to_sklearn(NTK["biases"], classes)
        x, y = RNG.standard_normal((90, 6)), np.arange(90) % 3
        targets = np.eye(3)[y] if classes is None else y
        before = model.score(x, targets)
        for _ in range(50):
            model.partial_fit(x, targets)
        assert model.score(x, targets) > before
        assert isinstance(model, neural.MLPRegressor if classes is None else neural.MLPClassifier)

    def test_layers_without_biases_have_intercepts_of_zero(self, neural):
        net, _ = standard()
        model = convert.to_sklearn(net)
        assert isinstance(model, neural.MLPRegressor)
        assert model.intercepts_[1].tolist() == [0, 0, 0]
        np.testing.assert_allclose(model.predict(X), net(X), rtol=0, atol=1e-13)

    REFUSALS = (
        (
            mlp(1, 4, 2, "gelu").init(3),
            None,
            r"the activation is Gelu\(\), but those of scikit-learn are Identity, Relu",
        ),
        (
            Sequential(Dense(2), ntkrs.Relu(), Dense(2), ntkrs.Tanh(), Dense(1)).init(2),
            None,
            r"the activations Relu\(\), Tanh\(\), but those of scikit-learn have one for all",
        ),
        (mlp(1, 4, 2).init(3), [0, 1], "classes has 2 labels, for which scikit-learn has 1 outputs, but .* has 2"),
        (mlp(1, 4, 2).init(3), [0, 1, 2], "classes has 3 labels, for which scikit-learn has 3 outputs, but .* has 2"),
        (mlp(1, 4, 2).init(3), [1, 0], r"classes is \[1, 0\], but must ascend"),
        (mlp(1, 4, 2).init(3), [1, 1], r"classes is \[1, 1\], but two or more labels are needed, each once"),
        (mlp(1, 4, 2).init(3), [1], r"classes is \[1\], but two or more labels are needed"),
    )

    @pytest.mark.parametrize(("net", "classes", "message"), REFUSALS, ids=range(len(REFUSALS)))
    def test_refusals(self, neural, net, classes, message):
        assert neural is not None
        with pytest.raises(ValueError, match=message):
            convert.to_sklearn(net, classes)

    def test_without_scikit_learn(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "sklearn.neural_network", None)
        with pytest.raises(ImportError, match=r"pip install 'ntkrs\[sklearn\]'"):
            convert.to_sklearn(NTK["biases"])


class TestKeras:
    """Real Keras models."""

    def test_weights_come_back_exactly(self):
        keras = pytest.importorskip("keras", reason="Keras is absent: its weights are tested as lists of arrays")
        net, _ = standard("f4")
        layers = keras.layers
        model = keras.Sequential([keras.Input((6,)), *(
            layers.Dense(c.shape[1], use_bias=b is not None, activation=a)
            for c, b, a in zip(V, C, ("relu", "relu", None), strict=True)
        )])  # fmt: skip
        model.set_weights(convert.to_keras_weights(net))
        assert is_the_same(convert.from_keras(model.get_weights(), "relu"), net)
        x = X.astype("f4")
        np.testing.assert_allclose(model.predict(x, verbose=0), net(x), rtol=0, atol=1e-5)


WRITERS = [convert.to_torch, convert.to_state_dict, convert.to_keras_weights, convert.to_sklearn]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
@pytest.mark.parametrize(
    ("net", "message"),
    [
        (mlp(1, 2, 1), r"net is Sequential\(.*but a Network is needed\. Draw its parameters first: arch\.init"),
        (mlp(1, 2, 1).kernel(), "net is .*but a Network is needed"),
        (None, "net is None, but a Network is needed"),
        (np.eye(2), r"net is an array of shape \(2, 2\)"),
    ],
)
def test_other_things_are_refused(write, net, message):
    with pytest.raises(TypeError, match=message):
        write(net)


@pytest.mark.parametrize("write", [convert.to_state_dict, convert.to_keras_weights])
def test_weights_beyond_the_dtype_are_refused(write):
    arch = Sequential(Dense(1, 1e30))
    net = ntkrs.Network(arch, [np.full((1, 1), 1e30, "f4")])
    with pytest.raises(ValueError, match=r"weights\[0\] times its scale 1e\+30 holds inf at \(0, 0\)"):
        write(net)


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ("fc", TypeError, r"layers is 'fc', but a sequence of names is needed"),
        (["a", "b"], ValueError, r"layers is \['a', 'b'\], but the network has 3 dense layers"),
        (["a", "a", "b"], ValueError, "one name for each"),
        ([1, 2, 3], TypeError, "layers holds 1, but names are needed"),
    ],
)
def test_names_of_layers(layers, error, message):
    with pytest.raises(error, match=message):
        convert.to_state_dict(standard()[0], layers)
