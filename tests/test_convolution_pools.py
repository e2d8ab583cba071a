"""Convolutions after pools: against whole tensors in NumPy and in mpmath, and by their laws."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import ntkrs
from ntkrs import AvgPool, Conv, Dense, Flatten, GlobalAvgPool, Relu, Sequential
from oracles import convolution
from oracles.convolution import Pool
from package import convolutional
from test_convolution import assert_close
from test_convolution_accuracy import hard_images, promised
from test_kernel import EPS

ROOT = 2**0.5
SAME = convolution.Conv(ROOT, 0.1)
PLAIN = convolution.Conv(ROOT)
DENSE = convolution.Dense(1.1, 0.2)

#: Networks for images of 8 × 6 pixels, by the names that tests show.
NETWORKS = {
    "two pools": [SAME, "relu", Pool(), PLAIN, "erf", Pool((2, 1), (2, 1)), SAME, "relu", "flatten", DENSE],
    "global pooling": [SAME, "relu", SAME, "relu", Pool(), SAME, "relu", SAME, "abs", "global_avg_pool", DENSE],
    "pools on both sides": [PLAIN, "relu", Pool(), SAME, "relu", Pool((2, 3), (1, 1)), "flatten", DENSE],
    "pools in a row": [SAME, "gelu", Pool((2, 2), (1, 1)), Pool((1, 2), (2, 1)), SAME, "relu", "flatten", DENSE],
    "windows that overlap": [SAME, "relu", Pool((3, 3), (2, 1)), PLAIN, "relu", "global_avg_pool", DENSE],
    "rows that are left out": [SAME, "relu", Pool((3, 4), (3, 4)), SAME, "relu", "global_avg_pool", DENSE],
    "large windows": [SAME, "relu", Pool((4, 3), (4, 3)), SAME, "relu", "global_avg_pool", DENSE],
    "strides": [
        convolution.Conv(ROOT, strides=(2, 1)), "relu", Pool((1, 2), (1, 2)),
        convolution.Conv(ROOT, 0.2, strides=(1, 2), window=(2, 3)), "relu", "flatten", DENSE
    ],
    "valid": [
        convolution.Conv(ROOT, padding="valid"), "relu", Pool(),
        convolution.Conv(ROOT, 0.2, window=(2, 2), padding="valid"), "relu", "global_avg_pool", DENSE
    ],
    "circular": [
        convolution.Conv(ROOT, 0.1, padding="circular"), "relu", Pool(),
        convolution.Conv(ROOT, padding="circular"), "relu", "global_avg_pool", DENSE
    ],
    "circular, then same": [
        convolution.Conv(ROOT, 0.1, padding="circular"), "relu", Pool((3, 2), (1, 2)), SAME, "relu", "flatten", DENSE
    ],
    "dense layers after flatten": [SAME, "relu", Pool(), SAME, "relu", "flatten", DENSE, "relu", DENSE],
    "dense layers after pooling": [SAME, "relu", Pool(), SAME, "relu", "global_avg_pool", DENSE, "erf", DENSE],
    "frozen": [
        convolution.Conv(ROOT, trainable=False), "relu", Pool(), convolution.Conv(1.1, 0.1, tau_b=1.0), "relu",
        "flatten", convolution.Dense(trainable=False)
    ],
    "series": [SAME, "softplus", Pool(), SAME, "relu", "flatten", DENSE],
}  # fmt: skip


@pytest.fixture(scope="module")
def images():
    """Return 11 images, more than a block of lanes, some of them equal."""
    x = np.random.default_rng(5).standard_normal((11, 8, 6, 2))
    x[3] = x[10] = x[0]
    return x


def oracle(network, x, z, parameterization="ntk"):
    """Return both kernels by whole tensors. Frozen layers and biases with a scale have no standard parameters here."""
    return convolution.kernels_numpy(x, z, network, parameterization)


@pytest.mark.parametrize("name", NETWORKS)
def test_whole_tensors(images, name):
    kernel = convolutional(NETWORKS[name]).kernel()
    x, z = images[:2], images[4:5]
    if name == "series":
        x, z = x[:, :4, :2], z[:, :4, :2]  # each pair of pixels is an integral
    got, expected = kernel(x, z, get=("nngp", "ntk")), oracle(NETWORKS[name], x, z)
    for one, other in zip(got, expected, strict=True):
        # whole tensors have some 20 roundings a layer; a series is integrated to 1e-13
        assert_allclose(one, other, rtol=2e-12 if name == "series" else 400 * EPS)


def test_standard_parameters(images):
    network = NETWORKS["two pools"]
    kernel = convolutional(network).kernel("standard")
    got, expected = kernel(images[:2], images[4:5]), oracle(network, images[:2], images[4:5], "standard")[1]
    assert_allclose(got, expected, rtol=400 * EPS)


@pytest.mark.parametrize("name", ["two pools", "global pooling", "windows that overlap", "circular", "large windows"])
def test_an_entry_is_a_function_of_its_two_images(images, name, poisoned):
    kernel = convolutional(NETWORKS[name]).kernel()
    whole = kernel(images)
    assert np.array_equal(whole, whole.T)
    assert np.array_equal(kernel(images, images), whole)
    assert np.array_equal(kernel(images[4:9], images), whole[4:9])
    assert np.array_equal(kernel(images[::-1]), whole[::-1, ::-1])
    assert np.array_equal(kernel.diag(images), np.diag(whole))
    assert np.array_equal(kernel(images, get="nngp"), kernel(images, get=("ntk", "nngp")).nngp)
    out = poisoned((22, 22))[::2, 1::2]
    assert np.array_equal(kernel(images, out=out), whole)
    for same in (3, 10):
        assert np.array_equal(whole[same], whole[0])
        assert whole[same, 0] == whole[0, 0]
    with ntkrs.threads(3):
        assert np.array_equal(kernel(images), whole)
        product = kernel.operator(images) @ np.eye(11)[:, :3]
    assert_close(product, whole[:, :3])


def test_powers_of_two_pass_through_networks_without_biases(images):
    network = [PLAIN, "relu", Pool(), PLAIN, "relu", PLAIN, "relu", "global_avg_pool", convolution.Dense()]
    kernel = convolutional(network).kernel()
    x = images[:5]
    factors = 2.0 ** np.array([0, 5, -3, 60, -80])
    assert np.array_equal(kernel(x * factors[:, None, None, None]), kernel(x) * np.outer(factors, factors))


@pytest.mark.parametrize("head", [Flatten(), GlobalAvgPool()], ids=repr)
def test_a_pool_of_one_pixel_is_nothing(images, head):
    conv = Conv(8, 3, sigma_w=ROOT, sigma_b=0.1)
    plain = Sequential(conv, Relu(), conv, Relu(), conv, Relu(), head, Dense(1)).kernel()
    pooled = Sequential(conv, Relu(), AvgPool(1), conv, Relu(), AvgPool(1, 1), conv, Relu(), head, Dense(1)).kernel()
    assert_close(pooled(images), plain(images))


def test_a_convolution_after_a_pool_of_the_whole_image_is_a_dense_layer(images):
    conv = Conv(8, 3, sigma_w=ROOT, sigma_b=0.1)
    pooled = Sequential(
        conv, Relu(), AvgPool((8, 6)), Conv(8, 1, sigma_w=1.3, sigma_b=0.2), Relu(), Flatten(), Dense(1)
    )
    dense = Sequential(conv, Relu(), GlobalAvgPool(), Dense(8, sigma_w=1.3, sigma_b=0.2), Relu(), Dense(1))
    assert_close(pooled.kernel()(images), dense.kernel()(images))


def test_kernels_are_positive_semidefinite(images):
    kernel = convolutional(NETWORKS["global pooling"]).kernel()
    for name in ("nngp", "ntk"):
        eigenvalues = np.linalg.eigvalsh(kernel(images, get=name))
        assert eigenvalues[0] >= -11 * EPS * eigenvalues[-1]


def test_images_without_any_light_have_finite_kernels():
    zeros = np.zeros((2, 8, 6, 1))
    for name in ("two pools", "pools on both sides"):
        assert np.isfinite(convolutional(NETWORKS[name]).kernel()(zeros)).all()
    plain = [PLAIN, "relu", Pool(), PLAIN, "relu", "flatten", convolution.Dense()]
    assert not convolutional(plain).kernel()(zeros).any()
    half = np.array(zeros)
    half[0, :4] = 1
    assert np.isfinite(convolutional(plain).kernel()(half)).all()


def test_no_images_give_no_entries(images):
    kernel = convolutional(NETWORKS["two pools"]).kernel()
    assert kernel(images[:0]).shape == (0, 0)
    assert kernel(images, images[:0]).shape == (11, 0)
    assert kernel.diag(images[:0]).shape == (0,)


def test_values_that_leave_the_range_are_refused(images):
    network = [PLAIN, "relu", Pool(), convolution.Conv(1e150), "relu", "flatten", convolution.Dense()]
    with pytest.raises(ValueError, match="image 0 of X leaves the range"):
        convolutional(network).kernel()(images * 1e100)


#: Networks for images of 4 × 4 pixels and their digits.
EXACT = {
    "flatten": [SAME, "relu", Pool(), SAME, "relu", "flatten", DENSE],
    "no biases": [PLAIN, "relu", PLAIN, "relu", Pool(), PLAIN, "relu", "global_avg_pool", convolution.Dense()],
    "erf": [SAME, "erf", Pool((2, 2), (1, 1)), SAME, "erf", "flatten", DENSE],
    "two pools": [SAME, "relu", Pool(), SAME, "relu", Pool(), SAME, "relu", SAME, "relu", "flatten", DENSE],
}


@pytest.mark.parametrize("name", EXACT)
def test_every_pair_is_right_to_the_last_digits(name):
    """Equal, scaled, opposite, shifted, flat and half-empty images, and those at a distance of 10⁻² or more."""
    x = hard_images(4, 4, 1)
    promised(EXACT[name], x[[0, 1, 5, 6, 7, 8, 9, 11, 12, 13, 5, 8]])


def test_near_duplicates_keep_half_of_the_digits():
    """A pool leaves covariances, and a kink sees the root of 1 − ρ: √ε of the share of nearly equal pixel pairs."""
    x = hard_images(4, 4, 1)[[0, 2, 3, 4, 10, 9]]
    for name in ("flatten", "no biases"):
        promised(EXACT[name], x, nngp=64, ntk=1e-7 / EPS)
