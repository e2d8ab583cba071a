"""Activation functions by snake-case name: φ and φ' in NumPy, φ in mpmath. The tests read everything from `TABLE`.

An activation is written as a name, ``"relu"``, or as a tuple of the name and its parameters,
``("leaky_relu", 0.1)``. Parameters that are left out take the default values of the table.

At a kink the derivative is the one of the left side (relu: 0, leaky_relu: slope, elu: alpha), but 0 for abs
and sign. This is what torch does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np
import numpy.typing as npt
from scipy import special

Array = npt.NDArray[Any]
Function = Callable[[Array], Array]
Activation = str | tuple[Any, ...]

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


@dataclass(frozen=True)
class Entry:
    """One activation."""

    #: φ(x, *parameters) in NumPy.
    phi: Callable[..., Array]
    #: φ'(x, *parameters) in NumPy.
    phi_dot: Callable[..., Array]
    #: φ(x, *parameters) of one number in mpmath.
    exact: Callable[..., Any]
    #: Values of parameters that are left out.
    defaults: tuple[float, ...] = ()
    #: True if φ or one of its derivatives jumps at 0. It is analytic everywhere else.
    kink: bool = False


def _gelu_derivative(x: Array) -> Array:
    return np.asarray(special.ndtr(x) + x * np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi))


def _sigmoid_derivative(x: Array) -> Array:
    return np.asarray(special.expit(x) * special.expit(-x))


def _silu_derivative(x: Array) -> Array:
    return np.asarray(special.expit(x) * (1 + x * special.expit(-x)))


def _rbf(x: Array, gamma: float) -> Array:
    return np.asarray(np.sqrt(2) * np.sin(np.sqrt(2 * gamma) * x + np.pi / 4))


def _rbf_derivative(x: Array, gamma: float) -> Array:
    return np.asarray(2 * np.sqrt(gamma) * np.cos(np.sqrt(2 * gamma) * x + np.pi / 4))


def _power(x: Array, n: int) -> Array:
    """max(x, 0)^n; the step function x > 0 for n = 0."""
    return np.where(x > 0, x**n, 0.0)


def _power_derivative(x: Array, n: int) -> Array:
    return np.where(x > 0, n * x ** max(n - 1, 0), 0.0)


def _polynomial(x: Array, *a: float) -> Array:
    """a_0 + a_1 x + a_2 x^2 + ..."""
    return np.asarray(np.polynomial.polynomial.polyval(x, np.array(a, dtype=float)))


def _polynomial_derivative(x: Array, *a: float) -> Array:
    slopes = np.polynomial.polynomial.polyder(np.array(a, dtype=float))
    return np.asarray(np.polynomial.polynomial.polyval(x, slopes))


def _hermite(x: Array, n: int) -> Array:
    """He_n(x) / sqrt(n!)."""
    return np.asarray(special.eval_hermitenorm(n, x) / np.sqrt(special.factorial(n)))


def _hermite_derivative(x: Array, n: int) -> Array:
    return np.sqrt(n) * _hermite(x, n - 1) if n > 0 else np.zeros_like(x)


def _gelu_tanh(x: Array) -> Array:
    """x (1 + tanh u)/2 with u = √(2/π) (x + 0.044715 x³), as x σ(2u), in which nothing cancels."""
    return np.asarray(x * special.expit(np.sqrt(8 / np.pi) * (x + 0.044715 * x**3)))


def _gelu_tanh_derivative(x: Array) -> Array:
    root = np.sqrt(8 / np.pi)
    u = root * (x + 0.044715 * x**3)
    slope = special.expit(u) * special.expit(-u) * root * (1 + 3 * 0.044715 * x**2)
    return np.asarray(special.expit(u) + x * slope)


def _mish_derivative(x: Array) -> Array:
    t = np.tanh(np.logaddexp(0.0, x))
    return np.asarray(t + x * (1 - t * t) * special.expit(x))


def _elu(x: Array, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))


def _elu_derivative(x: Array, alpha: float) -> Array:
    return np.where(x > 0, 1.0, alpha * np.exp(np.minimum(x, 0.0)))


def _exact_softplus(x: Any) -> Any:
    return mp.log(1 + mp.exp(x))


def _exact_elu(x: Any, alpha: float) -> Any:
    return x if x > 0 else alpha * mp.expm1(x)


def _exact_gelu_tanh(x: Any) -> Any:
    return x / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3)))


def _exact_hermite(x: Any, n: int) -> Any:
    """He_n(x) / √n!, by its recursion."""
    before, last = mp.mpf(0), mp.mpf(1)
    for k in range(int(n)):
        before, last = last, x * last - k * before
    return last / mp.sqrt(mp.factorial(n))


TABLE: dict[str, Entry] = {
    "identity": Entry(lambda x: x + 0.0, np.ones_like, lambda x: x),
    "relu": Entry(lambda x: np.maximum(x, 0.0), lambda x: np.where(x > 0, 1.0, 0.0), lambda x: max(x, 0), kink=True),
    "leaky_relu": Entry(
        lambda x, slope: np.where(x > 0, x, slope * x),
        lambda x, slope: np.where(x > 0, 1.0, slope),
        lambda x, slope: max(x, 0) + slope * min(x, 0),
        defaults=(0.01,),
        kink=True,
    ),
    "abs": Entry(np.abs, np.sign, abs, kink=True),
    "sign": Entry(np.sign, np.zeros_like, mp.sign, kink=True),
    "rectified_power": Entry(_power, _power_derivative, lambda x, n: x ** int(n) if x > 0 else mp.mpf(0), kink=True),
    "erf": Entry(special.erf, lambda x: 2 / np.sqrt(np.pi) * np.exp(-x * x), mp.erf),
    "gelu": Entry(lambda x: x * special.ndtr(x), _gelu_derivative, lambda x: x * mp.ncdf(x)),
    "gelu_tanh": Entry(_gelu_tanh, _gelu_tanh_derivative, _exact_gelu_tanh),
    "sin": Entry(
        lambda x, a, b, p: a * np.sin(b * x + p),
        lambda x, a, b, p: a * b * np.cos(b * x + p),
        lambda x, a, b, p: a * mp.sin(b * x + p),
        defaults=(1.0, 1.0, 0.0),
    ),
    "cos": Entry(
        lambda x, a, b, p: a * np.cos(b * x + p),
        lambda x, a, b, p: -a * b * np.sin(b * x + p),
        lambda x, a, b, p: a * mp.cos(b * x + p),
        defaults=(1.0, 1.0, 0.0),
    ),
    "rbf": Entry(
        _rbf,
        _rbf_derivative,
        lambda x, gamma: mp.sqrt(2) * mp.sin(mp.sqrt(2 * mp.mpf(gamma)) * x + mp.pi / 4),
        defaults=(1.0,),
    ),
    "exp": Entry(
        lambda x, a, b: a * np.exp(b * x),
        lambda x, a, b: a * b * np.exp(b * x),
        lambda x, a, b: a * mp.exp(b * x),
        defaults=(1.0, 1.0),
    ),
    "gaussian": Entry(
        lambda x, b: np.exp(-b * x * x),
        lambda x, b: -2 * b * x * np.exp(-b * x * x),
        lambda x, b: mp.exp(-b * x**2),
        defaults=(1.0,),
    ),
    "polynomial": Entry(
        _polynomial,
        _polynomial_derivative,
        lambda x, *c: sum(coefficient * x**k for k, coefficient in enumerate(c)),
    ),
    "monomial": Entry(lambda x, n: x**n, lambda x, n: n * x ** max(n - 1, 0), lambda x, n: x ** int(n)),
    "hermite": Entry(_hermite, _hermite_derivative, _exact_hermite),
    "tanh": Entry(np.tanh, lambda x: 1 / np.cosh(np.clip(x, -350, 350)) ** 2, mp.tanh),  # beyond 350, cosh² overflows
    "sigmoid": Entry(special.expit, _sigmoid_derivative, lambda x: 1 / (1 + mp.exp(-x))),
    "silu": Entry(lambda x: x * special.expit(x), _silu_derivative, lambda x: x / (1 + mp.exp(-x))),
    "softsign": Entry(
        lambda x: x / (1 + np.abs(x)), lambda x: 1 / (1 + np.abs(x)) ** 2, lambda x: x / (1 + abs(x)), kink=True
    ),
    "softplus": Entry(lambda x: np.logaddexp(0.0, x), special.expit, _exact_softplus),
    "mish": Entry(
        lambda x: x * np.tanh(np.logaddexp(0.0, x)), _mish_derivative, lambda x: x * mp.tanh(_exact_softplus(x))
    ),
    "elu": Entry(_elu, _elu_derivative, _exact_elu, defaults=(1.0,), kink=True),
    "selu": Entry(
        lambda x: SELU_SCALE * _elu(x, SELU_ALPHA),
        lambda x: SELU_SCALE * _elu_derivative(x, SELU_ALPHA),
        lambda x: SELU_SCALE * _exact_elu(x, SELU_ALPHA),
        kink=True,
    ),
}

KINKED = {name for name, entry in TABLE.items() if entry.kink}
JUMPS = [("sign", ()), ("rectified_power", (0,))]  # of these, phi itself is not continuous


def parse(activation: Activation) -> tuple[str, tuple[Any, ...]]:
    """(name, parameters) of an activation, with the default parameters filled in."""
    name, *given = (activation,) if isinstance(activation, str) else activation
    if name not in TABLE:
        raise KeyError(f"unknown activation {name!r}; known: {sorted(TABLE)}")
    return name, (*given, *TABLE[name].defaults[len(given) :])


def phi(activation: Activation) -> Function:
    """The activation as a function of one array."""
    name, parameters = parse(activation)
    return lambda x: TABLE[name].phi(x, *parameters)


def phi_dot(activation: Activation) -> Function:
    """The derivative of the activation as a function of one array."""
    name, parameters = parse(activation)
    return lambda x: TABLE[name].phi_dot(x, *parameters)
