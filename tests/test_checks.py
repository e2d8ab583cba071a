"""Values that users pass as arrays are converted as intended, or refused with a message that says what to do."""

from functools import partial
from itertools import permutations

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from scipy import sparse

from ntkrs import mlp
from ntkrs._checks import memory

KERNEL = mlp(2, 1, 1, "relu", 1.4, 0.1).kernel()
NET = mlp(2, 8, 2, "relu", 1.4, 0.1).init(3, rng=0)
X = np.random.default_rng(0).standard_normal((6, 3))

#: All calls that take a batch of inputs.
CALLS = {
    "kernel": KERNEL,
    "kernel Z": lambda z: KERNEL(X, z).T,
    "diag": KERNEL.diag,
    "net": NET,
    "jacobian": NET.jacobian,
    "ntk": NET.ntk,
}

MISALIGNED = np.frombuffer(b"\0" + X.tobytes(), dtype=np.uint8)[1:].view(np.float64).reshape(X.shape)


class Tensor:
    """Stands in for a tensor of another library."""

    def __array__(self, dtype=None, copy=None):
        return np.array(X, dtype, copy=copy)


#: The same numbers in other types, dtypes and layouts.
SAME = {
    "list": X.tolist(),
    "Fortran order": np.asfortranarray(X),
    "negative strides": X[::-1, ::-1].copy()[::-1, ::-1],
    "every other": np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3],
    "big-endian": X.astype(">f8"),
    "misaligned": MISALIGNED,
    "masked, but not": np.ma.MaskedArray(X),
    "matrix": X.view(np.matrix),  # np.asmatrix warns, unless scipy.sparse was imported just before
    "buffer": memoryview(X),
    "object with __array__": Tensor(),
}

REFUSED = {
    "1-D": (X[0], ValueError, r"has shape \(3,\), but a two-dimensional .*reshape\(1, -1\)"),
    "3-D": (X[None], ValueError, r"has shape \(1, 6, 3\), but a two-dimensional"),
    "number": (1.0, ValueError, r"has shape \(\), but a two-dimensional"),
    "NaN": (np.where(np.arange(18).reshape(6, 3) >= 10, np.nan, X), ValueError, r"holds nan at \(row 3, column 1\)"),
    "infinity": (np.where(np.arange(18).reshape(6, 3) == 17, -np.inf, X), ValueError, r"-inf at \(row 5, column 2\)"),
    "features": (X[:, :2], ValueError, r"has 2 features, but .* has 3 .*Did you pass . transposed"),
    "objects": (X.astype(object), TypeError, "dtype object.*astype\\(float\\)"),
    "text": (X.astype(str), TypeError, "holds text .dtype <U.*astype"),
    "complex": (X + 0j, TypeError, "dtype complex128"),
    "dates": (np.zeros((6, 3), "datetime64[D]"), TypeError, "dtype datetime64"),
    "long double": (X.astype(np.longdouble), TypeError, "at most 64 bits"),
    "structured": (np.zeros((6, 3), [("a", float)]), TypeError, "named fields.*structured_to_unstructured"),
    "ragged": ([[1.0, 2.0], [3.0]], ValueError, "cannot be read as a NumPy array"),
    "masked": (np.ma.MaskedArray(X, X > 0), TypeError, "masked entries.*filled"),
    "masked in a list": ([np.ma.MaskedArray(row, [0, 1, 0]) for row in X], TypeError, "masked entries.*filled"),
    "masked in lists": ([[1.0, np.ma.masked, 2.0]], TypeError, "masked entries.*filled"),
    "sparse": (sparse.csr_array(X), TypeError, "sparse csr_array.*toarray"),
    "None": (None, TypeError, "is None, but an array is needed"),
}


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("call", CALLS)
def test_the_same_numbers_give_the_same_bits(call, name):
    assert np.array_equal(CALLS[call](SAME[name]), CALLS[call](X))


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("call", CALLS)
def test_what_is_no_batch_is_refused(call, name):
    values, error, message = REFUSED[name]
    if call == "kernel Z" and values is None:
        return  # None is the default there
    if name == "features" and call in ("kernel", "diag"):
        return  # a kernel alone has no number of features
    with pytest.raises(error, match=message) as caught:
        CALLS[call](values)
    assert str(caught.value).startswith("Z " if call == "kernel Z" else "X ")


DTYPES = {
    "bool": (bool, np.float64),
    "int8": (np.int8, np.float64),
    "uint64": (np.uint64, np.float64),
    "float16": (np.float16, np.float32),
    "float32": (np.float32, np.float32),
    "float64": (np.float64, np.float64),
}


@pytest.mark.parametrize(("given", "result"), DTYPES.values(), ids=DTYPES)
def test_dtypes_of_results(given, result):
    values = np.abs(X).round().astype(given)
    assert KERNEL(values).dtype == KERNEL.diag(values).dtype == result
    assert np.array_equal(KERNEL(values), KERNEL(values.astype(result)))
    assert NET(values).dtype == np.float64  # a network's results have its own dtype


def test_short_numbers_of_another_package_become_float32():
    types = pytest.importorskip("ml_dtypes", reason="ml_dtypes is absent: NumPy has no short numbers but float16")
    for short in (types.bfloat16, types.float8_e4m3fn):
        given = X.astype(short)
        exact = np.array([[float(value) for value in row] for row in given], np.float32)
        assert KERNEL(given).dtype == np.float32
        assert np.array_equal(KERNEL(given), KERNEL(exact))
    with pytest.raises(ValueError, match=r"X holds nan at \(row 1, column 0\)"):
        KERNEL(np.array([[1.0], [np.nan]]).astype(types.bfloat16))


def test_two_dtypes_give_the_wider():
    single = X.astype(np.float32)
    assert KERNEL(single, X).dtype == KERNEL(X, single).dtype == np.float64
    assert np.array_equal(KERNEL(single, X), KERNEL(single.astype(np.float64), X))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_empty_batches(dtype):
    net = mlp(1, 4, 2).init(3, dtype=dtype)
    none, some = np.empty((0, 3), dtype), X.astype(dtype)
    results = [
        (KERNEL(none), (0, 0)), (KERNEL(none, some), (0, 6)), (KERNEL(some, none), (6, 0)), (KERNEL.diag(none), (0,)),
        (net(none), (0, 2)), (net.jacobian(none), (0, 2, net.parameters.size)), (net.ntk(none), (0, 0, 2, 2)),
        (net.ntk(some, none, outputs="trace"), (6, 0)),
        (net.ntk(none, outputs="diagonal", per_layer=True), (2, 0, 0, 2)),
    ]  # fmt: skip
    for result, shape in results:
        assert (result.shape, result.dtype) == (shape, dtype)


def test_no_features_are_refused():
    with pytest.raises(ValueError, match="X has 0 features, but a kernel is a mean over n_0 >= 1"):
        KERNEL(np.empty((4, 0)))


def test_one_sample_of_one_feature():
    assert KERNEL([[2.0]]).shape == (1, 1)


OUT_REFUSED = {
    "shape": (np.empty((6, 5)), ValueError, r"out has shape \(6, 5\), but the kernel has shape \(6, 6\)"),
    "dtype": (np.empty((6, 6), np.float32), ValueError, "out has dtype float32.*float64"),
    "byte order": (np.empty((6, 6), ">f8"), ValueError, "out has dtype >f8"),
    "list": ([[0.0] * 6] * 6, TypeError, "out is a list"),
    "read-only": (np.broadcast_to(0.0, (6, 6)), ValueError, "read-only"),
    "repeated rows": (as_strided(np.empty(6), (6, 6), (0, 8)), ValueError, "entries that share memory"),
    "sliding window": (as_strided(np.empty(50), (6, 6), (8, 8)), ValueError, "entries that share memory"),
    "overlapping rows": (as_strided(np.empty(50), (6, 6), (40, 8)), ValueError, "entries that share memory"),
    "overlapping backwards": (as_strided(np.empty(50)[30:], (6, 6), (-40, 8)), ValueError, "entries that share memory"),
}


@pytest.mark.parametrize(("out", "error", "message"), OUT_REFUSED.values(), ids=OUT_REFUSED)
def test_out_that_does_not_fit_is_refused(out, error, message):
    for call in (lambda: KERNEL(X, out=out), lambda: NET.ntk(X, outputs="trace", out=out)):
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize("shape", [(0, 0), (6, 0), (0, 6)])
def test_out_may_be_empty(shape):
    out = np.empty(shape)  # all its strides are 0
    x, z = (np.ones((count, 3)) for count in shape)
    assert KERNEL(x, z, out=out) is out
    blocks = np.empty((*shape, 1, 1))
    assert mlp(1, 4, 1).init(3, rng=0).ntk(x, z, out=blocks) is blocks


def test_out_that_overlaps_an_input_is_refused():
    memory = np.arange(36.0).reshape(6, 6)
    with pytest.raises(ValueError, match="out shares memory with an input"):
        KERNEL(memory[:, :3], out=memory)


def test_arrays_of_a_call_under_way_are_refused(poisoned):
    out, refused = poisoned((6, 6)), []

    def again(*_):
        for call in (lambda: KERNEL(X, out=out), lambda: NET.ntk(X, outputs="trace", out=out), lambda: KERNEL(out)):
            with pytest.raises(ValueError, match=r"in use by a call that has not ended.* Pass an array of its own"):
                call()
            refused.append(call)

    KERNEL(X, out=out, progress=again)
    assert len(refused) >= 3
    np.testing.assert_array_equal(out, KERNEL(X))


def test_results_need_arrays_of_their_own(poisoned):
    out = poisoned((6, 6))
    with pytest.raises(ValueError, match="each result needs its own"):
        KERNEL(X, get=("nngp", "ntk"), out=(out, out))
    with pytest.raises(TypeError, match="a tuple of 2 arrays"):
        KERNEL(X, get=("nngp", "ntk"), out=out)


def test_out_is_written_whatever_its_strides(poisoned):
    expected = KERNEL(X, X[:4])
    for out in (poisoned((6, 4)), poisoned((4, 6)).T, poisoned((12, 12))[::2, ::3], poisoned((6, 4))[::-1, ::-1]):
        assert KERNEL(X, X[:4], out=out) is out
        assert np.array_equal(out, expected)
    block = poisoned((2, 2, 6, 6)).transpose(2, 3, 0, 1)
    assert NET.ntk(X, out=block) is block
    assert np.array_equal(block, NET.ntk(X))


def test_axes_of_length_one_overlap_nothing(poisoned):
    for out in (poisoned(6)[None], as_strided(poisoned(6), (1, 6), (3, 8)), poisoned((6, 1)).T):
        assert KERNEL(X[:1], X, out=out) is out
        assert np.array_equal(out, KERNEL(X[:1], X))


@pytest.mark.parametrize("per_layer", [False, True])
@pytest.mark.parametrize("outputs", ["full", "trace", "diagonal", 1])
def test_out_may_have_its_axes_in_any_order(outputs, per_layer, poisoned):
    """The planes that the core fills are then interleaved in memory."""
    net = mlp(2, 8, 3, "relu", 1.4, 0.1).init(3, rng=0)
    expected = net.ntk(X, X[:4], outputs=outputs, per_layer=per_layer)
    for axes in permutations(range(expected.ndim)):
        out = poisoned([expected.shape[axis] for axis in axes]).transpose(np.argsort(axes))
        assert net.ntk(X, X[:4], outputs=outputs, per_layer=per_layer, out=out) is out
        assert np.array_equal(out, expected)


def test_results_may_lie_between_one_another(poisoned):
    buffer = poisoned((6, 2, 6))
    out = buffer[:, 0], buffer[:, 1]
    results = KERNEL(X, get=("nngp", "ntk"), out=out)
    assert results.nngp is out[0]
    assert results.ntk is out[1]
    for result, expected in zip(results, KERNEL(X, get=("nngp", "ntk")), strict=True):
        assert np.array_equal(result, expected)


def test_inputs_may_lie_between_results():
    for call in (KERNEL, partial(NET.ntk, outputs="trace")):
        buffer = np.zeros((6, 9))
        buffer[:, :3] = X
        call(buffer[:, :3], out=buffer[:, 3:])
        assert np.array_equal(buffer, np.hstack([X, call(X)]))
        buffer = np.zeros((6, 9))
        buffer[:, :3] = X
        call(X, buffer[:, :3], out=buffer[:, 3:])
        assert np.array_equal(buffer, np.hstack([X, call(X, X)]))


def test_interleaved_results_that_cannot_be_filled_beside_are_refused(limit_memory, poisoned):
    limit_memory(100)
    buffer = poisoned((6, 2, 6))
    with pytest.raises(MemoryError, match="interleaved parts, filled beside it, needs 576 bytes"):
        KERNEL(X, get=("nngp", "ntk"), out=(buffer[:, 0], buffer[:, 1]))


def test_diagonals_beyond_float32_are_infinite_as_in_the_kernel():
    x = np.array([[1e30, 1.0, 1.0], [1.0, 2.0, 3.0]], np.float32)
    assert np.array_equal(KERNEL.diag(x), np.diag(KERNEL(x)))
    assert KERNEL.diag(x)[0] == np.inf


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_results_begin_with_a_cache_line(dtype):
    x = np.random.default_rng(0).standard_normal((3001, 2)).astype(dtype)
    result = mlp(0, 1, 1).kernel()(x)
    assert result.ctypes.data % 64 == 0
    assert result.flags.c_contiguous
    assert result.flags.writeable
    assert result.shape == (3001, 3001)
    assert result.dtype == dtype
    assert np.array_equal(result, mlp(0, 1, 1).kernel()(x, out=np.empty_like(result)))


def test_what_cannot_fit_is_refused_before_any_work():
    x = np.broadcast_to(np.ones((1, 3)), (10**7, 3))
    with pytest.raises(MemoryError, match=r"needs 800000000000000 bytes .*available.*blocks of rows"):
        KERNEL(x)


CGROUPS = {"version 2": "inactive_file", "version 1": "total_inactive_file"}


@pytest.mark.parametrize(("version", "line"), list(enumerate(CGROUPS.values())), ids=CGROUPS)
def test_the_page_cache_of_a_control_group_is_available(version, line, tmp_path, monkeypatch):
    group = memory._CGROUPS[version]
    assert group.droppable == line
    for name, text in {"limit": "1000\n", "usage": "900\n", "stat": f"active_file 5\n{line} 300\nanon 7\n"}.items():
        (tmp_path / name).write_text(text, encoding="ascii")
    files = [str(tmp_path / name) for name in ("limit", "usage", "stat")]
    monkeypatch.setattr(memory, "_CGROUPS", (memory._Cgroup(*files, line),))
    assert memory.available() == 400
    (tmp_path / "limit").write_text("max\n", encoding="ascii")
    assert memory._cgroup() is None


def test_available_memory_is_a_number_of_bytes_or_unknown():
    amount = memory.available()
    assert amount is None or amount > 0
