"""Kernels of convolutional networks refuse inputs that are no images, or do not fit, and say what to do."""

import threading

import numpy as np
import pytest

import ntkrs
from ntkrs import AvgPool, Conv, Dense, Flatten, GlobalAvgPool, Relu, Sequential, mlp

KERNEL = Sequential(Conv(8, 3), Relu(), Conv(8, 3), Relu(), GlobalAvgPool(), Dense(1)).kernel()
VALID = Sequential(
    Conv(8, 3, padding="valid"), Relu(), Conv(8, (3, 2), padding="valid"), Relu(), AvgPool((2, 1)), Flatten(), Dense(1)
).kernel()
X = np.random.default_rng(0).standard_normal((3, 8, 6, 2))
NAN, INF = X.copy(), X.astype(np.float32)
NAN[1, 7, 0, 1], INF[2, 0, 5, 0] = np.nan, -np.inf

#: Inputs that are no images, by the names that tests show, with the error and its message.
REFUSED = {
    "flat rows": (X.reshape(3, -1), ValueError, r"X has shape \(3, 96\).*\(N, H, W, C\).*reshape\(-1, H, W, C\)"),
    "flat digits": (np.ones((2, 784)), ValueError, r"X has shape \(2, 784\).*X\.reshape\(-1, 28, 28, 1\)"),
    "flat colours": (np.ones((2, 3072)), ValueError, r"X\.reshape\(-1, 32, 32, 3\)"),
    "no channels": (X[..., 0], ValueError, r"X has shape \(3, 8, 6\).*images \(N, H, W, C\).*X\[\.\.\., None\]"),
    "one image": (X[0], ValueError, r"X has shape \(8, 6, 2\).*X\[None\] for one image"),
    "one row": (X[0, 0, 0], ValueError, r"X has shape \(2,\).*images \(N, H, W, C\)"),
    "five axes": (X[None], ValueError, r"X has shape \(1, 3, 8, 6, 2\).*images \(N, H, W, C\)"),
    "no pixels": (X[:, :0], ValueError, r"X has shape \(3, 0, 6, 2\).*at least 1 row, 1 column and 1 channel"),
    "0 channels": (X[..., :0], ValueError, r"X has shape \(3, 8, 6, 0\).*at least 1 row"),
    "NaN": (NAN, ValueError, r"X holds nan at \(1, 7, 0, 1\), its image, row, column, channel, but every entry"),
    "infinity in float32": (INF, ValueError, r"X holds -inf at \(2, 0, 5, 0\), its image, row"),
    "complex": (X * 1j, TypeError, "X holds complex numbers"),
    "text": (X.astype(str), TypeError, "X holds text"),
    "objects": (np.array([[[[None, 1.0]]]], object), TypeError, r"X has dtype object.*None at \(0, 0, 0, 0\)"),
    "masked": (np.ma.masked_less(X, 0), TypeError, "X has masked entries"),
    "ragged": ([X[0].tolist(), X[0, :4].tolist()], ValueError, "X cannot be read as a NumPy array"),
    "nothing": (None, TypeError, "X"),
}  # fmt: skip

#: Calls that read X.
CALLS = {
    "call": lambda kernel, x: kernel(x),
    "diag": lambda kernel, x: kernel.diag(x),
    "operator": lambda kernel, x: kernel.operator(x),
    "error_bound": lambda kernel, x: kernel.error_bound(x),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("call", CALLS)
def test_inputs_that_are_no_images_are_refused(call, name):
    x, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        CALLS[call](KERNEL, x)


@pytest.mark.parametrize("call", CALLS)
def test_windows_that_do_not_fit_are_refused(call):
    CALLS[call](VALID, X)
    with pytest.raises(ValueError, match=r"layer 2 is Conv.*grid there has 2 rows and 4 columns.*padding='same'"):
        CALLS[call](VALID, X[:, :4])
    with pytest.raises(ValueError, match=r"layer 4 is AvgPool.*1 rows and 3 columns.*larger images, a smaller window"):
        CALLS[call](VALID, X[:, :5])
    with pytest.raises(ValueError, match=r"layer 0 is Conv.*2 rows and 6 columns"):
        CALLS[call](VALID, X[:, :2])


def test_windows_after_pools_that_do_not_fit_are_refused():
    layers = Conv(8, 3), Relu(), AvgPool((4, 3)), Conv(8, 3, padding="valid"), Relu(), Flatten(), Dense(1)
    with pytest.raises(ValueError, match=r"layer 3 is Conv.*grid there has 2 rows and 2 columns"):
        Sequential(*layers).kernel()(X)
    with pytest.raises(ValueError, match=r"layer 2 is AvgPool.*grid there has 3 rows and 6 columns"):
        Sequential(*layers).kernel()(X[:, :3])


def test_strides_that_do_not_divide_periodic_images_are_refused():
    kernel = Sequential(Conv(8, 3, strides=(2, 3), padding="circular"), Relu(), Flatten(), Dense(1)).kernel()
    kernel(X)
    with pytest.raises(ValueError, match=r"layer 0 is Conv.*8 rows and 5 columns.*circular.*strides must divide"):
        kernel(X[:, :, :5])
    later = Sequential(
        Conv(8, 3, strides=2), Relu(), Conv(8, 3, padding="circular"), Relu(), GlobalAvgPool(), Dense(1)
    ).kernel()
    with pytest.raises(ValueError, match=r"layer 0 is Conv.*strides must divide"):
        later(X[:, :7])


def test_both_batches_have_the_same_images():
    for z, shape in ((X[:, :7], r"\(7, 6, 2\)"), (X[:, :, :5], r"\(8, 5, 2\)"), (X[..., :1], r"\(8, 6, 1\)")):
        with pytest.raises(ValueError, match=rf"Z has images of shape {shape}, but X has images of shape \(8, 6, 2\)"):
            KERNEL(X, z)
        with pytest.raises(ValueError, match=r"Z has images of shape"):
            KERNEL.operator(X, z)
    with pytest.raises(ValueError, match=r"Z has shape \(3, 96\).*images \(N, H, W, C\)"):
        KERNEL(X, X.reshape(3, -1))
    with pytest.raises(ValueError, match=r"Z holds nan at \(1, 7, 0, 1\)"):
        KERNEL(X, NAN)


def test_channels_that_come_first_are_suspected():
    first = np.ones((2, 3, 16, 16))
    with pytest.warns(
        RuntimeWarning, match=r"X has shape \(2, 3, 16, 16\).*of 3 rows and 16 channels.*transpose\(0, 2, 3, 1\)"
    ):
        KERNEL.diag(first)
    with pytest.raises(ValueError, match=r"layer 2 is Conv.*If 3 is the number of channels.*transpose\(0, 2, 3, 1\)"):
        VALID.diag(np.ones((2, 3, 16, 14)))
    with pytest.raises(ValueError, match=r"Z has images.*If 3 is the number of channels"):
        KERNEL(first[..., :14], first[..., :13])
    KERNEL.diag(np.ones((2, 3, 5, 5)))  # small images of many channels are no suspects
    KERNEL.diag(np.ones((2, 16, 16, 3)))


def test_dense_networks_take_rows():
    dense = mlp(1, 1, 1).kernel()
    for call in CALLS.values():
        with pytest.raises(
            ValueError, match=r"X has shape \(3, 8, 6, 2\), but a two-dim.*reshape\(len\(X\), -1\).*Conv"
        ):
            call(dense, X)
    with pytest.raises(ValueError, match=r"X has shape \(3, 8, 6\), but a two-dim.*reshape\(len\(X\), -1\)"):
        dense(X[..., 0])


#: Options and methods that kernels of images lack.
ABSENT = {
    "per_layer=True": lambda: KERNEL(X, per_layer=True),
    "depths": lambda: KERNEL.depths(X),
    "gradient": lambda: KERNEL.gradient(X),
    "input_gradient": lambda: KERNEL.input_gradient(X, weights=np.eye(3)),
    "scalar": lambda: KERNEL.scalar(0.5),
    "agop": lambda: ntkrs.regression.agop(KERNEL, X, np.ones(3)),
}


@pytest.mark.parametrize("name", ABSENT)
def test_missing_methods_are_refused_by_name(name):
    with pytest.raises(ValueError, match=rf"layer 0 is Conv.*{name} needs a network of Dense layers"):
        ABSENT[name]()


def test_options_are_checked_as_for_dense_networks():
    with pytest.raises(ValueError, match="get is 'ntkk', but must be 'ntk', 'nngp', or a tuple"):
        KERNEL(X, get="ntkk")
    with pytest.raises(ValueError, match=r"out has shape \(3, 2\), but the kernel has shape \(3, 3\)"):
        KERNEL(X, out=np.empty((3, 2)))
    with pytest.raises(TypeError, match="Pass options by name: get='nngp'"):
        KERNEL(X, X, "nngp")
    with pytest.raises(ValueError, match="parameterization is 'torch'"):
        ntkrs.Kernel(KERNEL.arch, "torch")
    with pytest.raises(ValueError, match="has tau_b, but in standard parameters"):
        Sequential(Conv(8, 3, tau_b=0.5), Relu(), Flatten(), Dense(1)).kernel("standard")
    with pytest.raises(ValueError, match=r"layer 3 is Dense.*sigma_w is unknown"):
        Sequential(Conv(8, 3), Relu(), Flatten(), Dense(1, sigma_w=None, sigma_b=None)).kernel()


def test_kernels_that_do_not_fit_in_memory_are_refused(limit_memory):
    limit_memory(1000)
    with pytest.raises(MemoryError, match=r"the kernel of shape \(12, 12\)"):
        KERNEL(np.tile(X, (4, 1, 1, 1)))


def test_inputs_stay_as_they_are():
    x = X.copy()
    KERNEL(x)
    assert np.array_equal(x, X)
    x.flags.writeable = False
    KERNEL(x)


def test_kernels_of_different_threads_do_not_disturb_each_other():
    expected, found = KERNEL(X), [None] * 4

    def work(at):
        found[at] = KERNEL(X)

    threads = [threading.Thread(target=work, args=(at,)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(one, expected) for one in found)
