"""Preconditioners of low rank: the formula of their inverse, and the eigenvectors of the factor."""

import numpy as np
import pytest

from ntkrs import mlp
from ntkrs.solvers.preconditioners import LowRank, low_rank
from ntkrs.solvers.sources import Source

X = np.random.default_rng(0).standard_normal((120, 5))
K = mlp(2, 1, 1, "relu", 2**0.5, 0.1).kernel()(X)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_it_is_the_inverse_of_the_approximation(dtype):
    rng = np.random.default_rng(1)
    vectors = np.linalg.qr(rng.standard_normal((120, 7)))[0].astype(dtype)
    values = np.sort(rng.random(7)) + 0.1
    found = LowRank(vectors, values)
    residuals, ridges = rng.standard_normal((120, 3)), np.array([0.0, 1e-3, 2.0])
    applied = found.apply(residuals, ridges)
    u = vectors.astype(np.float64)
    for column, ridge in enumerate(ridges):
        p = (u * values) @ u.T + values[0] * (np.eye(120) - u @ u.T) + ridge * np.eye(120)
        # U is orthogonal up to round-off, which the condition of P enlarges.
        tolerance = 200 * float(np.finfo(dtype).eps)
        np.testing.assert_allclose(applied[:, column], np.linalg.solve(p, residuals[:, column]), atol=tolerance)


@pytest.mark.parametrize("method", ["rpcholesky", "nystrom"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_it_approximates_the_kernel(method, dtype):
    source = Source(K.astype(dtype))
    scaled = np.ldexp(K, -source.exponent)
    eps = float(np.finfo(dtype).eps)
    for rank in (1, 30, 120):
        found, products = low_rank(source, method, rank, np.random.default_rng(0), None)
        assert products == (method == "nystrom")
        assert found.rank <= rank
        assert (np.diff(found.values) >= 0).all()
        u = found.vectors.astype(np.float64)
        # U comes from FᵀF in float64, whose round-off small eigenvalues magnify, and is rounded.
        spread = float(found.values[-1] / found.values[0])
        np.testing.assert_allclose(u.T @ u, np.eye(found.rank), atol=100 * eps + 10 * 2.0**-52 * spread)
        error = scaled - (u * found.values) @ u.T
        assert np.linalg.eigvalsh(error).min() > -1e3 * eps * np.trace(scaled)  # F Fᵀ ≤ K
        best = np.linalg.eigvalsh(scaled)[: 120 - rank].sum()
        assert np.trace(error) <= 2.5 * best + 1e3 * eps * np.trace(scaled)
