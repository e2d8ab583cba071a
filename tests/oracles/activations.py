"""Activation functions and their derivatives in NumPy, by snake-case name.

An activation is written as a name, ``"relu"``, or as a tuple of the name and its parameters,
``("leaky_relu", 0.1)``. Parameters that are left out take the values in `DEFAULTS`.

At a kink the derivative is the one of the left side (relu: 0, leaky_relu: slope, elu: alpha), but 0 for abs
and sign. This is what torch does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

Array = npt.NDArray[Any]
Function = Callable[[Array], Array]
Activation = str | tuple[Any, ...]

DEFAULTS: dict[str, tuple[float, ...]] = {
    "leaky_relu": (0.01,),  # slope
    "elu": (1.0,),  # alpha
    "sin": (1.0, 1.0, 0.0),  # a, b, p of a sin(b x + p)
    "cos": (1.0, 1.0, 0.0),  # a, b, p of a cos(b x + p)
    "rbf": (1.0,),  # gamma of sqrt(2) sin(sqrt(2 gamma) x + pi / 4)
    "exp": (1.0, 1.0),  # a, b of a exp(b x)
    "gaussian": (1.0,),  # b of exp(-b x^2)
}

KINKED = {"relu", "leaky_relu", "abs", "sign", "rectified_power", "elu"}  # all at 0; the rest is analytic
JUMPS = [("sign", ()), ("rectified_power", (0,))]  # phi itself is not continuous


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


# name: (phi(x, *parameters), phi'(x, *parameters))
TABLE: dict[str, tuple[Callable[..., Array], Callable[..., Array]]] = {
    "identity": (lambda x: x + 0.0, np.ones_like),
    "relu": (lambda x: np.maximum(x, 0.0), lambda x: np.where(x > 0, 1.0, 0.0)),
    "leaky_relu": (
        lambda x, slope: np.where(x > 0, x, slope * x),
        lambda x, slope: np.where(x > 0, 1.0, slope),
    ),
    "abs": (np.abs, np.sign),
    "sign": (np.sign, np.zeros_like),
    "rectified_power": (_power, _power_derivative),
    "erf": (special.erf, lambda x: 2 / np.sqrt(np.pi) * np.exp(-x * x)),
    "gelu": (lambda x: x * special.ndtr(x), _gelu_derivative),
    "sin": (lambda x, a, b, p: a * np.sin(b * x + p), lambda x, a, b, p: a * b * np.cos(b * x + p)),
    "cos": (lambda x, a, b, p: a * np.cos(b * x + p), lambda x, a, b, p: -a * b * np.sin(b * x + p)),
    "rbf": (_rbf, _rbf_derivative),
    "exp": (lambda x, a, b: a * np.exp(b * x), lambda x, a, b: a * b * np.exp(b * x)),
    "gaussian": (lambda x, b: np.exp(-b * x * x), lambda x, b: -2 * b * x * np.exp(-b * x * x)),
    "polynomial": (_polynomial, _polynomial_derivative),
    "monomial": (lambda x, n: x**n, lambda x, n: n * x ** max(n - 1, 0)),
    "hermite": (_hermite, _hermite_derivative),
    "tanh": (np.tanh, lambda x: 1 / np.cosh(np.clip(x, -350, 350)) ** 2),  # beyond, cosh² overflows
    "sigmoid": (special.expit, _sigmoid_derivative),
    "silu": (lambda x: x * special.expit(x), _silu_derivative),
    "softplus": (lambda x: np.logaddexp(0.0, x), special.expit),
    "elu": (
        lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0))),
        lambda x, alpha: np.where(x > 0, 1.0, alpha * np.exp(np.minimum(x, 0.0))),
    ),
}


def parse(activation: Activation) -> tuple[str, tuple[Any, ...]]:
    """(name, parameters) of an activation, with the default parameters filled in."""
    name, *given = (activation,) if isinstance(activation, str) else activation
    if name not in TABLE:
        raise KeyError(f"unknown activation {name!r}; known: {sorted(TABLE)}")
    return name, (*given, *DEFAULTS.get(name, ())[len(given) :])


def phi(activation: Activation) -> Function:
    """The activation as a function of one array."""
    name, parameters = parse(activation)
    return lambda x: TABLE[name][0](x, *parameters)


def phi_dot(activation: Activation) -> Function:
    """The derivative of the activation as a function of one array."""
    name, parameters = parse(activation)
    return lambda x: TABLE[name][1](x, *parameters)
