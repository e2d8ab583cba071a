"""Duals of pairs given by variances and covariances: digits near |ρ| = 1, Price's law, limits, and refusals."""

import mpmath as mp
import numpy as np
import pytest

import ntkrs
from ntkrs import Activation, Erf, Exp, Relu, Sign, Tanh
from oracles import activations, duals, quadrature
from oracles.tables import CLOSED_FORMS, EVERY, GROWING, JUMPS, SERIES, is_steep, named
from package import built

EPS = np.finfo(float).eps

#: Variances of both variables: equal, apart, far apart.
VARIANCES = [(1.0, 1.0), (0.7, 1.9), (1.3, 0.01)]

#: Values of 1 − |ρ|, down to the ulp of a covariance.
GAPS = [0.0, 1e-16, 1e-14, 1e-10, 1e-6, 1e-3, 0.1, 0.5, 1.0]


def pairs():
    """Return q1, q2 and c of all pairs. Each |c| is at most √(q1 q2), as exact numbers."""
    found = []
    for q1, q2 in VARIANCES:
        root = mp.sqrt(mp.mpf(q1) * mp.mpf(q2))
        for gap in GAPS:
            c = float(root * (1 - mp.mpf(gap)))
            c = c if mp.mpf(c) <= root else float(np.nextafter(c, 0))
            found += [(q1, q2, c), (q1, q2, -c)]
    return np.array(found).T


def worst(activation, exact, found):
    """Return the largest errors of T and Ṫ, in units of the roots of their diagonals. Ṫ may be 0 everywhere."""
    q1, q2, _ = pairs()
    results = []
    for value, expected, index in zip(found, exact, (0, 1), strict=True):
        scales = [built(activation).dual(q, q, q)[index] for q in (q1, q2)]
        scale = np.sqrt(scales[0]) * np.sqrt(scales[1])
        assert np.isfinite(value).all()
        difference = np.abs(value - expected).astype(float)
        results.append(np.max(np.divide(difference, scale, out=difference.copy(), where=scale > 0)))
    return results


@pytest.mark.parametrize("activation", **named(CLOSED_FORMS))
def test_closed_forms_keep_their_digits(activation):
    """Near |ρ| = 1 too: the oracle has 50 digits and the very same floats."""
    with mp.workdps(50):
        triples = [[mp.mpf(number) for number in pair] for pair in pairs().T]
        exact = np.array([duals.dual(activation, *triple, mp.mp) for triple in triples]).T
        found = built(activation).dual(*pairs())
        value, dot = worst(activation, exact, found)
    factor = dict(GROWING.values()).get(activation, 1)
    assert value <= 8 * EPS * factor
    assert dot <= 16 * EPS * factor


@pytest.mark.parametrize("activation", **named(SERIES))
def test_series_keep_their_digits(activation):
    """The quadrature has errors of 1e-13. Its sectors end at kinks, so they do not grow near |ρ| = 1."""
    exact = np.array([quadrature.dual(activation, *pair, exact=True) for pair in pairs().T.tolist()]).T
    value, dot = worst(activation, exact, built(activation).dual(*pairs()))
    assert max(value, dot) <= 3e-13


def integral(f, q1, q2, c):
    """E f(u)f(v) in 20 digits, over the angle and the radius of two independent normal variables."""
    with mp.workdps(20):
        q1, q2, c = map(mp.mpf, (q1, q2, c))
        rho = c / mp.sqrt(q1 * q2)
        across = mp.sqrt(1 - rho**2)

        def at(r, angle):
            u, v = r * mp.cos(angle), r * (rho * mp.cos(angle) + across * mp.sin(angle))
            return f(mp.sqrt(q1) * u) * f(mp.sqrt(q2) * v) * r * mp.exp(-(r**2) / 2)

        edges = [0, mp.pi / 2, mp.pi, 3 * mp.pi / 2, 2 * mp.pi]
        return float(mp.quad(at, [0, 3, 10], edges, maxdegree=4, method="gauss-legendre") / (2 * mp.pi))


@pytest.mark.parametrize("name", ["tanh", "erf"])
def test_values_are_integrals(name):
    """An integral by mpmath, which shares nothing with the other oracles."""
    q1, q2, c = 0.7, 0.4, 0.3
    exact = integral(activations.TABLE[name].exact, q1, q2, c)
    assert abs(built(name).dual(q1, q2, c)[0] - exact) <= 1e-12  # the accuracy of this rule


@pytest.mark.parametrize("activation", [one for one in EVERY.values() if one not in JUMPS.values()], ids=str)
def test_price_law(activation):
    """∂T/∂c = Ṫ, by central differences with errors of h² and ε/h."""
    phi, h = built(activation), 1e-5
    q1, q2 = np.array([1.0, 0.7, 2.0]), np.array([1.0, 1.9, 0.3])
    c = np.array([[0.0], [0.5], [-0.6]]) * np.sqrt(q1 * q2)
    difference = (phi.dual(q1, q2, c + h)[0] - phi.dual(q1, q2, c - h)[0]) / (2 * h)
    slope = phi.dual(q1, q2, c)[1]
    assert np.abs(difference - slope).max() <= (1e-7 if is_steep(activation) else 1e-8)


@pytest.mark.parametrize("activation", **named(EVERY))
def test_a_variance_of_zero_is_a_limit(activation):
    """The variable is then the constant 0; where φ has a kink at 0, φ' is the mean of both sides."""
    value, dot = built(activation).dual([0.0, 0.0], [1.3, 0.0], 0.0)
    phi, phi_dot = activations.phi(activation), activations.phi_dot(activation)
    zero, slope = phi(np.zeros(1))[0], phi_dot(np.array([-1e-9, 1e-9])).mean()
    mean, mean_slope = (quadrature.mean(f, 1.3) for f in (phi, phi_dot))
    # The slopes on both sides differ from those at 0 by 1e-9 times φ''.
    np.testing.assert_allclose(value, [zero * mean, zero * zero], rtol=0, atol=1e-13)
    np.testing.assert_allclose(dot, [slope * mean_slope, slope * slope], rtol=0, atol=1e-8)


def test_tiny_variances_are_near_their_limit():
    for phi in (Tanh(), ntkrs.Softplus(), Relu(), Erf(), ntkrs.Elu(0.3)):
        zero = np.array(phi.dual(0.0, [0.0, 1.0], 0.0))
        for q in (5e-324, 1e-310, 1e-150, 1e-100):
            np.testing.assert_allclose(phi.dual(q, [q, 1.0], 0.0), zero, rtol=1e-12, atol=1e-45)


def test_the_kernel_of_one_hidden_layer_is_its_dual():
    x = np.random.default_rng(0).standard_normal((7, 5))
    q = (x * x).sum(1) / 5
    for name in ("relu", "tanh", "cos"):
        kernel = ntkrs.mlp(1, 1, 1, name).kernel()(x, get="nngp")
        value, _ = built(name).dual(q[:, None], q, x @ x.T / 5)
        assert np.allclose(value, kernel, rtol=0, atol=1e-13)


def test_shapes_broadcast():
    value, dot = Relu().dual(np.ones((2, 1)), [1.0, 2.0, 3.0], 0)
    assert value.shape == dot.shape == (2, 3)
    np.testing.assert_allclose(value, np.sqrt([1, 2, 3]) / (2 * np.pi) * np.ones((2, 1)), rtol=4 * EPS)
    assert Erf().dual(1, 1, 0)[0].shape == ()
    assert Erf().dual([], 1, 0)[0].shape == (0,)
    for dtype in (np.float32, np.int64, bool):
        assert Tanh().dual(np.ones(1, dtype), 1, 1)[1].dtype == np.float64
    first, second = np.full((2, 4), 0.5)[:, ::2], np.asfortranarray(np.eye(2) + 1)
    assert np.array_equal(Tanh().dual(first, second, 0.1)[0], Tanh().dual(second, first, 0.1)[0])


def test_covariances_may_exceed_their_bound_by_rounding():
    q = np.array([2.0, 3.0])
    c = np.sqrt(6.0) * (1 + 8 * EPS)
    for value, slope in (Relu().dual(*q, c), Relu().dual(*q[::-1], -c)):
        assert value == pytest.approx(np.sqrt(6.0) / 2 if value > 1 else 0, abs=4 * EPS)
        assert slope in (0.5, 0.0)
    with pytest.raises(
        ValueError, match=r"c is 2\.45.* where q1 is 2\.0 and q2 is 3\.0, but \|c\| must be at most √\(q1 q2\)"
    ):
        Relu().dual(*q, 2.45)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"q1 or q2 holds -1\.0, but a variance must be >= 0"):
        Relu().dual(1.0, [1.0, -1.0], 0.5)
    with pytest.raises(ValueError, match=r"c is 0\.1 where q1 is 0\.0 and q2 is 1\.0, but"):
        Relu().dual(0.0, 1.0, 0.1)
    with pytest.raises(ValueError, match=r"the shapes do not broadcast to one shape: q1 \(2,\), q2 \(3,\), c \(\)"):
        Relu().dual([1, 1], [1, 1, 1], 0)
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="q2 holds"):
            Relu().dual(1.0, [1.0, bad], 0.5)
    with pytest.raises(TypeError, match="c holds complex numbers"):
        Relu().dual(1.0, 1.0, 1j)
    with pytest.raises(ValueError, match="exceeds the range of float64 where a variance is 1000000"):
        Exp().dual(1e6, 1.0, 0.0)
    with pytest.raises(ValueError, match="series"):
        Tanh().dual(1e13, 1.0, 0.0)


def test_functions_are_called_and_their_errors_come_through():
    phi = Activation(np.tanh, lambda x: 1 / np.cosh(x) ** 2)
    for one, other in zip(phi.dual(0.5, 0.7, 0.3), Tanh().dual(0.5, 0.7, 0.3), strict=True):
        assert abs(one - other) <= 1e-14
    bent = Activation(lambda x: np.abs(x - 1.0), lambda x: np.sign(x - 1.0))
    with pytest.warns(RuntimeWarning, match=r"the series of Activation.* is too short for these variances"):
        bent.dual(1.0, 1.0, 0.5)

    def fails(x):
        if np.abs(x).max() > 4:
            raise ZeroDivisionError("no")
        return x

    with pytest.raises(ZeroDivisionError, match="no"):
        Activation(fails, np.ones_like).dual(1.0, 1.0, 0.5)


def test_a_jump_is_left_out_of_the_derivative():
    assert np.array_equal(Sign().dual(1.0, 1.0, [0.0, 1.0]), [[0.0, 1.0], [0.0, 0.0]])
