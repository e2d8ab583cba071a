"""Columns that stay prepared while bands of rows are computed: the same bits, prepared once."""

import numpy as np
import pytest

import ntkrs
from ntkrs import Activation, Conv, Dense, Flatten, Relu, Sequential
from ntkrs.storage import blocks

X = np.random.default_rng(0).standard_normal((41, 3))


@pytest.fixture(params=[1, 4, 7, 41, 100])
def group(request, monkeypatch):
    """Prepare groups of few rows."""
    monkeypatch.setattr(blocks, "_ROWS", request.param)
    return request.param


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("order", [1, 2, 40, 41])
@pytest.mark.parametrize("band_bytes", [1, 2000, 2**28])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_are_those_of_the_kernel(packed, order, band_bytes, dtype, tmp_path):
    kernel, x = ntkrs.mlp(2, 1, 1, "erf").kernel("standard"), X[:order].astype(dtype)
    expected = kernel(x, get="nngp")
    in_memory = ntkrs.gram(kernel, x, get="nngp", packed=packed, band_bytes=band_bytes)
    in_file = ntkrs.gram(kernel, x, tmp_path / "K.npy", get="nngp", packed=packed, band_bytes=band_bytes)
    for found in (in_memory, in_file):
        assert np.array_equal(np.asarray(found), expected)


@pytest.mark.usefixtures("group")
def test_images_take_the_same_way():
    kernel = Sequential(Conv(1, (2, 2)), Relu(), Flatten(), Dense(1)).kernel()
    images = np.random.default_rng(1).standard_normal((13, 3, 3, 1))
    assert np.array_equal(np.asarray(ntkrs.gram(kernel, images, band_bytes=1)), kernel(images))


@pytest.mark.usefixtures("group")
def test_progress_never_falls():
    heard = []
    block = blocks.PreparedBlocks(ntkrs.mlp(2, 1, 1).kernel(), X)
    out = np.empty((5, 30))
    block.fill(slice(0, 5), slice(3, 33), out, lambda done, total: heard.append(done / total), get="ntk")
    assert heard == sorted(heard)
    assert heard[-1] == 1


def test_no_columns_are_an_empty_block():
    out = np.empty((5, 0))
    assert blocks.PreparedBlocks(ntkrs.mlp(2, 1, 1).kernel(), X).fill(slice(0, 5), slice(8, 8), out, get="ntk") is out


def test_columns_are_prepared_once(monkeypatch):
    points = []

    def tanh(x):
        points.append(len(x))
        return np.tanh(x)

    monkeypatch.setattr(blocks, "_ROWS", 10)
    kernel = Sequential(Dense(1), Activation(tanh, lambda x: 1 - np.tanh(x) ** 2), Dense(1)).kernel()
    whole = blocks.PreparedBlocks(kernel, X)
    out = np.empty((1, 40))
    counts = []
    for _ in range(3):
        points.clear()
        whole.fill(slice(0, 1), slice(0, 40), out, get="ntk")
        counts.append(sum(points))
    assert counts[1] == counts[2] < counts[0] / 3
