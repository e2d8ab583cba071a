"""Kernels of float32 images, with gaps in float32: to 8 of its ε, and by laws that hold to the last bit."""

import numpy as np
import pytest

import ntkrs
from ntkrs import Abs, AvgPool, Conv, Dense, Erf, Flatten, GlobalAvgPool, LeakyRelu, Relu, Sequential
from oracles import convolution
from package import convolutional
from test_convolution_accuracy import hard_images, layers

SINGLE = np.finfo(np.float32).eps
RNG = np.random.default_rng(3)
ROOT = 2**0.5
HEADS = [Flatten(), GlobalAvgPool()]


def deep(head, depth=3, activation=None, **options):
    """Return a network of 3 × 3 windows."""
    parts = [part for _ in range(depth) for part in (Conv(1, 3, **options), activation or Relu())]
    return Sequential(*parts, head, Dense(1)).kernel()


def error(kernel, x, z):
    """Return the largest error of float32 kernels, in its ε of √(K_ii K_jj)."""
    largest = 0
    for name in ("nngp", "ntk"):
        exact = kernel(x.astype(float), z.astype(float), get=name)
        own = [kernel.diag(images.astype(float), get=name) for images in (x, z)]
        scale = np.sqrt(np.outer(*own))
        largest = max(largest, (np.abs(kernel(x, z, get=name) - exact)[scale > 0] / scale[scale > 0]).max())
    return largest / SINGLE


@pytest.fixture(scope="module")
def images():
    """Return 35 images: among them equal and nearly equal ones, a scaled, an opposite, a flat and a zero one."""
    x = RNG.standard_normal((35, 6, 5, 2))
    x[3] = x[20] = x[33] = x[0]
    for image, distance in zip(range(4, 10), (1e-6, 1e-4, 1e-2, 0.1, 0.2, 0.3), strict=True):
        x[image] = x[0] + distance * x[image]
    x[10], x[11], x[12], x[13] = 3 * x[0], -x[0], 0.7, 0
    return x.astype(np.float32)


@pytest.mark.parametrize("head", convolution.HEADS)
@pytest.mark.parametrize("sigma_b", [0.0, 0.1])
@pytest.mark.parametrize("padding", ["same", "valid", "circular"])
def test_every_pair_is_right_to_eight_roundings(padding, sigma_b, head):
    window = (2, 2) if padding == "valid" else (3, 3)
    options = {"sigma_w": ROOT, "sigma_b": sigma_b, "padding": padding, "window": window}
    network = [*layers(1 if padding == "valid" else 2, **options), head, convolution.Dense(1.0, sigma_b)]
    x = hard_images(2, 3, 2).astype(np.float32)
    z, kernel = x[[0, -3]], convolutional(network).kernel()
    got, exact = kernel(x, z, get=("nngp", "ntk")), convolution.kernels(x.astype(float), z.astype(float), network)
    for name, value, expected in zip(got._fields, got, exact, strict=True):
        assert value.dtype == np.float32
        scale = np.sqrt(np.outer(kernel.diag(x, get=name), kernel.diag(z, get=name)))
        assert (np.abs(value - expected) <= 8 * SINGLE * scale).all()


@pytest.mark.parametrize("head", HEADS, ids=repr)
@pytest.mark.parametrize(("depth", "sigma_b"), [(3, 0.1), (10, 0.0), (20, 0.1), (20, 0.0), (40, 0.1)])
def test_many_layers(images, depth, sigma_b, head):
    assert error(deep(head, depth, sigma_w=ROOT, sigma_b=sigma_b), images, images[:13]) <= 8


@pytest.mark.parametrize("head", HEADS, ids=repr)
@pytest.mark.parametrize("sigma_b", [0.0, 0.1])
def test_pairs_of_pixels_that_all_round_alike(images, sigma_b, head):
    """Small circular images: each window holds all pixels, so that no mean over pixels hides a rounding."""
    x = images[:13, :3, :3]
    kernel = deep(head, 40, sigma_w=ROOT, sigma_b=sigma_b, padding="circular")
    assert error(kernel, x, x) <= 8


@pytest.mark.parametrize("head", HEADS, ids=repr)
@pytest.mark.parametrize("activation", [Abs(), LeakyRelu(0.2)], ids=repr)
def test_other_activations(images, activation, head):
    assert error(deep(head, 10, activation, sigma_w=ROOT, sigma_b=0.1), images, images[:13]) <= 8


def test_large_images():
    x = RNG.standard_normal((3, 32, 32, 3)).astype(np.float32)
    x[1], x[2] = x[0] + 0.1 * x[1], 0.3 + np.linspace(0, 1, 32)[:, None] * np.ones(3)
    assert error(deep(GlobalAvgPool(), sigma_w=ROOT, sigma_b=0.1), x, x) <= 8


@pytest.mark.parametrize("head", HEADS, ids=repr)
def test_an_entry_is_a_function_of_its_two_images(images, head, poisoned):
    kernel = deep(head, sigma_w=ROOT, sigma_b=0.1)
    whole = kernel(images)
    assert whole.dtype == np.float32
    assert np.array_equal(whole, whole.T)
    assert np.array_equal(kernel(images, images), whole)
    for count in (1, 7, 8, 9, 15, 16, 17, 24, 25, 32, 33):
        assert np.array_equal(kernel(images[:count]), whole[:count, :count])
        assert np.array_equal(kernel(images[-count:], images[:count]), whole[-count:, :count])
    assert np.array_equal(kernel(images[::-1]), whole[::-1, ::-1])
    assert np.array_equal(kernel.diag(images), np.diag(whole))
    both = kernel(images, get=("ntk", "nngp"))
    assert np.array_equal(both.ntk, whole)
    assert np.array_equal(both.nngp, kernel(images, get="nngp"))
    out = poisoned((70, 70)).astype(np.float32)[::2, 1::2]
    assert kernel(images, out=out) is out
    assert np.array_equal(out, whole)
    for same in (3, 20, 33):
        assert np.array_equal(whole[same], whole[0])
        assert whole[same, 0] == whole[0, 0]
    for threads in (1, 2, 3):
        with ntkrs.threads(threads):
            assert np.array_equal(kernel(images), whole)


@pytest.mark.parametrize("head", HEADS, ids=repr)
def test_powers_of_two_pass_through_networks_without_biases(images, head):
    kernel, x = deep(head, sigma_w=ROOT), images[:5]
    factors = np.float32(2) ** np.array([0, 5, -3, 20, -30], dtype=np.float32)
    mixed = kernel(x * factors[:, None, None, None])
    assert np.array_equal(mixed, kernel(x) * np.outer(factors, factors))


def test_numbers_at_the_ends_of_the_range():
    x = RNG.standard_normal((6, 5, 5, 2)).astype(np.float32)
    for image, scale in enumerate((1e-45, 1e-38, 1e-20, 1e18)):
        x[image] *= np.float32(scale)
    x[4, 1:] *= np.float32(1e-36)
    x[5] = 0
    for head in HEADS:
        for sigma_b in (0.0, 0.3):
            kernel = deep(head, sigma_w=ROOT, sigma_b=sigma_b)
            found, exact = kernel(x), kernel(x.astype(float))
            own = np.sqrt(np.diag(exact))
            # Subnormal results are rounded to their spacing.
            assert (np.abs(found - exact) <= 8 * SINGLE * np.outer(own, own) + 1e-45).all()


@pytest.mark.parametrize(
    "parts",
    [
        (Conv(1, 3), Erf(), GlobalAvgPool(), Dense(1)),
        (Conv(1, 3), LeakyRelu(0.9), GlobalAvgPool(), Dense(1)),
        (Conv(1, 3), Relu(), AvgPool(2), Conv(1, 2), Relu(), GlobalAvgPool(), Dense(1)),
        (Conv(1, 3), Relu(), Flatten(), Dense(1), Relu(), Dense(1)),
    ],
    ids=["erf", "nearly linear", "pool inside", "dense layers"],
)
def test_other_networks_are_computed_in_float64(images, parts):
    kernel = Sequential(*parts).kernel()
    assert np.array_equal(kernel(images), kernel(images.astype(float)).astype(np.float32))
