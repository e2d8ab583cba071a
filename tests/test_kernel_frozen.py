"""Kernels of networks whose read-out is not trained: Θ = σ_w² Ṫ Σ¹ shows Ṫ alone, where a trained read-out adds Σ."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkrs import Cos, Dense, Sequential
from oracles import infinite
from oracles.tables import CLOSED_FORMS, JUMPS, named
from package import built
from test_kernel import EPS

#: Inputs from where φ is linear or constant to where it saturates.
SIZES = 10.0 ** np.array([-8, -5, -3, -1, 0, 1, 2, 4])


def errors(kernel, exact):
    """Errors in units of √(K_ii K_jj), which underflow in float64. Kernels of 0 must be exact."""
    roots = [mpmath.sqrt(exact[i, i]) for i in range(len(exact))]
    error = np.zeros(kernel.shape)
    for (i, j), value in np.ndenumerate(kernel):
        scale, difference = roots[i] * roots[j], abs(mpmath.mpf(float(value)) - exact[i, j])
        error[i, j] = difference / scale if scale else difference
    return error


def frozen(activation, depth=1, sigma_w=1.0):
    """Return a network of which the last layer is not trained."""
    layers = [Dense(1, sigma_w), built(activation)] * depth
    return Sequential(*layers, Dense(1, sigma_w, trainable=False))


def directions(features):
    """Unit vectors: two random ones, the opposite of one, and one close to it."""
    x = np.random.default_rng(3).standard_normal((4, features))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return np.vstack([x[:2], -x[0], x[0] * (1 + 1e-9 * x[3])])


@pytest.mark.parametrize("activation", **named({k: v for k, v in CLOSED_FORMS.items() if k not in JUMPS}))
def test_slopes_are_right_for_inputs_of_every_size(activation):
    # e^{2q} overflows beyond, and the error of an exponential is that of its argument, 2q times ε.
    sizes = SIZES[SIZES <= 1] if activation[0] == "exp" else SIZES
    x = np.vstack([size * directions(3) for size in sizes])
    ntk = frozen(activation).kernel()(x)
    _, exact = infinite.kernels(x, None, 1.0, 0.0, [activation], tau_w=[1.0, 0.0])
    # The README's promise.
    assert errors(ntk, exact).max() <= 64 * EPS


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(["sin", "cos"]),
    quarters=st.integers(-4, 4),
    offset=st.sampled_from([0.0, 1e-12, -1e-9, 1e-6, 1e-3, -0.1, 0.5]),
    frequency=st.sampled_from([1.0, 0.03, 5.0]),
    exponents=st.lists(st.floats(-8, 2), min_size=2, max_size=2),
    depth=st.integers(1, 3),
)
def test_waves_of_every_phase(kind, quarters, offset, frequency, exponents, depth):
    """Phases at and near those of even and odd functions."""
    activation = (kind, 1.0, frequency, quarters * math.pi / 2 + offset)
    x = np.vstack([directions(3) * 10.0**exponent for exponent in exponents])
    kernel = frozen(activation, depth).kernel()(x, get=("nngp", "ntk"))
    exact = infinite.kernels(x, None, 1.0, 0.0, [activation] * depth, tau_w=[1.0] * depth + [0.0])
    assert errors(kernel.nngp, exact[0]).max() <= 16 * EPS
    assert errors(kernel.ntk, exact[1]).max() <= 64 * EPS


@pytest.mark.parametrize("size", [1e-5, 0.1, 1.0])
def test_parts_of_each_layer(size):
    """The part of layer l is the NTK of a network in which it alone is trained."""
    x, layers = size * directions(3), [("cos", 0.7, 1.2, 0.0), "erf", "cos"]
    kernel = Sequential(*(part for layer in layers for part in (Dense(1, 1.3), built(layer))), Dense(1, 1.3)).kernel()
    for layer, part in enumerate(kernel(x, per_layer=True)):
        tau = [1.3 * (index == layer) for index in range(4)]
        _, exact = infinite.kernels(x, None, 1.3, 0.0, layers, tau_w=tau)
        assert errors(part, exact).max() <= 64 * EPS


@pytest.mark.parametrize("size", [1e-6, 1e-3, 1.0])
def test_gradients_of_small_inputs(size):
    """∂Θ/∂σ_w of the first layer, by differences with 50 digits."""
    x = size * directions(3)
    kernel = Sequential(Dense(1, 1.0), Cos(), Dense(1, 1.0, trainable=False)).kernel()
    slopes = kernel.gradient(x).sigma_w[0]
    step = 2.0**-20
    sides = [infinite.kernels(x, None, [1 + h, 1.0], 0.0, ["cos"], tau_w=[1 + h, 0.0])[1] for h in (step, -step)]
    exact = (sides[0] - sides[1]) / (2 * step)
    # Truncation: step² = 1e-12 times a sixth of the third derivative, of the order of the first.
    assert errors(slopes, exact).max() <= 1e-11
