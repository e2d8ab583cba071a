"""Kernels of float32 inputs that are partly computed in float32, against 25 digits.

Where activations are linear on both sides of 0, gaps and angles are float32, while Σ and Θ are float64. Where they are
erf or GELU, formulas in float32 serve pairs that are far apart.
"""

import numpy as np
import pytest

from ntkrs import Dense, Sequential, mlp
from oracles import infinite
from oracles.tables import PIECEWISE_LINEAR
from package import built
from test_kernel import errors

#: The bound on the error that the README promises of float32.
BOUND = 8 * np.finfo(np.float32).eps

SLOPES = {f"slope {slope}": ("leaky_relu", slope) for slope in (-3.0, -0.999, 0.5, 0.9, 1.5)}
ACTIVATIONS = PIECEWISE_LINEAR | SLOPES


def rows():
    """Return rows in every relative position, some in angles that float32 cannot square."""
    x = np.random.default_rng(0).standard_normal((16, 3))
    x[1] = x[0]
    x[2] = 3 * x[0]
    for row, distance in zip((3, 4, 5), (1e-6, 1e-4, 1e-2), strict=True):
        x[row] = x[0] * (1 + distance * x[row])
    x[6] = 0.0
    x[7] *= 1e3
    x[8] *= 1e-3
    x[9] -= x[0] * (x[9] @ x[0]) / (x[0] @ x[0])
    x[10] = -2 * x[0]
    x[11] = -x[0] * (1 + 1e-6 * x[11])
    # Gaps of 5e-13, of a subnormal float32 and of less than any, and their opposites.
    for row, distance in zip((12, 13, 14), (1e-6, 1e-19, 1e-25), strict=True):
        x[row] = 1.0, distance, 0.0
    x[15] = -1.0, 1e-19, 0.0
    return np.vstack([x, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]).astype(np.float32)


def check(kernel, x, *exact):
    nngp, ntk = infinite.kernels(x.astype(float), None, *exact, digits=25, rounded=True)
    result = kernel(x, get=("nngp", "ntk"))
    assert result.ntk.dtype == np.float32
    assert errors(result.nngp.astype(float), nngp).max() <= BOUND
    assert errors(result.ntk.astype(float), ntk).max() <= BOUND


@pytest.mark.parametrize(("depth", "sigma_b"), [(1, 0.0), (3, 0.3), (30, 0.01)])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_pair_is_right_to_float32(name, depth, sigma_b):
    x = rows() if depth < 30 else rows()[[0, 4, 7, 10, 11, 12, 16, 17]]
    layers = [ACTIVATIONS[name]] * depth
    check(mlp(depth, 1, 1, built(layers[0]), 1.0, sigma_b).kernel(), x, 1.0, sigma_b, layers)


@pytest.mark.parametrize(
    ("depth", "sigma_w", "sigma_b"), [(1, 1.3, 0.0), (3, 1.0, 0.3), (10, 1.4, 0.0), (10, 5.0, 0.1)]
)
@pytest.mark.parametrize("name", ["erf", "gelu"])
def test_near_and_far_pairs_are_right_to_float32(name, depth, sigma_w, sigma_b):
    x = rows() if depth < 10 else rows()[[0, 2, 4, 5, 7, 8, 9, 10, 11, 12, 16, 17]]
    check(mlp(depth, 1, 1, name, sigma_w, sigma_b).kernel(), x, sigma_w, sigma_b, [name] * depth)


@pytest.mark.parametrize(
    ("name", "sigma_w", "sigma_b"),
    [
        ("erf", 0.7, 0.0),
        ("erf", 1.2, 0.05),
        ("erf", 2.0, 1.0),
        ("erf", 10.0, 0.3),
        ("gelu", 0.7, 0.0),
        ("gelu", 1.4, 0.05),
        ("gelu", 2.0, 1.0),
    ],
)
def test_thirty_layers_of_smooth_functions(name, sigma_w, sigma_b):
    """Gaps that change little from layer to layer, and chaotic networks."""
    x = rows()[[0, 4, 5, 7, 11, 12, 16, 17]]
    check(mlp(30, 1, 1, name, sigma_w, sigma_b).kernel(), x, sigma_w, sigma_b, [name] * 30)


@pytest.mark.parametrize("sigma_b", [0.1, 1.0])
def test_a_hundred_layers(sigma_b):
    """Roundings of gaps do not add up: gaps shrink from layer to layer."""
    x = rows()[[0, 4, 7, 11, 12, 17]]
    check(mlp(100, 1, 1, "relu", 1.4, sigma_b).kernel(), x, 1.4, sigma_b, ["relu"] * 100)


@pytest.mark.parametrize("size", [1e-17, 1e15])
@pytest.mark.parametrize("name", ["relu", "erf", "gelu"])
def test_small_and_large_rows(name, size):
    x = rows()[[0, 3, 4, 10, 11, 12, 16, 17]]
    x = np.vstack([x[:5] * np.float32(size), x])
    check(mlp(3, 1, 1, name, 1.3, 0.1).kernel(), x, 1.3, 0.1, [name] * 3)


def test_layers_with_scales_of_their_own():
    layers = (
        Dense(1, 1.2, 0.3),
        built("abs"),
        Dense(1, 0.9, tau_b=0.4),
        built("relu"),
        Dense(1, 1.5, 0.2, trainable=False),
    )
    exact = [1.2, 0.9, 1.5], [0.3, 0.0, 0.2], ["abs", "relu"]
    x = rows()
    nngp, ntk = infinite.kernels(
        x.astype(float), None, *exact, digits=25, rounded=True, tau_w=[1.2, 0.9, 0.0], tau_b=[0.3, 0.4, 0.0]
    )
    kernel = Sequential(*layers).kernel()
    result = kernel(x, get=("nngp", "ntk"))
    assert errors(result.nngp.astype(float), nngp).max() <= BOUND
    assert errors(result.ntk.astype(float), ntk).max() <= BOUND
    parts = kernel(x, per_layer=True).astype(float)
    assert errors(parts.sum(0), ntk).max() <= BOUND


@pytest.mark.parametrize("n", [17, 130])
@pytest.mark.parametrize("name", ["relu", "erf", "gelu"])
def test_entries_depend_on_their_two_rows_alone(name, n):
    x = np.random.default_rng(n).standard_normal((n, 3)).astype(np.float32)
    x[5] = x[2]
    kernel = mlp(3, 1, 1, name, 1.3, 0.2).kernel()
    whole = kernel(x)
    assert np.array_equal(whole, whole.T)
    assert np.array_equal(whole[2], whole[5])
    for some, others in (([0], [5]), ([1, 2, 16], [3, 9]), (range(3, 17), range(2, 15))):
        assert np.array_equal(kernel(x[some], x[others]), whole[np.ix_(some, others)])
    assert np.array_equal(kernel.diag(x), whole.diagonal())
    assert np.array_equal(kernel.operator(x).columns([1, 7]), whole[:, [1, 7]])
    assert np.array_equal(kernel(x, get=("nngp", "ntk")).ntk, whole)


def test_depths_are_the_kernels_of_shallower_networks_whatever_follows():
    """ReLU's gaps are float32 although those of GELU after it are not."""
    x = rows()
    layers = mlp(2, 1, 1, "relu", 1.3, 0.2).layers + mlp(2, 1, 1, "gelu", 1.3, 0.2).layers[1:]
    for get in ("ntk", "nngp"):
        for layer, kernel in enumerate(Sequential(*layers).kernel().depths(x, get=get)):
            assert np.array_equal(kernel, Sequential(*layers[: 2 * layer + 1]).kernel()(x, get=get))
