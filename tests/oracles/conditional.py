"""E[phi(u) phi(v)] and E[phi'(u) phi'(v)] of ELU, of smooth and of kinked functions, for u and v at any distance.

For ELU the expectation given u is a closed form, so that one integral is left, in mpmath. For functions that are
analytic in a strip, the trapezoidal rule in two independent variables converges like e^(-2 pi d / step), d being the
distance of the nearest pole. For functions that are smooth on both sides of 0, panels become shorter by halves towards
the rays u = 0 and v = 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mpmath  # type: ignore[import-untyped]
import numpy as np

if TYPE_CHECKING:
    from .activations import Array, Function

mp: Any = mpmath.mp


def elu(r1: Any, r2: Any, gap: Any, alpha: float = 1.0, scale: float = 1.0, digits: int = 22) -> tuple[Any, Any]:
    """(T, Tdot) for u, v of standard deviations r1, r2 and the correlation 1 - gap; gap in (0, 2)."""
    with mp.workdps(digits):
        r1, r2, gap, alpha = (mp.mpf(value) for value in (r1, r2, gap, alpha))
        rho, s = 1 - gap, r2 * mp.sqrt(gap * (2 - gap))  # v ~ N(rho r2 z, s^2) given u = r1 z

        def integrands(z: Any) -> Any:
            """Both integrands, as one complex number."""
            u, m = r1 * z, rho * r2 * z
            right = mp.ncdf(m / s)
            left = alpha * mp.exp(m + s * s / 2) * mp.ncdf(-(m + s * s) / s)  # E[alpha e^v; v < 0]
            value = m * right + s * mp.npdf(m / s) + left - alpha * mp.ncdf(-m / s)
            slope = right + left
            phi, dot = (u, 1) if u > 0 else (alpha * mp.expm1(u), alpha * mp.exp(u))
            return mp.mpc(phi * value, dot * slope) * mp.npdf(z)

        # Scales of z: 1, the one on which v changes its sign, and the one of e^u.
        widths = [k * w for w in (1, s / r2, 1 / r1) for k in (1, 4, 12)]
        edges = sorted({mp.mpf(0), *(sign * w for w in widths if w <= 12 for sign in (1, -1))})
        both = scale**2 * mp.quad(integrands, edges)
        return both.real, both.imag


def smooth(f: Function, r1: float, r2: float, gap: float, pole: float = 1.0) -> float:
    """E[f(u) f(v)] for f whose poles are well beyond `pole` from the real axis, to about 1e-15."""
    step = min(0.1, pole / max(r1, r2) / 6)
    z = step * np.arange(-np.ceil(9.5 / step), np.ceil(9.5 / step) + 1)
    weights = step * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    rho, across = 1 - gap, np.sqrt(gap * (2 - gap))
    inner = np.array([f(r2 * (rho * at + across * z)) @ weights for at in z])
    return float((weights * f(r1 * z)) @ inner)


def kinked(f: Function, r1: float, r2: float, gap: float) -> float:
    """E[f(u) f(v)] for f that varies on the scale 1 or more slowly on x > 0 and on x < 0, to about 1e-15.

    In polar coordinates u = r1 s sin(b - t) and v = r2 s sin t, with an angle t from 0 to b: b = pi - theta where u and
    v have one sign, and b = theta where they have two. Each half of the angles is measured from its own end, so that
    nothing cancels.
    """
    theta = 2 * np.arcsin(np.sqrt(gap / 2))
    radius, weights = _halved(12.0, max(r1, r2))
    weights = weights * radius * np.exp(-radius * radius / 2) / (2 * np.pi)
    total = 0.0
    for b, sign in ((np.pi - theta, 1), (theta, -1)):
        angles, angle_weights = _halved(b / 2, 12 * max(r1, r2))
        near, far = np.sin(angles), np.sin(theta + sign * angles)  # sin(b - t), where π - b is exact
        for first, second in ((far, near), (near, far)):
            u, v = (r * radius[:, None] * sine for r, sine in ((r1, first), (r2, second)))
            products = f(u) * f(sign * v) + f(-u) * f(-sign * v)
            total += float(weights @ (products @ angle_weights))
    return total


def _halved(end: float, scale: float) -> tuple[Array, Array]:
    """Nodes and weights on [0, end], in panels that halve towards 0 until the first is shorter than 1/scale."""
    count = max(1, int(np.ceil(np.log2(end * scale))) + 1)
    edges = np.concatenate([[0.0], end * 0.5 ** np.arange(count, -1, -1)])
    nodes, weights = np.polynomial.legendre.leggauss(24)
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (1 + nodes)).ravel(), (half * weights).ravel()
