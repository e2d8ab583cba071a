"""Descriptions of networks are values, and refuse invalid arguments."""

import pickle

import numpy as np
import pytest

import ntkrs
from ntkrs import Dense, Erf, Identity, LeakyRelu, Relu, Sequential, mlp
from package import PUBLIC

ARCH = Sequential(Dense(512, sigma_w=1.5, sigma_b=0.1), Relu(), Dense(64), LeakyRelu(0.2), Dense(10))

REFUSED = {
    "no layer": (Sequential, ValueError, "at least one Dense"),
    "starts with an activation": (
        lambda: Sequential(Relu(), Dense(1)),
        ValueError,
        "layer 0 is Relu.*a Dense is needed",
    ),
    "ends with an activation": (lambda: Sequential(Dense(1), Relu()), ValueError, "the last layer is Relu"),
    "two dense": (lambda: Sequential(Dense(1), Dense(1)), ValueError, r"Use Identity\(\) between"),
    "a class": (lambda: Sequential(Dense(1), Relu, Dense(1)), TypeError, "forget the parentheses"),
    "a string": (lambda: Sequential(Dense(1), "relu", Dense(1)), TypeError, "'relu'.*a Dense or an activation"),
    "width 0": (lambda: Dense(0), ValueError, "width is 0.*at least 1"),
    "outputs 0": (lambda: mlp(1, 2, 0), ValueError, "outputs is 0.*at least 1"),
    "width 1.5": (lambda: Dense(1.5), TypeError, "width is 1.5.*an integer"),
    "width True": (lambda: Dense(True), TypeError, "width is True"),
    "sigma_w 0": (lambda: Dense(1, sigma_w=0), ValueError, "sigma_w is 0.*positive"),
    "sigma_w NaN": (lambda: Dense(1, sigma_w=float("nan")), ValueError, "sigma_w is nan.*finite"),
    "width 2**70": (lambda: Dense(2**70), ValueError, "width is beyond"),
    "sigma_w huge": (lambda: Dense(1, sigma_w=10**400), ValueError, "sigma_w is inf.*finite"),
    "no activation": (ntkrs.activations.Elementwise, TypeError, r"Elementwise is an abstract base class.*Relu\(\)"),
    "kernel of None": (lambda: ntkrs.Kernel(None), TypeError, "arch is None, but a Sequential"),
    "sigma_w text": (lambda: Dense(1, sigma_w="1"), TypeError, "sigma_w is '1'.*a number"),
    "sigma_w None": (lambda: mlp(1, 1, 1, sigma_w=None), TypeError, "sigma_w is None.*a number"),
    "sigma_b None": (lambda: Dense(1, sigma_b=None), ValueError, "sigma_b is None, but sigma_w is 1.0"),
    "sigma_b < 0": (lambda: Dense(1, sigma_b=-0.1), ValueError, "sigma_b is -0.1.*>= 0"),
    "slope inf": (lambda: LeakyRelu(float("inf")), ValueError, "slope is inf.*finite"),
    "sin of text": (lambda: ntkrs.Sin("1"), TypeError, "a is '1'.*a number"),
    "cos of NaN": (lambda: ntkrs.Cos(1, float("nan")), ValueError, "b is nan.*finite"),
    "exp of inf": (lambda: ntkrs.Exp(float("inf")), ValueError, "a is inf.*finite"),
    "gamma 0": (lambda: ntkrs.Rbf(0), ValueError, "gamma is 0.*positive"),
    "gaussian b < 0": (lambda: ntkrs.Gaussian(-1), ValueError, "b is -1.*positive"),
    "half a power": (lambda: ntkrs.Monomial(0.5), TypeError, "degree is 0.5.*an integer"),
    "degree -1": (lambda: ntkrs.Hermite(-1), ValueError, "degree is -1, but Hermite takes 0 to 32"),
    "degree 33": (lambda: ntkrs.Monomial(33), ValueError, "degree is 33, but Monomial takes 0 to 32"),
    "degree 17": (lambda: ntkrs.RectifiedPower(17), ValueError, "degree is 17, but RectifiedPower takes 0 to 16"),
    "no coefficient": (ntkrs.Polynomial, ValueError, "there are 0 coefficients.*1 to 33"),
    "a coefficient of text": (lambda: ntkrs.Polynomial(1, "2"), TypeError, "coefficient 1 is '2'.*a number"),
    "a name without its degree": (
        lambda: mlp(1, 8, 1, "monomial"),
        ValueError,
        r"Monomial has no default degree.*Monomial\(\.\.\.\)",
    ),
    "a huge frequency": (
        lambda: mlp(1, 8, 1, ntkrs.Sin(1.0, 1e80)).kernel(),
        ValueError,
        r"b is 1e\+80, but must be at most 1e\+70",
    ),
    "unknown activation": (lambda: mlp(1, 8, 1, "rellu"), ValueError, "'rellu'.*must be one of.*'relu'"),
    "depth -1": (lambda: mlp(-1, 8, 1), ValueError, "depth is -1"),
    "depth text": (lambda: mlp("3", 8, 1), TypeError, "depth is '3'.*an integer"),
}


@pytest.mark.parametrize(("make", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_means_nothing_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_descriptions_are_values():
    again = Sequential(*ARCH.layers)
    assert again == ARCH
    assert hash(again) == hash(ARCH)
    assert len({again, ARCH, mlp(2, 512, 10)}) == 2
    assert pickle.loads(pickle.dumps(ARCH)) == ARCH
    assert eval(repr(ARCH), PUBLIC) == ARCH  # noqa: S307 the point of a repr
    with pytest.raises(AttributeError):
        ARCH.layers = ()


def test_numbers_of_any_kind_are_the_same_value():
    assert Dense(np.int64(3), np.float32(1.5), 0) == Dense(3, 1.5, -0.0)
    assert repr(Dense(np.int64(3), np.float32(1.5), 0)) == repr(Dense(3, 1.5, -0.0))


def test_mlp_repeats_the_hidden_layer():
    assert mlp(2, 8, 3, "erf", 1.5, 0.1) == Sequential(
        Dense(8, 1.5, 0.1), Erf(), Dense(8, 1.5, 0.1), Erf(), Dense(3, 1.5, 0.1)
    )
    assert mlp(0, 8, 3) == Sequential(Dense(3))
    assert mlp(1, 8, 1, LeakyRelu(0.3)).activations == (LeakyRelu(0.3),)


NAMES = [
    "identity", "relu", "leaky_relu", "abs", "erf", "tanh", "gelu", "sin", "cos", "rbf", "exp", "gaussian", "sign",
    "gelu_tanh", "elu", "silu",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_are_those_of_the_classes(name):
    (activation,) = mlp(1, 8, 1, name).activations
    assert activation.spec()[0] == name
    assert type(activation).__name__.lower() == name.replace("_", "")


def test_activations_are_values():
    parabola = ntkrs.Polynomial(0, 1, 0.5)
    assert parabola == ntkrs.Polynomial(-0.0, 1.0, 0.5)
    assert parabola != ntkrs.Polynomial(0, 1)
    assert repr(parabola) == "Polynomial(0.0, 1.0, 0.5)"
    for activation in (parabola, ntkrs.Monomial(np.int64(3)), ntkrs.Sin(2, p=1), ntkrs.Gaussian(), ntkrs.Hermite(4)):
        assert pickle.loads(pickle.dumps(activation)) == activation
        assert eval(repr(activation), PUBLIC) == activation  # noqa: S307 the point of a repr
        assert hash(activation) == hash(pickle.loads(pickle.dumps(activation)))
    assert ntkrs.Sin(1, 1, -0.0) == ntkrs.Sin()


def test_kernels_and_networks_are_values_too():
    kernel = ARCH.kernel()
    assert kernel == ARCH.kernel()
    assert pickle.loads(pickle.dumps(kernel)) == kernel
    assert repr(kernel) == f"Kernel(arch={ARCH!r}, parameterization='ntk')"
    assert pickle.loads(pickle.dumps(ARCH.kernel("standard"))) == ARCH.kernel("standard") != kernel
    net = ARCH.init(3, rng=7)
    copy = pickle.loads(pickle.dumps(net))
    assert np.array_equal(copy.parameters, net.parameters)
    assert copy.arch == net.arch
    assert repr(net) == f"Network({ARCH!r}, in_features=3, dtype=float64)"


def test_identity_needs_no_units_of_its_own():
    assert Identity() != Relu()
