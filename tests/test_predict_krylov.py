"""Dynamics from products with the kernel: the same numbers as in the eigenbasis, and an honest error estimate."""

import re

import numpy as np
import pytest
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import ntkrs
from ntkrs import predict
from oracles import dynamics
from test_predict import CASES, problem

TIMES = np.array([0.0, 0.3, 20.0, 1e4, np.inf])


def real_problem(n=300, m=20):
    """The smooth kernel of a network, whose eigenvalues fall fast."""
    x = np.random.default_rng(1).standard_normal((n + m, 4))
    kernel = ntkrs.mlp(2, 1, 1, "relu", 1.4, 0.1).kernel()
    y = np.stack([np.sin(x[:n, 0]), x[:n, 1] * x[:n, 2]], axis=1)
    return kernel(x[:n]), kernel(x[n:], x[:n]), y


@pytest.mark.parametrize("wrap", [np.asarray, aslinearoperator], ids=["array", "operator"])
@pytest.mark.parametrize(("outputs", "blocks"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("options", [{}, {"momentum": 0.8}, {"optimizer": "gd"}, {"optimizer": "gd", "momentum": 0.8}])
def test_it_equals_the_eigenbasis(outputs, blocks, options, wrap):
    k, k_test, y, f0, f0_test = problem(outputs=outputs, blocks=blocks)
    exact = predict.gradient_descent_mse(k, y, 0.7, **options)
    if wrap is not np.asarray:
        k, k_test = wrap(dynamics.as_matrix(k)), wrap(dynamics.as_matrix(k_test))
    krylov = predict.gradient_descent_mse(k, y, 0.7, method="krylov", **options)
    times = np.round(TIMES) if options.get("optimizer") == "gd" else TIMES
    for t in (times, times[2], None):
        for one, other in zip(
            exact(t, f0, f0_test, np.asarray(problem(outputs=outputs, blocks=blocks)[1])),
            krylov(t, f0, f0_test, k_test),
            strict=True,
        ):
            np.testing.assert_allclose(other, one, rtol=0, atol=1e-8 * np.linalg.norm(f0 - y))
    np.testing.assert_allclose(krylov.coefficients(times, f0), exact.coefficients(times, f0), rtol=0, atol=1e-6)
    assert np.array_equal(krylov(0, f0), f0)


def test_it_takes_few_products_and_its_estimate_bounds_the_error():
    k, k_test, y = real_problem()
    exact = predict.gradient_descent_mse(k, y)
    for tolerance in (1e-3, 1e-6, 1e-9):
        krylov = predict.gradient_descent_mse(k, y, method="krylov", tolerance=tolerance)
        for t in (1.0, 100.0, 1e4, np.inf):
            trained, tested = krylov(t, k_test_train=k_test)
            report = krylov.report
            assert report.error <= report.tolerance == tolerance
            assert report.products < 140
            expected = exact(t, k_test_train=k_test)
            assert np.linalg.norm(trained - expected[0]) <= tolerance * np.linalg.norm(y)
            assert np.linalg.norm(tested - expected[1]) <= tolerance * np.linalg.norm(y)


def test_a_basis_is_kept_for_the_same_start():
    k, _, y = real_problem()
    calls = []

    def counting(v):
        calls.append(v.shape[1])
        return k @ v

    op = LinearOperator(k.shape, matvec=lambda v: k @ v, matmat=counting, dtype=np.float64)
    run = predict.gradient_descent_mse(op, y, method="krylov")
    run(1e4)
    made = len(calls)
    run([10.0, 100.0])
    assert len(calls) == made
    run(1e4, 0.5)
    assert len(calls) > made


def test_dependent_columns_and_invariant_spaces_are_no_special_cases():
    k, k_test, *_ = problem(12)
    y = np.outer(np.arange(12.0), [1.0, -2.0, 0.0])  # of rank 1
    exact, krylov = (predict.gradient_descent_mse(k, y, method=method) for method in ("eigh", "krylov"))
    for one, other in zip(exact(3.0, k_test_train=k_test), krylov(3.0, k_test_train=k_test), strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-8)
    assert krylov.report.dimension <= 12
    for kernel in (np.eye(12), np.zeros((12, 12)), np.ones((12, 12)), np.diag([1.0] * 11 + [0.0])):
        exact, krylov = (predict.gradient_descent_mse(kernel, y, method=method) for method in ("eigh", "krylov"))
        for t in (0.0, 3.0, None):
            np.testing.assert_allclose(krylov(t), exact(t), rtol=0, atol=1e-12)
    perfect = predict.gradient_descent_mse(k, y, method="krylov")
    assert np.array_equal(perfect(5.0, y), y)  # nothing to learn, and no product
    assert perfect.report.products == 0


def test_conflicting_labels_converge_to_their_mean():
    k, k_test, y, *_ = problem(8, 3)
    twice = np.concatenate([np.arange(8), [2, 5, 5]])
    labels = np.concatenate([y, [10.0, -4.0, 7.0]])
    run = predict.gradient_descent_mse(k[np.ix_(twice, twice)], labels, method="krylov")
    means = np.array([labels[twice == i].mean() for i in range(8)])
    trained, tested = run(None, k_test_train=k_test[:, twice])
    np.testing.assert_allclose(trained, means[twice], atol=1e-8)
    np.testing.assert_allclose(tested, k_test @ np.linalg.solve(k, means), atol=1e-7)


@pytest.mark.parametrize("size", [1e-300, 1e-150, 1e150, 1e300])
def test_kernels_of_all_sizes(size):
    k, k_test, y, f0, f0_test = problem()
    plain = predict.gradient_descent_mse(k, y)(3.0, f0, f0_test, k_test)
    for kernel, test in ((k * size, k_test * size), (aslinearoperator(k * size), aslinearoperator(k_test * size))):
        run = predict.gradient_descent_mse(kernel, y, 1 / size, method="krylov")
        for one, other in zip(plain, run(3.0, f0, f0_test, test), strict=True):
            np.testing.assert_allclose(other, one, rtol=0, atol=1e-8)


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_labels_of_all_sizes(size):
    k, k_test, y, *_ = problem()
    plain = predict.gradient_descent_mse(k, y)(3.0, k_test_train=k_test)
    for method in ("eigh", "krylov"):
        found = predict.gradient_descent_mse(k, y * size, method=method)(3.0, k_test_train=k_test)
        for one, other in zip(plain, found, strict=True):
            np.testing.assert_allclose(other / size, one, rtol=0, atol=1e-8)


def test_float32_kernels():
    k, k_test, y = (a.astype(np.float32) for a in real_problem())
    exact, krylov = (predict.gradient_descent_mse(k, y, method=m, tolerance=1e-6) for m in ("eigh", "krylov"))
    for one, other in zip(exact(100.0, k_test_train=k_test), krylov(100.0, k_test_train=k_test), strict=True):
        assert other.dtype == np.float32
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-5)


def test_regularization():
    k, _, y, *_ = problem()
    for options in ({"diag_reg": 0.1}, {"diag_reg": 0.1, "diag_reg_absolute_scale": True}):
        exact, krylov = (predict.gradient_descent_mse(k, y, method=m, **options) for m in ("eigh", "krylov"))
        np.testing.assert_allclose(krylov.coefficients(None), exact.coefficients(None), rtol=1e-7)
    absolute = predict.gradient_descent_mse(
        aslinearoperator(k), y, method="krylov", diag_reg=0.1, diag_reg_absolute_scale=True
    )
    np.testing.assert_allclose(absolute.coefficients(None), exact.coefficients(None), rtol=1e-7)


class TestTheEndByProducts:
    """At t = None, an operator with a ridge is solved by ntkrs.solve."""

    X, X_TEST = np.random.default_rng(5).standard_normal((2, 90, 4))
    Y = np.stack([np.sin(X[:, 0]), X[:, 1]], axis=1)
    KERNEL = ntkrs.mlp(2, 1, 1, "relu", 2**0.5, 0.1).kernel()

    @pytest.mark.parametrize("options", [{"diag_reg": 0.01}, {"diag_reg": 0.5, "diag_reg_absolute_scale": True}])
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_it_is_the_end_of_the_matrix(self, dtype, options):
        x, x_test = self.X.astype(dtype), self.X_TEST.astype(dtype)
        k_test = self.KERNEL(x_test, x)
        exact = predict.gradient_descent_mse(self.KERNEL(x), self.Y, **options)
        run = predict.gradient_descent_mse(self.KERNEL.operator(x), self.Y, method="krylov", **options)
        f0, f0_test = np.ones((90, 2)), np.zeros((90, 2))
        tolerance = 1e-6 if dtype == np.float64 else 1e-3  # the condition is 1e4, and the kernel is rounded
        for t in (None, np.inf, [np.inf, np.inf]):
            for one, other in zip(run(t, f0, f0_test, k_test), exact(t, f0, f0_test, k_test), strict=True):
                np.testing.assert_allclose(one, other, atol=tolerance * np.abs(other).max())
        alpha = exact.coefficients()
        np.testing.assert_allclose(run.coefficients(), alpha, atol=tolerance * np.abs(alpha).max())
        with pytest.raises(RuntimeError, match="call it first, with a finite time"):
            run.report  # noqa: B018  it raises

    def test_operators_of_networks_with_blocks(self):
        net = ntkrs.mlp(1, 60, 2, "relu", 2**0.5).init(4, rng=0)
        exact = predict.gradient_descent_mse(net.ntk(self.X), self.Y, diag_reg=0.01)
        run = predict.gradient_descent_mse(net.operator(self.X), self.Y, method="krylov", diag_reg=0.01)
        alpha = exact.coefficients()
        np.testing.assert_allclose(run.coefficients(), alpha, atol=1e-5 * np.abs(alpha).max())

    def test_learning_rates_that_diverge(self):
        run = predict.gradient_descent_mse(
            self.KERNEL.operator(self.X), self.Y, 1e5, optimizer="gd", method="krylov", diag_reg=0.01
        )
        with pytest.raises(ValueError, match="gradient descent diverges"):
            run(None)
        slow = predict.gradient_descent_mse(
            self.KERNEL.operator(self.X), self.Y, 0.1, optimizer="gd", method="krylov", diag_reg=0.01
        )
        assert np.array_equal(slow(None), self.Y)

    def test_too_few_iterations_are_told(self):
        run = predict.gradient_descent_mse(
            aslinearoperator(self.KERNEL(self.X)), self.Y, method="krylov", diag_reg=1e-4, diag_reg_absolute_scale=True,
            max_iterations=1, tolerance=1e-12,
        )  # fmt: skip
        with pytest.warns(RuntimeWarning, match="solve reached a residual of .* max_iterations=1 was too few"):
            run(None)


def test_what_rounding_hides_is_part_of_the_estimate():
    """Eigenvalues fall below ε·trace. At the end of training the part outside the space matters, and is reported."""
    x = np.linspace(-1, 1, 60)[:, None]
    k = ntkrs.mlp(2, 1, 1, "erf", 1.4, 0.3).kernel()(x)
    y = np.random.default_rng(0).standard_normal(60)
    run = predict.gradient_descent_mse(k, y, method="krylov")
    assert run(1e3).shape == (60,)
    with pytest.warns(RuntimeWarning, match="estimated error"):
        run(None)
    assert run.report.error > 1e-8


def test_it_says_when_it_does_not_reach_the_tolerance():
    k, _, y = real_problem()
    run = predict.gradient_descent_mse(k, y, method="krylov", max_iterations=3)
    with pytest.warns(RuntimeWarning, match=r"after 3 products .* estimated error is .* not the tolerance 1e-08"):
        run(1e6)
    assert run.report.error > 1e-8
    assert "3 products" in str(run.report)


@pytest.mark.parametrize("sign", [1, -1])
def test_what_it_says_of_the_spectrum_are_bounds(sign):
    """Errors are raised before the extreme Ritz values have converged."""
    k = sign * (np.diag(np.geomspace(0.01, 30.0, 200)) + 1.0)
    y = np.concatenate([np.ones(150), np.zeros(50)])
    values = np.linalg.eigvalsh(k)
    with pytest.raises((ValueError, np.linalg.LinAlgError)) as caught:
        predict.gradient_descent_mse(k, y, 1e3, optimizer="gd", method="krylov")(10)
    message = str(caught.value)
    if sign == 1:
        share, largest = (float(x) for x in re.search(r"at least (\S+) times .* >= (\S+):", message).groups())
        assert largest < values[-1] * (1 + 1e-5)  # six digits
        assert share < 1e3 * values[-1] / 2 / len(y) * (1 + 1e-5)
    else:
        assert float(re.search(r"at most (\S+),", message).group(1)) > values[0] * (1 + 1e-5)


def test_no_samples():
    trained, tested = predict.gradient_descent_mse(np.empty((0, 0)), [], method="krylov")(1, 0.0, 2.0, np.empty((3, 0)))
    assert trained.shape == (0,)
    assert np.array_equal(tested, [2.0, 2.0, 2.0])


K, K_TEST, Y = problem()[:3]
OPERATOR = aslinearoperator(K)
REFUSED = {
    "eigh": (lambda: predict.gradient_descent_mse(OPERATOR, Y), TypeError, "method='eigh' needs an array"),
    "relative": (
        lambda: predict.gradient_descent_mse(OPERATOR, Y, method="krylov", diag_reg=0.1),
        ValueError,
        "an operator does not tell",
    ),
    "shape": (
        lambda: predict.gradient_descent_mse(aslinearoperator(K[:5]), Y, method="krylov"),
        ValueError,
        r"operator of shape \(5, 12\), but a square",
    ),
    "size": (
        lambda: predict.gradient_descent_mse(OPERATOR, Y[:5], method="krylov"),
        ValueError,
        r"operator of shape \(12, 12\), but y_train has shape \(5,\)",
    ),
    "complex": (
        lambda: predict.gradient_descent_mse(aslinearoperator(K * 1j), Y, method="krylov"),
        TypeError,
        "operator of dtype complex128",
    ),
    "NaN": (
        lambda: predict.gradient_descent_mse(aslinearoperator(K * np.nan), Y, method="krylov"),
        ValueError,
        "returned NaN",
    ),
    "asymmetric": (
        lambda: predict.gradient_descent_mse(np.triu(K), Y, method="krylov"),
        ValueError,
        "differs from its transpose",
    ),
    "indefinite": (
        lambda: predict.gradient_descent_mse(np.diag([1.0, 2.0, -0.5]), [1, 2, 3], method="krylov")(1.0),
        np.linalg.LinAlgError,
        "has an eigenvalue of at most -0.4.*, negative beyond round-off",
    ),
    "tolerance": (
        lambda: predict.gradient_descent_mse(K, Y, method="krylov", tolerance=0),
        ValueError,
        "tolerance is 0.0, but must be positive",
    ),
    "tolerance of eigh": (
        lambda: predict.gradient_descent_mse(K, Y, tolerance=-1),
        ValueError,
        r"tolerance is -1\.0, but must be positive",
    ),
    "max_iterations": (
        lambda: predict.gradient_descent_mse(K, Y, method="krylov", max_iterations=0),
        ValueError,
        "max_iterations is 0, but at least 1",
    ),
    "modes": (lambda: predict.gradient_descent_mse(K, Y, method="krylov").modes, RuntimeError, "call it first"),
    "divergence": (
        lambda: predict.gradient_descent_mse(K, Y, 1e3, optimizer="gd", method="krylov")(3),
        ValueError,
        r"learning_rate is at least .* with lambda_max >= .*: gradient descent diverges",
    ),
    "test operator": (
        lambda: predict.gradient_descent_mse(K, Y, method="krylov")(1, 0, 0, aslinearoperator(K[:, :5])),
        ValueError,
        r"k_test_train is an operator of shape \(12, 5\), but \(M, 12\)",
    ),
}


@pytest.mark.parametrize(("make", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
