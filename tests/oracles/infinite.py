"""NNGP and NTK of infinitely wide MLPs: in mpmath to any number of digits, and in plain float64 NumPy.

    Sigma^1     = sigma_w^2 <x, x'> / n_0 + sigma_b^2,    Theta^1     = Sigma^1
    Sigma^{l+1} = sigma_w^2 T(Sigma^l) + sigma_b^2,       Theta^{l+1} = Sigma^{l+1} + sigma_w^2 Tdot Theta^l

`activations` has one entry per hidden layer. sigma_w and sigma_b are numbers, or have one entry per dense
layer, that is one more than there are activations. Layers learn at the scales tau_w and tau_b; None: at sigma_w and
sigma_b. tau_w is per sqrt(n): layer l adds tau_w^2 T + tau_b^2 to Theta, and the first one tau_w^2 <x, x'> / n_0 +
tau_b^2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mpmath  # type: ignore[import-untyped]
import numpy as np

from .activations import JUMPS, parse
from .duals import dual
from .finite import scales

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .activations import Activation, Array
    from .finite import Scale

mp: Any = mpmath.mp


def kernels(
    x: Array,
    z: Array | None,
    sigma_w: Scale,
    sigma_b: Scale,
    activations: Sequence[Activation],
    digits: int = 50,
    rounded: bool = False,
    tau_w: Scale | None = None,
    tau_b: Scale | None = None,
) -> tuple[Array, Array]:
    """(nngp, ntk), (N, M) each, of rows x (N, d) and z (M, d; None: x).

    Errors are below 10^-digits sqrt(K_ii K_jj). Entries are mpf, or float64 rounded once if `rounded`.
    Inputs, sigmas and activation parameters count as the exact values of the floats given.
    """
    rows, columns = _exact(x), _exact(x if z is None else z)
    depth = len(activations) + 1
    sw, sb = scales(sigma_w, depth), scales(sigma_b, depth)
    tau = scales(sigma_w if tau_w is None else tau_w, depth), scales(sigma_b if tau_b is None else tau_b, depth)
    with mp.workdps(_working_digits(rows + columns, sw, sb, activations, digits)):
        q_rows = [_diagonal(row, sw, sb, activations) for row in rows]
        q_columns = [_diagonal(row, sw, sb, activations) for row in columns]
        pairs = [
            [_recursion(r, s, q1, q2, sw, sb, tau, activations) for s, q2 in zip(columns, q_columns, strict=True)]
            for r, q1 in zip(rows, q_rows, strict=True)
        ]
    with mp.workdps(digits):
        convert = float if rounded else lambda value: +value  # unary plus rounds to the digits asked for
        both = [[[convert(pair[k]) for pair in line] for line in pairs] for k in (0, 1)]
    shape = (len(rows), len(columns))
    nngp, ntk = (np.array(k, dtype=float if rounded else object).reshape(shape) for k in both)
    return nngp, ntk


def _exact(x: Array) -> list[list[Any]]:
    """Rows as mpf without rounding: every float32 and float64 is an mpf."""
    return [[mp.mpf(float(value)) for value in row] for row in np.asarray(x)]


def _first(row: list[Any], column: list[Any], sw: list[float], sb: list[float]) -> Any:
    return mp.mpf(sw[0]) ** 2 * mp.fdot(row, column) / max(len(row), 1) + mp.mpf(sb[0]) ** 2


def _diagonal(row: list[Any], sw: list[float], sb: list[float], activations: Sequence[Activation]) -> list[Any]:
    """q^l = Sigma^l(x, x) for l = 1 ... L."""
    q = [_first(row, row, sw, sb)]
    for layer, activation in enumerate(activations, start=1):
        value, _ = dual(activation, q[-1], q[-1], q[-1], mp)
        q.append(mp.mpf(sw[layer]) ** 2 * value + mp.mpf(sb[layer]) ** 2)
    return q


def _recursion(
    row: list[Any],
    column: list[Any],
    q1: list[Any],
    q2: list[Any],
    sw: list[float],
    sb: list[float],
    tau: tuple[list[float], list[float]],
    activations: Sequence[Activation],
) -> tuple[Any, Any]:
    """(Sigma^L, Theta^L) of one pair of rows."""
    nngp, ntk = _first(row, column, sw, sb), _first(row, column, *tau)
    for layer, activation in enumerate(activations, start=1):
        value, dot = dual(activation, q1[layer - 1], q2[layer - 1], nngp, mp)
        nngp = mp.mpf(sw[layer]) ** 2 * value + mp.mpf(sb[layer]) ** 2
        own = mp.mpf(tau[0][layer]) ** 2 * value + mp.mpf(tau[1][layer]) ** 2
        ntk = own + mp.mpf(sw[layer]) ** 2 * dot * ntk
    return nngp, ntk


def _working_digits(
    rows: list[list[Any]], sw: list[float], sb: list[float], activations: Sequence[Activation], digits: int
) -> int:
    """The number of digits to compute with so that `digits` are left.

    Twice as many, because arccos turns an error eps of rho near 1 into sqrt(eps); twice again for each
    jump, whose T hands that on to the next rho. And twice the decimal exponent of the largest or smallest q,
    because (1 + 2 q1)(1 + 2 q2) - 4 c^2 and the like lose a factor q or 1 / q.
    """
    with mp.workdps(30):
        exponent = _exponent([_first(row, row, sw, sb) for row in rows])
    with mp.workdps(30 + 2 * exponent):
        exponent = _exponent([q for row in rows for q in _diagonal(row, sw, sb, activations)])
    jumps = sum(parse(a) in JUMPS for a in activations)
    return (2 << jumps) * digits + 20 + 2 * exponent


def _exponent(values: list[Any]) -> int:
    return max((abs(int(mp.log10(value))) for value in values if value > 0), default=0)


def kernels_numpy(
    x: Array,
    z: Array | None,
    sigma_w: Scale,
    sigma_b: Scale,
    activations: Sequence[Activation],
    tau_w: Scale | None = None,
    tau_b: Scale | None = None,
) -> tuple[Array, Array]:
    """(nngp, ntk), (N, M) each, in plain float64: near 1e-14 relative for generic pairs.

    Where |rho| is near 1 (duplicate rows) a kinked activation has an error of sqrt(eps) = 1.5e-8 per layer.
    """
    x = np.asarray(x, dtype=float)
    z = x if z is None else np.asarray(z, dtype=float)
    depth = len(activations) + 1
    sw, sb = scales(sigma_w, depth), scales(sigma_b, depth)
    tw, tb = scales(sigma_w if tau_w is None else tau_w, depth), scales(sigma_b if tau_b is None else tau_b, depth)
    n = max(x.shape[1], 1)
    q1, q2, value = np.sum(x * x, axis=1) / n, np.sum(z * z, axis=1) / n, x @ z.T / n
    nngp, ntk, dot = value, np.zeros_like(value), np.ones_like(value)
    for layer, activation in enumerate([None, *activations]):
        w, b = sw[layer] ** 2, sb[layer] ** 2
        if activation is not None:
            value, dot = dual(activation, q1[:, None], q2[None, :], nngp, np)
            q1, q2 = (dual(activation, q, q, q, np)[0] for q in (q1, q2))
        q1, q2 = w * q1 + b, w * q2 + b
        nngp = w * value + b
        ntk = tw[layer] ** 2 * value + tb[layer] ** 2 + w * dot * ntk
    return nngp, ntk
