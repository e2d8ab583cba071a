"""Kernels of convolutional networks at infinite width: against whole tensors in NumPy, and by their laws."""

import pickle
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose

import ntkrs
from ntkrs import AvgPool, Conv, Dense, Flatten, GlobalAvgPool, Identity, Relu, Sequential, mlp, predict
from oracles import convolution
from package import convolutional
from test_kernel import EPS
from test_oracles_convolution import NETWORKS, X, Z
from test_runtime import python

RNG = np.random.default_rng(1)
ROOT = 2**0.5


def arch(*layers, head=None, **last):
    """Return a network with these layers before its head, and a Dense after it."""
    return Sequential(*layers, head or GlobalAvgPool(), Dense(1, **last))


DEEP = arch(
    Conv(8, 3, sigma_w=ROOT, sigma_b=0.1),
    Relu(),
    Conv(8, (3, 2), sigma_w=ROOT),
    Relu(),
    Conv(8, 3, sigma_w=ROOT),
    Relu(),
)


def assert_close(got, exact):
    """Entries agree within 80 ε of the largest: one side may be off by 64 ε, and the other by some roundings."""
    assert np.abs(got - exact).max() <= 80 * EPS * np.abs(exact).max()


@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_kind_of_layer_against_whole_tensors(name, parameterization):
    network = NETWORKS[name]
    kernel = convolutional(network).kernel(parameterization)
    expected = convolution.kernels_numpy(X, Z, network, parameterization)
    for got, exact in zip(kernel(X, Z, get=("nngp", "ntk")), expected, strict=True):
        # the whole tensors have some 20 roundings a layer, and Ṫ multiplies those of ρ
        assert_allclose(got, exact, rtol=400 * EPS)


@pytest.mark.parametrize("strides", [1, (2, 1), (1, 3), 2], ids=str)
@pytest.mark.parametrize("padding", ["same", "valid", "circular"])
@pytest.mark.parametrize("window", [1, 2, 3, (1, 4), (3, 5)], ids=str)
@pytest.mark.parametrize("shape", [(6, 6, 1), (5, 7, 3), (9, 2, 2)], ids=str)
def test_windows_strides_and_paddings(shape, window, padding, strides):
    layer = Conv(8, window, strides=strides, padding=padding, sigma_w=1.3, sigma_b=0.2)
    sides = zip(shape[:2], layer.window, layer.strides, strict=True)
    if any((padding == "valid" and side > n) or (padding == "circular" and n % step) for n, side, step in sides):
        return  # refused: see test_convolution_inputs.py
    x = np.random.default_rng(sum(shape)).standard_normal((3, *shape))
    oracle = convolution.Conv(1.3, 0.2, window=layer.window, strides=layer.strides, padding=padding)
    for head, name in ((Flatten(), "flatten"), (GlobalAvgPool(), "global_avg_pool")):
        kernel = arch(layer, Relu(), Conv(8, 3), Relu(), head=head, sigma_b=0.1).kernel()
        network = [oracle, "relu", convolution.Conv(), "relu", name, convolution.Dense(1.0, 0.1)]
        expected = convolution.kernels_numpy(x[:2], x[2:], network)
        for got, exact in zip(kernel(x[:2], x[2:], get=("nngp", "ntk")), expected, strict=True):
            assert_allclose(got, exact, rtol=400 * EPS)


# Laws that hold to the last bit.


@pytest.fixture(scope="module")
def images():
    """Return 21 images, more than two blocks of lanes, some of them equal."""
    x = np.random.default_rng(2).standard_normal((21, 5, 4, 2))
    x[3] = x[11] = x[20] = x[0]
    return x


@pytest.mark.parametrize("head", [Flatten(), GlobalAvgPool()], ids=repr)
def test_an_entry_is_a_function_of_its_two_images(images, head, poisoned):
    kernel = Sequential(*DEEP.layers[:-2], head, Dense(1)).kernel()
    whole = kernel(images)
    assert np.array_equal(whole, whole.T)
    assert np.array_equal(kernel(images, images), whole)
    assert np.array_equal(kernel(images[4:9], images), whole[4:9])
    assert np.array_equal(kernel(images[::-1]), whole[::-1, ::-1])
    assert np.array_equal(kernel(images[7:8], images[2:3]), whole[7:8, 2:3])
    assert np.array_equal(kernel.diag(images), np.diag(whole))
    both = kernel(images, get=("ntk", "nngp"))
    assert np.array_equal(both.ntk, whole)
    assert np.array_equal(both.nngp, kernel(images, get="nngp"))
    out = poisoned((42, 42))[::2, 1::2]
    assert kernel(images, out=out) is out
    assert np.array_equal(out, whole)
    for same in (3, 11, 20):
        assert np.array_equal(whole[same], whole[0])
        assert whole[same, 0] == whole[0, 0]


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_nothing(images, threads):
    kernel = DEEP.kernel()
    with ntkrs.threads(1):
        one, product = kernel(images), kernel.operator(images) @ np.eye(21)[:, :3]
    with ntkrs.threads(threads):
        assert np.array_equal(kernel(images), one)
        assert np.array_equal(kernel.operator(images) @ np.eye(21)[:, :3], product)


def test_the_layout_of_images_in_memory_changes_nothing(images):
    kernel = DEEP.kernel()
    expected = kernel(images)
    wide = np.full((42, 5, 8, 3), np.nan)
    wide[::2, ::-1, ::2, 1:] = images
    for x in (np.asfortranarray(images), wide[::2, ::-1, ::2, 1:], images.tolist(), images.astype(">f8")):
        assert np.array_equal(kernel(x), expected)
    pixels = RNG.integers(0, 256, (3, 5, 4, 2), dtype=np.uint8)
    assert np.array_equal(kernel(pixels), kernel(pixels.astype(float)))


@pytest.mark.parametrize("head", [Flatten(), GlobalAvgPool()], ids=repr)
def test_powers_of_two_pass_through_networks_without_biases(images, head):
    x = images[:5]
    kernel = arch(Conv(8, 3, sigma_w=ROOT), Relu(), Conv(8, 3), Relu(), head=head).kernel()
    expected = kernel(x)
    for power in (-300, -7, 40, 200):
        assert np.array_equal(kernel(x * 2.0**power), expected * 4.0**power)
    mixed = x * 2.0 ** np.array([0, 5, -3, 60, -80])[:, None, None, None]
    factors = 2.0 ** np.array([0, 5, -3, 60, -80])
    assert np.array_equal(kernel(mixed), expected * np.outer(factors, factors))


@pytest.mark.parametrize("head", [Flatten(), GlobalAvgPool()], ids=repr)
def test_products_with_the_operator(images, head):
    kernel = Sequential(*DEEP.layers[:-2], head, Dense(1)).kernel()
    vectors = RNG.standard_normal((21, 2))
    for name in ("ntk", "nngp"):
        assert_close(kernel.operator(images, get=name) @ vectors, kernel(images, get=name) @ vectors)
    part = kernel.operator(images[:4], images)
    assert part.shape == (4, 21)
    assert_close(part @ vectors, kernel(images[:4], images) @ vectors)
    assert_close(part.T @ vectors[:4], kernel(images[:4], images).T @ vectors[:4])


# Laws that hold up to rounding: other operations in another order.


@pytest.mark.parametrize("head", [Flatten(), GlobalAvgPool()], ids=repr)
@pytest.mark.parametrize("activation", ["relu", "erf", "gelu"])
def test_one_pixel_is_a_dense_network(activation, head):
    x = RNG.standard_normal((6, 1, 1, 7))
    phi = ntkrs.activations.by_name(activation)
    kernel = Sequential(
        Conv(8, 1, sigma_w=1.4, sigma_b=0.3), phi, Conv(8, 1, sigma_w=1.2), phi, head, Dense(1, 0.7, 0.1)
    ).kernel()
    dense = Sequential(Dense(8, 1.4, 0.3), phi, Dense(8, 1.2), phi, Dense(1, 0.7, 0.1)).kernel()
    for got, exact in zip(
        kernel(x, get=("nngp", "ntk")), dense(x[:, 0, 0], get=("nngp", "ntk")), strict=True
    ):  # fmt: skip
        assert_close(got, exact)


def test_a_window_as_large_as_the_image_is_a_dense_layer(images):
    kernel = Sequential(
        Conv(8, (5, 4), padding="valid", sigma_w=1.4, sigma_b=0.3), Relu(), Flatten(), Dense(1, 0.7)
    ).kernel()
    dense = Sequential(Dense(8, 1.4, 0.3), Relu(), Dense(1, 0.7)).kernel()
    assert_close(kernel(images), dense(images.reshape(21, -1)))


def test_windows_of_one_pixel_and_flatten_are_the_mean_of_dense_kernels(images):
    kernel = arch(
        Conv(8, 1, sigma_w=1.4, sigma_b=0.3), Relu(), Conv(8, 1, sigma_w=1.2), Relu(), head=Flatten()
    ).kernel()
    dense = Sequential(Dense(8, 1.4, 0.3), Relu(), Dense(8, 1.2), Relu(), Dense(1)).kernel()
    expected = np.mean([dense(images[:, y, x]) for y in range(5) for x in range(4)], axis=0)
    assert_close(kernel(images), expected)


def test_a_valid_stride_takes_every_second_pixel(images):
    strided = arch(Conv(8, 1, strides=2, padding="valid", sigma_w=1.4), Relu(), Conv(8, 2), Relu()).kernel()
    plain = arch(Conv(8, 1, sigma_w=1.4), Relu(), Conv(8, 2), Relu()).kernel()
    assert_close(strided(images), plain(images[:, ::2, ::2]))


def test_a_pool_of_the_whole_image_is_global_pooling(images):
    layers = DEEP.layers[:-2]
    pooled, expected = Sequential(*layers, AvgPool((5, 4)), Flatten(), Dense(1)).kernel(), DEEP.kernel()
    assert_close(pooled(images), expected(images))
    both = Sequential(*layers, AvgPool((5, 4)), GlobalAvgPool(), Dense(1)).kernel()
    assert_close(both(images), expected(images))


def test_global_pooling_does_not_see_a_flip_of_both_images(images):
    kernel = arch(Conv(8, 3, sigma_w=ROOT, sigma_b=0.1), Relu(), Conv(8, 3), Relu()).kernel()
    expected = kernel(images)
    for flipped in (images[:, ::-1], images[:, :, ::-1], images[:, ::-1, ::-1]):
        assert_close(kernel(flipped), expected)


def test_circular_global_pooling_does_not_see_a_shift_of_one_image(images):
    layers = [Conv(8, 3, padding="circular", sigma_w=ROOT, sigma_b=0.1), Relu()] * 2
    kernel = arch(*layers).kernel()
    assert_close(kernel(images, np.roll(images, (2, 1), axis=(1, 2))), kernel(images))
    not_circular = DEEP.kernel()
    shifted = not_circular(images, np.roll(images, (2, 1), axis=(1, 2)))
    assert np.abs(shifted / not_circular(images) - 1).max() > 1e-3


@pytest.mark.parametrize("head", [Flatten(), GlobalAvgPool()], ids=repr)
def test_kernels_are_positive_semidefinite(images, head):
    kernel = Sequential(*DEEP.layers[:-2], head, Dense(1)).kernel()
    for name in ("nngp", "ntk"):
        eigenvalues = np.linalg.eigvalsh(kernel(images, get=name))
        assert eigenvalues[0] >= -21 * EPS * eigenvalues[-1]


def test_frozen_layers_take_their_terms_away(images):
    """Θ is the sum over layers of the kernels that train one layer alone."""
    x = images[:4]
    layers = [Conv(8, 3, sigma_w=ROOT, sigma_b=0.1), Relu(), Conv(8, 3, sigma_b=0.2), Relu()]

    def trained(*flags):
        frozen = [
            type(layer)(**{**vars(layer), "trainable": flag}) for layer, flag in zip(layers[::2], flags, strict=False)
        ]
        return arch(frozen[0], Relu(), frozen[1], Relu(), trainable=flags[2]).kernel()(x)

    parts = [trained(*(at == one for at in range(3))) for one in range(3)]
    assert_close(sum(parts), trained(True, True, True))
    assert not trained(False, False, False).any()


# The rest of the interface.


def test_float32_images_give_float32_kernels(images):
    kernel = DEEP.kernel()
    single = images.astype(np.float32)
    found, exact = kernel(single), kernel(single.astype(float))
    assert found.dtype == np.float32
    assert np.abs(found - exact).max() <= 8 * np.finfo(np.float32).eps * exact.max()
    assert kernel(single, images).dtype == np.float64
    assert kernel.diag(single).dtype == np.float32
    assert kernel.operator(single).dtype == np.float32


def test_no_images_give_no_entries(images):
    kernel, nothing = DEEP.kernel(), np.empty((0, 5, 4, 2))
    assert kernel(nothing).shape == (0, 0)
    assert kernel(images, nothing).shape == (21, 0)
    assert kernel(nothing, images).shape == (0, 21)
    assert kernel.diag(nothing).shape == (0,)


def test_zero_images_have_the_kernel_of_their_biases():
    zeros = np.zeros((2, 4, 4, 3))
    biased = arch(Conv(8, 1, sigma_b=0.5), Identity(), sigma_w=2.0).kernel()
    assert_allclose(biased(zeros, get="nngp"), np.full((2, 2), 1.0), rtol=2 * EPS)
    assert not DEEP.kernel()(zeros)[0, 0] < 0
    assert not arch(Conv(8, 3), Relu(), Conv(8, 3), Relu()).kernel()(zeros).any()


def test_kernels_are_values(images):
    kernel = DEEP.kernel("standard")
    again = pickle.loads(pickle.dumps(kernel))
    assert again == kernel != DEEP.kernel()
    assert repr(kernel) == f"Kernel(arch={DEEP!r}, parameterization='standard')"
    assert np.array_equal(again(images[:2]), kernel(images[:2]))
    assert kernel.takes_images
    assert not mlp(1, 1, 1).kernel().takes_images


def test_widths_matter_in_standard_parameters_alone(images):
    wide = DEEP.with_width(50)
    assert np.array_equal(wide.kernel()(images), DEEP.kernel()(images))
    assert (wide.kernel("standard")(images) > DEEP.kernel("standard")(images)).all()


def test_closed_forms_make_no_error_of_truncation(images):
    assert DEEP.kernel().error_bound(images) == (0, 0)


def test_series_have_a_bound(images):
    series = arch(Conv(8, 3, sigma_w=ROOT), ntkrs.Tanh(), Conv(8, 3), ntkrs.Tanh()).kernel()
    bound = series.error_bound(images)
    assert 0 < max(bound) < 1e-10


def test_progress_is_reported(images):
    heard = []
    DEEP.kernel()(np.tile(images, (8, 2, 2, 1)), progress=lambda done, total: heard.append((done, total)))
    assert all(0 <= done <= total for done, total in heard)

    def stop(*_):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        DEEP.kernel()(np.tile(images, (20, 4, 4, 1)), progress=stop)


MEMORY = """
import numpy
from ntkrs import AvgPool, Conv, Dense, Flatten, GlobalAvgPool, Relu, Sequential

def most():
    with open("/proc/self/status") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

conv = Conv(1, 3, sigma_w=1.4, sigma_b=0.1)
kernel = Sequential({layers}, Dense(1)).kernel()
x = numpy.random.default_rng(0).standard_normal({shape})
kernel(x[:1])
before = most()
print(kernel(x).nbytes, most() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        ("conv, Relu(), conv, Relu(), conv, Relu(), Flatten()", (1500, 8, 8, 1)),
        ("conv, Relu(), AvgPool(2), conv, Relu(), GlobalAvgPool()", (3, 32, 32, 1)),
    ],
    ids=["variances of many images", "pooled tensors"],
)
def test_memory_stays_close_to_that_of_the_result(layers, shape):
    result, peak = map(int, python(MEMORY.format(layers=layers, shape=shape)).split())
    assert peak <= 1.1 * result + 64e6


# Functions of kernels take images as they are.


def test_inference_and_training_take_images(images):
    kernel, y = DEEP.kernel(), RNG.standard_normal(12)
    x, test = images[:12], images[12:]
    k = kernel(images, get=("nngp", "ntk"))
    posterior = predict.gp_inference(kernel, x, y, diag_reg=1e-3)(test, get="nngp")
    cross, inner = k.nngp[12:, :12], k.nngp[:12, :12] + 1e-3 * np.trace(k.nngp[:12, :12]) / 12 * np.eye(12)
    assert_allclose(posterior.mean, cross @ np.linalg.solve(inner, y), rtol=1e-8)
    assert posterior.x.shape == test.shape
    ensemble = predict.gradient_descent_mse_ensemble(kernel, x, y, diag_reg=1e-3)
    assert ensemble(10.0, test, get="ntk", compute_cov="diag").variance.shape == (9,)
    with pytest.raises(ValueError, match=r"x_test has shape \(9, 5, 3, 2\).*height, width and channels must be"):
        predict.gp_inference(kernel, x, y)(test[:, :, 1:])
    with pytest.raises(ValueError, match=r"x_train has shape \(12, 40\).*\(N, H, W, C\)"):
        predict.gp_inference(kernel, x.reshape(12, -1), y)
    with pytest.raises(ValueError, match=r"x_train has shape \(12, 5, 4, 2\), but a two-dimensional"):
        predict.gp_inference(mlp(1, 1, 1).kernel(), x, y)
    wrapped = predict.gp_inference(lambda X, Z=None, *, get: kernel(X, Z, get=get), x, y, diag_reg=1e-3)
    assert np.array_equal(wrapped(test, get="nngp", compute_cov=False).mean, posterior.mean)
