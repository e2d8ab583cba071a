"""Models of the real scikit-learn and torch, compared with the results of these libraries."""

import importlib

import numpy as np
import pytest

import ntkrs
from ntkrs import LeakyRelu, convert

RNG = np.random.default_rng(0)


class TestScikitLearn:
    """Real, fitted estimators. The network stops before the output activation."""

    @pytest.mark.parametrize("activation", ["identity", "relu", "tanh", "logistic"])
    @pytest.mark.parametrize("classes", [0, 2, 3])
    @pytest.mark.filterwarnings("ignore:Stochastic Optimizer")  # three steps do not converge
    def test_it_is_the_estimator(self, activation, classes):
        neural = pytest.importorskip("sklearn.neural_network", reason="scikit-learn is absent")
        x = RNG.standard_normal((60, 6))
        options = {"hidden_layer_sizes": (5, 4), "activation": activation, "max_iter": 3, "random_state": 0}
        if classes:
            model = neural.MLPClassifier(**options).fit(x, np.arange(60) % classes)
        else:
            model = neural.MLPRegressor(**options).fit(x, x[:, :2])
        if activation == "logistic" and not hasattr(ntkrs, "Sigmoid"):
            with pytest.raises(ValueError, match="this version of ntkrs has no Sigmoid"):
                convert.from_sklearn(model)
            return
        values = convert.from_sklearn(model)(x)
        if classes == 3:
            values = np.exp(values) / np.exp(values).sum(1, keepdims=True)
        elif classes == 2:
            assert values.shape == (60, 1)
            values = 1 / (1 + np.exp(-values))
            values = np.hstack([1 - values, values])
        expected = model.predict_proba(x) if classes else model.predict(x)
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-13)


@pytest.fixture
def torch():
    """Return the real torch, or skip the test if it is absent."""
    return pytest.importorskip("torch", reason="torch is absent: stand-ins alone show that its modules are read")


class TestTorch:
    """Real torch modules."""

    ACTIVATIONS = (
        ("ReLU", {}), ("Tanh", {}), ("Sigmoid", {}), ("SiLU", {}), ("SELU", {}), ("Mish", {}), ("GELU", {}),
        ("GELU", {"approximate": "tanh"}), ("Softsign", {}),
        ("LeakyReLU", {"negative_slope": 0.3}), ("ELU", {}), ("CELU", {}), ("Softplus", {}), ("Identity", {}),
    )  # fmt: skip

    def check(self, torch, model, net, shape):
        """Values and NTK, from the Jacobian of torch.func. Beyond torch's threshold, Softplus differs by 1e-10 of x."""
        x = torch.from_numpy(RNG.standard_normal((4, *shape)))
        rows = x.reshape(4, -1).numpy()
        parameters = {name: value.detach() for name, value in model.named_parameters()}

        def call(theta, one):
            return torch.func.functional_call(model, theta, (one[None],))[0]

        jacobians = torch.func.vmap(torch.func.jacrev(call), (None, 0))(parameters, x)
        flat = np.concatenate([part.flatten(2).numpy() for part in jacobians.values()], axis=2)
        expected = np.einsum("nop,mkp->nmok", flat, flat)
        np.testing.assert_allclose(net(rows), model(x).detach().numpy(), rtol=0, atol=1e-12)
        np.testing.assert_allclose(net.ntk(rows), expected, rtol=0, atol=1e-12 * np.abs(expected).max())

    @pytest.mark.parametrize(
        ("kind", "options"), ACTIVATIONS, ids=[f"{kind}{options or ''}" for kind, options in ACTIVATIONS]
    )
    def test_activations(self, torch, kind, options):
        nn = torch.nn
        model = nn.Sequential(nn.Linear(6, 5), getattr(nn, kind)(**options), nn.Linear(5, 3, bias=False)).double()
        wanted = {"CELU": "Elu", "LeakyReLU": "LeakyRelu"}.get(kind, kind.capitalize())
        if not hasattr(ntkrs, wanted):
            name = {"CELU": "Elu", "SiLU": "Silu"}.get(kind, wanted)
            with pytest.raises(ValueError, match=f"this version of ntkrs has no {name}"):
                convert.from_torch(model)
            return
        self.check(torch, model, convert.from_torch(model), (6,))

    def test_a_nested_model_and_its_state_dict(self, torch):
        nn = torch.nn
        block = nn.Sequential(nn.Linear(5, 4, bias=False), nn.LeakyReLU(0.2), nn.Dropout(0.3))
        model = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.ReLU(), block, nn.Linear(4, 3)).double().eval()
        self.check(torch, model, convert.from_torch(model), (2, 3))
        self.check(torch, model, convert.from_state_dict(model.state_dict(), ["relu", LeakyRelu(0.2)]), (2, 3))

    def test_what_is_not_torchs_own_is_refused(self, torch):
        class Linear(torch.nn.Linear):
            def forward(self, x):
                return super().forward(x) ** 2

        with pytest.raises(TypeError, match=r"module\[0\] is a .*Linear, which cannot be read"):
            convert.from_torch(torch.nn.Sequential(Linear(2, 3)))
        with pytest.raises(TypeError, match=r"module\[0\] is a torch.nn.modules.linear.LazyLinear"):
            convert.from_torch(torch.nn.Sequential(torch.nn.LazyLinear(3)))
        with pytest.raises(TypeError, match=r"module.weight cannot be read as a NumPy array"):
            convert.from_torch(torch.nn.Linear(2, 3, device="meta"))
        pruned = importlib.import_module("torch.nn.utils.prune").random_unstructured(torch.nn.Linear(2, 3), "weight", 1)
        with pytest.raises(ValueError, match="has forward hooks"):
            convert.from_torch(pruned)

    def classes_of_the_user(self, nn, plain):
        """Return a subclass of Sequential, one that computes something else, and a model as tutorials write it."""

        class Subclass(nn.Sequential):
            """A Sequential with a name of its own."""

        class Other(nn.Sequential):
            """A Sequential that computes something else."""

            def forward(self, x):
                return super().forward(x) ** 2

        class Model(nn.Module):
            """A class of the user's, as tutorials write it."""

            def __init__(self):
                super().__init__()
                self.fc1, self.fc2 = plain[0], plain[2]

            def forward(self, x):
                return self.fc2(self.fc1(x).relu())

        return Subclass, Other, Model

    def test_what_to_pass_instead_of_wrappers_and_subclasses(self, torch):
        nn = torch.nn
        plain = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)).double()
        expected = convert.from_torch(plain)

        Subclass, Other, Model = self.classes_of_the_user(nn, plain)  # noqa: N806
        subclass = Subclass(*plain)
        averaged = torch.optim.swa_utils.AveragedModel(plain)
        cases = [
            (nn.DataParallel(plain), r"Pass that: module\.module\.", lambda m: convert.from_torch(m.module)),
            (averaged, r"Pass that: module\.module\.", lambda m: convert.from_torch(m.module)),
            (torch.compile(plain), r"compiled.*module\._orig_mod", lambda m: convert.from_torch(m._orig_mod)),
            (
                subclass,
                r"read as torch\.nn\.Sequential\(\*module\)",
                lambda m: convert.from_torch(nn.Sequential(*m)),
            ),
            (
                Model(),
                r"from_state_dict\(module\.state_dict\(\), activation=\.\.\.\).*convert\.record",
                lambda m: convert.from_state_dict(m.state_dict(), activation="relu"),
            ),
        ]
        for module, message, advice in cases:
            with pytest.raises(TypeError, match=f"module is a .*which cannot be read.*{message}"):
                convert.from_torch(module)
            found = advice(module)
            assert found.arch == expected.arch
            assert np.array_equal(found.parameters, expected.parameters)
        with pytest.raises(TypeError, match=r"from_state_dict\(module\[1\]\.state_dict\(\), activation"):
            convert.from_torch(nn.Sequential(plain, Other(*plain)))

    def test_what_to_do_about_layers_that_are_not_ready(self, torch):
        nn = torch.nn
        weighted = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 1)))
        with pytest.raises(TypeError, match=r"module\[0\] is a .*remove_parametrizations"):
            convert.from_torch(weighted)
        nn.utils.parametrize.remove_parametrizations(weighted[0], "weight")
        assert convert.from_torch(weighted).in_features == 3
        lazy = nn.Sequential(nn.LazyLinear(2))
        with pytest.raises(TypeError, match=r"module\[0\] is a .*Call the module once first"):
            convert.from_torch(lazy)
        lazy(torch.zeros(1, 5))
        assert convert.from_torch(lazy).in_features == 5
        with pytest.raises(
            TypeError, match=r"module\[1\] is a .*BatchNorm1d, which cannot be read.*ntkrs\.convert\.record"
        ):
            convert.from_torch(nn.Sequential(nn.Linear(3, 1), nn.BatchNorm1d(1)))
