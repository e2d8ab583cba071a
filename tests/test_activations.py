"""Activations of finite networks, one value at a time."""

import mpmath
import numpy as np
import pytest

import ntkrs
from ntkrs import Dense, Network, Sequential, mlp
from oracles import activations
from oracles.activations import TABLE
from oracles.tables import EVERY
from package import CLASSES, built

EPS = np.finfo(np.float64).eps

#: Every activation, and more parameters of some.
SPECS = [
    *EVERY.values(), ("exp", 0.8, -0.5), ("cos", 0.7, 2.0, -0.3), ("rbf", 0.3), ("gaussian", 2.0),
    ("rectified_power", 4), ("monomial", 4), ("hermite", 0), ("hermite", 1), ("hermite", 9), ("polynomial", 2.0),
]  # fmt: skip

#: Activations that NumPy computes without cancellation.
STABLE = {"identity", "relu", "leaky_relu", "abs", "sign", "rectified_power", "monomial", "tanh"}


@pytest.mark.parametrize("name", sorted({*CLASSES, *TABLE}))
def test_an_activation_stands_in_all_its_places(name):
    """CONTRIBUTING.md lists the places."""
    assert name in CLASSES, "no class in ntkrs.activations has this name"
    assert CLASSES[name].__name__ in ntkrs.__all__, "the class is missing in __all__ of ntkrs"
    assert CLASSES[name].__name__ in ntkrs.activations.__all__, "the class is missing in __all__ of ntkrs.activations"
    assert name in TABLE, "oracles.activations has no such entry"
    specs = [spec for spec in EVERY.values() if activations.parse(spec)[0] == name]
    assert specs, "oracles.tables has no such entry"
    for spec in specs:
        Network(Sequential(Dense(1), built(spec), Dense(1)), weights=[[[1.0]], [[1.0]]])  # the core's catalogue has it


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_activations_and_their_slopes_are_those_of_numpy(spec):
    """A network that consists of its activation alone, on values of all sizes."""
    name, parameters = activations.parse(spec)
    x = np.concatenate([np.linspace(-12, 12, 4001), [0.0, 1e-300, -1e-9, 30.0, -30.0, -38.0]])
    net = Network(Sequential(Dense(1), built(spec), Dense(1)), weights=[[[1.0]], [[1.0]]], biases=[None, None])
    phi, slope = (f(spec)(x) for f in (activations.phi, activations.phi_dot))
    # Sums of powers cancel around their zeros, and so do sines of sums; NumPy's e^{-x²} has the rounding of x².
    cancels = name not in STABLE
    scale = np.maximum(np.abs(x), 1) ** (
        len(parameters) if name == "polynomial" else parameters[0] if name == "hermite" else 1
    )
    atol = 64 * EPS * scale if cancels else 0
    assert np.all(np.abs(net(x[:, None])[:, 0] - phi) <= 8 * EPS * np.abs(phi) + atol)
    # ∂f/∂W^0 = φ'(x) x
    jacobian = net.jacobian(x[:, None])[:, 0, 0]
    assert np.all(np.abs(jacobian - slope * x) <= 16 * EPS * np.abs(slope * x) + atol * np.abs(x) * scale)


def test_tails_of_gelu_keep_their_digits():
    x = np.array([-5.0, -12.3, -20.1, -37.3])
    net = Network(mlp(1, 1, 1, "gelu"), weights=[[[1.0]], [[1.0]]], biases=[None, None])
    # mpmath: x ncdf(x) in 30 digits.
    exact = [float(mpmath.mpf(t) * mpmath.ncdf(mpmath.mpf(t))) for t in x]
    np.testing.assert_allclose(net(x[:, None])[:, 0], exact, rtol=8 * EPS)
