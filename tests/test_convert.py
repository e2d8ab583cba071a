"""Networks read from other libraries compute what the model computes, or are refused by name."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

import ntkrs
from ntkrs import LeakyRelu, Relu, activations, convert
from ntkrs.activations import Elementwise
from ntkrs.convert import _torch
from oracles import finite

RNG = np.random.default_rng(0)
X = RNG.standard_normal((5, 6))
V = [RNG.standard_normal(shape) for shape in ((6, 4), (4, 3), (3, 2))]
C = [RNG.standard_normal(4), None, RNG.standard_normal(2)]
#: The same function and NTK, in the oracle's parameterization.
ROOTS = [weight.shape[0] ** 0.5 for weight in V]
ACTIVATIONS = ["relu", ("leaky_relu", 0.2)]


class Module:
    """Stands in for torch.nn.Module, with only the attributes that a reader looks at."""

    def __init__(self, **attributes):
        vars(self).update(attributes)


class Parameter:
    """Stands in for a tensor that requires a gradient, which NumPy cannot read directly."""

    def __init__(self, values, dtype="torch.float64"):
        self.values, self.dtype, self.ready = values, dtype, False

    def detach(self):
        result = type(self)(self.values, self.dtype)
        result.ready = True
        return result

    def cpu(self):
        return self

    def float(self):
        result = Parameter(self.values.astype(np.float32))
        result.ready = True
        return result

    def numpy(self):
        if not self.ready or self.dtype == "torch.bfloat16":
            raise TypeError("no")
        return self.values


class Unreadable(Parameter):
    """Stands in for a tensor on the meta device."""

    def cpu(self):
        raise NotImplementedError("no data")


def stand_in(kind, **attributes):
    return type(kind, (Module,), {})(**attributes)


def linear(weight, bias, kind="Linear", **attributes):
    """A torch layer, which holds its weight transposed."""
    bias = None if bias is None else Parameter(bias)
    return stand_in(kind, weight=Parameter(weight.T), bias=bias, **attributes)


def sequential(*children, **attributes):
    return type("Sequential", (Module,), {"__iter__": lambda self: iter(self.children)})(
        children=children, **attributes
    )


def module():
    """The network of V and C, nested, with layers that do nothing in evaluation."""
    return sequential(
        stand_in("Flatten", start_dim=1, end_dim=-1),
        linear(V[0], C[0]),
        stand_in("ReLU", inplace=True),
        stand_in("Dropout", p=0.5),
        sequential(linear(V[1], C[1]), stand_in("LeakyReLU", negative_slope=0.2)),
        stand_in("Identity"),
        linear(V[2], C[2]),
    )


def state():
    """The state dict of the network, in alphabetical order."""
    return {"10.bias": C[2], "10.weight": V[2].T, "2.bias": C[0], "2.weight": V[0].T, "4.0.weight": V[1].T}


def flax_params():
    first, last = {"kernel": V[0], "bias": C[0]}, {"kernel": V[2], "bias": C[2]}
    return {"params": {"Dense_10": last, "Dense_2": {"kernel": V[1]}, "Dense_0": first}}


@pytest.fixture
def without_torch(monkeypatch):
    """Hides torch, so that stand-ins are read."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)


def check_network(net, activations=ACTIVATIONS, weights=V, biases=C, tolerance=1e-13):
    """Outputs and NTK in V and c equal those of plain loops, sums of a few dozen terms of size 1."""
    roots = [weight.shape[0] ** 0.5 for weight in weights]
    model = (weights, biases, roots, 1.0, activations)
    np.testing.assert_allclose(net(X), finite.forward(X, *model), rtol=0, atol=tolerance * 1e2)
    jacobian = finite.jacobian(X, *model)
    expected = np.einsum("nop,mkp->nmok", jacobian, jacobian)
    np.testing.assert_allclose(net.ntk(X), expected, rtol=0, atol=tolerance * np.abs(expected).max())


FORMATS = {
    "torch": lambda: convert.from_torch(module()),
    "state dict": lambda: convert.from_state_dict(state(), ["relu", LeakyRelu(0.2)]),
    "state dict of tensors": lambda: convert.from_state_dict(
        {name: Parameter(values) for name, values in state().items()}, ["relu", LeakyRelu(0.2)]
    ),
    "state dict, layers named": lambda: convert.from_state_dict(
        {
            "in.weight": V[0].T,
            "in.bias": C[0],
            "out.weight": V[2].T,
            "out.bias": C[2],
            "mid.weight": V[1].T,
            "n.mean": 1,
        },
        ["relu", LeakyRelu(0.2)],
        layers=["in", "mid", "out"],
    ),
    "keras, flat": lambda: convert.from_keras([V[0], C[0], V[1], V[2], C[2]], ["relu", LeakyRelu(0.2)]),
    "keras, pairs": lambda: convert.from_keras([(V[0], C[0]), (V[1],), [V[2], C[2]]], ("relu", LeakyRelu(0.2))),
    "keras, None": lambda: convert.from_keras([(V[0], C[0]), (V[1], None), (V[2], C[2])], ["relu", LeakyRelu(0.2)]),
    "flax": lambda: convert.from_flax(flax_params(), ["relu", LeakyRelu(0.2)]),
    "flax, inner": lambda: convert.from_flax(flax_params()["params"], ["relu", LeakyRelu(0.2)]),
    "flax, layers named": lambda: convert.from_flax(
        {"a": {"kernel": V[2], "bias": C[2]}, "block": {"b": {"kernel": V[1]}}, "c": flax_params()["params"]["Dense_0"]}
        | {"norm": {"scale": C[0]}},
        ["relu", LeakyRelu(0.2)],
        layers=["c", "block/b", "a"],
    ),
}


@pytest.mark.usefixtures("without_torch")
class TestFormats:
    """One function in the layout of every library."""

    @pytest.mark.parametrize("read", FORMATS.values(), ids=FORMATS)
    def test_it_is_the_model(self, read):
        net = read()
        check_network(net)
        assert net.arch.activations == (Relu(), LeakyRelu(0.2))
        assert [bias is None for bias in net.biases] == [False, True, False]

    def test_networks_are_made_in_one_place(self, monkeypatch):
        monkeypatch.setattr(ntkrs.Network, "from_standard", lambda *read: read, raising=False)
        arch, weights, biases = convert.from_torch(module())
        dense = [ntkrs.Dense(4, None, None), ntkrs.Dense(3, None, 0.0), ntkrs.Dense(2, None, None)]
        assert arch == ntkrs.Sequential(dense[0], Relu(), dense[1], LeakyRelu(0.2), dense[2])
        assert all(map(np.array_equal, weights, V))
        assert [bias is None for bias in biases] == [False, True, False]

    def test_dtypes(self):
        single = [array.astype(np.float32) for array in (V[0], C[0], V[1])]
        assert convert.from_keras(single, "relu").dtype == np.float32
        assert convert.from_keras([array.astype(np.float16) for array in single], "relu").dtype == np.float32
        assert convert.from_keras([*single[:2], V[1]], "relu").dtype == np.float64
        half = stand_in("Linear", weight=Parameter(V[0].T, "torch.bfloat16"), bias=None)
        assert convert.from_torch(half).dtype == np.float32

    def test_a_single_layer_needs_no_number(self):
        net = convert.from_state_dict({"weight": V[0].T}, "relu")
        np.testing.assert_allclose(net(X), X @ V[0], rtol=0, atol=1e-13)

    def test_two_dense_layers_in_a_row_have_an_identity_between(self):
        net = convert.from_torch(sequential(linear(V[0], None), linear(V[1], None)))
        np.testing.assert_allclose(net(X), X @ V[0] @ V[1], rtol=0, atol=1e-13)

    def test_the_model_is_copied(self):
        weight = V[0].copy()
        net = convert.from_keras([weight], "relu")
        weight[:] = np.nan
        assert np.isfinite(net.parameters).all()

    def test_readers_are_imported_when_asked_for_and_import_nothing_else(self):
        code = (
            "import sys, ntkrs; assert 'ntkrs.convert' not in sys.modules; assert 'convert' in dir(ntkrs); "
            "ntkrs.convert.from_torch; "
            "assert not {'torch', 'jax', 'sklearn', 'keras', 'flax', 'safetensors'} & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)
        with pytest.raises(AttributeError, match="module 'ntkrs' has no attribute 'no_such'"):
            ntkrs.no_such  # noqa: B018 asking is the test


DENSE = linear(V[0], C[0])
NEXT = linear(V[1], None)
KERAS = [V[0], C[0], V[1]]
POSITIVE = {"0.weight": V[0].T, "2.weight": V[1].T}

REFUSED = {
    "conv": (lambda: convert.from_torch(sequential(sequential(stand_in("Conv2d")))), TypeError,
             r"module\[0\]\[0\] is a .*Conv2d, which cannot be read. These of torch.nn can: Sequential, Linear"),
    "a state dict": (lambda: convert.from_torch({"0.weight": V[0]}), TypeError, "dict is read by from_state_dict"),
    "a model file": (lambda: convert.from_torch("model.pt"), TypeError, "module is 'model.pt'.* pickle, .* any code"),
    "hooks": (lambda: convert.from_torch(linear(V[0], None, _forward_pre_hooks={1: print})), ValueError,
              r"module \(Linear\) has forward hooks, .* weight_norm"),
    "shared": (lambda: convert.from_torch(sequential(DENSE, NEXT, sequential(DENSE))), ValueError,
               r"module\[2\]\[0\].weight is also module\[0\].weight, but"),
    "flatten": (lambda: convert.from_torch(stand_in("Flatten", start_dim=0, end_dim=-1)), ValueError, "start_dim=0"),
    "celu": (lambda: convert.from_torch(sequential(DENSE, stand_in("CELU", alpha=2.0), NEXT)), ValueError,
             r"module\[1\] \(CELU\) has alpha=2.0. Only alpha=1"),
    "softplus": (lambda: convert.from_torch(sequential(DENSE, stand_in("Softplus", beta=1, threshold=3))), ValueError,
                 r"module\[1\] \(Softplus\) has threshold=3, and is x itself beyond"),
    "first": (lambda: convert.from_torch(sequential(stand_in("ReLU"), DENSE)), ValueError,
              r"module\[0\] \(ReLU\) comes before the first dense layer"),
    "last": (lambda: convert.from_torch(sequential(DENSE, stand_in("Tanh"))), ValueError,
             r"module\[1\] \(Tanh\) comes after the last dense layer"),
    "two": (lambda: convert.from_torch(sequential(DENSE, stand_in("ReLU"), stand_in("Tanh"), NEXT)), ValueError,
            r"module\[2\] \(Tanh\) follows module\[1\] \(ReLU\), but .* one activation"),
    "empty": (lambda: convert.from_torch(sequential()), ValueError, "there is no dense layer"),
    "tensor": (lambda: convert.from_torch(stand_in("Linear", weight=Unreadable(None), bias=None)), TypeError,
               r"module.weight cannot be read as a NumPy array: no data"),
    "not fitted": (lambda: convert.from_sklearn(stand_in("MLPRegressor")), ValueError, "not fitted. Call its fit"),
    "a forest": (lambda: convert.from_sklearn(stand_in("Forest")), TypeError, "Forest, which .* MLPRegressor"),
    "pipeline": (lambda: convert.from_sklearn(stand_in("Pipeline")), TypeError, "Pass its last step, and transform"),
    "a pickle": (lambda: convert.from_sklearn("m.joblib"), TypeError, "estimator is 'm.joblib'.* is a pickle"),
    "keras model": (lambda: convert.from_keras(stand_in("Model", get_weights=list), "relu"), TypeError,
                    r"Pass its get_weights\(\)"),
    "keras file": (lambda: convert.from_keras("m.keras", "relu"), TypeError, "model.get_weights.. to from_keras"),
    "mixed": (lambda: convert.from_keras([V[0], (V[1],)], "relu"), TypeError, "weights mixes"),
    "triples": (lambda: convert.from_keras([(V[0], C[0], C[0])], "relu"), ValueError, r"weights\[0\] has 3 entries"),
    "norm": (lambda: convert.from_keras([V[0], C[0], C[0], C[0]], "relu"), ValueError,
             r"weights\[2\] has shape \(4,\), but each dense layer"),
    "keras conv": (lambda: convert.from_keras([np.ones((3, 3, 1, 1))], "relu"), ValueError, r"weights\[0\] has shape"),
    "no list": (lambda: convert.from_keras(3, "relu"), TypeError, "weights is 3, but a sequence"),
    "no layers": (lambda: convert.from_keras([], "relu"), ValueError, "there is no dense layer"),
    "keras widths": (lambda: convert.from_keras([V[0], V[2]], "relu"), ValueError,
                     "layer 1 has 3 inputs, but layer 0 before it has 4 outputs"),
    "bias": (lambda: convert.from_keras([V[0], C[2]], "relu"), ValueError,
             r"weights\[1\] has shape \(2,\), but weights\[0\] has 4 outputs"),
    "nan": (lambda: convert.from_keras([V[0], C[0] * np.nan], "relu"), ValueError, r"weights\[1\] holds nan at \(0,\)"),
    "complex": (lambda: convert.from_keras([V[0] * 1j], "relu"), TypeError, r"weights\[0\] holds complex numbers"),
    "leaky": (lambda: convert.from_keras(KERAS, "leaky_relu"), ValueError, "Keras has slope 0.2 in .* Pass LeakyRelu"),
    "jax gelu": (lambda: convert.from_flax(flax_params(), "gelu"), ValueError, r"Pass GeluTanh\(\), or .* Gelu\(\)"),
    "unknown": (lambda: convert.from_keras(KERAS, "maxout"), ValueError,
                "activation is 'maxout', which is not an activation that can be read. These can: identity, relu"),
    "too many": (lambda: convert.from_keras(KERAS, ["relu", "relu"]), ValueError, "2 activations .* 1 hidden layers"),
    "class": (lambda: convert.from_keras(KERAS, Relu), TypeError, "Did you forget the parentheses"),
    "number": (lambda: convert.from_keras(KERAS, [3]), TypeError, r"activation\[0\] is 3, but a name"),
    "a module": (lambda: convert.from_state_dict(stand_in("M", state_dict=dict), "relu"), TypeError,
                 r"state is a M, but .* Pass module.state_dict\(\)"),
    "a checkpoint": (lambda: convert.from_state_dict({"model": state()}, "relu"), TypeError,
                     r"state holds 'model', which is a mapping itself\. Pass it alone: state\['model'\]"),
    "mean": (lambda: convert.from_state_dict(POSITIVE | {"1.running_mean": C[0]}, "relu"), ValueError,
             "state holds '1.running_mean', but dense"),
    "conv state": (lambda: convert.from_state_dict({"0.weight": np.ones((3, 1, 2, 2))}, "relu"), ValueError,
                   r"state\['0.weight'\] has shape \(3, 1, 2, 2\), but a dense layer has \(outputs, inputs\)"),
    "bias alone": (lambda: convert.from_state_dict({"0.bias": C[0]}, "relu"), ValueError, "'0' has a bias, but no"),
    "order": (lambda: convert.from_state_dict({"a.weight": V[0].T, "b.weight": V[1].T}, "relu"), ValueError,
              r"the order of the layers cannot be told from their names 'a', 'b'. Pass .* layers="),
    "prefixes": (lambda: convert.from_state_dict({"a0.weight": V[0].T, "b1.weight": V[1].T}, "relu"), ValueError,
                 "the order of the layers cannot be told"),
    "absent": (lambda: convert.from_state_dict(POSITIVE, "relu", layers=["0", "3"]), ValueError,
               "layers names '3', which is not there. These are: '0'"),
    "twice": (lambda: convert.from_state_dict(POSITIVE, "relu", layers=["0", "0"]), ValueError, "names '0' twice"),
    "one name": (lambda: convert.from_state_dict(POSITIVE, "relu", layers="0"), TypeError, r"layers is '0'.*\['0'\]"),
    "state file": (lambda: convert.from_state_dict("m.safetensors", "relu"), TypeError, "is a path; from_safetensors"),
    "stats": (lambda: convert.from_flax(flax_params() | {"batch_stats": {}}, "relu"), ValueError,
              "'batch_stats'. Layers that keep a state"),
    "scale": (lambda: convert.from_flax({"a": {"kernel": V[0]}, "n": {"scale": C[0]}}, "relu"), ValueError,
              "params holds 'n/scale', but dense layers"),
    "flax conv": (lambda: convert.from_flax({"params": {"a": {"b": {"kernel": np.ones(3)}}}}, "relu"), ValueError,
                  r"params\['params'\]\['a'\]\['b'\]\['kernel'\] has shape \(3,\), .* \(inputs, outputs\)"),
    "no mapping": (lambda: convert.from_flax([V[0]], "relu"), TypeError, "params is a list, but a nested mapping"),
    "file": (lambda: convert.from_safetensors("m.PTH", "relu"), ValueError, "path is 'm.PTH'.* pickle, which can run"),
    "no path": (lambda: convert.from_safetensors(3, "relu"), TypeError, "path is 3, but the path of a file"),
}  # fmt: skip


@pytest.mark.usefixtures("without_torch")
@pytest.mark.parametrize(("read", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_by_name(read, error, message):
    with pytest.raises(error, match=message):
        read()


@pytest.mark.usefixtures("without_torch")
class TestActivations:
    """A parameter is passed on, or refused where our class has none."""

    def read(self, kind, **attributes):
        steps = sequential(linear(V[0], C[0]), stand_in(kind, **attributes), linear(V[1], None))
        return _torch.read_module(steps).arch.activations[0]

    def test_one_that_is_not_here_is_told(self, monkeypatch):
        monkeypatch.delattr(activations, "Tanh")
        with pytest.raises(ValueError, match=r"module\[1\] \(Tanh\) is 'Tanh', but this version of ntkrs has no Tanh"):
            self.read("Tanh")

    @pytest.mark.parametrize(
        ("kind", "attributes"), [("ELU", {"alpha": 0.5}), ("Softplus", {"beta": 2, "threshold": 20})]
    )
    def test_parameters(self, kind, attributes, monkeypatch):
        (parameter, value), *_ = attributes.items()

        @dataclass(frozen=True)
        class Plain(Elementwise):
            name = "plain"

        monkeypatch.setattr(activations, kind.capitalize(), Plain, raising=False)
        assert self.read(kind, **attributes | {parameter: 1.0}) == Plain()
        with pytest.raises(ValueError, match=rf"module\[1\] \({kind}\) has {parameter}={value}, but Plain is that of"):
            self.read(kind, **attributes)

        fields = {"name": "curved", "__annotations__": {parameter: float}, parameter: 1.0}
        curved = dataclass(frozen=True)(type("Curved", (Elementwise,), fields))
        monkeypatch.setattr(activations, kind.capitalize(), curved)
        assert self.read(kind, **attributes) == curved(value)

    def test_celu_of_one_is_elu(self, monkeypatch):
        monkeypatch.setattr(activations, "Elu", Relu, raising=False)
        assert self.read("CELU", alpha=1.0) == Relu()


class TestSafetensors:
    """The safetensors format."""

    def test_without_the_package(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "safetensors", None)
        path, arrays, header = tmp_path / "m.safetensors", b"", {}
        for name, values in state().items():
            content = np.ascontiguousarray(values)
            kind = {"float32": "F32", "float64": "F64"}[content.dtype.name]
            offsets = [len(arrays), len(arrays) + content.nbytes]
            header[name] = {"dtype": kind, "shape": list(content.shape), "data_offsets": offsets}
            arrays += content.tobytes()
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + arrays)
        check_network(convert.from_safetensors(path, ["relu", LeakyRelu(0.2)]))

    def test_real_files(self, tmp_path):
        numpy = pytest.importorskip("safetensors.numpy", reason="safetensors is absent: no file is written here")
        path = tmp_path / "model.safetensors"
        numpy.save_file({name: np.ascontiguousarray(values) for name, values in state().items()}, path)
        check_network(convert.from_safetensors(path, ["relu", LeakyRelu(0.2)]))
        check_network(convert.from_safetensors(str(path), ["relu", LeakyRelu(0.2)]))
        whole = path.read_bytes()
        path.write_bytes(whole[:-8])
        with pytest.raises(ValueError, match="not a complete safetensors file"):
            convert.from_safetensors(path, "relu")
        header = b'{"0.weight":{"dtype":"BF16","shape":[1,1],"data_offsets":[0,2]}}'
        path.write_bytes(len(header).to_bytes(8, "little") + header + b"\x80\x3f")
        if importlib.util.find_spec("ml_dtypes") is None:
            with pytest.raises(TypeError, match=r"'0.weight' in .* has dtype BF16, which NumPy lacks"):
                convert.from_safetensors(path, "relu")
        else:  # it adds bfloat16 to NumPy
            net = convert.from_safetensors(path, "relu")
            assert (net.dtype, net.weights[0].item()) == (np.float32, 1.0)
        with pytest.raises(FileNotFoundError):
            convert.from_safetensors(tmp_path / "none.safetensors", "relu")
