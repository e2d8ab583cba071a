"""Kernels of finite networks in bands of samples, where activations and deltas do not fit: the same bits."""

import tracemalloc

import numpy as np
import pytest

from ntkrs import Activation, Dense, Erf, Relu, Sequential, mlp
from ntkrs.network import _ntk

ARCH = Sequential(Dense(40, 1.4, 0.3), Relu(), Dense(30, 1.1, trainable=False), Erf(), Dense(3, 0.9, 0.2))
#: (in_features + outputs + 5 · 70 hidden units) float64 numbers for each sample, with all outputs.
EACH = 8 * (5 + 3 + 5 * 70)
X = np.random.default_rng(0).standard_normal((500, 5))
Z = np.random.default_rng(1).standard_normal((250, 5))


def result_bytes(outputs, per_layer, z, dtype):
    entries = len(X) * len(X if z is None else z) * {"full": 9, "diagonal": 3}.get(outputs, 1)
    return np.dtype(dtype).itemsize * entries * (3 if per_layer else 1)


@pytest.fixture
def limit(limit_memory, monkeypatch):
    """Return a function that sets the available memory and records the batches passed to the core afterwards."""

    def to(count, net):
        limit_memory(count)
        given, core = [], net._state.core

        class Core:
            def ntk(self, arrays, *rest):
                given.append(tuple(len(array) for array in arrays[:2] if array is not None))
                core.ntk(arrays, *rest)

        monkeypatch.setattr(net._state, "core", Core())
        return given

    return to


@pytest.mark.parametrize("outputs", ["full", "trace", "mean", "diagonal", "sum", 1])
@pytest.mark.parametrize("per_layer", [False, True])
@pytest.mark.parametrize("z", [None, Z], ids=["one batch", "two"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bands_have_the_bits_of_the_whole(outputs, per_layer, z, dtype, limit, poisoned):
    net = ARCH.init(5, rng=1, dtype=dtype)
    expected = net.ntk(X, z, outputs=outputs, per_layer=per_layer)
    directions, size = 1 if outputs in ("sum", 1) else 3, np.dtype(dtype).itemsize
    each = size * (5 + 3 + (2 + directions) * 70)
    room = (X.nbytes + Z.nbytes) * size // 8 + 2 * 96 * each  # of which bands get three quarters
    given = limit(result_bytes(outputs, per_layer, z, dtype) + room, net)
    assert np.array_equal(net.ntk(X, z, outputs=outputs, per_layer=per_layer), expected)
    rows = given[0][0]
    assert rows % 96 == 0
    assert max(map(max, given)) == rows < len(X)
    bands = -(-len(X) // rows), -(-len(X if z is None else z) // rows)
    assert len(given) == (bands[0] * (bands[0] + 1) // 2 if z is None else bands[0] * bands[1])
    out = poisoned(expected.shape[::-1], dtype).T  # passed by the caller: only its own bytes count
    limit(room, net)
    assert net.ntk(X, z, outputs=outputs, per_layer=per_layer, out=out) is out
    assert np.array_equal(out, expected)


def test_what_fits_is_computed_at_once(limit):
    net = ARCH.init(5, rng=1)
    whole = result_bytes("full", False, None, np.float64) + len(X) * EACH
    given = limit(whole, net)
    net.ntk(X)
    assert given == [(500,)]
    given = limit(whole - 1, net)
    net.ntk(X)
    assert len(given) > 1
    given = limit(None, net)  # a system that does not report its memory
    net.ntk(X)
    assert given == [(500,)]


def test_what_does_not_fit_in_bands_is_refused(limit):
    net = ARCH.init(5, rng=1)
    given = limit(result_bytes("full", False, None, np.float64) + X.nbytes + 2 * 96 * EACH - 1, net)
    with pytest.raises(
        MemoryError, match=r"a kernel, with the activations and deltas of 192 of 500 samples at a time, n"
    ):
        net.ntk(X)
    assert not given


def test_bands_take_less_memory(limit_memory):
    """The core keeps the activations of one batch at a time (see above). Python copies the inputs and nothing else."""
    net = mlp(1, 64, 1).init(5)
    x = np.random.default_rng(0).standard_normal((2000, 5))
    expected = net.ntk(x, outputs=0)
    out = np.empty_like(expected)
    limit_memory(10**6)
    tracemalloc.start()
    try:
        net.ntk(x, outputs=0, out=out)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.array_equal(out, expected)
    assert peak < x.nbytes + 200_000


def test_functions_of_the_caller_in_bands(limit):
    net = mlp(2, 50, 2, Activation(np.tanh, lambda x: 1 / np.cosh(x) ** 2)).init(5)
    expected = net.ntk(X)
    given = limit(expected.nbytes + X.nbytes + 10**6, net)
    assert np.array_equal(net.ntk(X), expected)
    assert len(given) > 1


def test_progress_counts_all_blocks(limit_memory, monkeypatch):
    net, heard = ARCH.init(5, rng=1), []
    limit_memory(10**7 + X.nbytes)
    monkeypatch.setattr(_ntk, "_COPIED", 7)
    net.ntk(X, outputs="trace", progress=lambda done, total: heard.append((done, total)))
    assert heard == sorted(heard)
    assert heard[-1][0] == heard[-1][1]
    limit_memory(result_bytes("trace", False, None, np.float64) + 2 * 96 * EACH + X.nbytes)
    heard.clear()
    net.ntk(X, outputs="trace", progress=lambda done, total: heard.append((done, total)))
    assert len(heard) >= 21  # one for each pair of six bands
    assert heard == sorted(heard)
    assert heard[-1] == (21_000, 21_000)

    def stop(done, total):
        raise LookupError(f"at {done} of {total}")

    with pytest.raises(LookupError, match=r"at \d+ of 21000"):
        net.ntk(X, outputs="trace", progress=stop)


def test_inputs_are_those_at_entry(limit_memory):
    net, x = ARCH.init(5, rng=1), X.copy()
    expected = net.ntk(X, outputs="sum")
    limit_memory(result_bytes("sum", False, None, np.float64) + 2 * 96 * EACH)

    def overwrite(_done, _total):
        x[:] = 0.0

    assert np.array_equal(net.ntk(x, outputs="sum", progress=overwrite), expected)
    assert not x.any()


def test_bad_inputs_are_named_by_their_row(limit):
    net, bad = ARCH.init(5, rng=1), X.copy()
    bad[400, 2] = np.nan
    limit(result_bytes("full", False, None, np.float64) + 2 * 96 * EACH + 2 * X.nbytes, net)
    with pytest.raises(ValueError, match=r"X holds nan at \(400, 2\)"):
        net.ntk(bad)
    with pytest.raises(ValueError, match=r"Z holds nan at \(400, 2\)"):
        net.ntk(X, bad)
