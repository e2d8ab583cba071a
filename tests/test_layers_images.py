"""Descriptions of convolutional networks are values, and refuse layers and orders that mean nothing."""

import pickle

import numpy as np
import pytest

import ntkrs
from ntkrs import AvgPool, Conv, Dense, Erf, Flatten, GlobalAvgPool, Identity, Relu, Sequential, diagnostics, mlp
from package import PUBLIC

ARCH = Sequential(
    Conv(64, (3, 3), sigma_w=1.5, sigma_b=0.1),
    Relu(),
    AvgPool((2, 2)),
    Conv(32, (3, 5), strides=2, padding="valid", trainable=False),
    Relu(),
    GlobalAvgPool(),
    Dense(64, tau_b=1.0),
    Erf(),
    Dense(10),
)
CONV = Conv(8, 3)

LAYERS = {
    "window 0": (lambda: Conv(8, (0, 3)), ValueError, r"window is \(0, 3\), but rows and columns of at least 1"),
    "window 2.5": (lambda: Conv(8, 2.5), TypeError, "window is 2.5, but an integer"),
    "window of text": (lambda: Conv(8, "33"), TypeError, "window is '33', but an integer"),
    "a window of one side": (lambda: Conv(8, (3,)), ValueError, r"window is \(3,\), .*\(N, L, 1, C\), it is \(3, 1\)"),
    "a window of three sides": (lambda: Conv(8, (3, 3, 3)), ValueError, "window is .*no three-dimensional"),
    "a window of four sides": (lambda: Conv(8, (3,) * 4), ValueError, "window is .*rows and columns are needed"),
    "strides 0": (lambda: Conv(8, 3, strides=0), ValueError, "strides is 0, but rows and columns of at least 1"),
    "strides by position": (lambda: Conv(8, 3, 2), TypeError, "3 positional arguments"),
    "full padding": (
        lambda: Conv(8, 3, padding="full"),
        ValueError,
        "padding is 'full', but must be 'same', 'valid' or 'circular'",
    ),
    "padding of 1": (lambda: Conv(8, 3, padding=1), ValueError, "padding is 1, but must be 'same'"),
    "channels 0": (lambda: Conv(0, 3), ValueError, "channels is 0, but a convolution has at least 1"),
    "channels 1.5": (lambda: Conv(1.5, 3), TypeError, "channels is 1.5"),
    "sigma_w 0": (lambda: Conv(8, 3, sigma_w=0), ValueError, "sigma_w is 0.*positive"),
    "sigma_w None": (lambda: Conv(8, 3, sigma_w=None), TypeError, "sigma_w is None"),
    "sigma_b < 0": (lambda: Conv(8, 3, sigma_b=-1), ValueError, "sigma_b is -1.*>= 0"),
    "tau_b < 0": (lambda: Conv(8, 3, tau_b=-1), ValueError, "tau_b is -1.*>= 0"),
    "trainable 1": (lambda: Conv(8, 3, trainable=1), TypeError, "trainable is 1, but must be True or False"),
    "dilation": (lambda: Conv(8, 3, dilation=2), ValueError, r"Conv\(\) has no dilation"),
    "groups": (lambda: Conv(8, 3, groups=2), ValueError, r"Conv\(\) has no groups"),
    "transposed": (lambda: Conv(8, 3, transposed=True), ValueError, r"Conv\(\) has no transposed"),
    "kernel_size": (lambda: Conv(8, kernel_size=3), TypeError, "no argument kernel_size. Here it is called window"),
    "filters": (lambda: Conv(filters=8, window=3), TypeError, "no argument filters. Here it is called channels"),
    "W_std": (lambda: Conv(8, 3, W_std=1.5), TypeError, "no argument W_std. Here it is called sigma_w"),
    "a pool of 0": (lambda: AvgPool((2, 0)), ValueError, r"window is \(2, 0\)"),
    "a pool with strides -1": (lambda: AvgPool(2, -1), ValueError, "strides is -1"),
    "a pool with padding": (lambda: AvgPool(2, padding="same"), ValueError, r"AvgPool\(\) has no padding"),
    "pool_size": (lambda: AvgPool(pool_size=2), TypeError, "no argument pool_size. Here it is called window"),
}

ORDERS = {
    "no head": ([CONV, Relu(), Dense(1)], r"layer 2 is Dense.*Use Flatten\(\) or GlobalAvgPool\(\)"),
    "no head at the end": ([CONV, Relu()], r"neither Flatten\(\) nor GlobalAvgPool\(\) after Conv"),
    "two convolutions": ([CONV, CONV, Relu(), Flatten(), Dense(1)], r"layer 1 is Conv.*Use Identity\(\)"),
    "a head after a convolution": ([CONV, Flatten(), Dense(1)], r"layer 1 is Flatten\(\).*Use Identity\(\)"),
    "a pool after a convolution": ([CONV, AvgPool(2), Flatten(), Dense(1)], r"layer 1 is AvgPool.*Use Identity\(\)"),
    "two activations": ([CONV, Relu(), Relu(), Flatten(), Dense(1)], r"layer 2 is Relu\(\), but an activation follows"),
    "an activation after a pool": ([CONV, Relu(), AvgPool(2), Relu(), Flatten(), Dense(1)], r"layer 3 is Relu\(\)"),
    "a Conv after the head": ([CONV, Relu(), Flatten(), CONV, Relu(), Dense(1)], r"layer 3 is Conv.*Flatten\(\) ends"),
    "two heads": ([CONV, Relu(), Flatten(), GlobalAvgPool(), Dense(1)], r"layer 3 is GlobalAvgPool.*Flatten\(\) ends"),
    "an activation after the head": ([CONV, Relu(), Flatten(), Relu(), Dense(1)], r"layer 3 is Relu.*a Dense is"),
    "ends with the head": ([CONV, Relu(), Flatten()], r"the last layer is Flatten\(\), but a Dense"),
    "ends with an activation": ([CONV, Relu(), Flatten(), Dense(1), Relu()], r"the last layer is Relu.*a Dense"),
    "Dense first": ([Dense(8), Relu(), CONV, Relu(), Flatten(), Dense(1)], "layer 0 is Dense.*starts with a Conv"),
    "a head first": ([Flatten(), Dense(1)], r"layer 0 is Flatten\(\).*starts with a Conv"),
    "a pool first": ([AvgPool(2), CONV, Relu(), Flatten(), Dense(1)], r"layer 0 is AvgPool.*starts with a Conv"),
    "circular after valid": (
        [Conv(8, 3, padding="valid"), Relu(), Conv(8, 3, padding="circular"), Relu(), Flatten(), Dense(1)],
        "layer 2 is Conv.*circular.*padding='valid' is not periodic",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "error", "message"), LAYERS.values(), ids=LAYERS)
def test_a_layer_that_means_nothing_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(("layers", "message"), ORDERS.values(), ids=ORDERS)
def test_an_order_that_means_nothing_is_refused(layers, message):
    with pytest.raises(ValueError, match=message):
        Sequential(*layers)


def test_a_class_instead_of_a_layer_is_refused():
    with pytest.raises(TypeError, match=r"layer 2 is .*Flatten.*AvgPool, Flatten or GlobalAvgPool.*parentheses"):
        Sequential(CONV, Relu(), Flatten, Dense(1))


FINITE = {
    "init": lambda arch: arch.init(64),
    "Network": lambda arch: ntkrs.Network(arch, []),
    "Network.from_standard": lambda arch: ntkrs.Network.from_standard(arch, []),
    "ensemble_ntk": lambda arch: ntkrs.ensemble_ntk(arch, np.eye(2)),
    "width_convergence": lambda arch: diagnostics.width_convergence(arch, np.eye(2), widths=(2, 4, 8)),
    "training at finite width": lambda arch: diagnostics.kernel_drift(arch, np.eye(2), np.eye(2), widths=(2, 4, 8)),
}


@pytest.mark.parametrize("name", FINITE)
def test_finite_networks_are_dense(name):
    with pytest.raises(ValueError, match=rf"layer 0 is Conv.*{name} needs a network of Dense layers.*arch\.kernel\(\)"):
        FINITE[name](ARCH)


def test_descriptions_are_values():
    again = Sequential(*ARCH.layers)
    assert again == ARCH
    assert len({again, ARCH, mlp(2, 512, 10)}) == 2
    assert pickle.loads(pickle.dumps(ARCH)) == ARCH
    assert eval(repr(ARCH), PUBLIC) == ARCH  # noqa: S307 the point of a repr
    with pytest.raises(AttributeError):
        ARCH.layers[0].window = (5, 5)
    with pytest.raises(AttributeError):
        ARCH.layers[2].window = (5, 5)


def test_reprs_show_what_is_not_the_default():
    assert repr(CONV) == "Conv(channels=8, window=(3, 3), sigma_w=1.0, sigma_b=0.0)"
    assert repr(ARCH.layers[3]) == (
        "Conv(channels=32, window=(3, 5), strides=(2, 2), padding='valid', sigma_w=1.0, sigma_b=0.0, trainable=False)"
    )
    assert [*map(repr, (AvgPool(2), AvgPool(3, (1, 2)), Flatten(), GlobalAvgPool()))] == [
        "AvgPool(window=(2, 2))",
        "AvgPool(window=(3, 3), strides=(1, 2))",
        "Flatten()",
        "GlobalAvgPool()",
    ]


def test_sizes_of_any_kind_are_the_same_value():
    assert Conv(np.int64(8), [3, np.int32(3)], strides=(1, 1), sigma_b=-0.0) == CONV
    assert Conv(8, 3, sigma_b=0.5, tau_b=0.5) == Conv(8, 3, sigma_b=0.5)
    assert AvgPool(2) == AvgPool((2, 2), 2) != AvgPool(2, 1)
    assert Flatten() == Flatten() != GlobalAvgPool()


def test_parts_are_found():
    assert ARCH.dense == (Dense(64, tau_b=1.0), Dense(10))
    assert ARCH.activations == (Relu(), Relu(), Erf())
    assert ARCH.outputs == 10


def test_with_width_sets_channels_and_units():
    wide = ARCH.with_width(7)
    assert [layer.channels for layer in wide.layers if isinstance(layer, Conv)] == [7, 7]
    assert [layer.width for layer in wide.dense] == [7, 10]
    assert wide.layers[3].strides == (2, 2)


def test_identity_stands_where_there_is_no_activation():
    Sequential(CONV, Identity(), CONV, Identity(), AvgPool(2), AvgPool(2), Flatten(), Dense(1), Identity(), Dense(1))


def test_circular_may_follow_valid_after_a_pool():
    Sequential(
        Conv(8, 3, padding="valid"), Relu(), AvgPool(2), Conv(8, 3, padding="circular"), Relu(), Flatten(), Dense(1)
    )
