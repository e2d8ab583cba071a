"""Activations of finite networks, one value at a time."""

import mpmath
import numpy as np
import pytest

from ntkrs import Dense, Network, Sequential, mlp
from ntkrs.activations import Elementwise
from oracles import activations

EPS = np.finfo(np.float64).eps

#: Every activation by its name in the oracles, where the degrees of powers are integers.
EVERY = [
    ("identity",), ("relu",), ("leaky_relu", 0.01), ("abs",), ("erf",), ("tanh",), ("gelu",), ("sin",), ("cos",),
    ("rbf",), ("gaussian",),
    ("sign",), ("exp", 0.8, -0.5), ("sin", 1.3, 0.9, 0.4), ("cos", 0.7, 2.0, -0.3), ("rbf", 0.3), ("gaussian", 2.0),
    *(("rectified_power", n) for n in range(5)), *(("monomial", n) for n in range(5)),
    *(("hermite", n) for n in (0, 1, 2, 5, 9)), ("polynomial", 0.5, -1.0, 0.25, 0.1, 0.05), ("polynomial", 2.0),
]  # fmt: skip


@pytest.mark.parametrize("spec", EVERY, ids=str)
def test_activations_and_their_slopes_are_those_of_numpy(spec):
    """A network that consists of its activation alone, on values of all sizes."""
    name, *parameters = spec
    cls = next(cls for cls in Elementwise.__subclasses__() if cls.name == name)
    x = np.concatenate([np.linspace(-12, 12, 4001), [0.0, 1e-300, -1e-9, 30.0, -30.0, -38.0]])
    net = Network(Sequential(Dense(1), cls(*parameters), Dense(1)), weights=[[[1.0]], [[1.0]]], biases=[None, None])
    phi, slope = (f(spec)(x) for f in (activations.phi, activations.phi_dot))
    # Sums of powers cancel around their zeros, and so do sines of sums; NumPy's e^{-x²} has the rounding of x².
    cancels = name in ("hermite", "polynomial", "sin", "cos", "rbf", "exp", "gaussian", "gelu", "erf")
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
