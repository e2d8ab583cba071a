"""Moments of the empirical NTK over initialisations: against kernels computed one by one."""

import numpy as np
import pytest

import ntkrs
from ntkrs import Dense, Relu, Sequential, Tanh, mlp

ARCH = Sequential(Dense(20, 1.4, 0.3), Relu(), Dense(7, 0.9), Tanh(), Dense(3, 1.1, 0.2))
X = np.random.default_rng(0).standard_normal((40, 6))
Z = np.random.default_rng(1).standard_normal((9, 6))


@pytest.mark.parametrize("outputs", ["full", "trace", "mean", "diagonal", "sum", 1])
@pytest.mark.parametrize("z", [None, Z])
def test_moments_are_those_of_the_kernels(outputs, z):
    moments = ntkrs.ensemble_ntk(ARCH, X, z, seeds=20, outputs=outputs)
    kernels = np.array([ARCH.init(6, rng=seed).ntk(X, z, outputs=outputs) for seed in range(20)])
    assert moments.mean.shape == moments.variance.shape == kernels.shape[1:]
    eps = np.finfo(np.float64).eps
    largest = abs(kernels).max()
    # Sums of 20 terms; the kernels themselves are the same to the last bit.
    np.testing.assert_allclose(moments.mean, kernels.mean(0), rtol=0, atol=20 * eps * largest)
    np.testing.assert_allclose(moments.variance, kernels.var(0, ddof=1), rtol=0, atol=50 * eps * largest**2)


def test_networks_are_those_of_init_bit_for_bit():
    """The mean of two equal kernels is that kernel. Of a million draws, hundreds come from the tail of the ziggurat."""
    arch = mlp(2, 300, 1)
    for seed in (0, 1, 2**32 - 1, 2**32, 2**63 - 1, *range(10, 16)):
        moments = ntkrs.ensemble_ntk(arch, X, seeds=[seed, seed], outputs=0)
        assert np.array_equal(moments.mean, arch.init(6, rng=seed).ntk(X, outputs=0))
        assert not moments.variance.any()


def test_draws_by_law_have_the_law_of_parameters():
    """Means and variances of 2000 networks differ by their standard errors; for variances these are about √(2/S)."""
    wide, other = np.random.default_rng(2).standard_normal((2, 5, 200))
    arch = mlp(2, 30, 2, "relu", 2**0.5, 0.3)
    for z in (None, other):
        first = ntkrs.ensemble_ntk(arch, wide, z, seeds=2000, outputs="trace")
        second = ntkrs.ensemble_ntk(arch, wide, z, seeds=2000, outputs="trace", draws="law")
        assert not np.array_equal(first.mean, second.mean)
        error = np.sqrt((first.variance + second.variance) / 2000)
        assert np.all(abs(first.mean - second.mean) < 5 * error)
        assert np.all(abs(np.log(first.variance / second.variance)) < 0.4)


def test_draws_by_law_refuse_and_return_what_draws_of_parameters_do():
    for draws in ("parameters", "law"):
        x = np.random.default_rng(0).standard_normal((4, 12))
        for batches in ((x[:0],), (x, x[:0]), (x[:0], x[:0])):
            mean, variance = ntkrs.ensemble_ntk(ARCH, *batches, seeds=2, draws=draws, outputs="trace")
            assert mean.shape == variance.shape == (len(batches[0]), len(batches[-1]))
        x[2, 7] = np.nan
        with pytest.raises(ValueError, match=r"X holds nan at .*2, .*7"):
            ntkrs.ensemble_ntk(ARCH, x, seeds=2, draws=draws)
        with pytest.raises(ValueError, match=r"Z holds nan at .*0, .*7"):
            ntkrs.ensemble_ntk(ARCH, np.ones((3, 12)), x[2:], seeds=2, draws=draws)


def test_draws_by_law_keep_inner_products_and_few_features():
    wide = np.random.default_rng(2).standard_normal((5, 200))
    wide[3], wide[4] = wide[0], 0.0
    # One layer, whose kernel depends on no draw: what differs is the rounding of a decomposition of 200 features.
    mean, variance = ntkrs.ensemble_ntk(Sequential(Dense(2, 1.3, 0.2)), wide, seeds=3, outputs=0, draws="law")
    np.testing.assert_allclose(mean, 1.3**2 / 200 * wide @ wide.T + 0.2**2, rtol=0, atol=1e-14)
    assert not variance.any()
    # Forty rows with six features, where this saves nothing.
    for one, same in zip(
        ntkrs.ensemble_ntk(ARCH, X, seeds=3), ntkrs.ensemble_ntk(ARCH, X, seeds=3, draws="law"), strict=True
    ):
        assert np.array_equal(one, same)
    with pytest.raises(ValueError, match="draws"):
        ntkrs.ensemble_ntk(ARCH, X, draws="weights")


def test_no_thread_count_changes_a_bit():
    results = []
    for count in (1, 2, 3, 8):
        with ntkrs.threads(count):
            moments = ntkrs.ensemble_ntk(ARCH, X, seeds=50)
            results.append((moments.mean.tobytes(), moments.variance.tobytes()))
    assert len(set(results)) == 1


def test_width_replaces_those_of_the_hidden_layers():
    same = Sequential(Dense(11, 1.4, 0.3), Relu(), Dense(11, 0.9), Tanh(), Dense(3, 1.1, 0.2))
    for one, other in zip(
        ntkrs.ensemble_ntk(ARCH, X, width=11, seeds=3), ntkrs.ensemble_ntk(same, X, seeds=3), strict=True
    ):
        assert np.array_equal(one, other)


def test_the_mean_approaches_the_infinite_kernel_and_the_variance_falls():
    """The variance falls like 1/n. The mean is off by the standard error and a bias of order 1/n."""
    arch = mlp(2, 1, 1, "relu", 2**0.5, 0.1)
    exact = arch.kernel()(X)
    variances = []
    for width in (32, 128, 512):
        mean, variance = ntkrs.ensemble_ntk(arch, X, width=width, seeds=300, outputs=0)
        assert np.all(abs(mean - exact) < 5 * np.sqrt(variance / 300) + 4 * exact.max() / width)
        variances.append(variance.mean())
    slope = np.polyfit(np.log([32, 128, 512]), np.log(variances), 1)[0]
    assert -1.25 < slope < -0.75  # 300 draws give a variance to 8 %


def test_progress_and_an_early_end():
    seen = []
    ntkrs.ensemble_ntk(ARCH, X, seeds=5, progress=lambda *counts: seen.append(counts))
    assert seen[-1] == (5, 5)

    def enough(*_):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        ntkrs.ensemble_ntk(mlp(3, 300, 1), X, seeds=10**6, progress=enough)


REFUSED = {
    "one seed": ({"seeds": 1}, ValueError, "seeds is 1, but a variance needs at least 2"),
    "no seeds": ({"seeds": []}, ValueError, r"seeds is \[\], but"),
    "negative": ({"seeds": [0, -1]}, ValueError, "seeds holds -1, but seeds are >= 0"),
    "float": ({"seeds": [0.5, 1]}, TypeError, "seeds is 0.5, but an integer"),
    "None": ({"seeds": None}, TypeError, "seeds is None, but an integer"),
    "width": ({"width": 0}, ValueError, "width is 0"),
    "outputs": ({"outputs": 3}, ValueError, "outputs is 3, but this network has outputs 0 to 2"),
    "arch": ({"arch": None}, TypeError, "arch is None"),
    "X NaN": ({"X": X * np.nan}, ValueError, "X holds nan"),
    "Z": ({"Z": Z[:, :2]}, ValueError, "Z has 2 features"),
    "no features": ({"X": X[:, :0]}, ValueError, "X has 0 features"),
    "memory": ({"X": np.broadcast_to(0.0, (10**7, 6))}, MemoryError, "an ensemble of kernels"),
    "overflow": ({"X": X * 1e307}, ValueError, "exceeds the largest float64"),
}


@pytest.mark.parametrize(("change", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(change, error, message):
    with pytest.raises(error, match=message):
        ntkrs.ensemble_ntk(**({"arch": ARCH, "X": X, "seeds": 3} | change))


def test_a_width_changes_nothing_else():
    arch = Sequential(Dense(8, 1.5, 0.3, trainable=False), Relu(), Dense(4, 0.5), Relu(), Dense(2, 0.7))
    assert arch.with_width(5) == Sequential(
        Dense(5, 1.5, 0.3, trainable=False), Relu(), Dense(5, 0.5), Relu(), Dense(2, 0.7)
    )
