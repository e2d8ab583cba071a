"""The oracles of convolutional kernels, against each other, dense networks, and random finite ones. No ntkrs here.

Tolerances are a count of roundings times EPS, or standard errors.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from oracles import convolution, convolution_finite, infinite
from oracles.convolution import Conv, Dense, Pool

EPS = 2.0**-52
RNG = np.random.default_rng(0)
X, Z = RNG.standard_normal((2, 4, 3, 2)), RNG.standard_normal((1, 4, 3, 2))

#: Networks whose windows fit into 4 × 3 pixels, by the names that tests show.
NETWORKS = {
    "same, flatten": [Conv(1.4, 0.3), "relu", Conv(1.2), "erf", "flatten", Dense(0.7)],
    "even windows, gap": [Conv(1.4, window=(2, 4)), "relu", Conv(1.1, 0.1), "abs", "global_avg_pool", Dense()],
    "valid": [Conv(1.4, 0.2, window=(2, 2), padding="valid"), "relu", Conv(), "gelu", "global_avg_pool", Dense()],
    "circular": [
        Conv(1.3, 0.1, padding="circular"), "relu", Conv(strides=(2, 1), padding="circular"), "relu", "flatten", Dense()
    ],
    "same, then circular": [Conv(), "relu", Conv(padding="circular"), "relu", "global_avg_pool", Dense()],
    "strides": [
        Conv(1.4, 0.3, strides=(2, 1)), "relu", Conv(strides=(1, 2), window=(2, 2)), "relu", "global_avg_pool", Dense()
    ],
    "a pool inside": [Conv(1.4, 0.3), "relu", Pool((2, 1), (2, 1)), Conv(), "relu", "flatten", Dense()],
    "pools that overlap": [Conv(1.4), "relu", Pool((2, 2), (1, 1)), Pool((1, 2), (1, 1)), "global_avg_pool", Dense()],
    "dense layers after the head": [
        Conv(1.4, 0.3, width=3), "relu", "flatten", Dense(1.2, 0.1, width=5), "gelu", Dense(1.1)
    ],
    "frozen": [
        Conv(1.4, 0.3, trainable=False), "relu", Conv(1.1, 0.1, tau_b=1.0), "relu", "flatten", Dense(trainable=False)
    ],
}  # fmt: skip


@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_plain_numpy_agrees_with_mpmath(network, parameterization):
    exact = convolution.kernels(X, Z, network, parameterization=parameterization)
    plain = convolution.kernels_numpy(X, Z, network, parameterization)
    for one, other in zip(plain, exact, strict=True):
        # some 20 roundings a layer, and Ṫ multiplies those of ρ by at most 10 at these images
        assert_allclose(one, other, rtol=200 * EPS)


@pytest.mark.parametrize("window", [(1, 1), (3, 3)], ids=str)
@pytest.mark.parametrize("head", convolution.HEADS)
def test_one_pixel_is_a_dense_network(window, head):
    """A 3 × 3 window at a single pixel has one tap that is not padding, with the share 1/9."""
    x = RNG.standard_normal((3, 1, 1, 5))
    k = window[0] * window[1]
    network = [
        Conv(1.4 * k**0.5, 0.3, window=window), "relu", Conv(1.2 * k**0.5, 0.1, window=window), "erf", head, Dense(0.7)
    ]  # fmt: skip
    expected = infinite.kernels(x[:, 0, 0], None, [1.4, 1.2, 0.7], [0.3, 0.1, 0], ["relu", "erf"], rounded=True)
    for one, other in zip(convolution.kernels(x, None, network), expected, strict=True):
        assert_allclose(one, other, rtol=8 * EPS)  # the scales are rounded


def test_a_window_as_large_as_the_image_is_a_dense_layer():
    network = [Conv(1.4, 0.3, window=(4, 3), padding="valid"), "relu", "flatten", Dense(0.7, 0.1)]
    expected = infinite.kernels(X.reshape(2, -1), None, [1.4, 0.7], [0.3, 0.1], ["relu"], rounded=True)
    for one, other in zip(convolution.kernels(X, None, network), expected, strict=True):
        assert_allclose(one, other, rtol=2 * EPS)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_random_finite_networks_agree_in_the_mean(network):
    """40 networks of width 192: the mean is within 3 standard errors, and 1/192 for the width, of the kernel."""
    wide = [
        layer if isinstance(layer, str | Pool) else type(layer)(**{**vars(layer), "width": 192}) for layer in network
    ]
    rng = np.random.default_rng(3)
    draws = np.array([convolution_finite.kernels(X, wide, rng) for _ in range(40)])
    mean, error = draws.mean(axis=0), draws.std(axis=0, ddof=1) / 40**0.5
    scale = np.sqrt(np.einsum("kii,kjj->kij", mean, mean))
    for got, exact, sigma, size in zip(mean, convolution.kernels_numpy(X, None, network), error, scale, strict=True):
        assert np.all(np.abs(got - exact) <= 3 * sigma + size / 192)
