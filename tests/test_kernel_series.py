"""Infinite-width kernels of series activations: against quadrature in two dimensions, and by their laws."""

import numpy as np
import pytest

import ntkrs
from ntkrs import Dense, Sequential, Tanh, mlp
from oracles import quadrature
from oracles.activations import phi, phi_dot

EPS = np.finfo(np.float64).eps

#: Names for mlp() that the oracles know too.
SMOOTH = ["tanh", "sigmoid", "silu", "softplus"]
SERIES = [*SMOOTH, "mish", "gelu_tanh", "elu", "selu"]

#: The error promised for smooth activations, in units of √(K_ii K_jj).
PROMISED = 1e-10

ROOTS = [(1.0, 1.0), (1.0, 1.5), (2.0, 2.0), (0.01, 2.0), (0.5, 3.0)]
CORRELATIONS = [0.0, 0.3, -0.5, 0.9, 0.999, -0.999, 1 - 1e-9]


def pair(first, second, rho):
    """Return two inputs with these √(|x|²/n_0) and this correlation."""
    angle = np.arccos(rho)
    return np.sqrt(2) * np.array([[first, 0.0], [second * np.cos(angle), second * np.sin(angle)]])


def one_layer(activation, x):
    """Return T and Ṫ Σ of inputs, from one hidden layer without biases."""
    kernel = Sequential(Dense(1), activation, Dense(1)).kernel()(x, get=("nngp", "ntk"))
    return kernel.nngp, kernel.ntk - kernel.nngp


def exact(name, x):
    """Return the same from a polar quadrature, finer than that of `quadrature.dual`."""
    q, products = (x * x).sum(1) / 2, x @ x.T / 2
    kernels = []
    for f in phi(name), phi_dot(name):
        rule = [[quadrature.polar(f, q[i], q[j], products[i, j], 200, 150) for j in range(2)] for i in range(2)]
        kernels.append(np.array(rule))
    return kernels[0], kernels[1] * products


def errors(kernel, truth):
    diagonal = np.sqrt(np.diag(truth))
    return np.abs(kernel - truth) / np.outer(diagonal, diagonal)


@pytest.mark.parametrize("roots", ROOTS, ids=str)
@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_activations_are_as_exact_as_promised(name, roots):
    for rho in CORRELATIONS:
        x = pair(*roots, rho)
        (activation,) = mlp(1, 1, 1, name).activations
        for kernel, truth in zip(one_layer(activation, x), exact(name, x), strict=True):
            assert errors(kernel, truth).max() <= PROMISED


def test_tanh_is_right_to_the_digits_of_the_quadrature():
    for roots in ROOTS:
        for rho in CORRELATIONS[:-1]:
            x = pair(*roots, rho)
            for kernel, truth in zip(one_layer(Tanh(), x), exact("tanh", x), strict=True):
                # The weights of the quadrature have 200 roundings, and arccos loses some of ρ near 1.
                assert errors(kernel, truth).max() <= 1e-12


@pytest.mark.parametrize("name", SMOOTH)
def test_deep_networks_are_those_of_the_quadrature(name):
    x = np.array([[0.3, -1.2], [0.9, 0.4], [0.3, -1.2], [0.0, 0.0], [-0.3, 1.2]])
    kernel = mlp(3, 1, 1, name, 1.3, 0.2).kernel()(x, get=("nngp", "ntk"))
    nngp, ntk = quadrature.kernels(x, x, 1.3, 0.2, [name] * 3)
    # 1e-13 a dual; arccos of a duplicate's ρ is √ε, which changes smooth duals by ε.
    assert errors(kernel.nngp, nngp).max() <= 1e-11
    assert errors(kernel.ntk, ntk).max() <= 1e-11


@pytest.mark.parametrize("name", SERIES)
@pytest.mark.parametrize("roots", [(1.0, 1.0), (0.7, 1.9), (1e-3, 50.0)], ids=str)
def test_price(name, roots):
    """dT/dc = Ṫ."""
    (activation,) = mlp(1, 1, 1, name).activations
    for rho in [-0.9, -0.2, 0.4, 0.8]:
        h = 1e-4
        values = [one_layer(activation, pair(*roots, rho + step))[0][0, 1] for step in (-2 * h, -h, h, 2 * h)]
        slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h) / (roots[0] * roots[1])
        value, dot = one_layer(activation, pair(*roots, rho))
        dot /= pair(*roots, rho) @ pair(*roots, rho).T / 2
        # h⁴ times a fifth derivative of up to 1e4, and ε of the values divided by h.
        scale = np.sqrt(dot[0, 0] * dot[1, 1])
        noise = 10 * EPS * np.sqrt(value[0, 0] * value[1, 1]) / (h * roots[0] * roots[1])
        assert abs(slope - dot[0, 1]) <= 1e-9 * scale + noise


def hard_rows():
    x = np.random.default_rng(0).standard_normal((217, 9))
    x[100] = x[5]
    x[101] = x[5] * 1.0000001
    x[102] = -x[5]
    x[103] = 0.0
    x[104] *= 1e3
    x[105] *= 1e-3
    x[106] = 2 * x[5]
    return x


@pytest.mark.parametrize("sigma_b", [0.0, 0.3])
@pytest.mark.parametrize("name", SERIES)
@pytest.mark.filterwarnings("ignore:the kernel's series")
class TestLaws:
    def test_an_entry_depends_on_its_rows_alone(self, name, sigma_b):
        x = hard_rows()
        kernel = mlp(2, 1, 1, name, 1.3, sigma_b).kernel()
        whole = kernel(x)
        assert np.isfinite(whole).all()
        assert np.array_equal(whole, whole.T)
        assert np.array_equal(whole, kernel(x, x))
        assert np.array_equal(kernel(x[:50], x[50:]), kernel(x[50:], x[:50]).T)
        order = np.random.default_rng(1).permutation(len(x))
        assert np.array_equal(kernel(x[order]), whole[np.ix_(order, order)])
        assert np.array_equal(kernel(x[7:8], x), whole[7:8])
        assert np.array_equal(kernel(x[[3, 105]]), whole[np.ix_([3, 105], [3, 105])])
        assert np.array_equal(kernel.diag(x), np.diag(whole))
        assert whole[5, 100] == whole[5, 5] == whole[100, 100]
        with ntkrs.threads(3):
            assert np.array_equal(kernel(x), whole)

    def test_no_eigenvalue_is_negative(self, name, sigma_b):
        kernel = mlp(2, 1, 1, name, 1.3, sigma_b).kernel()(hard_rows())
        assert np.linalg.eigvalsh(kernel)[0] >= -32 * EPS * np.trace(kernel)


@pytest.mark.parametrize("distance", [1e-15, 1e-12, 1e-9, 1e-6, 1e-3])
def test_near_duplicates_keep_their_distance(distance):
    """ReLU after tanh sees the angle between the rows, √(2 gap) of the layer before."""
    x = np.array([[1.0, 0.0], [np.cos(distance), np.sin(distance)]])
    arch = Sequential(Dense(1), Tanh(), Dense(1), ntkrs.Relu(), Dense(1))
    kernel = arch.kernel()(x, get=("nngp", "ntk"))
    q = 0.5
    value, dot = (quadrature.polar(f("tanh"), q, q, q) for f in (phi, phi_dot))
    angle = distance * np.sqrt(q * dot / value)  # 1 − ρ' = (1 − ρ) q Ṫ/T to first order
    expected = kernel.ntk[0, 0] - angle / (2 * np.pi) * (value + q * dot)
    # The second order, and round-off of the entries themselves.
    assert abs(kernel.ntk[0, 1] - expected) <= distance**2 + 8 * EPS


def test_roots_beyond_the_series_are_refused():
    with pytest.raises(ValueError, match=r"series for √Σ\(x, x\) up to 1048576.*Scale the inputs or sigma_w"):
        mlp(1, 1, 1, "tanh").kernel()(np.full((2, 2), 1e7))


@pytest.mark.parametrize("name", [*SMOOTH, "elu"])
def test_finite_networks_have_their_values_and_slopes(name):
    x = np.concatenate([np.linspace(-40, 40, 201), [-350.0, 350.0, 1e-9]])[:, None]
    net = ntkrs.Network(mlp(1, 1, 1, name), weights=[np.ones((1, 1))] * 2, biases=[None, None])
    np.testing.assert_allclose(net(x)[:, 0], phi(name)(x)[:, 0], rtol=8 * EPS, atol=8 * EPS)
    slopes = phi_dot(name)(x)[:, 0]
    np.testing.assert_allclose(net.jacobian(x)[:, 0, 0], slopes * x[:, 0], rtol=8 * EPS, atol=8 * EPS)


@pytest.mark.parametrize("name", ["relu", "erf", "identity"])
def test_closed_forms_have_no_truncation(name):
    assert mlp(3, 1, 1, name, 1.3, 0.2).kernel().error_bound(hard_rows()) == (0.0, 0.0)
