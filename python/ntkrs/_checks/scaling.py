"""Powers of two held apart, so that nothing overflows or underflows on the way to a result that does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ntkrs._typing import ArrayLike


def ldexp(values: ArrayLike, exponent: ArrayLike) -> NDArray[np.float64]:
    """``values · 2^exponent``, infinite where that overflows."""
    with np.errstate(over="ignore"):
        if isinstance(exponent, int) and abs(exponent) < 1000:
            return np.asarray(np.multiply(values, 2.0**exponent))  # the same, several times faster
        return np.asarray(np.ldexp(values, exponent))


def exponent_of(values: NDArray[np.floating], largest: float = 0.0) -> int:
    """The exponent that brings ``values / 2^exponent``, and ``largest``, below 1."""
    highest = max(values.max(initial=0.0), -values.min(initial=0.0), largest)
    return int(np.frexp(np.float64(highest))[1])


def scaled(values: NDArray[np.float64], largest: float = 0.0) -> tuple[NDArray[np.float64], int]:
    """``values / 2^exponent``, and the exponent that brings them, and ``largest``, below 1."""
    exponent = exponent_of(values, largest)
    return ldexp(values, -exponent), exponent


def product(factors: tuple[float, NDArray[np.float64]], exponent: int) -> NDArray[np.float64]:
    """``factors[0] · factors[1] · 2^exponent``: infinite or 0 only if that is."""
    (first, first_exponent), (second, second_exponent) = np.frexp(factors[0]), np.frexp(factors[1])
    return ldexp(first * second, first_exponent + second_exponent + exponent)
