"""Gradients of kernels with respect to their inputs: against 50 digits, by laws, and on hostile inputs.

Errors of a derivative are relative to √(K_ii K_jj)/|x_i| plus its own size, in ε.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import ntkrs
from ntkrs import Abs, Dense, Erf, Gelu, Relu, Sequential, Tanh, activations, mlp
from oracles import input_gradients
from oracles.hostile import hostile_rows
from oracles.tables import CLOSED_FORMS, SERIES, is_steep, named
from package import built, network

EPS = 2.0**-52

#: Rows of this test, of which the scale can be given.
hostile = partial(hostile_rows, (14, 3))


def derivatives(kernel, x, z, get="ntk"):
    """∂₁K(x_i, z_j) for all pairs, (N, M, d)."""
    weights = np.eye(len(z), len(z) + 1)  # one column more: a square array would be the weights of pairs
    return kernel.input_gradient(x, z, get=get, weights=weights)[..., :-1].swapaxes(1, 2)


def errors(kernel, x, z, exact):
    """The largest error of the derivatives of both kernels, in ε."""
    worst = 0.0
    for get, reference in zip(("nngp", "ntk"), exact, strict=True):
        scale = np.sqrt(np.outer(kernel.diag(x, get=get), kernel.diag(z, get=get)))
        scale = scale / np.linalg.norm(x, axis=1)[:, None] + np.abs(reference).max(axis=2)
        scale = np.maximum(scale, np.finfo(float).tiny)  # where z_j is 0 and there is no bias
        worst = max(worst, np.max(np.abs(derivatives(kernel, x, z, get) - reference).max(axis=2) / scale))
    return worst / EPS


@pytest.mark.parametrize("name", **named(CLOSED_FORMS))
@pytest.mark.parametrize(("depth", "sigma_b"), [(1, 0.0), (2, 0.3)])
def test_derivatives_are_those_of_fifty_digits(name, depth, sigma_b):
    z = hostile(1.0) if is_steep(name) else hostile()
    x = z[[0, 3, 9, 13]]
    sigma_w, sigma_b = np.linspace(1.1, 1.5, depth + 1), np.full(depth + 1, sigma_b)
    exact = input_gradients.derivatives(x, z, sigma_w, sigma_b, [name] * depth)
    kernel = network(sigma_w, sigma_b, [built(name)] * depth)
    assert errors(kernel, x, z, exact) <= (500 if is_steep(name) else 40)


@pytest.mark.parametrize("name", ["relu", "gelu"])
def test_ten_layers(name):
    """Without biases ReLU is read from a table, whose polynomials are differentiated."""
    z = hostile()[[0, 1, 4, 9, 11, 12]]
    for bias in (0.0, 0.2):
        sigma_w, sigma_b = np.full(11, 1.4), np.full(11, bias)
        exact = input_gradients.derivatives(z[:2], z, sigma_w, sigma_b, [name] * 10)
        assert errors(network(sigma_w, sigma_b, [built(name)] * 10), z[:2], z, exact) <= 200


#: All kinds of layers in one network. By series, a smooth activation, one with a kink, and a smooth one again.
CLOSED_NETWORK = ([1.2, 0.9, 1.4, 1.1], [0.1, 0.0, 0.3, 0.2], [Gelu(), Relu(), Erf()])
SERIES_NETWORK = ([1.2, 0.9, 1.4, 1.1], [0.1, 0.0, 0.3, 0.2], [Tanh(), activations.Elu(0.5), activations.Silu()])
TABLE_NETWORK = ([1.2, 0.9, 1.4], [0.0, 0.0, 0.0], [Relu(), Abs()])
NETWORKS = {"closed forms": CLOSED_NETWORK, "series": SERIES_NETWORK, "table": TABLE_NETWORK}
ALL = pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)


@pytest.mark.parametrize("name", ["relu", "abs", "erf", "gelu", "sign", ("rectified_power", 2)], ids=str)
@pytest.mark.parametrize("sigma_b", [0.0, 0.3])
def test_on_the_diagonal_it_is_half_of_the_total_derivative(name, sigma_b):
    """At a kink the cusp counts as 0, and what is left is smooth."""
    x = hostile(1.0)[[0, 5, 9, 10]]
    sigma_w, sigma_b = [1.2, 0.9, 1.4], [sigma_b] * 3
    kernel = network(sigma_w, sigma_b, [built(name)] * 2)
    totals = input_gradients.of_the_diagonal(x, sigma_w, sigma_b, [name] * 2)
    for get, total in zip(("nngp", "ntk"), totals, strict=True):
        scale = kernel.diag(x, get=get) / np.linalg.norm(x, axis=1)
        for z in (None, x.copy()):
            found = 2 * kernel.input_gradient(x, z, get=get, weights=np.eye(4))
            assert np.max(np.abs(found - total).max(axis=1) / scale) <= 40 * EPS  # a few roundings a layer


def test_equal_and_opposite_rows_have_no_cusp():
    x = np.array([[1.0, 2.0, 2.0]])
    kernel = network([1.2, 0.9, 1.4], [0.0] * 3, [Relu()] * 2)
    for scale in (1.0, 3.0, -1.0, -0.5):
        for get in ("nngp", "ntk"):
            gradient = kernel.input_gradient(x, scale * x, get=get, weights=[[1.0]])
            # K(c x, z) = c K(x, z), and nothing tangential
            assert_allclose(gradient, kernel(x, scale * x, get=get) * x / 9, rtol=1e-14, atol=1e-15)


def bits(array):
    return np.asarray(array).tobytes()


@ALL
def test_a_row_depends_on_its_own_row_and_all_columns(layers):
    rng = np.random.default_rng(1)
    x = np.concatenate([hostile(), rng.standard_normal((210, 3))])
    z = np.concatenate([x[40:50], rng.standard_normal((130, 3))])
    kernel, order = network(*layers), rng.permutation(len(x))
    for other, count in ((None, len(x)), (z, len(z))):
        pairs, vectors = rng.standard_normal((len(x), count)), rng.standard_normal((count, 3))
        for weights in (pairs, vectors):
            whole = kernel.input_gradient(x, other, weights=weights)
            columns = x if other is None else other

            def part(rows, w=weights, z=columns):
                return kernel.input_gradient(x[rows], z, weights=w[rows] if w is pairs else w)  # noqa: B023

            for threads in (1, 3):
                ntkrs.set_num_threads(threads)
                assert bits(kernel.input_gradient(x, other, weights=weights)) == bits(whole)
                assert bits(part(slice(None))) == bits(whole)
                assert bits(part(order)) == bits(whole[order])
                assert bits(part(slice(5, 6))) == bits(whole[5:6])


@ALL
def test_the_three_shapes_of_weights_agree(layers):
    rng = np.random.default_rng(2)
    x, z = rng.standard_normal((130, 4)), rng.standard_normal((101, 4))
    x[7] = z[3]
    kernel, vectors = network(*layers), rng.standard_normal((101, 5))
    several = kernel.input_gradient(x, z, get=("nngp", "ntk"), weights=vectors)
    assert several._fields == ("nngp", "ntk")
    for get, array in zip(several._fields, several, strict=True):
        assert array.shape == (130, 4, 5)
        for o in range(5):
            one = kernel.input_gradient(x, z, get=get, weights=vectors[:, o])
            assert one.shape == (130, 4)
            assert bits(one) == bits(array[..., o].copy())
            pairs = kernel.input_gradient(x, z, get=get, weights=np.tile(vectors[:, o], (130, 1)))
            assert bits(pairs) == bits(one)
        # a sum of 101 terms
        terms = derivatives(kernel, x, z, get)
        expected, size = (np.einsum("nmd,mo->ndo", f(terms), f(vectors)) for f in (np.asarray, np.abs))
        assert np.max(np.abs(array - expected) / (size + np.abs(terms).max())) <= 40 * EPS


def test_a_square_array_is_one_weight_for_each_pair():
    x = np.random.default_rng(3).standard_normal((6, 2))
    kernel, weights = network(*CLOSED_NETWORK), np.arange(36.0).reshape(6, 6)
    expected = np.einsum("nmd,nm->nd", derivatives(kernel, x, x), weights)
    # sums of terms up to 35, of order 1
    assert_allclose(kernel.input_gradient(x, weights=weights), expected, rtol=0, atol=1e-12)


def differences(f, x, h=1e-3):
    """The gradient of f at each row of x, (N, d), by central differences of sixth order."""
    result = np.empty(x.shape)
    for k in range(x.shape[1]):
        step = h * np.eye(x.shape[1])[k]
        steps = [f(x + n * step) - f(x - n * step) for n in (1, 2, 3)]
        result[:, k] = (45 * steps[0] - 9 * steps[1] + steps[2]) / (60 * h)
    return result


@pytest.mark.parametrize("name", **named(SERIES))
@pytest.mark.parametrize("get", ["nngp", "ntk"])
def test_series_have_the_derivatives_of_differences(name, get):
    rng = np.random.default_rng(4)
    x, z, alpha = rng.standard_normal((9, 2)), rng.standard_normal((20, 2)), rng.standard_normal(20)
    z[2] = 3 * x[0]
    kernel = network([1.1, 0.8, 1.2], [0.4, 0.3, 0.5], [built(name)] * 2)
    expected = differences(lambda x: kernel(x, z, get=get) @ alpha, x)
    # truncation h⁶ f⁷/140, and round-off of some ε/h for kernels of order 10
    assert_allclose(kernel.input_gradient(x, z, get=get, weights=alpha), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
@pytest.mark.parametrize("changes", [{}, {"trainable": False}, {"tau_b": 0.7}], ids=["all", "frozen", "tau_b"])
def test_the_learning_scales_of_layers_are_kept(parameterization, changes):
    if parameterization == "standard" and "tau_b" in changes:
        changes = {"trainable": False}
    first = Dense(3, 1.3, 0.4, **changes)
    arch = Sequential(first, Gelu(), Dense(4, 0.8, 0.3), Erf(), replace(first, width=1, sigma_w=1.2, sigma_b=0.5))
    rng = np.random.default_rng(5)
    x, z, alpha = rng.standard_normal((6, 3)), rng.standard_normal((8, 3)), rng.standard_normal(8)
    kernel = arch.kernel(parameterization)
    for get in ("nngp", "ntk"):
        expected = differences(lambda x, get=get: kernel(x, z, get=get) @ alpha, x)
        # truncation h⁶ f⁷/140, and round-off of some ε/h for kernels of order 10
        assert_allclose(kernel.input_gradient(x, z, get=get, weights=alpha), expected, rtol=0, atol=1e-10)


def test_one_feature():
    x, z, alpha = np.array([[0.5], [-2.0]]), np.array([[1.5], [-0.3], [0.5]]), np.array([1.0, -2.0, 0.5])
    kernel = network(*CLOSED_NETWORK)
    expected = differences(lambda x: kernel(x, z) @ alpha, x)
    # the cusp at equal rows leaves an error of h²
    assert_allclose(kernel.input_gradient(x, z, weights=alpha), expected, rtol=0, atol=1e-5)


def test_a_linear_model():
    x, z = np.random.default_rng(6).standard_normal((2, 5, 3))
    kernel, alpha = mlp(0, 1, 1, sigma_w=1.5, sigma_b=0.5).kernel(), np.arange(5.0)
    expected = np.tile(1.5**2 * alpha @ z / 3, (5, 1))
    assert_allclose(kernel.input_gradient(x, z, get="nngp", weights=alpha), expected, rtol=0, atol=100 * EPS)


SMOOTH_AT_ZERO = [
    "erf",
    "gelu",
    "cos",
    ("cos", 0.7, 1.2, -0.3),
    ("rectified_power", 2),
    ("polynomial", 0.5, -1.0, 0.25),
]


@pytest.mark.parametrize(
    ("name", "sigma_b"),
    [*[(name, sigma_b) for name in SMOOTH_AT_ZERO for sigma_b in (0.0, 0.4)], ("relu", 0.4)],
    ids=str,
)
def test_zero_rows_have_the_derivatives_of_their_neighbourhood(name, sigma_b):
    z = np.array([[1.0, 2.0], [-0.5, 1.0], [0.0, 0.0]])
    sigma_w, sigma_b = [1.2, 0.9, 1.1], [sigma_b] * 3
    exact = input_gradients.derivatives(z[2:], z, sigma_w, sigma_b, [name] * 2)
    kernel = network(sigma_w, sigma_b, [built(name)] * 2)
    for get, reference in zip(("nngp", "ntk"), exact, strict=True):
        # kernels of degree 4 in x have a derivative of 0
        tolerance = max(40 * EPS * np.abs(reference).max(), 1e-80)
        assert_allclose(derivatives(kernel, z[2:], z, get), reference, rtol=0, atol=tolerance)
        assert_allclose(derivatives(kernel, z, z, get)[2:], reference, rtol=0, atol=tolerance)


def test_zero_rows_without_biases_have_the_linear_part():
    """One hidden layer of ReLU: Σ(x, z) = σ_w⁴/(4 n_0) ⟨x, z⟩ plus a function that is even in x, a cone at 0."""
    z = np.array([[1.0, 2.0], [-0.5, 1.0], [0.0, 0.0]])
    kernel = mlp(1, 1, 1, activation="relu", sigma_w=2**0.5).kernel()
    assert_allclose(derivatives(kernel, z[2:], z, "nngp")[0], z / 2, rtol=1e-14)
    for depth, activation in ((3, "relu"), (2, "tanh"), (2, "sign"), (1, "step"), (2, "elu")):
        if activation == "step":
            kernel = network([1.0, 1.0], [0.0, 0.0], [activations.RectifiedPower(0)])
        else:
            kernel = mlp(depth, 1, 1, activation=activation).kernel()
        assert np.isfinite(derivatives(kernel, z, z)).all()


def test_scales_of_the_inputs_are_exact():
    rng = np.random.default_rng(7)
    z, alpha = hostile(1.0), rng.standard_normal(14)
    for layers in (TABLE_NETWORK, ([1.2, 0.9], [0.0, 0.0], [Relu()])):
        kernel = network(*layers)
        once = kernel.input_gradient(z, weights=alpha)
        for power in (300, -300):
            # ∂₁K is of degree 0 in x, and of degree 1 in z
            assert_array_equal(kernel.input_gradient(2.0**power * z, weights=alpha), 2.0**power * once)
        assert np.isfinite(kernel.input_gradient(1e150 * z, 1e-150 * z, weights=alpha)).all()


@ALL
def test_float32_is_float64_rounded_to_the_products(layers):
    x, kernel = hostile(1.0).astype(np.float32)[[0, 1, 2, 7, 9, 10, 11]], network(*layers)
    single, double = derivatives(kernel, x, x), derivatives(kernel, x.astype(np.float64), x.astype(np.float64))
    assert single.dtype == np.float32
    diagonal = kernel.diag(x.astype(np.float64))
    scale = np.sqrt(np.outer(diagonal, diagonal)) / np.linalg.norm(x, axis=1)[:, None]
    # products of three features, and one rounding at the end
    assert np.max(np.abs(single - double).max(axis=2) / scale) <= 16 * 2.0**-23


def test_what_a_series_leaves_out_is_warned_of():
    step = ntkrs.Activation(lambda x: np.maximum(x - 1.0, 0.0), lambda x: np.where(x > 1.0, 1.0, 0.0))
    kernel, x = network([1.0, 1.0], [0.0, 0.0], [step]), np.eye(2)
    with pytest.warns(RuntimeWarning, match="the kernel's series are too short") as caught:
        kernel.input_gradient(x, weights=[1.0, 2.0])
    assert caught[0].filename == __file__


def test_empty_batches():
    kernel, empty = network(*CLOSED_NETWORK), np.empty((0, 4), np.float32)
    assert kernel.input_gradient(empty, weights=np.empty((0, 0))).shape == (0, 4)
    assert kernel.input_gradient(empty, np.ones((2, 4)), weights=np.ones((2, 3))).shape == (0, 4, 3)
    without_columns = kernel.input_gradient(np.ones((2, 4), np.float32), empty, weights=np.empty(0))
    assert_array_equal(without_columns, np.zeros((2, 4), np.float32))
    assert without_columns.dtype == np.float32
    assert kernel.input_gradient(np.ones((2, 4)), weights=np.empty((2, 0))).shape == (2, 4, 0)


def test_what_is_refused():
    x, kernel = np.ones((3, 2)), network(*CLOSED_NETWORK)
    for shape in ((2, 3), (4,), (), (3, 3, 1)):
        with pytest.raises(ValueError, match=r"weights has shape .*, but \(3, 3\) is needed.* or \(3,\) or \(3, O\)"):
            kernel.input_gradient(x, weights=np.ones(shape))
    with pytest.raises(ValueError, match=r"weights holds nan at \(1,\)"):
        kernel.input_gradient(x, weights=[1.0, np.nan, 1.0])
    with pytest.raises(TypeError, match="weights"):
        kernel.input_gradient(x, weights="all")
    with pytest.raises(TypeError, match="weights"):
        kernel.input_gradient(x)
    with pytest.raises(ValueError, match="the gradient leaves the range of float64: scale X, sigma_w or the weights"):
        mlp(1, 1, 1).kernel().input_gradient(1e100 * x, weights=np.full((3, 3), 1e250))
    with pytest.raises(ValueError, match="get is 'both'"):
        kernel.input_gradient(x, get="both", weights=np.ones(3))
    with pytest.raises(ValueError, match="Z has 4 features, but X has 2"):
        kernel.input_gradient(x, np.ones((3, 4)), weights=np.ones(3))
    with pytest.raises(ValueError, match="X holds"):
        kernel.input_gradient(np.array([[1.0, np.nan]]), weights=[1.0])


def test_what_does_not_fit_is_refused(limit_memory):
    limit_memory(10**6)
    x, kernel = np.ones((1000, 2)), network(*CLOSED_NETWORK)
    with pytest.raises(
        MemoryError, match=r"a gradient of shape \(1000, 2, 100\) .* for ntk, .* Compute it in blocks of rows"
    ):
        kernel.input_gradient(x, weights=np.ones((1000, 100)))
    kernel.input_gradient(x, weights=np.ones(1000))


def test_progress_ends_the_call():
    x = np.random.default_rng(8).standard_normal((3000, 4))

    def stop(_done, _total):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        network(*CLOSED_NETWORK).input_gradient(x, weights=np.ones(3000), progress=stop)
    seen = []
    network(*CLOSED_NETWORK).input_gradient(x[:300], weights=np.ones(300), progress=lambda *both: seen.append(both))
    assert seen[-1][0] == seen[-1][1]
