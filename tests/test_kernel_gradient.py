"""Gradients of kernels with respect to the scales of the layers: against 50 digits, by laws, and on hostile inputs.

Errors are relative to √(K_ii K_jj), in ε, like those of kernels.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special
from scipy.linalg import cho_factor, cho_solve

import ntkrs
from ntkrs import Abs, Activation, Dense, Erf, Gelu, Relu, Sequential, Tanh, activations, mlp
from oracles import gradients
from oracles.hostile import hostile_rows
from oracles.tables import CLOSED_FORMS, JUMPS, MODERATE, SERIES, is_smooth, is_steep, named
from package import built, network

EPS = 2.0**-52

#: Rows of this test, of which the scale can be given.
hostile = partial(hostile_rows, (13, 4))


def errors(x, layers, names, sigma_b):
    """The largest error of all derivatives of both kernels, in ε."""
    count = len(layers) + 1
    sigma_w, sigma_b = np.linspace(1.1, 1.5, count), np.full(count, sigma_b)
    kernel = network(sigma_w, sigma_b, layers)
    exact = gradients.gradients(x, sigma_w, sigma_b, names)
    worst = 0.0
    for values, derivatives, reference in zip(
        kernel(x, get=("nngp", "ntk")), kernel.gradient(x, get=("nngp", "ntk")), exact, strict=True
    ):
        root = np.sqrt(np.diag(values))
        scale = np.maximum(np.outer(root, root), np.finfo(float).tiny)
        worst = max(worst, *(np.max(np.abs(a - b) / scale) for a, b in zip(derivatives, reference, strict=True)))
    return worst / EPS


@pytest.mark.parametrize("name", **named(CLOSED_FORMS))
@pytest.mark.parametrize("sigma_b", [0.0, 0.3])
@pytest.mark.parametrize("depth", [1, 2])
def test_derivatives_are_those_of_fifty_digits(name, depth, sigma_b):
    x = hostile(1.0) if is_steep(name) else hostile()
    if name in JUMPS.values() and depth == 2:
        # A jump after a jump: the kernel itself has ε^(1/4) of near-duplicates.
        x = x[[0, 1, 7, 8, 9, 10]]
    # Measured: 16 ε; 300 ε for cubic activations, whose kernels are of degree 18 in the inputs.
    assert errors(x, [built(name)] * depth, [name] * depth, sigma_b) <= (500 if is_steep(name) else 40)


@pytest.mark.parametrize("name", [name for name in MODERATE.values() if is_smooth(name)], ids=str)
@pytest.mark.parametrize("sigma_b", [0.0, 0.3])
def test_kinks_after_smooth_layers(name, sigma_b):
    """A kink sees √(1 − ρ), so rows that are 1e-15 apart must keep their digits."""
    x = hostile(1.0)[:9]
    assert errors(x, [built(name), Relu()], [name, "relu"], sigma_b) <= 40  # measured: 10


@pytest.mark.parametrize("name", ["relu", "erf", "gelu", "abs"])
def test_ten_layers(name):
    x = hostile()[[0, 1, 4, 8, 9, 12]]
    assert errors(x, [built(name)] * 10, [name] * 10, 0.2) <= 40  # measured: 20


#: All kinds of layers in one network. By series, a smooth activation, one with a kink, and a smooth one again.
CLOSED_NETWORK = ([1.2, 0.9, 1.4, 1.1], [0.1, 0.0, 0.3, 0.2], [Gelu(), Relu(), Erf()])
SERIES_NETWORK = ([1.2, 0.9, 1.4, 1.1], [0.1, 0.0, 0.3, 0.2], [Tanh(), activations.Elu(0.5), activations.Silu()])
BOTH = pytest.mark.parametrize("layers", [CLOSED_NETWORK, SERIES_NETWORK], ids=["closed forms", "series"])


@pytest.mark.parametrize("get", ["nngp", "ntk"])
def test_without_biases_relu_networks_are_homogeneous_in_every_sigma_w(get):
    x, sigma_w = hostile(1e3), [1.2, 0.7, 1.5]
    kernel = network(sigma_w, [0.0] * 3, [Relu(), Abs()])
    derivatives = kernel.gradient(x, get=get)
    scaled = np.array(sigma_w)[:, None, None] * derivatives.sigma_w
    # a few roundings a layer, of values that may cancel where ρ < 0
    assert_allclose(scaled, [2 * kernel(x, get=get)] * 3, rtol=1e-13)
    assert not derivatives.sigma_b.any()


@pytest.mark.parametrize("get", ["nngp", "ntk"])
@pytest.mark.parametrize("name", **named(CLOSED_FORMS))
def test_every_kernel_is_homogeneous_in_the_last_layer(get, name):
    x = hostile(1.0)
    kernel = network([1.2, 0.8], [0.3, 0.5], [built(name)])
    derivatives, values = kernel.gradient(x, get=get), kernel(x, get=get)
    euler = 0.8 * derivatives.sigma_w[-1] + 0.5 * derivatives.sigma_b[-1]
    assert_allclose(euler, 2 * values, rtol=0, atol=20 * EPS * values.max(), err_msg=str(name))


def bits(array):
    return np.asarray(array).tobytes()


@BOTH
def test_an_entry_depends_on_its_two_rows_alone(layers):
    rng = np.random.default_rng(1)
    x = np.concatenate([hostile(), rng.standard_normal((110, 4))])
    z = np.concatenate([x[40:50], rng.standard_normal((5, 4))])
    kernel = network(*layers)
    whole, rectangular = kernel.gradient(x), kernel.gradient(x, z)
    order = rng.permutation(len(x))
    for threads in (1, 3):
        ntkrs.set_num_threads(threads)
        for k in (0, 1):
            assert bits(whole[k]) == bits(np.swapaxes(whole[k], 1, 2).copy())
            assert bits(kernel.gradient(x, x.copy())[k]) == bits(whole[k])
            assert bits(kernel.gradient(x[order])[k]) == bits(whole[k][:, order][:, :, order].copy())
            assert bits(kernel.gradient(z, x)[k]) == bits(np.swapaxes(rectangular[k], 1, 2).copy())
            assert bits(kernel.gradient(x[5:6], z)[k]) == bits(rectangular[k][:, 5:6].copy())
    assert bits(whole.sigma_w[:, 40:50]) == bits(np.swapaxes(rectangular.sigma_w[:, :, :10], 1, 2).copy())


@BOTH
def test_equal_rows_have_the_derivatives_of_the_diagonal(layers):
    derivatives = network(*layers).gradient(hostile())
    for array in derivatives:
        assert_array_equal(array[:, 0, 1], array[:, 0, 0])
        assert_array_equal(array[:, 1], array[:, 0])


def test_scales_of_the_inputs_are_exact():
    x, kernel = hostile(1.0), network([1.2, 0.7, 1.5], [0.0] * 3, [Relu(), Abs()])
    once = kernel.gradient(x).sigma_w
    for power in (400, -400):
        assert_array_equal(kernel.gradient(2.0**power * x).sigma_w, 4.0**power * once)
    assert np.isfinite(kernel.gradient(1e150 * x).sigma_w).all()


def test_zero_rows():
    x = np.array([[0.0, 0.0], [1.0, 2.0]])
    for activation in (
        Relu(),
        Gelu(),
        Erf(),
        activations.Cos(),
        activations.RectifiedPower(0),
        Tanh(),
        activations.Elu(),
    ):
        for sigma_b in (0.0, 0.4):
            for array in network([1.2, 0.7], [sigma_b] * 2, [activation]).gradient(x):
                assert np.isfinite(array).all()
    without = network([1.2, 0.7], [0.0] * 2, [Relu()]).gradient(x)
    assert not without.sigma_w[:, 0].any()


def test_without_biases_derivatives_in_sigma_b_are_zero():
    """Covers parallel rows of different norms, where Θ has a kink in σ_b."""
    x = np.array([[1.0, 2.0], [2.0, 4.0], [-3.0, -6.0], [1.0, 0.0]])
    for get in ("nngp", "ntk"):
        assert not network([1.2, 0.7, 0.9], [0.0] * 3, [Relu(), Abs()]).gradient(x, get=get).sigma_b.any()


@BOTH
def test_float32_is_float64_rounded_to_the_products(layers):
    x, kernel = hostile(1.0).astype(np.float32), network(*layers)
    single, double = kernel.gradient(x), kernel.gradient(x.astype(np.float64))
    root = np.sqrt(kernel.diag(x.astype(np.float64)))
    for a, b in zip(single, double, strict=True):
        assert a.dtype == np.float32
        # products of four features, and one rounding at the end
        assert np.max(np.abs(a - b) / np.outer(root, root)) <= 16 * 2.0**-23


def differences(arch, x, which, layer, get="ntk", parameterization="ntk", h=1e-3):
    """Central differences of sixth order."""

    def at(step):
        layers = list(arch.layers)
        layers[2 * layer] = replace(layers[2 * layer], **{which: getattr(layers[2 * layer], which) + step})
        return Sequential(*layers).kernel(parameterization)(x, get=get)

    steps = [at(k * h) - at(-k * h) for k in (1, 2, 3)]
    return (45 * steps[0] - 9 * steps[1] + steps[2]) / (60 * h)


def erf_function():
    return Activation(special.erf, lambda x: 2 / np.sqrt(np.pi) * np.exp(-x * x))


def relu_function():
    return Activation(lambda x: np.maximum(x, 0.0), lambda x: np.where(x > 0, 1.0, 0.0))


def gelu_function():
    density = 1 / np.sqrt(2 * np.pi)
    return Activation(lambda x: x * special.ndtr(x), lambda x: special.ndtr(x) + density * x * np.exp(-0.5 * x * x))


@pytest.mark.filterwarnings("ignore:the kernel's series")
@pytest.mark.parametrize(
    ("function", "closed"), [(erf_function(), Erf()), (relu_function(), Relu()), (gelu_function(), Gelu())]
)
@pytest.mark.parametrize("sigma_b", [0.0, 0.3])
@pytest.mark.parametrize("depth", [1, 3])
def test_series_have_the_derivatives_of_closed_forms(function, closed, sigma_b, depth):
    """Includes activations with a kink, and rows at any distance."""
    x = hostile(3.0)
    sigma_w, sigma_b = np.linspace(1.1, 1.5, depth + 1), np.full(depth + 1, sigma_b)
    series, exact = (network(sigma_w, sigma_b, [activation] * depth) for activation in (function, closed))
    for get in ("nngp", "ntk"):
        root = np.sqrt(exact.diag(x, get=get))
        scale = np.maximum(np.outer(root, root), np.finfo(float).tiny)
        for a, b in zip(series.gradient(x, get=get), exact.gradient(x, get=get), strict=True):
            # measured: 970 ε, from differentiated polynomials of degree 14 whose errors are a few ε
            assert np.max(np.abs(a - b) / scale) <= 4000 * EPS


@pytest.mark.parametrize("name", **named(SERIES))
def test_derivatives_of_series_are_those_of_differences(name):
    activation = built(name)
    arch = Sequential(Dense(3, 1.1, 0.4), activation, Dense(4, 0.8, 0.3), activation, Dense(1, 1.2, 0.5))
    x = np.random.default_rng(3).standard_normal((7, 2))
    x[1], x[2], x[3] = x[0], 3 * x[0], -x[0]
    for get in ("nngp", "ntk"):
        derivatives = arch.kernel().gradient(x, get=get)
        for layer in range(3):
            for which in ("sigma_w", "sigma_b"):
                expected = differences(arch, x, which, layer, get)
                # truncation h⁶ f⁷/140, and round-off of a few ε/h for kernels of order 1 to 30
                assert_allclose(getattr(derivatives, which)[layer], expected, rtol=0, atol=1e-10)


def test_what_a_series_leaves_out_is_warned_of():
    step = Activation(lambda x: np.maximum(x - 1.0, 0.0), lambda x: np.where(x > 1.0, 1.0, 0.0))
    kernel, x = network([1.0, 1.0], [0.0, 0.0], [step]), np.eye(2)
    for weights in (None, np.ones((2, 2))):
        with pytest.warns(RuntimeWarning, match="the kernel's series are too short"):
            kernel.gradient(x, weights=weights)


@pytest.mark.parametrize("parameterization", ["ntk", "standard"])
@pytest.mark.parametrize(
    "changes",
    [{}, {"trainable": False}, {"tau_b": 0.7}, {"tau_b": 0.0}],
    ids=["as it starts", "frozen", "tau_b", "biases not trained"],
)
def test_learning_scales_follow_as_in_dense(parameterization, changes):
    if parameterization == "standard" and "tau_b" in changes:
        changes = {"trainable": False}
    first = Dense(3, 1.0, 1.0, **changes)  # σ_w = σ_b = 1 is also what some learning scales happen to be
    arch = Sequential(first, Gelu(), Dense(4, 0.8, 0.3), Relu(), replace(first, width=1, sigma_w=1.2, sigma_b=0.5))
    x = np.random.default_rng(3).standard_normal((6, 1))
    x[1] = x[0]
    for get in ("nngp", "ntk"):
        derivatives = arch.kernel(parameterization).gradient(x, get=get)
        for layer in range(3):
            for which in ("sigma_w", "sigma_b"):
                expected = differences(arch, x, which, layer, get, parameterization)
                # truncation h⁶ f⁷/140, and round-off of a few ε/h for kernels of order 1 to 30
                assert_allclose(getattr(derivatives, which)[layer], expected, rtol=0, atol=1e-10)


def test_weights_contract():
    rng = np.random.default_rng(4)
    x, z = rng.standard_normal((130, 3)), rng.standard_normal((101, 3))
    kernel = network(*CLOSED_NETWORK)
    for other in (None, z):
        weights = rng.standard_normal((len(x), len(x if other is None else other)))
        both = kernel.gradient(x, other, get=("nngp", "ntk"), weights=weights)
        assert both._fields == ("nngp", "ntk")
        for get, sums in zip(both._fields, both, strict=True):
            full = kernel.gradient(x, other, get=get)
            for array, total in zip(full, sums, strict=True):
                terms = weights * array
                assert total.shape == (4,)
                # sums of 17,000 terms
                assert_allclose(total, terms.sum((1, 2)), rtol=0, atol=100 * EPS * np.abs(terms).sum((1, 2)).max())
            alone = kernel.gradient(x, other, get=get, weights=weights)
            assert bits(alone.sigma_w) == bits(sums.sigma_w)
            for threads in (1, 3):
                ntkrs.set_num_threads(threads)
                assert bits(kernel.gradient(x, other, get=get, weights=weights).sigma_b) == bits(sums.sigma_b)
    # a column of one tile, and more
    single = kernel.gradient(x.astype(np.float32), weights=np.eye(130))
    assert single.sigma_w.dtype == np.float64


def test_gradient_of_the_log_marginal_likelihood():
    rng = np.random.default_rng(5)
    x, noise = rng.standard_normal((40, 3)), 0.1
    y = np.sin(x.sum(axis=1))
    arch = Sequential(Dense(1, 1.3, 0.2), Erf(), Dense(1, 0.9, 0.1), Relu(), Dense(1, 1.1, 0.3))

    def likelihood(covariance):
        factor = cho_factor(covariance)
        return -0.5 * y @ cho_solve(factor, y) - np.log(np.diag(factor[0])).sum()

    def noisy(kernel):
        return kernel + noise * np.eye(len(x))

    inverse = np.linalg.inv(noisy(arch.kernel()(x)))
    alpha = inverse @ y
    derivatives = arch.kernel().gradient(x, weights=0.5 * (np.outer(alpha, alpha) - inverse))
    for which in ("sigma_w", "sigma_b"):
        for layer in range(3):

            def at(step, which=which, layer=layer):
                layers = list(arch.layers)
                layers[2 * layer] = replace(layers[2 * layer], **{which: getattr(layers[2 * layer], which) + step})
                return likelihood(noisy(Sequential(*layers).kernel()(x)))

            h = 1e-4
            difference = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
            # round-off: likelihoods of order 100 whose condition is 1e4, over h
            assert_allclose(getattr(derivatives, which)[layer], difference, rtol=1e-6)


def test_empty_batches():
    kernel = network(*CLOSED_NETWORK)
    empty = np.empty((0, 4), np.float32)
    for array in kernel.gradient(empty):
        assert array.shape == (4, 0, 0)
        assert array.dtype == np.float32
    for array in kernel.gradient(np.ones((2, 4)), empty):
        assert array.shape == (4, 2, 0)
    assert_array_equal(kernel.gradient(empty, weights=np.empty((0, 0))), np.zeros((2, 4)))


def test_a_linear_model():
    x = np.array([[1.0, 2.0], [0.5, -1.0]])
    derivatives = mlp(0, 1, 1, sigma_w=1.5, sigma_b=0.5).kernel().gradient(x)
    assert_allclose(derivatives.sigma_w[0], 2 * 1.5 * x @ x.T / 2, rtol=4 * EPS)
    assert_array_equal(derivatives.sigma_b[0], np.ones((2, 2)))


def test_what_is_refused():
    x, kernel = np.ones((3, 2)), network(*CLOSED_NETWORK)
    with pytest.raises(ValueError, match=r"weights has shape \(2, 3\), but \(3, 3\) is needed"):
        kernel.gradient(x, weights=np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"weights holds nan at \(1, 2\)"):
        kernel.gradient(x, weights=np.where(np.arange(9).reshape(3, 3) == 5, np.nan, 1.0))
    with pytest.raises(TypeError, match="weights"):
        kernel.gradient(x, weights="all")
    with pytest.raises(ValueError, match="the sums leave the range of float64"):
        mlp(1, 1, 1).kernel().gradient(1e100 * x, weights=np.full((3, 3), 1e200))
    with pytest.raises(ValueError, match="get is 'both'"):
        kernel.gradient(x, get="both")
    with pytest.raises(ValueError, match="4 features"):
        kernel.gradient(x, np.ones((3, 4)))
    with pytest.raises(ValueError, match="X holds"):
        kernel.gradient(np.array([[1.0, np.nan]]))


def test_what_does_not_fit_is_refused(limit_memory):
    limit_memory(10**6)
    x, kernel = np.ones((1000, 2)), network(*CLOSED_NETWORK)
    with pytest.raises(MemoryError, match=r"the gradient, 2 arrays of shape \(4, 1000, 1000\)(.|\n)*Pass weights="):
        kernel.gradient(x)
    kernel.gradient(x, weights=np.ones((1000, 1000)))


@pytest.mark.parametrize("weights", [None, np.ones((3000, 3000))], ids=["full", "weights"])
def test_progress_ends_the_call(weights):
    x = np.random.default_rng(6).standard_normal((3000, 4))
    if weights is None:
        x = x[:1500]

    def stop(_done, _total):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        network(*CLOSED_NETWORK).gradient(x, weights=weights, progress=stop)
