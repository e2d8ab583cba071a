"""Networks in files: the very network comes back, the file is written as a whole, and hostile files are refused."""

import contextlib
import json
import os
import sys
from dataclasses import fields

import numpy as np
import pytest

import ntkrs
from ntkrs import Activation, Dense, Network, Sequential, activations, convert, mlp
from ntkrs.network import tensor_files

safetensors = pytest.importorskip("safetensors.numpy", reason="safetensors is absent: networks are not written here")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 3))


def networks():
    """Yield networks of every kind: parameterizations, scales, frozen layers, biases of their own scale."""
    yield mlp(2, 8, 3, "relu", 1.5, 0.1).init(3, rng=1)
    yield mlp(0, 1, 1).init(3, rng=1, dtype=np.float32)
    layers = [Dense(5, 0.1 + 0.2, 1e-300, tau_b=0.7), ntkrs.LeakyRelu(1 / 3), Dense(4, trainable=False), ntkrs.Gelu()]
    yield Sequential(*layers, Dense(2, 1e300**0.5, 0.0, tau_b=1.0)).init(3, rng=2)
    yield Network(Sequential(Dense(1, 2.0, 1.0, tau_b=0.0)), [np.ones((3, 1))], [np.array([5e-324])])
    shapes = [(3, 4), (4,), (4, 2), (2,)]
    yield convert.from_keras([RNG.standard_normal(shape) for shape in shapes], "tanh")
    yield convert.from_keras([RNG.standard_normal(shape) for shape in shapes], "tanh", scales="torch")
    yield convert.from_keras([RNG.standard_normal((3, 2)).astype("f4")], [])


NETWORKS = list(networks())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


def is_the_same(one, other):
    """Return True for networks that no call can tell apart."""
    return (
        one.arch == other.arch
        and repr(one) == repr(other)
        and one.parameters.dtype == other.parameters.dtype
        and one.parameters.tobytes() == other.parameters.tobytes()
        and one(X).tobytes() == other(X).tobytes()
        and one.ntk(X).tobytes() == other.ntk(X).tobytes()
    )


@pytest.mark.parametrize("net", NETWORKS, ids=range(len(NETWORKS)))
def test_the_very_network_comes_back(net, path):
    net.save(path)
    found = Network.load(str(path))
    assert is_the_same(net, found)
    assert not found.parameters.flags.writeable
    assert list(path.parent.iterdir()) == [path]  # nothing is left beside it


@pytest.mark.parametrize("name", sorted(set(activations.__all__) - {"Activation"}))
def test_every_activation(name, path):
    required = {"RectifiedPower": (2,), "Monomial": (3,), "Polynomial": (0.1, -1 / 3, 0.25), "Hermite": (4,)}
    cls = getattr(activations, name)
    # Every parameter has another value than by default.
    changed = [0.3 + 0.1 * index for index in range(len(fields(cls)))]
    activation = cls(*required.get(name, changed))
    net = Sequential(Dense(4), activation, Dense(1)).init(3)
    net.save(path)
    assert Network.load(path).arch == net.arch


def test_arrays_have_the_names_of_the_equations(path):
    net = mlp(1, 4, 2, sigma_b=0.5).init(3)
    net.save(path)
    found = safetensors.load_file(path)
    assert sorted(found) == ["W0", "W1", "b0", "b1"]
    assert np.array_equal(found["W0"], net.weights[0])
    assert np.array_equal(found["b1"], net.biases[1])
    NETWORKS[4].save(path)
    assert sorted(safetensors.load_file(path)) == ["V0", "V1", "c0", "c1"]


def test_equal_networks_make_equal_files(path, tmp_path):
    net = NETWORKS[2]
    net.save(path)
    net.with_parameters(net.parameters.copy()).save(tmp_path / "again")
    assert path.read_bytes() == (tmp_path / "again").read_bytes()


@pytest.mark.parametrize("net", [NETWORKS[0], NETWORKS[4]])
def test_functions_of_the_user_are_refused_with_a_way_out(net, path):
    own = Activation(np.tanh, lambda x: 1 / np.cosh(x) ** 2, label="tanh")
    arch = Sequential(*(own if index == 1 else layer for index, layer in enumerate(net.arch.layers)))
    call = Network if net.parameterization == "ntk" else Network.from_standard
    other = call(arch, net.weights, net.biases)
    with pytest.raises(
        ValueError, match=r"layer 1 is Activation\(label='tanh'\), a function of your own.*numpy\.savez"
    ):
        other.save(path)
    assert not path.exists()
    np.savez(path.with_suffix(".npz"), *other.weights)  # the advice
    weights = np.load(path.with_suffix(".npz")).values()
    assert is_the_same(call(arch, list(weights), net.biases), other)


def test_a_subclass_with_the_name_of_an_activation_is_refused(path):
    class Relu(ntkrs.Relu):
        """Another function."""

    with pytest.raises(ValueError, match=r"layer 1 is .*a function of your own"):
        Sequential(Dense(4), Relu(), Dense(1)).init(3).save(path)


def test_a_failed_write_leaves_the_old_file(path, monkeypatch):
    NETWORKS[0].save(path)
    whole = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        NETWORKS[1].save(path)
    assert path.read_bytes() == whole
    assert list(path.parent.iterdir()) == [path]


def test_without_the_package(path, monkeypatch):
    NETWORKS[0].save(path)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r"safetensors package: pip install 'ntkrs\[convert\]'"):
        NETWORKS[0].save(path)
    assert np.array_equal(Network.load(path).parameters, NETWORKS[0].parameters)


@pytest.mark.parametrize("path", [3, None, 1.5])
def test_paths(path):
    for call in (NETWORKS[0].save, Network.load):
        with pytest.raises(TypeError, match=r"path is [\w.]+, but the path of a file is needed"):
            call(path)


def test_a_file_that_is_not_there(path):
    with pytest.raises(FileNotFoundError):
        Network.load(path)
    with pytest.raises(FileNotFoundError):
        NETWORKS[0].save(path / "below" / "net.safetensors")


def description(net, path):
    """Return what the file of a network says of it, and its arrays."""
    net.save(path)
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return json.loads(header["__metadata__"]["ntkrs"]), safetensors.load_file(path)


#: Changes of the description of NETWORKS[0], and a part of the error.
DESCRIPTIONS = {
    "not JSON": ("{", "Expecting property name"),
    "a list": ("[1]", "list indices"),
    "nothing": ("{}", "'version'"),
    "deep": ("[" * 100_000, "recursion|nested"),
    "digits": ('{"version": ' + "9" * 5000 + "}", "digits|integer"),
    "layers": ({"layers": 3}, "not iterable"),
    "no layers": ({"layers": []}, "at least one Dense"),
    "text": ({"layers": ["Dense"]}, "must be a mapping"),
    "unknown": ({"layers": [{"type": "os.system"}]}, "type is 'os.system'"),
    "function": ({"layers": [{"type": "Activation", "fn": "print"}]}, "type is 'Activation'"),
    "field": ({"layers": [{"type": "Dense", "width": 3, "size": 3}]}, "unexpected keyword argument 'size'"),
    "width": ({"layers": [{"type": "Dense", "width": -1}]}, "width is -1"),
    "NaN": ({"layers": [{"type": "Dense", "width": 3, "sigma_w": float("nan")}]}, "sigma_w is nan"),
    "order": ({"layers": [{"type": "Relu"}, {"type": "Dense", "width": 3}]}, "a Dense is needed"),
    "no scales": ({"layers": [{"type": "Dense", "width": 3, "sigma_w": None, "sigma_b": None}]}, "sigma_w is unknown"),
    "features": ({"in_features": 0}, "in_features is 0"),
    "boolean": ({"in_features": True}, "in_features is True"),
    "parameters": ({"parameterization": "mup"}, "parameterization is 'mup'"),
    "unhashable": ({"parameterization": []}, r"parameterization is \[\]"),
    "standard": (
        {"parameterization": "standard", "layers": [{"type": "Dense", "width": 3, "tau_b": 0.5}]},
        "in standard parameters biases learn",
    ),
}


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_descriptions_that_are_not_ours(name, path):
    change, message = DESCRIPTIONS[name]
    found, arrays = description(NETWORKS[0], path)
    text = change if isinstance(change, str) else json.dumps(found | change)
    safetensors.save_file(arrays, path, {"ntkrs": text})
    with pytest.raises(ntkrs.DamagedFileError, match=f"whose description of a network cannot be read: .*({message})"):
        Network.load(path)


#: Changes of the arrays of NETWORKS[0], and a part of the error.
ARRAYS = {
    "none": (lambda _: {}, "it has the arrays none, but W0, b0, W1, b1, W2, b2 are needed"),
    "missing": (lambda a: {n: v for n, v in a.items() if n != "b1"}, "it has the arrays W0, W1, W2, b0, b2, but"),
    "more": (lambda a: a | {"W3": np.ones(1)}, "it has the arrays .*W3"),
    "shape": (
        lambda a: a | {"W1": a["W1"][:, :-1].copy()},
        r"W1 has shape \(8, 7\), but the architecture needs \(8, 8\)",
    ),
    "transposed": (lambda a: a | {"W0": a["W0"].T.copy()}, r"W0 has shape \(8, 3\), but .* \(3, 8\)"),
    "flat": (lambda a: a | {"W0": a["W0"].ravel()}, r"W0 has shape \(24,\)"),
    "mixed": (lambda a: a | {"b0": a["b0"].astype("f4")}, "its arrays are F32 and F64"),
    "half": (lambda a: {n: v.astype("f2") for n, v in a.items()}, "its arrays are F16, but all must be"),
    "integers": (lambda a: {n: v.astype("i8") for n, v in a.items()}, "its arrays are I64"),
    "NaN": (lambda a: a | {"W1": np.where(np.eye(8), np.nan, a["W1"])}, r"W1 of .* holds nan at \(0, 0\)"),
    "infinity": (lambda a: a | {"b2": np.array([0, -np.inf, 0])}, r"b2 of .* holds -inf at \(1,\)"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_do_not_fit(name, path):
    change, message = ARRAYS[name]
    found, arrays = description(NETWORKS[0], path)
    safetensors.save_file(change(arrays), path, {"ntkrs": json.dumps(found)})
    with pytest.raises(ntkrs.DamagedFileError, match=message):
        Network.load(path)


def test_a_network_that_is_much_larger_than_its_file(path):
    found, arrays = description(NETWORKS[1], path)
    found["layers"] = [{"type": "Dense", "width": 2**60}]
    safetensors.save_file(arrays, path, {"ntkrs": json.dumps(found)})
    with pytest.raises(
        ntkrs.DamagedFileError, match=rf"W0 has shape \(3, 1\), but the architecture needs \(3, {2**60}"
    ):
        Network.load(path)  # before memory is taken for it


def test_every_truncation_is_told(path):
    NETWORKS[1].save(path)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(ntkrs.DamagedFileError, match=r"net\.safetensors.* not a complete safetensors file"):
            Network.load(path)


def test_a_file_that_is_truncated_meanwhile_is_told(path, monkeypatch):
    NETWORKS[1].save(path)
    size, read = path.stat().st_size, tensor_files.TensorFile.read

    def truncated(tensors, name, target):
        os.truncate(path, size - 8)
        read(tensors, name, target)

    monkeypatch.setattr(tensor_files.TensorFile, "read", truncated)
    with pytest.raises(
        ntkrs.DamagedFileError, match=r"net\.safetensors.* shorter than its header says: it was truncated"
    ):
        Network.load(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"[]", "header is a list"),
        (b"3", "header is a int"),
        (b"{", "Expecting property name"),
        (b"[" * 100_000, ""),
        (b'{"W0":3}', "not subscriptable"),
        (b'{"W0":{"dtype":"F64","shape":[1],"data_offsets":[0,4]}}', r"F64 of shape \(1,\) does not take 4 bytes"),
        (b'{"W0":{"dtype":"F32","shape":[-1],"data_offsets":[0,-4]}}', "not a number >= 0"),
        (b'{"W0":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', "one begins at"),
        (b'{"W0":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', "arrays end at"),
        (b'{"__metadata__":3}', "not iterable"),
    ],
)
def test_other_headers_are_refused(path, header, message):
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(ntkrs.DamagedFileError, match=rf"(?s)not a complete safetensors file: .*{message}"):
        Network.load(path)


def test_changed_bytes_of_the_header_never_crash(path):
    NETWORKS[0].save(path)
    whole = bytearray(path.read_bytes())
    size = 8 + int.from_bytes(whole[:8], "little")
    for at in RNG.choice(size, 200, replace=False):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << RNG.integers(7))]) + whole[at + 1 :])
        with contextlib.suppress(ValueError):  # a DamagedFileError, or a file without a network, or of a later version
            assert np.isfinite(Network.load(path).parameters).all()


def test_files_of_other_kinds(path):
    path.write_bytes(b"")
    with pytest.raises(ntkrs.DamagedFileError, match="not a complete safetensors file"):
        Network.load(path)
    for metadata in (None, {"format": "pt"}):
        safetensors.save_file({"0.weight": np.eye(2)}, path, metadata)
        with pytest.raises(
            ValueError, match=r"holds no network: it was not written by Network\.save.*from_safetensors"
        ):
            Network.load(path)
    NETWORKS[0].save(path)
    with pytest.raises(ValueError, match=r"a file of a Network\. Read it by ntkrs\.Network\.load"):
        convert.from_safetensors(path, "relu")


def test_later_versions_are_refused(path):
    found, arrays = description(NETWORKS[0], path)
    safetensors.save_file(arrays, path, {"ntkrs": json.dumps(found | {"version": 2})})
    with pytest.raises(ValueError, match=r"of version 2, but .* up to version 1\. Install a later"):
        Network.load(path)


def test_files_of_this_version_will_always_load(path):
    """A file as it is written today, byte by byte."""
    text = (
        '{"version": 1, "in_features": 2, "parameterization": "ntk", "layers": [{"type": "Dense", "width": 1, '
        '"sigma_w": 1.5, "sigma_b": 0.0, "trainable": false, "tau_b": null}, {"type": "LeakyRelu", "slope": 0.1}, '
        '{"type": "Dense", "width": 1, "sigma_w": 1.0, "sigma_b": 0.5, "trainable": true, "tau_b": null}]}'
    )
    arrays = {"W0": np.array([[1.0], [2.0]]), "W1": np.array([[3.0]]), "b1": np.array([4.0])}
    safetensors.save_file(arrays, path, {"ntkrs": text})
    net = Network.load(path)
    assert net.arch == Sequential(Dense(1, 1.5, trainable=False), ntkrs.LeakyRelu(0.1), Dense(1, 1.0, 0.5))
    assert net.parameters.tolist() == [1.0, 2.0, 3.0, 4.0]
    whole = path.read_bytes()
    net.save(path)
    assert path.read_bytes() == whole
