"""The largest stable learning rate: against eigenvalues, and against training with larger ones."""

import numpy as np
import pytest
from scipy.sparse.linalg import aslinearoperator

from ntkrs.predict import max_learning_rate
from oracles import dynamics
from test_predict import problem


@pytest.mark.parametrize("n", [1, 2, 12, 64, 65, 300])
@pytest.mark.parametrize("wrap", [np.asarray, aslinearoperator, np.float32], ids=["array", "operator", "float32"])
def test_it_is_two_over_the_largest_eigenvalue(n, wrap):
    k = problem(n)[0]
    eta = max_learning_rate(wrap(k), 3 * n)
    assert eta == pytest.approx(2 * 3 * n / np.linalg.eigvalsh(k)[-1], rel=1e-6 if wrap is np.float32 else 1e-12)
    assert max_learning_rate(wrap(k), 3 * n, 0.5) == pytest.approx(1.5 * eta)
    assert max_learning_rate(wrap(k), 3 * n, loss_scale="sum") == pytest.approx(eta / 3 / n)


@pytest.mark.parametrize("momentum", [0.0, 0.6])
def test_steps_grow_beyond_it_and_shrink_below_it(momentum):
    k, k_test, y, f0, f0_test = problem(70)
    eta = max_learning_rate(k, y.size, momentum)
    for factor, growth in ((0.99, False), (1.01, True)):
        f, _ = dynamics.gradient_descent(k, k_test, y, f0, f0_test, factor * eta, 2000, y.size, momentum)
        assert (np.linalg.norm(f - y) > np.linalg.norm(f0 - y)) == growth


def test_output_blocks():
    k = problem(20, outputs=4, blocks=True)[0]
    expected = 2 * 80 / np.linalg.eigvalsh(dynamics.as_matrix(k))[-1]
    assert max_learning_rate(k, 80) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("size", [1e-150, 1e150, 1e-300, 1e300])
def test_kernels_of_all_sizes(size):
    k = problem(100)[0]
    for kernel in (k * size, aslinearoperator(k * size)):
        assert max_learning_rate(kernel, 100) * size == pytest.approx(max_learning_rate(k, 100), rel=1e-12)


@pytest.mark.parametrize("n", [0, 1, 100])
def test_a_kernel_of_zeros_allows_any_rate(n):
    assert max_learning_rate(np.zeros((n, n)), n) == np.inf


REFUSED = {
    "shape": (lambda: max_learning_rate(np.ones((3, 2)), 3), ValueError, r"has shape \(3, 2\), but \(N, N\)"),
    "size 0": (lambda: max_learning_rate(np.eye(3), 0), ValueError, "y_train_size is 0, but k_train_train is 3 × 3"),
    "NaN": (lambda: max_learning_rate(np.full((3, 3), np.nan), 3), ValueError, "holds nan"),
    "asymmetric": (lambda: max_learning_rate(np.triu(np.ones((3, 3))), 3), ValueError, "differs from its transpose"),
    "negative": (lambda: max_learning_rate(-np.eye(3), 3), np.linalg.LinAlgError, "eigenvalues up to -1 only"),
    "size": (lambda: max_learning_rate(np.eye(3), -3), ValueError, "y_train_size is -3, but must be >= 0"),
    "size 1.5": (lambda: max_learning_rate(np.eye(3), 1.5), TypeError, "y_train_size is 1.5, but an integer"),
    "momentum": (lambda: max_learning_rate(np.eye(3), 3, 1.0), ValueError, "momentum is 1.0, but must be below 1"),
    "scale": (lambda: max_learning_rate(np.eye(3), 3, 0.0, "n"), ValueError, "loss_scale is 'n'"),
}


@pytest.mark.parametrize(("make", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
