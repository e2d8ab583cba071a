"""Cholesky factors of kernels: at any scale, in both precisions, and only where they can be trusted."""

import numpy as np
import pytest

from ntkrs.solvers.cholesky import factor
from ntkrs.solvers.round_off import cutoff


def kernel(n=30, smallest=1e-3, dtype=np.float64, seed=0):
    """A kernel with eigenvalues from ``smallest`` to 1."""
    q = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))[0]
    k = (q * np.geomspace(smallest, 1, n)) @ q.T
    return ((k + k.T) / 2).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("exponent", [0, -100, 99, "extreme"])
def test_solutions_are_those_of_numpy_at_any_scale(dtype, exponent):
    exponent = (498 if dtype == np.float64 else -140) if exponent == "extreme" else exponent
    k = kernel(smallest=1e-2, dtype=dtype)
    with np.errstate(under="ignore"):
        large = np.ldexp(k, exponent).astype(dtype)  # 2^-140 leaves float32 some digits only
    exact = np.ldexp(large.astype(np.float64), -exponent) + 0.5 * np.eye(30)
    columns = np.random.default_rng(1).standard_normal((30, 4))
    found = factor(large, np.ldexp(0.5, exponent))
    # Errors of solutions: condition 3, times a small multiple of √n.
    tolerance = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(found.solve(columns, exponent), np.linalg.solve(exact, columns), rtol=0, atol=tolerance)
    np.testing.assert_allclose(
        np.ldexp(found.solve(columns), exponent), np.linalg.solve(exact, columns), rtol=0, atol=tolerance
    )
    half = found.half_solve(np.ldexp(columns, exponent // 2)) * 2.0 ** (0.5 * (exponent % 2))
    np.testing.assert_allclose(half.T @ half, columns.T @ np.linalg.solve(exact, columns), rtol=0, atol=30 * tolerance)
    assert found.condition == pytest.approx(np.linalg.cond(exact, 1), rel=0.5)  # LAPACK's is an estimate


def test_the_kernel_is_kept_unless_it_is_to_be_overwritten():
    k = kernel()
    before = k.copy()
    found = factor(k, 0.1)
    assert np.array_equal(k, before)
    again = factor(k, 0.1, overwrite=True)
    assert np.array_equal(found.solve(np.eye(30)), again.solve(np.eye(30)))
    assert np.shares_memory(again.upper, k)
    assert np.array_equal(np.triu(k, 1), np.triu(before, 1) / 2.0**found.exponent)  # the other triangle is scaled alone


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("seed", range(20))
def test_singular_kernels_have_no_factor(dtype, seed):
    """LAPACK alone passes many of them."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((40, 60))
    rows[1] = rows[0]
    duplicates = (rows @ rows.T).astype(dtype)
    low = (rows[:, :5] @ rows[:, :5].T).astype(dtype)
    for k in (duplicates, low, np.ones((40, 40), dtype), np.zeros((40, 40), dtype), -np.eye(40, dtype=dtype)):
        with pytest.raises(np.linalg.LinAlgError, match=r"pivot \d+ of 40|cannot be told from a singular matrix"):
            factor(k)
    assert factor(duplicates, 1e-2 * np.trace(duplicates) / 40).condition < 1e5


def test_a_factor_counts_above_four_cutoffs():
    for n, eps, dtype in ((50, 2.0**-52, np.float64), (50, 2.0**-23, np.float32)):
        bound = cutoff(n - 1.0, n, eps)
        diagonal = np.ones(n)
        for share, counts in ((3.9, False), (4.1, True)):
            diagonal[-1] = share * bound
            if counts:
                assert factor(np.diag(diagonal).astype(dtype)).condition > 1e3
            else:
                with pytest.raises(np.linalg.LinAlgError, match="cannot be told"):
                    factor(np.diag(diagonal).astype(dtype))


def test_the_cutoff():
    assert cutoff(100.0, 100, 2.0**-52) == 32 * 2.0**-52 * 100
    assert cutoff(100.0, 100, 2.0**-23) == 32 * 2.0**-23 * 10  # √N times the mean of the diagonal
    assert cutoff(0.0, 0, 2.0**-23) == 0


def test_no_rows():
    found = factor(np.empty((0, 0)))
    assert found.solve(np.empty((0, 2))).shape == found.half_solve(np.empty((0, 2))).shape == (0, 2)
    assert found.condition == 1


def test_ridges_beyond_all_numbers_are_refused():
    with pytest.raises(np.linalg.LinAlgError):
        factor(np.eye(3), np.inf)
