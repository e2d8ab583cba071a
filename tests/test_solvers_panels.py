"""Cholesky factors panel by panel: those of LAPACK, in place, and stopped by Ctrl-C."""

import os
import signal
import threading
import time

import numpy as np
import pytest
from scipy.linalg import lapack

import ntkrs
from ntkrs.solvers import cholesky, in_place, packed, panels


@pytest.fixture(autouse=True)
def _small_panels(monkeypatch):
    """Several panels and chunks for small matrices too."""
    monkeypatch.setattr(panels, "_PANEL", 16)
    monkeypatch.setattr(panels, "_SOLVED", 16)
    monkeypatch.setattr(panels, "_DEPTH", 30)
    monkeypatch.setattr(panels, "_MOST", 16 * 16 * 70)


def kernel(n, dtype, smallest=1e-2):
    """A kernel with eigenvalues from ``smallest`` to 1, and marks above the diagonal."""
    q = np.linalg.qr(np.random.default_rng(n).standard_normal((n, n)))[0]
    return np.ascontiguousarray(((q * np.geomspace(smallest, 1, n)) @ q.T).astype(dtype))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 40, 161, 300])
def test_the_factor_and_its_solutions(n, dtype):
    k = kernel(n, dtype)
    k = np.tril(k) + np.triu(np.full((n, n), np.nan, dtype), 1)  # the upper triangle is not read
    found = k.copy()
    assert panels.factorize(found) == 0
    assert np.isnan(found[np.triu_indices(n, 1)]).all()  # nor written
    lower, whole = np.tril(found).astype(float), np.tril(k).astype(float)
    whole += np.tril(whole, -1).T
    # The backward error is n·ε times the norm, 1; the condition of 100 enters solutions.
    tolerance = 10 * max(n, 1) ** 0.5 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(lower @ lower.T, whole, rtol=0, atol=tolerance)
    right = np.random.default_rng(1).standard_normal((n, 3)).astype(dtype)
    half = right.copy()
    panels.solve_lower(found, half)
    np.testing.assert_allclose(lower @ half, right, rtol=0, atol=1e3 * tolerance)
    panels.solve_upper(found, half)
    np.testing.assert_allclose(whole @ half, right, rtol=0, atol=1e4 * tolerance)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [1, 2, 40, 161])
@pytest.mark.parametrize("smallest", [1e-3, 0.5])
def test_the_estimate_is_lapacks(n, smallest, dtype):
    found = kernel(n, dtype, smallest)
    assert panels.factorize(found) == 0
    name = "spocon" if dtype == np.float32 else "dpocon"
    expected = getattr(lapack, name)(found.T, 1.0, uplo="U")[0]
    exact = 1 / np.linalg.norm(np.linalg.inv(np.tril(found).astype(float) @ np.tril(found).astype(float).T), 1)
    estimate = panels.least_inverse(lambda right: cholesky._solved(found, right), n)
    assert estimate == pytest.approx(expected, rel=1e-2)
    assert exact * 0.99 < estimate < 3 * exact


def test_pivots_that_fail_are_counted_from_one():
    for at in (0, 15, 16, 100, 160):
        k = np.eye(161)
        k[at, at] = -1
        assert panels.factorize(k) == at + 1
    k = np.eye(161)
    k[120] = k[:, 120] = k[3]
    k[120, 120] = 1 + 1e-14  # less than N ε above 0
    assert panels.factorize(k) == 121


def test_large_factors_use_panels(monkeypatch):
    monkeypatch.setattr(cholesky, "WHOLE", 50)
    for dtype in (np.float64, np.float32):
        k, right = kernel(161, dtype), np.random.default_rng(0).standard_normal((161, 4))
        found, tolerance = cholesky.factor(k, 0.01), 1e4 * float(np.finfo(dtype).eps)
        exact = np.linalg.solve(k.astype(float) + 0.01 * np.eye(161), right)
        np.testing.assert_allclose(found.solve(right), exact, atol=tolerance)
        half = found.half_solve(right)
        np.testing.assert_allclose(half.T @ half, right.T @ exact, atol=30 * tolerance)
        # The condition is an estimate.
        assert found.condition == pytest.approx(np.linalg.cond(k.astype(float) + 0.01 * np.eye(161), 1), rel=0.5)
        overwritten = cholesky.factor(k.copy(), 0.01, overwrite=True)
        assert np.array_equal(overwritten.solve(right), found.solve(right))
    with pytest.raises(np.linalg.LinAlgError, match="pivot 121 of 161"):
        cholesky.factor(np.diag(np.where(np.arange(161) == 120, -1.0, 1.0)))
    with pytest.raises(np.linalg.LinAlgError, match="cannot be told from a singular matrix"):
        cholesky.factor(np.diag(np.where(np.arange(161) == 120, 1e-12, 1.0)))


class TestInPlace:
    """BLAS on parts of matrices: both orders, everything around the part untouched."""

    @staticmethod
    def part(rows, columns, dtype, order, seed):
        """A part of a larger array, and that array."""
        whole = np.asarray(np.random.default_rng(seed).standard_normal((rows + 5, columns + 7)), dtype, order=order)
        return whole[2 : 2 + rows, 3 : 3 + columns], whole

    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    @pytest.mark.parametrize("orders", ["CCC", "FFF", "CFF", "FCC", "CFC", "FCF"])
    @pytest.mark.parametrize("shape", [(1, 1, 1), (4, 3, 2), (2, 30, 17), (33, 1, 5), (1, 9, 4)])
    def test_products(self, shape, orders, dtype):
        m, n, k = shape
        (c, whole), (x, _), (y, _) = (
            self.part(*one, dtype, order, seed)
            for seed, (one, order) in enumerate(zip(((m, n), (m, k), (n, k)), orders, strict=True))
        )
        expected = whole.astype(np.float64)
        expected[2 : 2 + m, 3 : 3 + n] -= x.astype(np.float64) @ y.T
        in_place.subtract_product(c, x, y)
        # Sums of at most 18 products of numbers below 4.
        np.testing.assert_allclose(whole, expected, rtol=0, atol=18 * 16 * float(np.finfo(dtype).eps))

    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    @pytest.mark.parametrize("orders", ["CC", "FF", "CF", "FC"])
    @pytest.mark.parametrize("n", [1, 2, 31])
    def test_triangles(self, n, orders, dtype):
        (c, whole), (x, _) = (self.part(n, size, dtype, order, 1) for size, order in zip((n, 9), orders, strict=True))
        expected = whole.astype(np.float64)
        lower = np.tri(n, dtype=bool)
        expected[2 : 2 + n, 3 : 3 + n] -= np.where(lower, x.astype(np.float64) @ x.T, 0)
        in_place.subtract_square(c, x)
        np.testing.assert_allclose(whole, expected, rtol=0, atol=10 * 16 * float(np.finfo(dtype).eps))
        c[np.diag_indices(n)] = 4 * n
        before = whole.astype(np.float64)
        symmetric = np.where(lower, c, c.T).astype(np.float64)
        assert in_place.factorize(c) == 0
        factor = np.linalg.cholesky(symmetric)
        # Condition numbers are below 3.
        np.testing.assert_allclose(np.where(lower, c, 0), factor, rtol=0, atol=n**0.5 * 30 * float(np.finfo(dtype).eps))
        before[2 : 2 + n, 3 : 3 + n][lower] = whole[2 : 2 + n, 3 : 3 + n][lower]
        assert np.array_equal(whole, before)
        c[n - 1, n - 1] = -1
        assert in_place.factorize(c) == n

    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    @pytest.mark.parametrize("orders", ["CC", "FF", "CF", "FC"])
    @pytest.mark.parametrize("shape", [(1, 1), (5, 1), (1, 5), (40, 17)])
    @pytest.mark.parametrize("transposed", [True, False])
    @pytest.mark.parametrize("turned", [True, False])
    def test_divisions(self, turned, transposed, shape, orders, dtype):
        rows, n = shape
        (b, whole), (square, _) = (
            self.part(*one, dtype, order, seed)
            for seed, (one, order) in enumerate(zip((shape, (n, n)), orders, strict=True))
        )
        if turned:  # a single column is then one row, whose entries are neighbours in two ways
            b = b.T.copy(order="C").T
        square[np.diag_indices(n)] = 4 * n
        before, lower = whole.copy(), np.tril(square).astype(np.float64)
        expected = np.linalg.solve(lower if transposed else lower.T, b.T.astype(np.float64)).T
        in_place.divide(b, square, transposed=transposed)
        np.testing.assert_allclose(b, expected, rtol=0, atol=n * 10 * float(np.finfo(dtype).eps))
        if not turned:
            before[2 : 2 + rows, 3 : 3 + n] = b
        assert np.array_equal(whole, before)


class TestPacked:
    """Factors in the rectangular full packed format."""

    @staticmethod
    def factor(k, r=0.0):
        return packed.packed_factor(lambda start, stop: k[start:stop], k.diagonal(), k.dtype, r)

    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    @pytest.mark.parametrize("n", [1, 2, 3, 4, 31, 32, 33, 160, 161, 300])
    def test_entries_are_lapacks(self, n, dtype):
        k = kernel(n, dtype)
        k = (k + k.T) / 2
        entries = np.full(((n + 1) // 2, n + (n % 2 == 0)), np.nan, dtype)
        packed._pack(entries, lambda start, stop: k[start:stop], 0)
        name = "strttf" if dtype == np.float32 else "dtrttf"
        expected = getattr(lapack, name)(k, uplo="L")[0]
        assert np.array_equal(entries.ravel(), np.ravel(expected, order="F"))

    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    @pytest.mark.parametrize("exponent", [0, 100, -100])
    @pytest.mark.parametrize("n", [1, 2, 3, 4, 31, 32, 33, 160, 161, 300])
    def test_solutions(self, n, exponent, dtype):
        k = kernel(n, dtype)
        k = (k + k.T) / 2
        right = np.random.default_rng(0).standard_normal((n, 3))
        exact = np.linalg.solve(k.astype(float) + 0.01 * np.eye(n), right)
        found = self.factor(np.ldexp(k, exponent).astype(dtype), float(np.ldexp(0.01, exponent)))
        assert found.order == n
        np.testing.assert_allclose(found.solve(right, exponent), exact, atol=3e4 * float(np.finfo(dtype).eps))

    @pytest.mark.parametrize("n", [160, 161])
    def test_pivots_that_fail_and_kernels_that_may_be_singular(self, n):
        for at in (0, 79, 80, 81, 82, n - 1):
            k = np.eye(n)
            k[at, at] = -1
            with pytest.raises(np.linalg.LinAlgError, match=f"pivot {at + 1} of {n}"):
                self.factor(k)
            k[at, at] = 1e-12
            with pytest.raises(np.linalg.LinAlgError, match="cannot be told from a singular matrix"):
                self.factor(k)

    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_solve_takes_them_for_large_matrices(self, dtype, monkeypatch):
        monkeypatch.setattr("ntkrs.solvers.direct.WHOLE", 50)
        made = []
        original = packed.packed_factor
        monkeypatch.setattr("ntkrs.solvers.direct.packed_factor", lambda *a: made.append(original(*a)) or made[-1])
        k, right = kernel(161, dtype), np.random.default_rng(0).standard_normal((161, 4))
        k = (k + k.T) / 2
        exact = np.linalg.solve(k.astype(float) + 0.01 * np.eye(161), right)
        for options in ({}, {"overwrite_k": True}):
            found = ntkrs.solve(k.copy(), right, 0.01, diag_reg_absolute_scale=True, tolerance=1e-9, **options)
            assert found.method == "cholesky"
            np.testing.assert_allclose(found.alpha, exact, atol=1e-6)
        assert len(made) == 1  # in place there is no need for a copy
        indefinite = np.eye(161)
        indefinite[120, 3] = indefinite[3, 120] = 2.0
        with pytest.raises(np.linalg.LinAlgError, match=r"pivot 121 of 161. Raise diag_reg \(now 0\)"):
            ntkrs.solve(indefinite, right)


@pytest.mark.skipif(os.name == "nt", reason="signals of Windows end the process")
def test_ctrl_c_ends_a_factorization(monkeypatch):
    monkeypatch.undo()  # panels as users have them
    k = np.eye(6000, dtype=np.float32) + np.float32(1e-4)
    sent = []

    def send():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Timer(0.3, send).start()

    def factorize():
        for _ in range(50):
            panels.factorize(k.copy())

    with pytest.raises(KeyboardInterrupt):
        factorize()
    assert time.monotonic() - sent[0] < 5  # 0.1 s on a machine that does nothing else
