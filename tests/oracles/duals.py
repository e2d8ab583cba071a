"""Dual activations in closed form, written once for mpmath numbers and for NumPy arrays.

    T = E[phi(u) phi(v)],    Tdot = E[phi'(u) phi'(v)],    (u, v) ~ N(0, [[q1, c], [c, q2]])

in the plain c / rho form. `m` is ``mpmath.mp`` (q1, q2, c are mpf) or ``numpy`` (arrays that broadcast).
q = 0 means that the argument is identically 0: T = phi(0) E phi(v), Tdot = phi'(0) E phi'(v).
"""

from __future__ import annotations

from math import factorial
from typing import TYPE_CHECKING, Any

import numpy as np

from .activations import parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from .activations import Activation

Pair = tuple[Any, Any]


def dual(activation: Activation, q1: Any, q2: Any, c: Any, m: Any) -> Pair:
    """(T, Tdot) of an activation with a closed form; m is mpmath.mp or numpy."""
    name, parameters = parse(activation)
    if name not in CLOSED:
        raise KeyError(f"{name} has no closed-form dual")
    number = float if m is np else m.mpf  # the exact value of the float given
    return CLOSED[name](q1, q2, c, m, *(number(float(p)) for p in parameters))


def _select(condition: Any, yes: Any, no: Any, m: Any) -> Any:
    if m is np:
        return np.where(condition, yes, no)
    return m.mpf(yes) if condition else m.mpf(no)


def _arcsin(x: Any, m: Any) -> Any:
    return np.arcsin(x) if m is np else m.asin(x)


def _angle(q1: Any, q2: Any, c: Any, m: Any) -> Pair:
    """s = sqrt(q1) sqrt(q2) and theta = arccos(c / s); theta = pi / 2 where s = 0."""
    if m is np:
        s, c = np.broadcast_arrays(np.sqrt(q1) * np.sqrt(q2), c)
        rho = np.divide(c, s, out=np.zeros(s.shape), where=s > 0)
        rho = np.where((q1 == q2) & (c == q1) & (s > 0), 1.0, rho)  # the diagonal is set, not computed
        return s, np.arccos(np.clip(rho, -1.0, 1.0))
    s = m.sqrt(q1 * q2)  # no overflow in mpmath, and exactly q for q1 = q2 = q: equal rows get rho = 1
    if s == 0:
        return s, m.pi / 2
    rho = c / s
    if abs(rho) > 1:
        if abs(rho) > 1 + m.sqrt(m.eps):
            raise ArithmeticError(f"correlation {rho} is outside [-1, 1] by more than round-off")
        rho = m.sign(rho)
    return s, m.acos(rho)


def _two_slopes(q1: Any, q2: Any, c: Any, m: Any, a: Any, b: Any, dot_zero: Any) -> Pair:
    """a min(x, 0) + b max(x, 0), with phi'(0) = dot_zero."""
    s, theta = _angle(q1, q2, c, m)
    mean, gap = (a * a + b * b) / 2, (a - b) ** 2 / (2 * m.pi)
    e1, e2 = (_select(q == 0, dot_zero, (a + b) / 2, m) for q in (q1, q2))  # E phi'(u), E phi'(v)
    dot = _select(s == 0, e1 * e2, mean - gap * theta, m)
    return mean * c + gap * (s * m.sin(theta) - theta * c), dot


def _sign(q1: Any, q2: Any, c: Any, m: Any) -> Pair:
    """Tdot is that of the almost-everywhere derivative, 0: it is not dT/dc, which sees the jump."""
    s, theta = _angle(q1, q2, c, m)
    return _select(s == 0, 0, 1 - 2 * theta / m.pi, m), 0 * s


def _arc_cosine(n: int, theta: Any, m: Any) -> Any:
    """J_n(theta) of Cho and Saul."""
    sin, cos, rest = m.sin(theta), m.cos(theta), m.pi - theta
    return (
        rest,
        sin + rest * cos,
        3 * sin * cos + rest * (1 + 2 * cos**2),
        4 * sin + 11 * sin * cos**2 + rest * (9 * cos + 6 * cos**3),
    )[n]


def _rectified_power(q1: Any, q2: Any, c: Any, m: Any, n: Any) -> Pair:
    """max(x, 0)^n for n = 0 ... 3; n = 0 is the step function, of which Tdot is the a.e. one, as for sign."""
    n = int(n)
    s, theta = _angle(q1, q2, c, m)
    value = s**n * _arc_cosine(n, theta, m) / (2 * m.pi)
    dot = n**2 * s ** (n - 1) * _arc_cosine(n - 1, theta, m) / (2 * m.pi) if n > 0 else 0 * s
    return _select(s == 0, 0, value, m), _select(s == 0, 0, dot, m)


def _erf(q1: Any, q2: Any, c: Any, m: Any) -> Pair:
    d = (1 + 2 * q1) * (1 + 2 * q2)
    return 2 / m.pi * _arcsin(2 * c / m.sqrt(d), m), 4 / m.pi / m.sqrt(d - 4 * c * c)


def _gelu(q1: Any, q2: Any, c: Any, m: Any) -> Pair:
    """x Phi(x), with Phi the normal distribution function."""
    d = (1 + q1) * (1 + q2)
    e2 = d - c * c
    e = m.sqrt(e2)
    arc = _arcsin(c / m.sqrt(d), m)
    value = c / 4 + (c * arc + (c * c + q1 * q2 * e2) / (d * e)) / (2 * m.pi)
    return value, 0.25 + (arc + c / e * (1 / e2 + (2 + q1 + q2) / d)) / (2 * m.pi)


def _wave(q1: Any, q2: Any, c: Any, m: Any, a: Any, b: Any, cos_2p: Any) -> Pair:
    """a sin(b x + p)."""
    near = m.exp(-b * b * (q1 + q2 - 2 * c) / 2)
    far = cos_2p * m.exp(-b * b * (q1 + q2 + 2 * c) / 2)
    return a * a / 2 * (near - far), (a * b) ** 2 / 2 * (near + far)


def _rbf(q1: Any, q2: Any, c: Any, m: Any, gamma: Any) -> Pair:
    """sqrt(2) sin(sqrt(2 gamma) x + pi / 4)."""
    value = m.exp(-gamma * (q1 + q2 - 2 * c))
    return value, 2 * gamma * value


def _exp(q1: Any, q2: Any, c: Any, m: Any, a: Any, b: Any) -> Pair:
    """a exp(b x)."""
    value = a * a * m.exp(b * b * ((q1 + q2) / 2 + c))
    return value, b * b * value


def _gaussian(q1: Any, q2: Any, c: Any, m: Any, b: Any) -> Pair:
    """exp(-b x^2)."""
    root = m.sqrt((1 + 2 * b * q1) * (1 + 2 * b * q2) - 4 * b * b * c * c)
    return 1 / root, 4 * b * b * c / root**3


def _polynomial(q1: Any, q2: Any, c: Any, _m: Any, *a: Any) -> Pair:
    """T = sum_l r_l(q1) r_l(q2) c^l / l! with r_l(q) = sum_i a_{2i+l} (2i+l)! / (2^i i!) q^i."""

    def r(order: int, q: Any) -> Any:
        terms = range((len(a) - 1 - order) // 2 + 1)
        return sum(a[2 * i + order] * factorial(2 * i + order) / (2**i * factorial(i)) * q**i for i in terms)

    products = [r(k, q1) * r(k, q2) / factorial(k) for k in range(len(a))]
    value = sum(p * c**k for k, p in enumerate(products))
    dot = sum(k * p * c ** (k - 1) for k, p in enumerate(products) if k > 0)
    return value, dot + 0 * c


def _monomial(q1: Any, q2: Any, c: Any, m: Any, n: Any) -> Pair:
    return _polynomial(q1, q2, c, m, *[0] * int(n), 1)


def _hermite(q1: Any, q2: Any, c: Any, m: Any, n: Any) -> Pair:
    """He_n(x) / sqrt(n!), with He_{n+1} = x He_n - n He_{n-1}."""
    before, last = [0], [1]
    for k in range(int(n)):
        lower = [*before, 0, 0][: k + 2]
        before, last = last, [a - k * b for a, b in zip([0, *last], lower, strict=True)]
    value, dot = _polynomial(q1, q2, c, m, *last)
    return value / factorial(int(n)), dot / factorial(int(n))


# name: (q1, q2, c, m, *parameters) -> (T, Tdot)
CLOSED: dict[str, Callable[..., Pair]] = {
    "identity": lambda _q1, _q2, c, _m: (c, 1 + 0 * c),
    "relu": lambda q1, q2, c, m: _two_slopes(q1, q2, c, m, 0, 1, 0),
    "leaky_relu": lambda q1, q2, c, m, slope: _two_slopes(q1, q2, c, m, slope, 1, slope),
    "abs": lambda q1, q2, c, m: _two_slopes(q1, q2, c, m, -1, 1, 0),
    "sign": _sign,
    "rectified_power": _rectified_power,
    "erf": _erf,
    "gelu": _gelu,
    "sin": lambda q1, q2, c, m, a, b, p: _wave(q1, q2, c, m, a, b, m.cos(2 * p)),
    "cos": lambda q1, q2, c, m, a, b, p: _wave(q1, q2, c, m, a, b, -m.cos(2 * p)),
    "rbf": _rbf,
    "exp": _exp,
    "gaussian": _gaussian,
    "polynomial": _polynomial,
    "monomial": _monomial,
    "hermite": _hermite,
}
