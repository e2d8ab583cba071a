"""E[phi(u) phi(v)] and E[phi'(u) phi'(v)] for (u, v) ~ N(0, [[q1, c], [c, q2]]), by numerical integration.

`polar` works for every phi that is smooth on both sides of 0, with or without a kink there; `hermite`, a
second rule to check it against, works only for smooth phi. Neither knows a closed form.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING

import mpmath as mp
import numpy as np
from scipy import special

from .activations import phi, phi_dot
from .finite import scales

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .activations import Activation, Array, Function
    from .finite import Scale


@functools.cache
def _legendre(n: int) -> tuple[Array, Array]:
    """Nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return (nodes + 1) / 2, weights / 2


@functools.cache
def _hermite(n: int) -> tuple[Array, Array]:
    """Nodes and weights of E over N(0, 1)."""
    nodes, weights = special.roots_hermitenorm(n)
    return nodes, weights / np.sqrt(2 * np.pi)


def exact_angle(q1: float, q2: float, c: float) -> float:
    """The angle of these very floats: a rounded c / sqrt(q1 q2) near 1 costs half of its digits."""
    with mp.workdps(40):
        rho = mp.mpf(c) / mp.sqrt(mp.mpf(q1) * mp.mpf(q2))
        return float(mp.acos(max(-1, min(1, rho))))


def polar(
    f: Function, q1: float, q2: float, c: float, radial: int = 120, angular: int = 80, theta: float | None = None
) -> float:
    """E[f(u) f(v)] in polar coordinates, for f that is smooth on x > 0 and on x < 0.

    u = sqrt(q1) r cos(alpha),  v = sqrt(q2) r cos(alpha - theta),  theta = arccos(c / sqrt(q1 q2)):
    (1 / 2 pi) int dalpha int_0^16 f(u) f(v) r e^{-r^2 / 2} dr. The rays u = 0 and v = 0 cut the circle into
    four sectors; Gauss-Legendre in each. What lies beyond r = 16 has the probability e^{-128}.
    """
    if theta is None:
        theta = float(np.arccos(np.clip(c / (np.sqrt(q1) * np.sqrt(q2)), -1.0, 1.0)))
    cuts = np.array([-np.pi / 2, theta - np.pi / 2, np.pi / 2, theta + np.pi / 2, 3 * np.pi / 2])
    nodes, weights = _legendre(angular)
    r, radial_weights = (16 * value for value in _legendre(radial))
    radial_weights = radial_weights * r * np.exp(-r * r / 2) / (2 * np.pi)
    total = 0.0
    for start, end in itertools.pairwise(cuts):
        alpha = (start + (end - start) * nodes)[:, None]
        u = np.sqrt(q1) * r * np.cos(alpha)
        v = np.sqrt(q2) * r * np.cos(alpha - theta)
        total += (end - start) * float(weights @ (f(u) * f(v)) @ radial_weights)
    return total


def hermite(f: Function, q1: float, q2: float, c: float, n: int = 200) -> float:
    """E[f(u) f(v)] by the tensor Gauss-Hermite rule with n x n nodes, for f smooth everywhere.

    u = sqrt(q1) z1,  v = sqrt(q2) (rho z1 + sqrt(1 - rho^2) z2)
    """
    nodes, weights = _hermite(n)
    rho = np.clip(c / (np.sqrt(q1) * np.sqrt(q2)), -1.0, 1.0)
    u = np.sqrt(q1) * nodes
    v = np.sqrt(q2) * (rho * nodes[:, None] + np.sqrt((1 - rho) * (1 + rho)) * nodes)
    return float((weights * f(u)) @ f(v) @ weights)


def mean(f: Function, q: float, n: int = 200) -> float:
    """E[f(u)] for u ~ N(0, q), by Gauss-Legendre on both sides of 0; f(0) for q = 0."""
    if q == 0:
        return float(f(np.zeros(1))[0])
    nodes, weights = _legendre(n)
    z = 16 * nodes
    density = 16 * weights * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    return float(density @ (f(np.sqrt(q) * z) + f(-np.sqrt(q) * z)))


def dual(activation: Activation, q1: float, q2: float, c: float, *, exact: bool = False) -> tuple[float, float]:
    """(T, Tdot) by `polar`, to about 1e-13; q = 0 means that the argument is identically 0.

    With `exact`, errors do not grow near |c| = sqrt(q1 q2).
    """
    functions = phi(activation), phi_dot(activation)
    if q1 == 0 or q2 == 0:
        first, second = ([mean(f, q) for f in functions] for q in (q1, q2))
        return first[0] * second[0], first[1] * second[1]
    theta = exact_angle(q1, q2, c) if exact else None
    return polar(functions[0], q1, q2, c, theta=theta), polar(functions[1], q1, q2, c, theta=theta)


def kernels(
    x: Array, z: Array, sigma_w: Scale, sigma_b: Scale, activations: Sequence[Activation]
) -> tuple[Array, Array]:
    """(nngp, ntk), (N, M) each, of any activations: the recursion of `infinite`, each dual an integral."""
    sw, sb = scales(sigma_w, len(activations) + 1), scales(sigma_b, len(activations) + 1)

    def first(row: Array, column: Array) -> float:
        return float(sw[0] ** 2 * (row @ column) / len(row) + sb[0] ** 2)

    def pair(row: Array, column: Array) -> tuple[float, float]:
        q1, q2, nngp = first(row, row), first(column, column), first(row, column)
        ntk = nngp
        for activation, w, b in zip(activations, sw[1:], sb[1:], strict=True):
            value, dot = dual(activation, q1, q2, nngp)
            q1, q2 = (w * w * dual(activation, q, q, q)[0] + b * b for q in (q1, q2))
            nngp = w * w * value + b * b
            ntk = nngp + w * w * dot * ntk
        return nngp, ntk

    both = np.array([[pair(row, column) for column in z] for row in x])
    return both[:, :, 0], both[:, :, 1]
