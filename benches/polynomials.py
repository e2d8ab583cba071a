"""Print the polynomials of rust/core/src/math/special: tables for Rust, and their largest relative errors.

Each interpolates f at Chebyshev nodes in 40 digits. Run this to see where a table comes from, or to make another one:

    python benches/polynomials.py
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mpmath

if TYPE_CHECKING:
    from collections.abc import Callable

mp: Any = mpmath.mp


@dataclass(frozen=True)
class Table:
    """A function of t on [low, high], and the degree of its polynomial."""

    name: str
    formula: str
    function: Callable[[Any], Any]
    low: float
    high: float
    degree: int


def _lift(t: Any) -> Any:
    half = mp.asin(mp.sqrt(t))
    return (mp.sin(2 * half) - 2 * half * mp.cos(2 * half)) / t ** mp.mpf(1.5)


def _erfcx(t: Any) -> Any:
    x = mp.mpf(3.75) * (1 + t) / (1 - t)
    return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x)


TABLES = [
    Table("ASIN", "asin(√t)/√t", lambda t: mp.asin(mp.sqrt(t)) / mp.sqrt(t), 0, 0.5, 18),
    Table("LIFT", "(sin ψ − ψ cos ψ)/t^{3/2}, ψ = 2 asin √t", _lift, 0, 0.5, 17),
    Table("ATAN", "atan(√t)/√t", lambda t: mp.atan(mp.sqrt(t)) / mp.sqrt(t), 0, 0.1716, 11),
    Table("ATAN_WIDE", "atan(√t)/√t", lambda t: mp.atan(mp.sqrt(t)) / mp.sqrt(t), 0, 1, 21),
    Table("ATANH", "atanh(√t)/√t", lambda t: mp.atanh(mp.sqrt(t)) / mp.sqrt(t), 0, 0.1112, 10),
    Table("EXP", "(e^t − 1 − t)/t²", lambda t: mp.hyp1f1(1, 3, t) / 2, -0.3467, 0.3467, 10),
    Table("SIN", "(sin(√t)/√t − 1)/t", lambda t: (mp.sin(mp.sqrt(t)) / mp.sqrt(t) - 1) / t, 0, 0.6169, 6),
    Table("COS", "(cos(√t) − 1 + t/2)/t²", lambda t: (mp.cos(mp.sqrt(t)) - 1 + t / 2) / t**2, 0, 0.6169, 5),
    Table("ERF", "erf(√t)/√t", lambda t: mp.erf(mp.sqrt(t)) / mp.sqrt(t), 0, 1, 12),
    Table("ERFCX", "(1 + 2x) e^{x²} erfc(x), x = 3.75 (1 + t)/(1 − t)", _erfcx, -1, 0.92, 24),
]


def interpolate(table: Table) -> list[Any]:
    """Coefficients of the polynomial, the constant one first."""
    low, high, count = mp.mpf(table.low), mp.mpf(table.high), table.degree + 1
    nodes = [(low + high + (high - low) * mp.cos(mp.pi * (2 * k + 1) / (2 * count))) / 2 for k in range(count)]
    vandermonde = mp.matrix([[node**power for power in range(count)] for node in nodes])
    return list(mp.lu_solve(vandermonde, mp.matrix([table.function(node) for node in nodes])))


def largest_error(table: Table, coefficients: list[Any], points: int = 1000) -> float:
    """The largest relative error of the polynomial whose coefficients are these, rounded to float64."""
    rounded = [mp.mpf(float(c)) for c in coefficients]
    worst = mp.mpf(0)
    for k in range(1, points + 1):
        t = table.low + (mp.mpf(table.high) - table.low) * k / points
        worst = max(worst, abs(mp.polyval(rounded[::-1], t) / table.function(t) - 1))
    return float(worst)


def main() -> None:
    """Print every table."""
    with mp.workdps(40):
        for table in TABLES:
            coefficients = interpolate(table)
            error = largest_error(table, coefficients)
            print(f"/// {table.formula} on [{table.low}, {table.high}], to {error:.1e}.")
            print(f"const {table.name}: [f64; {len(coefficients)}] = [")
            for coefficient in coefficients:
                print(f"    {float(coefficient)!r},")
            print("];\n")


if __name__ == "__main__":
    main()
