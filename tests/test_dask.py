"""Graphs for Dask: the bits of the kernel, sums that depend on chunks alone, inputs in any chunks, errors."""

import re
import subprocess
import sys

import numpy as np
import pytest

import ntkrs
from ntkrs import Activation, mlp

pytest.importorskip("dask.array", reason="the graphs need dask")

import dask.array as da
from dask.base import tokenize

import ntkrs.dask

KERNEL = mlp(2, 1, 1, "relu", sigma_w=2**0.5, sigma_b=0.1).kernel()
EPS = np.finfo(np.float64).eps


def rows(count, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal((count, 6)).astype(dtype)


def chunked(x, lengths):
    return da.from_array(x, chunks=(lengths, -1))


CHUNKS = [(45,), (20, 25), (1, 30, 14), (15, 15, 15)]


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
@pytest.mark.parametrize("lengths", CHUNKS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_gram_has_the_bits_of_the_kernel(lengths, dtype, scheduler):
    x, z = rows(45, dtype=dtype), rows(17, 1, dtype)
    for get in ("ntk", "nngp"):
        whole = ntkrs.dask.gram(KERNEL, chunked(x, lengths), get=get)
        assert (whole.shape, whole.dtype, whole.chunks) == ((45, 45), dtype, (lengths, lengths))
        assert np.array_equal(whole.compute(scheduler=scheduler), KERNEL(x, get=get))
        other = ntkrs.dask.gram(KERNEL, chunked(x, lengths), chunked(z, (9, 8)), get)
        assert (other.shape, other.dtype, other.chunks) == ((45, 17), dtype, (lengths, (9, 8)))
        assert np.array_equal(other.compute(scheduler=scheduler), KERNEL(x, z, get=get))


@pytest.mark.parametrize("outputs", [None, "mean", "trace", "sum", 1])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_networks_have_the_bits_of_their_empirical_kernel(outputs, dtype):
    net, x, z = mlp(2, 8, 3, "erf").init(6, rng=0, dtype=dtype), rows(20), rows(9, 1)
    form, own, other = outputs or "mean", chunked(x, (8, 12)), chunked(z, (5, 4))
    whole = ntkrs.dask.gram(net, own, outputs=outputs)
    assert whole.dtype == dtype
    assert np.array_equal(whole.compute(scheduler="synchronous"), net.ntk(x, outputs=form))
    crossed = ntkrs.dask.gram(net, own, other, outputs=outputs).compute(scheduler="synchronous")
    assert np.array_equal(crossed, net.ntk(x, z, outputs=form))
    v = rows(20, 2)[:, :2]
    exact, eps = net.ntk(x, outputs=form).astype(np.float64) @ v, np.finfo(np.float64).eps
    found = ntkrs.dask.product(net, own, v, outputs=outputs).compute(scheduler="synchronous")
    # Sums of 20 products in float64.
    np.testing.assert_allclose(found, exact, rtol=0, atol=20 * eps * np.abs(exact).max() * 20)
    again = ntkrs.dask.predict(net, own, own, v, outputs=outputs).compute(scheduler="synchronous")
    np.testing.assert_allclose(again, exact, rtol=0, atol=20 * eps * np.abs(exact).max() * 20)


def test_networks_are_solved_with():
    net, x = mlp(1, 64, 2, "erf").init(6, rng=0), rows(30)
    s = ntkrs.dask.solve(net, chunked(x, (10, 20)), x[:, 0], 0.1, outputs=1, tolerance=1e-12)
    k = net.ntk(x, outputs=1)
    np.testing.assert_allclose(s.alpha, np.linalg.solve(k + 0.1 * k.diagonal().mean() * np.eye(30), x[:, 0]), rtol=1e-9)
    same, other = mlp(1, 64, 2, "erf").init(6, rng=0), mlp(1, 64, 2, "erf").init(6, rng=1)
    graphs = [ntkrs.dask.gram(one, chunked(x, (10, 20)), outputs=m) for one in (net, same, other) for m in (0, 1)]
    assert len({graph.name for graph in graphs}) == 4
    with pytest.raises(ValueError, match="outputs is 'full', but one"):
        ntkrs.dask.gram(net, chunked(x, (10, 20)), outputs="full")
    with pytest.raises(TypeError, match="outputs is 'mean', but that is for networks"):
        ntkrs.dask.gram(KERNEL, chunked(x, (10, 20)), outputs="mean")


def test_few_tasks_make_a_gram():
    x = chunked(rows(40), (4,) * 10)
    graph = ntkrs.dask.gram(KERNEL, x).__dask_graph__()
    assert len(graph) - len(x.__dask_graph__()) == 100  # one a block; those below the diagonal are transposes


def test_each_block_is_computed_once():
    """A user-supplied activation counts its calls."""
    calls = []

    def phi(h):
        calls.append(len(h))
        return np.abs(h)

    counted = mlp(1, 1, 1, Activation(phi, np.sign)).kernel()
    x, v = chunked(rows(40), (10,) * 4), np.ones((40, 2))
    for graph in (ntkrs.dask.gram(counted, x), ntkrs.dask.product(counted, x, v)):
        calls.clear()
        counted(rows(10), rows(10, 1))
        each = len(calls)
        calls.clear()
        graph.compute(scheduler="synchronous")
        assert len(calls) <= 10 * each  # 4 blocks on the diagonal, and 6 above it


@pytest.mark.parametrize("lengths", CHUNKS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("columns", [None, 1, 3])
def test_products_are_those_of_the_kernel(lengths, dtype, columns):
    x, z = rows(45, dtype=dtype), rows(17, 1, dtype)
    v = np.random.default_rng(2).standard_normal((45,) if columns is None else (45, columns))
    for get in ("ntk", "nngp"):
        own = ntkrs.dask.product(KERNEL, chunked(x, lengths), v, get=get)
        other = ntkrs.dask.product(KERNEL, chunked(z, (9, 8)), v, chunked(x, lengths), get)
        for found, k in ((own, KERNEL(x, get=get)), (other, KERNEL(z, x, get=get))):
            assert (found.shape, found.dtype) == ((len(k), *v.shape[1:]), np.float64)
            result = found.compute(scheduler="synchronous")
            assert (result.shape, result.dtype) == (found.shape, np.float64)
            # Sums of 45 terms in float64, of entries in the dtype of the inputs.
            atol = 45 * EPS * np.abs(k).max() * np.abs(v).max()
            np.testing.assert_allclose(result, k.astype(float) @ v, rtol=0, atol=atol)
        assert own.chunks[0] == lengths
        assert other.chunks[0] == (9, 8)


def test_bits_of_products_do_not_depend_on_threads_or_schedulers():
    x, v = chunked(rows(300), (80,) * 3 + (60,)), np.random.default_rng(1).standard_normal((300, 4))
    expected = ntkrs.dask.product(KERNEL, x, v).compute(scheduler="synchronous")
    for threads in (1, 2, 5):
        with ntkrs.threads(threads):
            found = ntkrs.dask.product(KERNEL, x, v)
            assert np.array_equal(found.compute(scheduler="threads", num_workers=threads), expected)


def test_predictions_are_products_with_the_weights():
    x, z, alpha = rows(30), rows(11, 1), np.random.default_rng(2).standard_normal((30, 2))
    found = ntkrs.dask.predict(KERNEL, chunked(z, (5, 6)), chunked(x, (10, 20)), alpha)
    assert (found.shape, found.chunks) == ((11, 2), ((5, 6), (2,)))
    expected = KERNEL(z, x) @ alpha
    np.testing.assert_allclose(found.compute(scheduler="synchronous"), expected, rtol=0, atol=1e-12)
    one = ntkrs.dask.predict(KERNEL, chunked(z, (5, 6)), chunked(x, (10, 20)), alpha[:, 0], "nngp")
    expected = KERNEL(z, x, get="nngp") @ alpha[:, 0]
    np.testing.assert_allclose(one.compute(scheduler="synchronous"), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("lengths", [(0,), (1,), (2, 0, 3)])
def test_empty_chunks_and_single_rows(lengths):
    x = rows(sum(lengths))
    blocks = (
        chunked(x, (sum(lengths),)).rechunk((lengths, -1))
        if 0 not in lengths
        else da.concatenate(
            [da.from_array(rows(sum(lengths))[start : start + n]) for start, n in zip([0, 2, 2], lengths, strict=False)]
        )
    )
    assert np.array_equal(ntkrs.dask.gram(KERNEL, blocks).compute(scheduler="synchronous"), KERNEL(x))
    v = np.ones((len(x), 2))
    product = ntkrs.dask.product(KERNEL, blocks, v).compute(scheduler="synchronous")
    np.testing.assert_allclose(product, KERNEL(x) @ v, rtol=1e-14)


def test_integers_count_as_float64_and_mixed_dtypes_as_the_wider():
    whole = da.from_array(np.arange(12).reshape(4, 3), chunks=(2, -1))
    single = da.from_array(np.ones((4, 3), np.float32), chunks=(2, -1))
    for x, z, dtype in [(whole, None, np.float64), (single, whole, np.float64), (single, None, np.float32)]:
        found = ntkrs.dask.gram(KERNEL, x, z)
        assert found.dtype == found.compute(scheduler="synchronous").dtype == dtype


def test_equal_calls_make_equal_graphs():
    x = chunked(rows(10), (5, 5))
    again = mlp(2, 1, 1, "relu", sigma_w=2**0.5, sigma_b=0.1).kernel()
    assert ntkrs.dask.gram(KERNEL, x).name == ntkrs.dask.gram(again, x).name
    names = {
        ntkrs.dask.gram(*arguments).name
        for arguments in [
            (KERNEL, x),
            (KERNEL, x, None, "nngp"),
            (KERNEL, x, x),
            (KERNEL, chunked(rows(10, 1), (5, 5))),
            (mlp(2, 1, 1, "erf").kernel(), x),
            (KERNEL.arch.kernel("standard"), x),
        ]
    }
    assert len(names) == 6
    v = np.ones(10)
    products = {ntkrs.dask.product(KERNEL, x, w).name for w in (v, v.copy(), 2 * v, v[:, None])}
    assert len(products) == 3


def test_tokens_of_networks_are_those_of_their_parameters():
    arch = mlp(1, 4, 1, "erf")
    tokens = [tokenize(net) for net in (arch.init(3), arch.init(3), arch.init(3, rng=1), arch.init(3, dtype="float32"))]
    assert tokens[0] == tokens[1]
    assert len(set(tokens)) == 3


def test_bad_arguments_are_named():
    x = chunked(rows(10), (5, 5))
    unknown = x[da.from_array(np.arange(10) % 2 == 0, chunks=5)]
    gram = ntkrs.dask.gram
    for arguments, kind, message in [
        (
            (KERNEL.arch, x),
            TypeError,
            r"kernel is .*Sequential.*a Kernel is needed, such as arch\.kernel\(\), or a Network",
        ),
        (
            (KERNEL, rows(4)),
            TypeError,
            r"X is an array of shape \(4, 6\).*dask\.array\.from_array\(X, chunks=\(2000, -1\)",
        ),
        ((KERNEL, x, rows(4)), TypeError, r"Z is an array .*from_array\(Z"),
        ((KERNEL, x[0]), ValueError, r"X has shape \(6,\), but a two-dimensional"),
        ((KERNEL, x.rechunk((5, 3))), ValueError, r"X has its columns in 2 chunks.*rechunk X to \(rows, -1\)"),
        ((KERNEL, unknown), ValueError, r"chunks of unknown lengths. Call X\.compute_chunk_sizes\(\)"),
        ((KERNEL, x[:, :0]), ValueError, "X has 0 features"),
        ((KERNEL, x, x[:, :3].rechunk((5, 3))), ValueError, r"Z has 3 features, but X has 6"),
        ((KERNEL, x.astype(complex)), TypeError, "X holds complex numbers"),
        ((KERNEL, x.astype(object)), TypeError, "X has dtype object"),
        (
            (mlp(1, 4, 1).init(6), x, None, "nngp"),
            ValueError,
            "get is 'nngp', but a network has its tangent kernel alone",
        ),
        ((KERNEL, x, None, "both"), ValueError, "get is 'both', but must be 'ntk' or 'nngp'"),
        ((KERNEL, x, None, ("ntk",)), ValueError, r"get is \('ntk',\)"),
    ]:
        with pytest.raises(kind, match=message):
            gram(*arguments)
    for v, message in [
        (np.ones(9), r"V has shape \(9,\), but \(10,\) or \(10, r\) is needed to match X"),
        (np.ones((10, 1, 1)), r"V has shape \(10, 1, 1\)"),
        (np.full(10, np.nan), r"V holds nan at \(0,\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            ntkrs.dask.product(KERNEL, x, v)
    with pytest.raises(ValueError, match="to match Z"):
        ntkrs.dask.product(KERNEL, x, np.ones(10), x[:4])
    with pytest.raises(ValueError, match=r"alpha has shape \(4,\).*to match X_train"):
        ntkrs.dask.predict(KERNEL, x[:4], x, np.ones(4))
    with pytest.raises(ValueError, match="X_test has 2 features, but X_train has 6"):
        ntkrs.dask.predict(KERNEL, x[:, :2].rechunk((5, 2)), x, np.ones(10))
    with pytest.raises(TypeError, match="X_test is an array"):
        ntkrs.dask.predict(KERNEL, rows(3), x, np.ones(10))


def test_entries_that_are_not_finite_are_named_with_their_rows():
    x = rows(10)
    x[7, 2] = np.nan
    own, other = chunked(x, (5, 5)), chunked(rows(5), (5,))
    for graph, where in [
        (ntkrs.dask.gram(KERNEL, own).blocks[1, 1], "rows 5:10 of X: X holds nan at (row 2, column 2)"),
        (
            ntkrs.dask.gram(KERNEL, own).blocks[0, 1],
            "rows 0:5 of X and rows 5:10 of X: Z holds nan at (row 2, column 2)",
        ),
        (ntkrs.dask.gram(KERNEL, other, own).blocks[0, 1], "rows 0:5 of X and rows 5:10 of Z: Z holds nan"),
        (ntkrs.dask.product(KERNEL, own, np.ones(10)), "rows 5:10 of X: "),
        (ntkrs.dask.product(KERNEL, other, np.ones(10), own), "rows 0:5 of X and rows 5:10 of Z: Z holds nan"),
    ]:
        with pytest.raises(ValueError, match=re.escape(where)):
            graph.compute(scheduler="synchronous")


def test_masked_chunks_are_refused():
    masked = da.from_array(np.ma.masked_greater(rows(4), 1.0), chunks=(2, -1))
    with pytest.raises(TypeError, match="X has masked entries"):
        ntkrs.dask.gram(KERNEL, masked).compute(scheduler="synchronous")


def test_large_graphs_are_warned_of(monkeypatch):
    monkeypatch.setattr("ntkrs.dask.graphs._MANY_TASKS", 90)
    x = da.zeros((10, 2), chunks=(1, -1))
    with pytest.warns(ntkrs.PerformanceWarning, match=r"gram makes a graph of 100 tasks.*ntkrs\.dask\.product"):
        ntkrs.dask.gram(KERNEL, x)
    x = da.zeros((12, 2), chunks=(1, -1))
    with pytest.warns(ntkrs.PerformanceWarning, match=r"product makes a graph of 102 tasks.*larger chunks"):
        ntkrs.dask.product(KERNEL, x, np.zeros(12))


def test_tasks_use_one_thread_each_and_leave_no_trace():
    seen = []

    def phi(h):
        seen.append(ntkrs.get_num_threads())
        return np.tanh(h)

    kernel = mlp(1, 1, 1, Activation(phi, lambda h: 1 / np.cosh(h) ** 2)).kernel()
    seen.clear()
    with ntkrs.threads(3):
        ntkrs.dask.gram(kernel, chunked(rows(40), (10,) * 4)).compute(scheduler="threads", num_workers=4)
        assert set(seen) == {1}
        assert ntkrs.get_num_threads() == 3


def test_without_dask_the_import_names_the_extra():
    code = (
        "import sys; sys.modules['dask'] = None\n"
        "import ntkrs; assert 'dask' not in dir(ntkrs)\n"
        "try: ntkrs.dask\n"
        "except ImportError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "pip install 'ntkrs[dask]'" in run.stdout
