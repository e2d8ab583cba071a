"""Randomly pivoted Cholesky: the factor that its pivots define, and pivots of the right distribution."""

import itertools

import numpy as np
import pytest

from ntkrs import mlp
from ntkrs.solvers.rpcholesky import rpcholesky

EPS = np.finfo(np.float64).eps


class Matrix:
    """A matrix, read by columns and by its diagonal alone."""

    def __init__(self, values):
        self.values = values
        self.shape, self.dtype = values.shape, values.dtype
        self.read = 0

    def columns(self, indices):
        self.read += len(indices)
        return self.values[:, indices]

    def diagonal(self):
        return self.values.diagonal()


def kernel(n=300, features=5, dtype=np.float64, seed=0):
    x = np.random.default_rng(seed).standard_normal((n, features))
    return mlp(2, 1, 1, "relu", 2**0.5, 0.1).kernel()(x).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("rank", [1, 20, 33, 150])
def test_the_factor_is_the_one_of_its_pivots(rank, dtype):
    k = kernel(dtype=dtype)
    found = rpcholesky(Matrix(k), rank, np.random.default_rng(1))
    factor, pivots = found.factor, found.pivots
    assert factor.shape == (300, rank)
    assert factor.dtype == dtype
    assert len(set(pivots.tolist())) == rank
    exact = k.astype(np.float64)
    # Round-off of F, times the condition of the block of the pivots.
    tolerance = 20 * rank * float(np.finfo(dtype).eps) * np.linalg.cond(exact[np.ix_(pivots, pivots)]) ** 0.5
    nystrom = exact[:, pivots] @ np.linalg.solve(exact[np.ix_(pivots, pivots)], exact[pivots])
    np.testing.assert_allclose(factor.astype(float) @ factor.T, nystrom, rtol=0, atol=tolerance * k.max())
    np.testing.assert_allclose(found.residual, (exact - nystrom).diagonal(), rtol=0, atol=tolerance * k.max())
    assert (found.residual >= 0).all()
    assert (found.residual[pivots] == 0).all()
    np.testing.assert_allclose(np.triu(factor[pivots], 1), 0, atol=tolerance * k.max())
    assert np.linalg.eigvalsh(exact - factor.astype(float) @ factor.T).min() > -tolerance * k.max()


def test_pivots_follow_the_law_of_the_sequential_algorithm():
    """Pairs of pivots of a matrix of order 4: exact probabilities, and frequencies within 4.5 standard deviations."""
    q = np.random.default_rng(3).standard_normal((4, 4))
    k = q @ q.T + np.diag([0.1, 1.0, 3.0, 0.01])
    draws = 3000
    counts = dict.fromkeys(itertools.permutations(range(4), 2), 0)
    rng = np.random.default_rng(0)
    for _ in range(draws):
        counts[tuple(rpcholesky(Matrix(k), 2, rng).pivots.tolist())] += 1
    for (i, j), count in counts.items():
        first = k[i, i] / np.trace(k)
        left = k - np.outer(k[i], k[i]) / k[i, i]
        p = first * left[j, j] / np.trace(left)
        assert abs(count - draws * p) < 4.5 * (draws * p * (1 - p)) ** 0.5, (i, j)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_it_ends_early_where_nothing_is_left(dtype):
    rows = np.random.default_rng(0).standard_normal((400, 7))
    found = rpcholesky(Matrix((rows @ rows.T).astype(dtype)), 100, np.random.default_rng(0))
    assert found.factor.shape == (400, len(found.pivots))
    assert 7 <= len(found.pivots) <= 9  # round-off may leave some of the diagonal
    np.testing.assert_allclose(found.factor @ found.factor.T, rows @ rows.T, atol=100 * float(np.finfo(dtype).eps) * 40)
    assert rpcholesky(Matrix(np.zeros((5, 5), dtype)), 3, np.random.default_rng(0)).factor.shape == (5, 0)
    assert rpcholesky(Matrix(np.zeros((0, 0), dtype)), 0, np.random.default_rng(0)).factor.shape == (0, 0)


def test_equal_rows_are_chosen_once():
    k = np.kron(kernel(20), np.ones((5, 5)))
    found = rpcholesky(Matrix(k), 60, np.random.default_rng(0))
    assert sorted(set((found.pivots // 5).tolist())) == list(range(20))
    assert len(found.pivots) <= 21
    np.testing.assert_allclose(found.factor @ found.factor.T, k, atol=1e-9 * k.max())


def test_matrices_that_are_not_semidefinite_do_not_hold_it_up():
    indefinite = np.diag([1.0, -1.0, 2.0, -5.0]) + 0.1
    found = rpcholesky(Matrix(indefinite), 4, np.random.default_rng(0))
    assert np.isfinite(found.factor).all()
    assert set(found.pivots.tolist()) <= {0, 2}


def test_few_rounds_and_few_columns():
    k, done = Matrix(kernel(2000, 40)), []
    rank = 400
    found = rpcholesky(k, rank, np.random.default_rng(0), lambda *counts: done.append(counts))
    assert len(found.pivots) == rank
    assert done == sorted(done)
    assert done[-1] == (rank, rank)
    assert len(done) <= 13
    assert k.read <= 1.6 * rank


def test_the_same_generator_gives_the_same_pivots():
    operator = mlp(1, 1, 1).kernel().operator(np.random.default_rng(0).standard_normal((100, 4)))
    one, other = (rpcholesky(operator, 30, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one.factor, other.factor)
    assert np.array_equal(one.pivots, other.pivots)
