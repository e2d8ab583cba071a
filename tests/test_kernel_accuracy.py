"""Infinite-width kernels against 50 digits where digits are easily lost: far from the origin, and in deep networks."""

import numpy as np
import pytest

from ntkrs import Dense, LeakyRelu, Rbf, Relu, Sequential, mlp
from oracles import infinite
from oracles.tables import CLOSED_FORMS, MODERATE
from package import built
from test_kernel import EPS, errors, hard_rows


def far_rows(offset, features):
    """Rows much farther from the origin than from each other; some are equal, nearly equal, parallel or opposite."""
    rng = np.random.default_rng(features)
    x = rng.standard_normal((12, features)) + offset
    x[1] = x[0]
    for row, distance in zip((2, 3, 4), (1e-13, 1e-9, 1e-5), strict=True):
        x[row] = x[0] * (1 + distance * rng.standard_normal(features))
    x[5] = 3 * x[0]
    x[6] = 1.7 * x[0] * (1 + 1e-7 * rng.standard_normal(features))
    x[7] *= -1
    return x


@pytest.mark.parametrize("features", [1, 5, 300])
@pytest.mark.parametrize("offset", [10.0, 1e3])
@pytest.mark.parametrize("name", MODERATE)
def test_rows_far_from_the_origin(name, offset, features):
    """Kernels of distances see the distances, however large Σ(x, x) is."""
    x = far_rows(offset, features)
    for depth, sigma_b in ((1, 0.0), (3, 0.3)):
        kernel = mlp(depth, 1, 1, built(CLOSED_FORMS[name]), 1.3, sigma_b).kernel()(x, get=("nngp", "ntk"))
        nngp, ntk = infinite.kernels(x, None, 1.3, sigma_b, [CLOSED_FORMS[name]] * depth, rounded=True)
        assert errors(kernel.nngp, nngp).max() <= 16 * EPS
        assert errors(kernel.ntk, ntk).max() <= 64 * EPS


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["rbf", "sin", "gaussian", "erf"])
@pytest.mark.parametrize("gap", [1 / 60, 1 / 12, 1 / 5])
def test_distances_of_rows_at_moderate_angles(name, gap, dtype):
    """A kernel of distances multiplies an error of ρ by Σ."""
    rng = np.random.default_rng(7)
    u, v = (np.abs(rng.standard_normal((2, 8, 100))) + 0.5) / 8
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    v -= u * (u * v).sum(1, keepdims=True)
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    for spread in (0.5, 2.0):
        x = np.vstack([u, (1 - gap) * u + np.sqrt(gap * (2 - gap)) * v]) * 10 * np.sqrt(spread / gap) / 1.3
        x = x.astype(dtype)
        kernel = mlp(1, 1, 1, built(CLOSED_FORMS[name]), 1.3).kernel()(x, get=("nngp", "ntk"))
        exact = infinite.kernels(x.astype(float), None, 1.3, 0.0, [CLOSED_FORMS[name]], rounded=True)
        bounds = (16 * EPS, 64 * EPS) if dtype == np.float64 else (8 * np.finfo(dtype).eps,) * 2
        for value, expected, bound in zip(kernel, exact, bounds, strict=True):
            assert errors(value.astype(float), expected).max() <= bound


@pytest.mark.parametrize(("name", "sigma_w"), [(name, 1.3) for name in MODERATE] + [("gaussian", 3.0), ("sin", 3.0)])
def test_thirty_layers(name, sigma_w):
    """Includes chaotic networks, where each layer multiplies the angle between inputs, which is known to all digits."""
    x = np.vstack([hard_rows(4), far_rows(100.0, 4)[:5]])
    kernel = mlp(29, 1, 1, built(CLOSED_FORMS[name]), sigma_w).kernel()(x, get=("nngp", "ntk"))
    nngp, ntk = infinite.kernels(x, None, sigma_w, 0.0, [CLOSED_FORMS[name]] * 29, rounded=True)
    assert errors(kernel.nngp, nngp).max() <= 16 * EPS
    assert errors(kernel.ntk, ntk).max() <= 64 * EPS


@pytest.mark.parametrize("sigma_b", [0.0, 0.3])
@pytest.mark.parametrize("large", [3.0, 30.0, 1e4])
def test_gelu_of_large_parallel_rows(large, sigma_b):
    """Large rows see ReLU up to a small difference, and their gap consists of this difference alone."""
    x = np.random.default_rng(1).standard_normal((1, 4)) * np.array([[1], [1.01], [1.5], [3], [20], [-2]]) * large
    for layers in (["gelu"] * 3, ["gelu", "relu", "relu"]):
        names = [part for name in layers for part in (Dense(1, 1.3, sigma_b), built(name))]
        kernel = Sequential(*names, Dense(1, 1.3, sigma_b)).kernel()(x, get=("nngp", "ntk"))
        nngp, ntk = infinite.kernels(x, None, 1.3, sigma_b, layers, rounded=True)
        assert errors(kernel.nngp, nngp).max() <= 16 * EPS
        assert errors(kernel.ntk, ntk).max() <= 64 * EPS


@pytest.mark.parametrize("name", MODERATE)
@pytest.mark.parametrize("large", [1e2, 1e4, 1e6])
def test_distances_after_another_activation(name, large):
    """A kernel of distances sees those of the layer before, which are much smaller than its values."""
    x = np.random.default_rng(3).standard_normal((6, 3)) * np.array([[1], [1e-3], [1], [1e-3], [1], [1e-6]]) + large
    kernel = Sequential(Dense(1, 1.3), built(CLOSED_FORMS[name]), Dense(1), Rbf(1.0), Dense(1)).kernel()
    nngp, ntk = infinite.kernels(x, None, [1.3, 1.0, 1.0], 0.0, [CLOSED_FORMS[name], ("rbf", 1.0)], rounded=True)
    result = kernel(x, get=("nngp", "ntk"))
    assert errors(result.nngp, nngp).max() <= 16 * EPS
    assert errors(result.ntk, ntk).max() <= 64 * EPS


@pytest.mark.parametrize("first", [1, 3])
def test_tiny_rows_beside_trained_biases(first):
    """Biases that start at 0 and are trained add τ_b² to Θ, however small Σ is."""
    x = np.array([[1.0, 2.0], [2.0, -1.0], [-1.0, 1.0]]) * np.array([[1e-160], [5e-324], [1e-100]])
    tau_b = [0.7 if layer + 1 == first else 0.0 for layer in range(3)]
    layers = [part for tau in tau_b for part in (Dense(1, 1.3, 0.0, tau_b=tau), Relu())]
    kernel = Sequential(*layers[:-1]).kernel()(x, get=("nngp", "ntk"))
    nngp, ntk = infinite.kernels(x, None, 1.3, 0.0, ["relu"] * 2, rounded=True, tau_w=1.3, tau_b=tau_b)
    assert np.abs(kernel.nngp - nngp).max() <= 16 * EPS * nngp.max()
    assert errors(kernel.ntk, ntk).max() <= 64 * EPS


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("slope", [0.0, 0.01])
def test_rows_of_zeros_beside_trained_biases(slope, dtype):
    """Such a row is the constant 0 in every layer, where φ' counts as the mean m of both sides: Θ ← m² Θ + τ_b²."""
    x = np.array([[0.0, 0.0], [1.0, 2.0], [0.0, 0.0]], dtype)
    layers = [part for _ in range(3) for part in (Dense(1, 1.0, 0.0, tau_b=0.7), LeakyRelu(slope))]
    arch = Sequential(*layers, Dense(1))
    mean = (1 + slope) ** 2 / 4
    ntk = arch.kernel()(x, get="ntk")
    expected = 0.49 * (mean + mean**2 + mean**3)
    np.testing.assert_allclose(ntk[[0, 0, 2], [0, 2, 0]], expected, rtol=8 * np.finfo(dtype).eps)
    gradient = arch.kernel().gradient(x, get="ntk")
    assert np.isfinite(gradient.sigma_w).all()


@pytest.mark.parametrize("name", ["erf", "sin", "rbf", "gaussian"])
@pytest.mark.parametrize("sigma_w", [1.5, 2.5])
@pytest.mark.parametrize("size", [0.01, 0.1, 0.5])
def test_parallel_rows_in_chaotic_networks(name, sigma_w, size):
    """Different norms open a small angle between parallel rows, and thirty layers later all its digits are visible."""
    x = size * np.array([[1.0], [1.02], [1.5], [3.1], [9.3], [-1.4], [-0.2]])
    for depth in (8, 30):
        kernel = mlp(depth, 1, 1, built(CLOSED_FORMS[name]), sigma_w).kernel()(x, get=("nngp", "ntk"))
        nngp, ntk = infinite.kernels(x, None, sigma_w, 0.0, [CLOSED_FORMS[name]] * depth, rounded=True)
        assert errors(kernel.nngp, nngp).max() <= 16 * EPS
        assert errors(kernel.ntk, ntk).max() <= 64 * EPS
