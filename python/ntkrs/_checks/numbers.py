"""The only place where users' numbers and options are converted or rejected."""

from __future__ import annotations  # an annotation names numpy.random, which takes 10 ms to load

import math
import operator
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from ntkrs._checks.advice import shown

if TYPE_CHECKING:
    from collections.abc import Collection

#: The forms of the empirical NTK.
_FORMS = ("full", "trace", "mean", "diagonal", "sum")


def integer(value: object, name: str) -> int:
    """Return ``value`` as an int.

    Raises
    ------
    TypeError
        If it is not an integer, or is a bool.
    ValueError
        If its absolute value exceeds ``sys.maxsize``.
    """
    if isinstance(value, bool):
        raise TypeError(f"{name} is {shown(value)}, but an integer is needed")
    try:
        number = operator.index(value)  # type: ignore[arg-type]  # anything else raises
    except TypeError:
        raise TypeError(f"{name} is {shown(value)}, but an integer is needed") from None
    if abs(number) > sys.maxsize:
        raise ValueError(f"{name} is beyond {sys.maxsize}, but must be an integer of the machine")
    return number


def count(value: object, name: str) -> int:
    """Return ``value`` as an int of at least 1.

    Raises
    ------
    TypeError, ValueError
        If it is less than 1, or as for :func:`integer`.
    """
    number = integer(value, name)
    if number < 1:
        raise ValueError(f"{name} is {number}, but at least 1 is needed")
    return number


def real(value: object, name: str) -> float:
    """Return ``value`` as a finite float.

    Raises
    ------
    TypeError
        If it is not a number.
    ValueError
        If it is NaN or infinite, or exceeds the range of float64.
    """
    if isinstance(value, str | bytes | bool | np.bool_):
        raise TypeError(f"{name} is {shown(value)}, but a number is needed")
    try:
        number = float(value)  # type: ignore[arg-type]  # anything else raises
    except OverflowError:
        number = math.inf
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {shown(value)}, but a number is needed") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} is {number}, but must be finite")
    return number


def positive(value: object, name: str) -> float:
    """Return ``value`` as a positive finite float.

    Raises
    ------
    TypeError
        If it is not a number.
    ValueError
        If it is not positive, or as for :func:`real`.
    """
    number = real(value, name)
    if number <= 0:
        raise ValueError(f"{name} is {number}, but must be positive")
    return number


def nonnegative(value: object, name: str) -> float:
    """Return ``value`` as a finite float >= 0.

    Raises
    ------
    TypeError
        If it is not a number.
    ValueError
        If it is negative, or as for :func:`real`.
    """
    number = real(value, name)
    if number < 0:
        raise ValueError(f"{name} is {number}, but must be >= 0")
    return number


def momentum(value: object) -> float:
    """Return ``value`` as a float in [0, 1), the momentum μ of the heavy ball.

    Raises
    ------
    TypeError, ValueError
        If it is 1 or more, or as for :func:`nonnegative`.
    """
    number = nonnegative(value, "momentum")
    if number >= 1:
        raise ValueError(f"momentum is {number}, but must be below 1: without friction nothing converges")
    return number


def choice(value: object, name: str, known: Collection[str]) -> str:
    """Return ``value`` if it is one of the known names.

    Raises
    ------
    ValueError
        If it is not. The message lists the known names.
    """
    if not isinstance(value, str) or value not in known:
        *most, last = map(repr, known)
        raise ValueError(f"{name} is {shown(value)}, but must be {', '.join(most)} or {last}")
    return value


def choices(value: object, name: str, known: Collection[str]) -> tuple[str, ...]:
    """Return ``value`` as a tuple of known names: one name, or a tuple of different ones.

    Raises
    ------
    TypeError, ValueError
        If it is anything else. The message lists the known names.
    """
    if not isinstance(value, tuple):
        return (choice(value, name, known),)
    if not value or len(set(map(str, value))) < len(value):
        raise ValueError(f"{name} is {value!r}, but a tuple names at least one prediction, and each at most once")
    return tuple(choice(one, name, known) for one in value)


def covariance(value: object) -> bool | str:
    """Return ``value`` if it is True, False or "diag", the values of ``compute_cov``.

    Raises
    ------
    TypeError, ValueError
        If it is anything else.
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, str) and value == "diag":
        return value
    error = ValueError if isinstance(value, str) else TypeError
    raise error(f"compute_cov is {shown(value)}, but True or False is needed, or 'diag' for variances alone")


def selection(outputs: object, count: int) -> str | int:
    """Return ``outputs`` if it is a form of the empirical NTK, or the index of one of ``count`` outputs.

    Raises
    ------
    TypeError, ValueError
        If it is anything else.
    """
    known = f"one of {', '.join(map(repr, _FORMS))}, or an integer"
    if isinstance(outputs, str):
        if outputs not in _FORMS:
            raise ValueError(f"outputs is {shown(outputs)}, but must be {known}")
        return outputs
    try:
        index = integer(outputs, "outputs")
    except TypeError:
        raise TypeError(f"outputs is {shown(outputs)}, but must be {known}") from None
    if not 0 <= index < count:
        raise ValueError(f"outputs is {index}, but this network has outputs 0 to {count - 1}")
    return index


def generator(rng: Any) -> np.random.Generator:
    """Return ``rng`` if it is a random number generator, otherwise a new generator with ``rng`` as its seed.

    Raises
    ------
    TypeError, ValueError
        If it is neither a generator nor a valid seed.
    """
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(f"rng is {shown(rng)}, but a seed >= 0 or a numpy.random.Generator is needed") from None


def dtype(value: Any) -> np.dtype[Any]:
    """Return ``value`` as a dtype.

    Raises
    ------
    TypeError
        If it does not name a dtype.
    """
    try:
        found: np.dtype[Any] | None = None if value is None else np.dtype(value)
    except TypeError:
        found = None
    if found is None:
        raise TypeError(f"dtype is {shown(value)}, but must be float32 or float64")
    return found


def boolean(value: object, name: str) -> bool:
    """Return ``value`` as a bool. Truthy or falsy objects are rejected.

    Raises
    ------
    TypeError
        If it is neither True nor False.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {shown(value)}, but True or False is needed")
    return bool(value)
