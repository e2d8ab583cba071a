"""Closed-form training dynamics: against matrix exponentials, and by their laws."""

import numpy as np
import pytest
from scipy.sparse.linalg import aslinearoperator

import ntkrs
from ntkrs import predict
from oracles import dynamics


def problem(n=12, m=5, outputs=None, *, blocks=False, seed=0):
    """A training kernel, a consistent test kernel, targets and initial outputs."""
    rng = np.random.default_rng(seed)
    size = (n + m) * (outputs if blocks else 1)
    features = rng.standard_normal((size, size + 3)) / size**0.5
    k = features @ features.T
    if blocks:
        k = k.reshape(n + m, outputs, n + m, outputs).transpose(0, 2, 1, 3)
    shape = () if outputs is None else (outputs,)
    y, f0, f0_test = (rng.standard_normal((count, *shape)) for count in (n, n, m))
    return k[:n, :n], k[n:, :n], y, f0, f0_test


CASES = {"vector": (None, False), "outputs": (3, False), "blocks": (3, True)}


@pytest.mark.parametrize(("outputs", "blocks"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("loss_scale", ["mean", "sum"])
def test_it_is_the_matrix_exponential(outputs, blocks, loss_scale):
    k, k_test, y, f0, f0_test = problem(outputs=outputs, blocks=blocks)
    flow = predict.gradient_descent_mse(k, y, 0.7, loss_scale=loss_scale)
    z = y.size if loss_scale == "mean" else 1
    for t in (0.3, 2.0, 11.0):
        expected = dynamics.gradient_flow(k, k_test, y, f0, f0_test, 0.7, t, z=z)
        for result, oracle in zip(flow(t, f0, f0_test, k_test), expected, strict=True):
            assert result.shape == oracle.shape
            # eigh and expm of matrices of norm below 10: about a hundred ε each.
            np.testing.assert_allclose(result, oracle, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("outputs", "blocks"), CASES.values(), ids=CASES)
class TestLaws:
    """Laws that hold for every kernel."""

    def test_time_zero_is_exact(self, outputs, blocks):
        k, k_test, y, f0, f0_test = problem(outputs=outputs, blocks=blocks)
        trained, tested = predict.gradient_descent_mse(k, y)(0, f0, f0_test, k_test)
        assert np.array_equal(trained, f0)
        assert np.array_equal(tested, f0_test)

    def test_infinite_time_is_the_solve(self, outputs, blocks):
        k, k_test, y, f0, f0_test = problem(outputs=outputs, blocks=blocks)
        flow = predict.gradient_descent_mse(k, y)
        trained, tested = flow(None, f0, f0_test, k_test)
        matrix, test_matrix = dynamics.as_matrix(k), dynamics.as_matrix(k_test)
        residual = (y - f0).reshape(len(matrix), -1)
        solved = f0_test + (test_matrix @ np.linalg.solve(matrix, residual)).reshape(f0_test.shape)
        tolerance = 100 * np.linalg.cond(matrix) * np.finfo(float).eps
        np.testing.assert_allclose(trained, y, rtol=0, atol=tolerance)
        np.testing.assert_allclose(tested, solved, rtol=0, atol=tolerance)
        for late in (np.inf, 1e300):
            np.testing.assert_allclose(flow(late, f0, f0_test, k_test)[1], tested, rtol=0, atol=1e-12)

    def test_times_compose(self, outputs, blocks):
        """Training for s and then for t is training for s + t."""
        k, k_test, y, f0, f0_test = problem(outputs=outputs, blocks=blocks)
        flow = predict.gradient_descent_mse(k, y, 2.0)
        first = flow(1.5, f0, f0_test, k_test)
        for twice, once in zip(flow(2.5, *first, k_test), flow(4.0, f0, f0_test, k_test), strict=True):
            np.testing.assert_allclose(twice, once, rtol=0, atol=1e-13)

    def test_the_training_loss_never_rises(self, outputs, blocks):
        k, _, y, f0, _ = problem(outputs=outputs, blocks=blocks)
        times = np.concatenate([[0.0], np.geomspace(1e-3, 1e9, 60), [np.inf]])
        trained = predict.gradient_descent_mse(k, y)(times, f0)
        losses = ((trained - y) ** 2).reshape(len(times), -1).sum(1)
        assert (np.diff(losses) <= 1e-14 * losses[0]).all()

    def test_arrays_of_times_lead(self, outputs, blocks):
        k, k_test, y, f0, f0_test = problem(outputs=outputs, blocks=blocks)
        flow = predict.gradient_descent_mse(k, y)
        times = np.array([[0.0, 0.5, 1.0], [7.0, 1e6, np.inf]])
        trained, tested = flow(times, f0, f0_test, k_test)
        assert trained.shape == (2, 3, *y.shape)
        assert tested.shape == (2, 3, *f0_test.shape)
        for index in np.ndindex(times.shape):
            one = flow(times[index], f0, f0_test, k_test)
            # With one product for all times, or one for each, the order of the sums may differ.
            np.testing.assert_allclose(trained[index], one[0], rtol=0, atol=1e-13)
            np.testing.assert_allclose(tested[index], one[1], rtol=0, atol=1e-13)


def test_conflicting_labels_converge_to_their_mean():
    k, k_test, y, *_ = problem(8, 3)
    twice = np.concatenate([np.arange(8), [2, 5, 5]])
    labels = np.concatenate([y, [10.0, -4.0, 7.0]])
    flow = predict.gradient_descent_mse(k[np.ix_(twice, twice)], labels)
    assert flow.modes.null == 3
    means = np.array([labels[twice == i].mean() for i in range(8)])
    trained, tested = flow(None, k_test_train=k_test[:, twice])
    np.testing.assert_allclose(trained, means[twice], atol=1e-11)
    np.testing.assert_allclose(tested, k_test @ np.linalg.solve(k, means), atol=1e-11)
    # The directions that training never changes must not grow with time either.
    np.testing.assert_allclose(flow(1e200, k_test_train=k_test[:, twice])[1], tested, atol=1e-11)


def test_the_report_tells_what_was_counted_as_zero():
    k, _, y, *_ = problem(8, 3)
    twice = np.concatenate([np.arange(8), [2, 5, 5]])
    report = predict.gradient_descent_mse(k[np.ix_(twice, twice)], np.ones(11)).report
    assert (report.size, report.zeroed) == (11, 3)
    assert abs(report.lowest) <= report.cutoff < 1e-12
    assert report.highest == pytest.approx(np.linalg.eigvalsh(k[np.ix_(twice, twice)])[-1])
    assert 1 < report.condition < 1e6
    assert report.residual < 1e-14
    assert "3 within" in str(report)
    # One negative eigenvalue within the band is counted, and is part of the residual.
    rounded = np.diag([1.0, 1.0, -20 * EPS])
    report = predict.gradient_descent_mse(rounded, y[:3]).report
    assert (report.zeroed, report.negative, report.lowest) == (1, 1, -20 * EPS)
    assert 0 < report.residual < 20 * EPS
    assert predict.gradient_descent_mse(np.diag([1.0, 1.0, 100 * EPS]), y[:3]).report.zeroed == 0


def test_null_modes_drift_linearly_where_the_test_kernel_sees_them():
    """φ_t(0) = ηt/Z. No consistent kernel behaves so, but the formula says it."""
    trained, tested = predict.gradient_descent_mse(np.zeros((1, 1)), [2.0], 0.5, loss_scale="sum")(
        3.0, 0.0, 1.0, [[4.0]]
    )
    assert trained[0] == 0.0
    assert tested[0] == 1.0 + 4.0 * 0.5 * 3.0 * 2.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_null_modes_of_a_float32_kernel_do_not_drift(dtype):
    """The dtype of the kernels decides what counts as round-off, whatever the dtype of the labels."""
    x = np.linspace(-1, 1, 60, dtype=np.float32)[:, None]
    kernel = ntkrs.mlp(2, 1, 1, "erf", 1.4, 0.3).kernel()
    flow = predict.gradient_descent_mse(kernel(x), np.sin(3 * x[:, 0]).astype(dtype))
    assert flow.modes.null > 30
    k_test = kernel(np.array([[0.123], [2.0]], np.float32), x)
    inside, outside = flow(None, k_test_train=k_test)[1]
    # The slowest mode that is kept, of eigenvalue 32·ε·√60, takes 60/(32·ε·√60), 2e6.
    late = flow(10.0 ** np.arange(8, 16), k_test_train=k_test)[1]
    np.testing.assert_allclose(late[:, 0], inside, atol=1e-6)
    # Far from the data the test kernel has 1e-5 along null modes: an effect of at most 1e-5/cutoff that does not grow.
    np.testing.assert_allclose(late[:, 1], outside, atol=0.2)


def test_null_modes_do_not_amplify_the_rounding_of_a_float32_test_kernel():
    k, k_test, y, *_ = problem(8, 3)
    twice = np.concatenate([np.arange(8), [2, 5, 5]])
    labels = np.concatenate([y, [10.0, -4.0, 7.0]])
    flow = predict.gradient_descent_mse(k[np.ix_(twice, twice)], labels)
    noise = 1 + np.finfo(np.float32).eps * np.random.default_rng(0).uniform(-1, 1, (3, 11))
    rounded = (k_test[:, twice] * noise).astype(np.float32)
    expected = flow(None, k_test_train=rounded)[1]
    np.testing.assert_allclose(flow(1e15, k_test_train=rounded)[1], expected, atol=1e-12)


def test_null_modes_respond_no_more_than_the_smallest_eigenvalue_could():
    flow = predict.gradient_descent_mse(np.diag([1.0, 0.0]), [1.0, 1.0], loss_scale="sum")
    assert flow.modes.cutoff == 32 * EPS
    for t in (1e15, 1e200, 1e308):
        assert flow(t, k_test_train=[[0.0, 1.0]])[1][0] == min(t, 1 / flow.modes.cutoff)
    assert flow(None, k_test_train=[[0.0, 1.0]])[1][0] == 0.0


@pytest.mark.parametrize("size", [5e-324, 1e-320, 1e-200, 1.0, 1e200, 1e308])
def test_kernels_of_all_sizes(size):
    """Nothing overflows or underflows unless the result does."""
    y, other = np.array([1.0, 2.0, 3.0]), 2.0 * np.eye(3)
    flow = predict.gradient_descent_mse(np.eye(3) * size, y, learning_rate=0.5 if size < 1e308 else 1e-200)
    assert np.array_equal(flow.modes.values, [size] * 3)
    for result in flow(None, k_test_train=np.eye(3) * size):
        np.testing.assert_allclose(result, y, rtol=1e-15)
    for t in (0.0, 1e-300, 1.0, 1e100, 1e308, np.inf):
        assert not any(np.isnan(result).any() for result in flow(t, k_test_train=other))
    ridge = predict.gradient_descent_mse(np.eye(3) * size, y, diag_reg=1.0)
    np.testing.assert_allclose(ridge(None, k_test_train=np.eye(3) * size)[1], y / 2, rtol=1e-15)
    huge = predict.gradient_descent_mse(np.eye(3) * size, y, diag_reg=1e308, diag_reg_absolute_scale=True)
    assert np.array_equal(huge(None), y)


def test_kernels_whose_trace_overflows():
    flow = predict.gradient_descent_mse(np.full((3, 3), 1e308), [1.0, 2.0, 3.0])
    np.testing.assert_allclose(flow(None), [2.0, 2.0, 2.0])
    assert flow.modes.values[-1] == np.inf  # 3e308: the one number that is not representable


@pytest.mark.parametrize("k", [np.ones((3, 3)), np.zeros((3, 3))], ids=["ones", "zero"])
def test_nothing_is_nan(k):
    y = np.array([1.0, 2.0, 3.0])
    flow = predict.gradient_descent_mse(k, y, learning_rate=1e200)
    for t in (0.0, 1e-200, 1.0, 1e200, None):
        for result in flow(t, np.array([1e308, 0.0, -1e308]), k_test_train=np.eye(3)):
            assert not np.isnan(result).any()
    assert np.array_equal(predict.gradient_descent_mse(k, y * 5e307, 1e200)(0.0), np.zeros(3))


@pytest.mark.parametrize("exponent", [-500, 0, 499])
def test_badly_scaled_kernels(exponent):
    k, k_test, y, f0, f0_test = problem()
    flow = predict.gradient_descent_mse(np.ldexp(k, exponent), y)
    plain = predict.gradient_descent_mse(k, y)
    scaled = flow(np.ldexp(3.0, -exponent), f0, f0_test, np.ldexp(k_test, exponent))
    for result, expected in zip(scaled, plain(3.0, f0, f0_test, k_test), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-13)


def test_regularization_is_added_to_the_training_kernel():
    k, k_test, y, f0, f0_test = problem()
    relative = predict.gradient_descent_mse(k, y, diag_reg=0.1)
    absolute = predict.gradient_descent_mse(k, y, diag_reg=0.1 * np.trace(k) / 12, diag_reg_absolute_scale=True)
    by_hand = predict.gradient_descent_mse(k + 0.1 * np.trace(k) / 12 * np.eye(12), y)
    for t in (0.7, None):
        expected = by_hand(t, f0, f0_test, k_test)
        for flow in (relative, absolute):
            for result, value in zip(flow(t, f0, f0_test, k_test), expected, strict=True):
                np.testing.assert_allclose(result, value, rtol=0, atol=1e-12)


def test_a_trailing_axis_of_length_one_is_none():
    """Outputs (N, 1) of a network fit labels (N,), and the other way round."""
    k, k_test, y, f0, f0_test = problem()
    expected = predict.gradient_descent_mse(k, y)(2.0, f0, f0_test, k_test)
    for result, value in zip(
        predict.gradient_descent_mse(k, y)(2.0, f0[:, None], f0_test[:, None], k_test), expected, strict=True
    ):
        assert np.array_equal(result, value)
    for result, value in zip(
        predict.gradient_descent_mse(k, y[:, None])(2.0, f0, f0_test, k_test), expected, strict=True
    ):
        assert np.array_equal(result, value[:, None])


def test_test_kernels_may_be_operators():
    k, k_test, y, f0, f0_test = problem(outputs=3, blocks=True)
    flow = predict.gradient_descent_mse(k, y)
    expected = flow(3.0, f0, f0_test, k_test)[1]
    given = flow(3.0, f0, f0_test, aslinearoperator(dynamics.as_matrix(k_test)))[1]
    np.testing.assert_allclose(given, expected, rtol=0, atol=1e-13)


def test_dtypes():
    k, k_test, y, *_ = (np.float32(a) for a in problem())
    trained, tested = predict.gradient_descent_mse(k, y)(1.0, k_test_train=k_test)
    assert trained.dtype == tested.dtype == np.float32
    assert predict.gradient_descent_mse(k, y.astype(np.float64))(1.0).dtype == np.float64


def test_no_samples():
    trained, tested = predict.gradient_descent_mse(np.empty((0, 0)), [])(1.0, 0.0, 2.0, np.empty((3, 0)))
    assert trained.shape == (0,)
    assert np.array_equal(tested, [2.0, 2.0, 2.0])


def test_it_runs_on_the_kernels_of_this_package(uci):
    x = uci("iris")
    y = (np.arange(len(x)) // 50 == 1).astype(float)
    kernel = ntkrs.mlp(3, 1, 1, "relu", 1.4, 0.1).kernel()
    flow = predict.gradient_descent_mse(kernel(x[::2]), y[::2])
    trained, tested = flow(None, k_test_train=kernel(x[1::2], x[::2]))
    np.testing.assert_allclose(trained, y[::2], atol=1e-6)
    assert np.mean((tested > 0.5) == y[1::2]) > 0.8  # always answering "no" is right for 2/3


EPS = np.finfo(np.float64).eps
K, Y = problem()[0], problem()[2]
ROUNDED = K + np.triu(np.full_like(K, 1e-7), 1)
INDEFINITE = np.diag([1.0, 2.0, -0.5])

REFUSED = {
    "not square": (lambda: predict.gradient_descent_mse(K[:, :3], Y), ValueError, r"has shape \(12, 3\), but \(N, N\)"),
    "3-D": (lambda: predict.gradient_descent_mse(K[None], Y), ValueError, r"has shape \(1, 12, 12\)"),
    "y": (lambda: predict.gradient_descent_mse(K, Y[:3]), ValueError, r"y_train has shape \(3,\): N must be the same"),
    "y 3-D": (lambda: predict.gradient_descent_mse(K, Y[None, None]), ValueError, r"y_train has shape \(1, 1, 12\)"),
    "O": (
        lambda: predict.gradient_descent_mse(np.ones((2, 2, 3, 3)), np.ones((2, 2))),
        ValueError,
        "O must be the same",
    ),
    "NaN": (lambda: predict.gradient_descent_mse(K * np.nan, Y), ValueError, r"k_train_train holds nan at \(0, 0\)"),
    "y inf": (lambda: predict.gradient_descent_mse(K, Y + np.inf), ValueError, r"y_train holds inf at \(0,\)"),
    "asymmetric": (lambda: predict.gradient_descent_mse(np.triu(K), Y), ValueError, "differs from its transpose"),
    "indefinite": (
        lambda: predict.gradient_descent_mse(INDEFINITE, [1, 2, 3])(None),
        np.linalg.LinAlgError,
        "eigenvalue -0.5",
    ),
    "rate": (lambda: predict.gradient_descent_mse(K, Y, 0), ValueError, "learning_rate is 0.0, but must be positive"),
    "rate < 0": (lambda: predict.gradient_descent_mse(K, Y, -1), ValueError, r"rate is -1.0, but must be positive"),
    "rate NaN": (lambda: predict.gradient_descent_mse(K, Y, np.nan), ValueError, "learning_rate is nan"),
    "diag_reg": (lambda: predict.gradient_descent_mse(K, Y, diag_reg=-1), ValueError, "diag_reg is -1.0"),
    "scale": (lambda: predict.gradient_descent_mse(K, Y, loss_scale="n"), ValueError, "loss_scale is 'n'"),
    "t < 0": (lambda: predict.gradient_descent_mse(K, Y)([1, -2]), ValueError, "t holds -2.0, but times are >= 0"),
    "t NaN": (lambda: predict.gradient_descent_mse(K, Y)(np.nan), ValueError, "t holds nan"),
    "f0": (lambda: predict.gradient_descent_mse(K, Y)(1, Y[:2]), ValueError, r"fx_train_0 has shape \(2,\).*\(12,\)"),
    "f0 test": (lambda: predict.gradient_descent_mse(K, Y)(1, 0, 1.0), ValueError, "without k_test_train"),
    "f0 test shape": (lambda: predict.gradient_descent_mse(K, Y)(1, 0, Y, K[:2]), ValueError, r"fx_test_0.*\(2,\)"),
    "k test": (lambda: predict.gradient_descent_mse(K, Y)(1, 0, 0, K[:, :5]), ValueError, r"\(12, 5\), but \(M, 12\)"),
    "asymmetric at 1e-7": (lambda: predict.gradient_descent_mse(ROUNDED, Y), ValueError, "pass it as float32, or symm"),
    "rate text": (lambda: predict.gradient_descent_mse(K, Y, "0.1"), TypeError, "learning_rate is '0.1'.*a number"),
    "rate huge": (lambda: predict.gradient_descent_mse(K, Y, 10**400), ValueError, "learning_rate is inf"),
    "diag_reg text": (lambda: predict.gradient_descent_mse(K, Y, diag_reg="1"), TypeError, "diag_reg is '1'"),
    "absolute": (
        lambda: predict.gradient_descent_mse(K, Y, diag_reg=1, diag_reg_absolute_scale="no"),
        TypeError,
        "diag_reg_absolute_scale is 'no', but True or False",
    ),
    "f0 row": (lambda: predict.gradient_descent_mse(K, Y)(1, Y[None]), ValueError, r"\(1, 12\).*\(12,\)"),
    "f0 two axes": (lambda: predict.gradient_descent_mse(K, Y)(1, Y[:, None, None]), ValueError, r"\(12, 1, 1\)"),
    "text": (lambda: predict.gradient_descent_mse("K", Y), TypeError, "k_train_train is 'K', but an array is needed"),
}


@pytest.mark.parametrize(("make", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
