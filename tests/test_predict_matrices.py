"""Predictions from kernel matrices, and the class Prediction."""

import copy
import pickle
import tracemalloc

import numpy as np
import pytest
from scipy.stats import norm

import ntkrs
from ntkrs import predict
from ntkrs.predict import Prediction

KERNEL = ntkrs.mlp(depth=2, width=1, outputs=1, activation="relu", sigma_w=1.5, sigma_b=0.3).kernel()
BOTH = ("nngp", "ntk")
RNG = np.random.default_rng(0)
X, Z, Y = RNG.standard_normal((12, 3)), RNG.standard_normal((5, 3)), RNG.standard_normal((12, 2))
TRAIN, CROSS, TEST = KERNEL(X, get=BOTH), KERNEL(Z, X, get=BOTH), KERNEL(Z, get=BOTH)
GIVEN = {"k_test_train": CROSS, "k_test_test": TEST}


def same(one, other):
    """True if two predictions have equal bits, but for their inputs."""
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("mean", "covariance", "variance"))


@pytest.mark.parametrize("diag_reg", [0.0, 0.1])
def test_matrices_are_the_kernels_of_a_function(diag_reg):
    by_function = predict.gp_inference(KERNEL, X, Y, diag_reg)(Z, get=("nngp", "ntk", "ntkgp"))
    by_matrices = predict.gp_inference(TRAIN, Y, diag_reg=diag_reg)(get=("nngp", "ntk", "ntkgp"), **GIVEN)
    assert by_function._fields == by_matrices._fields == ("nngp", "ntk", "ntkgp")
    for one, other in zip(by_function, by_matrices, strict=True):
        assert same(one, other)
        assert np.array_equal(one.x, Z)
        assert other.x is None
    options = {"learning_rate": 0.5, "diag_reg": diag_reg}
    by_function = predict.gradient_descent_mse_ensemble(KERNEL, X, Y, **options)
    by_matrices = predict.gradient_descent_mse_ensemble(TRAIN, Y, **options)
    for t in (None, 3.0, [1.0, np.inf]):
        one, other = by_function(t, Z, get=BOTH), by_matrices(t, get=BOTH, **GIVEN)
        assert same(one.nngp, other.nngp)
        assert same(one.ntk, other.ntk)
        assert same(by_function(t), by_matrices(t))  # at the training points


def test_all_forms_are_read():
    expected = predict.gp_inference(TRAIN, Y)(get="ntkgp", **GIVEN)
    plain = {"k_test_train": CROSS.ntk, "k_test_test": TEST.ntk}
    for run in (
        predict.gp_inference(TRAIN.ntk, Y),
        predict.gp_inference(TRAIN.ntk.tolist(), y_train=Y),
        predict.gp_inference(k_train_train=TRAIN.ntk, y_train=Y),
        predict.gp_inference(kernel=TRAIN.ntk, y_train=Y),
    ):
        assert same(run(get="ntkgp", **plain), expected)
        assert same(run(**plain), expected)  # a bare matrix has no other prediction
        assert isinstance(run(get=("ntkgp",), **plain), tuple)
    named = predict.gp_inference(dict(zip(BOTH, TRAIN, strict=True)), Y)
    given = {name: dict(zip(BOTH, kernels, strict=True)) for name, kernels in GIVEN.items()}
    assert same(named(**given), predict.gp_inference(TRAIN, Y)(get="ntk", **GIVEN))  # the default is "ntk"
    mean = predict.gp_inference(TRAIN.ntk, Y)(get="ntk", compute_cov=False, k_test_train=CROSS.ntk).mean
    assert np.array_equal(mean, expected.mean)
    mean = predict.gradient_descent_mse_ensemble(TRAIN.ntk, Y)(1.0, k_test_train=CROSS.ntk, compute_cov=False).mean
    assert np.array_equal(mean, predict.gradient_descent_mse_ensemble(TRAIN, Y)(1.0, **GIVEN).mean)


def test_one_pass_computes_all_kernels():
    calls = []

    def kernel(a, b=None, get="ntk"):
        calls.append((len(a), b is not None, get))
        return KERNEL(a, b, get=get)

    predict.gp_inference(kernel, X, Y)(Z, get=("nngp", "ntk"), compute_cov=False)
    assert calls == [(12, False, ("ntk", "nngp")), (5, True, ("nngp", "ntk"))]


def test_variances_alone_need_no_square():
    many = np.random.default_rng(1).standard_normal((3000, 3))
    for run in (predict.gp_inference(KERNEL, X, Y), predict.gradient_descent_mse_ensemble(KERNEL, X, Y)):
        tracemalloc.start()
        found = run(x_test=many, compute_cov="diag")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found.covariance is None
        assert peak < 8 * 3000**2 / 8
        np.testing.assert_allclose(found.variance, run(x_test=many).variance, rtol=0, atol=1e-12)


def test_variances_of_functions_without_a_diagonal():
    def kernel(a, b=None, get="ntk"):
        return KERNEL(a, b, get=get)

    many = np.random.default_rng(1).standard_normal((300, 3))
    for get in ("nngp", "ntk"):
        expected = predict.gp_inference(KERNEL, X, Y)(many, get, "diag").variance
        assert np.array_equal(predict.gp_inference(kernel, X, Y)(many, get, "diag").variance, expected)
    assert predict.gp_inference(kernel, X, Y)(many[:0], "nngp", "diag").variance.shape == (0,)


def test_the_diagonal_may_be_given_alone():
    run = predict.gp_inference(TRAIN.ntk, Y)
    full = run(k_test_train=CROSS.ntk, k_test_test=TEST.ntk, compute_cov="diag")
    alone = run(k_test_train=CROSS.ntk, k_test_test=TEST.ntk.diagonal(), compute_cov="diag")
    assert same(full, alone)
    ensemble = predict.gradient_descent_mse_ensemble(TRAIN, Y)
    times = np.array([[0.0, 1.0], [2.0, np.inf]])
    full, alone = ensemble(times, **GIVEN), ensemble(times, compute_cov="diag", **GIVEN)
    assert alone.variance.shape == (2, 2, 5)
    np.testing.assert_allclose(alone.variance, full.variance, rtol=0, atol=1e-13)


def test_the_coarsest_kernel_decides_what_is_round_off():
    """A variance of 0 is negative by ε of float32 if one kernel is in float32."""
    single = {"k_test_train": TRAIN.ntk.astype(np.float32), "k_test_test": TRAIN.ntk}
    found = predict.gp_inference(TRAIN.ntk, Y)(**single)
    assert found.variance.max() < 1e-4
    assert found.report.clipped > 0
    assert found.mean.dtype == np.float64


class TestPrediction:
    """Intervals, samples, figures and pickles of one prediction."""

    found = predict.gp_inference(KERNEL, X, Y)(Z, get="nngp")

    def test_it_is_no_tuple(self):
        message = r"no tuple: read \.mean and \.covariance.*get=\('nngp', 'ntk'\)"
        for use in (tuple, iter, lambda p: p[0], lambda p: [*p]):
            with pytest.raises(TypeError, match=message):
                use(self.found)
        with pytest.raises(AttributeError):
            self.found.mean = 1
        assert predict.Gaussian is Prediction

    def test_intervals(self):
        low, high = self.found.interval(0.9)
        assert low.shape == high.shape == (5, 2)
        expected = norm.interval(0.9, self.found.mean, self.found.std[:, None])
        np.testing.assert_allclose((low, high), expected, rtol=1e-12)
        times = predict.gradient_descent_mse_ensemble(KERNEL, X, Y[:, 0])([1.0, 2.0], Z, compute_cov="diag")
        assert times.std.shape == times.interval(0.5)[0].shape == (2, 5)

    def test_samples_have_its_moments(self):
        draws = self.found.sample(4000, rng=0)
        assert draws.shape == (4000, 5, 2)
        assert np.array_equal(draws, self.found.sample(4000, np.random.default_rng(0)))
        for o in range(2):
            # Five standard errors.
            error = 5 * np.sqrt(self.found.variance / 4000)
            assert (np.abs(draws[..., o].mean(axis=0) - self.found.mean[:, o]) < error).all()
            spread = np.outer(self.found.variance, self.found.variance) + self.found.covariance**2
            assert (np.abs(np.cov(draws[..., o].T) - self.found.covariance) < 5 * np.sqrt(spread / 4000)).all()
        assert abs(np.corrcoef(draws[:, 0, 0], draws[:, 0, 1])[0, 1]) < 5 / 4000**0.5
        times = predict.gradient_descent_mse_ensemble(KERNEL, X.astype(np.float32), Y[:, 0].astype(np.float32))
        draws = times([1.0, 2.0, 3.0], Z.astype(np.float32)).sample(7, 0)
        assert draws.shape == (7, 3, 5)
        assert draws.dtype == np.float32

    def test_samples_of_extreme_sizes(self):
        for size in (1e-300, 1e300):
            draws = Prediction(np.zeros(2), size * np.array([[1.0, 1.0], [1.0, 1.0]])).sample(3, 0)
            np.testing.assert_allclose(draws[:, 0], draws[:, 1])
            assert np.isfinite(draws).all()
            assert draws.any()

    def test_pickles_and_copies(self):
        both = predict.gp_inference(KERNEL, X, Y)(Z, get=("ntk", "nngp"))
        for again in (pickle.loads(pickle.dumps(both)), copy.deepcopy(both)):
            assert again._fields == ("ntk", "nngp")
            assert same(again.ntk, both.ntk)
        run = predict.gp_inference(KERNEL, X, Y)
        run(Z)
        assert same(pickle.loads(pickle.dumps(run))(Z), run(Z))

    def test_plots(self):
        pytest.importorskip("matplotlib")
        from matplotlib.figure import Figure

        line = np.linspace(-1, 1, 9)[:, None]
        found = predict.gp_inference(KERNEL, X[:, :1], Y)(line[::-1])
        axes = found.plot().axes[0]
        assert np.array_equal(axes.lines[0].get_xdata(), line[:, 0])  # in order
        np.testing.assert_array_equal(axes.lines[1].get_ydata(), found.mean[::-1, 1])
        assert len(axes.collections) == 2
        given = Figure().subplots()
        assert self.found.plot(ax=given, x=np.arange(5)) is given.figure
        assert not Prediction(np.zeros(3)).plot(x=np.arange(3)).axes[0].collections


BARE = predict.gp_inference(TRAIN.ntk, Y)
PAIR = predict.gp_inference(TRAIN, Y)
BY_FUNCTION = predict.gp_inference(KERNEL, X, Y)
MEANS = Prediction(np.zeros(3))
TIMES = predict.gradient_descent_mse_ensemble(KERNEL, X[:, :1], Y)([1.0, 2.0], np.zeros((5, 1)))
REFUSED = {
    "third positional": (lambda: predict.gp_inference(TRAIN.ntk, Y, 0.1), TypeError, "by keyword, diag_reg="),
    "third of the ensemble": (
        lambda: predict.gradient_descent_mse_ensemble(TRAIN, Y, 0.1),
        TypeError,
        "by keyword, learning_rate=",
    ),
    "nothing": (predict.gp_inference, TypeError, r"pass \(kernel, x_train, y_train\)"),
    "both": (lambda: predict.gp_inference(KERNEL, X, Y, k_train_train=TRAIN), TypeError, r"pass \(kernel, x_train"),
    "no labels": (lambda: predict.gp_inference(TRAIN), TypeError, "y_train is missing: a kernel matrix"),
    "no labels of a function": (lambda: predict.gp_inference(KERNEL, X), TypeError, "y_train is missing: a kernel f"),
    "no inputs": (lambda: predict.gp_inference(KERNEL, y_train=Y), TypeError, "x_train is missing"),
    "rows": (
        lambda: predict.gp_inference(TRAIN, Y[:3]),
        ValueError,
        r"k_train_train has shape \(12, 12\), but y_train",
    ),
    "blocks": (
        lambda: predict.gp_inference(np.ones((2, 2, 3, 3)), np.ones((2, 3))),
        ValueError,
        r"shape \(2, 2, 3, 3\), but \(N, N\) is needed.*outputs='mean'",
    ),
    "NaN": (lambda: predict.gp_inference(TRAIN.ntk * np.nan, Y), ValueError, r"k_train_train holds nan at \(0, 0\)"),
    "asymmetric": (lambda: predict.gp_inference(np.triu(TRAIN.ntk), Y), ValueError, "differs from its transpose"),
    "name": (lambda: predict.gp_inference({"gp": TRAIN.ntk}, Y), ValueError, "kernel named 'gp', but 'nngp' and 'ntk'"),
    "no kernel": (lambda: predict.gp_inference({}, Y), ValueError, "k_train_train holds no kernel"),
    "shapes": (
        lambda: predict.gp_inference({"nngp": np.eye(12), "ntk": np.eye(3)}, Y),
        ValueError,
        r"kernels of shapes \[\(12, 12\), \(3, 3\)\]",
    ),
    "not given": (lambda: BARE(get="nngp"), ValueError, "k_train_train holds the ntk only, but .* needs the nngp"),
    "prior not given": (lambda: BARE(get="ntk"), ValueError, "holds the ntk only, but this prediction needs the nngp"),
    "cross not given": (
        lambda: PAIR(get="nngp", k_test_train=CROSS.ntk, k_test_test=TEST),
        ValueError,
        "k_test_train holds the ntk only, but this prediction needs the nngp",
    ),
    "test not given": (
        lambda: PAIR(k_test_train=CROSS, k_test_test=TEST.ntk),
        ValueError,
        "k_test_test holds the ntk only",
    ),
    "no test kernel": (
        lambda: PAIR(k_test_train=CROSS),
        TypeError,
        "k_test_test is not given, .* or compute_cov=False",
    ),
    "test kernel alone": (lambda: PAIR(k_test_test=TEST), TypeError, "k_test_test is given without k_test_train"),
    "inputs": (lambda: PAIR(Z), TypeError, "x_test is given, but the kernel is a matrix: pass k_test_train="),
    "matrices": (
        lambda: BY_FUNCTION(k_test_train=CROSS),
        TypeError,
        "k_test_train is given, but the kernel is a function of inputs: pass x_test",
    ),
    "cross shape": (lambda: BARE(k_test_train=CROSS.ntk[:, :3]), ValueError, r"k_test_train has shape \(5, 3\), but"),
    "test shape": (
        lambda: BARE(k_test_train=CROSS.ntk, k_test_test=TEST.ntk[:2, :2]),
        ValueError,
        r"k_test_test has shape \(2, 2\), but \(5, 5\) is needed",
    ),
    "diagonal for a covariance": (
        lambda: BARE(k_test_train=CROSS.ntk, k_test_test=TEST.ntk.diagonal()),
        ValueError,
        r"k_test_test has shape \(5,\), but \(5, 5\) is needed",
    ),
    "test asymmetric": (
        lambda: BARE(k_test_train=CROSS.ntk, k_test_test=np.triu(TEST.ntk)),
        ValueError,
        "k_test_test differs from its transpose",
    ),
    "twice": (lambda: PAIR(get=("ntk", "ntk")), ValueError, "each at most once"),
    "no names": (lambda: PAIR(get=()), ValueError, "at least one prediction"),
    "list": (lambda: PAIR(get=["ntk"]), ValueError, r"get is \['ntk'\], but must be 'nngp', 'ntk' or 'ntkgp'"),
    "name in a tuple": (lambda: PAIR(get=("ntk", "gp")), ValueError, "get is 'gp', but must be"),
    "compute_cov text": (lambda: PAIR(compute_cov="all"), ValueError, "compute_cov is 'all', .* 'diag' for variances"),
    "compute_cov": (lambda: PAIR(compute_cov=None), TypeError, "compute_cov is None, but True or False is needed"),
    "std": (lambda: MEANS.std, ValueError, "std needs a variance: call with compute_cov=True"),
    "interval": (lambda: MEANS.interval(0.5), ValueError, "interval needs a variance"),
    "sample": (lambda: MEANS.sample(1, 0), ValueError, "sample needs the covariance between points: compute_cov=True"),
    "sample diag": (
        lambda: BY_FUNCTION(Z, compute_cov="diag").sample(1, 0),
        ValueError,
        "sample needs the covariance",
    ),
    "n": (lambda: TestPrediction.found.sample(0, 0), ValueError, "n is 0, but at least 1"),
    "rng": (lambda: TestPrediction.found.sample(1, -1), ValueError, "rng is -1"),
    "p": (lambda: TestPrediction.found.interval(1), ValueError, "p is 1.0, but must lie between 0 and 1"),
    "p text": (lambda: TestPrediction.found.interval("a"), TypeError, "p is 'a', but a number"),
    "plot x": (MEANS.plot, ValueError, "x is not known, because kernel matrices were given: pass x="),
    "plot columns": (TestPrediction.found.plot, ValueError, r"x has shape \(5, 3\), but one number"),
    "plot times": (lambda: TIMES.plot(x=np.zeros(5)), ValueError, "for one time t"),
}


@pytest.mark.parametrize(("make", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_the_joint_posterior_of_outputs_is_that_of_pairs():
    """Against the formulas on (N, N, O, O), written out by einsum."""
    net = ntkrs.mlp(depth=1, width=40, outputs=2, activation="erf", sigma_b=0.3).init(3, rng=0)
    train, cross, test = net.ntk(X), net.ntk(Z, X), net.ntk(Z)

    def flat(k):
        return k.transpose(0, 2, 1, 3).reshape(k.shape[0] * 2, k.shape[1] * 2)

    found = predict.gp_inference(flat(train), Y.reshape(-1), diag_reg=0.5, diag_reg_absolute_scale=True)(
        k_test_train=flat(cross), k_test_test=flat(test)
    )
    inverse = np.linalg.tensorinv(train.transpose(0, 2, 1, 3) + 0.5 * np.eye(24).reshape(12, 2, 12, 2))
    mean = np.einsum("mnab,nbkc,kc->ma", cross, inverse, Y)
    covariance = test - np.einsum("mnab,nbkc,lkdc->mlad", cross, inverse, cross)
    # Two ways to solve systems of condition 100.
    np.testing.assert_allclose(found.mean.reshape(5, 2), mean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        found.covariance.reshape(5, 2, 5, 2).transpose(0, 2, 1, 3), covariance, rtol=0, atol=1e-12
    )
    assert np.abs(covariance[:, :, 0, 1]).max() > 0.01  # outputs are not independent
    assert found.sample(3, rng=0).reshape(3, 5, 2).shape == (3, 5, 2)
    with pytest.raises(ValueError, match=r"For a joint posterior of all O outputs pass K\.transpose"):
        predict.gp_inference(train, Y)
