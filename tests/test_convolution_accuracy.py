"""Convolutional kernels against mpmath, to the last digits, for images in every relative position that costs some."""

import numpy as np
import pytest

from oracles import convolution
from oracles.convolution import Conv, Dense, Pool
from oracles.tables import GROWING, JUMPS, MODERATE, SERIES, is_smooth, named
from package import convolutional
from test_kernel import EPS, errors

ROOT = 2**0.5


def hard_images(height, width, channels):
    """Images that are random, equal, nearly equal, scaled, opposite, shifted, flat, half zero, one pixel, and large."""
    rng = np.random.default_rng(height + width)
    x = rng.standard_normal((14, height, width, channels))
    x[1] = x[0]
    for image, distance in zip((2, 3, 4, 5), (1e-12, 1e-9, 1e-5, 1e-2), strict=True):
        x[image] = x[0] + distance * x[image]
    x[6] = 3 * x[0]
    x[7] = -x[0]
    x[8] = np.roll(x[0], 1, axis=1)
    x[9], x[10] = 0.7, 0.7 * (1 + 1e-9)
    x[11, : height // 2] = 0
    x[12] = 0
    x[12, height // 2, width // 2] = 1
    x[13] *= 1000
    return x


def promised(network, x, nngp=16, ntk=64):
    """Check that the entries of all images with two of them are within so many ε of √(K_ii K_jj)."""
    kernel = convolutional(network).kernel()
    z = x[[0, -3]]
    got, exact = kernel(x, z, get=("nngp", "ntk")), convolution.kernels(x, z, network)
    for name, value, expected, bound in zip(got._fields, got, exact, (nngp, ntk), strict=True):
        scale = np.sqrt(np.outer(kernel.diag(x, get=name), kernel.diag(z, get=name)))
        assert (np.abs(value - expected) <= bound * EPS * scale).all()


def layers(depth, activation="relu", **options):
    """Return ``depth`` equal convolutions with their activations."""
    return [part for _ in range(depth) for part in (Conv(**options), activation)]


@pytest.mark.parametrize("head", convolution.HEADS)
@pytest.mark.parametrize("sigma_b", [0.0, 0.1])
@pytest.mark.parametrize("padding", ["same", "valid", "circular"])
def test_every_pair_is_right_to_the_last_digits(padding, sigma_b, head):
    options = {
        "sigma_w": ROOT,
        "sigma_b": sigma_b,
        "padding": padding,
        "window": (2, 2) if padding == "valid" else (3, 3),
    }
    depth = 1 if padding == "valid" else 2
    promised([*layers(depth, **options), head, Dense(1.0, sigma_b)], hard_images(2, 3, 2))


@pytest.mark.parametrize(
    ("depth", "sigma_b", "head"),
    [
        (10, 0.1, "flatten"),
        (20, 0.0, "global_avg_pool"),
        (20, 0.1, "global_avg_pool"),
        (20, 0.1, "flatten"),
    ],
)
def test_many_layers(depth, sigma_b, head):
    x = hard_images(2, 2, 1)[[0, 1, 3, 6, 7, 9, 11, 12]]
    promised([*layers(depth, sigma_w=ROOT, sigma_b=sigma_b), head, Dense()], x)


def test_many_smooth_layers():
    x = hard_images(2, 2, 1)[[0, 1, 3, 6, 7, 9, 11, 12]]
    promised([*layers(10, "erf", sigma_w=ROOT, sigma_b=0.1), "global_avg_pool", Dense()], x)


@pytest.mark.parametrize("activation", **named(MODERATE))
def test_every_closed_form(activation):
    x = hard_images(2, 3, 1)[[0, 1, 2, 3, 4, 6, 7, 9, 10, 12]]
    network = [Conv(1.3, 0.3), activation, Conv(1.2), activation, "global_avg_pool", Dense(1.1)]
    promised(network, x)


@pytest.mark.parametrize("activation", **named(JUMPS))
def test_jumps(activation):
    """A jump sees √(1 − ρ) itself: an angle has an error of ε, and the next jump sees the root of this one."""
    x = hard_images(2, 3, 1)[[0, 1, 2, 3, 5, 6, 7, 9, 10, 12]]
    network = [Conv(1.3, 0.3), activation, Conv(1.2), activation, "global_avg_pool", Dense(1.1)]
    promised(network, x[[0, 1, 4, 5, 6, 7, 9]])
    # images at a distance d have a gap of d after one jump, with an error of ε, and its root has one of ε/√d
    promised(network, x[[0, 2, 3, 8, 7, 1, 9]], nngp=16 * 1e6, ntk=16 * 1e6)


@pytest.mark.parametrize("name", GROWING)
def test_what_grows_amplifies_the_rounding_of_its_argument(name):
    """A power n of a power n … is a power n^depth, and has that many times the relative error of its argument."""
    activation, steepness = GROWING[name]
    x = 0.5 * hard_images(2, 2, 1)[[0, 1, 2, 4, 6, 7, 9, 12]]
    amplified = 2 * steepness**2
    network = [*layers(2, activation, sigma_w=1.1, sigma_b=0.3), "flatten", Dense()]
    promised(network, x, nngp=max(16, amplified), ntk=max(64, amplified))


NETWORKS = {
    "strides": [
        Conv(ROOT, 0.1, strides=(2, 1)), "relu", Conv(ROOT, strides=(1, 2)), "relu", "global_avg_pool", Dense()
    ],
    "overlapping pools": [*layers(2, sigma_w=ROOT, sigma_b=0.1), Pool((2, 2), (1, 1)), "flatten", Dense()],
    "dense layers after flatten": [*layers(2, sigma_w=ROOT), "flatten", Dense(ROOT, 0.1), "relu", Dense(1.1)],
    "dense layers after pooling": [
        *layers(2, sigma_w=ROOT, sigma_b=0.1), "global_avg_pool", Dense(ROOT), "erf", Dense()
    ],
    "frozen": [
        Conv(ROOT, trainable=False), "relu", Conv(ROOT), "relu", "global_avg_pool", Dense(trainable=False)
    ],
}  # fmt: skip


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_other_layers(network):
    promised(network, hard_images(3, 3, 1)[[0, 3, 6, 7, 8, 9, 11, 12]])


@pytest.mark.parametrize("activation", **named(SERIES))
def test_series_keep_their_bound(activation):
    network = [*layers(2, activation, sigma_w=1.3, sigma_b=0.2), "global_avg_pool", Dense(1.1)]
    x = hard_images(1, 2, 1)[[0, 1, 5, 7]]
    kernel = convolutional(network).kernel()
    bound = kernel.error_bound(x)
    got, exact = kernel(x, get=("nngp", "ntk")), convolution.kernels_numpy(x, None, network)
    for value, expected, truncated in zip(got, exact, bound, strict=True):
        # 1e-13 an integral; arccos of a duplicate's ρ is √ε, which a kink sees
        assert errors(value, expected).max() <= (1e-11 if is_smooth(activation) else 1e-8) + truncated
    assert max(bound) < (1e-10 if is_smooth(activation) else 1e-4)
