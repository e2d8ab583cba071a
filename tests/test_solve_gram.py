"""ntkrs.solve of Gram matrices, in memory and in files: the solutions of the array, and checkpoints on them."""

import numpy as np
import pytest

import ntkrs

X = np.random.default_rng(0).standard_normal((150, 5))
Y = np.stack([np.sin(X[:, 0]), X[:, 1] ** 2], axis=1)
KERNEL = ntkrs.mlp(2, 1, 1, "relu", 2**0.5, 0.1).kernel()


@pytest.fixture(params=["memory", "file", "square file"])
def gram(request, tmp_path):
    """Makes the Gram matrix of inputs."""
    place = {"memory": {}, "file": {"path": tmp_path / "K.npy"}}
    options = place.get(request.param, {"path": tmp_path / "K.npy", "packed": False})
    return lambda x: ntkrs.gram(KERNEL, x, **options)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("whole", [2048, 50])
def test_solutions_are_those_of_the_array(gram, whole, dtype, monkeypatch):
    monkeypatch.setattr("ntkrs.solvers.direct.WHOLE", whole)  # above it, factors are packed
    x = X.astype(dtype)
    matrix, array = gram(x), KERNEL(x)
    for method in ("auto", "cholesky", "pcg"):
        expected = ntkrs.solve(array, Y, [1e-3, 1e-2], method=method, tolerance=1e-9, rank=30)
        found = ntkrs.solve(matrix, Y, [1e-3, 1e-2], method=method, tolerance=1e-9, rank=30)
        assert found.method == expected.method == ("pcg" if method == "pcg" else "cholesky")
        assert found.converged.all()
        np.testing.assert_allclose(found.alpha, expected.alpha, atol=1e-9 * np.abs(expected.alpha).max())


def test_checkpoints(gram, tmp_path):
    matrix, path = gram(X), tmp_path / "alpha"
    options = {"method": "pcg", "rank": 30, "tolerance": 1e-9}
    with pytest.warns(RuntimeWarning, match="max_iterations=5"):
        ntkrs.solve(matrix, Y, 1e-3, checkpoint=path, max_iterations=5, **options)
    found = ntkrs.solve(matrix, Y, 1e-3, checkpoint=path, **options)
    assert np.array_equal(found.alpha, ntkrs.solve(matrix, Y, 1e-3, **options).alpha)
    with pytest.raises(ValueError, match="another problem"):
        ntkrs.solve(ntkrs.gram(KERNEL, X[::-1]), Y, 1e-3, checkpoint=path, **options)


def test_the_end_of_training(gram):
    run = ntkrs.predict.gradient_descent_mse(gram(X), Y, method="krylov", diag_reg=0.01)
    expected = ntkrs.predict.gradient_descent_mse(KERNEL(X), Y, diag_reg=0.01).coefficients()
    np.testing.assert_allclose(run.coefficients(), expected, atol=1e-6 * np.abs(expected).max())
