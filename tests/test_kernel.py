"""Infinite-width kernels: against 50 digits, and by their laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ntkrs
from ntkrs import Dense, Erf, LeakyRelu, Relu, Sequential, Sign, mlp
from oracles import infinite
from oracles.tables import CLOSED_FORMS, GROWING, JUMPS, MODERATE, PIECEWISE_LINEAR
from package import built

EPS = np.finfo(np.float64).eps


def errors(kernel, exact):
    """Errors in units of √(K_ii K_jj), the scale of an entry's rounding. A zero row must be exact.

    A subnormal result may be the neighbour of the nearest one.
    """
    diagonal = np.sqrt(np.diag(exact))
    scale = np.outer(diagonal, diagonal)
    difference = np.maximum(np.abs(kernel - exact) - np.finfo(float).smallest_subnormal, 0)
    return difference / np.where(scale > 0, scale, np.finfo(float).tiny)


def hard_rows(features):
    """Rows that are random, equal, parallel, nearly equal, opposite, orthogonal, zero, large and small."""
    x = np.random.default_rng(features).standard_normal((15, features))
    x[1] = x[0]
    x[2] = 3 * x[0]
    for row, distance in zip((3, 4, 5, 6, 7), (1e-15, 1e-12, 1e-9, 1e-5, 1e-2), strict=True):
        x[row] = x[0] * (1 + distance * x[row])
    x[8] = 0.0
    x[9] *= 1e3
    x[10] *= 1e-3
    x[11] -= x[0] * (x[11] @ x[0]) / (x[0] @ x[0])
    x[12] = -2 * x[0]
    x[13] = -x[0] * (1 + 1e-9 * x[13])
    return x


@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("sigma_b", [0.0, 0.3])
@pytest.mark.parametrize("name", MODERATE)
def test_every_pair_is_right_to_the_last_digits(name, sigma_b, depth):
    x = hard_rows(5)
    kernel = mlp(depth, 1, 1, built(CLOSED_FORMS[name]), 1.3, sigma_b).kernel()(x, get=("nngp", "ntk"))
    nngp, ntk = infinite.kernels(x, None, 1.3, sigma_b, [CLOSED_FORMS[name]] * depth, rounded=True)
    # The README promises 16 ε and 64 ε for every pair of rows.
    assert errors(kernel.nngp, nngp).max() <= 16 * EPS
    assert errors(kernel.ntk, ntk).max() <= 64 * EPS


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("sigma_b", [0.0, 0.3])
@pytest.mark.parametrize("name", GROWING)
def test_what_grows_amplifies_the_rounding_of_its_argument(name, sigma_b, depth):
    """A power n of a power n … is a power n^depth, and has that many times the relative error of its argument."""
    x = hard_rows(5) * 0.5
    x[9] /= 1e3
    activation, steepness = GROWING[name]
    kernel = mlp(depth, 1, 1, built(CLOSED_FORMS[name]), 1.1, sigma_b).kernel()(x, get=("nngp", "ntk"))
    nngp, ntk = infinite.kernels(x, None, 1.1, sigma_b, [activation] * depth, rounded=True)
    amplified = 2 * steepness**depth * EPS
    assert errors(kernel.nngp, nngp).max() <= max(16 * EPS, amplified)
    assert errors(kernel.ntk, ntk).max() <= max(64 * EPS, amplified)


@pytest.mark.parametrize("sigma_b", [0.0, 0.3])
@pytest.mark.parametrize("name", JUMPS)
def test_jumps(name, sigma_b):
    x = hard_rows(5)
    for depth in (1, 3):
        kernel = mlp(depth, 1, 1, built(CLOSED_FORMS[name]), 1.3, sigma_b).kernel()(x, get=("nngp", "ntk"))
        nngp, ntk = infinite.kernels(x, None, 1.3, sigma_b, [CLOSED_FORMS[name]] * depth, rounded=True)
        assert errors(kernel.nngp, nngp).max() <= 16 * EPS
        assert errors(kernel.ntk, ntk).max() <= 64 * EPS


@pytest.mark.parametrize("size", [1e-6, 1e-3, 0.1, 1.0])
@pytest.mark.parametrize("name", sorted(set(MODERATE) | {"polynomial", "hermite 2", "monomial 3", "rectified_power 3"}))
def test_gaps_are_right_to_the_angle(name, size):
    """A ReLU network on top sees √(1 − ρ), which the kernels of close rows would hide."""
    x = hard_rows(3)[[0, 1, 2, 3, 4, 5, 6, 7, 12, 13]] * size
    for sigma_b in (0.0, 0.3):
        layers = (Dense(1, 1.3), built(CLOSED_FORMS[name]), Dense(1, 1.1, sigma_b), Relu(), Dense(1, 1.0))
        kernel = Sequential(*layers).kernel()(x, get=("nngp", "ntk"))
        specs = [CLOSED_FORMS[name], "relu"]
        nngp, ntk = infinite.kernels(x, None, [1.3, 1.1, 1.0], [0.0, sigma_b, 0.0], specs, rounded=True)
        assert errors(kernel.nngp, nngp).max() <= 16 * EPS
        assert errors(kernel.ntk, ntk).max() <= 64 * EPS


@pytest.mark.parametrize("name", [name for name in CLOSED_FORMS if name not in JUMPS])
def test_price(name):
    """dT/dc = Ṫ, for two rows that turn away from each other."""
    step = 1e-4
    for angle in (0.3, 1.2, 2.0, 2.9):
        x = np.array([[np.cos(t), np.sin(t)] for t in (0.0, angle - step, angle, angle + step)]) * 2**0.5
        x[1:] *= 0.7
        kernel = mlp(1, 1, 1, built(CLOSED_FORMS[name]), 1.0).kernel()(x[:1], x[1:], get=("nngp", "ntk"))
        before, here, after = kernel.nngp[0]
        c = x[:1] @ x[1:].T / 2
        slope = (after - before) / (c[0, 2] - c[0, 0])
        # ntk = T + Ṫ c; differences have a truncation of step² and a rounding of ε/step.
        assert slope == pytest.approx((kernel.ntk[0, 1] - here) / c[0, 1], rel=1e-6, abs=1e-6)


def test_the_tangent_kernel_of_signs_is_that_of_the_last_layer():
    x = np.random.default_rng(0).standard_normal((9, 4))
    kernel = mlp(2, 1, 1, Sign(), 1.3, 0.2).kernel()(x, get=("nngp", "ntk"))
    assert np.array_equal(kernel.nngp, kernel.ntk)


@pytest.mark.parametrize("depth", [10, 30])
def test_deep_networks(depth):
    x = hard_rows(4)
    kernel = mlp(depth, 1, 1, "relu", 2**0.5, 0.1).kernel()(x, get=("nngp", "ntk"))
    nngp, ntk = infinite.kernels(x, None, 2**0.5, 0.1, ["relu"] * depth, rounded=True)
    assert errors(kernel.nngp, nngp).max() <= 16 * EPS
    assert errors(kernel.ntk, ntk).max() <= 64 * EPS


@pytest.mark.parametrize("sigma_b", [0.0, 0.3])
@pytest.mark.parametrize("size", [1e-60, 1e-100, 1e-140, 1e-150, 1e-155])
def test_erf_of_tiny_rows(size, sigma_b):
    """Without biases the kernel of two tiny rows is tiny too, and just as exact."""
    tiny = np.random.default_rng(0).standard_normal((4, 3)) * size
    x = np.vstack([tiny, tiny[:1], -2 * tiny[1:2], np.eye(3)[:1]])
    kernel = mlp(3, 1, 1, "erf", 1.3, sigma_b).kernel()(x, get=("nngp", "ntk"))
    nngp, ntk = infinite.kernels(x, None, 1.3, sigma_b, ["erf"] * 3, rounded=True)
    assert errors(kernel.nngp, nngp).max() <= 16 * EPS
    assert errors(kernel.ntk, ntk).max() <= 64 * EPS


def test_layers_of_all_kinds():
    x = hard_rows(3)
    layers = (Dense(1, 1.5, 0.2), Erf(), Dense(1, 0.8), Relu(), Dense(1, 2.0, 0.7), LeakyRelu(0.3), Dense(1, 1.0))
    kernel = Sequential(*layers).kernel()(x, get=("ntk", "nngp"))
    sigma_w, sigma_b = [1.5, 0.8, 2.0, 1.0], [0.2, 0.0, 0.7, 0.0]
    nngp, ntk = infinite.kernels(x, None, sigma_w, sigma_b, ["erf", "relu", ("leaky_relu", 0.3)], rounded=True)
    assert kernel._fields == ("ntk", "nngp")
    assert errors(kernel.nngp, nngp).max() <= 16 * EPS
    assert errors(kernel.ntk, ntk).max() <= 64 * EPS


@pytest.mark.parametrize("slope", [-3.0, -0.999, 0.5, 1.5])
@pytest.mark.parametrize("sigma_b", [0.0, 0.3])
def test_kinks_of_any_slope(slope, sigma_b):
    x = hard_rows(2)
    kernel = mlp(3, 1, 1, LeakyRelu(slope), 0.9, sigma_b).kernel()(x)
    _, ntk = infinite.kernels(x, None, 0.9, sigma_b, [("leaky_relu", slope)] * 3, rounded=True)
    assert errors(kernel, ntk).max() <= 64 * EPS


@pytest.mark.parametrize(("name", "features"), [("relu", 1), ("relu", 1000), *((name, 17) for name in MODERATE)])
def test_single_precision(name, features):
    x = hard_rows(features).astype(np.float32)
    kernel = mlp(3, 1, 1, built(CLOSED_FORMS[name]), 1.3, 0.2).kernel()(x, get=("nngp", "ntk"))
    nngp, ntk = infinite.kernels(x.astype(np.float64), None, 1.3, 0.2, [CLOSED_FORMS[name]] * 3, rounded=True)
    # The README promises 8 ε₃₂.
    assert kernel.ntk.dtype == np.float32
    assert errors(kernel.nngp, nngp).max() <= 8 * np.finfo(np.float32).eps
    assert errors(kernel.ntk, ntk).max() <= 8 * np.finfo(np.float32).eps


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(0, 70),
    m=st.integers(0, 70),
    features=st.integers(1, 70),
    depth=st.integers(0, 4),
    name=st.sampled_from(sorted(MODERATE)),
    sigma_b=st.sampled_from([0.0, 0.4]),
    dtype=st.sampled_from([np.float32, np.float64]),
    steps=st.tuples(st.sampled_from([-2, -1, 1, 3]), st.sampled_from([-1, 1, 2])),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_shape_stride_and_dtype(n, m, features, depth, name, sigma_b, dtype, steps, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((3 * n, 2 * features)).astype(dtype)[:: steps[0], :: steps[1]][:n, :features]
    z = rng.standard_normal((m, x.shape[1])).astype(dtype)
    if x.shape[1] == 0:
        return
    kernel = mlp(depth, 1, 1, built(CLOSED_FORMS[name]), 1.3, sigma_b).kernel()(x, z, get=("nngp", "ntk"))
    args = (1.3, sigma_b, [CLOSED_FORMS[name]] * depth)
    nngp, ntk = infinite.kernels_numpy(x.astype(np.float64), z.astype(np.float64), *args)
    # With one feature every pair is (anti)parallel, where the plain recursion of the oracle keeps half of the digits.
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    tolerance = max(tolerance, 1e-6) if features < 3 else tolerance
    # Errors are in units of √(K_ii K_jj): with two rows only, the entry between them may be far smaller.
    own = [np.abs(infinite.kernels_numpy(rows.astype(np.float64), None, *args)).max(initial=0.0) for rows in (x, z)]
    scale = np.sqrt(own[0] * own[1])
    np.testing.assert_allclose(kernel.nngp, nngp, rtol=0, atol=tolerance * scale)
    np.testing.assert_allclose(kernel.ntk, ntk, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("sigma_b", [0.0, 0.3])
@pytest.mark.parametrize("name", CLOSED_FORMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
class TestEntryPurity:
    """K[i, j] is a function of rows i and j alone, to the last bit."""

    def test_it_holds(self, name, sigma_b, dtype):
        rng = np.random.default_rng(3)
        x = rng.standard_normal((217, 9)).astype(dtype)
        x[100] = x[5]
        x[101] = x[5] * dtype(1.0000001)
        kernel = mlp(2, 1, 1, built(CLOSED_FORMS[name]), 0.6 if name in GROWING else 1.3, sigma_b).kernel()
        whole = kernel(x)
        assert np.array_equal(whole, whole.T)
        assert np.array_equal(whole, kernel(x, x))
        assert np.array_equal(kernel(x[:50], x[50:]), kernel(x[50:], x[:50]).T)
        order = rng.permutation(len(x))
        assert np.array_equal(kernel(x[order]), whole[np.ix_(order, order)])
        assert np.array_equal(kernel(x[7:8], x), whole[7:8])
        assert np.array_equal(kernel.diag(x), np.diag(whole))
        assert whole[5, 100] == whole[5, 5] == whole[100, 100]
        assert np.array_equal(kernel(x, get="nngp"), kernel(x, get=("nngp", "ntk")).nngp)
        for count in (1, 2, 3, 8):
            with ntkrs.threads(count):
                assert np.array_equal(kernel(x), whole)


@pytest.mark.parametrize("name", ["identity", "relu", "leaky_relu", "abs"])
@pytest.mark.parametrize("power", [-500, -37, 1, 400])
def test_kernels_without_bias_scale_exactly(name, power):
    """Homogeneity: K(2ᵏX) = 4ᵏK(X), bitwise."""
    x = np.random.default_rng(1).standard_normal((20, 6))
    kernel = mlp(3, 1, 1, name, 1.3).kernel()
    assert np.array_equal(kernel(np.ldexp(x, power)), np.ldexp(kernel(x), 2 * power))


@pytest.mark.parametrize("name", MODERATE | JUMPS)
@pytest.mark.parametrize("sigma_b", [0.0, 0.3])
def test_nothing_is_nan(name, sigma_b):
    # An activation that is not homogeneous may square a row.
    large, small = np.finfo(float).max / 1e3 if name in PIECEWISE_LINEAR else 1e150, 5e-324
    x = np.array([[0.0, 0.0], [large, large], [small, 0.0], [-large, small], [1e100, 1.0], [1e-200, 1.0], [1.0, 2.0]])
    kernel = mlp(3, 1, 1, built(CLOSED_FORMS[name]), 1.3, sigma_b).kernel()
    assert not np.isnan(kernel(x, get=("nngp", "ntk"))).any()
    # The truth is finite for these pairs, though K(x, x) of the large rows is not.
    assert np.isfinite(kernel(x[[0, 2, 5]], x, get=("nngp", "ntk"))).all()


@pytest.mark.parametrize("name", [name for name, (_, steepness) in GROWING.items() if steepness > 1])
@pytest.mark.parametrize("sigma_b", [0.0, 0.3])
def test_what_grows_beyond_all_numbers_is_refused(name, sigma_b):
    kernel = mlp(3, 1, 1, built(CLOSED_FORMS[name]), 1.3, sigma_b).kernel()
    x = np.array([[0.0, 0.0], [5e-324, 0.0], [1e-100, 1.0], [0.5, 0.2], [1e-3, -1e-160]]) * 0.3
    assert np.isfinite(kernel(x, get=("nngp", "ntk"))).all()
    for large in (1e50, 1e100, 1e150, 1e300):
        x[3, 1] = large
        with pytest.raises(ValueError, match="row 3 of X leaves the range of float64"):
            kernel(x)


def test_rows_beyond_all_scales_are_refused():
    x = np.full((3, 2), 1.0)
    x[2] = np.finfo(float).max
    with pytest.raises(ValueError, match=r"row 2 of X leaves the range of float64.*Scale X or sigma_w"):
        mlp(3, 1, 1, "relu", 1.5).kernel()(x)
    x[2] = 1e160
    assert np.isfinite(mlp(3, 1, 1, "relu", 1.5).kernel()(x[:1], x)).all()
    steep = Sequential(Dense(7, 1e200), Relu(), Dense(1, 1e-200)).kernel()
    with pytest.raises(ValueError, match="row 0 of X leaves the range of float64"):  # the first layer's Σ does
        steep(x[:2])
    with pytest.raises(ValueError, match="row 2 of Z leaves the range"):
        mlp(3, 1, 1, "erf", 1.5).kernel()(x[:1], x)


def test_small_weights_beside_large_learning_rates():
    """In standard parameters, Θ of the first layer does not fall with its σ_w, and leaves the range in units of Σ."""
    x = np.random.default_rng(5).standard_normal((4, 3))
    small, plain = (Sequential(Dense(7, s), Relu(), Dense(1, s)).kernel("standard")(x) for s in (2.0**-333, 1.0))
    np.testing.assert_allclose(small, np.ldexp(plain, -666), rtol=8 * EPS)


@pytest.mark.parametrize("depth", [1, 3, 10, 30])
def test_diagonal_of_a_critical_relu_network(depth):
    """σ_w² = 2, σ_b = 0 and a read-out with σ_w = 1: Θ(x,x) = (L+1)|x|²/n_0."""
    x = np.random.default_rng(2).standard_normal((9, 7))
    hidden = [layer for _ in range(depth) for layer in (Dense(1, 2**0.5), Relu())]
    diagonal = Sequential(*hidden, Dense(1)).kernel().diag(x)
    # Θ(x,x) for the floating-point value of √2, which costs one ulp per layer.
    np.testing.assert_allclose(diagonal, (depth + 1) * (x**2).sum(1) / 7, rtol=2 * (depth + 4) * EPS)


@pytest.mark.parametrize("name", MODERATE | JUMPS)
@pytest.mark.parametrize("data", ["zoo", "titanic", "led-display", "balance-scale"])
def test_real_data_with_duplicates_and_zero_rows(uci, data, name):
    x = uci(data)[:300]
    kernel = mlp(3, 1, 1, built(CLOSED_FORMS[name]), 1.4, 0.1).kernel()(x)
    eigenvalues = np.linalg.eigvalsh(kernel)
    assert eigenvalues[0] >= -32 * EPS * np.trace(kernel)
    _, first, groups = np.unique(x, axis=0, return_index=True, return_inverse=True)
    assert np.array_equal(kernel, kernel[np.ix_(first, first)][np.ix_(groups.ravel(), groups.ravel())])


def test_names_that_are_no_kernel_are_refused():
    kernel = mlp(1, 1, 1).kernel()
    for get in ("ntkk", (), ("ntk", "ntk"), ("nngp", "cov")):
        with pytest.raises(ValueError, match=r"get is .*must be 'ntk', 'nngp', or a tuple"):
            kernel(np.eye(2), get=get)
    for get in (None, 5, (1,), (["ntk"],)):
        with pytest.raises(TypeError, match=r"get is .*must be 'ntk', 'nngp', or a tuple"):
            kernel(np.eye(2), get=get)
    for out in (5, np.eye(2), (np.eye(2),)):
        with pytest.raises(TypeError, match=r"get is .*so out must be a tuple of 2 arrays"):
            kernel(np.eye(2), get=("nngp", "ntk"), out=out)
    with pytest.raises(TypeError, match="diag takes one name"):
        kernel.diag(np.eye(2), get=("ntk", "nngp"))


def test_tuples_are_named_in_their_order():
    kernel = mlp(1, 1, 1).kernel()
    for get in (("nngp",), ("ntk",), ("nngp", "ntk"), ("ntk", "nngp")):
        result = kernel(np.eye(3), get=get)
        assert result._fields == get
        for name, array in zip(get, result, strict=True):
            assert np.array_equal(array, kernel(np.eye(3), get=name))
