"""Outputs over random initialisations: the very networks of init, and the laws of their moments."""

import numpy as np
import pytest

import ntkrs
from ntkrs import Dense, Erf, Sequential, ensemble_outputs, mlp

ARCH = Sequential(Dense(9, 1.3, 0.4), Erf(), Dense(5, 1.1, 0.2, tau_b=0.7), Erf(), Dense(2, 0.9))
X = np.random.default_rng(0).standard_normal((4, 3))


def test_outputs_are_those_of_init():
    seeds = [3, 0, 7, 7, 12]
    found = ensemble_outputs(ARCH, X, seeds=seeds, quantiles=[0.0, 0.3, 1.0])
    expected = np.stack([ARCH.init(3, rng=seed)(X) for seed in seeds])
    assert np.array_equal(found.outputs, expected)
    np.testing.assert_allclose(found.mean, expected.mean(0), rtol=1e-13)
    np.testing.assert_allclose(found.variance, expected.var(0, ddof=1), rtol=1e-13)
    assert np.array_equal(found.quantiles, np.quantile(expected, [0.0, 0.3, 1.0], axis=0))
    assert np.array_equal(found.levels, [0.0, 0.3, 1.0])
    centred = expected - expected.mean(0)
    np.testing.assert_allclose(found.excess_kurtosis, (centred**4).mean(0) / (centred**2).mean(0) ** 2 - 3, rtol=1e-12)
    assert np.array_equal(ensemble_outputs(ARCH, X, seeds=5).outputs[0], ARCH.init(3, rng=0)(X))
    wider = ensemble_outputs(ARCH, X, width=17, seeds=2).outputs
    assert np.array_equal(wider[1], ARCH.with_width(17).init(3, rng=1)(X))


def test_moments_of_a_relu_network_are_known():
    """Given the hidden layer, f is normal. Its excess kurtosis is 3/n (E φ⁴/(E φ²)² − 1) = 15/n."""
    n, count = 8, 20_000
    found = ensemble_outputs(mlp(1, n, 1, "relu"), [[1.0]], seeds=count)
    std = np.sqrt(0.5)
    assert abs(found.mean.item()) < 4 * std / np.sqrt(count)
    # The error of the variance is √((κ + 2)/S) of it; that of the kurtosis, from the eighth moment, about 0.25.
    assert abs(found.variance.item() / 0.5 - 1) < 4 * np.sqrt((15 / n + 2) / count)
    assert abs(found.excess_kurtosis.item() - 15 / n) < 1.0
    wide = ensemble_outputs(mlp(1, 256, 1, "relu"), [[1.0]], seeds=4000)
    assert abs(wide.excess_kurtosis.item()) < 4 * np.sqrt(24 / 4000) + 15 / 256
    low, high = wide.quantiles[[0, -1], 0, 0]
    assert abs(high / std - 1.96) < 0.2  # a quantile of 4000 draws has an error of about 0.04
    assert abs(low / std + 1.96) < 0.2


def test_constant_outputs_have_no_variance():
    found = ensemble_outputs(mlp(1, 3, 1, "relu"), np.zeros((1, 2)), seeds=3)
    assert [found.variance.item(), found.excess_kurtosis.item(), found.mean.item()] == [0.0, 0.0, 0.0]
    assert ensemble_outputs(ARCH, X[:0], seeds=2).quantiles.shape == (5, 0, 2)


def test_progress_counts_networks():
    heard = []
    ensemble_outputs(ARCH, X, seeds=3, progress=lambda done, total: heard.append((done, total)))
    assert heard == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_plot():
    figures = pytest.importorskip("matplotlib.figure")
    found = ensemble_outputs(ARCH, X, seeds=50)
    assert isinstance(found.plot(), figures.Figure)
    ax = figures.Figure().subplots()
    assert found.plot(sample=3, output=1, ax=ax) is ax.figure
    assert sorted(ax.get_legend_handles_labels()[1]) == ["50 networks", "normal distribution"]
    with pytest.raises(ValueError, match="sample is 4, but must be from 0 to 3"):
        found.plot(sample=4)
    with pytest.raises(ValueError, match="sample 0 has an output of variance 0, which has no density"):
        ensemble_outputs(mlp(1, 3, 1), np.zeros((1, 2)), seeds=3).plot()


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"quantiles is \[0.5, 1.5\], but a sequence of numbers from 0 to 1"):
        ensemble_outputs(ARCH, X, quantiles=[0.5, 1.5])
    with pytest.raises(ValueError, match=r"seeds is 1, but a variance needs at least 2 networks"):
        ensemble_outputs(ARCH, X, seeds=1)
    with pytest.raises(ValueError, match=r"X holds nan at \(0, 0\)"):
        ensemble_outputs(ARCH, [[np.nan, 1.0]])
    with pytest.raises(ValueError, match="X has 0 features"):
        ensemble_outputs(ARCH, np.ones((2, 0)))
    with pytest.raises(TypeError, match="X holds complex numbers"):
        ensemble_outputs(ARCH, X + 1j)
    with pytest.raises(MemoryError, match=r"the outputs .* Pass fewer seeds or rows of X"):
        ensemble_outputs(ARCH, np.broadcast_to(X[:1], (10**7, 3)), seeds=10**6)
    unknown = Sequential(Dense(4, sigma_w=None), Erf(), Dense(1, sigma_w=None))
    with pytest.raises(ValueError, match="whose sigma_w is unknown, but an ensemble of random networks needs it"):
        ensemble_outputs(unknown, X)
    assert ntkrs.ensemble_outputs is ensemble_outputs
