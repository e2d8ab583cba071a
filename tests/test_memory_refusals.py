"""Arrays that do not fit are refused with their bytes and a way out, not by the failure of an allocation."""

import numpy as np
import pytest

import ntkrs
from ntkrs import diagnostics, predict
from ntkrs._checks import memory

#: The order of the matrices: their bytes are above the size from which memory is looked at.
N = 1500

KERNEL = ntkrs.mlp(1, 1, 1, sigma_b=0.1).kernel()
X = np.random.default_rng(0).standard_normal((N, 5))
Y = X[:, 0]


@pytest.fixture(scope="module")
def matrix():
    return KERNEL(X)


@pytest.fixture
def available(monkeypatch):
    """Return a function that sets the memory left, in units of one matrix."""

    def left(matrices):
        monkeypatch.setattr(memory, "available", lambda: int(matrices * 8 * N * N))

    return left


@pytest.mark.parametrize(
    ("t", "left", "what", "remedy"),
    [
        (None, 0.9, "a copy of k_train_train", r"kernel\.operator\(X\)"),
        (1.0, 0.9, "a copy of k_train_train", r"kernel\.operator\(X\)"),
        (1.0, 1.1, "an eigendecomposition of order 1500", "fewer samples"),
    ],
)
def test_predictions(t, left, what, remedy, matrix, available):
    available(left)
    with pytest.raises(MemoryError, match=rf"{what} needs \d+ bytes .*available.*{remedy}"):
        predict.gradient_descent_mse(matrix, Y)(t=t)


def test_the_factor_of_a_prediction(matrix, available):
    ready = predict.gradient_descent_mse(matrix, Y)
    available(0.9)
    with pytest.raises(MemoryError, match=r"the Cholesky factor of k_train_train needs \d+ bytes .*ntkrs\.gram"):
        ready(t=None)


@pytest.mark.parametrize(("left", "what"), [(0.9, "a copy of k"), (1.1, "an eigendecomposition of order 1500")])
def test_spectra(left, what, matrix, available):
    available(left)
    with pytest.raises(MemoryError, match=rf"{what} needs \d+ bytes .*Use fewer samples"):
        diagnostics.spectrum(matrix)


def test_bands_of_a_file(tmp_path, available):
    available(0.6)
    with pytest.raises(MemoryError, match=r"computing two bands of the matrix needs \d+ bytes .*smaller band_bytes"):
        ntkrs.gram(KERNEL, X[:1000].repeat(2, axis=0), tmp_path / "K.npy")
    assert not any(tmp_path.iterdir())
    found = ntkrs.gram(KERNEL, X[:1000].repeat(2, axis=0), tmp_path / "K.npy", band_bytes=10**6)
    assert found.shape == (2000, 2000)


def test_products_of_a_stored_matrix(tmp_path, available):
    found = ntkrs.gram(KERNEL, X, tmp_path / "K.npy", band_bytes=10**6)
    available(0.9)
    with pytest.raises(MemoryError, match=r"a product with an array of shape \(1500, 600\) needs .*fewer vectors"):
        found @ np.ones((N, 600))
    assert (found @ np.ones(N)).shape == (N,)
