"""Linear systems with kernels that Dask computes: against dense solutions, the same bits on any scheduler."""

import dask
import numpy as np
import pytest

import ntkrs
from ntkrs import mlp

pytest.importorskip("dask.array", reason="the graphs need dask")

import dask.array as da

import ntkrs.dask

KERNEL = mlp(2, 1, 1, "relu", sigma_w=2**0.5, sigma_b=0.1).kernel()
N = 90


def problem(dtype=np.float64, targets=2):
    """Return rows, the same rows in chunks, and labels."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N, 6)).astype(dtype)
    return x, da.from_array(x, chunks=((40, 15, 35), -1)), rng.standard_normal((N, targets))


def dense(x, y, ridge, get="ntk"):
    k = KERNEL(x, get=get).astype(float)
    return np.linalg.solve(k + ridge * k.trace() / N * np.eye(N), y)


def assert_solved(alpha, expected, tolerance):
    """Check a solution of residual ``tolerance``: the condition is below 1e3 here."""
    assert np.linalg.norm(alpha - expected) <= 1e3 * tolerance * np.linalg.norm(expected)


@pytest.mark.parametrize("source", ["kernel", "gram"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("get", ["ntk", "nngp"])
def test_solutions_are_those_of_the_dense_kernel(get, dtype, source):
    x, rows, y = problem(dtype)
    for right in (y, y[:, 0]):
        with dask.config.set(scheduler="synchronous"):
            options = {"diag_reg": 1e-2, "tolerance": 1e-9, "rank": 20}
            if source == "kernel":
                s = ntkrs.dask.solve(KERNEL, rows, right, get=get, **options)
            else:
                s = ntkrs.dask.solve(ntkrs.dask.gram(KERNEL, rows, get=get).persist(), right, **options)
        assert (s.method, s.converged, s.alpha.shape, s.alpha.dtype) == ("pcg", True, right.shape, np.float64)
        assert s.residual <= 1e-9
        assert_solved(s.alpha, dense(x, right, 1e-2, get), 1e-9)


def test_several_ridges_are_solved_at_once():
    x, rows, y = problem()
    ridges = [1e-1, 1e-2]
    with dask.config.set(scheduler="synchronous"):
        path = ntkrs.dask.solve(KERNEL, rows, y, ridges, tolerance=1e-9, preconditioner="nystrom", rank=20)
    assert path.alpha.shape == (2, N, 2)
    for alpha, ridge in zip(path.alpha, ridges, strict=True):
        assert_solved(alpha, dense(x, y, ridge), 1e-9)


def test_predictions_follow():
    x, rows, y = problem()
    with dask.config.set(scheduler="synchronous"):
        s = ntkrs.dask.solve(KERNEL, rows, y, 1e-2, tolerance=1e-10)
        found = ntkrs.dask.predict(KERNEL, rows[:20], rows, s.alpha).compute()
    np.testing.assert_allclose(found, KERNEL(x[:20], x) @ dense(x, y, 1e-2), rtol=0, atol=1e-6)


def test_bits_do_not_depend_on_schedulers_or_threads():
    _, rows, y = problem()
    solutions = []
    for scheduler, threads in [("synchronous", 1), ("threads", 1), ("threads", 3)]:
        with dask.config.set(scheduler=scheduler), ntkrs.threads(threads):
            solutions.append(ntkrs.dask.solve(KERNEL, rows, y, 1e-3, rank=20).alpha)
    assert all(np.array_equal(solution, solutions[0]) for solution in solutions)


def test_an_interrupted_solution_continues_to_the_same_bits(tmp_path):
    _, rows, y = problem()
    file = tmp_path / "solution.npz"

    def stop(done, _most):
        if done == 4:
            raise LookupError

    with dask.config.set(scheduler="synchronous"):
        whole = ntkrs.dask.solve(KERNEL, rows, y, 1e-3, rank=10)
        options = {"checkpoint": file, "checkpoint_seconds": 0.0}
        with pytest.raises(LookupError):
            ntkrs.dask.solve(KERNEL, rows, y, 1e-3, rank=10, progress=stop, **options)
        heard = []
        again = ntkrs.dask.solve(KERNEL, rows, y, 1e-3, rank=10, progress=lambda done, _: heard.append(done), **options)
    assert whole.iterations > 6
    assert heard[0] >= 4
    assert np.array_equal(again.alpha, whole.alpha)


def test_columns_and_the_diagonal_are_those_of_the_kernel():
    from ntkrs.dask.solving import GramOperator, KernelOperator

    x, rows, _ = problem(np.float32)
    k = KERNEL(x)
    with dask.config.set(scheduler="synchronous"):
        for operator in (KernelOperator(KERNEL, rows, "ntk"), GramOperator(ntkrs.dask.gram(KERNEL, rows))):
            assert operator.shape == (N, N)
            assert operator.dtype == np.float32
            assert np.array_equal(operator.diagonal(), k.diagonal())
            assert np.array_equal(operator.columns([70, 3, 3, 41]), k[:, [70, 3, 3, 41]])
            v = np.random.default_rng(1).standard_normal((N, 2))
            np.testing.assert_allclose(operator @ v, k.astype(float) @ v, rtol=0, atol=1e-12)
            np.testing.assert_allclose(operator.T @ v[:, 0], k.astype(float) @ v[:, 0], rtol=0, atol=1e-12)


def test_no_rows_and_one_row_have_solutions():
    none = da.from_array(np.empty((0, 6)))
    with dask.config.set(scheduler="synchronous"):
        assert ntkrs.dask.solve(KERNEL, none, np.empty((0, 2))).alpha.shape == (0, 2)
        one = ntkrs.dask.solve(KERNEL, da.ones((1, 6), chunks=(1, -1)), [3.0])
    assert one.alpha == pytest.approx(3.0 / KERNEL(np.ones((1, 6)))[0])


def test_bad_arguments_are_named():
    x, rows, y = problem()
    bad = x.copy()
    bad[50, 1] = np.nan
    k = da.from_array(KERNEL(x), chunks=50)
    skew = KERNEL(x)
    skew[3, 60] += 1.0
    with dask.config.set(scheduler="synchronous"):
        for arguments, kind, message in [
            ((KERNEL, x, y), TypeError, r"X is an array of shape .*dask\.array\.from_array"),
            ((KERNEL.arch, rows, y), TypeError, "a Kernel is needed"),
            ((KERNEL, rows), TypeError, r"y is missing: pass solve\(kernel, X, y\)"),
            ((k, y, 1e-3), TypeError, r"pass solve\(K, y, diag_reg=\.\.\.\)"),
            ((KERNEL, rows, y[:5]), ValueError, r"y has shape \(5, 2\), but K has shape \(90, 90\)"),
            ((KERNEL, rows, y, -1.0), ValueError, "diag_reg is -1"),
            ((KERNEL, da.from_array(bad, chunks=(45, -1)), y), ValueError, "rows 45:90 of X: X holds nan"),
            ((k[:50], y), ValueError, r"K has shape \(50, 90\), but \(N, N\) is needed"),
            ((k.astype(int), y), TypeError, "K has dtype int64, but float32 or float64 is needed"),
            ((da.from_array(skew, chunks=50), y), ValueError, "differs from its transpose"),
            ((da.from_array(skew * np.nan, chunks=50), y), ValueError, "K holds NaN"),
        ]:
            with pytest.raises(kind, match=message):
                ntkrs.dask.solve(*arguments)
        with pytest.raises(ValueError, match="method is 'cholesky', but K is a KernelOperator"):
            ntkrs.dask.solve(KERNEL, rows, y, method="cholesky")
        with pytest.raises(TypeError, match="tol"):
            ntkrs.dask.solve(KERNEL, rows, y, tol=1e-3)
