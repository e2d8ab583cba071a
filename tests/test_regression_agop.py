"""The average gradient outer product: against differences of f, in closed form, and by its laws."""

import re
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import ntkrs
from ntkrs import mlp
from ntkrs.regression import Dual, KernelRegression, agop

EPS = np.finfo(float).eps
RNG = np.random.default_rng(0)
X = RNG.standard_normal((9, 4))
ALPHA = RNG.standard_normal((9, 3))


def network(activation="erf", depth=2):
    return mlp(depth, 1, 1, activation, 1.4, 0.3).kernel()


def differences(kernel, alpha, get):
    """The outer product of central differences of f, in NumPy."""
    step = 1e-4
    gradients = np.empty((9, 4, alpha.shape[1]))
    for k, shift in enumerate(step * np.eye(4)):
        change = kernel(X + shift, X, get=get) @ alpha - kernel(X - shift, X, get=get) @ alpha
        gradients[:, k] = change / (2 * step)
    return sum(g @ g.T for g in gradients) / 9


def near(found, expected, bound):
    """Check that two matrices differ by no more than ``bound`` times the largest entry."""
    assert_allclose(found, expected, rtol=0, atol=bound * np.abs(expected).max())


@pytest.mark.parametrize("get", ["ntk", "nngp"])
@pytest.mark.parametrize("activation", ["erf", "relu", "gelu"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_it_is_that_of_differences(activation, get, outputs):
    kernel, alpha = network(activation), ALPHA[:, :outputs]
    # Differences have errors of step² and ε/step, some 1e-8 and 1e-11, times third derivatives, which are large for
    # relu at the training rows. Its cusp there is symmetric and cancels.
    near(agop(kernel, X, alpha, get=get), differences(kernel, alpha, get), 1e-6)


def test_a_linear_model_has_the_outer_product_of_its_slope():
    kernel = mlp(0, 1, 1, sigma_w=1.4, sigma_b=0.3).kernel()
    slope = 1.4**2 / 4 * X.T @ ALPHA
    near(agop(kernel, X, ALPHA, get="nngp"), slope @ slope.T, 9 * EPS)


def test_outputs_add_up():
    kernel = network("relu")
    near(agop(kernel, X, ALPHA), sum(agop(kernel, X, column) for column in ALPHA.T), 9 * EPS)


def test_as_many_outputs_as_rows_are_outputs():
    """A square array of weights means pairs to ``input_gradient``."""
    kernel, square = network("relu"), RNG.standard_normal((9, 9))
    near(agop(kernel, X, square), sum(agop(kernel, X, column) for column in square.T), 9 * EPS)
    one = agop(kernel, X[:1], [[2.0]])
    assert_array_equal(one, agop(kernel, X[:1], [2.0]))


def test_blocks_change_nothing_but_round_off(monkeypatch):
    kernel, whole = network("relu"), agop(network("relu"), X, ALPHA)
    monkeypatch.setattr(sys.modules["ntkrs.regression.agop"], "_BLOCK", 2 * 12)
    near(agop(kernel, X, ALPHA), whole, 9 * EPS)
    monkeypatch.setattr(sys.modules["ntkrs.regression.agop"], "_BLOCK", 1)
    near(agop(kernel, X, ALPHA), whole, 9 * EPS)


def test_rotating_the_inputs_rotates_it():
    kernel, rotation = network(), np.linalg.qr(RNG.standard_normal((4, 4)))[0]
    near(agop(kernel, X @ rotation, ALPHA), rotation.T @ agop(kernel, X, ALPHA) @ rotation, 100 * EPS)


def test_it_is_symmetric_and_positive_semidefinite():
    found = agop(network("relu"), X[:2], ALPHA[:2, 0])  # of rank 2
    assert_array_equal(found, found.T)
    values = np.linalg.eigvalsh(found)
    assert values[0] >= -8 * EPS * values[-1]


@pytest.mark.parametrize("exponent", [-500, -300, 1, 300, 500])
def test_coefficients_of_any_size(exponent, monkeypatch):
    monkeypatch.setattr(sys.modules["ntkrs.regression.agop"], "_BLOCK", 2 * 12)
    found = agop(network("relu"), X, ALPHA)
    assert_array_equal(agop(network("relu"), X, np.ldexp(ALPHA, exponent)), np.ldexp(found, 2 * exponent))


@pytest.mark.parametrize(("exponent", "power"), [(-400, 0), (400, 0), (-700, 400), (700, -400)])
def test_inputs_of_any_size(exponent, power, monkeypatch):
    """Without biases Σ(c x, z) = c Σ(x, z), and the slope of f grows with the training rows."""
    monkeypatch.setattr(sys.modules["ntkrs.regression.agop"], "_BLOCK", 2 * 12)
    kernel = mlp(1, 1, 1, "relu").kernel()
    rows = np.ldexp(X, np.array([0, 0, 1, 1, -3, -3, 5, 5, 0])[:, None])  # blocks of unequal gradients
    found = agop(kernel, rows, ALPHA)
    scaled = agop(kernel, np.ldexp(rows, exponent), np.ldexp(ALPHA, power))
    assert_array_equal(scaled, np.ldexp(found, 2 * (exponent + power)))


def test_coefficients_of_0_have_none():
    assert_array_equal(agop(network(), X, np.zeros(9)), np.zeros((4, 4)))


def test_whole_weights_are_copies():
    kernel, counts = network("relu"), np.array([1.0, 3.0, 1.0, 2.0, 1.0, 1.0, 4.0, 1.0, 1.0])
    rows = np.repeat(np.arange(9), counts.astype(int))
    weighted = agop(kernel, X, ALPHA, sample_weight=counts)
    near(weighted, agop(kernel, X[rows], (ALPHA / counts[:, None])[rows]), 9 * EPS)
    near(agop(kernel, X, ALPHA, sample_weight=np.full(9, 0.3)), agop(kernel, X, ALPHA), 9 * EPS)
    assert_array_equal(counts, [1, 3, 1, 2, 1, 1, 4, 1, 1])


def test_a_dual_is_its_coefficients():
    kernel = network()
    dual = KernelRegression(kernel(X), ALPHA).coefficients(1e-2)
    assert isinstance(dual, Dual)
    assert_array_equal(agop(kernel, X, dual), agop(kernel, X, dual.coefficients))


def test_float32_is_computed_in_float64():
    single = X.astype(np.float32)
    found = agop(network(), single, ALPHA)
    assert found.dtype == np.float64
    assert_array_equal(found, agop(network(), single.astype(float), ALPHA))


def test_nothing_that_is_passed_changes():
    x, alpha = X.copy(), ALPHA.copy()
    agop(network(), x, alpha)
    assert_array_equal(x, X)
    assert_array_equal(alpha, ALPHA)


def test_it_finds_the_feature_that_matters():
    x = np.random.default_rng(1).standard_normal((80, 6))
    kernel = network("relu", 1)
    dual = KernelRegression(kernel(x), x[:, 4] ** 2).coefficients(1e-2)
    relevance = agop(kernel, x, dual).diagonal()
    assert relevance[4] > 5 * np.delete(relevance, 4).max()  # measured: some 20


class TestErrors:
    """Each names the argument, what came, and what is needed."""

    @pytest.mark.parametrize("kernel", [np.eye(9), np.inner, mlp(1, 1, 1), ntkrs.mlp(1, 8, 1)])
    def test_kernels(self, kernel):
        with pytest.raises(TypeError, match=r"kernel is a \w+, but the kernel of an infinitely wide network is needed"):
            agop(kernel, X, ALPHA)

    @pytest.mark.parametrize("shape", [(8,), (8, 3), (3, 9), (2, 9, 3), (), (9, 0)])
    def test_coefficients(self, shape):
        message = re.escape(f"dual has shape {shape}, but (9,) or (9, O) is needed")
        with pytest.raises(ValueError, match=message):
            agop(network(), X, np.zeros(shape))

    def test_several_ridges(self):
        dual = KernelRegression(network()(X), ALPHA[:, 0]).coefficients([0.1, 1.0])
        with pytest.raises(ValueError, match=r"dual has shape \(2, 9\), but .* of one ridge"):
            agop(network(), X, dual)

    @pytest.mark.parametrize("shape", [(9,), (0, 4), (9, 0), (1, 9, 4)])
    def test_inputs(self, shape):
        with pytest.raises(ValueError, match=re.escape(f"X has shape {shape}, but (N, d)")):
            agop(network(), np.zeros(shape), ALPHA)

    def test_weights(self):
        with pytest.raises(ValueError, match=r"sample_weight has shape \(8,\), but \(9,\) is needed to match X"):
            agop(network(), X, ALPHA, sample_weight=np.ones(8))
        with pytest.raises(ValueError, match=r"sample_weight holds 0\.0 at 0"):
            agop(network(), X, ALPHA, sample_weight=np.arange(9.0))

    def test_values(self):
        with pytest.raises(ValueError, match="dual"):
            agop(network(), X, np.full(9, np.nan))
        with pytest.raises(ValueError, match="X"):
            agop(network(), np.full((9, 4), np.inf), ALPHA)
        with pytest.raises(ValueError, match="get is 'both', but must be 'ntk' or 'nngp'"):
            agop(network(), X, ALPHA, get="both")
