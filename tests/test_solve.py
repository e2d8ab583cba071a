"""ntkrs.solve: against dense solutions, for every source, method and ridge, and what it says about its accuracy."""

import os
import signal
import threading
import time
import warnings

import numpy as np
import pytest
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import ntkrs
from ntkrs.solvers.cholesky import Factor

N = 160
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, 5))
Y = np.stack([np.sin(X[:, 0]), X[:, 1] ** 2, RNG.standard_normal(N)], axis=1)
KERNEL = ntkrs.mlp(3, 1, 1, "relu", 2**0.5, 0.1).kernel()
K = KERNEL(X)
MEAN = np.diag(K).mean()
NET = ntkrs.mlp(1, 400, 1, "relu", 2**0.5).init(5, rng=0)


class Stored(LinearOperator):
    """A matrix that is stored somewhere, as ntkrs.gram returns it."""

    def __init__(self, values):
        super().__init__(values.dtype, values.shape)
        self._values, self.nbytes = values, values.nbytes

    def rows(self, start, stop):
        return self._values[start:stop]

    def columns(self, indices):
        return self._values[:, indices]

    def diagonal(self):
        return self._values.diagonal()

    def product(self, vectors):
        return self._values.astype(np.float64) @ vectors

    def _matmat(self, vectors):
        return self.product(vectors).astype(self.dtype)

    def __array__(self, dtype=None, copy=None):
        return self._values.astype(dtype or self.dtype, copy=bool(copy))


SOURCES = {
    "float64": lambda: K,
    "Fortran order": lambda: np.asfortranarray(K),
    "strides": lambda: np.repeat(np.repeat(K, 2, 0), 3, 1)[::2, ::3],
    "list": K.tolist,
    "float32": lambda: K.astype(np.float32),
    "stored": lambda: Stored(K),
    "float32 stored": lambda: Stored(K.astype(np.float32)),
    "operator": lambda: KERNEL.operator(X),
    "float32 operator": lambda: KERNEL.operator(X.astype(np.float32)),
    "plain operator": lambda: aslinearoperator(K),
    "network": lambda: NET.operator(X),
}
OPERATORS = {"operator", "float32 operator", "plain operator", "network"}


def matrix(name):
    """The matrix of a source, in float64."""
    if name == "network":
        return NET.ntk(X, outputs="trace").astype(np.float64)
    if name == "float32 operator":
        return KERNEL(X.astype(np.float32)).astype(np.float64)
    return (K.astype(np.float32) if name in {"float32", "float32 stored"} else K).astype(np.float64)


def from_function(product, n, dtype):
    """An operator of products with matrices, and with vectors in one column."""
    return LinearOperator((n, n), matvec=product, matmat=product, dtype=dtype)


def dense(k, y, r):
    """The solution of SciPy."""
    return linalg.solve(k + r * np.eye(len(k)), y, assume_a="pos")


def energy(k, r, a):
    """‖a‖ in the norm of K + rI, by column."""
    return np.sqrt(np.einsum("ij,ij->j", a, k @ a + r * a))


@pytest.mark.parametrize("ridge", [1e-3, 0.3])
@pytest.mark.parametrize("method", ["auto", "cholesky", "pcg", "pcg nystrom", "pcg None"])
@pytest.mark.parametrize("name", SOURCES)
def test_it_is_the_dense_solution(name, method, ridge):
    if method == "cholesky" and name in OPERATORS:
        with pytest.raises(ValueError, match=r"method is 'cholesky', but K is a \w+.*ntkrs.gram"):
            ntkrs.solve(SOURCES[name](), Y, ridge, method="cholesky", diag_reg_absolute_scale=True)
        return
    method, _, preconditioner = method.partition(" ")
    preconditioner = {"": "rpcholesky", "nystrom": "nystrom", "None": None}[preconditioner]
    k = matrix(name)
    r = ridge * np.diag(k).mean()
    tolerance = 1e-5 if name == "float32 operator" else 1e-9  # its products see more digits than its matrix
    found = ntkrs.solve(
        SOURCES[name](),
        Y,
        r,
        diag_reg_absolute_scale=True,
        method=method,
        preconditioner=preconditioner,
        tolerance=1e-9,
        rank=40,
    )
    exact = dense(k, Y, r)
    assert found.converged is True
    assert found.alpha.shape == Y.shape
    assert found.alpha.dtype == np.float64
    assert found.residual <= 1e-9
    # The error in the norm of A is the residual in that of A^-1: its Euclidean norm times the root of the condition.
    difference = energy(k, r, found.alpha - exact) / energy(k, r, exact)
    assert difference.max() < 30 * tolerance * np.linalg.cond(k + r * np.eye(N)) ** 0.5
    residual = np.linalg.norm(Y - k @ found.alpha - r * found.alpha, axis=0) / np.linalg.norm(Y, axis=0)
    assert residual.max() < 30 * tolerance
    expected = "cholesky" if method == "cholesky" or (method == "auto" and name not in OPERATORS) else "pcg"
    assert found.method == expected
    if name != "plain operator":
        relative = ntkrs.solve(SOURCES[name](), Y, ridge, method=method, tolerance=1e-9, rank=40)
        np.testing.assert_allclose(relative.alpha, found.alpha, atol=1e-6 * np.abs(exact).max())


@pytest.mark.parametrize("name", ["float64", "float32", "stored", "operator"])
@pytest.mark.parametrize("method", ["auto", "pcg"])
def test_a_path_is_its_single_ridges(name, method):
    ridges = np.array([0.1, 0.0, 1e-3, 1e-3])
    source = SOURCES[name]()
    path = ntkrs.solve(source, Y, ridges, method=method, tolerance=1e-10, rank=40)
    assert path.alpha.shape == (4, N, 3)
    assert path.residual.shape == path.error.shape == path.converged.shape == (4,)
    assert path.converged.dtype == bool
    assert path.converged.all()
    singles = [ntkrs.solve(source, Y, r, method=method, tolerance=1e-10, rank=40) for r in ridges]
    for i, single in enumerate(singles):
        np.testing.assert_allclose(path.alpha[i], single.alpha, atol=1e-6 * np.abs(single.alpha).max())
        assert path.residual[i] <= 1e-10
    if path.method == "pcg":  # a path costs as much as its smallest ridge
        assert path.iterations <= max(single.iterations for single in singles) + 1
        assert path.products <= max(single.products for single in singles) + 1
    vector = ntkrs.solve(source, Y[:, 0], ridges, method=method, tolerance=1e-10, rank=40)
    assert vector.alpha.shape == (4, N)
    np.testing.assert_allclose(vector.alpha, path.alpha[:, :, 0], atol=1e-6 * np.abs(path.alpha).max())


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-6, 1e-10])
@pytest.mark.parametrize("rank", [0, 10, 60, N])
def test_the_error_is_told(rank, tolerance):
    """Estimates are 0.5 to 50 times the true error; without a preconditioner they vary more."""
    r = 1e-2 * MEAN
    exact = dense(K, Y, r)
    for column in range(3):
        y = Y[:, [column]]
        preconditioner = "rpcholesky" if rank else None
        found = ntkrs.solve(
            K, y, 1e-2, method="pcg", tolerance=tolerance, preconditioner=preconditioner, rank=rank or None
        )
        true = float((energy(K, r, found.alpha - exact[:, [column]]) / energy(K, r, exact[:, [column]]))[0])
        assert found.residual <= tolerance
        assert true < 1e-13 or (0.5 if rank else 0.2) * true < found.error < 50 * true
        # Predictions are off by at most error · ‖α*‖_A · √Θ(x, x).
        difference = np.abs(K @ (found.alpha - exact[:, [column]]))[:, 0]
        norm = energy(K, r, exact[:, [column]])[0]
        assert (difference <= 1.01 * true * norm * np.sqrt(np.diag(K)) + 1e-13).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_error_of_cholesky(dtype):
    found = ntkrs.solve(K.astype(dtype), Y, 1e-3)
    r = 1e-3 * np.diag(K.astype(dtype)).astype(float).mean()
    exact = dense(K.astype(dtype).astype(np.float64), Y, r)
    true = (energy(K, r, found.alpha - exact) / energy(K, r, exact)).max()
    assert true < 3e-6  # a float32 factor has four digits, and is refined until the residual is 1e-6
    assert found.error < 1e-5
    assert true < 2 * found.error + 1e-13
    assert found.rank == N


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_solutions_of_factors_are_refined(dtype, monkeypatch):
    """With a factor that is off by 1e-4, one step of refinement leaves 1e-8, and iterations leave the tolerance."""
    solve = Factor.solve
    monkeypatch.setattr(Factor, "solve", lambda *arguments: solve(*arguments) * (1 + 1e-4))
    found = ntkrs.solve(K.astype(dtype), Y, 1e-3)
    assert found.method == "cholesky"
    assert found.residual < 2e-8 or (dtype == np.float32 and found.residual < 1e-6)
    assert found.error > 1e-5 or dtype == np.float32  # the size of the refinement


@pytest.mark.parametrize("name", ["float64", "float32", "operator", "plain operator"])
@pytest.mark.parametrize("method", ["auto", "pcg"])
def test_targets_that_are_zero(name, method):
    found = ntkrs.solve(SOURCES[name](), np.zeros(N), method=method)
    assert np.array_equal(found.alpha, np.zeros(N))
    assert (found.residual, found.error, found.converged) == (0.0, 0.0, True)
    mixed = ntkrs.solve(SOURCES[name](), np.stack([Y[:, 0], np.zeros(N)], axis=1), method=method)
    assert np.array_equal(mixed.alpha[:, 1], np.zeros(N))
    assert mixed.converged


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("method", ["auto", "pcg"])
def test_no_rows_and_one_row(method, dtype):
    x = np.ones((1, 3), dtype)
    for k in (KERNEL(x), KERNEL.operator(x), aslinearoperator(KERNEL(x))):
        found = ntkrs.solve(k, [3.0], method=method)
        np.testing.assert_allclose(found.alpha, 3.0 / KERNEL(x)[0], rtol=1e-6)
        assert found.converged
    for k in (np.empty((0, 0), dtype), KERNEL.operator(np.empty((0, 3), dtype))):
        for y, shape in ((np.empty(0), (0,)), (np.empty((0, 2)), (0, 2))):
            found = ntkrs.solve(k, y, method=method)
            assert found.alpha.shape == shape
            assert found.converged is True
            assert ntkrs.solve(k, y, [0.0, 1.0], method=method).alpha.shape == (2, *shape)


@pytest.mark.parametrize("method", ["auto", "pcg"])
@pytest.mark.parametrize(("of_k", "of_y"), [(300, 0), (-300, 0), (900, 800), (-900, 100), (0, -1000)])
def test_any_scale(method, of_k, of_y):
    expected = ntkrs.solve(K, Y, 1e-3, method=method).alpha
    scaled = ntkrs.solve(np.ldexp(K, of_k), np.ldexp(Y, of_y), 1e-3, method=method).alpha
    with np.errstate(under="ignore"):
        np.testing.assert_allclose(scaled, np.ldexp(expected, of_y - of_k), rtol=1e-9)


def test_a_kernel_may_be_overwritten():
    for dtype, order in ((np.float64, "C"), (np.float64, "F"), (np.float32, "C")):
        k = np.array(K, dtype, order=order)
        expected = ntkrs.solve(k.copy(), Y, 1e-3, tolerance=1e-9)
        found = ntkrs.solve(k, Y, 1e-3, overwrite_k=True, tolerance=1e-9)
        assert not np.array_equal(k, K.astype(dtype))
        np.testing.assert_allclose(found.alpha, expected.alpha, atol=1e-9 * np.abs(expected.alpha).max())
        assert found.converged
    kept = K.copy()
    ntkrs.solve(kept, Y, [1e-3, 1e-2], overwrite_k=True)  # the second ridge needs K again
    assert np.array_equal(kept, K)
    ntkrs.solve(kept, Y, 1e-3)
    ntkrs.solve(kept, Y, 1e-3, method="pcg")
    assert np.array_equal(kept, K)
    kept.flags.writeable = False  # as of numpy.load(path, mmap_mode="r")
    assert np.array_equal(ntkrs.solve(kept, Y, 1e-3, overwrite_k=True).alpha, ntkrs.solve(kept, Y, 1e-3).alpha)
    assert np.array_equal(kept, K)


@pytest.mark.parametrize("levels", [[1e-3, 1e-2], 1e-3])
def test_memory_of_a_factor_that_cannot_overwrite(levels, monkeypatch):
    """Several ridges, and a kernel that is not writeable, need memory for a copy, which is looked for first."""
    monkeypatch.setattr("ntkrs._checks.memory._SMALL", 0)
    monkeypatch.setattr("ntkrs._checks.memory.available", lambda: 1000)
    kept = K.copy()
    kept.flags.writeable = isinstance(levels, list)
    with pytest.raises(MemoryError, match="the Cholesky factor of K"):
        ntkrs.solve(kept, Y, levels, method="cholesky", overwrite_k=True)


def test_a_stored_matrix_is_kept():
    kept = Stored(K.copy())
    for options in ({}, {"overwrite_k": True}, {"method": "pcg"}):
        ntkrs.solve(kept, Y, 1e-3, **options)
        assert np.array_equal(kept._values, K)


def test_a_preconditioner_of_the_users():
    inverse = aslinearoperator(np.linalg.inv(K + 0.011 * MEAN * np.eye(N)))
    found = ntkrs.solve(K, Y, 1e-2, method="pcg", preconditioner=inverse)
    plain = ntkrs.solve(K, Y, 1e-2, method="pcg", preconditioner=None)
    assert found.iterations < 10 < plain.iterations
    assert found.rank == plain.rank == 0
    np.testing.assert_allclose(found.alpha, plain.alpha, atol=1e-4 * np.abs(plain.alpha).max())
    with pytest.raises(ValueError, match="preconditioner is not positive definite"):
        ntkrs.solve(K, Y, 1e-2, method="pcg", preconditioner=aslinearoperator(-np.eye(N)))
    with pytest.raises(ValueError, match="preconditioner returned NaN"):
        ntkrs.solve(K, Y, 1e-2, method="pcg", preconditioner=aslinearoperator(np.nan * np.eye(N)))


def test_the_preconditioner_saves_iterations():
    x = np.random.default_rng(1).standard_normal((600, 4))
    k, y = KERNEL(x), np.sin(x[:, 0])
    counts = {
        name: ntkrs.solve(k, y, method="pcg", preconditioner=name).iterations
        for name in ("rpcholesky", "nystrom", None)
    }
    assert counts["rpcholesky"] <= counts[None] / 4
    assert counts["nystrom"] <= counts[None] / 4


@pytest.mark.parametrize("threads", [2, 3])
def test_the_bits_do_not_depend_on_threads(threads):
    def alpha():
        return [ntkrs.solve(k, Y, 1e-4, method="pcg", rank=30).alpha for k in (K, KERNEL.operator(X))]

    with ntkrs.threads(1):
        expected = alpha()
    with ntkrs.threads(threads):
        for one, other in zip(alpha(), expected, strict=True):
            assert np.array_equal(one, other)


def test_predictions_without_the_kernel():
    x_test = RNG.standard_normal((9, 5))
    s = ntkrs.solve(KERNEL.operator(X), Y, 1e-2, tolerance=1e-10)
    expected = ntkrs.predict.gradient_descent_mse(K, Y, diag_reg=1e-2)(k_test_train=KERNEL(x_test, X))[1]
    np.testing.assert_allclose(KERNEL.operator(x_test, X) @ s.alpha, expected, atol=1e-7)


class TestProgress:
    """Calls of progress(done, max_iterations)."""

    @pytest.mark.parametrize("name", ["float64", "float32", "operator", "plain operator"])
    @pytest.mark.parametrize("method", ["auto", "pcg"])
    def test_it_never_falls(self, name, method):
        calls = []
        found = ntkrs.solve(
            SOURCES[name](), Y, 1e-3, diag_reg_absolute_scale=True, method=method, max_iterations=500,
            progress=lambda *counts: calls.append(counts),
        )  # fmt: skip
        done = [count for count, _ in calls]
        assert {total for _, total in calls} == {500}
        assert done == sorted(done)
        assert done[0] == 0
        assert done[-1] == found.iterations
        if found.method == "pcg":
            assert sorted(set(done)) == list(range(found.iterations + 1))

    def test_what_it_raises_comes_through(self):
        def progress(done, total):
            if done == 3:
                raise InterruptedError(done, total)

        with pytest.raises(InterruptedError):
            ntkrs.solve(K, Y, method="pcg", rank=10, progress=progress)


@pytest.mark.skipif(os.name == "nt", reason="signals of Windows end the process")
@pytest.mark.parametrize("name", ["operator", "float64", "float32", "plain operator"])
def test_ctrl_c_ends_it(name):
    """Ctrl-C arrives in the middle of the iterations, whatever these are made of."""
    x = np.random.default_rng(0).standard_normal((1200, 20))
    kernel = ntkrs.mlp(2, 1, 1, "erf", 1.4, 0.1).kernel()
    k = kernel.operator(x) if name == "operator" else kernel(x)
    k = {"float32": lambda: k.astype(np.float32), "plain operator": lambda: aslinearoperator(k)}.get(name, lambda: k)()
    sent = []

    def send():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    def progress(done, _):
        if done == 2:
            threading.Timer(0.01, send).start()

    with pytest.raises(KeyboardInterrupt):
        ntkrs.solve(k, x[:, :3], method="pcg", preconditioner=None, tolerance=1e-12, progress=progress)
    assert time.monotonic() - sent[0] < 5  # 0.2 s on a machine that does nothing else


class TestUnfinished:
    """Iterations that end before the tolerance is reached say so."""

    def test_too_few_iterations(self):
        with pytest.warns(
            RuntimeWarning, match=r"residual of .*, not tolerance=1e-06, in 3 iterations.*max_iterations=3"
        ):
            found = ntkrs.solve(K, Y, method="pcg", rank=10, max_iterations=3)
        assert found.converged is False
        assert found.iterations == 3
        assert found.products == 4
        residual = np.linalg.norm(Y - K @ found.alpha, axis=0) / np.linalg.norm(Y, axis=0)
        np.testing.assert_allclose(found.residual, residual.max(), rtol=1e-9)

    def test_products_with_few_digits_are_told(self):
        """Residuals fall to the accuracy of the products, and restarts gain nothing more."""
        single = K.astype(np.float32)
        rounded = from_function(lambda v: single @ v.astype(np.float32), N, np.float32)
        with pytest.warns(RuntimeWarning, match="the residual has stopped falling"):
            found = ntkrs.solve(rounded, Y, tolerance=1e-12, max_iterations=5000)
        assert not found.converged
        assert 1e-12 < found.residual < 1e-3
        assert found.iterations < 4000

    def test_columns_that_converge_do_so_beside_others(self):
        easy = np.linalg.eigh(K)[1][:, -1]  # a single iteration
        with pytest.warns(RuntimeWarning, match="max_iterations=2"):
            found = ntkrs.solve(
                K, np.stack([easy, Y[:, 2]], axis=1), method="pcg", preconditioner=None, max_iterations=2
            )
        np.testing.assert_allclose(K @ found.alpha[:, 0], easy, atol=1e-6)

    def test_hard_kernels_are_not_given_up(self):
        """Residuals rise above 1 for many iterations before they fall."""
        spectrum = np.geomspace(1e-5, 1, 400)
        q = np.linalg.qr(np.random.default_rng(0).standard_normal((400, 400)))[0]
        k = (q * spectrum) @ q.T
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = ntkrs.solve((k + k.T) / 2, q.sum(axis=1), method="pcg", preconditioner=None, max_iterations=5000)
        assert found.converged
        assert found.iterations > 400


def singular(dtype=np.float64):
    """A kernel of rows two of which are equal."""
    x = X.copy()
    x[1] = x[0]
    return KERNEL(x).astype(dtype)


#: Matrices that are not positive definite, and what is said about them.
SINGULAR = {
    "duplicates": (lambda: (singular(), Y), "K . diag_reg·I (is not positive definite: pivot|cannot be told)"),
    "a negative diagonal": (
        lambda: (np.diag([1.0, -2.0, 1.0]), np.ones(3)),
        r"K\[1, 1\] is -2\. Raise diag_reg \(now 0\)",
    ),
    "zeros": (lambda: (np.zeros((4, 4)), np.ones(4)), r"K\[0, 0\] is 0\. Raise"),
    "indefinite": (lambda: (np.array([[1.0, 2.0], [2.0, 1.0]]), np.ones(2)), "pivot 2 of 2"),
}


@pytest.mark.parametrize("name", SINGULAR)
def test_singular_kernels_are_refused(name):
    make, message = SINGULAR[name]
    with pytest.raises(np.linalg.LinAlgError, match=message) as caught:
        ntkrs.solve(*make())
    assert "Raise diag_reg (now 0)" in str(caught.value)


def test_iterations_refuse_indefinite_kernels():
    k = K - 2 * MEAN * np.outer(Y[:, 2], Y[:, 2]) / (Y[:, 2] @ Y[:, 2])
    k[np.diag_indices(N)] += 0.1 * MEAN
    with pytest.raises(
        np.linalg.LinAlgError, match=r"not positive definite: d'\(K \+ rI\)d/d'd is -.*Raise diag_reg \(now 0.001"
    ):
        ntkrs.solve(k, Y, [0.001, 0.002], method="pcg", preconditioner=None)
    operator = from_function(np.negative, 2, np.float64)
    with pytest.raises(np.linalg.LinAlgError, match="Raise diag_reg"):
        ntkrs.solve(operator, np.ones(2))


@pytest.mark.parametrize("preconditioner", ["rpcholesky", "nystrom", None])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_iterations_refuse_singular_kernels(dtype, preconditioner):
    """Labels of equal rows differ, so that there is no solution. Conjugate gradients would grow without bound."""
    k = KERNEL(np.repeat(X[:40], 4, axis=0)).astype(dtype)
    for source in (k, from_function(lambda v: k @ v.astype(dtype), N, dtype)):
        with pytest.raises(
            np.linalg.LinAlgError, match=r"K . diag_reg·I (is not positive|cannot be told).*Raise diag_reg"
        ):
            ntkrs.solve(source, Y[:, 2], method="pcg", preconditioner=preconditioner)
    consistent = ntkrs.solve(k, np.repeat(Y[:40, 2], 4), method="pcg", tolerance=1e-4)
    assert consistent.converged


def test_solutions_beyond_all_numbers_are_refused():
    with pytest.raises(ValueError, match="alpha exceeds the range of float64"):
        ntkrs.solve(K * 1e-305, Y * 1e10)


def test_a_sudden_end_is_told():
    found = ntkrs.solve(np.ones((50, 50)), np.arange(50.0), 1e-3, method="pcg")
    assert found.iterations <= 3
    assert found.error < 1e-6


def test_a_float32_factor_that_fails_leads_to_pcg():
    k = singular(np.float32)
    found = ntkrs.solve(k, np.ones(N), 1e-6, tolerance=1e-4)
    assert found.method == "pcg"
    assert found.converged
    with pytest.raises(np.linalg.LinAlgError, match="Raise diag_reg"):
        ntkrs.solve(k, np.ones(N), 1e-9, method="cholesky")


def test_large_matrices_that_do_not_converge_are_factorized(monkeypatch):
    monkeypatch.setattr("ntkrs.solvers.choose.FACTORIZED", 10)
    assert ntkrs.solve(K, Y, rank=40).method == "pcg"
    counts = []
    found = ntkrs.solve(K, Y, rank=10, max_iterations=5, progress=lambda done, _: counts.append(done))
    assert found.method == "cholesky"
    assert found.converged
    assert counts == sorted(counts)
    with pytest.warns(RuntimeWarning, match="max_iterations=5"):
        ntkrs.solve(KERNEL.operator(X), Y, rank=10, max_iterations=5)  # there are no entries to factorize


def test_progress_never_falls_where_a_factor_of_a_path_fails():
    counts = []
    found = ntkrs.solve(
        singular(np.float32), np.ones(N), [1e-2, 1e-6], tolerance=1e-4, progress=lambda done, _: counts.append(done)
    )
    assert found.method == "pcg"
    assert found.converged.all()
    assert counts == sorted(counts)


@pytest.mark.parametrize("method", ["auto", "pcg"])
def test_duplicates_with_a_ridge(method):
    found = ntkrs.solve(singular(), Y, 1e-3, method=method, tolerance=1e-9)
    assert found.converged
    np.testing.assert_allclose(found.alpha, dense(singular(), Y, 1e-3 * np.diag(singular()).mean()), atol=1e-5)


NOT_FINITE = K.copy()
NOT_FINITE[3, 4] = np.nan
WRONG = K.copy()
WRONG[3, 4] += 1

#: Calls that are refused, and what is said about them.
REFUSED = {
    "NaN in K": (lambda: (NOT_FINITE, Y), ValueError, r"K holds nan at \(3, 4\)"),
    "NaN in y": (lambda: (K, np.full(N, np.nan)), ValueError, r"y holds nan at \(0,\)"),
    "infinity in y": (lambda: (K, np.full(N, np.inf)), ValueError, "y holds inf"),
    "not symmetric": (lambda: (WRONG, Y), ValueError, "K differs from its transpose.*test-train"),
    "not square": (lambda: (K[:5], Y), ValueError, r"K has shape \(5, 160\), but \(N, N\)"),
    "one axis": (lambda: (K[0], Y), ValueError, r"K has shape \(160,\)"),
    "four axes": (lambda: (np.ones((2, 2, 1, 1)), Y), ValueError, r"K has shape \(2, 2, 1, 1\)"),
    "too few y": (lambda: (K, Y[:5]), ValueError, r"y has shape \(5, 3\), but K has shape \(160, 160\)"),
    "y of three axes": (lambda: (K, Y[None]), ValueError, r"y has shape \(1, 160, 3\), but \(N,\) or"),
    "y without columns": (lambda: (K, Y[:, :0]), ValueError, r"y has shape \(160, 0\), but at least 1"),
    "complex K": (lambda: (K * 1j, Y), TypeError, "K holds complex"),
    "complex y": (lambda: (K, Y * 1j), TypeError, "y holds complex"),
    "objects": (lambda: (K.astype(object), Y), TypeError, "K has dtype object"),
    "masked": (lambda: (np.ma.masked_less(K, 0.5), Y), TypeError, "K has masked"),
    "sparse": (lambda: (__import__("scipy.sparse").sparse.csr_matrix(K), Y), TypeError, "K is a sparse"),
    "operator that is not square": (lambda: (aslinearoperator(K[:5]), Y), ValueError, r"operator of shape \(5, 160\)"),
    "complex operator": (lambda: (aslinearoperator(K * 1j), Y), TypeError, "operator of dtype complex128"),
    "operator of NaN": (lambda: (aslinearoperator(K * np.nan), Y), ValueError, "returned NaN"),
    "text": (lambda: ("K", Y), TypeError, "K is 'K', but an array"),
}

#: Arguments that are refused.
OPTIONS = {
    "negative ridge": ({"diag_reg": -1.0}, ValueError, "diag_reg is -1.0, but must be >= 0"),
    "negative ridges": ({"diag_reg": [1.0, -1.0]}, ValueError, "diag_reg holds -1.0 at 1"),
    "NaN ridge": ({"diag_reg": np.nan}, ValueError, "diag_reg is nan"),
    "no ridges": ({"diag_reg": []}, ValueError, r"diag_reg has shape \(0,\)"),
    "matrix of ridges": ({"diag_reg": np.ones((1, 1))}, ValueError, r"diag_reg has shape \(1, 1\)"),
    "text for a ridge": ({"diag_reg": "1"}, TypeError, "diag_reg is '1'"),
    "unknown method": ({"method": "lu"}, ValueError, "method is 'lu', but must be 'auto', 'cholesky' or 'pcg'"),
    "tolerance 0": ({"tolerance": 0.0}, ValueError, "tolerance is 0.0"),
    "tolerance 1": ({"tolerance": 1.0}, ValueError, "tolerance is 1.0, but must be below 1"),
    "unknown preconditioner": ({"preconditioner": "ilu"}, ValueError, "preconditioner is 'ilu', but must be 'rpch"),
    "small preconditioner": (
        {"preconditioner": aslinearoperator(np.eye(3))},
        ValueError,
        r"preconditioner has shape \(3",
    ),
    "rank 0": ({"rank": 0}, ValueError, "rank is 0"),
    "rank 1.5": ({"rank": 1.5}, TypeError, "rank is 1.5"),
    "no iterations": ({"max_iterations": 0}, ValueError, "max_iterations is 0"),
    "seed": ({"rng": "a"}, TypeError, "rng is 'a'"),
    "overwrite": ({"overwrite_k": 1}, TypeError, "overwrite_k is 1"),
    "checkpoint": ({"checkpoint": 1.5}, TypeError, "checkpoint is 1.5, but the path of a file"),
    "checkpoint of cholesky": ({"checkpoint": "x", "method": "cholesky"}, ValueError, "checkpoint is given, but"),
    "seconds": ({"checkpoint_seconds": -1}, ValueError, "checkpoint_seconds is -1"),
    "progress": ({"progress": 3}, TypeError, "progress is 3"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_matrices_are_refused(name):
    make, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        ntkrs.solve(*make())


@pytest.mark.parametrize("name", OPTIONS)
def test_bad_options_are_refused(name):
    options, error, message = OPTIONS[name]
    with pytest.raises(error, match=message):
        ntkrs.solve(K, Y, **options)


def test_ridges_relative_to_an_unknown_diagonal_are_refused():
    with pytest.raises(ValueError, match=r"this operator does not tell.*diag_reg_absolute_scale=True"):
        ntkrs.solve(aslinearoperator(K), Y, 1e-3)


def test_what_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setattr("ntkrs._checks.memory._SMALL", 0)
    monkeypatch.setattr("ntkrs._checks.memory.available", lambda: 8 * N * N - 1)
    for k in (K, Stored(K)):
        with pytest.raises(MemoryError, match=r"Cholesky factor of K.*needs 204800 bytes.*path=.*float32.*operator"):
            ntkrs.solve(k, Y, method="cholesky")
    assert ntkrs.solve(K, Y[:, 0], rank=3).method == "pcg"  # what is left to "auto"
    monkeypatch.setattr("ntkrs._checks.memory._SMALL", 0)
    monkeypatch.setattr("ntkrs._checks.memory.available", lambda: 1000)
    with pytest.raises(MemoryError, match=r"the solution of order 160 for 3 columns.*fewer columns"):
        ntkrs.solve(K, Y, method="pcg")
