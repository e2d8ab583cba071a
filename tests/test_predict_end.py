"""The end of training by two ways: the Cholesky factor, and the eigenmodes."""

import threading
import time

import numpy as np
import pytest

import ntkrs
from ntkrs import predict
from ntkrs.predict import system

N, M = 24, 7


def features(name, rng):
    """Features of N training and M test points, whose Gram matrix is the kernel."""
    points = rng.standard_normal((N + M, 60)) / 60**0.5
    if name == "nearly singular":  # eigenvalues down to 1e-9 of the largest
        q = np.linalg.qr(rng.standard_normal((60, 60)))[0]
        points = points @ (q * np.geomspace(1, 10**-4.5, 60)) @ q.T
    elif name == "singular":
        points[:, 10:] = 0
    elif name == "rank one":
        points[:, 1:] = 0
    elif name == "duplicates":
        points[3], points[4] = points[1], points[1]
    return points


KERNELS = ("well conditioned", "nearly singular", "singular", "rank one", "duplicates")
REGULAR = KERNELS[:2]
DTYPES = {np.float64: (1e-150, 1.0, 1e150), np.float32: (1e-30, 1.0, 1e30)}
CASES = [(name, dtype, scale) for name in KERNELS for dtype, scales in DTYPES.items() for scale in scales]


def problem(name, dtype=np.float64, scale=1.0):
    """The kernels of training and test points, and labels that conflict for duplicates."""
    rng = np.random.default_rng(5)
    points = features(name, rng)
    gram = (scale * (points @ points.T)).astype(dtype)
    return gram[:N, :N], gram[N:, :N], gram[N:, N:], rng.standard_normal((N, 2))


@pytest.mark.parametrize(("name", "dtype", "scale"), CASES)
def test_the_end_is_the_same_by_both_ways(name, dtype, scale):
    k, k_test, _, y = problem(name, dtype, scale)
    f = predict.gradient_descent_mse(k, y)
    f0 = np.random.default_rng(6).standard_normal((N, 2))
    trained, tested = f(None, f0, k_test_train=k_test)
    direct = "modes" not in f._spectral._once.values
    assert direct == (name == "well conditioned" or (name in REGULAR and dtype == np.float64))
    by_modes = f([np.inf, 0.0], f0, k_test_train=k_test)  # a finite time takes the modes for all
    # Both solve with a relative error of ε·condition; in float32 the solution is refined with float64 products.
    eps = np.finfo(np.float64).eps if dtype == np.float64 else np.finfo(np.float32).eps ** 1.5
    tolerance = 1e-11 + 10 * eps * f.report.condition
    np.testing.assert_allclose(trained, by_modes[0][0], rtol=0, atol=tolerance)
    np.testing.assert_allclose(tested, by_modes[1][0], rtol=0, atol=tolerance)
    np.testing.assert_allclose(
        f.coefficients(None, f0) * scale, f.coefficients([np.inf, 0.0], f0)[0] * scale, rtol=1e-6
    )
    if direct:
        assert np.array_equal(trained, y)
    if name == "duplicates":
        twins = [1, 3, 4]
        rest = f0[twins] - f0[twins].mean(axis=0)  # what training cannot change
        np.testing.assert_allclose(
            trained[twins], y[twins].mean(axis=0) + rest, atol=1e-11 if dtype == np.float64 else 1e-4
        )


@pytest.mark.parametrize("diag_reg", [0.0, 0.1])
@pytest.mark.parametrize(("name", "dtype", "scale"), CASES)
def test_posteriors_are_positive_and_the_same_by_both_ways(name, dtype, scale, diag_reg, monkeypatch):
    k, k_test, k_tests, y = problem(name, dtype, scale)
    y = y.astype(dtype)
    pairs = [{"nngp": one, "ntk": (2 * one).astype(dtype)} for one in (k, k_test, k_tests)]

    def posteriors(compute_cov=True):
        run = predict.gp_inference(pairs[0], y, diag_reg=diag_reg)
        names = ("nngp", "ntk", "ntkgp")
        return run(get=names, compute_cov=compute_cov, k_test_train=pairs[1], k_test_test=pairs[2])

    found, variances = posteriors(), posteriors("diag")
    monkeypatch.setattr(system.LinearSystem, "factor", None)
    eps, trace = float(np.finfo(dtype).eps), float(np.trace(k_tests, dtype=np.float64))
    for one, variance, other in zip(found, variances, posteriors(), strict=True):
        assert one.mean.dtype == one.covariance.dtype == dtype
        scaled = one.covariance.astype(np.float64) / trace
        assert np.array_equal(scaled, scaled.T)
        assert np.linalg.eigvalsh(scaled).min() >= -32 * eps
        # Entries are differences of terms of the size of the trace, with weights of a norm of some units.
        tolerance = 1e3 * eps if dtype == np.float64 else 100 * eps
        np.testing.assert_allclose(scaled, other.covariance.astype(np.float64) / trace, rtol=0, atol=tolerance)
        np.testing.assert_allclose(variance.variance / trace, one.variance / trace, rtol=0, atol=tolerance)
        assert variance.covariance is None
        assert np.array_equal(one.variance, one.covariance.diagonal())
        assert np.array_equal(one.mean, variance.mean)


def test_float32_solutions_are_refined():
    """They are as exact as the solution in float64 of the same, rounded, kernel."""
    k, k_test, _, y = problem("well conditioned", np.float32)
    single = predict.gradient_descent_mse(k, y)(None, k_test_train=k_test)[1]
    exact = k_test.astype(float) @ np.linalg.solve(k.astype(float), y)
    np.testing.assert_allclose(single, exact, rtol=0, atol=1e-9)  # without refinement 1e-6


def test_eigenmodes_are_made_when_they_are_needed_and_once(monkeypatch):
    k, k_test, _, y = problem("well conditioned")
    calls = []

    def counted(*args):
        calls.append(args)
        time.sleep(0.05)  # in which other threads would begin too
        return modes(*args)

    modes = system.kernel_modes
    monkeypatch.setattr(system, "kernel_modes", counted)
    f = predict.gradient_descent_mse(k, y, 1e-3, optimizer="gd", momentum=0.5)
    f(None, k_test_train=k_test)
    f([np.inf, np.inf])
    f.coefficients(None)
    assert not calls
    threads = [threading.Thread(target=f, args=(step,)) for step in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (f.report.size, f.modes.null, len(f.time_scales), len(calls)) == (N, 0, N, 1)


def test_the_kernel_is_copied_at_construction():
    k, k_test, _, y = problem("well conditioned")
    given = k.copy()
    f, g = predict.gradient_descent_mse(given, y), predict.gp_inference(given, y)
    given[:] = np.nan
    assert np.array_equal(f(None)[0], y[0])
    again = predict.gradient_descent_mse(k, y)
    assert np.array_equal(f(3.0, k_test_train=k_test)[1], again(3.0, k_test_train=k_test)[1])
    assert np.array_equal(g(k_test_train=k_test, compute_cov=False).mean, again(None, k_test_train=k_test)[1])


def test_rates_are_refused_at_construction(monkeypatch):
    k, _, _, y = problem("well conditioned")
    monkeypatch.setattr(system, "kernel_modes", None)  # which are not needed
    for momentum in (0.0, 0.9):
        bound = predict.max_learning_rate(k, y.size, momentum)
        with pytest.raises(ValueError, match=r"1\.01 times the largest that is stable"):
            predict.gradient_descent_mse(k, y, 1.01 * bound, optimizer="gd", momentum=momentum)
        assert np.array_equal(
            predict.gradient_descent_mse(k, y, 0.9 * bound, optimizer="gd", momentum=momentum)(None), y
        )
        with pytest.raises(ValueError, match="oscillates forever"):
            predict.gradient_descent_mse(k, y, bound, optimizer="gd", momentum=momentum)(None)


def test_negative_eigenvalues_are_refused_by_the_first_call():
    y = np.ones(3)
    f = predict.gradient_descent_mse(np.diag([1.0, 2.0, -0.5]), y)
    for call in (lambda: f(None), lambda: f(1.0), lambda: f.modes, lambda: f.report, lambda: f.time_scales):
        with pytest.raises(np.linalg.LinAlgError, match=r"eigenvalue -0\.5"):
            call()


def test_no_times():
    k, k_test, _, y = problem("well conditioned")
    trained, tested = predict.gradient_descent_mse(k, y)([], k_test_train=k_test)
    assert trained.shape == (0, N, 2)
    assert tested.shape == (0, M, 2)


def test_float32_keeps_modes_that_carry_information():
    """Eigenvalues of a smooth kernel fall fast, but errors of entries move them by ε·√N times the diagonal alone."""
    x = np.random.default_rng(0).standard_normal((400, 20))
    kernel = ntkrs.mlp(1, 1, 1, "erf", 1.4, 0.1).kernel()
    exact = np.linalg.eigvalsh(kernel(x, get="nngp"))
    report = predict.gradient_descent_mse(kernel(x.astype(np.float32), get="nngp"), np.ones(400)).report
    assert abs(report.zeroed - np.count_nonzero(exact < report.cutoff)) <= 2  # some lie close to the cutoff
    assert report.cutoff < 32 * np.finfo(np.float32).eps * np.trace(kernel(x, get="nngp")) / 10
