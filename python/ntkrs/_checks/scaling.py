"""Arithmetic with separate powers of two, so that intermediate results cannot overflow or underflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike


def ldexp(values: ArrayLike, exponent: ArrayLike) -> NDArray[np.float64]:
    """Return ``values · 2^exponent``, infinite where it overflows."""
    with np.errstate(over="ignore"):
        if isinstance(exponent, int) and abs(exponent) < 1000:
            return np.asarray(np.multiply(values, 2.0**exponent))  # the same result, several times faster
        return np.asarray(np.ldexp(values, exponent))


def exponent_of(values: NDArray[np.floating], largest: float = 0.0) -> int:
    """Return the exponent that brings ``values / 2^exponent``, and ``largest / 2^exponent``, below 1 in magnitude."""
    highest = max(values.max(initial=0.0), -values.min(initial=0.0), largest)
    return int(np.frexp(np.float64(highest))[1])


def scaled(values: NDArray[np.float64], largest: float = 0.0) -> tuple[NDArray[np.float64], int]:
    """Return ``values / 2^exponent`` and the exponent, which is chosen by :func:`exponent_of`."""
    exponent = exponent_of(values, largest)
    return ldexp(values, -exponent), exponent


def product(factors: tuple[float, NDArray[np.float64]], exponent: int) -> NDArray[np.float64]:
    """Return ``factors[0] · factors[1] · 2^exponent``, which overflows or underflows only if the exact result does."""
    (first, first_exponent), (second, second_exponent) = np.frexp(factors[0]), np.frexp(factors[1])
    return ldexp(first * second, first_exponent + second_exponent + exponent)
