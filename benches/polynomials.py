"""Print the polynomials of rust/core/src/math/special: tables for Rust, and their largest relative errors.

A polynomial interpolates f at Chebyshev nodes in 40 digits. Two rationals with one denominator are fitted in 70 digits.
Run this to see where a table comes from, or to make another one:

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
    Table("ATAN", "atan(√t)/√t", lambda t: mp.atan(mp.sqrt(t)) / mp.sqrt(t), 0, 0.1716, 11),
    Table("ATAN_WIDE", "atan(√t)/√t", lambda t: mp.atan(mp.sqrt(t)) / mp.sqrt(t), 0, 1, 21),
    Table("ATANH", "atanh(√t)/√t", lambda t: mp.atanh(mp.sqrt(t)) / mp.sqrt(t), 0, 0.1112, 10),
    Table("EXP", "(e^t − 1 − t)/t²", lambda t: mp.hyp1f1(1, 3, t) / 2, -0.3467, 0.3467, 10),
    Table("SIN", "(sin(√t)/√t − 1)/t", lambda t: (mp.sin(mp.sqrt(t)) / mp.sqrt(t) - 1) / t, 0, 0.6169, 6),
    Table("COS", "(cos(√t) − 1 + t/2)/t²", lambda t: (mp.cos(mp.sqrt(t)) - 1 + t / 2) / t**2, 0, 0.6169, 5),
    Table("ERF", "erf(√t)/√t", lambda t: mp.erf(mp.sqrt(t)) / mp.sqrt(t), 0, 1, 12),
    Table("ERFCX", "(1 + 2x) e^{x²} erfc(x), x = 3.75 (1 + t)/(1 − t)", _erfcx, -1, 0.92, 24),
]


@dataclass(frozen=True)
class Rationals:
    """Two functions of t on [0, high], as rationals in x = 1 − t with one denominator, whose last coefficient is 1."""

    names: tuple[str, str, str]
    formulas: tuple[str, str]
    functions: tuple[Callable[[Any], Any], Callable[[Any], Any]]
    high: float
    degrees: tuple[int, int, int]


RATIONALS = [
    Rationals(
        names,
        ("ψ/√t, ψ = 2 asin √t", "(sin ψ − ψ cos ψ)/t^{3/2}, ψ = 2 asin √t"),
        (lambda t: 2 * mp.asin(mp.sqrt(t)) / mp.sqrt(t), _lift),
        0.5,
        degrees,
    )
    for names, degrees in (
        (("ANGLE", "LIFT", "DENOMINATOR"), (7, 7, 6)),
        (("ANGLE_SINGLE", "LIFT_SINGLE", "DENOMINATOR_SINGLE"), (3, 3, 3)),
    )
]


@dataclass(frozen=True)
class Rational:
    """A function of t on [0, 1], as a rational whose denominator's last coefficient is 1."""

    names: tuple[str, str]
    formula: str
    function: Callable[[Any], Any]
    degrees: tuple[int, int]


def _angle_lift(cosine: Any) -> Any:
    sine = mp.sqrt(1 - cosine * cosine)
    return (mp.acos(cosine) / sine - 1) / sine**2


ANGLE_LIFT = Rational(("ANGLE_LIFT", "ANGLE_LIFT_DENOMINATOR"), "(α/sin α − 1)/sin²α, t = cos α", _angle_lift, (3, 3))


def fit(rationals: Rationals, points: int = 60, rounds: int = 4) -> list[list[Any]]:
    """Coefficients of both numerators and of the denominator, the constant ones first.

    Least squares of the relative errors (A − fQ)/(fQ), which are linear but for the Q below the line: it is that of the
    round before.
    """
    nodes = [rationals.high * (1 - mp.cos(mp.pi * (2 * k + 1) / (2 * points))) / 2 for k in range(points)]
    values = [[function(node) for node in nodes] for function in rationals.functions]
    ends = [rationals.degrees[0] + 1, rationals.degrees[0] + rationals.degrees[1] + 2]
    ends.append(ends[-1] + rationals.degrees[2])
    denominators = [mp.mpf(1)] * points
    for _ in range(rounds):
        matrix, target = mp.matrix(2 * points, ends[-1]), mp.matrix(2 * points, 1)
        for row in range(2 * points):
            which, k = divmod(row, points)
            weight, x = 1 / denominators[k], 1 - nodes[k]
            for power in range(rationals.degrees[which] + 1):
                matrix[row, (ends[0] if which else 0) + power] = weight / values[which][k] * x**power
            for power in range(rationals.degrees[2]):
                matrix[row, ends[1] + power] = -weight * x**power
            target[row] = weight * x ** rationals.degrees[2]
        found = list(mp.lu_solve(matrix, target))
        parts = [found[: ends[0]], found[ends[0] : ends[1]], [*found[ends[1] :], mp.mpf(1)]]
        denominators = [mp.polyval(parts[2][::-1], 1 - node) for node in nodes]
    return parts


def largest_errors(rationals: Rationals, parts: list[list[Any]], points: int = 1000) -> list[float]:
    """The largest relative error of each rational whose coefficients are these, rounded to float64."""
    first, second, denominator = ([mp.mpf(float(c)) for c in part[::-1]] for part in parts)
    worst = [mp.mpf(0), mp.mpf(0)]
    for k in range(1, points + 1):
        t = mp.mpf(rationals.high) * k / points
        for which, numerator in enumerate((first, second)):
            value = mp.polyval(numerator, 1 - t) / mp.polyval(denominator, 1 - t)
            worst[which] = max(worst[which], abs(value / rationals.functions[which](t) - 1))
    return [float(error) for error in worst]


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


def show_rational(rational: Rational) -> None:
    """Print numerator and denominator of a rational that interpolates at Chebyshev nodes, for Rust."""
    above, below = rational.degrees
    count = above + below + 1
    nodes = [(1 + mp.cos(mp.pi * (2 * k + 1) / (2 * count))) / 2 for k in range(count)]
    values = [rational.function(node) for node in nodes]
    rows = [
        [*(node**k for k in range(above + 1)), *(-value * node**k for k in range(below))]
        for node, value in zip(nodes, values, strict=True)
    ]
    target = [value * node**below for node, value in zip(nodes, values, strict=True)]
    found = list(mp.lu_solve(mp.matrix(rows), mp.matrix(target)))
    parts = [found[: above + 1], [*found[above + 1 :], mp.mpf(1)]]
    rounded = [[mp.mpf(float(c)) for c in part[::-1]] for part in parts]
    points = [mp.mpf(k) / 1000 for k in range(1000)]
    ratios = [mp.polyval(rounded[0], t) / mp.polyval(rounded[1], t) / rational.function(t) for t in points]
    error = max(abs(ratio - 1) for ratio in ratios)
    numerator, denominator = rational.names
    show(f"{rational.formula}, times [`{denominator}`] on [0, 1], to {float(error):.1e}.", numerator, parts[0])
    show(f"The denominator of [`{numerator}`].", denominator, parts[1])


def show(title: str, name: str, coefficients: list[Any]) -> None:
    """Print a table for Rust."""
    print(f"/// {title}")
    print(f"const {name}: [f64; {len(coefficients)}] = [")
    for coefficient in coefficients:
        print(f"    {float(coefficient)!r},")
    print("];\n")


def show_rationals(rationals: Rationals) -> None:
    """Print both numerators and the denominator for Rust."""
    parts = fit(rationals)
    errors = largest_errors(rationals, parts)
    first, second, denominator = rationals.names
    domain = f"times [`{denominator}`], in powers of 1 − t on [0, {rationals.high}]"
    for name, formula, part, error in zip(rationals.names, rationals.formulas, parts, errors, strict=False):
        show(f"{formula}, {domain}, to {error:.1e}.", name, part)
    show(f"The denominator of [`{first}`] and [`{second}`].", denominator, parts[2])


def main() -> None:
    """Print every table."""
    with mp.workdps(70):
        for rationals in RATIONALS:
            show_rationals(rationals)
        show_rational(ANGLE_LIFT)
    with mp.workdps(40):
        for table in TABLES:
            coefficients = interpolate(table)
            error = largest_error(table, coefficients)
            show(f"{table.formula} on [{table.low}, {table.high}], to {error:.1e}.", table.name, coefficients)


if __name__ == "__main__":
    main()
