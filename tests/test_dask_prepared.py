"""Chunks that a process keeps prepared for its tasks: once for all blocks, and no longer than the chunk exists."""

import gc
import pickle

import numpy as np
import pytest

import ntkrs

pytest.importorskip("dask.array", reason="the graphs need dask")

import dask.array as da

import ntkrs.dask
from ntkrs import Activation, Dense, Sequential, mlp
from ntkrs.dask import tasks

X = np.random.default_rng(0).standard_normal((24, 5))
KERNEL = mlp(2, 1, 1, "erf").kernel()
OPTIONS = {"get": "ntk", "where": "X"}


def tanh(x):
    """Count the points."""
    tanh.points += x.size
    return np.tanh(x)


tanh.points = 0


def slope(x):
    return 1 - np.tanh(x) ** 2


def points(call):
    before = tanh.points
    call()
    return tanh.points - before


def test_each_chunk_is_prepared_once():
    kernel = Sequential(Dense(1), Activation(tanh, slope, label="counted"), Dense(1)).kernel()
    x, z, w = X[:8].copy(), X[8:16].copy(), X[16:].copy()
    first = points(lambda: tasks.block(x, z, kernel=kernel, **OPTIONS))
    assert first > 0
    for copy in (kernel, pickle.loads(pickle.dumps(kernel))):  # as each task brings one
        assert points(lambda copy=copy: tasks.block(x, None, kernel=copy, **OPTIONS)) < first / 2
        assert points(lambda copy=copy: tasks.block(z, x, kernel=copy, **OPTIONS)) < first / 2
    assert points(lambda: tasks.block(x, w, kernel=kernel, **OPTIONS)) > 0
    assert np.array_equal(tasks.block(w, x, kernel=kernel, **OPTIONS), kernel(w, x))


def test_nothing_outlives_its_chunk():
    gc.collect()
    before = len(tasks._PREPARED)
    x = X[:8].copy()
    tasks.block(x, None, kernel=KERNEL, **OPTIONS)
    assert len(tasks._PREPARED) == before + 1
    del x
    gc.collect()
    assert len(tasks._PREPARED) == before
    rows = da.from_array(X, chunks=(6, -1))
    for scheduler in ("synchronous", "threads"):
        whole = ntkrs.dask.gram(KERNEL, rows).compute(scheduler=scheduler)
        assert np.array_equal(whole, KERNEL(X))
    del rows  # its graph holds the chunks
    gc.collect()
    assert len(tasks._PREPARED) == before


def test_a_chunk_that_was_written_to_is_prepared_again():
    x = X[:8].copy()
    tasks.block(x, None, kernel=KERNEL, **OPTIONS)
    x[:] = X[8:16]
    assert np.array_equal(tasks.block(x, None, kernel=KERNEL, **OPTIONS), KERNEL(X[8:16]))


def test_dtypes_and_errors_are_those_of_the_kernel():
    x, narrow = X[:8].copy(), X[8:].astype(np.float32)
    assert np.array_equal(tasks.block(x, narrow, kernel=KERNEL, **OPTIONS), KERNEL(x, narrow))
    assert tasks.block(narrow, None, kernel=KERNEL, **OPTIONS).dtype == np.float32
    steep = mlp(2, 1, 1, "exp").kernel()
    one, large = np.ones((1, 1)), np.array([[1.0], [40.0]])
    with pytest.raises(ValueError, match=r"in the block of X: .*row 1 of Z"):
        tasks.block(one, large, kernel=steep, **OPTIONS)
    with pytest.raises(ValueError, match=r"in the block of X: .*row 1 of X"):
        tasks.block(large, one, kernel=steep, **OPTIONS)
