"""The oracles of dual activations, against each other and against closed forms. No ntkrs here.

Tolerances are a count of roundings times EPS, or the truncation error of the method compared with.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from oracles import activations, quadrature
from oracles.duals import dual
from oracles.infinite import mp
from oracles.tables import CLOSED_FORMS, COVARIANCES, OTHERS, is_smooth

EPS = 2.0**-52


@pytest.mark.parametrize("activation", CLOSED_FORMS, ids=str)
def test_closed_forms_are_the_integrals(activation):
    for q1, q2, c in COVARIANCES:
        closed = dual(activation, np.float64(q1), np.float64(q2), np.float64(c), np)
        polar = quadrature.dual(activation, q1, q2, c)
        # the quadrature weights carry about 1e-14 each
        assert_allclose(polar, closed, rtol=1e-13, atol=1e-13)
        if is_smooth(activation):
            functions = activations.phi(activation), activations.phi_dot(activation)
            hermite = [quadrature.hermite(f, q1, q2, c) for f in functions]
            assert_allclose(hermite, closed, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("activation", OTHERS, ids=str)
def test_quadrature_agrees_with_itself_where_there_is_no_closed_form(activation):
    for f in activations.phi(activation), activations.phi_dot(activation):
        for q1, q2, c in [*COVARIANCES, (9.0, 4.0, 5.0)]:
            value = quadrature.polar(f, q1, q2, c)
            finer = quadrature.polar(f, q1, q2, c, radial=200, angular=150)
            assert_allclose(value, finer, rtol=1e-13, atol=1e-13)
            if is_smooth(activation) and max(q1, q2) <= 2:
                # Gauss-Hermite is slow for poles near the real axis: 3e-12 for tanh' at q = 2
                assert_allclose(quadrature.hermite(f, q1, q2, c), value, rtol=0, atol=1e-10)


@pytest.mark.parametrize("activation", CLOSED_FORMS, ids=str)
@pytest.mark.parametrize("q", [(0.0, 1.5), (1.5, 0.0), (0.0, 0.0)], ids=str)
def test_closed_forms_where_an_argument_is_identically_zero(activation, q):
    expected = quadrature.dual(activation, *q, 0.0)  # phi(0) E phi(v) and phi'(0) E phi'(v)
    closed = dual(activation, np.float64(q[0]), np.float64(q[1]), np.float64(0), np)
    exact = dual(activation, mp.mpf(q[0]), mp.mpf(q[1]), mp.mpf(0), mp)
    # 400 nodes with weights to about 1e-13
    assert_allclose(closed, expected, rtol=1e-12, atol=1e-13)
    assert_allclose([float(value) for value in exact], expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    "activation", [a for a in CLOSED_FORMS if activations.parse(a) not in activations.JUMPS], ids=str
)
def test_price(activation):
    """dT / dc = Tdot, except for jumps, which phi' leaves out."""
    with mp.workdps(50):
        h = mp.mpf(10) ** -15
        for covariance in COVARIANCES[:4]:
            q1, q2, c = map(mp.mpf, covariance)
            above, below = (dual(activation, q1, q2, c + step, mp)[0] for step in (h, -h))
            slope = (above - below) / (2 * h)
            # truncation h^2 T''' / 6 with |T'''| up to (1 - rho)^-5/2 = 3e7; round-off 1e-50 / h
            assert abs(slope - dual(activation, q1, q2, c, mp)[1]) < 1e-22


@pytest.mark.parametrize("activation", CLOSED_FORMS, ids=str)
def test_dual_in_numpy_is_dual_in_mpmath(activation):
    q1, q2 = np.array([[0.4], [1.7]]), np.array([0.9, 1.3, 0.2])
    c = np.array([[0.3, -0.6, 0.1], [0.0, 1.2, -0.5]])
    value, dot = dual(activation, q1, q2, c, np)
    for i, j in np.ndindex(2, 3):
        exact = dual(activation, mp.mpf(q1[i, 0]), mp.mpf(q2[j]), mp.mpf(c[i, j]), mp)
        # about 20 operations on numbers of order 1 to 10
        assert_allclose([value[i, j], dot[i, j]], [float(v) for v in exact], rtol=0, atol=100 * EPS)
