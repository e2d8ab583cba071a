"""Random features: right in the mean over draws, at every scale and learning scale; and regression on features."""

import numpy as np
import pytest

import ntkrs
from ntkrs import Dense, Erf, Relu, Sequential, features, mlp
from ntkrs.features.sketch import TensorSketch
from oracles import infinite, quadrature
from oracles.tables import EVERY, is_steep, named
from package import built, network


def rows(count=4, seed=0):
    """Rows of mean square 1, which activations that grow need to have a small variance over draws."""
    x = np.random.default_rng(seed).standard_normal((count, 5))
    return x / np.sqrt((x**2).mean(axis=1, keepdims=True))


def error(kernel, x, n_features, seed, get="ntk"):
    """Return ``|F Fᵀ − K| / |K|``."""
    phi = features.random(kernel, in_features=x.shape[1], n_features=n_features, get=get, rng=seed).transform(x)
    k = kernel(x, get=get)
    return np.linalg.norm(phi @ phi.T - k) / np.linalg.norm(k)


def assert_mean(draws, exact):
    """Check the mean of draws against its expectation: 5 standard errors, and 1e-7 for the jump of sign."""
    mean, deviation = np.mean(draws, axis=0), np.std(draws, axis=0, ddof=1)
    assert (np.abs(mean - exact) <= 5 * deviation / np.sqrt(len(draws)) + 1e-7 * np.abs(exact).max()).all()


@pytest.mark.parametrize("activation", ["relu", "erf", "sign"])
def test_the_mean_over_draws_is_the_nngp_of_one_hidden_layer(activation):
    assert_mean_of_draws(activation, "nngp")


@pytest.mark.parametrize("activation", **named(EVERY))
def test_the_mean_over_draws_is_the_ntk_of_one_hidden_layer(activation):
    assert_mean_of_draws(activation, "ntk")


def assert_mean_of_draws(activation, get):
    """Check features of one hidden layer, which have no bias, against integrals."""
    sigma_w, sigma_b = (0.6, 0.3) if is_steep(activation) else (1.3, 0.5)
    x = rows()
    exact = quadrature.kernels(x, x, sigma_w, sigma_b, [activation])[get == "ntk"]
    kernel = network([sigma_w] * 2, [sigma_b] * 2, [built(activation)])
    draws = []
    for seed in range(300):
        phi = features.random(kernel, in_features=5, n_features=48, get=get, rng=seed).transform(x)
        draws.append(phi @ phi.T)
    assert np.std(draws, axis=0).max() < 2 * np.abs(exact).max()  # so that 5 standard errors tell something
    assert_mean(draws, exact)


@pytest.mark.parametrize("activation", ["relu", "erf", "tanh"])
def test_the_error_falls_like_the_root_of_the_number_of_features(activation):
    kernel = mlp(2, 1, 1, activation, sigma_w=2**0.5, sigma_b=0.2).kernel()
    x = np.random.default_rng(1).standard_normal((12, 6))
    few, many = (np.mean([error(kernel, x, n, seed) for seed in range(24)]) for n in (128, 2048))
    # 4 if it falls like n^-1/2. Errors of single draws scatter by a half, and so a mean of 24 by a tenth.
    assert 2.8 < few / many < 5.7


@pytest.mark.parametrize(
    "tau", [{}, {"tau_b": 1.5}, {"tau_b": 0.0}, {"trainable": False}], ids=["ntk", "tau_b", "fixed biases", "frozen"]
)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_learning_scales_are_those_of_the_layer(at, tau):
    dense = [Dense(3, 1.3, 1.0, **(tau if at == layer else {})) for layer in range(3)]
    kernel = Sequential(dense[0], Erf(), dense[1], Relu(), dense[2]).kernel()
    tau_w, tau_b = [1.3] * 3, [1.0] * 3
    tau_w[at] *= tau.get("trainable", True)
    tau_b[at] = 0.0 if "trainable" in tau else tau.get("tau_b", 1.0)
    x = np.random.default_rng(2).standard_normal((10, 5))
    exact = infinite.kernels_numpy(x, None, 1.3, 1.0, ["erf", "relu"], tau_w, tau_b)[1]
    draws = [features.random(kernel, in_features=5, n_features=2000, rng=seed).transform(x) for seed in range(5)]
    mean = np.mean([phi @ phi.T for phi in draws], axis=0)
    # 5 draws of 2000 features come within 3 %. A scale that is left out changes the kernel by 6 % at least.
    assert np.linalg.norm(mean - exact) < 0.045 * np.linalg.norm(exact)


def test_standard_parameters_learn_at_the_widths():
    arch = Sequential(Dense(3, 1.3, 1.0), Erf(), Dense(7, 1.3, 1.0), Relu(), Dense(1, 1.3))
    x = np.random.default_rng(2).standard_normal((10, 5))
    exact = infinite.kernels_numpy(
        x, None, 1.3, [1.0, 1.0, 0.0], ["erf", "relu"], [5**0.5, 3**0.5, 7**0.5], [1.0, 1.0, 0.0]
    )[1]
    draws = [
        features.random(arch.kernel("standard"), in_features=5, n_features=2000, rng=seed).transform(x)
        for seed in range(5)
    ]
    mean = np.mean([phi @ phi.T for phi in draws], axis=0)
    assert np.linalg.norm(mean - exact) < 0.045 * np.linalg.norm(exact)


@pytest.mark.parametrize("get", ["nngp", "ntk"])
@pytest.mark.parametrize("bias", [0.0, 0.7])
@pytest.mark.parametrize("trainable", [True, False])
def test_networks_without_hidden_layers_are_projected(get, bias, trainable):
    kernel = Sequential(Dense(1, 1.5, bias, trainable=trainable)).kernel()
    x = np.random.default_rng(3).standard_normal((4, 5))
    draws = []
    for seed in range(200):
        phi = features.random(kernel, in_features=5, n_features=60, get=get, rng=seed).transform(x)
        assert phi.shape == (4, 60)
        draws.append(phi @ phi.T)
    learns = trainable or get == "nngp"
    assert_mean(draws, learns * (1.5**2 * x @ x.T / 5 + bias**2))


@pytest.mark.parametrize("n_features", [3, 4, 5, 64, 65])
@pytest.mark.parametrize("bias", [0.0, 1.0])
@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("get", ["nngp", "ntk"])
def test_there_are_as_many_features_as_asked_for(n_features, bias, trainable, get):
    last = Dense(1, 1.0, bias, trainable=trainable)
    kernel = Sequential(Dense(1), Relu(), Dense(1, 1.0, 0.5, trainable=False), Erf(), last).kernel()
    found = features.random(kernel, in_features=2, n_features=n_features, get=get)
    assert (found.in_features, found.n_features, found.get) == (2, n_features, get)
    for count in (0, 1, 3):
        phi = found.transform(np.ones((count, 2)))
        assert phi.shape == (count, n_features)
        assert np.isfinite(phi).all()


def test_biases_are_exact():
    kernel = mlp(1, 1, 1, "relu", sigma_b=0.5).kernel()
    phi = features.random(kernel, in_features=3, n_features=100).transform(np.zeros((2, 3)))
    assert np.any(np.all(phi == 0.5, axis=0))


def test_features_are_of_a_seed_and_of_a_row():
    kernel, x = mlp(2, 1, 1, "relu").kernel(), np.random.default_rng(0).standard_normal((700, 4))
    first = features.random(kernel, in_features=4, n_features=4096)
    again = features.random(kernel, in_features=4, n_features=4096, rng=np.random.default_rng(0))
    phi = first.transform(x)
    assert np.array_equal(phi, again.transform(x))
    # BLAS rounds sums differently at other places of a block: a few roundings of sums of 2000 terms.
    np.testing.assert_allclose(first.transform(x[::-1])[::-1], phi, rtol=0, atol=1e-12)
    other = features.random(kernel, in_features=4, n_features=4096, rng=1)
    assert not np.allclose(other.transform(x[:2]), phi[:2])


def test_float32_inputs_have_float32_features():
    kernel, x = mlp(2, 1, 1, "erf").kernel(), np.random.default_rng(0).standard_normal((7, 4)).astype(np.float32)
    found = features.random(kernel, in_features=4, n_features=50)
    single, double = found.transform(x), found.transform(x.astype(np.float64))
    assert single.dtype == np.float32
    assert np.array_equal(single, double.astype(np.float32))  # computed in float64, rounded once
    assert found.transform(np.ones((2, 4), dtype=int)).dtype == np.float64


def test_user_supplied_activations_have_features():
    softplus = ntkrs.Activation(lambda x: np.logaddexp(0, x), lambda x: 1 / (1 + np.exp(-x)))
    ours, known = (mlp(1, 1, 1, activation).kernel() for activation in (softplus, "softplus"))
    x = rows()
    found = [features.random(kernel, in_features=5, n_features=40).transform(x) for kernel in (ours, known)]
    np.testing.assert_allclose(*found, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_scales_of_homogeneous_networks_are_kept(scale):
    found = features.random(mlp(2, 1, 1, "relu").kernel(), in_features=4, n_features=64)
    x = np.random.default_rng(0).standard_normal((5, 4))
    np.testing.assert_allclose(found.transform(x * scale), found.transform(x) * scale, rtol=1e-9, atol=1e-12 * scale)


def test_features_that_overflow_are_refused():
    found = features.random(mlp(1, 1, 1, "exp").kernel(), in_features=2, n_features=8)
    with pytest.raises(ValueError, match=r"the features of Z\[1\] exceed the range of float64"):
        found.transform([[0.0, 0.0], [1e6, 1e6]])
    single = features.random(mlp(1, 1, 1, "relu", sigma_w=100.0).kernel(), in_features=1, n_features=8)
    with pytest.raises(ValueError, match=r"Z\[0\] exceed the range of float32"):
        single.transform(np.array([[3e38]], dtype=np.float32))


def test_bad_arguments_of_random_features_are_named(limit_memory):
    kernel = mlp(1, 1, 1, "relu").kernel()
    good = {"in_features": 3, "n_features": 16}
    for change, kind, message in [
        ({"in_features": 0}, ValueError, "in_features is 0, but at least 1 is needed"),
        ({"n_features": 2}, ValueError, "n_features is 2, but at least 3 are needed"),
        ({"n_features": 2.5}, TypeError, "n_features is 2.5, but an integer is needed"),
        ({"get": "both"}, ValueError, "get is 'both', but must be 'ntk' or 'nngp'"),
        ({"rng": -1}, ValueError, "rng is -1, but a seed >= 0"),
    ]:
        with pytest.raises(kind, match=message):
            features.random(kernel, **(good | change))
    with pytest.raises(TypeError, match=r"kernel is .*Sequential.*, but a Kernel is needed, such as arch\.kernel\(\)"):
        features.random(kernel.arch, **good)
    found = features.random(kernel, **good)
    for z, kind, message in [
        (np.ones((2, 4)), ValueError, "Z has 4 features, but these features were drawn for 3"),
        (np.ones(3), ValueError, r"Z has shape \(3,\)"),
        ([[np.nan, 0, 0]], ValueError, r"Z holds nan at \(0, 0\)"),
        (np.ones((2, 3), complex), TypeError, "Z holds complex numbers"),
    ]:
        with pytest.raises(kind, match=message):
            found.transform(z)
    limit_memory(10**6)
    with pytest.raises(MemoryError, match=r"random features of length 8000 needs .* Ask for fewer features"):
        features.random(mlp(2, 1, 1, "relu").kernel(), in_features=3, n_features=8000)
    with pytest.raises(MemoryError, match="the feature matrix of shape"):
        found.transform(np.ones((10000, 3)))


def test_sketches_are_convolutions_of_count_sketches():
    """Against the definition: entry (i, j) of a ⊗ b goes to the sum of both hashes, with the product of both signs."""
    rng = np.random.default_rng(0)
    sketch = TensorSketch.draw(3, 4, 5, rng)
    left, right = sketch.left.toarray(), sketch.right.toarray()
    assert (np.abs(left).sum(axis=0) == 1).all()
    a, b = rng.standard_normal((6, 3)), rng.standard_normal((6, 4))
    expected = np.zeros((6, 5))
    for i in range(3):
        for j in range(4):
            bucket = (np.abs(left[:, i]).argmax() + np.abs(right[:, j]).argmax()) % 5
            expected[:, bucket] += left[:, i].sum() * right[:, j].sum() * a[:, i] * b[:, j]
    np.testing.assert_allclose(sketch(a, b), expected, atol=1e-13)


class Table:
    """Features that are given numbers: the first column of X is the row of the table."""

    def __init__(self, phi):
        self.phi, self.largest = phi, 0

    def transform(self, Z):
        self.largest = max(self.largest, len(Z))
        return self.phi[np.asarray(Z)[:, 0].astype(int)]


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    return Table(rng.standard_normal((50, 12))), np.arange(50.0)[:, None], rng.standard_normal((50, 3))


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("diag_reg", [0.0, 1e-3, 10.0])
@pytest.mark.parametrize("block_rows", [1, 7, 50, 4096])
def test_ridge_regression_is_that_of_the_normal_equations(problem, diag_reg, absolute, block_rows):
    table, x, y = problem
    r = diag_reg if absolute else diag_reg * (table.phi**2).sum() / 50
    stacked = np.vstack([table.phi, np.sqrt(r) * np.eye(12)])
    expected = np.linalg.lstsq(stacked, np.vstack([y, np.zeros((12, 3))]))[0]
    options = {"diag_reg_absolute_scale": absolute, "block_rows": block_rows}
    w = features.ridge(table, x, y, diag_reg, **options)
    np.testing.assert_allclose(w, expected, rtol=0, atol=1e-12)  # condition 20, of 50 rows
    assert table.largest == min(block_rows, 50)
    one = features.ridge(table, x, y[:, 1], diag_reg, **options)
    assert one.shape == (12,)
    np.testing.assert_allclose(one, expected[:, 1], rtol=0, atol=1e-12)


def test_predictions_are_those_of_the_kernel_of_the_features(problem):
    table, x, y = problem
    k = table.phi @ table.phi.T
    expected = k[:5] @ np.linalg.solve(k + 0.1 * k.trace() / 50 * np.eye(50), y)
    np.testing.assert_allclose(table.phi[:5] @ features.ridge(table, x, y, 0.1), expected, rtol=0, atol=1e-12)


def test_features_of_float32_are_summed_in_float64(problem):
    table, x, y = problem
    expected = features.ridge(table, x, y, 0.01)
    single = Table(table.phi.astype(np.float32))
    rounded = Table(single.phi.astype(np.float64))
    w = features.ridge(single, x, y, 0.01)
    assert w.dtype == np.float64
    assert np.array_equal(w, features.ridge(rounded, x, y, 0.01))
    np.testing.assert_allclose(w, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-100, 1e100])
def test_ridge_regression_keeps_the_scale_of_features(problem, scale):
    table, x, y = problem
    w = features.ridge(Table(table.phi * scale), x, y, 0.01)
    np.testing.assert_allclose(w * scale, features.ridge(table, x, y, 0.01), rtol=1e-9, atol=1e-12)


def test_no_rows_and_features_of_zeros_have_weights_of_zero():
    table = Table(np.zeros((4, 6)))
    assert np.array_equal(features.ridge(table, np.zeros((4, 1)), np.ones((4, 2)), 0.1), np.zeros((6, 2)))
    assert np.array_equal(features.ridge(table, np.zeros((0, 1)), np.ones((0, 2)), 0.1), np.zeros((6, 2)))
    assert features.ridge(Table(np.ones((1, 1))), [[0.0]], [3.0], 0.0) == pytest.approx([3.0])


def test_bad_arguments_of_ridge_regression_are_named(problem, limit_memory):
    table, x, y = problem
    for arguments, kind, message in [
        ((table.phi, x, y, 0.1), TypeError, r"F is an array of shape \(50, 12\).*a method transform"),
        ((table, x[:, 0], y, 0.1), ValueError, r"X has shape \(50,\)"),
        ((table, x, y[:49], 0.1), ValueError, r"y has shape \(49, 3\), but \(50,\) or \(50, O\) is needed to match X"),
        ((table, x, y[:, :, None], 0.1), ValueError, r"y has shape \(50, 3, 1\)"),
        ((table, x, y * np.nan, 0.1), ValueError, r"y holds nan at \(0, 0\)"),
        ((table, x, y, -0.1), ValueError, "diag_reg is -0.1, but must be >= 0"),
        ((table, x, y, np.nan), ValueError, "diag_reg is nan, but must be finite"),
        ((Table(table.phi * np.inf), x, y, 0.1), ValueError, r"F\.transform\(X\) holds"),
        ((Table(table.phi[:, 0]), x, y, 0.1), ValueError, r"F\.transform returned shape"),
    ]:
        with pytest.raises(kind, match=message):
            features.ridge(*arguments)
    with pytest.raises(ValueError, match="block_rows is 0, but at least 1 is needed"):
        features.ridge(table, x, y, 0.1, block_rows=0)
    copies = Table(np.hstack([table.phi, table.phi]))
    with pytest.raises(
        np.linalg.LinAlgError, match=r"with r = 0: the 24 features depend on each other.*Raise diag_reg"
    ):
        features.ridge(copies, x, y, 0.0)
    limit_memory(100)
    with pytest.raises(MemoryError, match=r"regression on 12 features needs .* Use fewer features"):
        features.ridge(table, x, y, 0.1)
