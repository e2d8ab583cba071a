"""NNGP of networks of signs and steps, of any depth, by 1 - rho and 1 + rho of the pre-activations.

    theta = 2 atan sqrt((1 - rho) / (1 + rho))
    sign: T(q, q) - T = 2 theta / pi,        T(q, q) + T = 2 (pi - theta) / pi
    step: T(q, q) - T = theta / (2 pi),      T(q, q) + T = 1 / 2 + (pi - theta) / (2 pi)

Both start as exact fractions, so that parallel rows stay parallel through any number of layers. In plain digits of rho
each layer would need twice as many: see `infinite`. No layer but the first sees the lengths of the rows, so rows must
not be zero. Tdot is 0: the NTK is the NNGP.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import mpmath  # type: ignore[import-untyped]
import numpy as np

from .activations import parse
from .finite import scales

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .activations import Activation, Array
    from .finite import Scale

mp: Any = mpmath.mp


def nngp(x: Array, sigma_w: Scale, sigma_b: Scale, activations: Sequence[Activation], digits: int = 50) -> Array:
    """(N, N) covariances of the outputs for rows x (N, d), in float64, rounded once."""
    rows = [[Fraction(float(value)) for value in row] for row in np.asarray(x)]
    sw, sb = (
        [Fraction(float(scale)) ** 2 for scale in scales(sigma, len(activations) + 1)] for sigma in (sigma_w, sigma_b)
    )

    def first(row: list[Fraction], column: list[Fraction]) -> Fraction:
        products = sum((a * b for a, b in zip(row, column, strict=True)), Fraction(0))
        return sw[0] * products / len(row) + sb[0]

    def entry(row: list[Fraction], column: list[Fraction]) -> float:
        c, both = first(row, column), first(row, row) * first(column, column)
        # 1 - rho^2, over 1 + |rho|.
        size = _mpf(abs(c)) / mp.sqrt(_mpf(both))
        small, large = _mpf(1 - c * c / both) / (1 + size), 1 + size
        minus, plus = (small, large) if c >= 0 else (large, small)
        value = _mpf(c)
        for w, b, activation in zip(sw[1:], sb[1:], activations, strict=True):
            value, minus, plus = _layer(activation, minus, plus, _mpf(w), _mpf(b))
        return float(value)

    with mp.workdps(digits):
        return np.array([[entry(row, column) for column in rows] for row in rows])


def _mpf(fraction: Fraction) -> Any:
    return mp.mpf(fraction.numerator) / fraction.denominator


def _layer(activation: Activation, minus: Any, plus: Any, w: Any, b: Any) -> tuple[Any, Any, Any]:
    """Sigma, and 1 - rho and 1 + rho, after an activation and a dense layer with the variances w and b."""
    near, far = (2 * mp.atan2(mp.sqrt(a), mp.sqrt(c)) for a, c in ((minus, plus), (plus, minus)))  # theta, pi - theta
    name, parameters = parse(activation)
    if name == "sign":
        square, difference, total = mp.mpf(1), 2 * near / mp.pi, 2 * far / mp.pi
    elif (name, *parameters) == ("rectified_power", 0):
        square, difference, total = mp.mpf(1) / 2, near / (2 * mp.pi), mp.mpf(1) / 2 + far / (2 * mp.pi)
    else:
        raise KeyError(f"{name} does not jump")
    q, difference, total = w * square + b, w * difference, w * total + 2 * b
    return (total - difference) / 2, difference / q, total / q
